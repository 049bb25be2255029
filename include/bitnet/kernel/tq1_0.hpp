// SPDX-License-Identifier: MIT
// The row format TQ1_0 of llama.cpp: five weights in a byte, a half for every 256.
#ifndef BITNET_KERNEL_TQ1_0_HPP
#define BITNET_KERNEL_TQ1_0_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/ternary_fraction.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// 256 columns of a row in 54 bytes, 1.6875 bits a weight. Bytes are ternary_fractions; n counts their digits from the
/// most significant one:
///
///     0   qs[32]  byte m, digit n: the code of column 32n + m                        n < 5, m < 32
///     32  qs[16]  byte m, digit n: the code of column 160 + 16n + m                  n < 5, m < 16
///     48  qh[4]   byte m, digit n: the code of column 240 + 4n + m; the fifth is 0   n < 4, m < 4
///     52  d       half, the scale of these columns
///
/// Every byte gives digits 0 to 2: there is nothing to refuse.
struct tq1_0 {
    static constexpr std::string_view name = "TQ1_0";
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 54;
    static constexpr std::size_t scale_at = 52;

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
            unpack_digits<32, 5>(block, codes + col);
            unpack_digits<16, 5>(block + 32, codes + col + 160);
            unpack_digits<4, 4>(block + 48, codes + col + 240);
        }
        return true;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        const half d = narrow<half>(scale);
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            pack_digits<32, 5>(codes + col, row);
            pack_digits<16, 5>(codes + col + 160, row + 32);
            pack_digits<4, 4>(codes + col + 240, row + 48);
            std::memcpy(row + scale_at, &d, sizeof d);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
