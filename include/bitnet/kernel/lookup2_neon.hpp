// SPDX-License-Identifier: MIT
// The lookup2 layout (two weights in four bits) for AdvSIMD: look-ups by tbl. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP2_NEON_HPP
#define BITNET_KERNEL_LOOKUP2_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lookup2.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>
#include <bitnet/kernel/lookup_kernel_neon.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of lookup2. Entry 3 c0 + c1 of a pair's table is (c0 - 1) x0 + (c1 - 1) x1, at most 2 * 128 = 256; entries 9
/// to 15 are never looked up.
struct lookup2_block_neon {
    /// The eight tables of a block of 16 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const int8x16_t a = vld1q_s8(weights[0]);
        const int8x16_t b = vld1q_s8(weights[1]);
        for (std::size_t pair = 0; pair < 8; ++pair, x += 2, out += lookup_neon::table_bytes) {
            const int8x16_t x0 = vdupq_n_s8(x[0]);
            const int8x16_t x1 = vdupq_n_s8(x[1]);
            const int16x8_t first =
                vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(x0)), vget_low_s8(b), vget_low_s8(x1));
            lookup_neon::store_table(first, vmlal_high_s8(vmull_high_s8(a, x0), b, x1), out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_neon::byte_sums (&sums)[2]) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_neon::table_bytes) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 2; ++k) {
                const uint8x16_t pairs = vld1q_u8(block + line * 32 + 16 * k);
                add_pair(vandq_u8(pairs, vdupq_n_u8(15)), tables, sums[k]);
                add_pair(vshrq_n_u8(pairs, 4), tables + lookup_neon::table_bytes, sums[k]);
            }
        }
    }

    /// Weights of the 16 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        for (std::size_t line = 0; line < 4; ++line, columns += 4) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 2; ++k) {
                const uint8x16_t pairs = vld1q_u8(block + line * 32 + 16 * k);
                const uint8x16_t low = vandq_u8(pairs, vdupq_n_u8(15));
                const uint8x16_t high = vshrq_n_u8(pairs, 4);
                vst1q_s8(columns[0] + 16 * k, vqtbl1q_s8(vld1q_s8(weights[0]), low));
                vst1q_s8(columns[1] + 16 * k, vqtbl1q_s8(vld1q_s8(weights[1]), low));
                vst1q_s8(columns[2] + 16 * k, vqtbl1q_s8(vld1q_s8(weights[0]), high));
                vst1q_s8(columns[3] + 16 * k, vqtbl1q_s8(vld1q_s8(weights[1]), high));
            }
        }
    }

private:
    /// The first and the second weight of each index.
    static constexpr std::int8_t weights[2][16] = {{-1, -1, -1, 0, 0, 0, 1, 1, 1}, {-1, 0, 1, -1, 0, 1, -1, 0, 1}};

    static BITNET_ALWAYS_INLINE void add_pair(uint8x16_t index, const std::byte* table,
                                              lookup_neon::byte_sums& sums) noexcept {
        sums.low = vaddq_u8(sums.low, vqtbl1q_u8(lookup_neon::load(table), index));
        sums.high = vaddq_u8(sums.high, vqtbl1q_u8(lookup_neon::load(table + 16), index));
    }
};

/// \tparam I2sKernel for many tokens
template <class I2sKernel>
using lookup2_kernel_neon = lookup_kernel<lookup2, lookup_group_neon<lookup2, lookup2_block_neon>, I2sKernel>;

// Few tokens are looked up; many are unpacked to I2_S and multiplied. Matrix products need activations in an order of
// their own, but this layout arranges them as look-up tables: the kernel of dot products runs instead.
template <> struct kernel<isa::neon, lookup2> : lookup2_kernel_neon<kernel<isa::neon, i2s>> {};
template <> struct kernel<isa::neon_dotprod, lookup2> : lookup2_kernel_neon<kernel<isa::neon_dotprod, i2s>> {};
template <> struct kernel<isa::neon_i8mm, lookup2> : kernel<isa::neon_dotprod, lookup2> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
