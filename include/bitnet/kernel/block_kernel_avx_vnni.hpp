// SPDX-License-Identifier: MIT
// block_kernel<isa::avx_vnni>: AVX2's with other products. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_AVX_VNNI_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_avx2.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/block_lanes_avx2.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/dot_product_avx_vnni.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// AVX2's tiles, with vpdpbusd.
struct block_products_avx_vnni {
    static BITNET_ALWAYS_INLINE void unpack(__m256i packed, __m256i (&codes)[4]) noexcept {
        const __m256i mask = _mm256_set1_epi8(3);
        codes[0] = _mm256_and_si256(packed, mask);
        codes[1] = _mm256_and_si256(_mm256_srli_epi16(packed, 2), mask);
        codes[2] = _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask);
        codes[3] = _mm256_and_si256(_mm256_srli_epi16(packed, 6), mask);
    }

    static BITNET_ALWAYS_INLINE __m256i of_row(const __m256i (&codes)[4], const std::int8_t* values) noexcept {
        __m256i sums = _mm256_setzero_si256();
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            add_dot_products(sums, codes[k], _mm256_load_si256(reinterpret_cast<const __m256i*>(values + 32 * k)));
        }
        return sums;
    }
};

struct lane_sums_avx_vnni {
    static BITNET_ALWAYS_INLINE __m256i start(std::int32_t sum) noexcept {
        return _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_set1_epi32(sum));
    }
    static BITNET_ALWAYS_INLINE void add(__m256i& sum, __m256i codes, __m256i values, bool) noexcept {
        add_dot_products(sum, codes, values);
    }
    static BITNET_ALWAYS_INLINE __m256i finish(__m256i sum, std::int32_t) noexcept { return sum; }
};

template <> struct block_kernel<isa::avx_vnni> : block_kernel<isa::avx2> {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        using few_tokens = block_tiling<block_tile_ymm<block_products_avx_vnni>, 2>;
        block_lanes<block_lanes_ymm<lane_sums_avx_vnni>, few_tokens, 3>::multiply(w, first, count, x, y, y_stride);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
