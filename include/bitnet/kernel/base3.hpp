// SPDX-License-Identifier: MIT
// The base3 layout: five weights in a byte, 1.6 bits each.
#ifndef BITNET_KERNEL_BASE3_HPP
#define BITNET_KERNEL_BASE3_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// 320 columns of a row in 64 bytes, a cache line: byte j holds the codes d0..d4 of columns j, 64 + j, 128 + j, 192 + j
/// and 256 + j as a binary fraction q / 256 just above (81 d0 + 27 d1 + 9 d2 + 3 d3 + d4) / 243, so that digits come
/// out at the top by multiplying:
///
///     r0 = q,   3 r(k) = 256 d(k) + r(k+1)
///
/// Digit k is 0, 1 or 2 as r(k) is at most 85, at most 170 or above. (The same fraction as in llama.cpp's TQ1_0; the
/// order of columns is our own.)
struct base3 {
    static constexpr std::string_view name = "base3";
    static constexpr std::size_t block_rows = 1;
    static constexpr std::size_t block_columns = 320;
    static constexpr std::size_t block_bytes = 64;
    /// 256 times a product must fit the int32 of a lane: see base3_avx_vnni.hpp.
    static constexpr std::size_t most_columns = std::size_t{1} << 18;

    using view = detail::ternary_view;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The byte of a value d0..d4 in base 3, 0 to 242. The correction is 13/243 of the value but for rounding, which a
    /// test of all values checks: 1 + value * 55 / 1024.
    [[nodiscard]] static constexpr std::uint8_t fraction(unsigned value) noexcept {
        return static_cast<std::uint8_t>(value + 1 + (value * 55 >> 10));
    }
    /// Digit k of a byte. \pre k < 5
    [[nodiscard]] static constexpr std::uint8_t digit(std::uint8_t byte, std::size_t k) noexcept {
        unsigned r = byte;
        for (std::size_t i = 0; i < k; ++i) {
            r = 3 * r & 255u;
        }
        return static_cast<std::uint8_t>(3 * r >> 8);
    }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::size_t block = row * detail::blocks_across<base3>(w.cols) + col / block_columns;
        return digit(w.data[block * block_bytes + col % 64], col % block_columns / 64);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t, std::uint8_t* block) noexcept {
        std::uint8_t packed[block_bytes];
        for (std::size_t j = 0; j < block_bytes; ++j) {
            unsigned value = codes[j];
            for (std::size_t k = 1; k < 5; ++k) {
                value = 3 * value + codes[64 * k + j];
            }
            packed[j] = fraction(value);
        }
        std::memcpy(block, packed, block_bytes);
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t) noexcept {
        std::uint8_t rest[block_bytes];
        std::memcpy(rest, block, block_bytes);
        for (std::size_t k = 0; k < 5; ++k) {
            for (std::size_t j = 0; j < block_bytes; ++j) {
                const unsigned r = 3u * rest[j];
                codes[64 * k + j] = static_cast<std::uint8_t>(r >> 8);
                rest[j] = static_cast<std::uint8_t>(r);
            }
        }
    }
    /// Digits of a byte are never above 2: 3 * 255 / 256.
    [[nodiscard]] static bool is_ternary(const std::uint8_t*) noexcept { return true; }
};

} // namespace bitnet::inline BITNET_ABI

#endif
