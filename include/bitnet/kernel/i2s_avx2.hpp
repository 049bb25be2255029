// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX2. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 32 activations with vpmaddubsw (unsigned codes 0..3, signed int8).
/// Overflow: a pair is at most 2 * 3 * 128 = 768, the four planes of a block 3072; int16 holds ten blocks (30720), so
/// eight are added before widening to int32. The sum of the activations is subtracted once, as weight = code - 1.
template <> struct kernel<isa::avx2, i2s> {
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
    static constexpr std::size_t blocks_in_int16 = 8;

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tokens(const i2s::view& w, std::size_t row, const activation_view& x,
                                            std::int32_t* y, std::size_t y_stride) noexcept {
        const std::uint8_t* weights = w.data + row * (w.cols / 4);
        std::size_t t = 0;
        if constexpr (Rows > 1) {
            for (; t + 2 <= x.tokens; t += 2) { // unpack once for two tokens; more spill the sixteen registers
                tile<2, 2>(weights, w.cols, x, t, y, y_stride);
                tile<2, 2>(weights + 2 * (w.cols / 4), w.cols, x, t, y + 2, y_stride);
            }
        }
        for (; t < x.tokens; ++t) {
            tile<Rows, 1>(weights, w.cols, x, t, y, y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x,
                                          std::size_t first_token, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t blocks = cols / 128;
        __m256i total[Rows][Tokens];
        BITNET_UNROLL
        for (auto& row : total) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = _mm256_setzero_si256();
            }
        }
        for (std::size_t begin = 0; begin < blocks; begin += blocks_in_int16) {
            const std::size_t end = begin + blocks_in_int16 < blocks ? begin + blocks_in_int16 : blocks;
            add_blocks<Rows, Tokens>(w, cols / 4, begin, end, x.data + first_token * x.stride, x.stride, total);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const std::size_t at = first_token + t;
                y[at * y_stride + r] = horizontal_sum(total[r][t]) - x.sums[at];
            }
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_blocks(const std::uint8_t* w, std::size_t row_bytes, std::size_t begin,
                                                std::size_t end, const std::int8_t* x, std::size_t x_stride,
                                                __m256i (&total)[Rows][Tokens]) noexcept {
        __m256i words[Rows][Tokens];
        BITNET_UNROLL
        for (auto& row : words) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = _mm256_setzero_si256();
            }
        }
        for (std::size_t b = begin; b < end; ++b) {
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const std::uint8_t* p = w + r * row_bytes + b * 32;
                _mm_prefetch(reinterpret_cast<const char*>(p) + 2560, _MM_HINT_T0);
                const __m256i q = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    const __m256i products = block_products(q, x + t * x_stride + b * 128);
                    words[r][t] = _mm256_add_epi16(words[r][t], products);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const __m256i pairs = _mm256_madd_epi16(words[r][t], _mm256_set1_epi16(1));
                total[r][t] = _mm256_add_epi32(total[r][t], pairs);
            }
        }
    }

    /// Sixteen int16 sums over the 128 columns of one block.
    static BITNET_ALWAYS_INLINE __m256i block_products(__m256i q, const std::int8_t* x) noexcept {
        const __m256i low_bits = _mm256_set1_epi8(3);
        const __m256i p0 = multiply(_mm256_and_si256(_mm256_srli_epi16(q, 6), low_bits), x);
        const __m256i p1 = multiply(_mm256_and_si256(_mm256_srli_epi16(q, 4), low_bits), x + 32);
        const __m256i p2 = multiply(_mm256_and_si256(_mm256_srli_epi16(q, 2), low_bits), x + 64);
        const __m256i p3 = multiply(_mm256_and_si256(q, low_bits), x + 96);
        return _mm256_add_epi16(_mm256_add_epi16(p0, p1), _mm256_add_epi16(p2, p3));
    }
    static BITNET_ALWAYS_INLINE __m256i multiply(__m256i codes, const std::int8_t* x) noexcept {
        return _mm256_maddubs_epi16(codes, _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
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
