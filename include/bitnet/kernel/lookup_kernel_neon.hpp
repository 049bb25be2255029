// SPDX-License-Identifier: MIT
// The loops of look-up kernels for AdvSIMD: tables of bytes, and sums of 32 rows. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP_KERNEL_NEON_HPP
#define BITNET_KERNEL_LOOKUP_KERNEL_NEON_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// Bytes of blocks add up in 16 bits: 256 blocks are at most 256 * 248 = 63488.
struct lookup_neon : lookup_tables {
    static constexpr std::size_t blocks_in_16_bits = 256;

    /// Splits sixteen sums. h = round(T * 1057 / 2^15) is T / 31 but for less than 1/31:
    /// tested for all T.
    static BITNET_ALWAYS_INLINE void store_table(int16x8_t first, int16x8_t second, std::byte* out) noexcept {
        const int16x8_t first_high = vqrdmulhq_n_s16(first, 1057);
        const int16x8_t second_high = vqrdmulhq_n_s16(second, 1057);
        const int16x8_t first_low = vmlsq_n_s16(first, first_high, 31);
        const int16x8_t second_low = vmlsq_n_s16(second, second_high, 31);
        auto* bytes = reinterpret_cast<std::int8_t*>(out);
        vst1q_s8(bytes, vcombine_s8(vmovn_s16(first_low), vmovn_s16(second_low)));
        vst1q_s8(bytes + 16, vcombine_s8(vmovn_s16(first_high), vmovn_s16(second_high)));
    }
    static BITNET_ALWAYS_INLINE uint8x16_t load(const std::byte* table) noexcept {
        return vld1q_u8(reinterpret_cast<const std::uint8_t*>(table));
    }

    /// Bytes of a block, l and h of sixteen rows.
    struct byte_sums {
        uint8x16_t low;
        uint8x16_t high;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE byte_sums biased_zero() noexcept {
        return {vdupq_n_u8(128), vdupq_n_u8(128)};
    }

    /// 16-bit sums of bytes, of the first and the last eight rows.
    struct word_sums {
        uint16x8_t low[2], high[2];
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE word_sums zero() noexcept {
        const uint16x8_t none = vdupq_n_u16(0);
        return {{none, none}, {none, none}};
    }
    static BITNET_ALWAYS_INLINE void add(word_sums& to, const byte_sums& bytes) noexcept {
        to.low[0] = vaddw_u8(to.low[0], vget_low_u8(bytes.low));
        to.low[1] = vaddw_high_u8(to.low[1], bytes.low);
        to.high[0] = vaddw_u8(to.high[0], vget_low_u8(bytes.high));
        to.high[1] = vaddw_high_u8(to.high[1], bytes.high);
    }

    /// total[r] += 31 h + l of row r < 16.
    static BITNET_ALWAYS_INLINE void add(std::uint32_t* total, const word_sums& words) noexcept {
        BITNET_UNROLL
        for (std::size_t k = 0; k < 2; ++k) {
            add_rows(total + 8 * k, vget_low_u16(words.low[k]), vget_low_u16(words.high[k]));
            add_rows(total + 8 * k + 4, vget_high_u16(words.low[k]), vget_high_u16(words.high[k]));
        }
    }

private:
    static BITNET_ALWAYS_INLINE void add_rows(std::uint32_t* total, uint16x4_t low, uint16x4_t high) noexcept {
        vst1q_u32(total, vmlal_n_u16(vaddw_u16(vld1q_u32(total), low), high, 31));
    }
};

/// A group of 32 rows, two registers of bytes: the loops of lookup_kernel. `Block` knows how blocks hold indices: it
/// makes the tables of a block, adds its look-ups, and unpacks it.
template <class Layout, class Block> struct lookup_group_neon {
    static constexpr std::size_t few_tokens = 4;

    static void make_tables(const std::int8_t* x, std::size_t blocks, std::byte* out) noexcept {
        for (std::size_t b = 0; b < blocks; ++b, x += Layout::block_columns, out += lookup_tables::block_bytes) {
            Block::make_tables(x, out);
        }
    }

    static void sum(const std::uint8_t* block, std::size_t blocks, const std::byte* tables,
                    std::uint32_t* total) noexcept {
        const auto bias = static_cast<std::uint32_t>(blocks) * lookup_tables::bias_per_block;
        for (std::size_t r = 0; r < 32; ++r) {
            total[r] = 0 - bias;
        }
        for (std::size_t b = 0; b < blocks;) {
            const std::size_t rest = blocks - b;
            const std::size_t end = b + (rest < lookup_neon::blocks_in_16_bits ? rest : lookup_neon::blocks_in_16_bits);
            lookup_neon::word_sums words[2] = {lookup_neon::zero(), lookup_neon::zero()};
            for (; b < end; ++b, block += Layout::block_bytes, tables += lookup_tables::block_bytes) {
                prefetch(block);
                lookup_neon::byte_sums bytes[2] = {lookup_neon::biased_zero(), lookup_neon::biased_zero()};
                Block::add(block, tables, bytes);
                lookup_neon::add(words[0], bytes[0]);
                lookup_neon::add(words[1], bytes[1]);
            }
            lookup_neon::add(total, words[0]);
            lookup_neon::add(total + 16, words[1]);
        }
    }

    static void unpack(const std::uint8_t* block, std::size_t blocks, std::int8_t (*columns)[32]) noexcept {
        for (std::size_t b = 0; b < blocks; ++b, block += Layout::block_bytes, columns += Layout::block_columns) {
            prefetch_line(block + ahead);
            prefetch_line(block + ahead + 64);
            Block::unpack(block, columns);
        }
    }

    /// Four columns go into one byte of each row, and 16 x 16 bytes are transposed.
    static void store_bytes(const std::int8_t (*columns)[32], std::size_t at, const unpacked_rows& to) noexcept {
        std::int8_t rows[32][16];
        BITNET_UNROLL
        for (std::size_t first = 0; first < 32; first += 16) {
            int8x16_t bytes[16];
            BITNET_UNROLL
            for (std::size_t j = 0; j < 16; ++j) {
                int8x16_t sum = vld1q_s8(columns[j] + first);
                BITNET_UNROLL
                for (std::size_t plane = 1; plane < 4; ++plane) {
                    sum = vaddq_s8(vshlq_n_s8(sum, 2), vld1q_s8(columns[32 * plane + j] + first));
                }
                bytes[j] = vaddq_s8(sum, vdupq_n_s8(0x55)); // codes are weights + 1
            }
            transpose(bytes);
            BITNET_UNROLL
            for (std::size_t r = 0; r < 16; ++r) {
                vst1q_s8(rows[first + r], bytes[r]);
            }
        }
        for (std::size_t r = to.begin; r < to.end; ++r) {
            std::memcpy(to.data + (r - to.begin) * to.row_bytes + at, rows[r], 16);
        }
    }

private:
    static constexpr std::size_t ahead = 8192;

    /// Number each byte by (register, position), 4 + 4 bits. A round of unpacks rotates that number left by one
    /// bit; four rounds swap register and position, which is the transpose of 16 x 16 bytes.
    static BITNET_ALWAYS_INLINE void transpose(int8x16_t (&v)[16]) noexcept {
        BITNET_UNROLL
        for (int step = 0; step < 4; ++step) {
            int8x16_t next[16];
            BITNET_UNROLL
            for (std::size_t i = 0; i < 8; ++i) {
                next[2 * i] = vzip1q_s8(v[i], v[i + 8]);
                next[2 * i + 1] = vzip2q_s8(v[i], v[i + 8]);
            }
            BITNET_UNROLL
            for (std::size_t i = 0; i < 16; ++i) {
                v[i] = next[i];
            }
        }
    }

    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < Layout::block_bytes; line += 64) {
            prefetch_line(block + ahead + line);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
