// SPDX-License-Identifier: MIT
// The dense layout (five weights in a byte) for AVX2. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/dense.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// Bytes are taken less 128, for signed comparisons: digit k counts the thresholds 85 and 170 that r(k) is above, and
/// r(k+1) = 3 r(k) mod 256 is two additions, as 3 * -128 = -128 mod 256.
/// Overflow: a pair of products is at most 2 * 2 * 128 = 512, the ten of a block's row 5120; int16 holds six blocks.
template <> struct kernel<isa::avx2, dense> {
    using layout = dense;

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
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
    /// Rows tiles are read row beside row, but prefetched as they lie in memory: far ahead, into the second level.
    template <std::size_t Rows> static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* w) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            _mm_prefetch(reinterpret_cast<const char*>(w) + ahead + 64 * r, _MM_HINT_T1);
        }
    }

    static constexpr std::size_t blocks_in_int16 = 6;

    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                          std::int32_t sum, std::int32_t* y) noexcept {
        const std::size_t blocks = row_bytes / dense::block_bytes;
        __m256i total[Rows];
        BITNET_UNROLL
        for (auto& row : total) {
            row = _mm256_setzero_si256();
        }
        for (std::size_t begin = 0; begin < blocks; begin += blocks_in_int16) {
            const std::size_t end = begin + blocks_in_int16 < blocks ? begin + blocks_in_int16 : blocks;
            __m256i words[Rows];
            BITNET_UNROLL
            for (auto& row : words) {
                row = _mm256_setzero_si256();
            }
            for (std::size_t b = begin; b < end; ++b) {
                prefetch<Rows>(w + Rows * b * 64);
                add_half<Rows>(w + b * 64, row_bytes, x + b * 320, words);
                add_half<Rows>(w + b * 64 + 32, row_bytes, x + b * 320 + 32, words);
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(words[r], _mm256_set1_epi16(1)));
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = horizontal_sum(total[r]) - sum;
        }
    }

    /// 32 of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              __m256i (&words)[Rows]) noexcept {
        __m256i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
            rest[r] = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 64 * k));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const __m256i above = _mm256_add_epi8(_mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(85 - 128)),
                                                      _mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(170 - 128)));
                words[r] = _mm256_add_epi16(words[r], _mm256_maddubs_epi16(_mm256_abs_epi8(above), values));
                rest[r] = _mm256_add_epi8(_mm256_add_epi8(rest[r], rest[r]), rest[r]);
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
