// SPDX-License-Identifier: MIT
// block_activations: rows in int8 with a scale for each 32 columns, in the order in which scaled_blocks meet them.
#ifndef BITNET_KERNEL_BLOCK_ACTIVATIONS_HPP
#define BITNET_KERNEL_BLOCK_ACTIVATIONS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/simd/lane_ops.hpp>

#include <cstddef>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// Columns that share a scale of the activations, and columns that are put in order together.
inline constexpr std::size_t columns_per_step = 32;
inline constexpr std::size_t columns_per_chunk = 128;

/// Rows of quantised activations: value = int8 * step, with a step for every 32 columns. Columns come in chunks of 128,
/// the last one filled with zeros; column 4j + k of a chunk is at 32k + j, as bits 2k and 2k + 1 of byte j of a block
/// hold its code. Borrows its memory; `values` is 64-byte aligned and its stride a multiple of 64.
struct block_activations {
    const std::int8_t* values = nullptr; ///< [tokens, stride]
    const float* steps = nullptr;        ///< [tokens, stride / 32]
    const std::int32_t* sums = nullptr;  ///< [tokens, stride / 32]: of the 32 int8
    std::size_t stride = 0;              ///< int8 values from token to token: a multiple of 128
    std::size_t tokens = 0;

    /// Of the first row, the int8 of columns column, column + 4 ...; those of column + k are 32k further.
    [[nodiscard]] const std::int8_t* values_at(std::size_t column) const noexcept {
        return values + column / columns_per_chunk * columns_per_chunk + column % columns_per_chunk / 4;
    }
    /// Where steps and sums of row t have those of a column.
    [[nodiscard]] std::size_t step_at(std::size_t t, std::size_t column) const noexcept {
        return t * (stride / columns_per_step) + column / columns_per_step;
    }

    [[nodiscard]] block_activations part(std::size_t first, std::size_t count) const noexcept {
        const std::size_t steps_before = first * (stride / columns_per_step);
        return {values + first * stride, steps + steps_before, sums + steps_before, stride, count};
    }
};

/// Where the results of quantising one row go: values [columns, rounded up to 128], steps and sums [that / 32].
struct block_row {
    std::int8_t* values;
    float* steps;
    std::int32_t* sums;
};

/// Rounds x [n] to int8: q = round_half_even(x * (127 / largest)), largest = max|x| of every `per` columns, which are a
/// multiple of 32 or all of them. Whole rows have the 1e-5 of BitNet's contract below their largest value; shorter
/// spans may be as small as 1e-30. What is not finite gives some int8 and no undefined behaviour.
///
/// \tparam Rounding an instruction set's way: absmax(x, n), for which a NaN counts as absent, and round_step(x, factor,
///   values), which puts 32 columns where values_at() finds them and gives their sum
template <class Rounding>
BITNET_ALWAYS_INLINE void quantize_blocks(const float* x, std::size_t n, std::size_t per,
                                          const block_row& out) noexcept {
    const float least = per >= n ? 1e-5f : 1e-30f;
    const std::size_t padded = (n + columns_per_chunk - 1) / columns_per_chunk * columns_per_chunk;
    const block_activations made{out.values, out.steps, out.sums, padded, 1};
    float factor = 0.0f;
    float step = 0.0f;
    for (std::size_t c = 0, next = 0; c < padded; c += columns_per_step) {
        const std::size_t left = c < n ? n - c : 0;
        if (c == next && left != 0) {
            const float largest = Rounding::absmax(x + c, left < per ? left : per);
            factor = exact_quotient(127.0f, largest > least ? largest : least);
            step = exact_quotient(1.0f, factor);
            next += per;
        }
        float rest[columns_per_step];
        const float* columns = x + (c < n ? c : 0);
        if (left < columns_per_step) {
            for (std::size_t i = 0; i < columns_per_step; ++i) {
                rest[i] = i < left ? x[c + i] : 0.0f;
            }
            columns = rest;
        }
        std::int8_t* values = out.values + (made.values_at(c) - made.values);
        out.steps[c / columns_per_step] = step;
        out.sums[c / columns_per_step] = Rounding::round_step(columns, factor, values);
    }
}

/// Plain C++.
struct block_rounding {
    using ops = lane_ops<software_fma>;

    static float absmax(const float* x, std::size_t n) noexcept { return ops::absmax(x, n); }

    static std::int32_t round_step(const float* x, float factor, std::int8_t* values) noexcept {
        std::int8_t q[columns_per_step];
        const std::int32_t sum = ops::quantize_with(x, factor, columns_per_step, q);
        for (std::size_t i = 0; i < columns_per_step; ++i) {
            values[i % 4 * 32 + i / 4] = q[i];
        }
        return sum;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
