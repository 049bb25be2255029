// SPDX-License-Identifier: MIT
// block_lanes_avx2: how AVX2 multiplies scaled_blocks by many tokens. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_LANES_AVX2_HPP
#define BITNET_KERNEL_BLOCK_LANES_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/fours_of_rows.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// What block_lanes needs, in tiles of 16 rows x up to 5 tokens: 10 sums of 32 columns, two registers of codes, one of
/// activations; those of a pair of them and of a row wait in memory.
///
/// \tparam Sums how 32 columns are added up: start(sum of the activations); add(sum, codes, activations, whether they
/// are
///   the first); and finish(sum, sum of the activations), int32 lanes. That sum is subtracted by either the first or
///   the last.
template <class Sums> struct block_lanes_ymm {
    static constexpr std::size_t rows = 16;
    static constexpr std::size_t piece_columns = 1024;

    static void unpack(const std::uint8_t* packed, std::size_t row_bytes, std::uint8_t* codes) noexcept {
        unpack_rows(packed, row_bytes, codes);
        unpack_rows(packed + 8 * row_bytes, row_bytes, codes + 32);
    }

    static void load_scales(const std::uint8_t* block, std::size_t row_bytes, float* scales) noexcept {
        store_scales(block, row_bytes, scales);
        store_scales(block + 8 * row_bytes, row_bytes, scales + 8);
    }

    template <std::size_t Tokens>
    static void tile(const block_piece& piece, const block_activations& x, float* y, std::size_t y_stride) noexcept {
        __m256 sums[2][Tokens];
        load_sums(y, y_stride, piece.column == 0, sums);
        const std::uint8_t* codes = piece.codes;
        std::size_t column = piece.column;
        for (std::size_t b = 0; b < piece.blocks; ++b) {
            piece.prefetch(b);
            for (std::size_t p = 0; p < piece.block_pairs; ++p) {
                __m256 pair[2][Tokens];
                load_sums(y, y_stride, true, pair);
                add_step(codes, x, column, pair);
                add_step(codes + columns_per_step * rows, x, column + columns_per_step, pair);
                add_pair(pair, piece.scales + b * rows, sums);
                codes += 2 * columns_per_step * rows;
                column += 2 * columns_per_step;
            }
        }
        store_sums(sums, y, y_stride);
    }

private:
    /// The sums of rows that y holds, or zeros.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void load_sums(const float* y, std::size_t y_stride, bool are_zero,
                                               __m256 (&sums)[2][Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            sums[0][t] = are_zero ? _mm256_setzero_ps() : _mm256_loadu_ps(y + t * y_stride);
            sums[1][t] = are_zero ? _mm256_setzero_ps() : _mm256_loadu_ps(y + t * y_stride + 8);
        }
    }
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void store_sums(const __m256 (&sums)[2][Tokens], float* y,
                                                std::size_t y_stride) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            _mm256_storeu_ps(y + t * y_stride, sums[0][t]);
            _mm256_storeu_ps(y + t * y_stride + 8, sums[1][t]);
        }
    }

    /// 32 columns of all rows, those of each token. What starts from zero becomes the product itself.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_step(const std::uint8_t* codes, const block_activations& x, std::size_t column,
                                              __m256 (&pair)[2][Tokens]) noexcept {
        __m256i dots[2][Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            dots[0][t] = Sums::start(x.sums[x.step_at(t, column)]);
            dots[1][t] = dots[0][t];
        }
        const token_values<Tokens> values(x, column);
        BITNET_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
            const __m256i upper = load(codes + i * 4 * rows);
            const __m256i lower = load(codes + i * 4 * rows + 32);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const __m256i four = broadcast_four(values.of[t] + i % 4 * 32 + i / 4 * 4);
                Sums::add(dots[0][t], upper, four, i == 0);
                Sums::add(dots[1][t], lower, four, i == 0);
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::int32_t less = x.sums[x.step_at(t, column)];
            const __m256 step = _mm256_set1_ps(x.steps[x.step_at(t, column)]);
            pair[0][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(Sums::finish(dots[0][t], less)), step, pair[0][t]);
            pair[1][t] = _mm256_fmadd_ps(_mm256_cvtepi32_ps(Sums::finish(dots[1][t], less)), step, pair[1][t]);
        }
    }

    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_pair(const __m256 (&pair)[2][Tokens], const float* scales,
                                              __m256 (&sums)[2][Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            sums[0][t] = _mm256_fmadd_ps(pair[0][t], _mm256_load_ps(scales), sums[0][t]);
            sums[1][t] = _mm256_fmadd_ps(pair[1][t], _mm256_load_ps(scales + 8), sums[1][t]);
        }
    }

    /// Four activations of a token in every lane.
    static BITNET_ALWAYS_INLINE __m256i broadcast_four(const std::int8_t* values) noexcept {
        std::int32_t four;
        std::memcpy(&four, values, sizeof four);
        return _mm256_set1_epi32(four);
    }
    static BITNET_ALWAYS_INLINE __m256i load(const std::uint8_t* codes) noexcept {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(codes));
    }

    static BITNET_ALWAYS_INLINE void store_scales(const std::uint8_t* block, std::size_t row_bytes,
                                                  float* scales) noexcept {
        __m256i fours[4];
        fours_of_rows(block, row_bytes, fours);
        const __m256i halves = _mm256_and_si256(fours[0], _mm256_set1_epi32(0xffff));
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packus_epi32(halves, halves), 0xd8);
        _mm256_store_ps(scales, _mm256_cvtph_ps(_mm256_castsi256_si128(packed)));
    }

    /// 8 rows x 64 columns.
    static BITNET_ALWAYS_INLINE void unpack_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                                 std::uint8_t* codes) noexcept {
        __m256i fours[4];
        fours_of_rows(packed, row_bytes, fours);
        BITNET_UNROLL
        for (std::size_t i = 0; i < 4; ++i) {
            store_planes(fours[i], codes + 16 * i * rows);
        }
    }

    /// Bits 1:0 are the first plane's codes, 7:6 the last's.
    static BITNET_ALWAYS_INLINE void store_planes(__m256i packed, std::uint8_t* codes) noexcept {
        const __m256i mask = _mm256_set1_epi8(3);
        store(codes, _mm256_and_si256(packed, mask));
        store(codes + 4 * rows, _mm256_and_si256(_mm256_srli_epi16(packed, 2), mask));
        store(codes + 8 * rows, _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask));
        store(codes + 12 * rows, _mm256_and_si256(_mm256_srli_epi16(packed, 6), mask));
    }
    static BITNET_ALWAYS_INLINE void store(std::uint8_t* codes, __m256i v) noexcept {
        _mm256_store_si256(reinterpret_cast<__m256i*>(codes), v);
    }
};

/// By vpmaddubsw, in int16. Overflow: a pair of products of int8 and codes 0 to 3 is at most 2 * 3 * 128; a lane adds
/// eight, 6144.
struct lane_sums_avx2 {
    static BITNET_ALWAYS_INLINE __m256i start(std::int32_t) noexcept { return _mm256_setzero_si256(); }
    static BITNET_ALWAYS_INLINE void add(__m256i& sum, __m256i codes, __m256i values, bool are_first) noexcept {
        const __m256i words = _mm256_maddubs_epi16(codes, values);
        sum = are_first ? words : _mm256_add_epi16(sum, words);
#if defined(__GNUC__)
        __asm__("" : "+x"(sum)); // now: there are no registers for the products of several fours
#endif
    }
    static BITNET_ALWAYS_INLINE __m256i finish(__m256i sum, std::int32_t less) noexcept {
        return _mm256_sub_epi32(_mm256_madd_epi16(sum, _mm256_set1_epi16(1)), _mm256_set1_epi32(less));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
