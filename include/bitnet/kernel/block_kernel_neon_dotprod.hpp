// SPDX-License-Identifier: MIT
// block_kernel<isa::neon_dotprod>, of isa::neon_i8mm too: rows of blocks with scales. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_NEON_DOTPROD_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_NEON_DOTPROD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_neon.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/dot_product_neon.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_DOTPROD)
namespace bitnet::inline BITNET_ABI::detail {

/// sdot adds the products of the four planes to int32, two lanes for each of the two steps of 64 columns.
template <> struct block_kernel<isa::neon_dotprod> : block_tile_neon {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        block_tiling<block_kernel, most_tokens>::multiply(w, first, count, x, y, y_stride);
    }

    template <std::size_t Tokens>
    static void tile(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                     std::size_t y_stride) noexcept {
        float32x4_t sums[Tokens];
        clear(sums);
        const std::uint8_t* block = w.row(first);
        for (std::size_t column = 0; column < w.cols; column += w.block_columns, block += w.block_bytes()) {
            prefetch(w.row(first) + tile_rows * static_cast<std::size_t>(block - w.row(first)), w.block_bytes());
            const float32x4_t scales = load_scales(block, w.row_bytes());
            for (std::size_t c = 0; c < w.block_columns; c += 64) {
                float32x4_t pair[Tokens];
                clear(pair);
                add_columns(block + 2 + c / 4, w.row_bytes(), x, column + c, pair);
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    sums[t] = vfmaq_f32(sums[t], pair[t], scales);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            vst1q_f32(y + t * y_stride, sums[t]);
        }
    }

private:
    /// 64 columns of four rows.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_columns(const std::uint8_t* packed, std::size_t row_bytes,
                                                 const block_activations& x, std::size_t column,
                                                 float32x4_t (&pair)[Tokens]) noexcept {
        int8x16_t codes[4][tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            int8x16_t of_row[4];
            unpack(packed + r * row_bytes, of_row);
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                codes[k][r] = of_row[k];
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::int8_t* values = x.values_at(column) + t * x.stride;
            int32x4_t lanes[tile_rows][1];
            BITNET_UNROLL
            for (auto& row : lanes) {
                row[0] = vdupq_n_s32(0);
            }
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                add_dot_products(lanes, 0, codes[k], vld1q_s8(values + 32 * k));
            }
            const int32x4_t rows01 = vpaddq_s32(lanes[0][0], lanes[1][0]);
            const int32x4_t rows23 = vpaddq_s32(lanes[2][0], lanes[3][0]);
            add_steps({vuzp1q_s32(rows01, rows23), vuzp2q_s32(rows01, rows23)}, x, t, column, pair[t]);
        }
    }
};

template <> struct block_kernel<isa::neon_i8mm> : block_kernel<isa::neon_dotprod> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
