// SPDX-License-Identifier: MIT
// I2_S (order A) for Arm's int8 matrix products. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_NEON_I8MM_HPP
#define BITNET_KERNEL_I2S_NEON_I8MM_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/dot_product_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_I8MM)
namespace bitnet::inline BITNET_ABI::detail {

/// smmla multiplies 8 codes of two rows by 8 activations of two tokens: twice the work of sdot. Activations are
/// arranged in groups of eight tokens, 8 columns of one token after the other, so that a register is 8 columns of two
/// tokens; a register of weights is made of 8 bytes of two rows (layout as in i2s_neon_dotprod.hpp), of which each
/// plane is moved to bits 1:0. Overflow: a block adds at most 128 * 3 * 128 = 49152 to a lane; that is safe to 43,690
/// blocks (5.5 M columns). Few tokens are multiplied by sdot.
template <> struct kernel<isa::neon_i8mm, i2s> {
    using layout = i2s;
    static constexpr std::size_t arranged_tokens = 8;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept { return cols * arranged_tokens; }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        if (x.tokens <= few_tokens) {
            return;
        }
        for (std::size_t t = 0; t < arranged_tokens; ++t, out += 8) {
            const bool there = first_token + t < x.tokens;
            const std::int8_t* row = there ? x.data + (first_token + t) * x.stride : nullptr;
            for (std::size_t c = 0; c < cols; c += 8) {
                if (there) {
                    std::memcpy(out + c * arranged_tokens, row + c, 8);
                } else {
                    std::memset(out + c * arranged_tokens, 0, 8);
                }
            }
        }
    }

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens <= few_tokens) {
            kernel<isa::neon_dotprod, i2s>::multiply(w, first, count, x, y, y_stride);
            return;
        }
        constexpr std::size_t rows_in_cache = 32;
        for (std::size_t r = 0; r < count; r += rows_in_cache) {
            const std::size_t block_rows = count - r < rows_in_cache ? count - r : rows_in_cache;
            for (std::size_t t = 0; t < x.tokens; t += arranged_tokens) {
                group(w, first + r, block_rows, x, t, y + r, y_stride);
            }
        }
    }

private:
    static constexpr std::size_t few_tokens = 4; // as many as sdot takes in the time of smmla for eight

    /// All of `count` rows with the group of tokens that begins at t.
    static void group(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x, std::size_t t,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        switch ((x.tokens - t + 1) / 2) {
        case 1:
            tiles<1>(w, first, count, x, t, y, y_stride);
            break;
        case 2:
            tiles<2>(w, first, count, x, t, y, y_stride);
            break;
        case 3:
            tiles<3>(w, first, count, x, t, y, y_stride);
            break;
        default:
            tiles<4>(w, first, count, x, t, y, y_stride);
            break;
        }
    }

    template <std::size_t TokenPairs>
    static void tiles(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x, std::size_t t,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t row_bytes = w.cols / 4;
        const auto* values = reinterpret_cast<const std::int8_t*>(x.arranged + t / arranged_tokens * x.arranged_stride);
        std::size_t r = 0;
        for (; r + 8 <= count; r += 8) {
            int32x4_t sums[4][TokenPairs];
            multiply_rows(w.data + (first + r) * row_bytes, row_bytes, row_bytes, values, sums);
            store(sums, 8, x, t, y + r, y_stride);
        }
        for (; r < count; r += 2) {
            const std::size_t rows = count - r < 2 ? 1 : 2; // the last row may be multiplied twice
            int32x4_t sums[1][TokenPairs];
            multiply_rows(w.data + (first + r) * row_bytes, row_bytes, rows == 2 ? row_bytes : 0, values, sums);
            store(sums, rows, x, t, y + r, y_stride);
        }
    }

    /// sums[rp][tp] = rows 2 rp and 2 rp + 1 with tokens 2 tp and 2 tp + 1. `second` is the way from an even row to the
    /// odd one.
    template <std::size_t RowPairs, std::size_t TokenPairs>
    static BITNET_ALWAYS_INLINE void multiply_rows(const std::uint8_t* w, std::size_t row_bytes, std::size_t second,
                                                   const std::int8_t* x,
                                                   int32x4_t (&sums)[RowPairs][TokenPairs]) noexcept {
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = vdupq_n_s32(0);
            }
        }
        for (std::size_t at = 0; at < row_bytes; at += 8) {
            prefetch_line(w + 8192 + at * 2 * RowPairs);
            uint8x16_t q[RowPairs];
            BITNET_UNROLL
            for (std::size_t rp = 0; rp < RowPairs; ++rp) {
                const std::uint8_t* row = w + 2 * rp * row_bytes + at;
                q[rp] = vcombine_u8(vld1_u8(row), vld1_u8(row + second));
            }
            const std::int8_t* values = x + (at / 32 * 128 + at % 32) * arranged_tokens;
            add_plane<6>(q, values, sums);
            add_plane<4>(q, values + 32 * arranged_tokens, sums);
            add_plane<2>(q, values + 64 * arranged_tokens, sums);
            add_plane<0>(q, values + 96 * arranged_tokens, sums);
        }
    }
    template <int Shift, std::size_t RowPairs, std::size_t TokenPairs>
    static BITNET_ALWAYS_INLINE void add_plane(const uint8x16_t (&q)[RowPairs], const std::int8_t* x,
                                               int32x4_t (&sums)[RowPairs][TokenPairs]) noexcept {
        int8x16_t codes[RowPairs];
        BITNET_UNROLL
        for (std::size_t rp = 0; rp < RowPairs; ++rp) {
            codes[rp] = plane<Shift>(q[rp]);
        }
        BITNET_UNROLL
        for (std::size_t tp = 0; tp < TokenPairs; ++tp) {
            add_matrix_products(sums, tp, codes, vld1q_s8(x + 16 * tp));
        }
    }
    template <int Shift> static BITNET_ALWAYS_INLINE int8x16_t plane(uint8x16_t q) noexcept {
        if constexpr (Shift == 6) {
            return vreinterpretq_s8_u8(vshrq_n_u8(q, 6));
        } else if constexpr (Shift == 0) {
            return vreinterpretq_s8_u8(vandq_u8(q, vdupq_n_u8(3)));
        } else {
            return vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(q, Shift), vdupq_n_u8(3)));
        }
    }

    /// The rows and tokens that exist, less the sums of the activations.
    template <std::size_t RowPairs, std::size_t TokenPairs>
    static BITNET_ALWAYS_INLINE void store(const int32x4_t (&sums)[RowPairs][TokenPairs], std::size_t rows,
                                           const activation_view& x, std::size_t first_token, std::int32_t* y,
                                           std::size_t y_stride) noexcept {
        std::int32_t products[RowPairs][TokenPairs][4];
        std::memcpy(products, sums, sizeof products);
        for (std::size_t t = first_token; t < first_token + 2 * TokenPairs && t < x.tokens; ++t) {
            const std::size_t column = t - first_token;
            for (std::size_t r = 0; r < rows; ++r) {
                y[t * y_stride + r] = products[r / 2][column / 2][r % 2 * 2 + column % 2] - x.sums[t];
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
