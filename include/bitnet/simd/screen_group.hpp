// SPDX-License-Identifier: MIT
// screen_group: sixteen states that read a screen together, and the bounds of all of them as plain C++.
#ifndef BITNET_SIMD_SCREEN_GROUP_HPP
#define BITNET_SIMD_SCREEN_GROUP_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/screen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// Up to sixteen screen_inputs side by side; in places that are left is anything, and so are their bounds. The bound of
/// screen_input holds for these sums, too: a block's 128 products are one integer, below 2^28, whose conversion to
/// float is rounded, and b fmas add the blocks up; that is g(b + 1) where the other order has g(b + 4).
struct screen_group {
    static constexpr std::size_t inputs = 16;
    static constexpr std::size_t most = 4; ///< groups that are bounded in one reading
    static constexpr std::size_t part_bytes = 64 * inputs;

    const std::int8_t* values = nullptr;   ///< [blocks][two halves][high, low][16 fours of columns][inputs][4]
    const std::int32_t* offsets = nullptr; ///< [blocks][inputs] -32 times the sum of a block's integers
    std::size_t blocks = 0;
    float unit[inputs] = {};
    float norm[inputs] = {};
    float slack[inputs] = {};

    [[nodiscard]] static constexpr std::size_t value_bytes(std::size_t blocks) noexcept {
        return blocks * screen_layout::block_columns * 2 * inputs;
    }
    /// The high and after it the low bytes of half a block. [16 fours of columns][inputs][4] each
    [[nodiscard]] const std::int8_t* part(std::size_t block, std::size_t half) const noexcept {
        return values + (2 * block + half) * 2 * part_bytes;
    }

    /// Puts `x` to place `t`. `to_values` and `to_offsets` are the memory of values and offsets.
    void put(std::size_t t, const screen_input& x, std::int8_t* to_values, std::int32_t* to_offsets) noexcept {
        for (std::size_t half = 0; half < 2 * x.blocks; ++half) {
            std::int8_t* to = to_values + half * 2 * part_bytes + 4 * t;
            for (std::size_t c = 0; c < 64; c += 4, to += 4 * inputs) {
                std::memcpy(to, x.high + half * 64 + c, 4);
                std::memcpy(to + part_bytes, x.low + half * 64 + c, 4);
            }
        }
        for (std::size_t b = 0; b < x.blocks; ++b) {
            std::int32_t sum = 0;
            for (std::size_t l = 0; l < reduction_lanes; ++l) {
                sum += x.offset[b * reduction_lanes + l];
            }
            to_offsets[b * inputs + t] = sum;
        }
        unit[t] = x.unit;
        norm[t] = x.norm;
        slack[t] = x.slack;
    }
};

/// A few rows of a screen.
struct screen_rows_view {
    const std::byte* first;
    std::size_t row_bytes;
    std::size_t count;

    [[nodiscard]] const std::byte* block(std::size_t r, std::size_t b) const noexcept {
        return first + r * row_bytes + b * screen_layout::block_bytes;
    }
};

/// upper[g][r][t] = what Kernel::bound_rows() makes of Kernel::tile_rows rows at a time, and of those that are left.
template <class Kernel>
void screen_groups_by(const std::byte* rows, std::size_t count, const screen_group* groups, std::size_t group_count,
                      float* upper) noexcept {
    const std::size_t row_bytes = screen_layout::row_bytes(groups[0].blocks * screen_layout::block_columns);
    for (std::size_t r = 0; r < count; r += Kernel::tile_rows) {
        const std::size_t here = (std::min)(Kernel::tile_rows, count - r);
        Kernel::bound_rows({rows + r * row_bytes, row_bytes, here}, groups, group_count,
                           upper + r * screen_group::inputs, count * screen_group::inputs);
    }
}

/// sums[t] = the integer products of block `b` of a row, at `block`, with input t.
inline void add_up_block(const std::byte* block, std::size_t b, const screen_group& x,
                         std::int32_t (&sums)[screen_group::inputs]) noexcept {
    std::copy_n(x.offsets + b * screen_group::inputs, screen_group::inputs, sums);
    for (std::size_t c = 0; c < screen_layout::block_columns; ++c) {
        const auto low = static_cast<int>(block[c % 64]) >> (c / 64 * 4) & 15;
        const auto high = static_cast<int>(block[screen_layout::high_at + c % 32]) >> (c / 32 * 2) & 3;
        const std::int8_t* part = x.part(b, c / 64) + c % 64 / 4 * 64 + c % 4;
        for (std::size_t t = 0; t < screen_group::inputs; ++t) {
            sums[t] += (low | high << 4) * (256 * part[4 * t] + part[screen_group::part_bytes + 4 * t]);
        }
    }
}

/// upper[t] = a bound of the dot product of a row of a screen with input t of a group, from above: whole blocks follow
/// one another as fmas.
template <class Fma> void bound_row(const std::byte* row, const screen_group& x, float* upper) noexcept {
    float acc[screen_group::inputs] = {};
    for (std::size_t b = 0; b < x.blocks; ++b, row += screen_layout::block_bytes) {
        std::int32_t sums[screen_group::inputs];
        add_up_block(row, b, x, sums);
        float scale;
        std::memcpy(&scale, row + screen_layout::scale_at, sizeof scale);
        for (std::size_t t = 0; t < screen_group::inputs; ++t) {
            acc[t] = Fma::fma(static_cast<float>(sums[t]), scale, acc[t]);
        }
    }
    for (std::size_t t = 0; t < screen_group::inputs; ++t) {
        screen_input each;
        each.unit = x.unit[t];
        each.norm = x.norm[t];
        each.slack = x.slack[t];
        upper[t] = upper_bound_of<Fma>(acc[t], row, each);
    }
}

/// upper[g][r][t] = that of row r and input t of group g: the loop as plain C++, and the oracle.
template <class Fma>
void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups, std::size_t group_count,
                   float* upper) noexcept {
    for (std::size_t g = 0; g < group_count; ++g) {
        const std::size_t row_bytes = screen_layout::row_bytes(groups[g].blocks * screen_layout::block_columns);
        for (std::size_t r = 0; r < count; ++r, upper += screen_group::inputs) {
            bound_row<Fma>(rows + r * row_bytes, groups[g], upper);
        }
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
