// SPDX-License-Identifier: MIT
// float_ops<Isa>: the float loops compiled for one instruction set. All of them give the bits of the scalar ones.
#ifndef BITNET_SIMD_FLOAT_OPS_HPP
#define BITNET_SIMD_FLOAT_OPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/screen.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Whole loops, never single operations: a call costs little compared with the loop, which is compiled for `Isa`.
/// Formulas and the order of summation are in lane_ops.hpp; tests/simd/float_ops_test.cpp compares every
/// instruction set with the scalar one bit for bit. Undefined for an Isa without float loops.
template <class Isa> struct float_ops;

} // namespace bitnet::inline BITNET_ABI::detail

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// The oracle: lane_ops as written, multiply-adds emulated exactly. Ordinary functions: if they were inlined, they
/// would be compiled under the caller's -ffast-math.
template <> struct float_ops<isa::scalar> {
    using ops = lane_ops<software_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        ops::scale_by(x, weight, ops::inverse_rms(ops::sum_of_squares(x, n), n, eps), n, y);
    }
    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        return ops::quantize(x, n, q);
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
        ops::relu2_times(gate, up, n, y);
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
        ops::dot_rows<E>(w, row_bytes, rows, x, y);
    }
    template <class E>
    requires(!block_format<E>) static void dot_listed(const std::byte* w, std::size_t row_bytes,
                                                      std::span<const std::uint32_t> rows, const float* x,
                                                      std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            float* const to = y + i;
            ops::dot_rows<E>(w + rows[i] * row_bytes, row_bytes, 1, {x, 1, cols}, &to);
        }
    }
    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        detail::screen_rows<software_fma>(rows, count, x, upper);
    }
    /// For `queries` queries at once: `out` has a row of attention_block floats for each.
    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        for (std::size_t i = 0; i < queries; ++i) {
            ops::scores(q[i], k, head_size, positions, ops::score_scale(head_size), out + i * attention_block);
        }
    }
    static softmax_state exponentials(float* scores, std::size_t n) noexcept { return ops::exponentials(scores, n); }
    /// For `queries` queries at once: `p` has a row of attention_block floats for each, out[i] is [head_size].
    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        for (std::size_t i = 0; i < queries; ++i) {
            ops::weighted_values(p + i * attention_block, v, head_size, begin, end, out[i]);
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
        return ops::narrow_row(x, n, y);
    }
    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        ops::widen_row<E>(x, n, y);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
