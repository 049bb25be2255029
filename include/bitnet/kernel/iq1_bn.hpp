// SPDX-License-Identifier: MIT
// The row format IQ1_BN of ik_llama.cpp: 64 weights in 13 bytes, a half for every row.
#ifndef BITNET_KERNEL_IQ1_BN_HPP
#define BITNET_KERNEL_IQ1_BN_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/ternary_fraction.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A row is its scale, a half, and then 13 bytes for each 64 columns, 1.625 bits a weight. Bytes are ternary_fractions;
/// n counts their digits from the least significant one:
///
///     0   ql[12]  byte 3g + k, digit n: the code of column 16g + 5k + n     g < 4, k < 3, n < 5
///     12  extra   digit g: the code of column 16g + 15; the fifth is 0      g < 4
///
/// Every byte gives digits 0 to 2: there is nothing to refuse.
struct iq1_bn {
    static constexpr std::string_view name = "IQ1_BN";
    static constexpr std::size_t block_columns = 64;
    static constexpr std::size_t block_bytes = 13;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return sizeof(half) + cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t cols) noexcept { return cols; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t) noexcept {
        half d;
        std::memcpy(&d, data + row * row_bytes(cols), sizeof d);
        return widen(d);
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols) + sizeof(half);
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            unpack_block(block, codes + col);
        }
        return true;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        std::memcpy(row, &d, sizeof d);
        row += sizeof d;
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            const std::uint8_t* c = codes + col;
            for (std::size_t i = 0; i < 12; ++i) {
                const std::uint8_t* five = c + i / 3 * 16 + i % 3 * 5;
                row[i] = ternary_fraction(five[0] + 3u * five[1] + 9u * five[2] + 27u * five[3] + 81u * five[4]);
            }
            row[12] = ternary_fraction(c[15] + 3u * c[31] + 9u * c[47] + 27u * c[63]);
        }
    }

private:
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes) noexcept {
        std::uint8_t extra = block[12];
        take_digit(extra); // the fifth
        for (std::size_t g = 4; g-- > 0;) {
            for (std::size_t k = 0; k < 3; ++k) {
                std::uint8_t fraction = block[3 * g + k];
                for (std::size_t n = 5; n-- > 0;) {
                    codes[16 * g + 5 * k + n] = take_digit(fraction);
                }
            }
            codes[16 * g + 15] = take_digit(extra);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
