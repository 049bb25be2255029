// SPDX-License-Identifier: MIT
// What the look-up kernels tl1 and tl2 share: tables of bytes, and sums of 32 rows. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN("avx2,fma,f16c,bmi,bmi2")
namespace bitnet::inline BITNET_ABI {

/// A sum of activations T, |T| <= 384, is looked up exactly as two bytes: T = 31 h + l with |l| <= 15 and |h| <= 12.
/// Eight of them (one block) add up in bytes: |8 l| <= 120, |8 h| <= 96. With 128 added, so that they are unsigned,
/// they then add up in int16, even and odd rows apart: 64 blocks are at most 64 * 248 = 15872; then they go to int32.
struct lookup_avx2 {
    static constexpr std::size_t table_bytes = 32; ///< l of sixteen entries, then h of them
    static constexpr std::size_t tables_per_block = 8;
    static constexpr std::size_t blocks_in_int16 = 64;
    static constexpr std::int32_t bias_per_block = 31 * 128 + 128;

    /// Splits sixteen sums. h = round(T * 1057 / 2^15) is T / 31 but for less than 1/31: tested for all T.
    static BITNET_ALWAYS_INLINE void store_table(__m256i sums, std::byte* out) noexcept {
        const __m256i high = _mm256_mulhrs_epi16(sums, _mm256_set1_epi16(1057));
        const __m256i low = _mm256_sub_epi16(sums, _mm256_mullo_epi16(high, _mm256_set1_epi16(31)));
        const __m256i bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(low, high), 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), bytes);
    }
    static BITNET_ALWAYS_INLINE __m256i load_table(const std::byte* table) noexcept {
        return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table)));
    }

    /// Bytes of a block, l and h of 32 rows each.
    struct byte_sums {
        __m256i low;
        __m256i high;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE byte_sums biased_zero() noexcept {
        return {_mm256_set1_epi8(-128), _mm256_set1_epi8(-128)};
    }

    /// int16 sums of bytes, even rows and odd rows.
    struct word_sums {
        __m256i low_even, low_odd, high_even, high_odd;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE word_sums zero() noexcept {
        const __m256i none = _mm256_setzero_si256();
        return {none, none, none, none};
    }
    static BITNET_ALWAYS_INLINE void add(word_sums& to, const byte_sums& bytes) noexcept {
        const __m256i even = _mm256_set1_epi16(0xff);
        to.low_even = _mm256_add_epi16(to.low_even, _mm256_and_si256(bytes.low, even));
        to.low_odd = _mm256_add_epi16(to.low_odd, _mm256_srli_epi16(bytes.low, 8));
        to.high_even = _mm256_add_epi16(to.high_even, _mm256_and_si256(bytes.high, even));
        to.high_odd = _mm256_add_epi16(to.high_odd, _mm256_srli_epi16(bytes.high, 8));
    }

    /// total[r] += 31 h + l of row r < 32.
    static BITNET_ALWAYS_INLINE void add(std::int32_t* total, const word_sums& words) noexcept {
        const __m256i weights = _mm256_set1_epi32(31 << 16 | 1);
        const __m256i even_first = _mm256_madd_epi16(_mm256_unpacklo_epi16(words.low_even, words.high_even), weights);
        const __m256i even_last = _mm256_madd_epi16(_mm256_unpackhi_epi16(words.low_even, words.high_even), weights);
        const __m256i odd_first = _mm256_madd_epi16(_mm256_unpacklo_epi16(words.low_odd, words.high_odd), weights);
        const __m256i odd_last = _mm256_madd_epi16(_mm256_unpackhi_epi16(words.low_odd, words.high_odd), weights);
        add_rows(total, _mm256_unpacklo_epi32(even_first, odd_first));
        add_rows(total + 4, _mm256_unpackhi_epi32(even_first, odd_first));
        add_rows(total + 8, _mm256_unpacklo_epi32(even_last, odd_last));
        add_rows(total + 12, _mm256_unpackhi_epi32(even_last, odd_last));
    }

private:
    /// Rows 0..3 and 16..19.
    static BITNET_ALWAYS_INLINE void add_rows(std::int32_t* total, __m256i rows) noexcept {
        auto* first = reinterpret_cast<__m128i*>(total);
        auto* second = reinterpret_cast<__m128i*>(total + 16);
        _mm_storeu_si128(first, _mm_add_epi32(_mm_loadu_si128(first), _mm256_castsi256_si128(rows)));
        _mm_storeu_si128(second, _mm_add_epi32(_mm_loadu_si128(second), _mm256_extracti128_si256(rows, 1)));
    }
};

/// Rows of a look-up layout as I2_S, for many tokens. `Block` unpacks a block to weights -1, 0, +1 column by column, 32
/// rows in a register; four columns go into one byte of each row, and 32 x 32 bytes are transposed.
template <class Layout, class Block> struct lookup_unpacker_avx2 {
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
        constexpr std::size_t ahead = 10240;
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        const std::uint8_t* end = block + blocks * Layout::block_bytes;
        alignas(32) std::int8_t columns[window][32];
        for (std::size_t at = 0; at < to.row_bytes; at += window / 4) {
            for (std::size_t c = 0; c < window; c += Layout::block_columns) {
                if (block == end) {
                    std::memset(columns[c], 0, (window - c) * 32);
                    break;
                }
                _mm_prefetch(reinterpret_cast<const char*>(block) + ahead, _MM_HINT_T1);
                _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + 64, _MM_HINT_T1);
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
    static BITNET_ALWAYS_INLINE void store_bytes(const std::int8_t (*columns)[32], std::size_t at,
                                                 const target& to) noexcept {
        __m256i bytes[16];
        BITNET_UNROLL
        for (std::size_t j = 0; j < 16; ++j) {
            __m256i sum = load(columns[j]);
            BITNET_UNROLL
            for (std::size_t plane = 1; plane < 4; ++plane) {
                const __m256i twice = _mm256_add_epi8(sum, sum);
                sum = _mm256_add_epi8(_mm256_add_epi8(twice, twice), load(columns[32 * plane + j]));
            }
            bytes[j] = _mm256_add_epi8(sum, _mm256_set1_epi8(0x55)); // codes are weights + 1
        }
        transpose(bytes);
        for (std::size_t r = to.begin; r < to.end; ++r) {
            const __m256i rows = bytes[r % 16];
            auto* out = reinterpret_cast<__m128i*>(to.data + (r - to.begin) * to.row_bytes + at);
            _mm_storeu_si128(out, r < 16 ? _mm256_castsi256_si128(rows) : _mm256_extracti128_si256(rows, 1));
        }
    }
    static BITNET_ALWAYS_INLINE __m256i load(const std::int8_t* weights) noexcept {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    }

    /// 16 x 16 bytes in each half. One step turns the eight bits of (register, byte) once to the left: four swap them.
    static BITNET_ALWAYS_INLINE void transpose(__m256i (&v)[16]) noexcept {
        BITNET_UNROLL
        for (int step = 0; step < 4; ++step) {
            __m256i next[16];
            BITNET_UNROLL
            for (std::size_t i = 0; i < 8; ++i) {
                next[2 * i] = _mm256_unpacklo_epi8(v[i], v[i + 8]);
                next[2 * i + 1] = _mm256_unpackhi_epi8(v[i], v[i + 8]);
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
template <class Layout, class Block, class I2sKernel> struct lookup_rows_avx2 {
    using layout = Layout;
    static constexpr std::size_t arranged_tokens = 1;
    static constexpr std::size_t tables_bytes = lookup_avx2::tables_per_block * lookup_avx2::table_bytes;

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
            using unpacker = lookup_unpacker_avx2<Layout, Block>;
            by_way_of_i2s<I2sKernel, Layout, unpacker>::rows(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t end = first + count;
        for (std::size_t begin = first; begin < end;) {
            const std::size_t group = begin / 32;
            const std::size_t stop = end < (group + 1) * 32 ? end : (group + 1) * 32;
            for (std::size_t t = 0; t < x.tokens; ++t) {
                std::int32_t total[32];
                sum_group(w, group, x.arranged + t * x.arranged_stride, total);
                std::memcpy(y + t * y_stride + (begin - first), total + begin % 32,
                            (stop - begin) * sizeof(std::int32_t));
            }
            begin = stop;
        }
    }

private:
    /// Measured on Zen 4: 8 tokens are looked up as fast as they are multiplied after unpacking.
    static constexpr std::size_t few_tokens = 8;

    /// Products of a group of 32 rows with one token.
    static BITNET_ALWAYS_INLINE void sum_group(const typename Layout::view& w, std::size_t group,
                                               const std::byte* tables, std::int32_t* total) noexcept {
        const std::size_t blocks = blocks_across<Layout>(w.cols);
        const std::uint8_t* block = w.data + group * blocks * Layout::block_bytes;
        for (std::size_t r = 0; r < 32; ++r) {
            total[r] = -static_cast<std::int32_t>(blocks) * lookup_avx2::bias_per_block;
        }
        for (std::size_t b = 0; b < blocks;) {
            const std::size_t end =
                b + lookup_avx2::blocks_in_int16 < blocks ? b + lookup_avx2::blocks_in_int16 : blocks;
            auto words = lookup_avx2::zero();
            for (; b < end; ++b, block += Layout::block_bytes, tables += tables_bytes) {
                prefetch(block);
                auto bytes = lookup_avx2::biased_zero();
                Block::add(block, tables, bytes);
                lookup_avx2::add(words, bytes);
            }
            lookup_avx2::add(total, words);
        }
    }

    /// Into the second level and far ahead: the first level's few outstanding misses halved the speed.
    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block) noexcept {
        constexpr std::size_t ahead = 10240;
        BITNET_UNROLL
        for (std::size_t line = 0; line < Layout::block_bytes; line += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + line, _MM_HINT_T1);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
BITNET_TARGET_END
#endif
