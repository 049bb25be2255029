// SPDX-License-Identifier: MIT
// I2_S (order A) for Armv8.0's AdvSIMD. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_NEON_HPP
#define BITNET_KERNEL_I2S_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is two registers of weights, of bytes 0..15 and 16..31:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 16 activations with smlal and smlal2 into int16. Overflow: a
/// product is at most 3 * 128 = 384; a block adds 16 of them to a lane, 6144, and five blocks 30720; or half as many to
/// each of two sums. These are then widened to int32. The sum of the activations is subtracted once, as weight =
/// code - 1.
template <> struct kernel<isa::neon, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens, tile_rows>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t tile_rows = 4;
    static constexpr std::size_t most_tokens =
        4; // with two rows: 8 sums of each width, 2 registers of weights, 2 of codes
    friend i2s_tiling<kernel, most_tokens, tile_rows>;

    /// Four rows for one token. For more, four leave too few registers.
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
        constexpr std::size_t chains = Tokens == 1 ? 2 : 1; // sums that do not wait for one another
        constexpr std::size_t blocks_in_int16 = 5 * chains;
        int32x4_t total[Rows][Tokens];
        BITNET_UNROLL
        for (auto& row : total) {
            BITNET_UNROLL
            for (auto& sum : row) {
                sum = vdupq_n_s32(0);
            }
        }
        for (std::size_t b = 0; b < cols / 128;) {
            const std::size_t rest = cols / 128 - b;
            const std::size_t end = b + (rest < blocks_in_int16 ? rest : blocks_in_int16);
            int16x8_t words[chains][Rows][Tokens];
            clear(words);
            for (; b < end; ++b) {
                prefetch_line(w + 8192 + b * 32 * Rows);
                if constexpr (Rows == 4) {
                    prefetch_line(w + 8192 + b * 32 * Rows + 64);
                }
                add_half(w + b * 32, cols / 4, values + b * 128, x.stride, words);
                add_half(w + b * 32 + 16, cols / 4, values + b * 128 + 16, x.stride, words);
            }
            add_words(words, total);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                y[x_row * y_stride + r] = vaddvq_s32(total[r][t]) - x.sums[x_row];
            }
        }
    }

    template <std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void clear(int16x8_t (&words)[Chains][Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (auto& chain : words) {
            BITNET_UNROLL
            for (auto& row : chain) {
                BITNET_UNROLL
                for (auto& sum : row) {
                    sum = vdupq_n_s16(0);
                }
            }
        }
    }

    /// total += words, widened pair by pair.
    template <std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_words(const int16x8_t (&words)[Chains][Rows][Tokens],
                                               int32x4_t (&total)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t chain = 0; chain < Chains; ++chain) {
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                BITNET_UNROLL
                for (std::size_t t = 0; t < Tokens; ++t) {
                    total[r][t] = vpadalq_s16(total[r][t], words[chain][r][t]);
                }
            }
        }
    }

    /// Adds the columns of 16 bytes of a block for each row and token.
    template <std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, int16x8_t (&words)[Chains][Rows][Tokens]) noexcept {
        uint8x16_t q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = vld1q_u8(w + r * row_bytes);
        }
        add_plane<6>(q, x, x_stride, words);
        add_plane<4>(q, x + 32, x_stride, words);
        add_plane<2>(q, x + 64, x_stride, words);
        add_plane<0>(q, x + 96, x_stride, words);
    }
    template <int Shift, std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const uint8x16_t (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               int16x8_t (&words)[Chains][Rows][Tokens]) noexcept {
        int8x16_t codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = plane<Shift>(q[r]);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const int8x16_t values = vld1q_s8(x + t * x_stride);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                int16x8_t& first = words[0][r][t];
                first = vmlal_s8(first, vget_low_s8(codes[r]), vget_low_s8(values));
                int16x8_t& second = words[Chains - 1][r][t];
                second = vmlal_high_s8(second, codes[r], values);
            }
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
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
