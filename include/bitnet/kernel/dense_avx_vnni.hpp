// SPDX-License-Identifier: MIT
// The dense layout (five weights in a byte) for AVX-VNNI. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/dense.hpp>
#include <bitnet/kernel/dense_avx2.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avxvnni")
namespace bitnet::inline BITNET_ABI {

/// No digit is ever cut out. From 3 r(k) = 256 d(k) + r(k+1), see dense.hpp,
///
///     256 * sum of d(k) x(k) = 3 * sum of r(k) x(k) - sum of r(k+1) x(k),   k = 0..4
///
/// and both sums are vpdpbusd of bytes; r(k+1) = 3 r(k) mod 256 is two additions. The sums may wrap around; what they
/// make is 256 times a product, and fits a lane of int32 to 2^18 columns: 256 * 2 * 128 * 2^18 / 8 lanes = 2^31.
/// (The last step is shifted lane by lane, as its sum over lanes would not fit.)
template <> struct kernel<isa::avx_vnni, dense> {
    using layout = dense;

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            by_way_of_i2s<kernel<isa::avx_vnni, i2s>, dense, dense_unpacker_avx2>::rows(w, first, count, x, y,
                                                                                        y_stride);
            return;
        }
        const std::size_t row_bytes = blocks_across<dense>(w.cols) * dense::block_bytes;
        const std::uint8_t* weights = w.data + first * row_bytes;
        for (std::size_t r = 0; r < count;) {
            const std::size_t taken = count - r < 4 ? 1 : 4;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t* out = y + t * y_stride + r;
                const std::int8_t* values = x.data + t * x.stride;
                if (taken == 4) {
                    tile<4>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                } else {
                    tile<1>(weights + r * row_bytes, row_bytes, values, x.sums[t], out);
                }
            }
            r += taken;
        }
    }

private:
    static constexpr std::size_t few_tokens = 3;

    /// Rows tiles are read row beside row, but prefetched as they lie in memory: far ahead, into the second level.
    template <std::size_t Rows> static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* w) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * r, _MM_HINT_T1);
        }
    }

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                          std::int32_t sum, std::int32_t* y) noexcept {
        __m256i upper[Rows]; // sum of r(k) x(k)
        __m256i lower[Rows]; // sum of r(k+1) x(k)
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            upper[r] = _mm256_setzero_si256();
            lower[r] = _mm256_setzero_si256();
        }
        for (std::size_t at = 0; at < row_bytes; at += dense::block_bytes) {
            prefetch<Rows>(w + Rows * at);
            add_half<Rows>(w + at, row_bytes, x + 5 * at, upper, lower);
            add_half<Rows>(w + at + 32, row_bytes, x + 5 * at + 32, upper, lower);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256i thrice = _mm256_add_epi32(_mm256_add_epi32(upper[r], upper[r]), upper[r]);
            y[r] = horizontal_sum(_mm256_srai_epi32(_mm256_sub_epi32(thrice, lower[r]), 8)) - sum;
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

    static BITNET_ALWAYS_INLINE std::int32_t horizontal_sum(__m256i v) noexcept {
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
