// SPDX-License-Identifier: MIT
// unpacking_kernel: any layout in plain C++ by way of I2_S, for instruction sets that have a kernel of I2_S only.
#ifndef BITNET_KERNEL_UNPACKING_KERNEL_HPP
#define BITNET_KERNEL_UNPACKING_KERNEL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

namespace bitnet::inline BITNET_ABI::detail {

/// Unpacks a block of rows and columns to I2_S and multiplies it by kernel<Isa, i2s>. Unpacking costs as much as tens
/// of tokens do. Unlike by_way_of_i2s it cuts rows, too, so that 32 KiB of stack are enough for any width: WebAssembly
/// has 64 by default, and overwrites other data below them.
template <class Isa, ternary_layout Layout> struct unpacking_kernel {
    using layout = Layout;

    static void multiply(const typename layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t r = 0; r < count; r += most_rows) {
            const std::size_t block_rows = (std::min)(count - r, most_rows);
            for (std::size_t c = 0; c < w.cols; c += most_columns) {
                add_block(w, first + r, block_rows, c, x, y + r, y_stride);
            }
        }
    }

private:
    static constexpr std::size_t most_rows = 32;
    static constexpr std::size_t most_columns = 1920; // whole windows of every layout
    static constexpr std::size_t most_tokens = 16;
    /// Columns unpacked at a time: whole blocks of both layouts.
    static constexpr std::size_t window = std::lcm(Layout::block_columns, i2s::block_columns);
    static_assert(most_columns % window == 0);

    /// Columns [c, c + most_columns) of up to most_rows rows; those from 0 on overwrite y.
    static void add_block(const typename layout::view& w, std::size_t first, std::size_t count, std::size_t c,
                          const activation_view& x, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t blocks = (w.cols - c + i2s::block_columns - 1) / i2s::block_columns; // no column further
        const std::size_t cols = (std::min)(blocks * i2s::block_columns, most_columns);
        std::uint8_t unpacked[most_rows * most_columns / 4];
        unpack(w, first, count, c, unpacked, cols / 4);
        const std::int32_t no_sums[most_tokens] = {};
        for (std::size_t t = 0; t < x.tokens; t += most_tokens) {
            const std::size_t tokens = (std::min)(x.tokens - t, most_tokens);
            const activation_view part{x.data + t * x.stride + c, no_sums, x.stride, tokens};
            std::int32_t products[most_tokens * most_rows];
            kernel<Isa, i2s>::multiply({unpacked, count, cols}, 0, count, part, products, most_rows);
            for (std::size_t i = 0; i < tokens; ++i) {
                std::int32_t* out = y + (t + i) * y_stride;
                for (std::size_t r = 0; r < count; ++r) {
                    out[r] = products[i * most_rows + r] + (c == 0 ? -x.sums[t + i] : out[r]);
                }
            }
        }
    }

    /// Columns from `c` on of `count` rows as rows of I2_S.
    static void unpack(const typename Layout::view& w, std::size_t first, std::size_t count, std::size_t c,
                       std::uint8_t* out, std::size_t row_bytes) noexcept {
        constexpr std::size_t rows = Layout::block_rows;
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / rows;
            const std::size_t stop = (std::min)(end, (group + 1) * rows);
            for (std::size_t at = 0; at < row_bytes * 4; at += window) {
                std::uint8_t codes[rows * window];
                unpack_window(w, group, c + at, codes);
                for (std::size_t r = begin; r < stop; ++r) {
                    pack(codes + r % rows * window, out + (r - first) * row_bytes, at, row_bytes);
                }
            }
            begin = stop;
        }
    }

    /// A window of a group of rows, from column `c` on; code 0 after the last block.
    static void unpack_window(const typename Layout::view& w, std::size_t group, std::size_t c,
                              std::uint8_t* codes) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        for (std::size_t at = 0; at < window; at += Layout::block_columns) {
            const std::size_t block = (c + at) / Layout::block_columns;
            if (block < blocks) {
                Layout::unpack_block(w.data + (group * blocks + block) * Layout::block_bytes, codes + at, window);
                continue;
            }
            for (std::size_t r = 0; r < Layout::block_rows; ++r) {
                std::memset(codes + r * window + at, 0, Layout::block_columns);
            }
        }
    }

    /// A window of one row, which may end within it.
    static void pack(const std::uint8_t* codes, std::uint8_t* row, std::size_t begin, std::size_t row_bytes) noexcept {
        for (std::size_t at = 0; at < window && (begin + at) / 4 < row_bytes; at += i2s::block_columns) {
            i2s::pack_block(codes + at, 0, row + (begin + at) / 4);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
