// SPDX-License-Identifier: MIT
// fused_multiply_add: float fma with one rounding on machines that have no such instruction.
#ifndef BITNET_CORE_FMA_HPP
#define BITNET_CORE_FMA_HPP

#include <bitnet/core/config.hpp>

#include <bit>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// a * b + c with one rounding, bit for bit what an fma instruction gives, out of double arithmetic.
///
/// The product of two floats is exact in double (24 + 24 <= 53 bits). Its sum with c is split into the rounded sum and
/// the exact rounding error (Knuth's two-sum); if the error is not zero, the sum is moved to the neighbour with an
/// odd last bit (round to odd), which makes the final conversion to float round as if from the exact value: 53 >= 24 +
/// 2 bits (Boldo and Melquiond, "Emulation of a FMA and correctly rounded sums", 2008). Proven against the hardware
/// instruction by tests/core/fma_test.cpp.
[[nodiscard]] BITNET_ALWAYS_INLINE float exact_fma(float a, float b, float c) noexcept {
    const double product = static_cast<double>(a) * static_cast<double>(b);
    const double addend = static_cast<double>(c);
    const double sum = product + addend;
    const double addend_part = sum - product;
    const double product_part = sum - addend_part;
    const double addend_error = addend - addend_part;
    const double product_error = product - product_part;
    const double rounding_error = product_error + addend_error;
    const auto sum_bits = std::bit_cast<std::uint64_t>(sum);
    const auto error_bits = std::bit_cast<std::uint64_t>(rounding_error);
    constexpr std::uint64_t sign = 0x8000000000000000u;
    constexpr std::uint64_t infinity = 0x7ff0000000000000u;
    const bool inexact = (error_bits & ~sign) != 0;
    const bool even = (sum_bits & 1) == 0;
    const bool finite = (sum_bits & infinity) != infinity;
    // Away from zero when the error has the sum's sign, towards zero when not: the exact value lies on that side.
    const std::uint64_t away = ((sum_bits ^ error_bits) & sign) == 0 ? 1 : ~std::uint64_t{0};
    const std::uint64_t odd = sum_bits + (inexact && even && finite ? away : 0);
    return static_cast<float>(std::bit_cast<double>(odd));
}

/// Arithmetic backends of the float loops: how one multiply-add is made. Both give the same bits.
struct software_fma {
    [[nodiscard]] static BITNET_ALWAYS_INLINE float fma(float a, float b, float c) noexcept {
        return exact_fma(a, b, c);
    }
};
#if defined(__GNUC__) || defined(__clang__)
/// Only inside a target region whose CPU has the instruction; elsewhere it would be a slow library call.
struct hardware_fma {
    [[nodiscard]] static BITNET_ALWAYS_INLINE float fma(float a, float b, float c) noexcept {
        return __builtin_fmaf(a, b, c);
    }
};
#else
using hardware_fma = software_fma;
#endif

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
