// SPDX-License-Identifier: MIT
// I2_S (order A) for SSE4.1. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_SSE41_HPP
#define BITNET_KERNEL_I2S_SSE41_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/unpacking_kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <smmintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_SSE41)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is two xmm registers of weights, byte j of 0..31:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 16 activations with pmaddubsw (unsigned codes 0..3, signed int8).
/// Overflow: a pair is at most 2 * 3 * 128 = 768, the four planes of both registers 6144; int16 holds five blocks
/// (30720), which are added before widening to int32. The sum of the activations is subtracted once, as weight =
/// code - 1.
template <> struct kernel<isa::sse41, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 4; // 2 * 4 sums, 2 registers of weights, 2 of codes: 12 of 16
    static constexpr std::size_t blocks_in_int16 = 5;
    friend i2s_tiling<kernel, most_tokens>;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        __m128i total[Rows][Tokens];
        clear(total);
        for (std::size_t b = 0; b < cols / 128;) {
            const std::size_t rest = cols / 128 - b;
            const std::size_t end = b + (rest < blocks_in_int16 ? rest : blocks_in_int16);
            __m128i words[Rows][Tokens];
            clear(words);
            for (; b < end; ++b) {
                prefetch_rows<Rows>(w, b);
                add_half<Rows, Tokens>(w + b * 32, cols / 4, values + b * 128, x.stride, words);
                add_half<Rows, Tokens>(w + b * 32 + 16, cols / 4, values + b * 128 + 16, x.stride, words);
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    total[r][t] = _mm_add_epi32(total[r][t], _mm_madd_epi16(words[r][t], _mm_set1_epi16(1)));
                }
            }
        }
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            for (std::size_t r = 0; r < Rows; ++r) {
                y[x_row * y_stride + r] = lane_sum(total[r][t]) - x.sums[x_row];
            }
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void clear(__m128i (&sums)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = _mm_setzero_si128();
            }
        }
    }

    /// Adds eight int16 sums over half the columns of one block for each row and token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, __m128i (&words)[Rows][Tokens]) noexcept {
        __m128i q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(w + r * row_bytes));
        }
        add_plane<6>(q, x, x_stride, words);
        add_plane<4>(q, x + 32, x_stride, words);
        add_plane<2>(q, x + 64, x_stride, words);
        add_plane<0>(q, x + 96, x_stride, words);
    }
    template <int Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const __m128i (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               __m128i (&words)[Rows][Tokens]) noexcept {
        __m128i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm_and_si128(_mm_srli_epi16(q[r], Shift), _mm_set1_epi8(3));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m128i values = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x + t * x_stride));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_words(words[r][t], _mm_maddubs_epi16(codes[r], values));
            }
        }
    }

    /// sum += words, now: compilers would first add up the products of all planes, for which there are no registers.
    static BITNET_ALWAYS_INLINE void add_words(__m128i& sum, __m128i words) noexcept {
        sum = _mm_add_epi16(sum, words);
#if defined(__GNUC__)
        __asm__("" : "+x"(sum));
#endif
    }

    static BITNET_ALWAYS_INLINE std::int32_t lane_sum(__m128i v) noexcept {
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0x4e));
        v = _mm_add_epi32(v, _mm_shuffle_epi32(v, 0xb1));
        return _mm_cvtsi128_si32(v);
    }
};

/// Every other layout is unpacked first.
template <ternary_layout Layout> struct kernel<isa::sse41, Layout> : unpacking_kernel<isa::sse41, Layout> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
