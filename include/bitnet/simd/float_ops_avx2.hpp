// SPDX-License-Identifier: MIT
// float_ops for AVX2 + FMA + F16C: sixteen lanes are two ymm registers. Empty on other architectures.
#ifndef BITNET_SIMD_FLOAT_OPS_AVX2_HPP
#define BITNET_SIMD_FLOAT_OPS_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group_avx2.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

template <> struct float_ops<isa::avx2> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        const float factor = ops::inverse_rms(sum_of_squares(x, n), n, eps);
        const std::size_t whole = n / 8 * 8;
        for (std::size_t i = 0; i < whole; i += 8) {
            const __m256 scaled = rounded_product(_mm256_loadu_ps(x + i), _mm256_set1_ps(factor));
            _mm256_storeu_ps(y + i, _mm256_mul_ps(scaled, _mm256_loadu_ps(weight + i)));
        }
        ops::scale_by(x + whole, weight + whole, factor, n - whole, y + whole);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        __m256i sums = _mm256_setzero_si256();
        for (std::size_t i = 0; i < whole; i += 16) {
            sums = _mm256_add_epi32(sums, quantize_16(x + i, scale, q + i));
        }
        std::int32_t lanes[8];
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(lanes), sums);
        std::int32_t sum = 0;
        for (const std::int32_t lane : lanes) {
            sum += lane;
        }
        return {scale, sum + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
    }

    static void dequantize(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            ops::dequantize(acc, factor, tile.count, to);
        });
    }
    static void dequantize_add(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            ops::dequantize_add(acc, factor, tile.count, to);
        });
    }
    static void relu2_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::gate_rows(up, gate, stride, relu2_times);
    }
    static void silu_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::gate_rows(up, gate, stride, silu_times);
    }
    static void gelu_gate(const product_tile& up, float* gate, std::size_t stride) noexcept {
        ops::gate_rows(up, gate, stride, gelu_times);
    }
    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 8 * 8;
        for (std::size_t i = 0; i < whole; i += 8) {
            const __m256 g = _mm256_max_ps(_mm256_loadu_ps(gate + i), _mm256_setzero_ps()); // zero if the gate is a NaN
            _mm256_storeu_ps(y + i, _mm256_mul_ps(rounded_product(g, g), _mm256_loadu_ps(up + i)));
        }
        ops::relu2_times(gate + whole, up + whole, n - whole, y + whole);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::gelu_times(gate, up, n, y);
    }
    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        ops::rotate(head, cos, sin, pairs);
    }

    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        std::size_t t = 0;
        for (; t + 3 <= x.rows && t + 4 != x.rows; t += 3) {
            dot_tokens<2, 3, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t + 2 <= x.rows; t += 2) {
            dot_tokens<2, 2, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t < x.rows; ++t) {
            // One row is read fastest: F16 as fast as a loop that only reads, two rows 0.77 of it (Zen 5).
            dot_tokens<block_format<E> ? 2 : 1, 1, E>(w, row_bytes, rows, x, y, t);
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
    static constexpr std::size_t fewest_in_groups = 10;
    static void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups,
                              std::size_t group_count, float* upper) noexcept {
        screen_groups_by<screen_lanes_avx2<screen_sums_avx2>>(rows, count, groups, group_count, upper);
    }

    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        const float scale = ops::score_scale(head_size);
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            score_queries<4, 1>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i + 2 <= queries; i += 2) {
            score_queries<2, 2>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
        for (; i < queries; ++i) {
            score_queries<1, 4>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            weigh_queries<4, 2>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 2 <= queries; i += 2) {
            weigh_queries<2, 4>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i < queries; ++i) {
            weigh_queries<1, 8>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
    }

    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        return ops::merge(earlier, out, later, block, n);
    }
    static void multiply(float* x, const float* y, std::size_t n) noexcept { ops::multiply(x, y, n); }
    static void add(const float* x, std::size_t n, float* y) noexcept { ops::add(x, n, y); }
    static void scale(float* x, float factor, std::size_t n) noexcept { ops::scale(x, factor, n); }
    static void normalize(const float* x, std::size_t n, float* y) noexcept { ops::normalize(x, n, y); }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }

    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        if constexpr (std::is_same_v<E, std::int8_t>) {
            return ops::step_of(quantize(x, n, y));
        } else if constexpr (std::is_same_v<E, half>) {
            std::size_t i = 0;
            for (; i + 8 <= n; i += 8) {
                const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(x + i), _MM_FROUND_TO_NEAREST_INT);
                _mm_storeu_si128(reinterpret_cast<__m128i*>(y + i), halves);
            }
            return ops::narrow_row(x + i, n - i, y + i);
        } else {
            return ops::narrow_row(x, n, y);
        }
    }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        constexpr std::size_t step = step_columns<E>();
        for (; i + step <= n; i += step) {
            widen_block<E>(x + row_bytes_of<E>(i), y + i, std::make_index_sequence<step / 8>{});
        }
        for (; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    /// Eights K of a block. Were y allowed to alias it, each would read shifts and scales anew.
    template <class E, std::size_t... K>
    static BITNET_ALWAYS_INLINE void widen_block(const std::byte* block, float* __restrict y,
                                                 std::index_sequence<K...>) noexcept {
        (_mm256_storeu_ps(y + 8 * K, load<E>(block, 8 * K)), ...);
    }

    /// a * b as a value of its own: under -ffast-math clang would reassociate the products of intrinsics.
    static BITNET_ALWAYS_INLINE __m256 rounded_product(__m256 a, __m256 b) noexcept {
        __m256 product = _mm256_mul_ps(a, b);
#if defined(__GNUC__)
        __asm__("" : "+x"(product));
#endif
        return product;
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        const __m256 sign = _mm256_set1_ps(-0.0f);
        __m256 even = _mm256_setzero_ps();
        __m256 odd = _mm256_setzero_ps();
        for (std::size_t i = 0; i < whole; i += 16) {
            even = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i)), even); // the second if one is a NaN
            odd = _mm256_max_ps(_mm256_andnot_ps(sign, _mm256_loadu_ps(x + i + 8)), odd);
        }
        float lanes[9];
        _mm256_storeu_ps(lanes, _mm256_max_ps(even, odd));
        lanes[8] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 9);
    }

    /// Eight elements as floats; F16C makes a quiet NaN of a signalling one, as widen() does.
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const std::byte* x) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(x)));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m128i bits = _mm_loadu_si128(reinterpret_cast<const __m128i*>(x));
            return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(bits), 16));
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            const __m128i bytes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(x));
            return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes));
        } else {
            return _mm256_loadu_ps(reinterpret_cast<const float*>(x));
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
    }

    /// Columns [i, i + 8) of a row. \pre i is a multiple of 8
    template <class E> static BITNET_ALWAYS_INLINE __m256 load(const std::byte* row, std::size_t i) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const __m256i q = _mm256_cvtepi8_epi32(load_8(block + 2 + i % q8_0::block_columns));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(q8_0::factor(block))), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen part = q6_k::at(row, i);
            const __m128i low = _mm_srli_epi16(load_8(part.low + i % 16), part.low_shift);
            const __m128i high = _mm_srli_epi16(load_8(part.high + i % 16), part.high_shift);
            const __m128i top = _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(3)), 4);
            const __m128i code = _mm_or_si128(_mm_and_si128(low, _mm_set1_epi8(15)), top);
            const __m256i q = _mm256_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(32)));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(part.factor) * part.scale), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen part = q4_0::at(row, i);
            const __m128i code = nibbles(load_8(part.codes + i % 16), part.shift);
            const __m256i q = _mm256_cvtepi8_epi32(_mm_sub_epi8(code, _mm_set1_epi8(8)));
            return _mm256_mul_ps(_mm256_set1_ps(widen_one(part.factor)), _mm256_cvtepi32_ps(q));
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen part = q4_k::at(row, i);
            const __m256i q = _mm256_cvtepi8_epi32(nibbles(load_8(part.codes + i % 16), part.shift));
            const __m256 minimum = _mm256_set1_ps(widen_one(part.minimum_factor) * part.minimum);
            return _mm256_fmsub_ps(_mm256_set1_ps(widen_one(part.factor) * part.scale), _mm256_cvtepi32_ps(q), minimum);
        } else {
            return load<E>(row + i * sizeof(E));
        }
    }
    static BITNET_ALWAYS_INLINE __m128i nibbles(__m128i bytes, int shift) noexcept {
        return _mm_and_si128(_mm_srli_epi16(bytes, shift), _mm_set1_epi8(15));
    }
    static BITNET_ALWAYS_INLINE __m128i load_8(const std::byte* bytes) noexcept {
        return _mm_loadl_epi64(reinterpret_cast<const __m128i*>(bytes));
    }

    /// low holds lanes 0-7, high lanes 8-15: fold l+8, l+4, l+2, l+1.
    static BITNET_ALWAYS_INLINE float fold(__m256 low, __m256 high) noexcept {
        const __m256 by8 = _mm256_add_ps(low, high);
        const __m128 by4 = _mm_add_ps(_mm256_castps256_ps128(by8), _mm256_extractf128_ps(by8, 1));
        const __m128 by2 = _mm_add_ps(by4, _mm_movehl_ps(by4, by4));
        return _mm_cvtss_f32(_mm_add_ss(by2, _mm_shuffle_ps(by2, by2, 1)));
    }

    /// Folds after adding the last elements [i, n), fewer than 16, to their lanes. Rows of blocks have none.
    template <class E>
    static BITNET_ALWAYS_INLINE float fold_tail(__m256 low, __m256 high, const std::byte* w, const float* x,
                                                std::size_t i, std::size_t n) noexcept {
        if constexpr (!block_format<E>) {
            if (i != n) [[unlikely]] {
                return fold_with<E>(low, high, w + row_bytes_of<E>(i), x + i, n - i);
            }
        }
        return fold(low, high);
    }
    /// Folds after adding `count` products to the first lanes.
    template <class E>
    static BITNET_NOINLINE float fold_with(__m256 low, __m256 high, const std::byte* w, const float* x,
                                           std::size_t count) noexcept {
        float lanes[16];
        _mm256_storeu_ps(lanes, low);
        _mm256_storeu_ps(lanes + 8, high);
        for (std::size_t l = 0; l < count; ++l) {
            lanes[l] = hardware_fma::fma(element_at<E>(w, l), x[l], lanes[l]);
        }
        return ops::fold(lanes);
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        __m256 low = _mm256_setzero_ps();
        __m256 high = _mm256_setzero_ps();
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            const __m256 a = _mm256_loadu_ps(x + i);
            const __m256 b = _mm256_loadu_ps(x + i + 8);
            low = _mm256_fmadd_ps(a, a, low);
            high = _mm256_fmadd_ps(b, b, high);
        }
        return fold_tail<float>(low, high, reinterpret_cast<const std::byte*>(x), x, i, n);
    }

    /// Sixteen values to int8; gives their sums in eight lanes. vcvtps2dq rounds half to even.
    static BITNET_ALWAYS_INLINE __m256i quantize_16(const float* x, float scale, std::int8_t* q) noexcept {
        const __m256 s = _mm256_set1_ps(scale);
        const __m256 top = _mm256_set1_ps(127.0f);
        const __m256 bottom = _mm256_set1_ps(-128.0f);
        const __m256 a = _mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(_mm256_loadu_ps(x), s), top), bottom);
        const __m256 b = _mm256_max_ps(_mm256_min_ps(_mm256_mul_ps(_mm256_loadu_ps(x + 8), s), top), bottom);
        const __m256i low = _mm256_cvtps_epi32(a);
        const __m256i high = _mm256_cvtps_epi32(b);
        const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(low, high), 0xd8);
        const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(q), bytes);
        return _mm256_add_epi32(low, high);
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
        __m256 low[Rows * Tokens];
        __m256 high[Rows * Tokens];
        BITNET_UNROLL
        for (std::size_t k = 0; k < Rows * Tokens; ++k) {
            low[k] = _mm256_setzero_ps();
            high[k] = _mm256_setzero_ps();
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
                    const std::byte* values = reinterpret_cast<const std::byte*>(wide);
                    dot_step<Rows, Tokens, float>(values, sizeof wide[0], c, x.data + i, x.stride, low);
                    dot_step<Rows, Tokens, float>(values, sizeof wide[0], c + 8, x.data + i, x.stride, high);
                }
            }
        } else {
            for (; i + step <= x.cols; i += step) {
                const std::byte* block = row + row_bytes_of<E>(i);
                BITNET_UNROLL
                for (std::size_t c = 0; c < step; c += 16) {
                    next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                    dot_step<Rows, Tokens, E>(block, row_bytes, c, x.data + i, x.stride, low);
                    dot_step<Rows, Tokens, E>(block, row_bytes, c + 8, x.data + i, x.stride, high);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const std::size_t k = r * Tokens + t;
                y[t][first + r] = fold_tail<E>(low[k], high[k], row + r * row_bytes, x.data + t * x.stride, i, x.cols);
            }
        }
    }

    /// Eight columns of a tile, from column c of a block. x points at the block's first column.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_step(const std::byte* block, std::size_t row_bytes, std::size_t c,
                                              const float* x, std::size_t stride, __m256* acc) noexcept {
        __m256 a[Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            a[t] = _mm256_loadu_ps(x + t * stride + c);
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const __m256 b = load<E>(block + r * row_bytes, c);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                acc[r * Tokens + t] = _mm256_fmadd_ps(b, a[t], acc[r * Tokens + t]);
            }
        }
    }

    /// The bound of one row; scales and the fold are in the order of detail::screen_rows.
    static BITNET_ALWAYS_INLINE float screen(const std::byte* row, const screen_input& x) noexcept {
        __m256 low = _mm256_setzero_ps();
        __m256 high = _mm256_setzero_ps();
        for (std::size_t b = 0; b < x.blocks; ++b, row += screen_layout::block_bytes) {
            prefetch_screen<1>(row, 4096); // on Intel and Zen 5; into the second level a tenth less
            float scale;
            std::memcpy(&scale, row + screen_layout::scale_at, sizeof scale);
            const __m256 s = _mm256_set1_ps(scale);
            low = _mm256_fmadd_ps(_mm256_cvtepi32_ps(screen_half<0>(row, b, x)), s, low);
            high = _mm256_fmadd_ps(_mm256_cvtepi32_ps(screen_half<1>(row, b, x)), s, high);
        }
        return upper_bound_of<hardware_fma>(fold(low, high), row, x);
    }

    /// The eight sums of columns [32 Half, 32 Half + 32) and the same of the second 64. A pair of products is at most
    /// 2 * 63 * 128, two pairs 32,256: int16 is safe.
    template <int Half>
    static BITNET_ALWAYS_INLINE __m256i screen_half(const std::byte* block, std::size_t b,
                                                    const screen_input& x) noexcept {
        const auto [code0, code1] = unpack_screen_half<Half>(block).columns;
        const std::size_t column = b * screen_layout::block_columns + std::size_t{32} * Half;
        const __m256i coarse = _mm256_add_epi16(_mm256_maddubs_epi16(code0, load_32_bytes(x.high + column)),
                                                _mm256_maddubs_epi16(code1, load_32_bytes(x.high + column + 64)));
        const __m256i fine = _mm256_add_epi16(_mm256_maddubs_epi16(code0, load_32_bytes(x.low + column)),
                                              _mm256_maddubs_epi16(code1, load_32_bytes(x.low + column + 64)));
        const __m256i sums = _mm256_add_epi32(_mm256_madd_epi16(coarse, _mm256_set1_epi16(256)),
                                              _mm256_madd_epi16(fine, _mm256_set1_epi16(1)));
        return _mm256_add_epi32(sums, load_32_bytes(x.offset + 16 * b + std::size_t{8} * Half));
    }
    /// Scores of a few queries, which share the loads of k: eight accumulators of sixteen registers, as many as hide
    /// the latency of an fma.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_queries(const float* const* q, const E* k, std::size_t head_size,
                                                   std::size_t positions, float scale, float* out) noexcept {
        std::size_t p = 0;
        for (; p + 16 * Blocks <= positions; p += 16 * Blocks) {
            score_tile<Queries, Blocks>(q, k + p * head_size, head_size, scale, out + p);
        }
        for (; p < positions; p += 16) {
            score_tile<Queries, 1>(q, k + p * head_size, head_size, scale, out + p);
        }
    }

    /// Queries x (16 * Blocks positions). Prefetches 8 KB ahead: streams of 2 to 4 KB are too short for the hardware to
    /// follow.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_tile(const float* const* q, const E* k, std::size_t head_size, float scale,
                                                float* out) noexcept {
        __m256 acc[Queries][2 * Blocks];
        BITNET_UNROLL
        for (auto& row : acc) {
            BITNET_UNROLL
            for (auto& a : row) {
                a = _mm256_setzero_ps();
            }
        }
        for (std::size_t d = 0; d < head_size; ++d) {
            __m256 keys[2 * Blocks];
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                const E* block = k + (b * head_size + d) * 16;
                _mm_prefetch(reinterpret_cast<const char*>(block) + 8192, _MM_HINT_T1);
                keys[2 * b] = load(block);
                keys[2 * b + 1] = load(block + 8);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m256 qd = _mm256_set1_ps(q[i][d]);
                BITNET_UNROLL
                for (std::size_t b = 0; b < 2 * Blocks; ++b) {
                    acc[i][b] = _mm256_fmadd_ps(qd, keys[b], acc[i][b]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t b = 0; b < 2 * Blocks; ++b) {
                _mm256_storeu_ps(out + i * attention_block + 8 * b, _mm256_mul_ps(acc[i][b], _mm256_set1_ps(scale)));
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
            for (; d + 8 * Columns <= head_size; d += 8 * Columns) {
                weigh_tile<Queries, Columns>(p, v + d, head_size, begin, stop, d, out);
            }
            for (; d + 8 <= head_size; d += 8) {
                weigh_tile<Queries, 1>(p, v + d, head_size, begin, stop, d, out);
            }
            weigh_tail<Queries>(p, v, head_size, begin, stop, d, out);
            begin = stop;
        }
    }

    /// Queries x (8 * Columns columns, from `d` of out on). Prefetches the same columns 32 positions ahead.
    template <std::size_t Queries, std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weigh_tile(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, std::size_t d, float* const* out) noexcept {
        __m256 acc[Queries][Columns];
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                acc[i][c] = begin == 0 ? _mm256_setzero_ps() : _mm256_loadu_ps(out[i] + d + 8 * c);
            }
        }
        for (std::size_t position = begin; position < end; ++position) {
            const E* row = v + position * head_size;
            _mm_prefetch(reinterpret_cast<const char*>(row + 32 * head_size), _MM_HINT_T1);
            __m256 values[Columns];
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                values[c] = load(row + 8 * c);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const __m256 weight = _mm256_set1_ps(p[i * attention_block + position]);
                BITNET_UNROLL
                for (std::size_t c = 0; c < Columns; ++c) {
                    acc[i][c] = _mm256_fmadd_ps(weight, values[c], acc[i][c]);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                _mm256_storeu_ps(out[i] + d + 8 * c, acc[i][c]);
            }
        }
    }

    /// The last columns, fewer than eight, from `d` on.
    template <std::size_t Queries, class E>
    static BITNET_ALWAYS_INLINE void weigh_tail(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, std::size_t d, float* const* out) noexcept {
        for (; d < head_size; ++d) {
            for (std::size_t i = 0; i < Queries; ++i) {
                float acc = begin == 0 ? 0.0f : out[i][d];
                for (std::size_t position = begin; position < end; ++position) {
                    acc = hardware_fma::fma(p[i * attention_block + position], widen(v[position * head_size + d]), acc);
                }
                out[i][d] = acc;
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END

namespace bitnet::inline BITNET_ABI::detail {

/// AVX-VNNI adds integer dot products only: the loops are those of AVX2, but for what bounds many rows of a screen.
template <> struct float_ops<isa::avx_vnni> : float_ops<isa::avx2> {
    static constexpr std::size_t fewest_in_groups = 8;
    static void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups,
                              std::size_t group_count, float* upper) noexcept {
        screen_groups_by<screen_lanes_avx2<screen_sums_avx_vnni>>(rows, count, groups, group_count, upper);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
