// SPDX-License-Identifier: MIT
// The lookup3 layout: three weights as a sign and an index of four bits, for kernels that look sums of activations up.
#ifndef BITNET_KERNEL_LOOKUP3_HPP
#define BITNET_KERNEL_LOOKUP3_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The idea is that of TL2 in microsoft/BitNet (Wang et al., "Bitnet.cpp", 2025): of the 27 sums that three weights can
/// make of their activations, 13 are the negatives of others, so that a sign and an index of four bits are enough: 5/3
/// bits a weight. The byte order is our own; columns need be a multiple of nothing.
///
/// 24 columns of 32 rows in 160 bytes: five lines of 32 bytes, of which byte r belongs to row r. With
/// value(t) = 9 w(3t) + 3 w(3t + 1) + w(3t + 2) for triple t = 0..7 of the block, which is -13..13:
///
///   lines 0..3 | bits 7:4 |value(2 * line + 1)|, bits 3:0 |value(2 * line)|       0..13
///   line 4     | bit 7 - t: value(t) < 0
struct lookup3 {
    static constexpr std::string_view name = "lookup3";
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t block_columns = 24;
    static constexpr std::size_t block_bytes = 160;
    static constexpr std::size_t most_columns = std::size_t{1} << 18; // what by_way_of_i2s.hpp has room for

    using view = detail::ternary_view;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::uint8_t* block =
            w.data + (row / 32 * detail::blocks_across<lookup3>(w.cols) + col / 24) * block_bytes + row % 32;
        const std::size_t triple = col % 24 / 3;
        const unsigned magnitude = block[triple / 2 * 32] >> (triple % 2 * 4) & 15u;
        const bool negative = (block[std::size_t{4} * 32] >> (7 - triple) & 1u) != 0;
        const unsigned value = negative ? 13 - magnitude : 13 + magnitude; // 9 c0 + 3 c1 + c2
        constexpr unsigned place[3] = {9, 3, 1};
        return static_cast<std::uint8_t>(value / place[col % 3] % 3);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            const std::uint8_t* c = codes + r * stride;
            unsigned signs = 0;
            for (std::size_t line = 0; line < 4; ++line, c += 6) {
                const int low = 9 * c[0] + 3 * c[1] + c[2] - 13;
                const int high = 9 * c[3] + 3 * c[4] + c[5] - 13;
                signs = signs << 2 | (low < 0 ? 2u : 0u) | (high < 0 ? 1u : 0u);
                block[line * 32 + r] =
                    static_cast<std::uint8_t>((high < 0 ? -high : high) << 4 | (low < 0 ? -low : low));
            }
            block[std::size_t{4} * 32 + r] = static_cast<std::uint8_t>(signs);
        }
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            std::uint8_t* c = codes + r * stride;
            unsigned signs = block[std::size_t{4} * 32 + r];
            for (std::size_t triple = 0; triple < 8; ++triple, c += 3, signs <<= 1) {
                const unsigned magnitude = block[triple / 2 * 32 + r] >> (triple % 2 * 4) & 15u;
                const unsigned value = (signs & 128u) != 0 ? 13 - magnitude : 13 + magnitude;
                const unsigned third = value * 11 >> 5; // value / 3 up to 26: tested
                const unsigned ninth = third * 11 >> 5;
                c[0] = static_cast<std::uint8_t>(ninth);
                c[1] = static_cast<std::uint8_t>(third - 3 * ninth);
                c[2] = static_cast<std::uint8_t>(value - 3 * third);
            }
        }
    }
    [[nodiscard]] static bool is_ternary(const std::uint8_t* block) noexcept {
        std::uint8_t most = 0;
        for (std::size_t i = 0; i < std::size_t{4} * 32; ++i) {
            const auto high = static_cast<std::uint8_t>(block[i] >> 4);
            const auto low = static_cast<std::uint8_t>(block[i] & 15u);
            most = (std::max)(most, (std::max)(high, low));
        }
        return most <= 13;
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
