// SPDX-License-Identifier: MIT
// i2s_lanes_avx_vnni: how AVX-VNNI multiplies I2_S (order A) by many tokens. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_LANES_AVX_VNNI_HPP
#define BITNET_KERNEL_I2S_LANES_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/fours_of_rows.hpp>
#include <bitnet/kernel/i2s_lanes.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/dot_product_avx_vnni.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// What i2s_lanes needs, in tiles of 16 rows x up to 6 tokens: 12 sums, two registers of codes, one of activations.
struct i2s_lanes_avx_vnni {
    static constexpr std::size_t rows = 16;
    static constexpr std::size_t token_group = 2;
    static constexpr std::size_t chunk_blocks = 8;

    static void unpack(const std::uint8_t* packed, std::size_t row_bytes, std::size_t blocks,
                       std::uint8_t* codes) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            unpack_rows(packed + b * 32, row_bytes, codes + b * 128 * rows);
            unpack_rows(packed + b * 32 + 8 * row_bytes, row_bytes, codes + b * 128 * rows + 32);
        }
    }

    template <std::size_t Tokens>
    static void tile(const i2s_chunk& part, const activation_view& x, std::size_t first_token, std::int32_t* y,
                     std::size_t y_stride) noexcept {
        __m256i sums[2][Tokens];
        std::int32_t* out = y + first_token * y_stride;
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const bool is_first = part.column == 0;
            const __m256i start = _mm256_set1_epi32(-x.sums[first_token + t]);
            sums[0][t] = is_first ? start : load(out + t * y_stride);
            sums[1][t] = is_first ? start : load(out + t * y_stride + 8);
        }
        const std::int8_t* values = x.data + first_token * x.stride + part.column;
        const std::uint8_t* line = part.next;
        for (std::size_t c = 0; c < part.blocks * 128; c += 8, line += 64) {
            if (c < 8 * part.next_lines) {
                _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
            }
            add_four(part.codes + c * rows, values + c, x.stride, sums);
            add_four(part.codes + (c + 4) * rows, values + c + 4, x.stride, sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            store(out + t * y_stride, sums[0][t]);
            store(out + t * y_stride + 8, sums[1][t]);
        }
    }

private:
    /// 8 rows x 128 columns.
    static BITNET_ALWAYS_INLINE void unpack_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                                 std::uint8_t* codes) noexcept {
        BITNET_UNROLL
        for (std::size_t half = 0; half < 2; ++half) {
            __m256i fours[4];
            fours_of_rows(packed + 16 * half, row_bytes, fours);
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                store_planes(fours[k], codes + (4 * half + k) * four_bytes);
            }
        }
    }

    static constexpr std::size_t four_bytes = rows * 4; ///< of codes of four columns

    /// Bits 7:6 are the first plane's codes, 1:0 the last's; from plane to plane are 32 columns, eight fours.
    static BITNET_ALWAYS_INLINE void store_planes(__m256i packed, std::uint8_t* codes) noexcept {
        const __m256i mask = _mm256_set1_epi8(3);
        store(codes, _mm256_and_si256(_mm256_srli_epi16(packed, 6), mask));
        store(codes + 8 * four_bytes, _mm256_and_si256(_mm256_srli_epi16(packed, 4), mask));
        store(codes + 16 * four_bytes, _mm256_and_si256(_mm256_srli_epi16(packed, 2), mask));
        store(codes + 24 * four_bytes, _mm256_and_si256(packed, mask));
    }

    static BITNET_ALWAYS_INLINE __m256i load(const void* bytes) noexcept {
        return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
    }
    static BITNET_ALWAYS_INLINE void store(void* bytes, __m256i v) noexcept {
        _mm256_storeu_si256(static_cast<__m256i*>(bytes), v);
    }

    /// Four columns of all rows, those of each token.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_four(const std::uint8_t* codes, const std::int8_t* values, std::size_t stride,
                                              __m256i (&sums)[2][Tokens]) noexcept {
        const __m256i upper = load(codes);
        const __m256i lower = load(codes + 32);
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            std::int32_t four;
            std::memcpy(&four, values + t * stride, sizeof four);
            const __m256i all = _mm256_set1_epi32(four);
            add_dot_products(sums[0][t], upper, all);
            add_dot_products(sums[1][t], lower, all);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
