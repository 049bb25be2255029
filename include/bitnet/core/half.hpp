// SPDX-License-Identifier: MIT
// half (IEEE binary16) and bfloat16 as storage types: exact widening, round to nearest even when narrowing.
#ifndef BITNET_CORE_HALF_HPP
#define BITNET_CORE_HALF_HPP

#include <bitnet/core/config.hpp>

#include <bit>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// An IEEE 754 binary16 number, stored only; arithmetic is done in float.
struct half {
    std::uint16_t bits;
    friend bool operator==(half, half) = default;
};

/// The upper half of an IEEE 754 binary32 number, stored only.
struct bfloat16 {
    std::uint16_t bits;
    friend bool operator==(bfloat16, bfloat16) = default;
};

namespace detail {

[[nodiscard]] constexpr float widen(float value) noexcept { return value; }
[[nodiscard]] constexpr float widen(std::int8_t value) noexcept { return static_cast<float>(value); }

/// Exact, for all 65,536 values; a NaN becomes quiet and keeps its payload, as vcvtph2ps does.
[[nodiscard]] constexpr float widen(half value) noexcept {
    const std::uint32_t sign = (value.bits & 0x8000u) << 16;
    const std::uint32_t exponent = (value.bits >> 10) & 0x1fu;
    const std::uint32_t fraction = value.bits & 0x3ffu;
    if (exponent == 0x1f) {
        const std::uint32_t quiet = fraction != 0 ? 0x400000u : 0u;
        return std::bit_cast<float>(sign | 0x7f800000u | quiet | (fraction << 13));
    }
    if (exponent != 0) {
        return std::bit_cast<float>(sign | ((exponent + 112) << 23) | (fraction << 13));
    }
    if (fraction == 0) {
        return std::bit_cast<float>(sign);
    }
    // Subnormal: fraction * 2^-24. Shift the leading one to bit 10; every step halves the exponent's weight.
    const int shift = std::countl_zero(fraction) - 21;
    const std::uint32_t normal = (fraction << shift) & 0x3ffu;
    return std::bit_cast<float>(sign | (static_cast<std::uint32_t>(113 - shift) << 23) | (normal << 13));
}

[[nodiscard]] constexpr float widen(bfloat16 value) noexcept {
    return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

/// Narrows a float to the element type `To`, to nearest, ties to even, as vcvtps2ph does.
template <class To> [[nodiscard]] constexpr To narrow(float value) noexcept;

template <> [[nodiscard]] constexpr float narrow<float>(float value) noexcept { return value; }

template <> [[nodiscard]] constexpr half narrow<half>(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    const auto sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000u);
    const std::uint32_t magnitude = bits & 0x7fffffffu;
    const auto with_sign = [sign](std::uint32_t rest) { return half{static_cast<std::uint16_t>(sign | rest)}; };
    if (magnitude > 0x7f800000u) {
        return with_sign(0x7e00u | ((magnitude >> 13) & 0x3ffu)); // NaN: quiet, payload kept
    }
    if (magnitude >= 0x477ff000u) {
        return with_sign(0x7c00u); // 65520 and above round to infinity
    }
    if (magnitude >= 0x38800000u) { // at least 2^-14: normal
        const std::uint32_t rounded = magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u);
        return with_sign(rounded >> 13);
    }
    if (magnitude <= 0x33000000u) {
        return with_sign(0); // at most 2^-25, half of the smallest subnormal: ties to even is zero
    }
    const std::uint32_t mantissa = (magnitude & 0x7fffffu) | 0x800000u;
    const std::uint32_t shift = 126 - (magnitude >> 23); // 14 (just below 2^-14) to 24 (just above 2^-25)
    const std::uint32_t kept = mantissa >> shift;
    const std::uint32_t rest = mantissa & ((1u << shift) - 1);
    const std::uint32_t tie = 1u << (shift - 1);
    return with_sign(kept + (rest > tie || (rest == tie && (kept & 1u) != 0) ? 1 : 0));
}

template <> [[nodiscard]] constexpr bfloat16 narrow<bfloat16>(float value) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) {
        return {static_cast<std::uint16_t>((bits >> 16) | 0x40u)};
    }
    return {static_cast<std::uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
