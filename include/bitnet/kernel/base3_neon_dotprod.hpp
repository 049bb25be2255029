// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for the dot products of Armv8.2. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_NEON_DOTPROD_HPP
#define BITNET_KERNEL_BASE3_NEON_DOTPROD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_neon.hpp>
#include <bitnet/kernel/base3_tiling.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/dot_product_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_DOTPROD)
namespace bitnet::inline BITNET_ABI::detail {

/// No digit is ever cut out. With s(k) = r(k) - 128, which fits int8, 3 r(k) = 256 d(k) + r(k+1) of base3.hpp becomes
///
///     256 * sum of (d(k) - 1) x(k) = 3 * sum of s(k) x(k) - sum of s(k+1) x(k),   k = 0..4
///
/// Both sums are sdot of bytes, and s(k+1) is 3 s(k) mod 256, as 3 * -128 = -128 mod 256. The sums may wrap around;
/// what they make is 256 times a product, and fits a lane of int32 for 400 blocks: 256 * 128 * 400 * 320 / 4 lanes =
/// 1.05 * 2^30. Then it is shifted and added up.
template <> struct kernel<isa::neon_dotprod, base3> {
    using layout = base3;
    static constexpr std::size_t few_tokens = 2; ///< that are multiplied without unpacking

    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        tiling::multiply(w, first, count, x, y, y_stride);
    }

private:
    using tiling =
        base3_tiling<kernel, few_tokens, by_way_of_i2s<kernel<isa::neon_dotprod, i2s>, base3, base3_unpacker_neon>>;
    friend tiling;
    static constexpr std::size_t most_bytes = 400 * base3::block_bytes;

    /// Sums of s(k) x(k) and of s(k+1) x(k).
    struct sums {
        int32x4_t upper, lower;
    };

    template <std::size_t Rows>
    static void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x, std::int32_t,
                     std::int32_t* y) noexcept {
        int32x4_t total[Rows];
        BITNET_UNROLL
        for (auto& row : total) {
            row = vdupq_n_s32(0);
        }
        for (std::size_t at = 0; at < row_bytes;) {
            const std::size_t end = at + (row_bytes - at < most_bytes ? row_bytes - at : most_bytes);
            sums rows[Rows];
            BITNET_UNROLL
            for (sums& row : rows) {
                row = {vdupq_n_s32(0), vdupq_n_s32(0)};
            }
            for (; at < end; at += base3::block_bytes) {
                prefetch_base3<Rows>(w, at);
                for (std::size_t j = 0; j < base3::block_bytes; j += 16) {
                    add_quarter(w + at + j, row_bytes, x + 5 * at + j, rows);
                }
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const int32x4_t product = vsubq_s32(vmulq_n_s32(rows[r].upper, 3), rows[r].lower);
                total[r] = vsraq_n_s32(total[r], product, 8);
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = vaddvq_s32(total[r]);
        }
    }

    /// Sixteen of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_quarter(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                                 sums (&to)[Rows]) noexcept {
        int8x16_t rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            rest[r] = vreinterpretq_s8_u8(veorq_u8(vld1q_u8(w + r * row_bytes), vdupq_n_u8(128)));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const int8x16_t values = vld1q_s8(x + 64 * k);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_dot_product(to[r].upper, rest[r], values);
                rest[r] = vmulq_s8(rest[r], vdupq_n_s8(3));
                add_dot_product(to[r].lower, rest[r], values);
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
