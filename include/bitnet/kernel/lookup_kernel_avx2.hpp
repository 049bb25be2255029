// SPDX-License-Identifier: MIT
// The loops of look-up kernels for AVX2: tables of bytes, and sums of 32 rows. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP_KERNEL_AVX2_HPP
#define BITNET_KERNEL_LOOKUP_KERNEL_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// Bytes of blocks add up in int16, even and odd rows apart: 64 blocks are at most 64 * 248 = 15872.
struct lookup_avx2 : lookup_tables {
    static constexpr std::size_t blocks_in_int16 = 64;

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
    static BITNET_ALWAYS_INLINE void add(std::uint32_t* total, const word_sums& words) noexcept {
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
    static BITNET_ALWAYS_INLINE void add_rows(std::uint32_t* total, __m256i rows) noexcept {
        auto* first = reinterpret_cast<__m128i*>(total);
        auto* second = reinterpret_cast<__m128i*>(total + 16);
        _mm_storeu_si128(first, _mm_add_epi32(_mm_loadu_si128(first), _mm256_castsi256_si128(rows)));
        _mm_storeu_si128(second, _mm_add_epi32(_mm_loadu_si128(second), _mm256_extracti128_si256(rows, 1)));
    }
};

/// A group of 32 rows, one register of bytes: the loops of lookup_kernel. `Block` knows how blocks hold indices: it
/// makes the tables of a block, adds its look-ups, and unpacks it.
template <class Layout, class Block> struct lookup_group_avx2 {
    /// Measured on Zen 4: 8 tokens are looked up as fast as they are multiplied after unpacking.
    static constexpr std::size_t few_tokens = 8;

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
            const std::size_t end = b + (rest < lookup_avx2::blocks_in_int16 ? rest : lookup_avx2::blocks_in_int16);
            auto words = lookup_avx2::zero();
            for (; b < end; ++b, block += Layout::block_bytes, tables += lookup_tables::block_bytes) {
                prefetch(block);
                auto bytes = lookup_avx2::biased_zero();
                Block::add(block, tables, bytes);
                lookup_avx2::add(words, bytes);
            }
            lookup_avx2::add(total, words);
        }
    }

    static void unpack(const std::uint8_t* block, std::size_t blocks, std::int8_t (*columns)[32]) noexcept {
        for (std::size_t b = 0; b < blocks; ++b, block += Layout::block_bytes, columns += Layout::block_columns) {
            _mm_prefetch(reinterpret_cast<const char*>(block) + ahead, _MM_HINT_T1);
            _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + 64, _MM_HINT_T1);
            Block::unpack(block, columns);
        }
    }

    /// Four columns go into one byte of each row, and 32 x 16 bytes are transposed.
    static void store_bytes(const std::int8_t (*columns)[32], std::size_t at, const unpacked_rows& to) noexcept {
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

private:
    static constexpr std::size_t ahead = 10240;

    static BITNET_ALWAYS_INLINE __m256i load(const std::int8_t* weights) noexcept {
        return _mm256_load_si256(reinterpret_cast<const __m256i*>(weights));
    }

    /// Number each byte of a half by (register, position), 4 + 4 bits. A round of unpacks rotates that number left by
    /// one bit; four rounds swap register and position, which is the transpose of 16 x 16 bytes.
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

    /// Into the second level and far ahead: the first level's few outstanding misses halved the speed.
    static BITNET_ALWAYS_INLINE void prefetch(const std::uint8_t* block) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < Layout::block_bytes; line += 64) {
            _mm_prefetch(reinterpret_cast<const char*>(block) + ahead + line, _MM_HINT_T1);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
