// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for AVX-512 VNNI. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_AVX512_VNNI_HPP
#define BITNET_KERNEL_BASE3_AVX512_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_avx2.hpp>
#include <bitnet/kernel/base3_tiling.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Two sums of vpdpbusd and no digits, as base3_avx_vnni.hpp says; a block is one register. (Cutting the digits out by
/// VBMI's table look-ups was measured and is no faster.)
/// Overflow: as there, with twice the lanes.
template <> struct kernel<isa::avx512_vnni, base3> {
    using layout = base3;
    static constexpr std::size_t few_tokens = 3; ///< that are multiplied without unpacking

    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        tiling::multiply(w, first, count, x, y, y_stride);
    }

private:
    using tiling =
        base3_tiling<kernel, few_tokens, by_way_of_i2s<kernel<isa::avx512_vnni, i2s>, base3, base3_unpacker_avx2>>;
    friend tiling;

    template <std::size_t Rows>
    static void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x, std::int32_t sum,
                     std::int32_t* y) noexcept {
        __m512i upper[Rows]; // sum of r(k) x(k)
        __m512i lower[Rows]; // sum of r(k+1) x(k)
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            upper[r] = _mm512_setzero_si512();
            lower[r] = _mm512_setzero_si512();
        }
        for (std::size_t at = 0; at < row_bytes; at += base3::block_bytes) {
            prefetch_base3<Rows>(w, at);
            add_block<Rows>(w + at, row_bytes, x + 5 * at, upper, lower);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m512i thrice = _mm512_add_epi32(_mm512_add_epi32(upper[r], upper[r]), upper[r]);
            y[r] = lane_sum(fold_halves(_mm512_srai_epi32(_mm512_sub_epi32(thrice, lower[r]), 8))) - sum;
        }
    }

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                               __m512i (&upper)[Rows], __m512i (&lower)[Rows]) noexcept {
        __m512i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            rest[r] = _mm512_loadu_si512(p);
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m512i values = _mm512_loadu_si512(x + 64 * k);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                upper[r] = _mm512_dpbusd_epi32(upper[r], rest[r], values);
                rest[r] = _mm512_add_epi8(_mm512_add_epi8(rest[r], rest[r]), rest[r]);
                lower[r] = _mm512_dpbusd_epi32(lower[r], rest[r], values);
            }
        }
    }

    static BITNET_ALWAYS_INLINE __m256i fold_halves(__m512i v) noexcept {
        return _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
