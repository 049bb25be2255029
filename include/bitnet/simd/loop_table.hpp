// SPDX-License-Identifier: MIT
// loop_table and kv_table: the float loops of one instruction set as data. What a new instruction set has to provide.
#ifndef BITNET_SIMD_LOOP_TABLE_HPP
#define BITNET_SIMD_LOOP_TABLE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// The loops over rows of one element type E.
struct element_loops {
    /// y[t][r] = dot(row r of w, row t of x) for r < rows. `row_bytes` lie from row to row of w.
    void (*dot_rows)(const std::byte* w, std::size_t row_bytes, std::size_t rows, matrix_view<const float> x,
                     float* const* y) noexcept;
    /// y = the first n elements of a row, exactly.
    void (*widen_row)(const std::byte* x, std::size_t n, float* y) noexcept;
    /// y[i] = dot(row rows[i] of w, x [cols]). Null for elements without a screen: see admits_screen.
    void (*dot_listed)(const std::byte* w, std::size_t row_bytes, std::span<const std::uint32_t> rows, const float* x,
                       std::size_t cols, float* y) noexcept;
};

/// The bounds of screen_rows() for many inputs.
struct group_loops {
    /// upper[g][r][t] = that of row r of a screen and input t of groups[g]. Null where there is none, and screen_rows()
    /// does one input after the other. \pre 1 <= group_count <= screen_group::most
    void (*bound)(const std::byte* rows, std::size_t count, const screen_group* groups, std::size_t group_count,
                  float* upper) noexcept = nullptr;
    std::size_t fewest = 0; ///< inputs for which it is faster
};

} // namespace detail

/// Whole loops, never single operations: a call costs nothing against the loop, and the loop is compiled for its
/// instruction set.  Every table gives the bits of the scalar one, whose formulas and order of
/// summation are in lane_ops.hpp; tests/simd/float_ops_test.cpp compares them, and self_test a few of each whenever a
/// model is opened.
struct loop_table {
    /// y = x / sqrt(mean of squares + eps) * weight. y may be x.
    void (*rms_norm)(const float* x, const float* weight, float eps, std::size_t n, float* y) noexcept;
    /// q = round(x * scale), scale = 127 / max|x|.
    detail::row_quantization (*quantize)(const float* x, std::size_t n, std::int8_t* q) noexcept;
    /// y[t][i] = product[t][i] * (weight_scale / activation_scale[t]), `y_stride` from row to row of y; the second adds
    /// that to y.
    void (*dequantize)(const detail::product_tile& tile, float* y, std::size_t y_stride) noexcept;
    void (*dequantize_add)(const detail::product_tile& tile, float* y, std::size_t y_stride) noexcept;
    /// gate = f(gate) * what dequantize() makes of `up`, f being relu squared, SiLU, and the tanh form of GELU.
    void (*relu2_gate)(const detail::product_tile& up, float* gate, std::size_t stride) noexcept;
    void (*silu_gate)(const detail::product_tile& up, float* gate, std::size_t stride) noexcept;
    void (*gelu_gate)(const detail::product_tile& up, float* gate, std::size_t stride) noexcept;
    /// y = f(gate) * up, f being relu squared, SiLU, and the tanh form of GELU. y may be gate.
    void (*relu2_times)(const float* gate, const float* up, std::size_t n, float* y) noexcept;
    void (*silu_times)(const float* gate, const float* up, std::size_t n, float* y) noexcept;
    void (*gelu_times)(const float* gate, const float* up, std::size_t n, float* y) noexcept;
    /// Rotates columns j and j + pairs of one head in place.
    void (*rotate)(float* head, const float* cos, const float* sin, std::size_t pairs) noexcept;
    /// scores = exp(scores - their maximum). \pre n > 0
    detail::softmax_state (*exponentials)(float* scores, std::size_t n) noexcept;
    /// Joins the softmax of a later block, whose weighted values are `block` [n], to that of the earlier ones in `out`.
    detail::softmax_state (*merge)(detail::softmax_state earlier, float* out, detail::softmax_state later,
                                   const float* block, std::size_t n) noexcept;
    void (*multiply)(float* x, const float* y, std::size_t n) noexcept;  ///< x = x * y
    void (*add)(const float* x, std::size_t n, float* y) noexcept;       ///< y = y + x
    void (*scale)(float* x, float factor, std::size_t n) noexcept;       ///< x = x * factor
    void (*normalize)(const float* x, std::size_t n, float* y) noexcept; ///< y = x / max(|x|, 1e-12)
    void (*divide)(float* x, float divisor, std::size_t n) noexcept;     ///< x = x / divisor
    /// Upper bounds of the products of `count` rows of a screen with x.
    void (*screen_rows)(const std::byte* rows, std::size_t count, const detail::screen_input& x, float* upper) noexcept;
    detail::group_loops screen_groups;
    detail::element_loops elements[detail::float_elements]; ///< in the order of float_element

    [[nodiscard]] const detail::element_loops& of(float_element element) const noexcept {
        return elements[static_cast<std::size_t>(element)];
    }
};

/// The loops over a KV cache of one element type, whose order kv_cache describes.
struct kv_table {
    std::size_t element_bytes;
    bool is_scaled; ///< whether each position and head has a scale: integers
    /// y = x rounded to the element. \return what the elements are to be multiplied by; 1 unless is_scaled.
    float (*narrow_row)(const float* x, std::size_t n, void* y) noexcept;
    /// out[i][p] = dot(q[i], key p) / sqrt(head_size) for p < positions; `out` has a row of attention_block floats for
    /// each query. Keys are [positions / 16][head_size][16].
    void (*scores)(const float* const* q, std::size_t queries, const void* k, std::size_t head_size,
                   std::size_t positions, float* out) noexcept;
    /// out[i] += sum over positions begin <= p < end of p[i][p] * value p; begins with 0 if begin is 0. Values are
    /// [positions][head_size].
    void (*weighted_values)(const float* p, std::size_t queries, const void* v, std::size_t head_size,
                            std::size_t begin, std::size_t end, float* const* out) noexcept;
};

namespace detail {

template <class Loops, class E> [[nodiscard]] constexpr element_loops element_loops_of() noexcept {
    element_loops made{&Loops::template dot_rows<E>, &Loops::template widen_row<E>, nullptr};
    if constexpr (!block_format<E>) { // those that admit a screen
        made.dot_listed = &Loops::template dot_listed<E>;
    }
    return made;
}

template <class Loops> [[nodiscard]] constexpr group_loops group_loops_of() noexcept {
    group_loops made;
    if constexpr (requires { &Loops::screen_groups; }) {
        made = {&Loops::screen_groups, Loops::fewest_in_groups};
    }
    return made;
}

/// The table of a class of static loops: float_ops<Isa>, or one that wraps it.
template <class Loops>
inline constexpr loop_table loop_table_of{&Loops::rms_norm,
                                          &Loops::quantize,
                                          &Loops::dequantize,
                                          &Loops::dequantize_add,
                                          &Loops::relu2_gate,
                                          &Loops::silu_gate,
                                          &Loops::gelu_gate,
                                          &Loops::relu2_times,
                                          &Loops::silu_times,
                                          &Loops::gelu_times,
                                          &Loops::rotate,
                                          &Loops::exponentials,
                                          &Loops::merge,
                                          &Loops::multiply,
                                          &Loops::add,
                                          &Loops::scale,
                                          &Loops::normalize,
                                          &Loops::divide,
                                          &Loops::screen_rows,
                                          group_loops_of<Loops>(),
                                          {element_loops_of<Loops, float>(), element_loops_of<Loops, half>(),
                                           element_loops_of<Loops, bfloat16>(), element_loops_of<Loops, q8_0>(),
                                           element_loops_of<Loops, q6_k>(), element_loops_of<Loops, q4_k>(),
                                           element_loops_of<Loops, q4_0>()}};

template <class Loops, class E>
inline constexpr kv_table kv_table_of{
    sizeof(E), std::is_integral_v<E>,
    [](const float* x, std::size_t n, void* y) noexcept { return Loops::narrow_row(x, n, static_cast<E*>(y)); },
    [](const float* const* q, std::size_t queries, const void* k, std::size_t head_size, std::size_t positions,
       float* out) noexcept { Loops::scores(q, queries, static_cast<const E*>(k), head_size, positions, out); },
    [](const float* p, std::size_t queries, const void* v, std::size_t head_size, std::size_t begin, std::size_t end,
       float* const* out) noexcept {
        Loops::weighted_values(p, queries, static_cast<const E*>(v), head_size, begin, end, out);
    }};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
