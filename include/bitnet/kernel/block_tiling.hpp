// SPDX-License-Identifier: MIT
// block_tiling: the order in which tiles of a block_kernel pass rows and tokens.
#ifndef BITNET_KERNEL_BLOCK_TILING_HPP
#define BITNET_KERNEL_BLOCK_TILING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>

#include <cstddef>
#include <cstring>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Cuts rows x tokens into tiles of Kernel::tile_rows rows x up to MostTokens tokens, each computed by
/// Kernel::tile<tokens>(w, first row, x from its first token on, y of the first row, y_stride).
/// The rows of a tile stay in cache while the tokens pass.
template <class Kernel, std::size_t MostTokens> struct block_tiling {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        constexpr std::size_t rows = Kernel::tile_rows;
        std::size_t r = 0;
        for (; r + rows <= count; r += rows) {
            some_rows(w, first + r, x, y + r, y_stride);
        }
        if (r == count) {
            return;
        }
        if (first + count < rows) { // the whole matrix has fewer
            block_kernel<isa::scalar>::multiply(w, first + r, count - r, x, y + r, y_stride);
            return;
        }
        last_rows(w, first + count - rows, count - r, x, y + r, y_stride);
    }

private:
    static void some_rows(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                          std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens;) {
            const std::size_t rest = x.tokens - t;
            const std::size_t groups = (rest + MostTokens - 1) / MostTokens;
            const std::size_t group = (rest + groups - 1) / groups; // so that all groups are nearly of one size
            [&]<std::size_t... Less>(std::index_sequence<Less...>) noexcept {
                (void)((group == Less + 1 &&
                        (Kernel::template tile<Less + 1>(w, first, x.part(t, group), y + t * y_stride, y_stride),
                         true)) ||
                       ...);
            }
            (std::make_index_sequence<MostTokens>{});
            t += group;
        }
    }

    /// The last `count` rows of a tile of rows from `first` on, of which the others have been computed already.
    static void last_rows(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                          float* y, std::size_t y_stride) noexcept {
        constexpr std::size_t rows = Kernel::tile_rows;
        float products[MostTokens * rows];
        for (std::size_t t = 0; t < x.tokens; t += MostTokens) {
            const std::size_t some = x.tokens - t < MostTokens ? x.tokens - t : MostTokens;
            some_rows(w, first, x.part(t, some), products, rows);
            for (std::size_t i = 0; i < some; ++i) {
                std::memcpy(y + (t + i) * y_stride, products + i * rows + rows - count, count * sizeof(float));
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
