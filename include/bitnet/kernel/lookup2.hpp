// SPDX-License-Identifier: MIT
// The lookup2 layout: pairs of weights as indices of four bits, for kernels that look sums of activations up.
#ifndef BITNET_KERNEL_LOOKUP2_HPP
#define BITNET_KERNEL_LOOKUP2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The idea is that of TL1 in microsoft/BitNet and of T-MAC (Wei et al., 2024): what a pair of weights makes of its two
/// activations is one of nine sums, made once per token and looked up for each row. The byte order is our own.
///
/// 16 columns of 32 rows in 128 bytes: four lines of 32 bytes, byte r of line l for row r and columns 4l .. 4l + 3:
///
///   bits    | 7:4                                  | 3:0
///   index   | 3 * code(4l + 2) + code(4l + 3)      | 3 * code(4l) + code(4l + 1)         0..8
struct lookup2 {
    static constexpr std::string_view name = "lookup2";
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t block_columns = 16;
    static constexpr std::size_t block_bytes = 128;
    static constexpr std::size_t most_columns = std::size_t{1} << 18; // what by_way_of_i2s.hpp has room for

    using view = detail::ternary_view;

    [[nodiscard]] static constexpr bool admits(std::size_t, std::size_t cols) noexcept { return cols <= most_columns; }

    /// The code 0..2 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        const std::size_t block = row / 32 * detail::blocks_across<lookup2>(w.cols) + col / 16;
        const unsigned pair = w.data[block * block_bytes + col % 16 / 4 * 32 + row % 32] >> (col % 4 / 2 * 4) & 15u;
        return static_cast<std::uint8_t>(col % 2 == 0 ? pair / 3 : pair % 3);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            const std::uint8_t* c = codes + r * stride;
            for (std::size_t line = 0; line < 4; ++line, c += 4) {
                block[line * 32 + r] = static_cast<std::uint8_t>((3 * c[2] + c[3]) << 4 | (3 * c[0] + c[1]));
            }
        }
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t r = 0; r < 32; ++r) {
            std::uint8_t* c = codes + r * stride;
            for (std::size_t line = 0; line < 4; ++line, c += 4) {
                const unsigned pairs = block[line * 32 + r];
                c[0] = third_of(pairs & 15u);
                c[1] = static_cast<std::uint8_t>((pairs & 15u) - 3u * c[0]);
                c[2] = third_of(pairs >> 4);
                c[3] = static_cast<std::uint8_t>((pairs >> 4) - 3u * c[2]);
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
        return most <= 8;
    }

private:
    /// index / 3 without a division. \pre index <= 15
    [[nodiscard]] static constexpr std::uint8_t third_of(unsigned index) noexcept {
        return static_cast<std::uint8_t>(index * 11 >> 5);
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
