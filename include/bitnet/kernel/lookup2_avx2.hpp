// SPDX-License-Identifier: MIT
// The lookup2 layout (two weights in four bits) for AVX2: look-ups by vpshufb. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP2_AVX2_HPP
#define BITNET_KERNEL_LOOKUP2_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_avx2.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lookup2.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>
#include <bitnet/kernel/lookup_kernel_avx2.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of lookup2. Entry 3 c0 + c1 of a pair's table is (c0 - 1) x0 + (c1 - 1) x1, at most 2 * 128 = 256; entries 9
/// to 15 are never looked up.
struct lookup2_block_avx2 {
    /// The eight tables of a block of 16 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const __m256i a = _mm256_setr_epi16(-1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m256i b = _mm256_setr_epi16(-1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        for (std::size_t pair = 0; pair < 8; ++pair, x += 2, out += lookup_avx2::table_bytes) {
            lookup_avx2::store_table(_mm256_add_epi16(_mm256_mullo_epi16(_mm256_set1_epi16(x[0]), a),
                                                      _mm256_mullo_epi16(_mm256_set1_epi16(x[1]), b)),
                                     out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_avx2::byte_sums& sums) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_avx2::table_bytes) {
            const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + line * 32));
            add_pair(pairs, tables, sums);
            add_pair(_mm256_srli_epi16(pairs, 4), tables + lookup_avx2::table_bytes, sums);
        }
    }

    /// Weights of the 16 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, columns += 4) {
            const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + line * 32));
            unpack_pair(pairs, columns);
            unpack_pair(_mm256_srli_epi16(pairs, 4), columns + 2);
        }
    }

private:
    static BITNET_ALWAYS_INLINE void unpack_pair(__m256i indices, std::int8_t (*columns)[32]) noexcept {
        const __m128i a = _mm_setr_epi8(-1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m128i b = _mm_setr_epi8(-1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0, 0, 0, 0, 0, 0);
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns[0]),
                           _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(a), index));
        _mm256_store_si256(reinterpret_cast<__m256i*>(columns[1]),
                           _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(b), index));
    }

    /// Adds the look-ups of the low four bits.
    static BITNET_ALWAYS_INLINE void add_pair(__m256i indices, const std::byte* table,
                                              lookup_avx2::byte_sums& sums) noexcept {
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        sums.low = _mm256_add_epi8(sums.low, _mm256_shuffle_epi8(lookup_avx2::load_table(table), index));
        sums.high = _mm256_add_epi8(sums.high, _mm256_shuffle_epi8(lookup_avx2::load_table(table + 16), index));
    }
};

/// \tparam I2sKernel for many tokens
template <class I2sKernel>
using lookup2_kernel_avx2 = lookup_kernel<lookup2, lookup_group_avx2<lookup2, lookup2_block_avx2>, I2sKernel>;

// Few tokens are looked up as on AVX2; many are unpacked to I2_S and multiplied with VNNI. AMX needs activations as
// tiles, but this layout arranges them as look-up tables: the AVX-512 kernel runs instead.
template <> struct kernel<isa::avx2, lookup2> : lookup2_kernel_avx2<kernel<isa::avx2, i2s>> {};
template <> struct kernel<isa::avx_vnni, lookup2> : lookup2_kernel_avx2<kernel<isa::avx_vnni, i2s>> {};
template <> struct kernel<isa::avx512_vnni, lookup2> : lookup2_kernel_avx2<kernel<isa::avx512_vnni, i2s>> {};
template <> struct kernel<isa::amx_int8, lookup2> : kernel<isa::avx512_vnni, lookup2> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
