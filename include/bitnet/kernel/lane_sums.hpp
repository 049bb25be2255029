// SPDX-License-Identifier: MIT
// lane_sums: the int32 lanes of ymm registers added up. Empty on other architectures than x86-64.
#ifndef BITNET_KERNEL_LANE_SUMS_HPP
#define BITNET_KERNEL_LANE_SUMS_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

[[nodiscard]] BITNET_ALWAYS_INLINE std::int32_t lane_sum(__m256i v) noexcept {
    __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
    s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
    return _mm_cvtsi128_si32(s);
}

/// y[r] = sum of the lanes of v[r], less `offset`.
template <std::size_t Rows>
BITNET_ALWAYS_INLINE void store_lane_sums(const __m256i (&v)[Rows], std::int32_t offset, std::int32_t* y) noexcept {
    if constexpr (Rows == 2) {
        const __m256i pairs = _mm256_hadd_epi32(v[0], v[1]);
        const __m128i quads = _mm_add_epi32(_mm256_castsi256_si128(pairs), _mm256_extracti128_si256(pairs, 1));
        const __m128i sums = _mm_sub_epi32(_mm_hadd_epi32(quads, quads), _mm_set1_epi32(offset));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(y), sums);
    } else {
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = lane_sum(v[r]) - offset;
        }
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
