// SPDX-License-Identifier: MIT
// The order in which register tiles of an I2_S kernel pass a range of rows.
#ifndef BITNET_KERNEL_I2S_TILING_HPP
#define BITNET_KERNEL_I2S_TILING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

#if BITNET_X86_64
#include <xmmintrin.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

#if BITNET_X86_64
/// In step `b` of a tile whose rows start at `w`, asks the second level of cache for as many bytes as the step reads,
/// 8 KiB ahead, which reads on across the ends of rows and chunks. Measured on Zen 4 with two rows: 97 % of the speed
/// of plain reads; half as far 76 %, into the first level 41 %, not at all 39 %.
template <std::size_t Rows> BITNET_ALWAYS_INLINE void prefetch_rows(const std::uint8_t* w, std::size_t b) noexcept {
    constexpr std::size_t distance = 8192;
    static_assert(Rows == 1 || Rows % 2 == 0);
    BITNET_UNROLL
    for (std::size_t line = 0; line < (Rows + 1) / 2; ++line) {
        _mm_prefetch(reinterpret_cast<const char*>(w) + distance + b * Rows * 32 + line * 64, _MM_HINT_T1);
    }
}
/// The same for one row that one token meets, a line at a time, and once more shortly before, into the first level: on
/// an Intel Xeon (Sapphire Rapids class) AVX2 reads a quarter faster then, and decoding is a tenth faster.
BITNET_ALWAYS_INLINE void prefetch_line_of_row(const std::uint8_t* w) noexcept {
    prefetch_rows<1>(w, 0);
    _mm_prefetch(reinterpret_cast<const char*>(w) + 1024, _MM_HINT_T0);
}
#endif

/// Cuts rows x tokens into tiles of TileRows rows x up to MostTokens tokens, each computed by
/// Kernel::tile<Rows, Tokens>(weights of the first row, cols, x, first token, y of the first row, y_stride).
/// Few tokens: a tile's rows meet all of them on their way from memory. Many: the activations of one tile stay in the
/// first level of cache while a block of rows passes them. As many as one tile takes: every row passes once.
template <class Kernel, std::size_t MostTokens, std::size_t TileRows = 2> struct i2s_tiling {
    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        constexpr std::size_t few_tokens = 12;
        constexpr std::size_t rows_in_cache = 32;
        const std::size_t block = x.tokens <= MostTokens ? count : x.tokens <= few_tokens ? TileRows : rows_in_cache;
        for (std::size_t r = 0; r < count; r += block) {
            const std::size_t rest = count - r;
            all_tokens(w, first + r, rest < block ? rest : block, x, y + r, y_stride);
        }
    }

private:
    static void all_tokens(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                           std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens;) {
            const std::size_t rest = x.tokens - t;
            const std::size_t groups = (rest + MostTokens - 1) / MostTokens;
            const std::size_t group = (rest + groups - 1) / groups; // so that all groups are nearly of one size
            [&]<std::size_t... Less>(std::index_sequence<Less...>) noexcept {
                (void)((group == Less + 1 && (tokens<Less + 1>(w, first, count, x, t, y, y_stride), true)) || ...);
            }
            (std::make_index_sequence<MostTokens>{});
            t += group;
        }
    }

    template <std::size_t Tokens>
    static void tokens(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                       std::size_t t, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* weights = w.data + first * row_bytes;
        std::size_t r = 0;
        for (; r + TileRows <= count; r += TileRows) {
            Kernel::template tile<TileRows, Tokens>(weights + r * row_bytes, w.cols, x, t, y + r, y_stride);
        }
        for (; r < count; ++r) {
            Kernel::template tile<1, Tokens>(weights + r * row_bytes, w.cols, x, t, y + r, y_stride);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
