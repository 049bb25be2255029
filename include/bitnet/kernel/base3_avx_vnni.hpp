// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for AVX-VNNI. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_AVX_VNNI_HPP
#define BITNET_KERNEL_BASE3_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_avx2.hpp>
#include <bitnet/kernel/base3_tiling.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// No digit is ever cut out. From 3 r(k) = 256 d(k) + r(k+1), see base3.hpp,
///
///     256 * sum of d(k) x(k) = 3 * sum of r(k) x(k) - sum of r(k+1) x(k),   k = 0..4
///
/// and both sums are vpdpbusd of bytes; r(k+1) = 3 r(k) mod 256 is two additions. The sums may wrap around; what they
/// make is 256 times a product, and fits a lane of int32 to 2^18 columns: 256 * 2 * 128 * 2^18 / 8 lanes = 2^31.
/// (The last step is shifted lane by lane, as its sum over lanes would not fit.)
template <> struct kernel<isa::avx_vnni, base3> {
    using layout = base3;
    static constexpr std::size_t few_tokens = 3; ///< that are multiplied without unpacking

    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        tiling::multiply(w, first, count, x, y, y_stride);
    }

private:
    using tiling =
        base3_tiling<kernel, few_tokens, by_way_of_i2s<kernel<isa::avx_vnni, i2s>, base3, base3_unpacker_avx2>>;
    friend tiling;

    template <std::size_t Rows>
    static void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x, std::int32_t sum,
                     std::int32_t* y) noexcept {
        __m256i upper[Rows]; // sum of r(k) x(k)
        __m256i lower[Rows]; // sum of r(k+1) x(k)
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            upper[r] = _mm256_setzero_si256();
            lower[r] = _mm256_setzero_si256();
        }
        for (std::size_t at = 0; at < row_bytes; at += base3::block_bytes) {
            prefetch_base3<Rows>(w, at);
            add_half<Rows>(w + at, row_bytes, x + 5 * at, upper, lower);
            add_half<Rows>(w + at + 32, row_bytes, x + 5 * at + 32, upper, lower);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256i thrice = _mm256_add_epi32(_mm256_add_epi32(upper[r], upper[r]), upper[r]);
            y[r] = lane_sum(_mm256_srai_epi32(_mm256_sub_epi32(thrice, lower[r]), 8)) - sum;
        }
    }

    /// 32 of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              __m256i (&upper)[Rows], __m256i (&lower)[Rows]) noexcept {
        __m256i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            rest[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 64 * k));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                upper[r] = _mm256_dpbusd_avx_epi32(upper[r], rest[r], values);
                rest[r] = _mm256_add_epi8(_mm256_add_epi8(rest[r], rest[r]), rest[r]);
                lower[r] = _mm256_dpbusd_avx_epi32(lower[r], rest[r], values);
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
