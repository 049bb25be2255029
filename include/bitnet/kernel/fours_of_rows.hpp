// SPDX-License-Identifier: MIT
// fours_of_rows: some bytes of each of some rows, turned so that four bytes of every row are a register. Empty on other
// architectures than x86-64.
#ifndef BITNET_KERNEL_FOURS_OF_ROWS_HPP
#define BITNET_KERNEL_FOURS_OF_ROWS_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

[[nodiscard]] BITNET_ALWAYS_INLINE __m128i sixteen_bytes(const std::uint8_t* bytes) noexcept {
    return _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes));
}

/// 16 bytes of each of eight rows, `row_bytes` apart -> fours[i]: bytes 4i to 4i + 3 of each row. A 4 x 4 transposition
/// of words in every 128 bits.
BITNET_ALWAYS_INLINE void fours_of_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                        __m256i (&fours)[4]) noexcept {
    __m256i of_rows[4]; // r and r + 4
    BITNET_UNROLL
    for (std::size_t r = 0; r < 4; ++r) {
        const std::uint8_t* row = packed + r * row_bytes;
        of_rows[r] = _mm256_castsi128_si256(sixteen_bytes(row));
        of_rows[r] = _mm256_inserti128_si256(of_rows[r], sixteen_bytes(row + 4 * row_bytes), 1);
    }
    const __m256i low01 = _mm256_unpacklo_epi32(of_rows[0], of_rows[1]);
    const __m256i high01 = _mm256_unpackhi_epi32(of_rows[0], of_rows[1]);
    const __m256i low23 = _mm256_unpacklo_epi32(of_rows[2], of_rows[3]);
    const __m256i high23 = _mm256_unpackhi_epi32(of_rows[2], of_rows[3]);
    fours[0] = _mm256_unpacklo_epi64(low01, low23);
    fours[1] = _mm256_unpackhi_epi64(low01, low23);
    fours[2] = _mm256_unpacklo_epi64(high01, high23);
    fours[3] = _mm256_unpackhi_epi64(high01, high23);
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// The same of sixteen rows.
BITNET_ALWAYS_INLINE void fours_of_rows(const std::uint8_t* packed, std::size_t row_bytes,
                                        __m512i (&fours)[4]) noexcept {
    __m512i of_rows[4]; // r, r + 4, r + 8 and r + 12
    BITNET_UNROLL
    for (std::size_t r = 0; r < 4; ++r) {
        const std::uint8_t* row = packed + r * row_bytes;
        of_rows[r] = _mm512_castsi128_si512(sixteen_bytes(row));
        of_rows[r] = _mm512_inserti32x4(of_rows[r], sixteen_bytes(row + 4 * row_bytes), 1);
        of_rows[r] = _mm512_inserti32x4(of_rows[r], sixteen_bytes(row + 8 * row_bytes), 2);
        of_rows[r] = _mm512_inserti32x4(of_rows[r], sixteen_bytes(row + 12 * row_bytes), 3);
    }
    const __m512i low01 = _mm512_unpacklo_epi32(of_rows[0], of_rows[1]);
    const __m512i high01 = _mm512_unpackhi_epi32(of_rows[0], of_rows[1]);
    const __m512i low23 = _mm512_unpacklo_epi32(of_rows[2], of_rows[3]);
    const __m512i high23 = _mm512_unpackhi_epi32(of_rows[2], of_rows[3]);
    fours[0] = _mm512_unpacklo_epi64(low01, low23);
    fours[1] = _mm512_unpackhi_epi64(low01, low23);
    fours[2] = _mm512_unpacklo_epi64(high01, high23);
    fours[3] = _mm512_unpackhi_epi64(high01, high23);
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
