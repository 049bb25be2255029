// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX-512 VNNI. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_AVX512_VNNI_HPP
#define BITNET_KERNEL_I2S_AVX512_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_lanes.hpp>
#include <bitnet/kernel/i2s_lanes_avx512.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/dot_product_avx512.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is 32 bytes, read into both halves of a zmm register and masked in place, twice:
///
///   bits of byte j       | 7:6     | 5:4        | 3:2        | 1:0
///   column of the block  | j       | 32 + j     | 64 + j     | 96 + j
///   masked value         | code*64 | code*16    | code*4     | code
///   register             | first, lower half | first, upper half | second, lower | second, upper
///
/// So each register holds 64 neighbouring columns and meets activations in their natural order. vpdpbusd adds a block's
/// products to two accumulators; their halves are multiples of 64, 16, 4 and 1 of the sums and are shifted down,
/// exactly, once at the end: the first accumulator by 4 bits, then the lower half by 2. Overflow: a block adds at most
/// 4 * 192 * 128 = 98304 to an int32 lane; that is safe to 21,000 blocks (2.7 M columns).
template <> struct kernel<isa::avx512_vnni, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_lanes<i2s_lanes_avx512, few_tokens, 12>::multiply(w, first, count, x, y, y_stride);
    }

private:
    // 24 of 32 registers for sums. Zen 4, rows of 2560 columns from memory, with 2, 4 and 8 tokens: 23, 12 and 6.2
    // GB/s; two rows with six tokens, which have as many sums, 21, 8 and 5.2.
    static constexpr std::size_t most_tokens = 3;
    static constexpr std::size_t tile_rows = 4;
    using few_tokens = i2s_tiling<kernel, most_tokens, tile_rows>;
    friend few_tokens;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        if constexpr (Tokens == 1) {
            __m512i joined[Rows];
            for (std::size_t r = 0; r < Rows; ++r) {
                joined[r] = one_row(w + r * (cols / 4), cols / 128, values);
            }
            return store(joined, x.sums[first_token], y + first_token * y_stride);
        }
        __m512i sums[2][Rows][Tokens];
        BITNET_UNROLL
        for (auto& half_block : sums) {
            BITNET_UNROLL
            for (auto& row_sums : half_block) {
                BITNET_UNROLL
                for (auto& sum : row_sums) {
                    sum = _mm512_setzero_si512();
                }
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            prefetch_rows<Rows>(w, b);
            add_columns<Rows, Tokens>(w + b * 32, cols / 4, first_planes(), values + b * 128, x.stride, sums[0]);
            add_columns<Rows, Tokens>(w + b * 32, cols / 4, second_planes(), values + b * 128 + 64, x.stride, sums[1]);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            __m512i joined[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                joined[r] = join(sums[0][r][t], sums[1][r][t]);
            }
            store(joined, x.sums[x_row], y + x_row * y_stride);
        }
    }

    /// A row times one token, in lanes as join() gives them. One row after another, a line at a time, is how memory is
    /// read fastest: 1.0 to 1.08 of a loop that only reads, where four rows side by side have 0.8 (Zen 5, a mapped
    /// file). Halves of a line are loaded, not lines, which would lie across two where a tensor is 32-byte aligned.
    static BITNET_ALWAYS_INLINE __m512i one_row(const std::uint8_t* w, std::size_t blocks,
                                                const std::int8_t* x) noexcept {
        const __m512i first = first_planes();
        const __m512i second = second_planes();
        __m512i even[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        __m512i odd[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
        for (std::size_t pair = 0; pair < blocks / 2; ++pair) {
            prefetch_line_of_row(w);
            const __m512i one = both_halves(w);
            const __m512i other = both_halves(w + 32);
            add_dot_products(even[0], _mm512_and_si512(one, first), _mm512_loadu_si512(x));
            add_dot_products(even[1], _mm512_and_si512(one, second), _mm512_loadu_si512(x + 64));
            add_dot_products(odd[0], _mm512_and_si512(other, first), _mm512_loadu_si512(x + 128));
            add_dot_products(odd[1], _mm512_and_si512(other, second), _mm512_loadu_si512(x + 192));
            w += 64;
            x += 256;
        }
        if (blocks % 2 != 0) {
            const __m512i last = both_halves(w);
            add_dot_products(even[0], _mm512_and_si512(last, first), _mm512_loadu_si512(x));
            add_dot_products(even[1], _mm512_and_si512(last, second), _mm512_loadu_si512(x + 64));
        }
        return join(_mm512_add_epi32(even[0], odd[0]), _mm512_add_epi32(even[1], odd[1]));
    }

    /// 64 columns of each row, whose bits `planes` picks, times those of each token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_columns(const std::uint8_t* w, std::size_t row_bytes, __m512i planes,
                                                 const std::int8_t* x, std::size_t x_stride,
                                                 __m512i (&sums)[Rows][Tokens]) noexcept {
        __m512i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm512_and_si512(both_halves(w + r * row_bytes), planes);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m512i values = _mm512_loadu_si512(x + t * x_stride);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_dot_products(sums[r][t], codes[r], values);
            }
        }
    }

    /// Both accumulators of a row: lanes of the lower half are multiples of 4 of the sums.
    static BITNET_ALWAYS_INLINE __m512i join(__m512i first, __m512i second) noexcept {
        return _mm512_add_epi32(_mm512_srai_epi32(first, 4), second);
    }

    /// y[r] = sum of a row's lanes, less `offset`.
    static BITNET_ALWAYS_INLINE void store(const __m512i (&joined)[1], std::int32_t offset, std::int32_t* y) noexcept {
        *y = lane_sum(fold_halves(joined[0])) - offset;
    }
    static BITNET_ALWAYS_INLINE void store(const __m512i (&joined)[4], std::int32_t offset, std::int32_t* y) noexcept {
        const __m512i rows01 = add_neighbours(joined[0], joined[1]); // 0, 1, 0, 1 in every 128 bits
        const __m512i rows23 = add_neighbours(joined[2], joined[3]);
        const __m512i rows =
            _mm512_add_epi32(_mm512_unpacklo_epi64(rows01, rows23), _mm512_unpackhi_epi64(rows01, rows23));
        const __m256i half = fold_halves(rows);
        const __m128i sums = _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(y), _mm_sub_epi32(sums, _mm_set1_epi32(offset)));
    }
    static BITNET_ALWAYS_INLINE __m512i add_neighbours(__m512i a, __m512i b) noexcept {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    }
    static BITNET_ALWAYS_INLINE __m256i fold_halves(__m512i joined) noexcept {
        const __m256i lower = _mm256_srai_epi32(_mm512_castsi512_si256(joined), 2);
        return _mm256_add_epi32(lower, _mm512_extracti64x4_epi64(joined, 1));
    }

    /// A block [32], twice.
    static BITNET_ALWAYS_INLINE __m512i both_halves(const std::uint8_t* block) noexcept {
        return _mm512_broadcast_i64x4(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(block)));
    }
    static BITNET_ALWAYS_INLINE __m512i first_planes() noexcept { return halves(bytes(0xc0), bytes(0x30)); }
    static BITNET_ALWAYS_INLINE __m512i second_planes() noexcept { return halves(bytes(0x0c), bytes(0x03)); }
    static BITNET_ALWAYS_INLINE __m256i bytes(int value) noexcept { return _mm256_set1_epi8(static_cast<char>(value)); }
    static BITNET_ALWAYS_INLINE __m512i halves(__m256i lower, __m256i upper) noexcept {
        return _mm512_inserti64x4(_mm512_castsi256_si512(lower), upper, 1);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
