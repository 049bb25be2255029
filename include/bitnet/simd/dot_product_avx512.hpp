// SPDX-License-Identifier: MIT
// add_dot_products: AVX-512 VNNI's vpdpbusd. Empty on other architectures.
#ifndef BITNET_SIMD_DOT_PRODUCT_AVX512_HPP
#define BITNET_SIMD_DOT_PRODUCT_AVX512_HPP

#include <bitnet/core/config.hpp>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// sums[i] += a[4i] b[4i] + ... + a[4i + 3] b[4i + 3], `codes` unsigned and `values` signed. Of the intrinsic, gcc 12
/// copies the accumulators in every step and clang 14 spills them.
BITNET_ALWAYS_INLINE void add_dot_products(__m512i& sums, __m512i codes, __m512i values) noexcept {
#if defined(__GNUC__)
    __asm__("{vpdpbusd %2, %1, %0|vpdpbusd %0, %1, %2}" : "+v"(sums) : "v"(codes), "v"(values));
#else
    sums = _mm512_dpbusd_epi32(sums, codes, values);
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
