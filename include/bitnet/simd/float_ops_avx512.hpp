// SPDX-License-Identifier: MIT
// float_ops for AVX-512: sixteen lanes are one zmm register. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/simd/float_ops.hpp>

#include <cstddef>
#include <cstdint>
#include <type_traits>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni")
namespace bitnet::inline BITNET_ABI {

template <> struct float_ops<isa::avx512_vnni> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        ops::scale_by(x, weight, ops::inverse_rms(sum_of_squares(x, n), n, eps), n, y);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(ops::absmax(x, n));
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

    static void dequantize(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                           float* y) noexcept {
        ops::dequantize(acc, weight_scale / activation_scale, n, y);
    }
    static void dequantize_add(const std::int32_t* acc, float weight_scale, float activation_scale, std::size_t n,
                               float* y) noexcept {
        ops::dequantize_add(acc, weight_scale / activation_scale, n, y);
    }
    static void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::relu2_times(gate, up, n, y);
    }
    static void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        ops::silu_times(gate, up, n, y);
    }
    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        ops::rotate(head, cos, sin, pairs);
    }

    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, const float* x, std::size_t cols,
                         float* y) noexcept {
        std::size_t r = 0;
        for (; r + 4 <= rows; r += 4) {
            dot<4, E>(w + r * row_bytes, row_bytes, x, cols, y + r);
        }
        for (; r < rows; ++r) {
            dot<1, E>(w + r * row_bytes, row_bytes, x, cols, y + r);
        }
    }

    template <class E>
    static void scores(const float* q, const E* k, std::size_t head_size, std::size_t positions, float* out) noexcept {
        const float scale = ops::score_scale(head_size);
        std::size_t p = 0;
        for (; p + 64 <= positions; p += 64) {
            score_blocks<4>(q, k + p * head_size, head_size, scale, out + p);
        }
        for (; p < positions; p += 16) {
            score_blocks<1>(q, k + p * head_size, head_size, scale, out + p);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, const E* v, std::size_t head_size, std::size_t positions,
                                float* out) noexcept {
        std::size_t d = 0;
        for (; d + 128 <= head_size; d += 128) {
            weighted_columns<8>(p, v + d, head_size, positions, tail_mask(16), out + d);
        }
        for (; d < head_size; d += 16) {
            weighted_columns<1>(p, v + d, head_size, positions, tail_mask(head_size - d), out + d);
        }
    }

    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        return ops::merge(earlier, out, later, block, n);
    }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        for (std::size_t i = 0; i < n; i += 16) {
            const __mmask16 mask = tail_mask(n - i);
            _mm512_mask_storeu_ps(y + i, mask, load<E>(x + i * sizeof(E), mask));
        }
    }

private:
    /// The lanes of the next `rest` elements: all sixteen, or the first `rest`.
    static BITNET_ALWAYS_INLINE __mmask16 tail_mask(std::size_t rest) noexcept {
        return static_cast<__mmask16>(rest >= 16 ? 0xffffu : (1u << rest) - 1);
    }

    /// Up to sixteen elements as floats; masked-off ones are zero and not read.
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const std::byte* x, __mmask16 mask) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(mask, x));
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            const __m256i bits = _mm256_maskz_loadu_epi16(mask, x);
            return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
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
        } else {
            return _mm512_loadu_ps(x);
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE __m512 load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
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

    /// Rows that share the loads of x; prefetch 2 KiB ahead, where the hardware prefetcher alone leaves half the speed.
    template <std::size_t Rows, class E>
    static BITNET_ALWAYS_INLINE void dot(const std::byte* w, std::size_t row_bytes, const float* x, std::size_t cols,
                                         float* y) noexcept {
        __m512 acc[Rows];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        std::size_t i = 0;
        for (; i + 16 <= cols; i += 16) {
            const __m512 a = _mm512_loadu_ps(x + i);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const std::byte* p = w + r * row_bytes + i * sizeof(E);
                _mm_prefetch(reinterpret_cast<const char*>(p) + 2048, _MM_HINT_T0);
                acc[r] = _mm512_fmadd_ps(load<E>(p), a, acc[r]);
            }
        }
        const __mmask16 mask = tail_mask(cols - i);
        const __m512 a = _mm512_maskz_loadu_ps(mask, x + i);
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* rest = w + r * row_bytes + i * sizeof(E);
            y[r] = fold(_mm512_mask3_fmadd_ps(load<E>(rest, mask), a, acc[r], mask));
        }
    }

    template <std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_blocks(const float* q, const E* k, std::size_t head_size, float scale,
                                                  float* out) noexcept {
        __m512 acc[Blocks];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        for (std::size_t d = 0; d < head_size; ++d) {
            const __m512 qd = _mm512_set1_ps(q[d]);
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                acc[b] = _mm512_fmadd_ps(qd, load(k + (b * head_size + d) * 16), acc[b]);
            }
        }
        BITNET_UNROLL
        for (std::size_t b = 0; b < Blocks; ++b) {
            _mm512_storeu_ps(out + 16 * b, _mm512_mul_ps(acc[b], _mm512_set1_ps(scale)));
        }
    }

    template <std::size_t Columns, class E>
    static BITNET_ALWAYS_INLINE void weighted_columns(const float* p, const E* v, std::size_t head_size,
                                                      std::size_t positions, __mmask16 mask, float* out) noexcept {
        __m512 acc[Columns];
        BITNET_UNROLL
        for (auto& a : acc) {
            a = _mm512_setzero_ps();
        }
        for (std::size_t position = 0; position < positions; ++position) {
            const __m512 weight = _mm512_set1_ps(p[position]);
            const auto* row = reinterpret_cast<const std::byte*>(v + position * head_size);
            BITNET_UNROLL
            for (std::size_t c = 0; c < Columns; ++c) {
                const std::byte* column = row + 16 * c * sizeof(E);
                acc[c] = _mm512_fmadd_ps(weight, load<E>(column, mask), acc[c]);
            }
        }
        BITNET_UNROLL
        for (std::size_t c = 0; c < Columns; ++c) {
            _mm512_mask_storeu_ps(out + 16 * c, mask, acc[c]);
        }
    }
};

/// Tiles have no floats: the loops are those of AVX-512.
template <> struct float_ops<isa::amx_int8> : float_ops<isa::avx512_vnni> {};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
