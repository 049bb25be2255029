// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for Armv8.0's AdvSIMD. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_NEON_HPP
#define BITNET_KERNEL_BASE3_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_tiling.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_neon.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// Rows of base3 as I2_S, for many tokens: digits come out as in the kernel below, four of them go into a byte.
struct base3_unpacker_neon {
    /// \pre row_bytes holds a multiple of 640 columns, two blocks of base3 and five of I2_S
    static void unpack(const base3::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        const std::size_t blocks = blocks_across<base3>(w.cols);
        const std::uint8_t* from = w.data + first * blocks * base3::block_bytes;
        for (std::size_t r = 0; r < count; ++r, out += row_bytes) {
            for (std::size_t b = 0; b < blocks; b += 2, from += 2 * base3::block_bytes) {
                prefetch_line(from + 4096);
                prefetch_line(from + 4096 + 64);
                unpack_pair(from, b + 1 < blocks, out + b * 80);
                unpack_pair(from + 16, b + 1 < blocks, out + b * 80 + 16);
            }
            from -= blocks % 2 * base3::block_bytes;
        }
    }

private:
    /// Bytes j and 32 + j, j < 16, of two blocks, of which the second may be missing: then its codes are 0.
    static BITNET_ALWAYS_INLINE void unpack_pair(const std::uint8_t* p, bool both, std::uint8_t* out) noexcept {
        uint8x16_t lower = vld1q_u8(p); // columns j, 64 + j, ...
        uint8x16_t upper = vld1q_u8(p + 32);
        const uint8x16_t none = vdupq_n_u8(0);
        vst1q_u8(out, append(append(none, lower, upper), lower, upper));
        vst1q_u8(out + 32, append(append(none, lower, upper), lower, upper));
        const uint8x16_t last = append(none, lower, upper);
        lower = both ? vld1q_u8(p + 64) : none;
        upper = both ? vld1q_u8(p + 96) : none;
        vst1q_u8(out + 64, append(last, lower, upper));
        vst1q_u8(out + 96, append(append(none, lower, upper), lower, upper));
        vst1q_u8(out + 128, append(append(none, lower, upper), lower, upper));
    }

    /// Shifts codes up and puts the next digits of `lower`, then of `upper`, below. What is shifted out of a byte is 0.
    static BITNET_ALWAYS_INLINE uint8x16_t append(uint8x16_t codes, uint8x16_t& lower, uint8x16_t& upper) noexcept {
        return append(append(codes, lower), upper);
    }
    static BITNET_ALWAYS_INLINE uint8x16_t append(uint8x16_t codes, uint8x16_t& rest) noexcept {
        const uint8x16_t negative = vaddq_u8(vcgtq_u8(rest, vdupq_n_u8(85)), vcgtq_u8(rest, vdupq_n_u8(170)));
        rest = vmulq_u8(rest, vdupq_n_u8(3));
        return vsubq_u8(vshlq_n_u8(codes, 2), negative);
    }
};

/// Digit k counts the thresholds 85 and 170 that r(k) is above, see base3.hpp, and r(k+1) = 3 r(k) mod 256. Comparisons
/// give -1 for true, so that digits come out negative and products are subtracted: smlsl and smlsl2 into int16.
/// Overflow: a product is at most 2 * 128 = 256; a block adds 20 of them to a lane of two sums each, 5120, and six
/// blocks 30720.
template <> struct kernel<isa::neon, base3> {
    using layout = base3;
    static constexpr std::size_t few_tokens = 1; ///< that are multiplied without unpacking

    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        tiling::multiply(w, first, count, x, y, y_stride);
    }

private:
    using tiling = base3_tiling<kernel, few_tokens, by_way_of_i2s<kernel<isa::neon, i2s>, base3, base3_unpacker_neon>>;
    friend tiling;
    static constexpr std::size_t blocks_in_int16 = 6;

    template <std::size_t Rows>
    static void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x, std::int32_t sum,
                     std::int32_t* y) noexcept {
        const std::size_t blocks = row_bytes / base3::block_bytes;
        int32x4_t total[Rows];
        BITNET_UNROLL
        for (auto& row : total) {
            row = vdupq_n_s32(0);
        }
        for (std::size_t begin = 0; begin < blocks; begin += blocks_in_int16) {
            const std::size_t end = begin + blocks_in_int16 < blocks ? begin + blocks_in_int16 : blocks;
            int16x8_t words[2][Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                words[0][r] = vdupq_n_s16(0);
                words[1][r] = vdupq_n_s16(0);
            }
            for (std::size_t b = begin; b < end; ++b) {
                prefetch_base3<Rows>(w, b * 64);
                for (std::size_t at = 0; at < 64; at += 16) {
                    subtract_quarter(w + b * 64 + at, row_bytes, x + b * 320 + at, words);
                }
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                total[r] = vpadalq_s16(vpadalq_s16(total[r], words[0][r]), words[1][r]);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = vaddvq_s32(total[r]) - sum;
        }
    }

    /// Sixteen of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void subtract_quarter(const std::uint8_t* w, std::size_t row_bytes,
                                                      const std::int8_t* x, int16x8_t (&words)[2][Rows]) noexcept {
        uint8x16_t rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            rest[r] = vld1q_u8(w + r * row_bytes);
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const int8x16_t values = vld1q_s8(x + 64 * k);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const int8x16_t negative = vreinterpretq_s8_u8(
                    vaddq_u8(vcgtq_u8(rest[r], vdupq_n_u8(85)), vcgtq_u8(rest[r], vdupq_n_u8(170))));
                words[0][r] = vmlsl_s8(words[0][r], vget_low_s8(negative), vget_low_s8(values));
                words[1][r] = vmlsl_high_s8(words[1][r], negative, values);
                rest[r] = vmulq_u8(rest[r], vdupq_n_u8(3));
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
