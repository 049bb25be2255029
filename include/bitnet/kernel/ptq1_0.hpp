// SPDX-License-Identifier: MIT
// The row format PTQ1_0 of PrismML's llama.cpp: five weights to a byte, a half for every 128.
#ifndef BITNET_KERNEL_PTQ1_0_HPP
#define BITNET_KERNEL_PTQ1_0_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/ternary_fraction.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// 128 columns of a row in 28 bytes, 1.75 bits a weight. Bytes are ternary_fractions; n counts their digits from the
/// most significant one:
///
///     0   qs[16]  byte m, digit n: the code of column 16n + m                        n < 5, m < 16
///     16  qs[8]   byte m, digit n: the code of column 80 + 8n + m                    n < 5, m < 8
///     24  qh[2]   byte m, digit n: the code of column 120 + 2n + m; the fifth is 0   n < 4, m < 2
///     26  d       half, the scale of these columns
///
/// Every byte gives digits 0 to 2: there is nothing to refuse.
struct ptq1_0 {
    static constexpr std::string_view name = "PTQ1_0";
    static constexpr std::size_t block_columns = 128;
    static constexpr std::size_t block_bytes = 28;
    static constexpr std::size_t scale_at = 26;

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
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            unpack_digits<16, 5>(block, codes + col);
            unpack_digits<8, 5>(block + 16, codes + col + 80);
            unpack_digits<2, 4>(block + 24, codes + col + 120);
        }
        return true;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            pack_digits<16, 5>(codes + col, row);
            pack_digits<8, 5>(codes + col + 80, row + 16);
            pack_digits<2, 4>(codes + col + 120, row + 24);
            std::memcpy(row + scale_at, &d, sizeof d);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
