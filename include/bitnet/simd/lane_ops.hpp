// SPDX-License-Identifier: MIT
// lane_ops: the float loops of a transformer in plain C++, in the library's one order of summation.
#ifndef BITNET_SIMD_LANE_OPS_HPP
#define BITNET_SIMD_LANE_OPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// Reductions run in 16 lanes: element i goes to lane i mod 16, ascending, and the lanes fold l+8, l+4, l+2, l+1.
inline constexpr std::size_t reduction_lanes = 16;
/// Attention reduces over blocks of this many positions, anchored at position 0, and merges the blocks ascending.
inline constexpr std::size_t attention_block = 256;

/// What quantising one row gives besides the int8 values.
struct row_quantization {
    float scale;      ///< q = round(x * scale)
    std::int32_t sum; ///< of all q: ternary kernels multiply by codes 0..2 and subtract it once
};

/// Integer products of rows of activations with neighbouring rows of one ternary matrix, as a kernel leaves them.
struct product_tile {
    const std::int32_t* products; ///< [tokens][count]
    std::size_t tokens;
    std::size_t count;
    float weight_scale;
    const float* activation_scales; ///< [tokens]
};

/// What a softmax over some positions needs to be merged with another one.
struct softmax_state {
    float max;
    float sum; ///< of exp(score - max)
};

/// The loops, written once over plain floats; `Fma` says how a multiply-add is made, and every `Fma` gives the same
/// bits. Inlined into the per-ISA wrappers of float_ops, whose target the compiler then vectorises for. Rules that keep
/// the bits: a multiply-add is an explicit fma; no product is followed by a separate add; loops that do not reduce may
/// run in any order, and are cut in 16s so that -O2 vectorises them.
template <class Fma> struct lane_ops {
    using lanes = float[reduction_lanes];

    static BITNET_ALWAYS_INLINE float quotient(float a, float b) noexcept { return exact_quotient(a, b); }

    static BITNET_ALWAYS_INLINE float fold(const lanes& in) noexcept {
        lanes l;
        std::memcpy(l, in, sizeof l);
        for (std::size_t half_width = reduction_lanes / 2; half_width != 0; half_width /= 2) {
            for (std::size_t i = 0; i < half_width; ++i) {
                l[i] = l[i] + l[i + half_width];
            }
        }
        return l[0];
    }

    static BITNET_ALWAYS_INLINE float exp(float x) noexcept {
        if constexpr (std::is_same_v<Fma, software_fma>) {
            return software_exponential(x);
        } else {
            return exponential<Fma>(x);
        }
    }

    static BITNET_ALWAYS_INLINE float sum_of_squares(const float* x, std::size_t n) noexcept {
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = Fma::fma(x[i + l], x[i + l], acc[l]);
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            acc[l] = Fma::fma(x[i + l], x[i + l], acc[l]);
        }
        return fold(acc);
    }

    /// The factor of an RMSNorm: 1 / sqrt(mean square + eps).
    static BITNET_ALWAYS_INLINE float inverse_rms(float sum_of_squares, std::size_t n, float eps) noexcept {
        const float mean = quotient(sum_of_squares, static_cast<float>(n));
        const float shifted = mean + eps;
        return quotient(1.0f, exact_square_root(shifted));
    }

    /// y = (x * factor) * weight
    static BITNET_ALWAYS_INLINE void scale_by(const float* x, const float* weight, float factor, std::size_t n,
                                              float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = (x[i + l] * factor) * weight[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = (x[i] * factor) * weight[i];
        }
    }

    /// max |x|; a NaN counts as absent.
    static BITNET_ALWAYS_INLINE float absmax(const float* x, std::size_t n) noexcept {
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = larger(magnitude(x[i + l]), acc[l]);
            }
        }
        for (; i < n; ++i) {
            acc[0] = larger(magnitude(x[i]), acc[0]);
        }
        float max = 0.0f;
        for (const float lane : acc) {
            max = larger(lane, max);
        }
        return max;
    }

    /// Absmax int8 quantisation of BitNet b1.58: s = 127 / max(max|x|, 1e-5), q = round_half_even(x * s) in [-128,
    /// 127]. |x| * s is at most 127 and a rounding error, so the clamp to int8 never acts on finite input; what is not
    /// finite gives some int8 and no undefined behaviour.
    static BITNET_ALWAYS_INLINE row_quantization quantize(const float* x, std::size_t n, std::int8_t* q) noexcept {
        const float scale = quantization_scale(absmax(x, n));
        return {scale, quantize_with(x, scale, n, q)};
    }

    /// The second half of quantize(), for a given scale. \return the sum of all q.
    static BITNET_ALWAYS_INLINE std::int32_t quantize_with(const float* x, float scale, std::size_t n,
                                                           std::int8_t* q) noexcept {
        std::int32_t sum = 0;
        for (std::size_t i = 0; i < n; ++i) {
            const std::int32_t rounded = round_to_int8(x[i] * scale);
            q[i] = static_cast<std::int8_t>(rounded);
            sum += rounded;
        }
        return sum;
    }

    static BITNET_ALWAYS_INLINE float quantization_scale(float largest) noexcept {
        return quotient(127.0f, larger(largest, 1e-5f));
    }

    /// Calls row(products [count], what each is worth, y + t * y_stride) for every token t of a tile.
    template <class Row>
    static BITNET_ALWAYS_INLINE void for_rows(const product_tile& tile, float* y, std::size_t y_stride,
                                              Row row) noexcept {
        for (std::size_t t = 0; t < tile.tokens; ++t) {
            const float factor = quotient(tile.weight_scale, tile.activation_scales[t]);
            row(tile.products + t * tile.count, factor, y + t * y_stride);
        }
    }

    /// y = f(y) * products, `times` being f(gate) * up of `n` columns to y.
    template <class Times>
    static BITNET_ALWAYS_INLINE void gate_rows(const product_tile& up, float* y, std::size_t y_stride,
                                               Times times) noexcept {
        constexpr std::size_t most = 64;
        float factors[most];
        for (std::size_t t = 0; t < up.tokens; ++t) {
            const float factor = quotient(up.weight_scale, up.activation_scales[t]);
            for (std::size_t c = 0; c < up.count; c += most) {
                const std::size_t n = up.count - c < most ? up.count - c : most;
                float* gate = y + t * y_stride + c;
                dequantize(up.products + t * up.count + c, factor, n, factors);
                times(gate, factors, n, gate);
            }
        }
    }

    /// y = acc * factor: an int32 dot product becomes a float (exactly, for rows of up to 2^16 columns: |acc| < 2^24).
    /// factor = weight scale / activation scale.
    static BITNET_ALWAYS_INLINE void dequantize(const std::int32_t* acc, float factor, std::size_t n,
                                                float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = static_cast<float>(acc[i + l]) * factor;
            }
        }
        for (; i < n; ++i) {
            y[i] = static_cast<float>(acc[i]) * factor;
        }
    }

    /// y += acc * factor, the product rounded by the fma only: the residual stream takes a projection.
    static BITNET_ALWAYS_INLINE void dequantize_add(const std::int32_t* acc, float factor, std::size_t n,
                                                    float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = Fma::fma(static_cast<float>(acc[i + l]), factor, y[i + l]);
            }
        }
        for (; i < n; ++i) {
            y[i] = Fma::fma(static_cast<float>(acc[i]), factor, y[i]);
        }
    }

    /// y = relu(gate)^2 * up
    static BITNET_ALWAYS_INLINE void relu2_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                const float g = larger(gate[i + l], 0.0f);
                y[i + l] = (g * g) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            const float g = larger(gate[i], 0.0f);
            y[i] = (g * g) * up[i];
        }
    }

    /// y = silu(gate) * up, silu(g) = g / (1 + e^-g)
    static BITNET_ALWAYS_INLINE void silu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = silu(gate[i + l]) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = silu(gate[i]) * up[i];
        }
    }

    /// y = gelu(gate) * up, gelu(g) = g/2 (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3))).
    static BITNET_ALWAYS_INLINE void gelu_times(const float* gate, const float* up, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                y[i + l] = gelu(gate[i + l]) * up[i + l];
            }
        }
        for (; i < n; ++i) {
            y[i] = gelu(gate[i]) * up[i];
        }
    }

    /// Rotary position embedding of one head, halves rotated against each other (NEOX order):
    /// (a, b) at (j, j + pairs) becomes (a cos - b sin, b cos + a sin).
    static BITNET_ALWAYS_INLINE void rotate(float* head, const float* cos, const float* sin,
                                            std::size_t pairs) noexcept {
        std::size_t j = 0;
        for (; j + 16 <= pairs; j += 16) {
            lanes first; // the compiler does not know that nothing overlaps
            lanes second;
            for (std::size_t l = 0; l < 16; ++l) {
                first[l] = Fma::fma(-head[j + pairs + l], sin[j + l], head[j + l] * cos[j + l]);
            }
            for (std::size_t l = 0; l < 16; ++l) {
                second[l] = Fma::fma(head[j + l], sin[j + l], head[j + pairs + l] * cos[j + l]);
            }
            std::memcpy(head + j, first, sizeof first);
            std::memcpy(head + j + pairs, second, sizeof second);
        }
        for (; j < pairs; ++j) {
            const float a = head[j];
            const float b = head[j + pairs];
            head[j] = Fma::fma(-b, sin[j], a * cos[j]);
            head[j + pairs] = Fma::fma(a, sin[j], b * cos[j]);
        }
    }

    /// y[t][r] = dot(row r of w, row t of x), every one in the 16-lane order whatever the number of tokens.
    /// w [rows, x.cols] of E, `row_bytes` apart, at any alignment; x [tokens, cols]; y has x.rows pointers.
    template <class E>
    static BITNET_ALWAYS_INLINE void dot_rows(const std::byte* w, std::size_t row_bytes, std::size_t rows,
                                              matrix_view<const float> x, float* const* y) noexcept {
        for (std::size_t t = 0; t < x.rows; ++t) {
            const float* input = x.data + t * x.stride;
            for (std::size_t r = 0; r < rows; ++r) {
                const std::byte* row = w + r * row_bytes;
                lanes acc = {};
                for (std::size_t i = 0; i < x.cols; ++i) {
                    acc[i % 16] = Fma::fma(element_at<E>(row, i), input[i], acc[i % 16]);
                }
                y[t][r] = fold(acc);
            }
        }
    }

    /// What attention scores are multiplied by: 1 / sqrt(head_size).
    static BITNET_ALWAYS_INLINE float score_scale(std::size_t head_size) noexcept {
        return quotient(1.0f, exact_square_root(static_cast<float>(head_size)));
    }

    /// out[p] = (sum over d of q[d] * k[p][d], one fma chain) * scale, for the positions of one attention block.
    /// k [positions / 16][head_size][16]: sixteen positions side by side. Writes whole sixteens.
    template <class E>
    static BITNET_ALWAYS_INLINE void scores(const float* q, const E* k, std::size_t head_size, std::size_t positions,
                                            float scale, float* out) noexcept {
        for (std::size_t p = 0; p < positions; p += 16) {
            const E* block = k + p * head_size;
            lanes acc = {};
            for (std::size_t d = 0; d < head_size; ++d) {
                for (std::size_t l = 0; l < 16; ++l) {
                    acc[l] = Fma::fma(q[d], widen(block[d * 16 + l]), acc[l]);
                }
            }
            for (std::size_t l = 0; l < 16; ++l) {
                out[p + l] = acc[l] * scale;
            }
        }
    }

    /// Turns scores into exp(score - max) in place and sums them in the 16-lane order. \pre 1 <= n <= attention_block
    static BITNET_ALWAYS_INLINE softmax_state exponentials(float* scores, std::size_t n) noexcept {
        const float max = maximum(scores, n);
        lanes acc = {};
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                scores[i + l] = exp(scores[i + l] - max);
            }
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = acc[l] + scores[i + l];
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            const float e = exp(scores[i + l] - max);
            scores[i + l] = e;
            acc[l] = acc[l] + e;
        }
        return {max, fold(acc)};
    }

    /// out[d] = sum over positions of p[position] * v[position][d], one fma chain per d, ascending. v [end, head_size].
    /// Adds positions [begin, end) to what `out` holds of the chain; one that begins at 0 starts it.
    template <class E>
    static BITNET_ALWAYS_INLINE void weighted_values(const float* p, const E* v, std::size_t head_size,
                                                     std::size_t begin, std::size_t end, float* out) noexcept {
        for (std::size_t d = 0; d < head_size; ++d) {
            float acc = begin == 0 ? 0.0f : out[d];
            for (std::size_t position = begin; position < end; ++position) {
                acc = Fma::fma(p[position], widen(v[position * head_size + d]), acc);
            }
            out[d] = acc;
        }
    }

    /// Merges the softmax of a later block into that of the earlier ones: both are scaled to the larger maximum.
    static BITNET_ALWAYS_INLINE softmax_state merge(softmax_state earlier, float* out, softmax_state later,
                                                    const float* block, std::size_t n) noexcept {
        const float max = larger(later.max, earlier.max);
        const float keep = exp(earlier.max - max);
        const float take = exp(later.max - max);
        for (std::size_t d = 0; d < n; ++d) {
            out[d] = Fma::fma(block[d], take, out[d] * keep);
        }
        return {max, Fma::fma(later.sum, take, earlier.sum * keep)};
    }

    /// x = x * y, element by element.
    static BITNET_ALWAYS_INLINE void multiply(float* x, const float* y, std::size_t n) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            lanes products; // the compiler does not know that x and y do not overlap
            for (std::size_t l = 0; l < 16; ++l) {
                products[l] = x[i + l] * y[i + l];
            }
            std::memcpy(x + i, products, sizeof products);
        }
        for (; i < n; ++i) {
            x[i] = x[i] * y[i];
        }
    }

    /// y = y + x, element by element.
    static BITNET_ALWAYS_INLINE void add(const float* x, std::size_t n, float* y) noexcept {
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            lanes sums;
            for (std::size_t l = 0; l < 16; ++l) {
                sums[l] = y[i + l] + x[i + l];
            }
            std::memcpy(y + i, sums, sizeof sums);
        }
        for (; i < n; ++i) {
            y[i] = y[i] + x[i];
        }
    }

    static BITNET_ALWAYS_INLINE void scale(float* x, float factor, std::size_t n) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = x[i] * factor;
        }
    }

    /// y = x / max(|x|, 1e-12), |x| the Euclidean length.
    static BITNET_ALWAYS_INLINE void normalize(const float* x, std::size_t n, float* y) noexcept {
        const float length = larger(exact_square_root(sum_of_squares(x, n)), 1e-12f);
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = quotient(x[i], length);
        }
    }

    static BITNET_ALWAYS_INLINE void divide(float* x, float divisor, std::size_t n) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            x[i] = quotient(x[i], divisor);
        }
    }

    /// The largest of scores[0..n), lane by lane, then lane after lane. \pre n > 0
    static BITNET_ALWAYS_INLINE float maximum(const float* scores, std::size_t n) noexcept {
        lanes acc;
        for (float& lane : acc) {
            lane = scores[0];
        }
        std::size_t i = 0;
        for (; i + 16 <= n; i += 16) {
            for (std::size_t l = 0; l < 16; ++l) {
                acc[l] = larger(scores[i + l], acc[l]);
            }
        }
        for (std::size_t l = 0; i + l < n; ++l) {
            acc[l] = larger(scores[i + l], acc[l]);
        }
        float max = acc[0];
        for (const float lane : acc) {
            max = larger(lane, max);
        }
        return max;
    }

    /// y = x rounded to E. Integers are absmax quantised, see quantize().
    /// \return what widen(y) is to be multiplied by: 1 for float and half.
    template <class E> static BITNET_ALWAYS_INLINE float narrow_row(const float* x, std::size_t n, E* y) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = narrow<E>(x[i]);
        }
        return 1.0f;
    }
    static BITNET_ALWAYS_INLINE float narrow_row(const float* x, std::size_t n, std::int8_t* y) noexcept {
        return step_of(quantize(x, n, y));
    }

    /// What one step of a quantised row is worth.
    static BITNET_ALWAYS_INLINE float step_of(row_quantization row) noexcept { return quotient(1.0f, row.scale); }

    /// y = x in another element type, exactly.
    template <class E>
    static BITNET_ALWAYS_INLINE void widen_row(const std::byte* x, std::size_t n, float* y) noexcept {
        for (std::size_t i = 0; i < n; ++i) {
            y[i] = element_at<E>(x, i);
        }
    }

private:
    static BITNET_ALWAYS_INLINE float magnitude(float x) noexcept {
        return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
    }
    /// The larger of two; `b` when `a` is a NaN, as vmaxps does.
    static BITNET_ALWAYS_INLINE float larger(float a, float b) noexcept { return a > b ? a : b; }

    static BITNET_ALWAYS_INLINE float silu(float g) noexcept {
        const float e = exp(-g);
        const float denominator = 1.0f + e;
        return quotient(g, denominator);
    }

    /// (1 + tanh u) / 2 = 1 / (1 + e^-2u), so that exp() is all it takes. 2u = g (2 sqrt(2/pi) + 0.08943 sqrt(2/pi)
    /// g^2).
    static BITNET_ALWAYS_INLINE float gelu(float g) noexcept {
        const float square = g * g;
        const float slope = Fma::fma(square, 0x1.2444f2p-4f, 0x1.988454p+0f);
        const float e = exp(-(g * slope));
        const float denominator = 1.0f + e;
        return quotient(g, denominator);
    }

    /// Round half to even by adding 1.5 * 2^23, where the spacing of floats is 1. \param x a product, rounded already.
    static BITNET_ALWAYS_INLINE std::int32_t round_to_int8(float x) noexcept {
        constexpr float shift = 12582912.0f;
        const float above = x > 127.0f ? 127.0f : x;
        const float clamped = above < -128.0f ? -128.0f : above;
        const float shifted = clamped + shift;
        const std::uint32_t low = std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift);
        return static_cast<std::int8_t>(static_cast<std::uint8_t>(low));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
