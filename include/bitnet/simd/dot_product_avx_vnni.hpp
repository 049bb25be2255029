// SPDX-License-Identifier: MIT
// add_dot_products: AVX-VNNI's vpdpbusd. Empty on other architectures.
#ifndef BITNET_SIMD_DOT_PRODUCT_AVX_VNNI_HPP
#define BITNET_SIMD_DOT_PRODUCT_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// sums[i] += a[4i] b[4i] + ... + a[4i + 3] b[4i + 3], `codes` unsigned and `values` signed. Of the intrinsic, gcc 12
/// copies the accumulators in every step and clang 14 spills them. An instruction of AVX-VNNI in AVX2's region, so that
/// kernels of both can be one template: compilers look at no assembly.
BITNET_ALWAYS_INLINE void add_dot_products(__m256i& sums, __m256i codes, __m256i values) noexcept {
#if defined(__GNUC__)
    __asm__("{%{vex%} vpdpbusd %2, %1, %0|%{vex%} vpdpbusd %0, %1, %2}" : "+x"(sums) : "x"(codes), "x"(values));
#else
    sums = _mm256_dpbusd_avx_epi32(sums, codes, values);
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
