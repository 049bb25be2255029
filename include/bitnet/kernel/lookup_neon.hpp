// SPDX-License-Identifier: MIT
// What the look-up kernels tl1 and tl2 share on Arm: tables of bytes, and sums of 32 rows. Empty on other
// architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/prefetch_neon.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

#if BITNET_ARM64
#include <arm_neon.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI {

/// A sum of activations T, |T| <= 384, is looked up exactly as two bytes: T = 31 h + l with |l| <= 15 and |h| <= 12.
/// Eight of them (one block) add up in bytes: |8 l| <= 120, |8 h| <= 96. With 128 added, so that they are unsigned,
/// they then add up in 16 bits: 256 blocks are at most 256 * 248 = 63488; then they go to int32.
struct lookup_neon {
    static constexpr std::size_t table_bytes = 32; ///< l of sixteen entries, then h of them
    static constexpr std::size_t tables_per_block = 8;
    static constexpr std::size_t blocks_in_16_bits = 256;
    static constexpr std::uint32_t bias_per_block = 31 * 128 + 128;

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

/// Rows of a look-up layout as I2_S, for many tokens. `Block` unpacks a block to weights -1, 0, +1 column by column, 32
/// rows each; four columns go into one byte of each row, and 16 x 16 bytes are transposed.
template <class Layout, class Block> struct lookup_unpacker_neon {
    static void unpack(const typename Layout::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / 32;
            const std::size_t stop = end < (group + 1) * 32 ? end : (group + 1) * 32;
            unpack_group(w, group, {begin % 32, stop - group * 32, row_bytes, out + (begin - first) * row_bytes});
            begin = stop;
        }
    }

private:
    /// Whole blocks of the layout and of I2_S.
    static constexpr std::size_t window = std::lcm(Layout::block_columns, std::size_t{128});

    /// Where rows begin .. end - 1 of a group go, row `begin` to `data`.
    struct target {
        std::size_t begin, end, row_bytes;
        std::uint8_t* data;
    };

    static void unpack_group(const typename Layout::view& w, std::size_t group, const target& to) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        const std::uint8_t* end = block + blocks * Layout::block_bytes;
        alignas(16) std::int8_t columns[window][32];
        for (std::size_t at = 0; at < to.row_bytes; at += window / 4) {
            for (std::size_t c = 0; c < window; c += Layout::block_columns) {
                if (block == end) {
                    std::memset(columns[c], 0, (window - c) * 32);
                    break;
                }
                prefetch_line(block + 8192);
                prefetch_line(block + 8192 + 64);
                Block::unpack(block, columns + c);
                block += Layout::block_bytes;
            }
            for (std::size_t c = 0; c < window && at + c / 4 < to.row_bytes; c += 128) {
                store_bytes(columns + c, at + c / 4, to);
                store_bytes(columns + c + 16, at + c / 4 + 16, to);
            }
        }
    }

    /// Bytes at .. at + 15 of all rows: columns 0..15 of `columns`, and those 32, 64 and 96 further on.
    static void store_bytes(const std::int8_t (*columns)[32], std::size_t at, const target& to) noexcept {
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

    /// 16 x 16 bytes. One step turns the eight bits of (register, byte) once to the left: four swap them.
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
};

/// The part of a look-up kernel that does not know how its blocks hold indices: `Block` makes the tables of a block and
/// adds its look-ups. Many tokens go by way of I2sKernel. For what the members do see kernel.hpp.
template <class Layout, class Block, class I2sKernel> struct lookup_rows_neon {
    using layout = Layout;
    static constexpr std::size_t arranged_tokens = 1;
    static constexpr std::size_t tables_bytes = lookup_neon::tables_per_block * lookup_neon::table_bytes;

    [[nodiscard]] static constexpr std::size_t arranged_bytes(std::size_t cols) noexcept {
        return blocks_across<Layout>(cols) * tables_bytes;
    }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        constexpr std::size_t step = Layout::block_columns;
        const std::int8_t* values = x.data + first_token * x.stride;
        std::size_t c = 0;
        for (; c + step <= cols; c += step, out += tables_bytes) {
            Block::make_tables(values + c, out);
        }
        if (c < cols) {
            std::int8_t last[step] = {};
            std::memcpy(last, values + c, cols - c);
            Block::make_tables(last, out);
        }
    }

    static void rows(const typename Layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > few_tokens) {
            using unpacker = lookup_unpacker_neon<Layout, Block>;
            by_way_of_i2s<I2sKernel, Layout, unpacker>::rows(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / 32;
            const std::size_t stop = end < (group + 1) * 32 ? end : (group + 1) * 32;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::uint32_t total[32];
                sum_group(w, group, x.arranged + t * x.arranged_stride, total);
                std::memcpy(y + t * y_stride + (begin - first), total + begin % 32,
                            (stop - begin) * sizeof(std::int32_t));
            }
            begin = stop;
        }
    }

private:
    static constexpr std::size_t few_tokens = 4;

    /// Products of a group of 32 rows with one token.
    static BITNET_ALWAYS_INLINE void sum_group(const typename Layout::view& w, std::size_t group,
                                               const std::byte* tables, std::uint32_t* total) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        const auto bias = static_cast<std::uint32_t>(blocks) * lookup_neon::bias_per_block;
        for (std::size_t r = 0; r < 32; ++r) {
            total[r] = 0 - bias;
        }
        for (std::size_t b = 0; b < blocks;) {
            const std::size_t rest = blocks - b;
            const std::size_t end = b + (rest < lookup_neon::blocks_in_16_bits ? rest : lookup_neon::blocks_in_16_bits);
            lookup_neon::word_sums words[2] = {lookup_neon::zero(), lookup_neon::zero()};
            for (; b < end; ++b, block += Layout::block_bytes, tables += tables_bytes) {
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

    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < Layout::block_bytes; line += 64) {
            prefetch_line(block + 8192 + line);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
