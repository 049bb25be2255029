// SPDX-License-Identifier: MIT
// block_kernel<isa::avx512_vnni>, of isa::amx_int8 too: rows of blocks with scales, sixteen at a time. Empty on other
// architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_AVX512_VNNI_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_AVX512_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_avx2.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/block_lanes_avx512.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/fours_of_rows.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/dot_product_avx512.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Few tokens: the codes of 16 rows x 64 columns are transposed so that a lane is a row from the first product on, as
/// in block_lanes, and used at once. Overflow: a lane holds 32 products of int8 and codes 0 to 3.
template <> struct block_kernel<isa::avx512_vnni> : block_kernel<isa::avx2> {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        block_lanes<block_lanes_avx512, block_tiling<block_kernel, most_tokens>, most_tokens + 1>::multiply(
            w, first, count, x, y, y_stride);
    }

    static constexpr std::size_t tile_rows = 16;

    template <std::size_t Tokens>
    static void tile(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                     std::size_t y_stride) noexcept {
        __m512 sums[Tokens];
        clear(sums);
        const std::uint8_t* block = w.row(first);
        const std::size_t row_bytes = w.row_bytes();
        const std::size_t block_bytes = w.block_bytes();
        const char* ahead = reinterpret_cast<const char*>(block) + prefetch_distance;
        for (std::size_t column = 0; column < w.cols; column += w.block_columns, block += block_bytes) {
            for (std::size_t line = 0; line < tile_rows * block_bytes; line += 64) {
                _mm_prefetch(ahead + line, _MM_HINT_T0);
            }
            ahead += tile_rows * block_bytes;
            const __m512 scales = block_lanes_avx512::scales_of_16(block, row_bytes);
            for (std::size_t c = 0; c < w.block_columns; c += 64) {
                __m512 pair[Tokens];
                clear(pair);
                __m512i fours[4];
                fours_of_rows(block + 2 + c / 4, row_bytes, fours);
                add_step(fours[0], fours[1], x, column + c, pair);
                add_step(fours[2], fours[3], x, column + c + columns_per_step, pair);
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    sums[t] = _mm512_fmadd_ps(pair[t], scales, sums[t]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            _mm512_storeu_ps(y + t * y_stride, sums[t]);
        }
    }

private:
    static constexpr std::size_t most_tokens = 2;
    /// Bytes, on across the ends of tiles, of which all 16 rows are read at once. Measured on Zen 5, rows of 544 bytes
    /// from memory, one thread: 31 GB/s; into the second level 26; 8 KiB ahead there 24, 24 KiB between 22 and 31.
    static constexpr std::size_t prefetch_distance = 12288;

    template <std::size_t Tokens> static BITNET_ALWAYS_INLINE void clear(__m512 (&sums)[Tokens]) noexcept {
        BITNET_UNROLL
        for (__m512& sum : sums) {
            sum = _mm512_setzero_ps();
        }
    }

    /// 32 columns: 8 bytes of each row. A sum that starts from zero becomes the product itself.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_step(__m512i low, __m512i high, const block_activations& x, std::size_t column,
                                              __m512 (&pair)[Tokens]) noexcept {
        __m512i dots[Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            dots[t] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_set1_epi32(x.sums[x.step_at(t, column)]));
        }
        const token_values<Tokens> values(x, column);
        add_planes(low, values, 0, dots);
        add_planes(high, values, 4, dots);
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m512 scale = _mm512_set1_ps(x.steps[x.step_at(t, column)]);
            pair[t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[t]), scale, pair[t]);
        }
    }

    /// 16 columns: 4 bytes of each row.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_planes(__m512i packed, const token_values<Tokens>& values, std::size_t at,
                                                __m512i (&dots)[Tokens]) noexcept {
        const __m512i mask = _mm512_set1_epi8(3);
        add_four(_mm512_and_si512(packed, mask), values, at, dots);
        add_four(_mm512_and_si512(_mm512_srli_epi16(packed, 2), mask), values, at + 32, dots);
        add_four(_mm512_and_si512(_mm512_srli_epi16(packed, 4), mask), values, at + 64, dots);
        add_four(_mm512_and_si512(_mm512_srli_epi16(packed, 6), mask), values, at + 96, dots);
    }
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_four(__m512i codes, const token_values<Tokens>& values, std::size_t at,
                                              __m512i (&dots)[Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            std::int32_t four;
            std::memcpy(&four, values.of[t] + at, sizeof four);
            add_dot_products(dots[t], codes, _mm512_set1_epi32(four));
        }
    }
};

template <> struct block_kernel<isa::amx_int8> : block_kernel<isa::avx512_vnni> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
