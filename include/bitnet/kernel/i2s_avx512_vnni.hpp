// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX-512 VNNI. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

/// Two blocks of 128 columns are one zmm register of weights; byte j < 32 belongs to the first, byte 32 + j to the
/// second:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j     of the byte's block
///   masked value   | code*64 | code*16    | code*4     | code
///
/// The activations of a plane are 32 of the first block and 32 of the second, put together by one vinserti64x4; an odd
/// last block has zeros for the second. Masked in place and shifted down at the end, as in i2s_avx_vnni.hpp.
/// Overflow: as there, 98304 for a register; safe to 21,000 registers (5.4 M columns).
template <> struct kernel<isa::avx512_vnni, i2s> {
    using layout = i2s;

    static void rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        std::size_t r = 0;
        for (; r + 4 <= count; r += 4) {
            tokens<4>(w, first + r, x, y + r, y_stride);
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
        if constexpr (Rows == 4) {
            for (; t + 2 <= x.tokens; t += 2) { // 2 rows x 2 tokens: sixteen accumulators of thirty-two registers
                tile<2, 2>(weights, w.cols, x, t, y, y_stride);
                tile<2, 2>(weights + 2 * row_bytes, w.cols, x, t, y + 2, y_stride);
            }
        }
        for (; t < x.tokens; ++t) {
            tile<Rows, 1>(weights, w.cols, x, t, y, y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x,
                                          std::size_t first_token, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* activations = x.data + first_token * x.stride;
        __m512i sums[Rows][Tokens][4];
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& planes : row) {
                BITNET_UNROLL
                for (auto& sum : planes) {
                    sum = _mm512_setzero_si512();
                }
            }
        }
        const std::size_t pairs = cols / 256;
        for (std::size_t b = 0; b < pairs; ++b) {
            add_pair<Rows, Tokens, true>(w + b * 64, cols / 4, activations + b * 256, x.stride, sums);
        }
        if (cols % 256 != 0) {
            add_pair<Rows, Tokens, false>(w + pairs * 64, cols / 4, activations + pairs * 256, x.stride, sums);
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

    template <std::size_t Rows, std::size_t Tokens, bool Both>
    static BITNET_ALWAYS_INLINE void add_pair(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, __m512i (&sums)[Rows][Tokens][4]) noexcept {
        __m512i values[Tokens][4];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            BITNET_UNROLL
            for (std::size_t plane = 0; plane < 4; ++plane) {
                values[t][plane] = activations<Both>(x + t * x_stride + 32 * plane);
            }
        }
        const __m512i planes[4] = {_mm512_set1_epi8(static_cast<char>(0xc0)), _mm512_set1_epi8(0x30),
                                   _mm512_set1_epi8(0x0c), _mm512_set1_epi8(0x03)};
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            _mm_prefetch(reinterpret_cast<const char*>(p) + 2560, _MM_HINT_T0);
            const __m512i q = weights<Both>(p);
            BITNET_UNROLL
            for (std::size_t plane = 0; plane < 4; ++plane) {
                const __m512i codes = _mm512_and_si512(q, planes[plane]);
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    sums[r][t][plane] = _mm512_dpbusd_epi32(sums[r][t][plane], codes, values[t][plane]);
                }
            }
        }
    }

    template <bool Both> static BITNET_ALWAYS_INLINE __m512i weights(const std::uint8_t* p) noexcept {
        if constexpr (Both) {
            return _mm512_loadu_si512(p);
        } else {
            return _mm512_maskz_loadu_epi64(0x0f, p);
        }
    }

    /// 32 activations of each of two neighbouring blocks.
    template <bool Both> static BITNET_ALWAYS_INLINE __m512i activations(const std::int8_t* x) noexcept {
        if constexpr (Both) {
            const __m512i first = _mm512_castsi256_si512(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
            return _mm512_inserti64x4(first, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 128)), 1);
        } else {
            return _mm512_maskz_loadu_epi64(0x0f, x);
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t total(const __m512i (&sums)[4]) noexcept {
        const __m512i upper = _mm512_add_epi32(_mm512_srai_epi32(sums[0], 6), _mm512_srai_epi32(sums[1], 4));
        const __m512i lower = _mm512_add_epi32(_mm512_srai_epi32(sums[2], 2), sums[3]);
        const __m512i all = _mm512_add_epi32(upper, lower);
        const __m256i v = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64(all, 1));
        __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
        s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1));
        return _mm_cvtsi128_si32(s);
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
