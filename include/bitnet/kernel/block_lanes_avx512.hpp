// SPDX-License-Identifier: MIT
// block_lanes_avx512: how AVX-512 VNNI multiplies scaled_blocks by many tokens. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_LANES_AVX512_HPP
#define BITNET_KERNEL_BLOCK_LANES_AVX512_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/fours_of_rows.hpp>
#include <bitnet/simd/dot_product_avx512.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// What block_lanes needs, in tiles of 32 rows x up to 5 tokens: 10 sums of 32 columns, 10 of a pair, two registers of
/// codes, one of activations; of the 10 sums of a row, some wait in memory.
struct block_lanes_avx512 {
    static constexpr std::size_t rows = 32;
    static constexpr std::size_t piece_columns = 512;

    static void unpack(const std::uint8_t* packed, std::size_t row_bytes, std::uint8_t* codes) noexcept {
        unpack_rows(packed, row_bytes, codes);
        unpack_rows(packed + 16 * row_bytes, row_bytes, codes + 64);
    }

    static void load_scales(const std::uint8_t* block, std::size_t row_bytes, float* scales) noexcept {
        _mm512_store_ps(scales, scales_of_16(block, row_bytes));
        _mm512_store_ps(scales + 16, scales_of_16(block + 16 * row_bytes, row_bytes));
    }

    /// The scales of 16 rows: the first two bytes of each block.
    static BITNET_ALWAYS_INLINE __m512 scales_of_16(const std::uint8_t* block, std::size_t row_bytes) noexcept {
        __m512i fours[4];
        fours_of_rows(block, row_bytes, fours);
        return _mm512_cvtph_ps(_mm512_cvtepi32_epi16(fours[0]));
    }

    template <std::size_t Tokens>
    static void tile(const block_piece& piece, const block_activations& x, float* y, std::size_t y_stride) noexcept {
        __m512 sums[2][Tokens];
        load_sums(y, y_stride, piece.column == 0, sums);
        const std::uint8_t* codes = piece.codes;
        const float* scales = piece.scales;
        std::size_t column = piece.column;
        for (std::size_t b = 0; b < piece.blocks; ++b, scales += rows) {
            piece.prefetch(b);
            for (std::size_t p = 0; p < piece.block_pairs; ++p) {
                __m512 pair[2][Tokens];
                load_sums(y, y_stride, true, pair);
                add_step(codes, x, column, pair);
                add_step(codes + columns_per_step * rows, x, column + columns_per_step, pair);
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    sums[0][t] = _mm512_fmadd_ps(pair[0][t], _mm512_load_ps(scales), sums[0][t]);
                    sums[1][t] = _mm512_fmadd_ps(pair[1][t], _mm512_load_ps(scales + 16), sums[1][t]);
                }
                codes += 2 * columns_per_step * rows;
                column += 2 * columns_per_step;
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            _mm512_storeu_ps(y + t * y_stride, sums[0][t]);
            _mm512_storeu_ps(y + t * y_stride + 16, sums[1][t]);
        }
    }

private:
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void load_sums(const float* y, std::size_t y_stride, bool are_zero,
                                               __m512 (&sums)[2][Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            sums[0][t] = are_zero ? _mm512_setzero_ps() : _mm512_loadu_ps(y + t * y_stride);
            sums[1][t] = are_zero ? _mm512_setzero_ps() : _mm512_loadu_ps(y + t * y_stride + 16);
        }
    }

    /// 32 columns of all rows, those of each token. A sum that starts from zero becomes the product itself.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_step(const std::uint8_t* codes, const block_activations& x, std::size_t column,
                                              __m512 (&pair)[2][Tokens]) noexcept {
        __m512i dots[2][Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            dots[0][t] = _mm512_sub_epi32(_mm512_setzero_si512(), _mm512_set1_epi32(x.sums[x.step_at(t, column)]));
            dots[1][t] = dots[0][t];
        }
        const token_values<Tokens> values(x, column);
        BITNET_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
            add_four(codes + i * 4 * rows, values, i % 4 * 32 + i / 4 * 4, dots);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m512 step = _mm512_set1_ps(x.steps[x.step_at(t, column)]);
            pair[0][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[0][t]), step, pair[0][t]);
            pair[1][t] = _mm512_fmadd_ps(_mm512_cvtepi32_ps(dots[1][t]), step, pair[1][t]);
        }
    }

    /// Four columns.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_four(const std::uint8_t* codes, const token_values<Tokens>& values,
                                              std::size_t at, __m512i (&dots)[2][Tokens]) noexcept {
        const __m512i upper = _mm512_load_si512(codes);
        const __m512i lower = _mm512_load_si512(codes + 64);
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            std::int32_t four;
            std::memcpy(&four, values.of[t] + at, sizeof four);
            const __m512i all = _mm512_set1_epi32(four);
            add_dot_products(dots[0][t], upper, all);
            add_dot_products(dots[1][t], lower, all);
        }
    }

    /// 16 rows x 64 columns.
    static BITNET_ALWAYS_INLINE void unpack_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                                 std::uint8_t* codes) noexcept {
        __m512i fours[4];
        fours_of_rows(packed, row_bytes, fours);
        BITNET_UNROLL
        for (std::size_t i = 0; i < 4; ++i) {
            store_planes(fours[i], codes + 16 * i * rows);
        }
    }

    /// Bits 1:0 are the first plane's codes, 7:6 the last's.
    static BITNET_ALWAYS_INLINE void store_planes(__m512i packed, std::uint8_t* codes) noexcept {
        const __m512i mask = _mm512_set1_epi8(3);
        _mm512_store_si512(codes, _mm512_and_si512(packed, mask));
        _mm512_store_si512(codes + 4 * rows, _mm512_and_si512(_mm512_srli_epi16(packed, 2), mask));
        _mm512_store_si512(codes + 8 * rows, _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask));
        _mm512_store_si512(codes + 12 * rows, _mm512_and_si512(_mm512_srli_epi16(packed, 6), mask));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
