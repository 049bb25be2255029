// SPDX-License-Identifier: MIT
// Ternary matrices in the formats of other programs, written value by value from the tables of their layouts, with no
// part of the library's own packing; and models rewritten in them.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <random>
#include <span>
#include <string>
#include <vector>

namespace bitnet_tests {

/// Codes 0, 1, 2 for -1, 0, +1, times one scale.
struct code_matrix {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::vector<std::uint8_t> codes; ///< [rows, cols]
    float scale = 1.0f;

    [[nodiscard]] static code_matrix random(std::size_t rows, std::size_t cols, float scale, unsigned seed = 1) {
        std::mt19937 engine(seed);
        code_matrix made{rows, cols, {}, scale};
        for (std::size_t i = 0; i < rows * cols; ++i) {
            made.codes.push_back(static_cast<std::uint8_t>(engine() % 3));
        }
        return made;
    }
    [[nodiscard]] unsigned at(std::size_t row, std::size_t col) const { return codes[row * cols + col]; }
};

/// Bytes with numbers put into them.
class byte_sheet {
public:
    explicit byte_sheet(std::size_t size) : bytes_(size) {}

    template <class T> void put(std::size_t at, T value) {
        static_cast<void>(bytes_.at(at + sizeof value - 1));
        std::memcpy(bytes_.data() + at, &value, sizeof value);
    }
    void or_bits(std::size_t at, unsigned bits) { bytes_.at(at) |= static_cast<std::byte>(bits); }
    [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

private:
    std::vector<std::byte> bytes_;
};

/// The smallest q / 256 that is not below value / 243.
[[nodiscard]] inline std::uint8_t fraction_of(unsigned value) {
    unsigned q = 0;
    while (q * 243 < value * 256) {
        ++q;
    }
    return static_cast<std::uint8_t>(q);
}

[[nodiscard]] inline std::vector<std::byte> encode_i2_s(const code_matrix& m) {
    byte_sheet sheet(m.rows * m.cols / 4 + 32);
    for (std::size_t i = 0; i < m.rows * m.cols; ++i) {
        sheet.or_bits(i / 128 * 32 + i % 32, static_cast<unsigned>(m.codes[i]) << (6 - 2 * (i % 128 / 32)));
    }
    sheet.put(m.rows * m.cols / 4, m.scale);
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode_tq2_0(const code_matrix& m) {
    byte_sheet sheet(m.rows * m.cols / 256 * 66);
    for (std::size_t i = 0; i < m.rows * m.cols; ++i) {
        const std::size_t block = i / 256 * 66;
        const std::size_t value = i % 256;
        const std::size_t group = value % 128 / 32; // of its half
        sheet.or_bits(block + value / 128 * 32 + value % 32, static_cast<unsigned>(m.codes[i]) << (2 * group));
        sheet.put(block + 64, bitnet::detail::narrow<bitnet::half>(m.scale));
    }
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode_tq1_0(const code_matrix& m) {
    byte_sheet sheet(m.rows * m.cols / 256 * 54);
    for (std::size_t block = 0; block < m.rows * m.cols / 256; ++block) {
        const std::uint8_t* code = m.codes.data() + block * 256;
        unsigned values[52] = {};
        constexpr unsigned powers[5] = {81, 27, 9, 3, 1};
        for (std::size_t v = 0; v < 256; ++v) {
            if (v < 160) {
                values[v % 32] += code[v] * powers[v / 32];
            } else if (v < 240) {
                values[32 + (v - 160) % 16] += code[v] * powers[(v - 160) / 16];
            } else {
                values[48 + (v - 240) % 4] += code[v] * powers[(v - 240) / 4];
            }
        }
        for (std::size_t b = 0; b < 52; ++b) {
            sheet.put(block * 54 + b, fraction_of(values[b]));
        }
        sheet.put(block * 54 + 52, bitnet::detail::narrow<bitnet::half>(m.scale));
    }
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode_iq1_bn(const code_matrix& m) {
    const std::size_t row_bytes = 2 + m.cols / 64 * 13;
    byte_sheet sheet(m.rows * row_bytes);
    constexpr unsigned powers[5] = {1, 3, 9, 27, 81};
    for (std::size_t row = 0; row < m.rows; ++row) {
        sheet.put(row * row_bytes, bitnet::detail::narrow<bitnet::half>(m.scale));
        for (std::size_t block = 0; block < m.cols / 64; ++block) {
            unsigned values[13] = {};
            for (std::size_t v = 0; v < 64; ++v) {
                const unsigned code = m.at(row, block * 64 + v);
                if (v % 16 == 15) {
                    values[12] += code * powers[v / 16];
                } else {
                    values[v / 16 * 3 + v % 16 / 5] += code * powers[v % 16 % 5];
                }
            }
            for (std::size_t b = 0; b < 13; ++b) {
                sheet.put(row * row_bytes + 2 + block * 13 + b, fraction_of(values[b]));
            }
        }
    }
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode_iq2_bn(const code_matrix& m) {
    const std::size_t row_bytes = 4 + m.cols / 4;
    byte_sheet sheet(m.rows * row_bytes);
    for (std::size_t row = 0; row < m.rows; ++row) {
        sheet.put(row * row_bytes, m.scale);
        for (std::size_t col = 0; col < m.cols; ++col) {
            const std::size_t in_block = col % 64;
            sheet.or_bits(row * row_bytes + 4 + col / 64 * 16 + in_block % 16, m.at(row, col) << (in_block / 16 * 2));
        }
    }
    return sheet.bytes();
}

/// Four rows of IQ2_BN together: their scales, then 64 bytes a block, of which 4r .. 4r + 3 of each 16 are row r's.
[[nodiscard]] inline std::vector<std::byte> encode_iq2_bn_r4(const code_matrix& m) {
    const std::size_t row_bytes = 4 + m.cols / 4;
    byte_sheet sheet(m.rows * row_bytes);
    for (std::size_t row = 0; row < m.rows; ++row) {
        const std::size_t four = row / 4 * 4 * row_bytes;
        sheet.put(four + row % 4 * 4, m.scale);
        for (std::size_t col = 0; col < m.cols; ++col) {
            const std::size_t quarter = col / 16; // of the row, 16 bytes
            const std::size_t byte = row % 4 * 4 + col % 4;
            sheet.or_bits(four + 16 + quarter * 16 + byte, m.at(row, col) << (col % 16 / 4 * 2));
        }
    }
    return sheet.bytes();
}

template <class E> [[nodiscard]] std::vector<std::byte> encode_floats(const code_matrix& m) {
    byte_sheet sheet(m.rows * m.cols * sizeof(E));
    for (std::size_t i = 0; i < m.rows * m.cols; ++i) {
        const float value = m.codes[i] == 0 ? -m.scale : m.codes[i] == 2 ? m.scale : i % 2 == 0 ? 0.0f : -0.0f;
        sheet.put(i * sizeof(E), bitnet::detail::narrow<E>(value));
    }
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode(bitnet::tensor_type type, const code_matrix& m) {
    using bitnet::tensor_type;
    switch (type) {
    case tensor_type::tq1_0:
        return encode_tq1_0(m);
    case tensor_type::tq2_0:
        return encode_tq2_0(m);
    case tensor_type::iq1_bn:
        return encode_iq1_bn(m);
    case tensor_type::iq2_bn:
        return encode_iq2_bn(m);
    case tensor_type::iq2_bn_r4:
        return encode_iq2_bn_r4(m);
    case tensor_type::f32:
        return encode_floats<float>(m);
    case tensor_type::f16:
        return encode_floats<bitnet::half>(m);
    case tensor_type::bf16:
        return encode_floats<bitnet::bfloat16>(m);
    default:
        return encode_i2_s(m);
    }
}

/// Of a tensor in I2_S, its scale rounded to a bfloat16: near one, every format can hold that.
[[nodiscard]] inline code_matrix decode_i2_s(const bitnet::gguf_tensor& tensor) {
    code_matrix m{static_cast<std::size_t>(tensor.dims[1]), static_cast<std::size_t>(tensor.dims[0]), {}, 0};
    for (std::size_t i = 0; i < m.rows * m.cols; ++i) {
        const auto byte = std::to_integer<unsigned>(tensor.bytes[i / 128 * 32 + i % 32]);
        m.codes.push_back(static_cast<std::uint8_t>(byte >> (6 - 2 * (i % 128 / 32)) & 3u));
    }
    std::memcpy(&m.scale, tensor.bytes.data() + m.rows * m.cols / 4, sizeof m.scale);
    m.scale = bitnet::detail::widen(bitnet::detail::narrow<bitnet::bfloat16>(m.scale));
    return m;
}

/// A model whose I2_S tensors are written as `type`, everything else as it was.
[[nodiscard]] inline bitnet::buffer<std::byte> with_ternary_type(std::span<const std::byte> model,
                                                                 bitnet::tensor_type type) {
    const auto file = bitnet::gguf_file::parse(model, "test");
    REQUIRE(file);
    bitnet::gguf_writer writer;
    for (const bitnet::gguf_value& entry : file->metadata()) {
        writer.add(entry);
    }
    std::deque<std::vector<std::byte>> kept;
    for (const bitnet::gguf_tensor& tensor : file->tensors()) {
        const auto dims = std::span(tensor.dims).first(tensor.rank);
        if (tensor.type == bitnet::tensor_type::i2_s) {
            kept.push_back(encode(type, decode_i2_s(tensor)));
            writer.add_tensor(tensor.name, type, dims, std::span<const std::byte>(kept.back()));
        } else {
            writer.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
        }
    }
    auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return *std::move(written);
}

} // namespace bitnet_tests
