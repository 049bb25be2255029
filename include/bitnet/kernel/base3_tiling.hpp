// SPDX-License-Identifier: MIT
// The order in which register tiles of a kernel of the base3 layout pass a range of rows.
#ifndef BITNET_KERNEL_BASE3_TILING_HPP
#define BITNET_KERNEL_BASE3_TILING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <xmmintrin.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

#if BITNET_X86_64 || BITNET_ARM64
/// At byte `at` of the rows of a tile, which start at `w`. A tile reads its rows side by side; the prefetch walks
/// memory linearly, far ahead, into the second level of cache.
template <std::size_t Rows> BITNET_ALWAYS_INLINE void prefetch_base3(const std::uint8_t* w, std::size_t at) noexcept {
    BITNET_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) {
        const std::uint8_t* line = w + Rows * at + 64 * r;
#if BITNET_X86_64
        _mm_prefetch(reinterpret_cast<const char*>(line) + 10240, _MM_HINT_T1);
#else
        prefetch_line(line + 8192);
#endif
    }
}
#endif

/// Few tokens, one after the other: tiles of four rows, each computed by
/// Kernel::tile<Rows>(weights of the first row, bytes of a row, activations, their sum, y of the first row).
/// More tokens than that go through ManyTokens, as by_way_of_i2s.
template <class Kernel, std::size_t FewTokens, class ManyTokens> struct base3_tiling {
    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > FewTokens) {
            ManyTokens::multiply(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t row_bytes = blocks_across<base3>(w.cols) * base3::block_bytes;
        const std::uint8_t* weights = w.data + first * row_bytes;
        std::size_t r = 0;
        for (; r + tile_rows <= count; r += tile_rows) {
            tokens<tile_rows>(weights + r * row_bytes, row_bytes, x, y + r, y_stride);
        }
        for (; r < count; ++r) {
            tokens<1>(weights + r * row_bytes, row_bytes, x, y + r, y_stride);
        }
    }

private:
    static constexpr std::size_t tile_rows = 4;

    template <std::size_t Rows>
    static void tokens(const std::uint8_t* w, std::size_t row_bytes, const activation_view& x, std::int32_t* y,
                       std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens; ++t) {
            Kernel::template tile<Rows>(w, row_bytes, x.data + t * x.stride, x.sums[t], y + t * y_stride);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
