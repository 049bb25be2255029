// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX-VNNI. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avxvnni")
namespace bitnet::inline BITNET_ABI {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///   masked value   | code*64 | code*16    | code*4     | code
///
/// No shifts in the loop: each plane is masked where it stands, multiplied with vpdpbusd into an accumulator of its
/// own, and the accumulators are shifted down once at the end, exactly, being multiples of 64, 16 and 4. Overflow: a
/// block adds at most 4 * 192 * 128 = 98304 to an int32 lane; that is safe to 21,000 blocks (2.7 M columns).
template <> struct kernel<isa::avx_vnni, i2s> {
    using layout = i2s;

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        std::size_t r = 0;
        for (; r + 2 <= count; r += 2) {
            tokens<2>(w, first + r, x, y + r, y_stride);
        }
        for (; r < count; ++r) {
            tokens<1>(w, first + r, x, y + r, y_stride);
        }
    }

private:
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tokens(const i2s::view& w, std::size_t row, const activation_view& x,
                                            std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* weights = w.data + row * row_bytes;
        std::size_t t = 0;
        for (; t + 2 <= x.tokens; t += 2) { // one row's masked planes serve two tokens: eight accumulators
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                tile<1, 2>(weights + r * row_bytes, w.cols, x, t, y + r, y_stride);
            }
        }
        for (; t < x.tokens; ++t) {
            tile<Rows, 1>(weights, w.cols, x, t, y, y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x,
                                          std::size_t first_token, std::int32_t* y, std::size_t y_stride) noexcept {
        __m256i sums[Rows][Tokens][4];
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& planes : row) {
                BITNET_UNROLL
                for (auto& sum : planes) {
                    sum = _mm256_setzero_si256();
                }
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const std::uint8_t* p = w + r * (cols / 4) + b * 32;
                _mm_prefetch(reinterpret_cast<const char*>(p) + 2560, _MM_HINT_T0);
                const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    add_block(q, x.data + (first_token + t) * x.stride + b * 128, sums[r][t]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const std::size_t at = first_token + t;
                y[at * y_stride + r] = total(sums[r][t]) - x.sums[at];
            }
        }
    }

    static BITNET_ALWAYS_INLINE void add_block(__m256i q, const std::int8_t* x, __m256i (&sums)[4]) noexcept {
        const __m256i planes[4] = {_mm256_set1_epi8(static_cast<char>(0xc0)), _mm256_set1_epi8(0x30),
                                   _mm256_set1_epi8(0x0c), _mm256_set1_epi8(0x03)};
        BITNET_UNROLL
        for (std::size_t plane = 0; plane < 4; ++plane) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 32 * plane));
            sums[plane] = _mm256_dpbusd_avx_epi32(sums[plane], _mm256_and_si256(q, planes[plane]), values);
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t total(const __m256i (&sums)[4]) noexcept {
        const __m256i upper = _mm256_add_epi32(_mm256_srai_epi32(sums[0], 6), _mm256_srai_epi32(sums[1], 4));
        const __m256i lower = _mm256_add_epi32(_mm256_srai_epi32(sums[2], 2), sums[3]);
        const __m256i v = _mm256_add_epi32(upper, lower);
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
