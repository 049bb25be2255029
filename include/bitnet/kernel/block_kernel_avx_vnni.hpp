// SPDX-License-Identifier: MIT
// block_kernel<isa::avx_vnni>: as AVX2's, with another way to multiply many tokens. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_AVX_VNNI_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_avx2.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/block_lanes_avx2.hpp>
#include <bitnet/kernel/dot_product_avx_vnni.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Tiles of 16 rows x up to 5 tokens: 10 sums of 32 columns, two registers of codes, one of activations.
struct block_lanes_avx_vnni : block_lanes_ymm {
    template <std::size_t Tokens>
    static void tile(const block_piece& piece, const block_activations& x, float* y, std::size_t y_stride) noexcept {
        __m256 sums[2][Tokens];
        load_sums(y, y_stride, piece.column == 0, sums);
        const std::uint8_t* codes = piece.codes;
        std::size_t column = piece.column;
        for (std::size_t b = 0; b < piece.blocks; ++b) {
            piece.prefetch(b);
            __m256 in_block[2][Tokens];
            load_sums(y, y_stride, true, in_block);
            for (std::size_t s = 0; s < piece.block_steps; ++s) {
                add_step(codes, x, column, in_block);
                codes += columns_per_step * rows;
                column += columns_per_step;
            }
            add_block(in_block, piece.scales + b * rows, sums);
        }
        store_sums(sums, y, y_stride);
    }

private:
    /// 32 columns of all rows, those of each token.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_step(const std::uint8_t* codes, const block_activations& x, std::size_t column,
                                              __m256 (&in_block)[2][Tokens]) noexcept {
        __m256i dots[2][Tokens];
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            dots[0][t] = _mm256_sub_epi32(_mm256_setzero_si256(), _mm256_set1_epi32(x.sums[x.step_at(t, column)]));
            dots[1][t] = dots[0][t];
        }
        const token_values<Tokens> values(x, column);
        BITNET_UNROLL
        for (std::size_t i = 0; i < 8; ++i) {
            const __m256i upper = load(codes + i * 4 * rows);
            const __m256i lower = load(codes + i * 4 * rows + 32);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                const __m256i four = broadcast_four(values.of[t] + i % 4 * 32 + i / 4 * 4);
                add_dot_products(dots[0][t], upper, four);
                add_dot_products(dots[1][t], lower, four);
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const float step = x.steps[x.step_at(t, column)];
            add_dots(dots[0][t], step, in_block[0][t]);
            add_dots(dots[1][t], step, in_block[1][t]);
        }
    }
};

template <> struct block_kernel<isa::avx_vnni> : block_kernel<isa::avx2> {
    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        block_lanes<block_lanes_avx_vnni, few_tokens, many_tokens>::multiply(w, first, count, x, y, y_stride);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
