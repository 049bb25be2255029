// SPDX-License-Identifier: MIT
// Logarithm, exponential and square root by integers: the same bits on every compiler, whatever its float flags and
// libm.
#ifndef BITNET_CORE_FIXED_POINT_HPP
#define BITNET_CORE_FIXED_POINT_HPP

#include <bitnet/core/config.hpp>

#include <bit>
#include <cassert>
#include <cmath>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// The upper 64 bits of a * b.
[[nodiscard]] constexpr std::uint64_t multiply_high(std::uint64_t a, std::uint64_t b) noexcept {
    constexpr std::uint64_t low_half = 0xffffffffu;
    const std::uint64_t low = (a & low_half) * (b & low_half);
    const std::uint64_t cross1 = (a >> 32) * (b & low_half);
    const std::uint64_t cross2 = (a & low_half) * (b >> 32);
    const std::uint64_t middle = (low >> 32) + (cross1 & low_half) + (cross2 & low_half);
    return (a >> 32) * (b >> 32) + (cross1 >> 32) + (cross2 >> 32) + (middle >> 32);
}

/// Fraction bits of the logarithms below: 7 bits before the point suffice for any float above 1.
inline constexpr int log2_fraction_bits = 57;

/// log2(x) * 2^57, for 1 <= x < 2^127; wrong by at most 2 units. One bit of the logarithm for each squaring of x.
[[nodiscard]] constexpr std::uint64_t log2_fixed(double x) noexcept {
    const auto bits = std::bit_cast<std::uint64_t>(x);
    assert(bits >= 0x3ff0000000000000u && bits < 0x47e0000000000000u);
    std::uint64_t result = (bits >> 52) - 1023;
    std::uint64_t mantissa = (bits << 11) | std::uint64_t{1} << 63; // [1, 2) as 1.63 bits
    for (int i = 0; i < log2_fraction_bits; ++i) {
        const std::uint64_t square = multiply_high(mantissa, mantissa); // [1, 4) as 2.62 bits
        const bool carry = (square >> 63) != 0;
        result = (result << 1) | (carry ? 1u : 0u);
        mantissa = carry ? square : square << 1;
    }
    return result;
}
[[nodiscard]] constexpr std::uint64_t log2_fixed(float x) noexcept { return log2_fixed(static_cast<double>(x)); }

/// 2^-x * 2^64 for x > 0 given as x * 2^57; wrong by less than 64 units.
/// e^-u = 1 - (u - u^2/2! + u^3/3! - ...), u = fraction(x) ln 2 < 0.7: the 24th term is below 2^-90.
[[nodiscard]] constexpr std::uint64_t exp2_negative_fixed(std::uint64_t x) noexcept {
    constexpr std::uint64_t ln2 = 0xb17217f7d1cf79acu; // * 2^-64
    const std::uint64_t whole = x >> log2_fraction_bits;
    const std::uint64_t u = multiply_high(x << (64 - log2_fraction_bits), ln2);
    std::uint64_t term = u;
    std::uint64_t decrease = u;
    for (std::uint64_t n = 2; n <= 24; ++n) {
        term = multiply_high(term, u) / n;
        decrease = n % 2 == 0 ? decrease - term : decrease + term;
    }
    const std::uint64_t fraction = ~decrease; // 2^64 - decrease, less one unit so that 2^-0 fits
    return whole > 63 ? 0 : fraction >> whole;
}

/// The square root rounded to nearest even, as IEEE 754 and sqrtss have it; a NaN below zero.
/// Under -ffast-math clang makes an estimate of every sqrt that it sees, whatever pragma surrounds it. So the root
/// is taken of the 50-bit integer m * 2^25, where x = m * 2^(e - 23), e even and 1 <= m * 2^-23 < 4: that has 24 bits
/// and one more to round by. (A tie is impossible: an odd root has an odd square.)
[[nodiscard]] inline float exact_square_root(float x) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(x);
    constexpr std::uint32_t infinity = 0x7f800000u;
    constexpr std::uint32_t smallest_normal = 0x00800000u;
    if ((bits & 0x7fffffffu) == 0 || bits == infinity) {
        return x;
    }
    if (bits > infinity) {
        return std::bit_cast<float>(0x7fc00000u);
    }
    if (bits < smallest_normal) {
        return exact_square_root(x * 0x1p24f) * 0x1p-12f;
    }
    const std::uint32_t odd = ~(bits >> 23) & 1u; // the bias 127 is odd
    const std::uint64_t square = std::uint64_t{(bits & 0x7fffffu) | smallest_normal} << (25 + odd);
    auto root = static_cast<std::uint64_t>(std::sqrt(static_cast<double>(square))); // an estimate will do
    while (root * root > square) {
        --root;
    }
    while ((root + 1) * (root + 1) <= square) {
        ++root;
    }
    const std::uint32_t exponent = ((bits >> 23) + 127 - odd) / 2;
    return std::bit_cast<float>((exponent << 23) + static_cast<std::uint32_t>((root + 1) / 2 - smallest_normal));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
