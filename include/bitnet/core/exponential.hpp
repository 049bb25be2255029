// SPDX-License-Identifier: MIT
// exact_quotient and exponential: a / b and e^x with the same bits on every compiler, whatever its float flags.
#ifndef BITNET_CORE_EXPONENTIAL_HPP
#define BITNET_CORE_EXPONENTIAL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/fma.hpp>

#include <bit>
#include <cstdint>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// a / b. Under -ffast-math a compiler without float_control makes reciprocals of divisors and divisions of products
/// with reciprocals, unless it does not know what it divides.
[[nodiscard]] BITNET_ALWAYS_INLINE float exact_quotient(float a, float b) noexcept {
#if !BITNET_FLOAT_CONTROL
    __asm__("" : "+w"(a), "+w"(b));
#endif
    return a / b;
}

/// e^x within 2 units in the last place; 0 below -87 (never a denormal), e^88 above 88. `Fma` is one of the backends of
/// core/fma.hpp; both give the same bits.
/// n = round(x / ln 2), r = x - n ln 2 in two parts, then e^r by its Taylor series to r^7 (the rest is below
/// (ln 2 / 2)^8 / 8! = 5e-9) and an exact scaling by 2^n.
template <class Fma> [[nodiscard]] BITNET_ALWAYS_INLINE float exponential(float x) noexcept {
    constexpr float shift = 12582912.0f; // 1.5 * 2^23: adding it leaves the rounded integer in the low bits
    const float upper = x > 88.0f ? 88.0f : x;
    const float c = upper < -87.0f ? -87.0f : upper;
    const float shifted = Fma::fma(c, 0x1.715476p+0f, shift);
    const float n = shifted - shift;
    const float r_high = Fma::fma(n, -0x1.62e43p-1f, c);
    const float r = Fma::fma(n, 0x1.05c61p-29f, r_high);
    float p = 0x1.a01a02p-13f; // 1/7!
    p = Fma::fma(p, r, 0x1.6c16c2p-10f);
    p = Fma::fma(p, r, 0x1.111112p-7f);
    p = Fma::fma(p, r, 0x1.555556p-5f);
    p = Fma::fma(p, r, 0x1.555556p-3f);
    p = Fma::fma(p, r, 0.5f);
    p = Fma::fma(p, r, 1.0f);
    p = Fma::fma(p, r, 1.0f);
    const std::uint32_t exponent = (std::bit_cast<std::uint32_t>(shifted) - std::bit_cast<std::uint32_t>(shift)) << 23;
    const float scaled = std::bit_cast<float>(std::bit_cast<std::uint32_t>(p) + exponent);
    const std::uint32_t kept = x < -87.0f ? 0u : 0xffffffffu; // a mask, which vectorises; a choice does not
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(scaled) & kept);
}

/// exponential<software_fma>(), which is too long to be inlined wherever it is needed.
[[nodiscard]] BITNET_NOINLINE inline float software_exponential(float x) noexcept {
    return exponential<software_fma>(x);
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
