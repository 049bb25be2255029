// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for AVX2. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_AVX2_HPP
#define BITNET_KERNEL_BASE3_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_tiling.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_avx2.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// Rows of base3 as I2_S, for many tokens: digits come out as in the kernel below, four of them go into a byte.
struct base3_unpacker_avx2 {
    /// \pre row_bytes holds a multiple of 640 columns, two blocks of base3 and five of I2_S
    static void unpack(const base3::view& w, std::size_t first, std::size_t count, std::uint8_t* out,
                       std::size_t row_bytes) noexcept {
        const std::size_t blocks = blocks_across<base3>(w.cols);
        const std::uint8_t* from = w.data + first * blocks * base3::block_bytes;
        for (std::size_t r = 0; r < count; ++r, out += row_bytes) {
            for (std::size_t b = 0; b < blocks; b += 2, from += 2 * base3::block_bytes) {
                unpack_pair(from, b + 1 < blocks, out + b * 80);
            }
            from -= blocks % 2 * base3::block_bytes;
        }
    }

private:
    /// Two blocks, of which the second may be missing: then its codes are 0.
    static BITNET_ALWAYS_INLINE void unpack_pair(const std::uint8_t* p, bool both, std::uint8_t* out) noexcept {
        constexpr std::size_t ahead = 8192;
        _mm_prefetch(reinterpret_cast<const char*>(p) + ahead, _MM_HINT_T1);
        _mm_prefetch(reinterpret_cast<const char*>(p) + ahead + 64, _MM_HINT_T1);
        __m256i lower = load(p); // columns 0..31, 64..95, ...
        __m256i upper = load(p + 32);
        store(out, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        store(out + 32, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        const __m256i last = append(_mm256_setzero_si256(), lower, upper);
        lower = both ? load(p + 64) : _mm256_set1_epi8(-128);
        upper = both ? load(p + 96) : _mm256_set1_epi8(-128);
        store(out + 64, append(last, lower, upper));
        store(out + 96, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
        store(out + 128, append(append(_mm256_setzero_si256(), lower, upper), lower, upper));
    }

    /// Bytes less 128, as digits are compared.
    static BITNET_ALWAYS_INLINE __m256i load(const std::uint8_t* p) noexcept {
        return _mm256_xor_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)), _mm256_set1_epi8(-128));
    }
    static BITNET_ALWAYS_INLINE void store(std::uint8_t* p, __m256i codes) noexcept {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), codes);
    }

    /// Shifts codes up and puts the next digits of `lower`, then of `upper`, below. What is shifted out of a byte is 0.
    static BITNET_ALWAYS_INLINE __m256i append(__m256i codes, __m256i& lower, __m256i& upper) noexcept {
        return append(append(codes, lower), upper);
    }
    static BITNET_ALWAYS_INLINE __m256i append(__m256i codes, __m256i& rest) noexcept {
        const __m256i negative = _mm256_add_epi8(_mm256_cmpgt_epi8(rest, _mm256_set1_epi8(85 - 128)),
                                                 _mm256_cmpgt_epi8(rest, _mm256_set1_epi8(170 - 128)));
        rest = _mm256_add_epi8(_mm256_add_epi8(rest, rest), rest);
        return _mm256_sub_epi8(_mm256_slli_epi16(codes, 2), negative);
    }
};

/// Bytes are taken less 128, for signed comparisons: digit k counts the thresholds 85 and 170 that r(k) is above, and
/// r(k+1) = 3 r(k) mod 256 is two additions, as 3 * -128 = -128 mod 256.
/// Overflow: a pair of products is at most 2 * 2 * 128 = 512, the ten of a block's row 5120; int16 holds six blocks.
template <> struct kernel<isa::avx2, base3> {
    using layout = base3;
    static constexpr std::size_t few_tokens = 1; ///< that are multiplied without unpacking

    static void multiply(const base3::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        tiling::multiply(w, first, count, x, y, y_stride);
    }

private:
    using tiling = base3_tiling<kernel, few_tokens, by_way_of_i2s<kernel<isa::avx2, i2s>, base3, base3_unpacker_avx2>>;
    friend tiling;
    static constexpr std::size_t blocks_in_int16 = 6;

    template <std::size_t Rows>
    static void tile(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x, std::int32_t sum,
                     std::int32_t* y) noexcept {
        const std::size_t blocks = row_bytes / base3::block_bytes;
        __m256i total[Rows];
        BITNET_UNROLL
        for (auto& row : total) {
            row = _mm256_setzero_si256();
        }
        for (std::size_t begin = 0; begin < blocks; begin += blocks_in_int16) {
            const std::size_t end = begin + blocks_in_int16 < blocks ? begin + blocks_in_int16 : blocks;
            __m256i words[Rows];
            BITNET_UNROLL
            for (auto& row : words) {
                row = _mm256_setzero_si256();
            }
            for (std::size_t b = begin; b < end; ++b) {
                prefetch_base3<Rows>(w, b * 64);
                add_half<Rows>(w + b * 64, row_bytes, x + b * 320, words);
                add_half<Rows>(w + b * 64 + 32, row_bytes, x + b * 320 + 32, words);
            }
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                total[r] = _mm256_add_epi32(total[r], _mm256_madd_epi16(words[r], _mm256_set1_epi16(1)));
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            y[r] = lane_sum(total[r]) - sum;
        }
    }

    /// 32 of the 64 bytes of a block, in each row.
    template <std::size_t Rows>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              __m256i (&words)[Rows]) noexcept {
        __m256i rest[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            const std::uint8_t* p = w + r * row_bytes;
            const __m256i bytes = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
            rest[r] = _mm256_xor_si256(bytes, _mm256_set1_epi8(-128));
        }
        BITNET_UNROLL
        for (std::size_t k = 0; k < 5; ++k) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + 64 * k));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const __m256i above = _mm256_add_epi8(_mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(85 - 128)),
                                                      _mm256_cmpgt_epi8(rest[r], _mm256_set1_epi8(170 - 128)));
                words[r] = _mm256_add_epi16(words[r], _mm256_maddubs_epi16(_mm256_abs_epi8(above), values));
                rest[r] = _mm256_add_epi8(_mm256_add_epi8(rest[r], rest[r]), rest[r]);
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
