// SPDX-License-Identifier: MIT
// block_activations: rows in int8 with a scale for each 32 columns, in the order in which scaled_blocks meet them.
#ifndef BITNET_KERNEL_BLOCK_ACTIVATIONS_HPP
#define BITNET_KERNEL_BLOCK_ACTIVATIONS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/fixed_point.hpp>
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
template <class Fma>
BITNET_ALWAYS_INLINE void quantize_blocks(const float* x, std::size_t n, std::size_t per,
                                          const block_row& out) noexcept {
    using ops = lane_ops<Fma>;
    const float least = per >= n ? 1e-5f : 1e-30f;
    const std::size_t padded = (n + columns_per_chunk - 1) / columns_per_chunk * columns_per_chunk;
    float factor = 0.0f;
    float step = 0.0f;
    for (std::size_t chunk = 0; chunk < padded; chunk += columns_per_chunk) {
        alignas(64) std::int8_t q[columns_per_chunk] = {};
        for (std::size_t c = chunk; c < chunk + columns_per_chunk; c += columns_per_step) {
            if (c % per == 0 && c < n) {
                const float largest = ops::absmax(x + c, n - c < per ? n - c : per);
                factor = ops::quotient(127.0f, largest > least ? largest : least);
                step = ops::quotient(1.0f, factor);
            }
            const std::size_t left = c < n ? n - c : 0;
            const std::size_t columns = left < columns_per_step ? left : columns_per_step;
            out.steps[c / columns_per_step] = step;
            out.sums[c / columns_per_step] = ops::quantize_with(x + c, factor, columns, q + (c - chunk));
        }
        for (std::size_t k = 0; k < 4; ++k) {
            for (std::size_t j = 0; j < columns_per_chunk / 4; ++j) {
                out.values[chunk + 32 * k + j] = q[4 * j + k];
            }
        }
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
