// SPDX-License-Identifier: MIT
// The row formats IQ2_BN and IQ2_BN_R4 of ik_llama.cpp: two bits a weight, a float for every row.
#ifndef BITNET_KERNEL_IQ2_BN_HPP
#define BITNET_KERNEL_IQ2_BN_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A row is its scale, a float, and then 16 bytes for each 64 columns:
///
///     byte j, bits 2l and 2l + 1: the code of column 16l + j      l < 4, j < 16
///
/// Code 3 is not written by anybody.
struct iq2_bn {
    static constexpr std::string_view name = "IQ2_BN";
    static constexpr std::size_t block_columns = 64;
    static constexpr std::size_t block_bytes = 16;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return sizeof(float) + cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        float d;
        std::memcpy(&d, data + row * row_bytes(cols), sizeof d);
        return d;
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return scale; }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols) + sizeof(float);
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            std::uint8_t packed[block_bytes];
            std::memcpy(packed, block, block_bytes);
            for (const unsigned byte : packed) {
                bad |= byte & (byte >> 1);
            }
            for (std::size_t l = 0; l < 4; ++l) {
                for (std::size_t j = 0; j < block_bytes; ++j) {
                    codes[col + 16 * l + j] = static_cast<std::uint8_t>(packed[j] >> (2 * l) & 3u);
                }
            }
        }
        return (bad & 0x55u) == 0;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        std::memcpy(row, &scale, sizeof scale);
        row += sizeof scale;
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            for (std::size_t j = 0; j < block_bytes; ++j) {
                const std::uint8_t* c = codes + col + j;
                row[j] = static_cast<std::uint8_t>(c[0] | c[16] << 2 | c[32] << 4 | c[48] << 6);
            }
        }
    }
};

/// Four rows of IQ2_BN interleaved: their four scales, and then 64 bytes for each 64 columns:
///
///     byte 16l + 4r + i, bits 2j and 2j + 1: the code of column 16l + 4j + i of row r      l, r, i, j < 4
struct iq2_bn_r4 {
    static constexpr std::string_view name = "IQ2_BN_R4";
    static constexpr std::size_t block_columns = 64;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept { return iq2_bn::row_bytes(cols); }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        float d;
        std::memcpy(&d, data + row / 4 * 4 * row_bytes(cols) + row % 4 * sizeof d, sizeof d);
        return d;
    }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* four = data + row / 4 * 4 * row_bytes(cols) + 4 * sizeof(float) + row % 4 * 4;
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += 16) { // a quarter of a block: 16 bytes, four of them our row's
            for (std::size_t i = 0; i < 4; ++i) {
                const unsigned packed = four[col + i];
                bad |= packed & (packed >> 1);
                for (std::size_t j = 0; j < 4; ++j) {
                    codes[col + 4 * j + i] = static_cast<std::uint8_t>(packed >> (2 * j) & 3u);
                }
            }
        }
        return (bad & 0x55u) == 0;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
