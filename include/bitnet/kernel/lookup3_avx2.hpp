// SPDX-License-Identifier: MIT
// The lookup3 layout (three weights in five bits) for AVX2: look-ups by vpshufb. Empty on other architectures.
#ifndef BITNET_KERNEL_LOOKUP3_AVX2_HPP
#define BITNET_KERNEL_LOOKUP3_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_avx2.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lookup3.hpp>
#include <bitnet/kernel/lookup_kernel.hpp>
#include <bitnet/kernel/lookup_kernel_avx2.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of lookup3. Entry v of a triple's table is what the weights of value v make of its activations:
/// v = 9 a + 3 b + c, the sum a x0 + b x1 + c x2, at most 3 * 128 = 384; entries 14 and 15 are never looked up.
struct lookup3_block_avx2 {
    /// The eight tables of a block of 24 activations.
    static BITNET_ALWAYS_INLINE void make_tables(const std::int8_t* x, std::byte* out) noexcept {
        const __m256i a = _mm256_setr_epi16(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0);
        const __m256i b = _mm256_setr_epi16(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0);
        const __m256i c = _mm256_setr_epi16(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0);
        for (std::size_t triple = 0; triple < 8; ++triple, x += 3, out += lookup_avx2::table_bytes) {
            const __m256i sums = _mm256_add_epi16(_mm256_mullo_epi16(_mm256_set1_epi16(x[0]), a),
                                                  _mm256_mullo_epi16(_mm256_set1_epi16(x[1]), b));
            lookup_avx2::store_table(_mm256_add_epi16(sums, _mm256_mullo_epi16(_mm256_set1_epi16(x[2]), c)), out);
        }
    }

    static BITNET_ALWAYS_INLINE void add(const std::uint8_t* block, const std::byte* tables,
                                         lookup_avx2::byte_sums& sums) noexcept {
        __m256i signs = load(block + std::size_t{4} * 32);
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, tables += 2 * lookup_avx2::table_bytes) {
            const __m256i pairs = load(block + line * 32);
            add_triple(pairs, tables, signs, sums);
            add_triple(_mm256_srli_epi16(pairs, 4), tables + lookup_avx2::table_bytes, signs, sums);
        }
    }

    /// Weights of the 24 columns, 32 rows each.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* block, std::int8_t (*columns)[32]) noexcept {
        __m256i signs = load(block + std::size_t{4} * 32);
        BITNET_UNROLL
        for (std::size_t line = 0; line < 4; ++line, columns += 6) {
            const __m256i pairs = load(block + line * 32);
            unpack_triple(pairs, signs, columns);
            unpack_triple(_mm256_srli_epi16(pairs, 4), signs, columns + 3);
        }
    }

private:
    static BITNET_ALWAYS_INLINE void unpack_triple(__m256i indices, __m256i& signs,
                                                   std::int8_t (*columns)[32]) noexcept {
        const __m128i weights[3] = {_mm_setr_epi8(0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0),
                                    _mm_setr_epi8(0, 0, 1, 1, 1, -1, -1, -1, 0, 0, 0, 1, 1, 1, 0, 0),
                                    _mm_setr_epi8(0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, -1, 0, 1, 0, 0)};
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        const __m256i sign = _mm256_or_si256(signs, _mm256_set1_epi8(1));
        BITNET_UNROLL
        for (std::size_t i = 0; i < 3; ++i) {
            const __m256i positive = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(weights[i]), index);
            _mm256_store_si256(reinterpret_cast<__m256i*>(columns[i]), _mm256_sign_epi8(positive, sign));
        }
        signs = _mm256_add_epi8(signs, signs);
    }

    static BITNET_ALWAYS_INLINE __m256i load(const std::uint8_t* p) noexcept {
        return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
    }

    /// Adds the look-ups of the low four bits, negated if bit 7 of `signs` is set, and shifts `signs` to the next bit.
    static BITNET_ALWAYS_INLINE void add_triple(__m256i indices, const std::byte* table, __m256i& signs,
                                                lookup_avx2::byte_sums& sums) noexcept {
        const __m256i index = _mm256_and_si256(indices, _mm256_set1_epi8(15));
        const __m256i sign = _mm256_or_si256(signs, _mm256_set1_epi8(1)); // never zero: vpsignb only negates
        const __m256i low = _mm256_shuffle_epi8(lookup_avx2::load_table(table), index);
        const __m256i high = _mm256_shuffle_epi8(lookup_avx2::load_table(table + 16), index);
        sums.low = _mm256_add_epi8(sums.low, _mm256_sign_epi8(low, sign));
        sums.high = _mm256_add_epi8(sums.high, _mm256_sign_epi8(high, sign));
        signs = _mm256_add_epi8(signs, signs);
    }
};

/// \tparam I2sKernel for many tokens
template <class I2sKernel>
using lookup3_kernel_avx2 = lookup_kernel<lookup3, lookup_group_avx2<lookup3, lookup3_block_avx2>, I2sKernel>;

// Few tokens are looked up as on AVX2; many are unpacked to I2_S and multiplied with VNNI. AMX needs activations as
// tiles, but this layout arranges them as look-up tables: the AVX-512 kernel runs instead.
template <> struct kernel<isa::avx2, lookup3> : lookup3_kernel_avx2<kernel<isa::avx2, i2s>> {};
template <> struct kernel<isa::avx_vnni, lookup3> : lookup3_kernel_avx2<kernel<isa::avx_vnni, i2s>> {};
template <> struct kernel<isa::avx512_vnni, lookup3> : lookup3_kernel_avx2<kernel<isa::avx512_vnni, i2s>> {};
template <> struct kernel<isa::amx_int8, lookup3> : kernel<isa::avx512_vnni, lookup3> {};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
