// SPDX-License-Identifier: MIT
// block_rounding_avx2: how AVX2 rounds activations to int8 with steps. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_ROUNDING_AVX2_HPP
#define BITNET_KERNEL_BLOCK_ROUNDING_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// What quantize_blocks needs.
struct block_rounding_avx2 {
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 32 * 32;
        __m256 most[4] = {_mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps(), _mm256_setzero_ps()};
        for (std::size_t i = 0; i < whole; i += 32) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                const __m256 magnitude = _mm256_andnot_ps(_mm256_set1_ps(-0.0f), _mm256_loadu_ps(x + i + 8 * k));
                most[k] = _mm256_max_ps(magnitude, most[k]); // the second if one is a NaN
            }
        }
        const __m256 eight = _mm256_max_ps(_mm256_max_ps(most[0], most[1]), _mm256_max_ps(most[2], most[3]));
        const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
        const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
        const float largest = _mm_cvtss_f32(_mm_max_ss(two, _mm_movehdup_ps(two)));
        if (whole == n) {
            return largest;
        }
        const float rest = block_rounding::absmax(x + whole, n - whole);
        return rest > largest ? rest : largest;
    }

    static std::int32_t round_step(const float* x, float factor, std::int8_t* values) noexcept {
        __m256i q[4];
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            q[k] = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(x + 8 * k), _mm256_set1_ps(factor)));
        }
        // Fours of columns: even ones in the lower half, odd ones in the upper half.
        const __m256i fours = _mm256_packs_epi16(_mm256_packs_epi32(q[0], q[1]), _mm256_packs_epi32(q[2], q[3]));
        const __m256i by_plane = _mm256_shuffle_epi8(
            fours, _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15)));
        const __m128i even = _mm256_castsi256_si128(by_plane);
        const __m128i odd = _mm256_extracti128_si256(by_plane, 1);
        store_two(_mm_unpacklo_epi8(even, odd), values);
        store_two(_mm_unpackhi_epi8(even, odd), values + 64);
        return sum_of(fours);
    }

private:
    /// Those of two planes.
    static BITNET_ALWAYS_INLINE void store_two(__m128i bytes, std::int8_t* values) noexcept {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(values), bytes);
        _mm_storel_epi64(reinterpret_cast<__m128i*>(values + 32), _mm_unpackhi_epi64(bytes, bytes));
    }

    /// The sum of 32 int8, by that of their distances from -128.
    static BITNET_ALWAYS_INLINE std::int32_t sum_of(__m256i bytes) noexcept {
        const __m256i above = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
        const __m256i eights = _mm256_sad_epu8(above, _mm256_setzero_si256());
        const __m128i sixteens = _mm_add_epi32(_mm256_castsi256_si128(eights), _mm256_extracti128_si256(eights, 1));
        return _mm_cvtsi128_si32(_mm_add_epi32(sixteens, _mm_unpackhi_epi64(sixteens, sixteens))) - 32 * 128;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
