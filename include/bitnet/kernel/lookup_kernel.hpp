// SPDX-License-Identifier: MIT
// The look-up kernels of lookup2 and lookup3 but for their loops: groups of 32 rows, tables of activations, unpacking.
#ifndef BITNET_KERNEL_LOOKUP_KERNEL_HPP
#define BITNET_KERNEL_LOOKUP_KERNEL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

namespace bitnet::inline BITNET_ABI::detail {

/// A sum of activations T, |T| <= 384, is looked up exactly as two bytes: T = 31 h + l with |l| <= 15 and |h| <= 12.
/// Eight of them (one block) add up in bytes: |8 l| <= 120, |8 h| <= 96. With 128 added, so that they are unsigned,
/// they then add up in 16 bits for some number of blocks, and these in 32.
struct lookup_tables {
    static constexpr std::size_t table_bytes = 32; ///< l of sixteen entries, then h of them
    static constexpr std::size_t tables_per_block = 8;
    static constexpr std::size_t block_bytes = tables_per_block * table_bytes;
    static constexpr std::uint32_t bias_per_block = 31 * 128 + 128;
};

/// Where rows begin .. end - 1 of a group are unpacked to, row `begin` to `data`.
struct unpacked_rows {
    std::size_t begin, end, row_bytes;
    std::uint8_t* data;
};

/// Calls f(group, begin, end) for the groups of `Rows` rows that [first, first + count) touches: its rows begin .. end
/// - 1 of the group.
template <std::size_t Rows, class F>
BITNET_ALWAYS_INLINE void for_each_group(std::size_t first, std::size_t count, F&& f) noexcept {
    const std::size_t end = first + count;
    for (std::size_t begin = first; begin < end;) {
        const std::size_t group = begin / Rows;
        const std::size_t stop = end < (group + 1) * Rows ? end : (group + 1) * Rows;
        f(group, begin - group * Rows, stop - group * Rows);
        begin = stop;
    }
}

/// Rows of a look-up layout as I2_S, for many tokens.
template <class Layout, class Group> struct lookup_unpacker {
    static void unpack(const typename Layout::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        for_each_group<Layout::block_rows>(first, count,
                                           [&](std::size_t group, std::size_t begin, std::size_t end) noexcept {
                                               unpack_group(w, group, {begin, end, row_bytes, out});
                                               out += (end - begin) * row_bytes;
                                           });
    }

private:
    /// Whole blocks of the layout and of I2_S.
    static constexpr std::size_t window = std::lcm(Layout::block_columns, i2s::block_columns);
    static constexpr std::size_t window_blocks = window / Layout::block_columns;

    static void unpack_group(const typename Layout::view& w, std::size_t group, const unpacked_rows& to) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* first = w.data + group * blocks * Layout::block_bytes;
        alignas(32) std::int8_t columns[window][Layout::block_rows];
        std::size_t block = 0;
        for (std::size_t at = 0; at < to.row_bytes; at += window / 4, block += window_blocks) {
            const std::size_t rest = block < blocks ? blocks - block : 0;
            const std::size_t count = rest < window_blocks ? rest : window_blocks;
            Group::unpack(first + block * Layout::block_bytes, count, columns);
            std::memset(columns + count * Layout::block_columns, 0,
                        (window_blocks - count) * Layout::block_columns * sizeof columns[0]);
            for (std::size_t c = 0; c < window && at + c / 4 < to.row_bytes; c += i2s::block_columns) {
                Group::store_bytes(columns + c, at + c / 4, to);
                Group::store_bytes(columns + c + 16, at + c / 4 + 16, to);
            }
        }
    }
};

/// What a look-up kernel is outside its loops, which `Group` has: real functions of an instruction set's region, for
/// runs of blocks of a group of rows.
///
///     few_tokens                                       are looked up; more go through I2sKernel
///     make_tables(activations, blocks, out)
///     sum(first block, blocks, tables, total)          total[r] = the products of a group's rows with one token
///     unpack(first block, blocks, columns)             weights -1, 0, +1, column by column
///     store_bytes(columns, at, to)                     bytes at .. at + 15 of I2_S of the rows, from columns 0..15 of
///                                                      `columns` and those 32, 64 and 96 further on
///
/// For what the members do see kernel.hpp.
template <class Layout, class Group, class I2sKernel> struct lookup_kernel {
    using layout = Layout;
    static constexpr std::size_t arranged_tokens = 1;

    [[nodiscard]] static constexpr std::size_t arranged_bytes(std::size_t cols) noexcept {
        return blocks_across<Layout>(cols) * lookup_tables::block_bytes;
    }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        const std::size_t whole = cols / Layout::block_columns;
        Group::make_tables(values, whole, out);
        const std::size_t done = whole * Layout::block_columns;
        if (done < cols) {
            std::int8_t last[Layout::block_columns] = {};
            std::memcpy(last, values + done, cols - done);
            Group::make_tables(last, 1, out + whole * lookup_tables::block_bytes);
        }
    }

    static void multiply(const typename Layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > Group::few_tokens) {
            using unpacker = lookup_unpacker<Layout, Group>;
            by_way_of_i2s<I2sKernel, Layout, unpacker>::multiply(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        for_each_group<Layout::block_rows>(
            first, count, [&](std::size_t group, std::size_t begin, std::size_t end) noexcept {
                const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
                for (std::size_t t = 0; t < x.tokens; ++t) {
                    std::uint32_t total[Layout::block_rows];
                    Group::sum(block, blocks, x.arranged + t * x.arranged_stride, total);
                    std::memcpy(y + t * y_stride, total + begin, (end - begin) * sizeof *y);
                }
                y += end - begin;
            });
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
