// SPDX-License-Identifier: MIT
// block_kernel<isa::neon>: rows of blocks with scales, four at a time. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_NEON_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// How AdvSIMD rounds activations.
struct block_rounding_neon {
    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 16 * 16;
        float32x4_t most[4] = {vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f), vdupq_n_f32(0.0f)};
        for (std::size_t i = 0; i < whole; i += 16) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 4; ++k) {
                most[k] = larger(vabsq_f32(vld1q_f32(x + i + 4 * k)), most[k]);
            }
        }
        const float largest = vmaxvq_f32(larger(larger(most[0], most[1]), larger(most[2], most[3])));
        if (whole == n) {
            return largest;
        }
        const float rest = block_rounding::absmax(x + whole, n - whole);
        return rest > largest ? rest : largest;
    }

    static std::int32_t round_step(const float* x, float factor, std::int8_t* values) noexcept {
        const int8x16_t first = round_16(x, factor);
        const int8x16_t second = round_16(x + 16, factor);
        const int8x16_t even = vuzp1q_s8(first, second); // columns 0, 2 ... 30
        const int8x16_t odd = vuzp2q_s8(first, second);
        vst1_s8(values, vuzp1_s8(vget_low_s8(even), vget_high_s8(even)));
        vst1_s8(values + 32, vuzp1_s8(vget_low_s8(odd), vget_high_s8(odd)));
        vst1_s8(values + 64, vuzp2_s8(vget_low_s8(even), vget_high_s8(even)));
        vst1_s8(values + 96, vuzp2_s8(vget_low_s8(odd), vget_high_s8(odd)));
        return vaddlvq_s8(first) + vaddlvq_s8(second);
    }

private:
    /// a > b ? a : b
    static BITNET_ALWAYS_INLINE float32x4_t larger(float32x4_t a, float32x4_t b) noexcept {
        return vbslq_f32(vcgtq_f32(a, b), a, b);
    }

    /// Rounded half to even, and saturated as they become narrow.
    static BITNET_ALWAYS_INLINE int8x16_t round_16(const float* x, float factor) noexcept {
        int16x4_t words[4];
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            words[k] = vqmovn_s32(vcvtnq_s32_f32(vmulq_f32(vld1q_f32(x + 4 * k), vdupq_n_f32(factor))));
        }
        return vcombine_s8(vqmovn_s16(vcombine_s16(words[0], words[1])), vqmovn_s16(vcombine_s16(words[2], words[3])));
    }
};

/// What the kernels of AdvSIMD have in common. 64 columns of a row are one register of codes: byte j holds columns 4j
/// to 4j + 3, so that its lower half are the 32 columns of a step of the activations, and its upper half those of the
/// next. Sums of four rows are added in pairs until a lane is a row.
struct block_tile_neon {
    static void quantize(const float* x, std::size_t n, std::size_t per, const block_row& out) noexcept {
        quantize_blocks<block_rounding_neon>(x, n, per, out);
    }

    static constexpr std::size_t tile_rows = 4;
    static constexpr std::size_t most_tokens = 4;

protected:
    /// Both steps of 64 columns of four rows.
    struct dots {
        int32x4_t first, second;
    };

    template <std::size_t Tokens> static BITNET_ALWAYS_INLINE void clear(float32x4_t (&sums)[Tokens]) noexcept {
        BITNET_UNROLL
        for (float32x4_t& sum : sums) {
            sum = vdupq_n_f32(0.0f);
        }
    }

    /// As many bytes as 64 columns of four rows take, 8 KiB ahead, on across the ends of tiles.
    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block, std::size_t block_bytes) noexcept {
        for (std::size_t line = 0; line < tile_rows * block_bytes; line += 64) {
            prefetch_line(block + 8192 + line);
        }
    }

    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* packed, int8x16_t (&codes)[4]) noexcept {
        const uint8x16_t bits = vld1q_u8(packed);
        const uint8x16_t mask = vdupq_n_u8(3);
        codes[0] = vreinterpretq_s8_u8(vandq_u8(bits, mask));
        codes[1] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bits, 2), mask));
        codes[2] = vreinterpretq_s8_u8(vandq_u8(vshrq_n_u8(bits, 4), mask));
        codes[3] = vreinterpretq_s8_u8(vshrq_n_u8(bits, 6));
    }

    /// pair += the products of both steps from `column` on of token t; the first one starts from zero.
    static BITNET_ALWAYS_INLINE void add_steps(const dots& products, const block_activations& x, std::size_t t,
                                               std::size_t column, float32x4_t& pair) noexcept {
        const std::size_t step = x.step_at(t, column);
        const int32x4_t first = vsubq_s32(products.first, vdupq_n_s32(x.sums[step]));
        const int32x4_t second = vsubq_s32(products.second, vdupq_n_s32(x.sums[step + 1]));
        pair = vfmaq_f32(pair, vcvtq_f32_s32(first), vdupq_n_f32(x.steps[step]));
        pair = vfmaq_f32(pair, vcvtq_f32_s32(second), vdupq_n_f32(x.steps[step + 1]));
    }

    /// The scales of four rows.
    static BITNET_ALWAYS_INLINE float32x4_t load_scales(const std::uint8_t* block, std::size_t row_bytes) noexcept {
        std::uint16_t halves[tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            std::memcpy(&halves[r], block + r * row_bytes, sizeof halves[r]);
        }
        return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(halves)));
    }
};

/// smlal and smlal2 add the products of the four planes to int16. Overflow: a product is at most 3 * 128, the four
/// planes 1536, the eight columns that are added in pairs 12288.
template <> struct block_kernel<isa::neon> : block_tile_neon {
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
        int16x8_t words[Tokens][tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            int8x16_t codes[4];
            unpack(packed + r * row_bytes, codes);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                words[t][r] = products(codes, x.values_at(column) + t * x.stride);
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            add_steps(sums_of_rows(words[t]), x, t, column, pair[t]);
        }
    }

    /// The first four lanes belong to the first step, the others to the second.
    static BITNET_ALWAYS_INLINE int16x8_t products(const int8x16_t (&codes)[4], const std::int8_t* values) noexcept {
        int16x8_t first = vdupq_n_s16(0);
        int16x8_t second = first;
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            const int8x16_t x = vld1q_s8(values + 32 * k);
            first = vmlal_s8(first, vget_low_s8(codes[k]), vget_low_s8(x));
            second = vmlal_high_s8(second, codes[k], x);
        }
        return vpaddq_s16(first, second);
    }

    static BITNET_ALWAYS_INLINE dots sums_of_rows(const int16x8_t (&words)[tile_rows]) noexcept {
        const int16x8_t pairs = vpaddq_s16(vpaddq_s16(words[0], words[1]), vpaddq_s16(words[2], words[3]));
        return {vmovl_s16(vget_low_s16(vuzp1q_s16(pairs, pairs))), vmovl_s16(vget_low_s16(vuzp2q_s16(pairs, pairs)))};
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
