// SPDX-License-Identifier: MIT
// The row format TQ2_0 of llama.cpp: two bits a weight, a half for every 256.
#ifndef BITNET_KERNEL_TQ2_0_HPP
#define BITNET_KERNEL_TQ2_0_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// 256 columns of a row in 66 bytes, 2.0625 bits a weight:
///
///     0   qs[64]  byte 32h + m, bits 2l and 2l + 1: the code of column 128h + 32l + m      h < 2, l < 4, m < 32
///     64  d       half, the scale of these columns
///
/// No known program writes code 3.
struct tq2_0 {
    static constexpr std::string_view name = "TQ2_0";
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 66;
    static constexpr std::size_t scale_at = 64;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t) noexcept { return block_columns; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t segment) noexcept {
        half d;
        std::memcpy(&d, data + row * row_bytes(cols) + segment * block_bytes + scale_at, sizeof d);
        return widen(d);
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols);
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            bad |= unpack_half(block, codes + col) | unpack_half(block + 32, codes + col + 128);
        }
        return (bad & 0x55u) == 0;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            for (std::size_t i = 0; i < scale_at; ++i) {
                const std::uint8_t* c = codes + col + i / 32 * 128 + i % 32;
                row[i] = static_cast<std::uint8_t>(c[0] | c[32] << 2 | c[64] << 4 | c[96] << 6);
            }
            std::memcpy(row + scale_at, &d, sizeof d);
        }
    }

private:
    /// 128 columns. \return an even bit for every code 3
    [[nodiscard]] static unsigned unpack_half(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
        std::uint8_t packed[32];
        std::memcpy(packed, bytes, sizeof packed);
        unsigned bad = 0;
        for (const unsigned byte : packed) {
            bad |= byte & (byte >> 1);
        }
        for (std::size_t l = 0; l < 4; ++l) {
            for (std::size_t m = 0; m < 32; ++m) {
                codes[32 * l + m] = static_cast<std::uint8_t>(packed[m] >> (2 * l) & 3u);
            }
        }
        return bad;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
