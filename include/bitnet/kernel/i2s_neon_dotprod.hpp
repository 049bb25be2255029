// SPDX-License-Identifier: MIT
// I2_S (order A) for the dot products of Armv8.2. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_NEON_DOTPROD_HPP
#define BITNET_KERNEL_I2S_NEON_DOTPROD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/dot_product_neon.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_DOTPROD)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is two registers of weights, of bytes 0..15 and 16..31:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// sdot multiplies 16 codes of a plane by 16 activations, straight into int32. One or two tokens leave registers for
/// sums of their own for planes 5:4 and 3:2, which then stay in place: one instruction takes any plane out, and
/// the sums are multiples of 16 and of 4. Overflow: a block adds at most 8 * 48 * 128 = 49152 to a lane; that is safe
/// to 43,690 blocks (5.5 M columns).
template <> struct kernel<isa::neon_dotprod, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens, tile_rows>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t tile_rows = 4;
    static constexpr std::size_t most_tokens = 4; // with two rows: 8 sums, 4 registers of weights, 2 of codes
    friend i2s_tiling<kernel, most_tokens, tile_rows>;

    /// Four rows for one token. For more, compilers run out of registers with four.
    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if constexpr (Rows == 4 && Tokens > 1) {
            multiply_rows<2, Tokens>(w, cols, x, first_token, y, y_stride);
            multiply_rows<2, Tokens>(w + 2 * (cols / 4), cols, x, first_token, y + 2, y_stride);
        } else {
            multiply_rows<Rows, Tokens>(w, cols, x, first_token, y, y_stride);
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static void multiply_rows(const std::uint8_t* w, std::size_t cols, const activation_view& x,
                              std::size_t first_token, std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        constexpr std::size_t scales = Tokens <= 2 ? 3 : 1;
        int32x4_t sums[scales][Rows][Tokens];
        BITNET_UNROLL
        for (auto& of_scale : sums) {
            BITNET_UNROLL
            for (auto& row : of_scale) {
                BITNET_UNROLL
                for (auto& sum : row) {
                    sum = vdupq_n_s32(0);
                }
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            prefetch_line(w + 8192 + b * 32 * Rows);
            if constexpr (Rows == 4) {
                prefetch_line(w + 8192 + b * 32 * Rows + 64);
            }
            add_half(w + b * 32, cols / 4, values + b * 128, x.stride, sums);
            add_half(w + b * 32 + 16, cols / 4, values + b * 128 + 16, x.stride, sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                int32x4_t sum = sums[0][r][t];
                if constexpr (scales == 3) {
                    sum = vsraq_n_s32(vsraq_n_s32(sum, sums[1][r][t], 2), sums[2][r][t], 4);
                }
                y[x_row * y_stride + r] = vaddvq_s32(sum) - x.sums[x_row];
            }
        }
    }

    /// Adds the columns of 16 bytes of a block for each row and token. sums[1] are those of 4 * code, sums[2] of 16 *
    /// code.
    template <std::size_t Scales, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, int32x4_t (&sums)[Scales][Rows][Tokens]) noexcept {
        uint8x16_t q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = vld1q_u8(w + r * row_bytes);
        }
        constexpr bool stay = Scales == 3;
        add_plane<6, 3>(q, x, x_stride, sums[0]);
        add_plane<stay ? 0 : 4, stay ? 0x30 : 3>(q, x + 32, x_stride, sums[stay ? 2 : 0]);
        add_plane<stay ? 0 : 2, stay ? 0x0c : 3>(q, x + 64, x_stride, sums[stay ? 1 : 0]);
        add_plane<0, 3>(q, x + 96, x_stride, sums[0]);
    }
    template <int Shift, unsigned Bits, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const uint8x16_t (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               int32x4_t (&sums)[Rows][Tokens]) noexcept {
        int8x16_t codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = vreinterpretq_s8_u8(plane<Shift, Bits>(q[r]));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            add_dot_products(sums, t, codes, vld1q_s8(x + t * x_stride));
        }
    }
    template <int Shift, unsigned Bits> static BITNET_ALWAYS_INLINE uint8x16_t plane(uint8x16_t q) noexcept {
        if constexpr (Shift == 6) {
            return vshrq_n_u8(q, 6);
        } else if constexpr (Shift == 0) {
            return vandq_u8(q, vdupq_n_u8(Bits));
        } else {
            return vandq_u8(vshrq_n_u8(q, Shift), vdupq_n_u8(Bits));
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
