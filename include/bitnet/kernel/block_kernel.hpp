// SPDX-License-Identifier: MIT
// block_kernel<Isa>: products of scaled_blocks and block_activations, in one order of float arithmetic; its oracle.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// y[t * y_stride + r] = row first + r of w times row t of x, r < count. The same bits on every Isa:
///
///     dot[s] = sum of (code - 1) * int8 over step s, 32 columns: exact in int32, and as a float (below 2^13)
///     pair   = fma(dot[s + 1], step[s + 1], dot[s] * step[s]), 64 columns of a block of 64 or 128
///     y      = 0; then, for each pair of the row, y = fma(pair, d of its block, y)
///
/// So every row is a sum of its own, over ascending columns, whatever else is computed with it, and a block of 128 has
/// the bits of two blocks of 64 with its scale.
template <class K>
concept scaled_block_kernel = requires(const scaled_blocks& w, std::size_t n, const block_activations& x, float* y,
                                       const float* row, const block_row& out) {
    { K::multiply(w, n, n, x, y, n) }
    noexcept->std::same_as<void>;
    { K::quantize(row, n, n, out) } // x, n, per, out: quantize_blocks()
    noexcept->std::same_as<void>;
};

/// Undefined for an Isa without such a kernel.
template <class Isa> struct block_kernel;

} // namespace bitnet::inline BITNET_ABI::detail

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

template <> struct block_kernel<isa::scalar> {
    static void quantize(const float* x, std::size_t n, std::size_t per, const block_row& out) noexcept {
        quantize_blocks<block_rounding>(x, n, per, out);
    }

    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens; ++t) {
            for (std::size_t r = 0; r < count; ++r) {
                y[t * y_stride + r] = row_product(w, first + r, x.part(t, 1));
            }
        }
    }

private:
    [[nodiscard]] static float row_product(const scaled_blocks& w, std::size_t row,
                                           const block_activations& x) noexcept {
        float sum = 0.0f;
        for (std::size_t b = 0; b < w.blocks_across(); ++b) {
            const std::uint8_t* block = w.row(row) + b * w.block_bytes();
            for (std::size_t c = 0; c < w.block_columns; c += 2 * columns_per_step) {
                const std::size_t column = b * w.block_columns + c;
                const float* steps = x.steps + column / columns_per_step;
                const auto first = static_cast<float>(step_product(block, c, x, column));
                const auto second =
                    static_cast<float>(step_product(block, c + columns_per_step, x, column + columns_per_step));
                const float pair = software_fma::fma(second, steps[1], first * steps[0]);
                sum = software_fma::fma(pair, widen(scale_of_block(block)), sum);
            }
        }
        return sum;
    }

    /// 32 columns from `column` of the row and `c` of the block on.
    [[nodiscard]] static std::int32_t step_product(const std::uint8_t* block, std::size_t c, const block_activations& x,
                                                   std::size_t column) noexcept {
        std::int32_t sum = 0;
        const std::int8_t* chunk = x.values + column / columns_per_chunk * columns_per_chunk;
        for (std::size_t i = 0; i < columns_per_step; ++i) {
            const std::size_t at = column % columns_per_chunk + i;
            const int weight = static_cast<int>(code_in_block(block, c + i)) - 1;
            sum += weight * chunk[at % 4 * 32 + at / 4];
        }
        return sum;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
