// SPDX-License-Identifier: MIT
// float_ops for AVX-512: sixteen lanes are one zmm register. Empty on other architectures.
#ifndef BITNET_SIMD_FLOAT_OPS_AVX512_HPP
#define BITNET_SIMD_FLOAT_OPS_AVX512_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/float_ops_avx2.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group_avx512.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Those of AVX2, but for what takes more time than it takes to load and store its operands: these loops have twice the
/// lanes here, also those that are the same text, which the compiler vectorises (silu_times, gelu_times, exponentials).
template <> struct float_ops<isa::avx512_vnni> : float_ops<isa::avx2> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        const float factor = ops::inverse_rms(sum_of_squares(x, n), n, eps);
        const std::size_t whole = n / 16 * 16;
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 scaled = rounded_product(_mm512_loadu_ps(x + i), _mm512_set1_ps(factor));
            _mm_prefetch(reinterpret_cast<const char*>(x + n + i), _MM_HINT_T1); // of the next row, if there is one
            _mm512_storeu_ps(y + i, _mm512_mul_ps(scaled, _mm512_loadu_ps(weight + i)));
        }
        ops::scale_by(x + whole, weight + whole, factor, n - whole, y + whole);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        __m512i sums = _mm512_setzero_si512();
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 scaled = _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(scale));
            const __m512i rounded = _mm512_cvtps_epi32(scaled); // half to even
            const __m128i bytes = _mm512_cvtsepi32_epi8(rounded);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(q + i), bytes);
            sums = _mm512_add_epi32(sums, _mm512_cvtepi8_epi32(bytes));
        }
        std::int32_t lanes[16];
        _mm512_storeu_si512(lanes, sums);
        std::int32_t sum = 0;
        for (const std::int32_t lane : lanes) {
            sum += lane;
        }
        return {scale, sum + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
    }

    static void dequantize(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            for_sixteens(tile.count, [&](std::size_t i, __mmask16 mask) noexcept {
                const __m512 products = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + i));
                _mm512_mask_storeu_ps(to + i, mask, _mm512_mul_ps(products, _mm512_set1_ps(factor)));
            });
        });
    }
    static void dequantize_add(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            for_sixteens(tile.count, [&](std::size_t i, __mmask16 mask) noexcept {
                const __m512 products = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + i));
                const __m512 sum = _mm512_maskz_loadu_ps(mask, to + i);
                _mm512_mask_storeu_ps(to + i, mask, _mm512_fmadd_ps(products, _mm512_set1_ps(factor), sum));
            });
        });
    }
    static void relu2_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::for_rows(up, gate, stride, [&up](const std::int32_t* acc, float factor, float* to) noexcept {
            for_sixteens(up.count, [&](std::size_t i, __mmask16 mask) noexcept {
                const __m512 products = _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(mask, acc + i));
                const __m512 g = _mm512_max_ps(_mm512_maskz_loadu_ps(mask, to + i), _mm512_setzero_ps());
                const __m512 scaled = rounded_product(products, _mm512_set1_ps(factor));
                _mm512_mask_storeu_ps(to + i, mask, _mm512_mul_ps(rounded_product(g, g), scaled));
            });
        });
    }
    static void silu_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::gate_rows(up, gate, stride, silu_times);
    }
    static void gelu_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::gate_rows(up, gate, stride, gelu_times);
    }

    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 16 * 16;
        for (std::size_t i = 0; i < whole; i += 16) {
            const __m512 g = _mm512_max_ps(_mm512_loadu_ps(gate + i), _mm512_setzero_ps()); // zero if the gate is a NaN
            _mm512_storeu_ps(y + i, _mm512_mul_ps(rounded_product(g, g), _mm512_loadu_ps(up + i)));
        }
        ops::relu2_times(gate + whole, up + whole, n - whole, y + whole);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::gelu_times(gate, up, n, y);
    }
    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        std::size_t t = 0;
        for (; t + 4 <= x.rows; t += 4) {
            dot_tokens<4, 4, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t + 2 <= x.rows; t += 2) {
            dot_tokens<4, 2, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t < x.rows; ++t) {
            dot_tokens<block_format<E> ? 2 : 1, 1, E>(w, row_bytes, rows, x, y, t); // one is read faster, up to a fifth
        }
    }

    /// y[i] = the dot product of row rows[i] of w with x, as dot_rows gives it. Prefetches the row that is listed next.
    template <class E>
    requires(!block_format<E>) static void dot_listed(const std::byte* w, std::size_t row_bytes,
                                                      std::span<const std::uint32_t> rows, const float* x,
                                                      std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            const std::byte* next = w + rows[(std::min)(i + 1, rows.size() - 1)] * row_bytes;
            y[i] = dot_one<E>(w + rows[i] * row_bytes, next, x, cols);
        }
    }

    /// Bounds of the products of all rows of a screen.
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        for (std::size_t r = 0; r < count; ++r) {
            upper[r] = screen(rows + r * screen_layout::row_bytes(x.blocks * screen_layout::block_columns), x);
        }
    }
    static constexpr std::size_t fewest_in_groups = 6;
    static void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups,
                              std::size_t group_count, float* upper) noexcept {
        screen_groups_by<screen_lanes_avx512>(rows, count, groups, group_count, upper);
    }

    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        const float scale = ops::score_scale(head_size);
        std::size_t i = 0;
        for (; i + 8 <= queries; i += 8) {
            score_eight(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i + 4 <= queries; i += 4) {
            score_queries<4>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i + 2 <= queries; i += 2) {
            score_queries<2>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i < queries; ++i) {
            score_queries<1>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        std::size_t i = 0;
        for (; i + 8 <= queries; i += 8) {
            weigh_queries<8, 2>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 4 <= queries; i += 4) {
            weigh_queries<4, 4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 2 <= queries; i += 2) {
            weigh_queries<2, 4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i < queries; ++i) {
            weigh_queries<1, 4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
    }

    static void divide(float* x, float divisor, std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        for (std::size_t i = 0; i < whole; i += 16) {
            _mm512_storeu_ps(x + i, exact_quotients(_mm512_loadu_ps(x + i), _mm512_set1_ps(divisor)));
        }
        ops::divide(x + whole, divisor, n - whole);
    }

    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        if constexpr (std::is_same_v<E, std::int8_t>) {
            return ops::step_of(quantize(x, n, y));
        } else if constexpr (std::is_same_v<E, half>) {
            for (std::size_t i = 0; i < n; i += 16) {
                const __mmask16 mask = tail_mask(n - i);
                const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
                _mm256_mask_storeu_epi16(y + i, mask, _mm512_maskz_cvtps_ph(mask, a, _MM_FROUND_TO_NEAREST_INT));
            }
            return 1.0f;
        } else {
            return ops::narrow_row(x, n, y);
        }
    }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        constexpr std::size_t step = step_columns<E>();
        for (; i + step <= n; i += step) {
            widen_block<E>(x + row_bytes_of<E>(i), y + i, std::make_index_sequence<step / 16>{});
        }
        if (i < n) {
            _mm512_mask_storeu_ps(y + i, tail_mask(n - i), load_tail<E>(x, i, n - i));
        }
    }

private:
    /// Sixteens K of a block. Were y allowed to alias it, each would read shifts and scales anew.
    template <class E, std::size_t... K>
    static BITNET_ALWAYS_INLINE void widen_block(const std::byte* block, float* __restrict y,
                                                 std::index_sequence<K...>) noexcept {
        (_mm512_storeu_ps(y + 16 * K, load<E>(block, 16 * K)), ...);
    }

    /// Calls some(first, mask) for every sixteen of n elements, the last of them perhaps not whole.
    template <class Some> static BITNET_ALWAYS_INLINE void for_sixteens(std::size_t n, Some some) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            some(i, static_cast<__mmask16>(0xffffu));
        }
        if (i < n) {
            some(i, tail_mask(n - i));
        }
    }

    /// a * b as a value of its own: under -ffast-math clang would reassociate the products of intrinsics.
    static BITNET_ALWAYS_INLINE __m512 rounded_product(__m512 a, __m512 b) noexcept {
        __m512 product = _mm512_mul_ps(a, b);
#if defined(__GNUC__)
        __asm__("" : "+v"(product));
#endif
        return product;
    }

    /// a / b: under -ffast-math clang would multiply by an inverse.
    static BITNET_ALWAYS_INLINE __m512 exact_quotients(__m512 a, __m512 b) noexcept {
#if defined(__GNUC__)
        __m512 quotients;
        __asm__("{vdivps %2, %1, %0|vdivps %0, %1, %2}" : "=v"(quotients) : "v"(a), "v"(b));
        return quotients;
#else
        return _mm512_div_ps(a, b);
#endif
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 32 * 32;
        __m512 even = _mm512_setzero_ps();
        __m512 odd = _mm512_setzero_ps();
        for (std::size_t i = 0; i < whole; i += 32) {
            even = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i)), even); // the second if the first is a NaN
            odd = _mm512_max_ps(_mm512_abs_ps(_mm512_loadu_ps(x + i + 16)), odd);
        }
        float lanes[17];
        _mm512_storeu_ps(lanes, _mm512_max_ps(even, odd));
        lanes[16] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 17);
    }

    /// The lanes of the next `rest` elements: all sixteen, or the first `rest`.
    static BITNET_ALWAYS_INLINE __mmask16 tail_mask(std::size_t rest) noexcept {
        return static_cast<__mmask16>(rest >= 16 ? 0xffffu : (1u << rest) - 1);
    }

    /// Up to sixteen elements as floats; masked-off ones are zero and not read.
    /// (Halves and bytes not by the maskz intrinsics: clang 19 refuses those for -march=znver4 -mno-avx512f, which is
    /// what -march=native means if the system hides the CPU's AVX-512.)
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* x, __mmask16 mask) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm512_cvtph_ps(_mm256_mask_loadu_epi16(_mm256_setzero_si256(), mask, x));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m256i bits = _mm256_mask_loadu_epi16(_mm256_setzero_si256(), mask, x);
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_mask_loadu_epi8(_mm_setzero_si128(), mask, x)));
        } else {
            return _mm512_maskz_loadu_ps(mask, x);
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* x) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(x)));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x));
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
            return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes));
        } else {
            return _mm512_loadu_ps(x);
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
    }

    /// Columns [i, i + 16) of a row. \pre i is a multiple of 16
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* row, std::size_t i) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const __m512i q = _mm512_cvtepi8_epi32(load_16(block + 2 + i % q8_0::block_columns));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(q8_0::factor(block))), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen part = q6_k::at(row, i);
            const __m128i low = _mm_srli_epi16(load_16(part.low), part.low_shift);
            const __m128i high = _mm_srli_epi16(load_16(part.high), part.high_shift);
            const __m128i top = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
            const __m128i code = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), top);
            const __m512i q = _mm512_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(32)));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(part.factor) * part.scale), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen part = q4_0::at(row, i);
            const __m128i code = nibbles(load_16(part.codes), part.shift);
            const __m512i q = _mm512_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(8)));
            return _mm512_mul_ps(_mm512_set1_ps(widen_one(part.factor)), _mm512_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen part = q4_k::at(row, i);
            const __m512i q = _mm512_cvtepi8_epi32(nibbles(load_16(part.codes), part.shift));
            const __m512 minimum = _mm512_set1_ps(widen_one(part.minimum_factor) * part.minimum);
            return _mm512_fmsub_ps(_mm512_set1_ps(widen_one(part.factor) * part.scale), _mm512_cvtepi32_ps(q), minimum);
        } else {
            return load<E>(row + i * sizeof(E));
        }
    }
    /// Columns [i, i + rest) of a row, then zeros. Rows of blocks have no such rest.
    template <class E>
    static BITNET_ALWAYS_INLINE __m512 load_tail(const std::byte* row, std::size_t i, std::size_t rest) noexcept {
        if constexpr (block_format<E>) {
            return _mm512_setzero_ps();
        } else {
            return load<E>(row + i * sizeof(E), tail_mask(rest));
        }
    }
    static BITNET_ALWAYS_INLINE __m128i nibbles(__m128i bytes, int shift) noexcept {
        return _mm_and_si128(_mm_srli_epi16(bytes, shift), _mm_set1_epi8(15));
    }
    static BITNET_ALWAYS_INLINE __m128i load_16(const std::byte* bytes) noexcept {
        return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
    }

    /// Fold l+8, l+4, l+2, l+1.
    static BITNET_ALWAYS_INLINE float fold(__m512 lanes) noexcept {
        const __m256 upper = _mm512_extractf32x8_ps(lanes, 1);
        const __m256 by8 = _mm256_add_ps(_mm512_castps512_ps256(lanes), upper);
        const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
        const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
        return _mm_cvtss_f32(_mm_add_ss(by2, _mm_shuffle_ps(by2, by2, 1)));
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t i = 0; i < n; i += 16) {
            const __mmask16 mask = tail_mask(n - i);
            const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
            acc = _mm512_mask3_fmadd_ps(a, a, acc, mask);
        }
        return fold(acc);
    }

    /// How far ahead of a tile of `bytes` bytes the prefetches run: beyond the next tile, and 8 KiB at the least.
    static BITNET_ALWAYS_INLINE std::size_t prefetch_lead(std::size_t bytes) noexcept {
        return (std::max)(bytes + 1024, std::size_t{8192});
    }

    /// Prefetches `Bytes` bytes into the second level. \return the address after them.
    template <std::size_t Bytes> static BITNET_ALWAYS_INLINE const std::byte* prefetch(const std::byte* p) noexcept {
        BITNET_UNROLL
        for (std::size_t i = 0; i < Bytes; i += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(p) + i, _MM_HINT_T1);
        }
        return p + Bytes;
    }

    /// One half as a float, by the instruction.
    static BITNET_ALWAYS_INLINE float widen_one(half value) noexcept {
        return _mm_cvtss_f32(_mm_cvtph_ps(_mm_cvtsi32_si128(value.bits)));
    }

    /// Tokens [t, t + Tokens) of x with all rows of w, in tiles of Rows x Tokens.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_tokens(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                                matrix_view<const float> x, float* const* y, std::size_t t) noexcept {
        const matrix_view<const float> tokens(x.data + t * x.stride, Tokens, x.cols, x.stride);
        std::size_t r = 0;
        for (; r + Rows <= rows; r += Rows) {
            const std::byte* row = w + r * row_bytes;
            dot<Rows, Tokens, E>(row, row_bytes, row + prefetch_lead(Rows * row_bytes), tokens, y + t, r);
        }
        for (; Rows > 1 && r < rows; ++r) { // too few for a tile
            const std::byte* row = w + r * row_bytes;
            for (std::size_t k = t; k < t + Tokens; ++k) {
                y[k][r] = dot_one<E>(row, row, x.data + k * x.stride, x.cols);
            }
        }
    }

    /// One row and one token: a function of its own, as it is needed in many places.
    template <class E>
    static BITNET_NOINLINE float dot_one(const std::byte* row, const std::byte* next, const float* x,
                                         std::size_t cols) noexcept {
        float y;
        float* const to = &y;
        dot<1, 1, E>(row, 0, next, {x, 1, cols}, &to, 0);
        return y;
    }

    /// One tile: `Rows` rows share the loads of x, tokens those of w. y[t][first + r]. Prefetches `next` into the
    /// second level, for contiguous rows the next tile in the order of addresses: twice the speed of every row for
    /// itself.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot(const std::byte* row, std::size_t row_bytes, const std::byte* next,
                                         matrix_view<const float> x, float* const* y, std::size_t first) noexcept {
        __m512 acc[Rows * Tokens];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        std::size_t i = 0;
        constexpr std::size_t step = step_columns<E>();
        if constexpr (is_widened_first<E>()) {
            float wide[Rows][step];
            for (; i + step <= x.cols; i += step) {
                for (std::size_t r = 0; r < Rows; ++r) {
                    widen_row<E>(row + r * row_bytes + row_bytes_of<E>(i), step, wide[r]);
                }
                for (std::size_t c = 0; c < step; c += 16) {
                    next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                    dot_step<Rows, Tokens, float, true>(reinterpret_cast<const std::byte*>(wide), sizeof wide[0], c,
                                                        x.data + i, x.stride, 16, acc);
                }
            }
        } else {
            for (; i + step <= x.cols; i += step) {
                const std::byte* block = row + row_bytes_of<E>(i);
                BITNET_UNROLL
                for (std::size_t c = 0; c < step; c += 16) {
                    next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                    dot_step<Rows, Tokens, E, true>(block, row_bytes, c, x.data + i, x.stride, 16, acc);
                }
            }
        }
        if (i < x.cols) {
            dot_step<Rows, Tokens, E, false>(row + row_bytes_of<E>(i), row_bytes, 0, x.data + i, x.stride, x.cols - i,
                                             acc);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                y[t][first + r] = fold(acc[r * Tokens + t]);
            }
        }
    }

    /// Sixteen columns of a tile, from column c of a block, or those that are left; lanes after the last column stay
    /// as they are. x points at the block's first column.
    template <std::size_t Rows, std::size_t Tokens, class E, bool Whole>
    static BITNET_ALWAYS_INLINE void dot_step(const std::byte* block, std::size_t row_bytes, std::size_t c,
                                              const float* x, std::size_t stride, std::size_t left,
                                              __m512* acc) noexcept {
        const __mmask16 mask = tail_mask(left);
        __m512 a[Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const float* from = x + t * stride + c;
            a[t] = Whole ? _mm512_loadu_ps(from) : _mm512_maskz_loadu_ps(mask, from);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* p = block + r * row_bytes;
            const __m512 b = Whole ? load<E>(p, c) : load_tail<E>(p, c, left);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                __m512& sum = acc[r * Tokens + t];
                sum = Whole ? _mm512_fmadd_ps(b, a[t], sum) : _mm512_mask3_fmadd_ps(b, a[t], sum, mask);
            }
        }
    }

    /// The bound of one row. The integers of two multiplications by bytes, high and low, are joined as 256 high + low;
    /// scales and the fold are in the order of detail::screen_rows.
    static BITNET_ALWAYS_INLINE float screen(const std::byte* row, const screen_input& x) noexcept {
        __m512 acc = _mm512_setzero_ps();
        for (std::size_t b = 0; b < x.blocks; ++b, row += screen_layout::block_bytes) {
            prefetch_screen<2>(row, 4096); // on Intel a tenth faster than 4 KiB ahead into the first level
            prefetch_screen<1>(row, 1024);
            acc = screen_block(row, b, x, acc);
        }
        return upper_bound_of<hardware_fma>(fold(acc), row, x);
    }

    /// acc + the scaled sums of one block.
    static BITNET_ALWAYS_INLINE __m512 screen_block(const std::byte* block, std::size_t b, const screen_input& x,
                                                    __m512 acc) noexcept {
        const auto [code0, code1] = screen_block_avx512::unpack(block).columns;
        const std::int8_t* x_high = x.high + b * screen_layout::block_columns;
        const std::int8_t* x_low = x.low + b * screen_layout::block_columns;
        __m512i coarse = _mm512_dpbusd_epi32(_mm512_setzero_si512(), code0, _mm512_loadu_si512(x_high));
        coarse = _mm512_dpbusd_epi32(coarse, code1, _mm512_loadu_si512(x_high + 64));
        __m512i fine = _mm512_dpbusd_epi32(_mm512_loadu_si512(x.offset + 16 * b), code0, _mm512_loadu_si512(x_low));
        fine = _mm512_dpbusd_epi32(fine, code1, _mm512_loadu_si512(x_low + 64));
        return screen_block_avx512::add(acc, coarse, fine, screen_block_avx512::scale(block));
    }

    /// Scores of a few queries, which share the loads of k: 64 positions in up to 16 accumulators.
    template <std::size_t Queries, class E>
    static BITNET_ALWAYS_INLINE void score_queries(const float* const* q, const E* k, std::size_t head_size,
                                                   std::size_t positions, float scale, float* out) noexcept {
        std::size_t p = 0;
        for (; p + 64 <= positions; p += 64) {
            score_tile<Queries, 4>(q, k + p * head_size, head_size, scale, out + p);
        }
        for (; p < positions; p += 16) {
            score_tile<Queries, 1>(q, k + p * head_size, head_size, scale, out + p);
        }
    }

    /// The same of eight: 48 positions in 24 accumulators, which need three conversions where four queries need six.
    /// The last 64 are two tiles of 32, as one of 16 has too few sums to hide their latency.
    template <class E>
    static BITNET_ALWAYS_INLINE void score_eight(const float* const* q, const E* k, std::size_t head_size,
                                                 std::size_t positions, float scale, float* out) noexcept {
        const std::size_t end = (positions + 15) / 16 * 16;
        for (std::size_t p = 0; p < end;) {
            const std::size_t left = end - p;
            const E* keys = k + p * head_size;
            if (left == 48 || left > 64) {
                score_tile<8, 3>(q, keys, head_size, scale, out + p);
                p += 48;
            } else if (left >= 32) {
                score_tile<8, 2>(q, keys, head_size, scale, out + p);
                p += 32;
            } else {
                score_tile<8, 1>(q, keys, head_size, scale, out + p);
                p += 16;
            }
        }
    }

    /// Queries x (16 * Blocks positions). Prefetches what the next tile reads: several streams of 2 to 4 KB are too
    /// short for the hardware to follow.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_tile(const float* const* q, const E* k, std::size_t head_size, float scale,
                                                float* out) noexcept {
        __m512 acc[Queries][Blocks];
        BITNET_UNROLL
        for (auto& row : acc) {
            BITNET_UNROLL
            for (auto& a : row) {
                a = _mm512_setzero_ps();
            }
        }
        const std::size_t ahead = Blocks * head_size * 16;
        for (std::size_t d = 0; d < head_size; ++d) {
            __m512 keys[Blocks];
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                const E* block = k + (b * head_size + d) * 16;
                _mm_prefetch(reinterpret_cast<const char*>(block + ahead), _MM_HINT_T1);
                keys[b] = load(block);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m512 qd = _mm512_set1_ps(q[i][d]);
                BITNET_UNROLL
                for (std::size_t b = 0; b < Blocks; ++b) {
                    acc[i][b] = _mm512_fmadd_ps(qd, keys[b], acc[i][b]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                _mm512_storeu_ps(out + i * attention_block + 16 * b, _mm512_mul_ps(acc[i][b], _mm512_set1_ps(scale)));
            }
        }
    }

    /// Values weighted for a few queries, which share the loads of v: 32 positions at a time, so that they stay in the
    /// first-level cache while all columns pass.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_queries(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                   std::size_t end, float* const* out) noexcept {
        while (begin < end) {
            const std::size_t stop = begin + 32 < end ? begin + 32 : end;
            std::size_t d = 0;
            for (; d + 16 * Columns <= head_size; d += 16 * Columns) {
                weigh_tile<Queries, Columns>(p, v + d, head_size, begin, stop, tail_mask(16), d, out);
            }
            for (; d < head_size; d += 16) {
                weigh_tile<Queries, 1>(p, v + d, head_size, begin, stop, tail_mask(head_size - d), d, out);
            }
            begin = stop;
        }
    }

    /// Queries x (16 * Columns columns, from `d` of out on). Prefetches the same columns 32 positions ahead.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_tile(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, __mmask16 mask, std::size_t d,
                                                float* const* out) noexcept {
        __m512 acc[Queries][Columns];
        const __mmask16 resumed = begin == 0 ? __mmask16{0} : mask;
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                acc[i][c] = _mm512_maskz_loadu_ps(resumed, out[i] + d + 16 * c);
            }
        }
        for (std::size_t position = begin; position < end; ++position) {
            __m512 values[Columns];
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                const E* column = v + position * head_size + 16 * c;
                _mm_prefetch(reinterpret_cast<const char*>(column + 32 * head_size), _MM_HINT_T1);
                values[c] = load<E>(reinterpret_cast<const std::byte*>(column), mask);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m512 weight = _mm512_set1_ps(p[i * attention_block + position]);
                BITNET_UNROLL
                for (std::size_t c = 0; c < Columns; ++c) {
                    acc[i][c] = _mm512_fmadd_ps(weight, values[c], acc[i][c]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                _mm512_mask_storeu_ps(out[i] + d + 16 * c, mask, acc[i][c]);
            }
        }
    }
};

/// Tiles have no floats: the loops are those of AVX-512, but for the screen's, whose products are integers.
template <> struct float_ops<isa::amx_int8> : float_ops<isa::avx512_vnni> {
#if BITNET_AMX_ASSEMBLER
    static constexpr std::size_t fewest_in_groups = 3;
    static void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups,
                              std::size_t group_count, float* upper) noexcept {
        screen_tile_kernel<amx_tiles>::screen_groups(rows, count, groups, group_count, upper);
    }
#endif
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
