// SPDX-License-Identifier: MIT
// float_ops for SSE4.1 and WebAssembly: sixteen lanes are four registers, multiply-adds are made of doubles.
// Empty on other architectures.
#ifndef BITNET_SIMD_FLOAT_OPS_QUAD_HPP
#define BITNET_SIMD_FLOAT_OPS_QUAD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/quad.hpp>
#include <bitnet/simd/screen.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>

#if BITNET_X86_64 || BITNET_WASM_SIMD128
#if BITNET_X86_64
BITNET_TARGET_BEGIN(BITNET_TARGET_SSE41)
#else
BITNET_PRECISE_BEGIN
#endif
namespace bitnet::inline BITNET_ABI::detail {

struct float_ops_quad {
    using ops = lane_ops<software_fma>;

    static void rms_norm(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept {
        ops::scale_by(x, weight, ops::inverse_rms(sum_of_squares(x, n), n, eps), n, y);
    }

    static row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = ops::quantization_scale(absmax(x, n));
        const std::size_t whole = n / 16 * 16;
        ints sums = quad::splat(0);
        for (std::size_t i = 0; i < whole; i += 16) {
            ints rounded[4];
            BITNET_UNROLL
            for (std::size_t part = 0; part < 4; ++part) {
                rounded[part] = quad::round_to_int8(quad::mul(quad::load(x + i + 4 * part), quad::splat(scale)));
                sums = quad::add(sums, rounded[part]);
            }
            quad::store_16(q + i, quad::pack(rounded[0], rounded[1], rounded[2], rounded[3]));
        }
        std::int32_t lanes[4];
        quad::store_16(lanes, sums);
        const std::int32_t sum = lanes[0] + lanes[1] + lanes[2] + lanes[3];
        return {scale, sum + ops::quantize_with(x + whole, scale, n - whole, q + whole)};
    }

    static void dequantize(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            ops::dequantize(acc, factor, tile.count, to);
        });
    }
    static void dequantize_add(const product_tile& tile, float* y, std::size_t y_stride) noexcept {
        ops::for_rows(tile, y, y_stride, [&tile](const std::int32_t* acc, float factor, float* to) noexcept {
            add_products(acc, factor, tile.count, to);
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
        const std::size_t whole = n / 4 * 4;
        for (std::size_t i = 0; i < whole; i += 4) {
            const floats g = quad::load(gate + i);
            quad::store(y + i, quad::mul(over_one_and_exp(g, negative(g)), quad::load(up + i)));
        }
        ops::silu_times(gate + whole, up + whole, n - whole, y + whole);
    }
    static void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 4 * 4;
        for (std::size_t i = 0; i < whole; i += 4) {
            const floats g = quad::load(gate + i);
            const floats slope =
                quad::multiply_add(quad::mul(g, g), quad::splat(0x1.2444f2p-4f), quad::splat(0x1.988454p+0f));
            quad::store(y + i, quad::mul(over_one_and_exp(g, negative(quad::mul(g, slope))), quad::load(up + i)));
        }
        ops::gelu_times(gate + whole, up + whole, n - whole, y + whole);
    }

    static void rotate(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept {
        std::size_t j = 0;
        for (; j + 4 <= pairs; j += 4) {
            const floats a = quad::load(head + j);
            const floats b = quad::load(head + pairs + j);
            const floats c = quad::load(cos + j);
            const floats s = quad::load(sin + j);
            quad::store(head + j, quad::multiply_add(negative(b), s, quad::mul(a, c)));
            quad::store(head + pairs + j, quad::multiply_add(a, s, quad::mul(b, c)));
        }
        for (; j < pairs; ++j) {
            const float a = head[j];
            const float b = head[j + pairs];
            head[j] = exact_fma(-b, sin[j], a * cos[j]);
            head[j + pairs] = exact_fma(a, sin[j], b * cos[j]);
        }
    }

    template <class E>
    static void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                         float* const* y) noexcept {
        for (std::size_t r = 0; r < rows; ++r) {
            for (std::size_t t = 0; t < x.rows; ++t) {
                y[t][r] = dot<E>(w + r * row_bytes, x.data + t * x.stride, x.cols);
            }
        }
    }

    template <class E>
    requires(!block_format<E>) static void dot_listed(const std::byte* w, std::size_t row_bytes,
                                                      std::span<const std::uint32_t> rows, const float* x,
                                                      std::size_t cols, float* y) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            y[i] = dot<E>(w + rows[i] * row_bytes, x, cols);
        }
    }

    static void screen_rows(const std::byte* rows, std::size_t count, const screen_input& x, float* upper) noexcept {
        const std::size_t row_bytes = screen_layout::row_bytes(x.blocks * screen_layout::block_columns);
        for (std::size_t r = 0; r < count; ++r) {
            upper[r] = screen(rows + r * row_bytes, x);
        }
    }

    template <class E>
    static void scores(const float* const* q, std::size_t queries, const E* k, std::size_t head_size,
                       std::size_t positions, float* out) noexcept {
        const floats scale = quad::splat(ops::score_scale(head_size));
        for (std::size_t p = 0; p < positions; p += 16) {
            const E* block = k + p * head_size;
            for (std::size_t i = 0; i < queries; ++i) {
                quad::lanes acc;
                quad::clear(acc);
                quad::accumulate(acc, head_size, scaled_rows<E>{block, 16, q[i]});
                for (std::size_t part = 0; part < 4; ++part) {
                    quad::store(out + i * attention_block + p + 4 * part, quad::mul(quad::narrow(acc[part]), scale));
                }
            }
        }
    }

    static softmax_state exponentials(float* scores, std::size_t n) noexcept {
        const float max = ops::maximum(scores, n);
        floats acc[4] = {quad::splat(0.0f), quad::splat(0.0f), quad::splat(0.0f), quad::splat(0.0f)};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t part = 0; part < 4; ++part) {
                float* four = scores + i + 4 * part;
                const floats e = quad::exp(quad::sub(quad::load(four), quad::splat(max)));
                quad::store(four, e);
                acc[part] = quad::add(acc[part], e);
            }
        }
        float lanes[16];
        store(lanes, acc);
        for (std::size_t l = 0; i + l < n; ++l) {
            scores[i + l] = ops::exp(scores[i + l] - max);
            lanes[l] = lanes[l] + scores[i + l];
        }
        return {max, ops::fold(lanes)};
    }

    template <class E>
    static void weighted_values(const float* p, std::size_t queries, const E* v, std::size_t head_size,
                                std::size_t begin, std::size_t end, float* const* out) noexcept {
        const std::size_t whole = head_size / 16 * 16;
        for (std::size_t i = 0; i < queries; ++i) {
            const float* weights = p + i * attention_block;
            for (std::size_t d = 0; d < whole; d += 16) {
                quad::lanes acc;
                quad::clear(acc);
                if (begin != 0) {
                    floats earlier[4];
                    quad::load_16(out[i] + d, earlier);
                    quad::widen(earlier, acc);
                }
                quad::accumulate(acc, end - begin,
                                 scaled_rows<E>{v + begin * head_size + d, head_size, weights + begin});
                store(out[i] + d, acc);
            }
            weigh_tail(weights, v, head_size, begin, end, whole, out[i]);
        }
    }

    static softmax_state merge(softmax_state earlier, float* out, softmax_state later, const float* block,
                               std::size_t n) noexcept {
        const std::size_t whole = n / 4 * 4;
        const float max = later.max > earlier.max ? later.max : earlier.max;
        const float keep = ops::exp(earlier.max - max);
        const quad::wide take = quad::widen(quad::splat(ops::exp(later.max - max)));
        for (std::size_t d = 0; d < whole; d += 4) {
            const floats kept = quad::mul(quad::load(out + d), quad::splat(keep));
            quad::store(out + d, quad::multiply_add(quad::widen(quad::load(block + d)), take, kept));
        }
        return ops::merge(earlier, out + whole, later, block + whole, n - whole);
    }

    static void multiply(float* x, const float* y, std::size_t n) noexcept { ops::multiply(x, y, n); }
    static void add(const float* x, std::size_t n, float* y) noexcept { ops::add(x, n, y); }
    static void scale(float* x, float factor, std::size_t n) noexcept { ops::scale(x, factor, n); }
    static void normalize(const float* x, std::size_t n, float* y) noexcept { ops::normalize(x, n, y); }
    static void divide(float* x, float divisor, std::size_t n) noexcept { ops::divide(x, divisor, n); }

    template <class E> static float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        if constexpr (std::is_same_v<E, std::int8_t>) {
            return ops::step_of(quantize(x, n, y));
        } else {
            return ops::narrow_row(x, n, y);
        }
    }

    template <class E> static void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            floats wide[4];
            quad::load_row<E>(x, i, wide);
            store(y + i, wide);
        }
        for (; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    /// ops::dequantize_add of a row.
    static void add_products(const std::int32_t* acc, float factor, std::size_t n, float* y) noexcept {
        const std::size_t whole = n / 4 * 4;
        const quad::wide wide_factor = quad::widen(quad::splat(factor));
        for (std::size_t i = 0; i < whole; i += 4) {
            const quad::wide product = quad::widen(quad::to_floats(quad::load_16(acc + i)));
            quad::store(y + i, quad::multiply_add(product, wide_factor, quad::load(y + i)));
        }
        ops::dequantize_add(acc + whole, factor, n - whole, y + whole);
    }

    using floats = quad::floats;
    using ints = quad::ints;

    static BITNET_ALWAYS_INLINE void store(float* y, const floats (&v)[4]) noexcept {
        BITNET_UNROLL
        for (std::size_t part = 0; part < 4; ++part) {
            quad::store(y + 4 * part, v[part]);
        }
    }
    static BITNET_ALWAYS_INLINE void store(float* y, const quad::lanes& v) noexcept {
        BITNET_UNROLL
        for (std::size_t part = 0; part < 4; ++part) {
            quad::store(y + 4 * part, quad::narrow(v[part]));
        }
    }
    /// What quad::accumulate() multiplies. Classes, as compilers call lambdas that they had better inline.
    template <class E> struct row_and_input {
        const std::byte* row;
        const float* x;

        BITNET_ALWAYS_INLINE quad::factors operator()(std::size_t step) const noexcept {
            quad::factors f;
            quad::load_row<E>(row, 16 * step, f.a);
            quad::load_wide(x + 16 * step, f.b);
            return f;
        }
    };
    /// Sixteen elements of each row, and one factor of them all.
    template <class E> struct scaled_rows {
        const E* rows;
        std::size_t stride;
        const float* factors;

        BITNET_ALWAYS_INLINE quad::factors operator()(std::size_t step) const noexcept {
            quad::factors f;
            quad::load_16(rows + step * stride, f.a);
            quad::fill(f.b, factors[step]);
            return f;
        }
    };
    /// The integers of each block of a screen, and their scale.
    struct screen_blocks {
        const std::byte* row;
        const screen_input& x;

        BITNET_ALWAYS_INLINE quad::factors operator()(std::size_t b) const noexcept {
            const std::byte* block = row + b * screen_layout::block_bytes;
            quad::factors f;
            float scale;
            std::memcpy(&scale, block + screen_layout::scale_at, sizeof scale);
            quad::fill(f.b, scale);
            BITNET_UNROLL
            for (std::size_t part = 0; part < 4; ++part) {
                f.a[part] = quad::to_floats(screen_quarter(block, part, b, x));
            }
            return f;
        }
    };

    static BITNET_ALWAYS_INLINE floats negative(floats v) noexcept {
        return quad::as_floats(quad::bit_xor(quad::as_ints(v), quad::splat(INT32_MIN)));
    }
    /// x / (1 + e^exponent)
    static BITNET_ALWAYS_INLINE floats over_one_and_exp(floats x, floats exponent) noexcept {
        return quad::div(x, quad::add(quad::splat(1.0f), quad::exp(exponent)));
    }

    /// ops::absmax(), the largest in any order being the same.
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 4 * 4;
        floats largest = quad::splat(0.0f);
        for (std::size_t i = 0; i < whole; i += 4) {
            const ints bits = quad::as_ints(quad::load(x + i));
            largest = quad::larger(quad::as_floats(quad::bit_and(bits, quad::splat(INT32_MAX))), largest);
        }
        float lanes[5];
        quad::store(lanes, largest);
        lanes[4] = ops::absmax(x + whole, n - whole);
        return ops::absmax(lanes, 5);
    }

    static float sum_of_squares(const float* x, std::size_t n) noexcept {
        return dot<float>(reinterpret_cast<const std::byte*>(x), x, n);
    }

    /// Folds after adding the last elements, fewer than 16, to their lanes, one by one.
    template <class E>
    static BITNET_ALWAYS_INLINE float fold_tail(const quad::lanes& acc, const std::byte* w, const float* x,
                                                std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        if (whole == n) {
            return quad::fold(acc);
        }
        float lanes[16];
        store(lanes, acc);
        for (std::size_t l = 0; whole + l < n; ++l) {
            lanes[l] = exact_fma(element_at<E>(w, whole + l), x[whole + l], lanes[l]);
        }
        return ops::fold(lanes);
    }

    template <class E> static float dot(const std::byte* row, const float* x, std::size_t n) noexcept {
        quad::lanes acc;
        quad::clear(acc);
        quad::accumulate(acc, n / 16, row_and_input<E>{row, x});
        return fold_tail<E>(acc, row, x, n);
    }

    /// One row; scales and the fold are in the order of detail::screen_rows.
    static float screen(const std::byte* row, const screen_input& x) noexcept {
        quad::lanes acc;
        quad::clear(acc);
        quad::accumulate(acc, x.blocks, screen_blocks{row, x});
        return upper_bound_of<software_fma>(quad::fold(acc), row + x.blocks * screen_layout::block_bytes, x);
    }

    /// The four sums of columns [16 part, 16 part + 16) and the same of the second 64. A pair of products is at most
    /// 2 * 63 * 128 = 16,128.
    static BITNET_ALWAYS_INLINE ints screen_quarter(const std::byte* block, std::size_t part, std::size_t b,
                                                    const screen_input& x) noexcept {
        const std::byte* top = block + screen_layout::high_at + part % 2 * 16;
        const ints low = quad::load_16(block + 16 * part);
        const ints high = quad::shift_down_16(quad::load_16(top), part < 2 ? 0 : 2); // of the first 64 columns
        const ints code0 = screen_codes(low, quad::shift_up_16(high, 4));
        const ints code1 = screen_codes(quad::shift_down_16(low, 4), high);
        const std::size_t column = b * screen_layout::block_columns + 16 * part;
        const ints coarse = quad::add(quad::dot_bytes(code0, quad::load_16(x.high + column)),
                                      quad::dot_bytes(code1, quad::load_16(x.high + column + 64)));
        const ints fine = quad::add(quad::dot_bytes(code0, quad::load_16(x.low + column)),
                                    quad::dot_bytes(code1, quad::load_16(x.low + column + 64)));
        const ints offset = quad::load_16(x.offset + 16 * b + 4 * part);
        return quad::add(quad::add(quad::shift_up(coarse, 8), fine), offset);
    }
    /// Low four bits of one, bits 4 and 5 of the other.
    static BITNET_ALWAYS_INLINE ints screen_codes(ints low, ints high) noexcept {
        return quad::bit_or(quad::bit_and(low, quad::splat_bytes(15)), quad::bit_and(high, quad::splat_bytes(0x30)));
    }

    /// The last columns, fewer than sixteen, from `d` on.
    template <class E>
    static void weigh_tail(const float* p, const E* v, std::size_t head_size, std::size_t begin, std::size_t end,
                           std::size_t d, float* out) noexcept {
        for (; d < head_size; ++d) {
            float acc = begin == 0 ? 0.0f : out[d];
            for (std::size_t position = begin; position < end; ++position) {
                acc = exact_fma(p[position], widen(v[position * head_size + d]), acc);
            }
            out[d] = acc;
        }
    }
};

#if BITNET_X86_64
template <> struct float_ops<isa::sse41> : float_ops_quad {};
#else
template <> struct float_ops<isa::wasm_simd128> : float_ops_quad {};
template <> struct float_ops<isa::wasm_relaxed_simd> : float_ops_quad {};
#endif

} // namespace bitnet::inline BITNET_ABI::detail
#if BITNET_X86_64
BITNET_TARGET_END
#else
BITNET_PRECISE_END
#endif
#endif

#endif
