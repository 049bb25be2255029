// SPDX-License-Identifier: MIT
// The lookup3 layout (three weights in five bits) for AdvSIMD: look-ups by tbl. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP3_NEON_HPP
#define BITNET_KERNEL_LOOKUP3_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lookup3.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>
#include <bitnet/kernel/lookup_kernel_neon.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of lookup3. Entry v of a triple's table is what the weights of value v make of its activations:
/// v = 9 a + 3 b + c, the sum a x0 + b x1 + c x2, at most 3 * 128 = 384; entries 14 and 15 are never looked up.
/// A byte is negated by flipping its bits and adding 1; the ones of a block are as many as bits in its byte of signs.
struct lookup3_block_neon {
    /// The eight tables of a block of 24 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const int8x16_t a = vld1q_s8(weights[0]);
        const int8x16_t b = vld1q_s8(weights[1]);
        const int8x16_t c = vld1q_s8(weights[2]);
        for (std::size_t triple = 0; triple < 8; ++triple, x += 3, out += lookup_neon::table_bytes) {
            const int8x16_t x0 = vdupq_n_s8(x[0]);
            const int8x16_t x1 = vdupq_n_s8(x[1]);
            const int8x16_t x2 = vdupq_n_s8(x[2]);
            const int16x8_t first =
                vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(x0)), vget_low_s8(b), vget_low_s8(x1));
            const int16x8_t second = vmlal_high_s8(vmull_high_s8(a, x0), b, x1);
            lookup_neon::store_table(vmlal_s8(first, vget_low_s8(c), vget_low_s8(x2)), vmlal_high_s8(second, c, x2),
                                     out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_neon::byte_sums (&sums)[2]) noexcept {
        uint8x16_t signs[2];
        BITNET_UNROLL
        for (std::size_t k = 0; k < 2; ++k) {
            signs[k] = vld1q_u8(block + std::size_t{4} * 32 + 16 * k);
            sums[k].low = vaddq_u8(sums[k].low, vcntq_u8(signs[k]));
            sums[k].high = vaddq_u8(sums[k].high, vcntq_u8(signs[k]));
        }
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_neon::table_bytes) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 2; ++k) {
                const uint8x16_t pairs = vld1q_u8(block + line * 32 + 16 * k);
                add_triple(vandq_u8(pairs, vdupq_n_u8(15)), tables, signs[k], sums[k]);
                add_triple(vshrq_n_u8(pairs, 4), tables + lookup_neon::table_bytes, signs[k], sums[k]);
            }
        }
    }

    /// Weights of the 24 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        uint8x16_t signs[2] = {vld1q_u8(block + std::size_t{4} * 32), vld1q_u8(block + std::size_t{4} * 32 + 16)};
        for (std::size_t line = 0; line < 4; ++line, columns += 6) {
            BITNET_UNROLL
            for (std::size_t k = 0; k < 2; ++k) {
                const uint8x16_t pairs = vld1q_u8(block + line * 32 + 16 * k);
                unpack_triple(vandq_u8(pairs, vdupq_n_u8(15)), signs[k], columns, 16 * k);
                unpack_triple(vshrq_n_u8(pairs, 4), signs[k], columns + 3, 16 * k);
            }
        }
    }

private:
    /// The three weights of each value 0..13.
    static constexpr std::int8_t weights[3][16] = {{0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
                                                   {0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1},
                                                   {0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1}};

    /// A byte of ones for each byte of `signs` whose bit 7 is set; shifts `signs` to the next bit.
    static BITNET_ALWAYS_INLINE uint8x16_t take_sign(uint8x16_t& signs) noexcept {
        const uint8x16_t negative = vcltzq_s8(vreinterpretq_s8_u8(signs));
        signs = vaddq_u8(signs, signs);
        return negative;
    }

    static BITNET_ALWAYS_INLINE void add_triple(uint8x16_t index, const std::byte* table, uint8x16_t& signs,
                                                lookup_neon::byte_sums& sums) noexcept {
        const uint8x16_t negative = take_sign(signs);
        const uint8x16_t low = vqtbl1q_u8(lookup_neon::load(table), index);
        const uint8x16_t high = vqtbl1q_u8(lookup_neon::load(table + 16), index);
        sums.low = vaddq_u8(sums.low, veorq_u8(low, negative));
        sums.high = vaddq_u8(sums.high, veorq_u8(high, negative));
    }

    static BITNET_ALWAYS_INLINE void unpack_triple(uint8x16_t index, uint8x16_t& signs, std::int8_t (*columns)[32],
                                                   std::size_t first_row) noexcept {
        const int8x16_t negative = vreinterpretq_s8_u8(take_sign(signs));
        BITNET_UNROLL
        for (std::size_t i = 0; i < 3; ++i) {
            const int8x16_t positive = vqtbl1q_s8(vld1q_s8(weights[i]), index);
            vst1q_s8(columns[i] + first_row, vsubq_s8(veorq_s8(positive, negative), negative));
        }
    }
};

/// \tparam I2sKernel for many tokens
template <class I2sKernel>
using lookup3_kernel_neon = lookup_kernel<lookup3, lookup_group_neon<lookup3, lookup3_block_neon>, I2sKernel>;

// Few tokens are looked up; many are unpacked to I2_S and multiplied. Matrix products need activations in an order of
// their own, but this layout arranges them as look-up tables: the kernel of dot products runs instead.
template <> struct kernel<isa::neon, lookup3> : lookup3_kernel_neon<kernel<isa::neon, i2s>> {};
template <> struct kernel<isa::neon_dotprod, lookup3> : lookup3_kernel_neon<kernel<isa::neon_dotprod, i2s>> {};
template <> struct kernel<isa::neon_i8mm, lookup3> : kernel<isa::neon_dotprod, lookup3> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
