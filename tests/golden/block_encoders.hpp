// SPDX-License-Identifier: MIT
// Ternary matrices with a scale for each block of columns in the formats of other programs, written value by value from
// the tables of their layouts, with no part of the library's own packing; and models rewritten in them.
#pragma once

#include "ternary_encoders.hpp"

#include <bitnet/core/half.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_writer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet_tests {

/// Codes 0, 1, 2 for -1, 0, +1, times the scale of `group` columns of a row.
struct block_matrix {
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t group = 0;
    std::vector<std::uint8_t> codes;  ///< [rows, cols]
    std::vector<bitnet::half> scales; ///< [rows, cols / group]

    [[nodiscard]] std::size_t blocks() const { return rows * cols / group; }
    [[nodiscard]] bitnet::half scale(std::size_t row, std::size_t col) const {
        return scales[(row * cols + col) / group];
    }
    [[nodiscard]] double value(std::size_t row, std::size_t col) const {
        return (codes[row * cols + col] - 1.0) * static_cast<double>(bitnet::detail::widen(scale(row, col)));
    }

    /// Scales between one and two times `least`, in steps that bfloat16 has, too.
    [[nodiscard]] static block_matrix random(std::size_t rows, std::size_t cols, std::size_t group, float least,
                                             unsigned seed = 1) {
        std::mt19937 engine(seed);
        block_matrix made{rows, cols, group, {}, {}};
        for (std::size_t i = 0; i < rows * cols; ++i) {
            made.codes.push_back(static_cast<std::uint8_t>(engine() % 3));
        }
        for (std::size_t i = 0; i < made.blocks(); ++i) {
            made.scales.push_back(
                bitnet::detail::narrow<bitnet::half>(least * (1.0f + static_cast<float>(engine() % 64) / 64.0f)));
        }
        return made;
    }
};

/// Q2_0 with blocks of 128 or 64 columns, and PQ2_0: a half, then four codes to a byte, the first one lowest.
[[nodiscard]] inline std::vector<std::byte> encode_q2_0(const block_matrix& m, std::size_t block) {
    const std::size_t bytes = 2 + block / 4;
    byte_sheet sheet(m.rows * m.cols / block * bytes);
    for (std::size_t i = 0; i < m.rows * m.cols; ++i) {
        sheet.or_bits(i / block * bytes + 2 + i % block / 4, static_cast<unsigned>(m.codes[i]) << (2 * (i % 4)));
    }
    for (std::size_t i = 0; i < m.rows * m.cols; i += block) {
        sheet.put(i / block * bytes, m.scale(i / m.cols, i % m.cols));
    }
    return sheet.bytes();
}

[[nodiscard]] inline std::vector<std::byte> encode_ptq1_0(const block_matrix& m) {
    byte_sheet sheet(m.rows * m.cols / 128 * 28);
    constexpr unsigned powers[5] = {81, 27, 9, 3, 1};
    for (std::size_t block = 0; block < m.rows * m.cols / 128; ++block) {
        unsigned values[26] = {};
        for (std::size_t j = 0; j < 128; ++j) {
            const unsigned code = m.codes[block * 128 + j];
            if (j < 80) {
                values[j % 16] += code * powers[j / 16];
            } else if (j < 120) {
                values[16 + (j - 80) % 8] += code * powers[(j - 80) / 8];
            } else {
                values[24 + (j - 120) % 2] += code * powers[(j - 120) / 2];
            }
        }
        for (std::size_t b = 0; b < 26; ++b) {
            sheet.put(block * 28 + b, fraction_of(values[b]));
        }
        sheet.put(block * 28 + 26, m.scale(block * 128 / m.cols, block * 128 % m.cols));
    }
    return sheet.bytes();
}

/// TQ1_0 or TQ2_0: as with one scale, and then each block's own.
[[nodiscard]] inline std::vector<std::byte> encode_tq(bitnet::tensor_type type, const block_matrix& m) {
    const bool is_tq1 = type == bitnet::tensor_type::tq1_0;
    const code_matrix codes{m.rows, m.cols, m.codes, 1.0f};
    const auto plain = is_tq1 ? encode_tq1_0(codes) : encode_tq2_0(codes);
    const std::size_t bytes = is_tq1 ? 54 : 66;
    byte_sheet sheet(plain.size());
    for (std::size_t i = 0; i < plain.size(); ++i) {
        sheet.put(i, plain[i]);
    }
    for (std::size_t i = 0; i < m.rows * m.cols; i += 256) {
        sheet.put(i / 256 * bytes + bytes - 2, m.scale(i / m.cols, i % m.cols));
    }
    return sheet.bytes();
}

/// \pre the columns are whole blocks of the type, and the scales the same within each
[[nodiscard]] inline std::vector<std::byte> encode(bitnet::tensor_type type, const block_matrix& m) {
    using bitnet::tensor_type;
    switch (type) {
    case tensor_type::q2_0_g64:
        return encode_q2_0(m, 64);
    case tensor_type::ptq1_0:
        return encode_ptq1_0(m);
    case tensor_type::tq1_0:
    case tensor_type::tq2_0:
        return encode_tq(type, m);
    default:
        return encode_q2_0(m, 128);
    }
}

/// What a model is rewritten with.
struct block_choice {
    bitnet::tensor_type type = bitnet::tensor_type::pq2_0;
    std::size_t group = 128;     ///< columns that share a scale: a multiple of the type's block
    bool embedding = false;      ///< whether embedding and head are ternary, too
    std::string_view other = {}; ///< one tensor that is in `other_type`
    bitnet::tensor_type other_type = bitnet::tensor_type::pq2_0;
};

/// A model whose I2_S tensors are written as `choice` says, with random codes and scales that depend on the name alone.
[[nodiscard]] inline std::vector<std::byte> with_block_scales(std::span<const std::byte> model,
                                                              const block_choice& choice) {
    const auto file = bitnet::gguf_file::parse(model, "test");
    REQUIRE(file);
    bitnet::gguf_writer writer;
    for (const bitnet::gguf_value& entry : file->metadata()) {
        writer.add(entry);
    }
    std::deque<std::vector<std::byte>> kept;
    unsigned seed = 0;
    for (const bitnet::gguf_tensor& tensor : file->tensors()) {
        ++seed;
        const auto dims = std::span(tensor.dims).first(tensor.rank);
        const bool is_float = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
        if (tensor.type != bitnet::tensor_type::i2_s && !(is_float && choice.embedding)) {
            writer.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
            continue;
        }
        const auto type = tensor.name == choice.other ? choice.other_type : choice.type;
        const auto rows = static_cast<std::size_t>(tensor.dims[1]);
        const auto cols = static_cast<std::size_t>(tensor.dims[0]);
        kept.push_back(encode(type, block_matrix::random(rows, cols, choice.group, 0.0625f, seed)));
        writer.add_tensor(tensor.name, type, dims, std::span<const std::byte>(kept.back()));
    }
    auto written = writer.write_memory();
    REQUIRE_MESSAGE(written, (written ? "" : written.error().message));
    return {written->span().begin(), written->span().end()};
}

} // namespace bitnet_tests
