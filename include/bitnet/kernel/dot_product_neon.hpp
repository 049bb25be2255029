// SPDX-License-Identifier: MIT
// add_dot_product(s) and add_matrix_products: Arm's instructions on int8, for every compiler. Empty on other
// architectures.
#ifndef BITNET_KERNEL_DOT_PRODUCT_NEON_HPP
#define BITNET_KERNEL_DOT_PRODUCT_NEON_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>

#if BITNET_ARM64
#include <arm_neon.h>

// Before version 16, clang has the intrinsics only if the whole program is compiled for them: hence assembly. gcc
// would take the codes of all rows through one register, so that a CPU that executes in order waits for each of them:
// hence several instructions in one.
BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_DOTPROD)
namespace bitnet::inline BITNET_ABI::detail {

/// sum[i] += a[4i] b[4i] + ... + a[4i + 3] b[4i + 3]
BITNET_ALWAYS_INLINE void add_dot_product(int32x4_t& sum, int8x16_t a, int8x16_t b) noexcept {
#if defined(__GNUC__) && (!defined(__clang__) || __clang_major__ < 16)
    __asm__("sdot %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
#else
    sum = vdotq_s32(sum, a, b);
#endif
}

/// The same of Rows rows, of which a[r] belongs to sums[r][column].
template <std::size_t Rows, std::size_t Columns>
BITNET_ALWAYS_INLINE void add_dot_products(int32x4_t (&sums)[Rows][Columns], std::size_t column,
                                           const int8x16_t (&a)[Rows], int8x16_t b) noexcept {
#if defined(__GNUC__) && !defined(__clang__)
    if constexpr (Rows == 4) {
        __asm__("sdot %0.4s, %4.16b, %8.16b\n\tsdot %1.4s, %5.16b, %8.16b\n\t"
                "sdot %2.4s, %6.16b, %8.16b\n\tsdot %3.4s, %7.16b, %8.16b"
                : "+&w"(sums[0][column]), "+&w"(sums[1][column]), "+&w"(sums[2][column]), "+&w"(sums[3][column])
                : "w"(a[0]), "w"(a[1]), "w"(a[2]), "w"(a[3]), "w"(b));
        return;
    }
    if constexpr (Rows == 2) {
        __asm__("sdot %0.4s, %2.16b, %4.16b\n\tsdot %1.4s, %3.16b, %4.16b"
                : "+&w"(sums[0][column]), "+&w"(sums[1][column])
                : "w"(a[0]), "w"(a[1]), "w"(b));
        return;
    }
#endif
    BITNET_UNROLL
    for (std::size_t r = 0; r < Rows; ++r) {
        add_dot_product(sums[r][column], a[r], b);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON_I8MM)
namespace bitnet::inline BITNET_ABI::detail {

/// sum [2, 2] += a [2, 8] times the transpose of b [2, 8]
BITNET_ALWAYS_INLINE void add_matrix_product(int32x4_t& sum, int8x16_t a, int8x16_t b) noexcept {
#if defined(__GNUC__) && (!defined(__clang__) || __clang_major__ < 16)
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(sum) : "w"(a), "w"(b));
#else
    sum = vmmlaq_s32(sum, a, b);
#endif
}

/// The same of RowPairs pairs of rows, of which a[p] belongs to sums[p][column].
template <std::size_t RowPairs, std::size_t Columns>
BITNET_ALWAYS_INLINE void add_matrix_products(int32x4_t (&sums)[RowPairs][Columns], std::size_t column,
                                              const int8x16_t (&a)[RowPairs], int8x16_t b) noexcept {
#if defined(__GNUC__) && !defined(__clang__)
    if constexpr (RowPairs == 4) {
        __asm__("smmla %0.4s, %4.16b, %8.16b\n\tsmmla %1.4s, %5.16b, %8.16b\n\t"
                "smmla %2.4s, %6.16b, %8.16b\n\tsmmla %3.4s, %7.16b, %8.16b"
                : "+&w"(sums[0][column]), "+&w"(sums[1][column]), "+&w"(sums[2][column]), "+&w"(sums[3][column])
                : "w"(a[0]), "w"(a[1]), "w"(a[2]), "w"(a[3]), "w"(b));
        return;
    }
#endif
    BITNET_UNROLL
    for (std::size_t p = 0; p < RowPairs; ++p) {
        add_matrix_product(sums[p][column], a[p], b);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
