// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX2. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_AVX2_HPP
#define BITNET_KERNEL_I2S_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 32 activations with vpmaddubsw (unsigned codes 0..3, signed int8).
/// Overflow: a pair is at most 2 * 3 * 128 = 768, the four planes of a block 3072; int16 holds ten blocks (30720),
/// which are added before widening to int32. The sum of the activations is subtracted once, as weight = code - 1.
/// Eight tokens of one row take fewer than four of two rows (77 and 91 for 1024 products), as long as the activations
/// stay in the first level of cache.
template <> struct kernel<isa::avx2, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > 4 && 8 * w.cols <= first_level) {
            of_eight_tokens::multiply(w, first, count, x, y, y_stride);
        } else {
            of_two_rows::multiply(w, first, count, x, y, y_stride);
        }
    }

private:
    using of_two_rows = i2s_tiling<kernel, 4>;        // 2 * 4 sums, 2 registers of weights, 2 of codes: 12 of 16
    using of_eight_tokens = i2s_tiling<kernel, 8, 1>; // 8 sums
    friend of_two_rows;
    friend of_eight_tokens;
    static constexpr std::size_t first_level = 28 << 10; ///< bytes of activations that stay in the first level of cache

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        if constexpr (Tokens == 1) {
            __m256i row_sums[Rows];
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = one_row(w + r * (cols / 4), cols / 128, values);
            }
            return store_lane_sums(row_sums, x.sums[first_token], y + first_token * y_stride);
        }
        constexpr std::size_t blocks_in_int16 = 10;
        const std::size_t blocks = cols / 128;
        __m256i total[Rows][Tokens];
        clear(total);
        for (std::size_t b = 0; b < blocks;) {
            const std::size_t end = blocks - b < blocks_in_int16 ? blocks : b + blocks_in_int16;
            __m256i words[Rows][Tokens];
            clear(words);
            while (b < end) {
                add_block(w, b++, cols, values, x.stride, words);
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    total[r][t] = _mm256_add_epi32(total[r][t], widened(words[r][t]));
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            __m256i row_sums[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = total[r][t];
            }
            store_lane_sums(row_sums, x.sums[x_row], y + x_row * y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void clear(__m256i (&sums)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = _mm256_setzero_si256();
            }
        }
    }

    /// Sums of one row times one token, in eight lanes. One token leaves registers for sums of their own for planes 7:6
    /// and 3:2, which are then moved to bits 3:2 only, two shifts less, and for two chains of blocks. Overflow: sums of
    /// these planes are multiples of 4, a pair at most 3072, the two planes of a block 6144: int16 holds five blocks
    /// (30720). A quarter of that and the other planes' sum are 15360 at most, and both chains 30720.
    /// One row after another, a line at a time, is how memory is read fastest. What limits one token on a core that
    /// shares its decoders is the number of instructions, 15 for 32 bytes: all blocks of an int16 are unrolled.
    static BITNET_ALWAYS_INLINE __m256i one_row(const std::uint8_t* w, std::size_t blocks,
                                                const std::int8_t* x) noexcept {
        constexpr std::size_t pairs = 5;
        __m256i total = _mm256_setzero_si256();
        __m256i sums[2][2]; // of even blocks and of odd ones; the second of each are multiples of 4
        for (; blocks >= 2 * pairs; blocks -= 2 * pairs, w += 64 * pairs, x += 256 * pairs) {
            clear(sums);
            BITNET_UNROLL
            for (std::size_t i = 0; i < pairs; ++i) {
                add_pair(w + 64 * i, x + 256 * i, sums);
            }
            total = _mm256_add_epi32(total, widened(joined(sums)));
        }
        clear(sums);
        for (; blocks >= 2; blocks -= 2, w += 64, x += 256) {
            add_pair(w, x, sums);
        }
        if (blocks != 0) {
            add_planes(load(w), x, sums[0]);
        }
        return _mm256_add_epi32(total, widened(joined(sums)));
    }
    static BITNET_ALWAYS_INLINE void add_pair(const std::uint8_t* w, const std::int8_t* x,
                                              __m256i (&sums)[2][2]) noexcept {
        prefetch_line_of_row(w);
        const __m256i one = load(w);
        const __m256i other = load(w + 32);
        add_planes(one, x, sums[0]);
        add_planes(other, x + 128, sums[1]);
    }
    static BITNET_ALWAYS_INLINE void add_planes(__m256i block, const std::int8_t* x, __m256i (&sums)[2]) noexcept {
        const __m256i lower = _mm256_srli_epi16(block, 4); // planes 7:6 and 5:4 at 3:2 and 1:0
        add_codes<12>(lower, x, sums[1]);
        add_codes<3>(lower, x + 32, sums[0]);
        add_codes<12>(block, x + 64, sums[1]);
        add_codes<3>(block, x + 96, sums[0]);
    }
    template <int Bits>
    static BITNET_ALWAYS_INLINE void add_codes(__m256i planes, const std::int8_t* x, __m256i& sum) noexcept {
        add_words(sum, _mm256_maddubs_epi16(_mm256_and_si256(planes, _mm256_set1_epi8(Bits)), load(x)));
    }
    static BITNET_ALWAYS_INLINE __m256i joined(const __m256i (&sums)[2][2]) noexcept {
        return _mm256_add_epi16(_mm256_add_epi16(sums[0][0], _mm256_srai_epi16(sums[0][1], 2)),
                                _mm256_add_epi16(sums[1][0], _mm256_srai_epi16(sums[1][1], 2)));
    }
    static BITNET_ALWAYS_INLINE __m256i widened(__m256i words) noexcept {
        return _mm256_madd_epi16(words, _mm256_set1_epi16(1));
    }
    static BITNET_ALWAYS_INLINE __m256i load(const void* bytes) noexcept {
        return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
    }

    /// Adds sixteen int16 sums over the 128 columns of block `b` for each row and token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* first_row, std::size_t b, std::size_t cols,
                                               const std::int8_t* values, std::size_t x_stride,
                                               __m256i (&words)[Rows][Tokens]) noexcept {
        prefetch_rows<Rows>(first_row, b);
        const std::uint8_t* w = first_row + b * 32;
        const std::int8_t* x = values + b * 128;
        __m256i q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = load(w + r * (cols / 4));
        }
        add_plane<6>(q, x, x_stride, words);
        add_plane<4>(q, x + 32, x_stride, words);
        add_plane<2>(q, x + 64, x_stride, words);
        add_plane<0>(q, x + 96, x_stride, words);
    }
    template <int Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const __m256i (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               __m256i (&words)[Rows][Tokens]) noexcept {
        __m256i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm256_and_si256(_mm256_srli_epi16(q[r], Shift), _mm256_set1_epi8(3));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m256i values = load(x + t * x_stride);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_words(words[r][t], _mm256_maddubs_epi16(codes[r], values));
            }
        }
    }

    /// sum += words, now: compilers would first add up the products of all planes, for which there are no registers.
    static BITNET_ALWAYS_INLINE void add_words(__m256i& sum, __m256i words) noexcept {
        sum = _mm256_add_epi16(sum, words);
#if defined(__GNUC__)
        __asm__("" : "+x"(sum));
#endif
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
