// SPDX-License-Identifier: MIT
// i2s_lanes_avx512: I2_S (order A) times many tokens by AVX-512 VNNI. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/dot_product_avx512.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Rows are in lanes, so that no sum crosses lanes, and codes are unpacked once for all tokens:
///
///   codes | 32 rows x up to 512 columns, one code a byte: [fours of columns][32 rows][4]
///   tile  | 32 rows x up to 12 tokens: two registers of codes meet four activations of each token, broadcast
///
/// The codes of a chunk (16 KiB) stay in the first level of cache while all tokens pass. Sums start from minus the sum
/// of the activations, as weight = code - 1. Overflow: four columns add at most 4 * 3 * 128 = 1536 to an int32 lane;
/// that is safe to 1.3 M fours (5.5 M columns).
struct i2s_lanes_avx512 {
    static constexpr std::size_t rows = 32; ///< that are multiplied together
    static constexpr std::size_t token_group = 4;

    /// y[t * y_stride + r] = row r times token t. \pre count is a multiple of `rows`, x.tokens one of token_group
    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[chunk_blocks * block_bytes];
        const std::size_t row_bytes = w.cols / 4;
        const std::size_t blocks = w.cols / 128;
        const std::uint8_t* next = w.data + (first + rows) * row_bytes; // what is read after these rows
        for (std::size_t r = 0; r < count; r += rows) {
            const std::uint8_t* packed = w.data + (first + r) * row_bytes;
            for (std::size_t b = 0; b < blocks; b += chunk_blocks) {
                const std::size_t most = blocks - b;
                const chunk part{codes, b * 128, most < chunk_blocks ? most : chunk_blocks, next};
                unpack(packed + b * 32, row_bytes, part.blocks, codes);
                all_tokens(part, x, y + r, y_stride);
                next += part.blocks * rows * 32;
            }
        }
    }

private:
    static constexpr std::size_t chunk_blocks = 4;
    static constexpr std::size_t block_bytes = rows * 128; ///< of unpacked codes
    static constexpr std::size_t most_tokens = 12;         ///< 24 sums, two registers of codes, one of activations

    struct chunk {
        const std::uint8_t* codes;
        std::size_t column; ///< the first
        std::size_t blocks;
        const std::uint8_t* next; ///< packed rows to be prefetched meanwhile, as many bytes as the chunk was made of
    };

    static void unpack(const std::uint8_t* packed, std::size_t row_bytes, std::size_t blocks,
                       std::uint8_t* codes) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            unpack_rows(packed + b * 32, row_bytes, codes + b * block_bytes);
            unpack_rows(packed + b * 32 + 16 * row_bytes, row_bytes, codes + b * block_bytes + 64);
        }
    }

    /// 16 rows x 128 columns. Each 128 bits of a register hold one row's 16 bytes; transposing 4 x 4 words of them, and
    /// then the quarters of registers, makes 16 rows' bytes of the same four columns, in each of the four planes.
    static BITNET_ALWAYS_INLINE void unpack_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                                 std::uint8_t* codes) noexcept {
        __m512i upper[4]; // rows 0 to 7
        __m512i lower[4]; // rows 8 to 15
        transpose(packed, row_bytes, upper);
        transpose(packed + 8 * row_bytes, row_bytes, lower);
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            store_planes(_mm512_shuffle_i32x4(upper[k], lower[k], 0x88), codes + k * four_bytes);
            store_planes(_mm512_shuffle_i32x4(upper[k], lower[k], 0xdd), codes + (4 + k) * four_bytes);
        }
    }

    /// Eight rows of 32 bytes -> words[k]: byte 4k of rows 0-3, byte 16 + 4k of them, the same of rows 4-7, four each.
    static BITNET_ALWAYS_INLINE void transpose(const std::uint8_t* packed, std::size_t row_bytes,
                                               __m512i (&words)[4]) noexcept {
        __m512i both[4];
        BITNET_UNROLL
        for (std::size_t r = 0; r < 4; ++r) {
            const auto* row = reinterpret_cast<const __m256i*>(packed + r * row_bytes);
            const auto* other = reinterpret_cast<const __m256i*>(packed + (r + 4) * row_bytes);
            both[r] = _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_loadu_si256(row)), _mm256_loadu_si256(other), 1);
        }
        const __m512i low01 = _mm512_unpacklo_epi32(both[0], both[1]);
        const __m512i high01 = _mm512_unpackhi_epi32(both[0], both[1]);
        const __m512i low23 = _mm512_unpacklo_epi32(both[2], both[3]);
        const __m512i high23 = _mm512_unpackhi_epi32(both[2], both[3]);
        words[0] = _mm512_unpacklo_epi64(low01, low23);
        words[1] = _mm512_unpackhi_epi64(low01, low23);
        words[2] = _mm512_unpacklo_epi64(high01, high23);
        words[3] = _mm512_unpackhi_epi64(high01, high23);
    }

    static constexpr std::size_t four_bytes = rows * 4; ///< of codes of four columns

    /// Bits 7:6 are the first plane's codes, 1:0 the last's; from plane to plane are 32 columns, eight fours.
    static BITNET_ALWAYS_INLINE void store_planes(__m512i packed, std::uint8_t* codes) noexcept {
        const __m512i mask = _mm512_set1_epi8(3);
        _mm512_store_si512(codes, _mm512_and_si512(_mm512_srli_epi16(packed, 6), mask));
        _mm512_store_si512(codes + 8 * four_bytes, _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask));
        _mm512_store_si512(codes + 16 * four_bytes, _mm512_and_si512(_mm512_srli_epi16(packed, 2), mask));
        _mm512_store_si512(codes + 24 * four_bytes, _mm512_and_si512(packed, mask));
    }

    static void all_tokens(chunk part, const activation_view& x, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t groups = (x.tokens + most_tokens - 1) / most_tokens;
        const std::size_t lines = (part.blocks * rows * 32 / 64 + groups - 1) / groups; // to be prefetched by a tile
        for (std::size_t t = 0, left = groups; left != 0; --left) {
            const std::size_t share = (x.tokens - t + left - 1) / left; // so that all groups are nearly of one size
            const std::size_t tokens = (share + token_group - 1) / token_group * token_group;
            switch (tokens) {
            case 4:
                tile<4>(part, lines, x, t, y, y_stride);
                break;
            case 8:
                tile<8>(part, lines, x, t, y, y_stride);
                break;
            default:
                tile<12>(part, lines, x, t, y, y_stride);
            }
            part.next += lines * 64;
            t += tokens;
        }
    }

    template <std::size_t Tokens>
    static BITNET_NOINLINE void tile(const chunk& part, std::size_t lines, const activation_view& x,
                                     std::size_t first_token, std::int32_t* y, std::size_t y_stride) noexcept {
        __m512i sums[2][Tokens];
        std::int32_t* out = y + first_token * y_stride;
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const bool is_first = part.column == 0;
            const __m512i start = _mm512_set1_epi32(-x.sums[first_token + t]);
            sums[0][t] = is_first ? start : _mm512_loadu_si512(out + t * y_stride);
            sums[1][t] = is_first ? start : _mm512_loadu_si512(out + t * y_stride + 16);
        }
        const std::int8_t* values = x.data + first_token * x.stride + part.column;
        const std::uint8_t* line = part.next;
        for (std::size_t c = 0; c < part.blocks * 128; c += 8, line += 64) {
            if (c < 8 * lines) {
                _mm_prefetch(reinterpret_cast<const char*>(line), _MM_HINT_T1);
            }
            add_four(part.codes + c * rows, values + c, x.stride, sums);
            add_four(part.codes + (c + 4) * rows, values + c + 4, x.stride, sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            _mm512_storeu_si512(out + t * y_stride, sums[0][t]);
            _mm512_storeu_si512(out + t * y_stride + 16, sums[1][t]);
        }
    }

    /// Four columns of all rows, those of each token.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_four(const std::uint8_t* codes, const std::int8_t* values, std::size_t stride,
                                              __m512i (&sums)[2][Tokens]) noexcept {
        const __m512i upper = _mm512_load_si512(codes);
        const __m512i lower = _mm512_load_si512(codes + 64);
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            std::int32_t four;
            std::memcpy(&four, values + t * stride, sizeof four);
            const __m512i all = _mm512_set1_epi32(four);
            add_dot_products(sums[0][t], upper, all);
            add_dot_products(sums[1][t], lower, all);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif
