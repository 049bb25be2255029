// SPDX-License-Identifier: MIT
// float_ops for AdvSIMD: sixteen lanes are four registers. Empty on other architectures.
#ifndef BITNET_SIMD_FLOAT_OPS_NEON_HPP
#define BITNET_SIMD_FLOAT_OPS_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/prefetch_neon.hpp>
#include <bitnet/simd/screen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

template <> struct float_ops<isa::neon> {
    using ops = lane_ops<hardware_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        const float factor = ops::inverse_rms(sum_of_squares(x, n), n, eps);
        const std::size_t whole = n / 4 * 4;
        for (std::size_t i = 0; i < whole; i += 4) {
            const float32x4_t scaled = product(vld1q_f32(x + i), vdupq_n_f32(factor));
            vst1q_f32(y + i, product(scaled, vld1q_f32(weight + i)));
        }
        ops::scale_by(x + whole, weight + whole, factor, n - whole, y + whole);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        int32x4_t sums = vdupq_n_s32(0);
        for (std::size_t i = 0; i < whole; i += 16) {
            const int8x16_t rounded = quantize_16(x + i, scale);
            vst1q_s8(q + i, rounded);
            sums = vpadalq_s16(sums, vpaddlq_s8(rounded));
        }
        return {scale, vaddvq_s32(sums) + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
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
        const std::size_t whole = n / 4 * 4;
        for (std::size_t i = 0; i < whole; i += 4) {
            const float32x4_t g = larger(vld1q_f32(gate + i), vdupq_n_f32(0.0f));
            vst1q_f32(y + i, product(product(g, g), vld1q_f32(up + i)));
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
        for (; t + 2 <= x.rows; t += 2) {
            dot_tokens<2, 2, E>(w, row_bytes, rows, x, y, t);
        }
        for (; t < x.rows; ++t) {
            dot_tokens<2, 1, E>(w, row_bytes, rows, x, y, t);
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

    /// Bounds of the products of all rows of a screen, two rows at a time.
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        const std::size_t row_bytes = screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        std::size_t r = 0;
        for (; r + 2 <= count; r += 2) {
            screen<2>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
        for (; r < count; ++r) {
            screen<1>(rows + r * row_bytes, row_bytes, x, upper + r);
        }
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
            score_queries<1, 2>(q + i, k, head_size, positions, scale, out + i * attention_block);
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        std::size_t i = 0;
        for (; i + 4 <= queries; i += 4) {
            weigh_queries<4, 1>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i + 2 <= queries; i += 2) {
            weigh_queries<2, 2>(p + i * attention_block, v, head_size, begin, end, out + i);
        }
        for (; i < queries; ++i) {
            weigh_queries<1, 2>(p + i * attention_block, v, head_size, begin, end, out + i);
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
            for (; i + 4 <= n; i += 4) {
                const uint16x4_t halves = vreinterpret_u16_f16(vcvt_f16_f32(vld1q_f32(x + i)));
                vst1_u8(reinterpret_cast<std::uint8_t*>(y + i), vreinterpret_u8_u16(halves));
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
            widen_block<E>(x + row_bytes_of<E>(i), y + i, std::make_index_sequence<step / 16>{});
        }
        for (; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    /// Lanes 0..15, or sixteen columns.
    struct sixteen {
        float32x4_t v[4];
    };

    /// Sixteens K of a block. Were y allowed to alias it, each would read shifts and scales anew.
    template <class E, std::size_t... K>
    static BITNET_ALWAYS_INLINE void widen_block(const std::byte* block, float* __restrict y,
                                                 std::index_sequence<K...>) noexcept {
        (store(load<E>(block, 16 * K), y + 16 * K), ...);
    }
    static BITNET_ALWAYS_INLINE void store(const sixteen& values, float* y) noexcept {
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            vst1q_f32(y + 4 * k, values.v[k]);
        }
    }

    static BITNET_ALWAYS_INLINE sixteen zeros() noexcept {
        const float32x4_t zero = vdupq_n_f32(0.0f);
        return {{zero, zero, zero, zero}};
    }

    // Operators rather than intrinsics, to which clang gives the fast-math flags of the including program.
#if defined(__GNUC__)
    static BITNET_ALWAYS_INLINE float32x4_t product(float32x4_t a, float32x4_t b) noexcept { return a * b; }
    static BITNET_ALWAYS_INLINE float32x4_t sum(float32x4_t a, float32x4_t b) noexcept { return a + b; }
    static BITNET_ALWAYS_INLINE float32x4_t difference(float32x4_t a, float32x4_t b) noexcept { return a - b; }
#else
    static BITNET_ALWAYS_INLINE float32x4_t product(float32x4_t a, float32x4_t b) noexcept { return vmulq_f32(a, b); }
    static BITNET_ALWAYS_INLINE float32x4_t sum(float32x4_t a, float32x4_t b) noexcept { return vaddq_f32(a, b); }
    static BITNET_ALWAYS_INLINE float32x4_t difference(float32x4_t a, float32x4_t b) noexcept {
        return vsubq_f32(a, b);
    }
#endif
    /// acc += a * b, rounded once.
    static BITNET_ALWAYS_INLINE void add_product(float32x4_t& acc, float32x4_t a, float32x4_t b) noexcept {
#if defined(__clang__)
        __asm__("fmla %0.4s, %1.4s, %2.4s" : "+w"(acc) : "w"(a), "w"(b));
#else
        acc = vfmaq_f32(acc, a, b);
#endif
    }
    /// The larger of two; `b` if `a` is a NaN, unlike fmax.
    static BITNET_ALWAYS_INLINE float32x4_t larger(float32x4_t a, float32x4_t b) noexcept {
        return vbslq_f32(vcgtq_f32(a, b), a, b);
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        sixteen most = zeros();
        for (std::size_t i = 0; i < whole; i += 16) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                most.v[k] = larger(vabsq_f32(vld1q_f32(x + i + 4 * k)), most.v[k]);
            }
        }
        float lanes[5];
        vst1q_f32(lanes, larger(larger(most.v[0], most.v[1]), larger(most.v[2], most.v[3])));
        lanes[4] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 5);
    }

    /// Sixteen values to int8: rounded half to even, and saturated as they become narrow.
    static BITNET_ALWAYS_INLINE int8x16_t quantize_16(const float* x, float scale) noexcept {
        int16x4_t words[4];
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            words[k] = vqmovn_s32(vcvtnq_s32_f32(product(vld1q_f32(x + 4 * k), vdupq_n_f32(scale))));
        }
        return vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])), vqmovn_s16(vcombine_s16(words[2], words[3])));
    }

    static BITNET_ALWAYS_INLINE uint8x16_t load_16(const std::byte* bytes) noexcept {
        return vld1q_u8(reinterpret_cast<const std::uint8_t*>(bytes));
    }
    static BITNET_ALWAYS_INLINE sixteen widened(int8x16_t bytes) noexcept {
        const int16x8_t low = vmovl_s8(vget_low_s8(bytes));
        const int16x8_t high = vmovl_s8(vget_high_s8(bytes));
        return {{vcvtq_f32_s32(vmovl_s16(vget_low_s16(low))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(low))),
                 vcvtq_f32_s32(vmovl_s16(vget_low_s16(high))), vcvtq_f32_s32(vmovl_s16(vget_high_s16(high)))}};
    }
    static BITNET_ALWAYS_INLINE float32x4_t widened_halves(uint16x4_t bits) noexcept {
        return vcvt_f32_f16(vreinterpret_f16_u16(bits)); // a signalling NaN becomes quiet, as in widen()
    }
    /// One half as a float, by the instruction.
    static BITNET_ALWAYS_INLINE float widen_one(half value) noexcept {
        return vgetq_lane_f32(widened_halves(vdup_n_u16(value.bits)), 0);
    }

    /// Sixteen elements as floats.
    template <class E> static BITNET_ALWAYS_INLINE sixteen load(const std::byte* x) noexcept {
        sixteen out;
        if constexpr (std::is_same_v<E, half> || std::is_same_v<E, bfloat16>) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 2; ++k) {
                const uint16x8_t bits = vreinterpretq_u16_u8(load_16(x + 16 * k));
                if constexpr (std::is_same_v<E, half>) {
                    out.v[2 * k] = widened_halves(vget_low_u16(bits));
                    out.v[2 * k + 1] = widened_halves(vget_high_u16(bits));
                } else {
                    out.v[2 * k] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(bits), 16));
                    out.v[2 * k + 1] = vreinterpretq_f32_u32(vshll_n_u16(vget_high_u16(bits), 16));
                }
            }
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            out = widened(vreinterpretq_s8_u8(load_16(x)));
        } else {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                out.v[k] = vreinterpretq_f32_u8(load_16(x + 16 * k));
            }
        }
        return out;
    }
    template <class E> static BITNET_ALWAYS_INLINE sixteen load(const E* x) noexcept {
        return load<E>(reinterpret_cast<const std::byte*>(x));
    }

    /// Columns [i, i + 16) of a row. \pre i is a multiple of 16
    template <class E> static BITNET_ALWAYS_INLINE sixteen load(const std::byte* row, std::size_t i) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const uint8x16_t q = load_16(block + 2 + i % q8_0::block_columns);
            return scaled(vreinterpretq_s8_u8(q), widen_one(q8_0::factor(block)));
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen part = q6_k::at(row, i);
            const uint8x16_t low = shifted_right(load_16(part.low), part.low_shift);
            const uint8x16_t high = shifted_right(load_16(part.high), part.high_shift);
            const uint8x16_t top = vshlq_n_u8(vandq_u8(high, vdupq_n_u8(3)), 4);
            const uint8x16_t code = vorrq_u8(vandq_u8(low, vdupq_n_u8(15)), top);
            return scaled(vsubq_s8(vreinterpretq_s8_u8(code), vdupq_n_s8(32)), widen_one(part.factor) * part.scale);
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen part = q4_0::at(row, i);
            const int8x16_t code = nibbles(part.codes, part.shift);
            return scaled(vsubq_s8(code, vdupq_n_s8(8)), widen_one(part.factor));
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen part = q4_k::at(row, i);
            sixteen out = scaled(nibbles(part.codes, part.shift), widen_one(part.factor) * part.scale);
            const float32x4_t minimum = vdupq_n_f32(widen_one(part.minimum_factor) * part.minimum);
            BITNET_UNROLL
            for (float32x4_t& v : out.v) {
                v = difference(v, minimum); // of exact products
            }
            return out;
        } else {
            return load<E>(row + i * sizeof(E));
        }
    }
    static BITNET_ALWAYS_INLINE uint8x16_t shifted_right(uint8x16_t bytes, int shift) noexcept {
        return vshlq_u8(bytes, vdupq_n_s8(static_cast<std::int8_t>(-shift)));
    }
    static BITNET_ALWAYS_INLINE int8x16_t nibbles(const std::byte* codes, int shift) noexcept {
        return vreinterpretq_s8_u8(vandq_u8(shifted_right(load_16(codes), shift), vdupq_n_u8(15)));
    }
    static BITNET_ALWAYS_INLINE sixteen scaled(int8x16_t values, float factor) noexcept {
        sixteen out = widened(values);
        BITNET_UNROLL
        for (float32x4_t& v : out.v) {
            v = product(v, vdupq_n_f32(factor));
        }
        return out;
    }

    /// Folds l+8, l+4, l+2, l+1.
    static BITNET_ALWAYS_INLINE float fold(const sixteen& lanes) noexcept {
        const float32x4_t by8_low = sum(lanes.v[0], lanes.v[2]);
        const float32x4_t by8_high = sum(lanes.v[1], lanes.v[3]);
        const float32x4_t by4 = sum(by8_low, by8_high);
        const float32x4_t by2 = sum(by4, vextq_f32(by4, by4, 2));
        const float even = vgetq_lane_f32(by2, 0);
        const float odd = vgetq_lane_f32(by2, 1);
        return even + odd;
    }

    /// Folds after adding the last elements [i, n), fewer than 16, to their lanes. Rows of blocks have none.
    template <class E>
    static BITNET_ALWAYS_INLINE float fold_tail(const sixteen& acc, const std::byte* w, const float* x, std::size_t i,
                                                std::size_t n) noexcept {
        if constexpr (!block_format<E>) {
            if (i != n) [[unlikely]] {
                return fold_with<E>(acc, w + row_bytes_of<E>(i), x + i, n - i);
            }
        }
        return fold(acc);
    }
    /// Folds after adding `count` products to the first lanes.
    template <class E>
    static BITNET_NOINLINE float fold_with(const sixteen& acc, const std::byte* w, const float* x,
                                           std::size_t count) noexcept {
        float lanes[16];
        store(acc, lanes);
        for (std::size_t l = 0; l < count; ++l) {
            lanes[l] = hardware_fma::fma(element_at<E>(w, l), x[l], lanes[l]);
        }
        return ops::fold(lanes);
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        sixteen acc = zeros();
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                const float32x4_t a = vld1q_f32(x + i + 4 * k);
                add_product(acc.v[k], a, a);
            }
        }
        return fold_tail<float>(acc, reinterpret_cast<const std::byte*>(x), x, i, n);
    }

    /// Bytes by which a prefetch is ahead of the tile that follows the current one.
    static constexpr std::size_t prefetch_lead = 1024;

    /// Prefetches `Bytes` bytes. \return the address after them.
    template <std::size_t Bytes> static BITNET_ALWAYS_INLINE const std::byte* prefetch(const std::byte* p) noexcept {
        BITNET_UNROLL
        for (std::size_t i = 0; i < Bytes; i += 64) {
            prefetch_line(p + i);
        }
        return p + Bytes;
    }

    /// Tokens [t, t + Tokens) of x with all rows of w, in tiles of Rows x Tokens.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_tokens(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                                matrix_view<const float> x, float* const* y, std::size_t t) noexcept {
        const matrix_view<const float> tokens(x.data + t * x.stride, Tokens, x.cols, x.stride);
        std::size_t r = 0;
        for (; r + Rows <= rows; r += Rows) {
            const std::byte* row = w + r * row_bytes;
            dot<Rows, Tokens, E>(row, row_bytes, row + Rows * row_bytes + prefetch_lead, tokens, y + t, r);
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

    /// One tile: `Rows` rows share the loads of x, tokens those of w. y[t][first + r]. Prefetches `next`, for
    /// contiguous rows the next tile in the order of addresses.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot(const std::byte* row, std::size_t row_bytes, const std::byte* next,
                                         matrix_view<const float> x, float* const* y, std::size_t first) noexcept {
        sixteen acc[Rows][Tokens];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                acc[r][t] = zeros();
            }
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
                    dot_step<Rows, Tokens, float>(values, sizeof wide[0], c, x.data + i, x.stride, acc);
                }
            }
        } else {
            for (; i + step <= x.cols; i += step) {
                const std::byte* block = row + row_bytes_of<E>(i);
                BITNET_UNROLL
                for (std::size_t c = 0; c < step; c += 16) {
                    next = prefetch<Rows * row_bytes_of<E>(16)>(next);
                    dot_step<Rows, Tokens, E>(block, row_bytes, c, x.data + i, x.stride, acc);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                y[t][first + r] = fold_tail<E>(acc[r][t], row + r * row_bytes, x.data + t * x.stride, i, x.cols);
            }
        }
    }

    /// Sixteen columns of a tile, from column c of a block. x points at the block's first column.
    template <std::size_t Rows, std::size_t Tokens, class E>
    static BITNET_ALWAYS_INLINE void dot_step(const std::byte* block, std::size_t row_bytes, std::size_t c,
                                              const float* x, std::size_t stride,
                                              sixteen (&acc)[Rows][Tokens]) noexcept {
        sixteen b[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            b[r] = load<E>(block + r * row_bytes, c);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                const float32x4_t a = vld1q_f32(x + t * stride + c + 4 * k);
                BITNET_UNROLL
                for (std::size_t r = 0; r < Rows; ++r) {
                    add_product(acc[r][t].v[k], b[r].v[k], a);
                }
            }
        }
    }

    /// Rows that share the loads of x; scales and the fold are in the order of detail::screen_rows.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void screen(const std::byte* rows, std::size_t row_bytes, const screen_input& x,
                                            float* upper) noexcept {
        const std::byte* next = rows + Rows * row_bytes + prefetch_lead;
        sixteen acc[Rows];
        BITNET_UNROLL
        for (sixteen& row : acc) {
            row = zeros();
        }
        for (std::size_t b = 0; b < x.blocks; ++b) {
            next = prefetch<Rows * screen_layout::block_bytes>(next);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const std::byte* block = rows + r * row_bytes + b * screen_layout::block_bytes;
                float scale;
                std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
                const float32x4_t s = vdupq_n_f32(scale);
                add_product(acc[r].v[0], vcvtq_f32_s32(screen_quarter<0>(block, b, x)), s);
                add_product(acc[r].v[1], vcvtq_f32_s32(screen_quarter<1>(block, b, x)), s);
                add_product(acc[r].v[2], vcvtq_f32_s32(screen_quarter<2>(block, b, x)), s);
                add_product(acc[r].v[3], vcvtq_f32_s32(screen_quarter<3>(block, b, x)), s);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::byte* tail = rows + r * row_bytes + x.blocks * screen_layout::block_bytes;
            upper[r] = upper_bound_of<hardware_fma>(fold(acc[r]), tail, x);
        }
    }

    /// The four sums of columns [16 Quarter, 16 Quarter + 16) and the same of the second 64.
    template <std::size_t Quarter>
    static BITNET_ALWAYS_INLINE int32x4_t screen_quarter(const std::byte* block, std::size_t b,
                                                         const screen_input& x) noexcept {
        const uint8x16_t top = vdupq_n_u8(0x30);
        const uint8x16_t low = load_16(block + 16 * Quarter);
        const uint8x16_t high = load_16(block + screen_layout::high_at + 16 * Quarter % 32);
        const uint8x16_t high0 = vandq_u8(vshlq_n_u8(high, Quarter < 2 ? 4 : 2), top);
        const uint8x16_t high1 = vandq_u8(Quarter < 2 ? high : vshrq_n_u8(high, 2), top);
        const int8x16_t code0 = vreinterpretq_s8_u8(vorrq_u8(vandq_u8(low, vdupq_n_u8(15)), high0));
        const int8x16_t code1 = vreinterpretq_s8_u8(vorrq_u8(vshrq_n_u8(low, 4), high1));
        const std::size_t column = b * screen_layout::block_columns + 16 * Quarter;
        const int32x4_t coarse = sums_of_four(code0, code1, x.high + column);
        const int32x4_t fine = sums_of_four(code0, code1, x.low + column);
        const int32x4_t offset = vld1q_s32(x.offset + 16 * b + 4 * Quarter);
        return vaddq_s32(vaddq_s32(vshlq_n_s32(coarse, 8), fine), offset);
    }
    /// Products of neighbours, four by four, and of those 64 further on. A product is at most 63 * 128, four of them
    /// 32,256: int16 is safe.
    static BITNET_ALWAYS_INLINE int32x4_t sums_of_four(int8x16_t code0, int8x16_t code1,
                                                       const std::int8_t* x) noexcept {
        const int8x16_t x0 = vld1q_s8(x);
        const int8x16_t x1 = vld1q_s8(x + 64);
        const int16x8_t first =
            vmlal_s8(vmull_s8(vget_low_s8(code0), vget_low_s8(x0)), vget_low_s8(code1), vget_low_s8(x1));
        const int16x8_t second = vmlal_high_s8(vmull_high_s8(code0, x0), code1, x1);
        return vpaddlq_s16(vpaddq_s16(first, second));
    }

    /// Scores of a few queries, which share the loads of k.
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

    /// Queries x (16 * Blocks positions), prefetching 8 KB ahead.
    template <std::size_t Queries, std::size_t Blocks, class E>
    static BITNET_ALWAYS_INLINE void score_tile(const float* const* q, const E* k, std::size_t head_size, float scale,
                                                float* out) noexcept {
        sixteen acc[Queries][Blocks];
        BITNET_UNROLL
        for (auto& row : acc) {
            BITNET_UNROLL
            for (sixteen& block : row) {
                block = zeros();
            }
        }
        for (std::size_t d = 0; d < head_size; ++d) {
            sixteen keys[Blocks];
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                const E* block = k + (b * head_size + d) * 16;
                prefetch_line(reinterpret_cast<const std::byte*>(block) + 8192);
                keys[b] = load(block);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const float32x4_t qd = vdupq_n_f32(q[i][d]);
                BITNET_UNROLL
                for (std::size_t b = 0; b < Blocks; ++b) {
                    add_products(acc[i][b], keys[b], qd);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t b = 0; b < Blocks; ++b) {
                BITNET_UNROLL
                for (std::size_t n = 0; n < 4; ++n) {
                    vst1q_f32(out + i * attention_block + 16 * b + 4 * n, product(acc[i][b].v[n], vdupq_n_f32(scale)));
                }
            }
        }
    }
    static BITNET_ALWAYS_INLINE void add_products(sixteen& acc, const sixteen& values, float32x4_t factor) noexcept {
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            add_product(acc.v[k], values.v[k], factor);
        }
    }

    /// Values weighted for a few queries, which share the loads of v: 32 positions at a time, so that they stay in the
    /// first-level cache while all columns pass.
    template <std::size_t Queries, std::size_t Groups, class E>
    static BITNET_ALWAYS_INLINE void weigh_queries(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                   std::size_t end, float* const* out) noexcept {
        while (begin < end) {
            const std::size_t stop = begin + 32 < end ? begin + 32 : end;
            std::size_t d = 0;
            for (; d + 16 * Groups <= head_size; d += 16 * Groups) {
                weigh_tile<Queries, Groups>(p, v + d, head_size, begin, stop, d, out);
            }
            for (; d + 16 <= head_size; d += 16) {
                weigh_tile<Queries, 1>(p, v + d, head_size, begin, stop, d, out);
            }
            weigh_tail<Queries>(p, v, head_size, begin, stop, d, out);
            begin = stop;
        }
    }

    /// Queries x (16 * Groups columns, from `d` of out on). Prefetches the same columns 32 positions ahead.
    template <std::size_t Queries, std::size_t Groups, class E>
    static BITNET_ALWAYS_INLINE void weigh_tile(const float* p, const E* v, std::size_t head_size, std::size_t begin,
                                                std::size_t end, std::size_t d, float* const* out) noexcept {
        sixteen acc[Queries][Groups];
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t g = 0; g < Groups; ++g) {
                acc[i][g] = begin == 0 ? zeros() : load(out[i] + d + 16 * g);
            }
        }
        for (std::size_t position = begin; position < end; ++position) {
            const E* row = v + position * head_size;
            prefetch_line(row + 32 * head_size);
            sixteen values[Groups];
            BITNET_UNROLL
            for (std::size_t g = 0; g < Groups; ++g) {
                values[g] = load(row + 16 * g);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < Queries; ++i) {
                const float32x4_t weight = vdupq_n_f32(p[i * attention_block + position]);
                BITNET_UNROLL
                for (std::size_t g = 0; g < Groups; ++g) {
                    add_products(acc[i][g], values[g], weight);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t i = 0; i < Queries; ++i) {
            BITNET_UNROLL
            for (std::size_t g = 0; g < Groups; ++g) {
                std::memcpy(out[i] + d + 16 * g, &acc[i][g], sizeof(sixteen));
            }
        }
    }

    /// The last columns, fewer than sixteen, from `d` on.
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
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI::detail {

/// Dot and matrix products are of integers: the float loops are those of AdvSIMD.
template <> struct float_ops<isa::neon_dotprod> : float_ops<isa::neon> {};
template <> struct float_ops<isa::neon_i8mm> : float_ops<isa::neon> {};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
