// SPDX-License-Identifier: MIT
// Five ternary digits in a byte, as TQ1_0 and IQ1_BN store them.
#ifndef BITNET_KERNEL_TERNARY_FRACTION_HPP
#define BITNET_KERNEL_TERNARY_FRACTION_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::inline BITNET_ABI::detail {

/// The byte of a value of five digits in base 3, 0 to 242: the smallest q with q / 256 >= value / 243. Digits come out
/// at its top by multiplying with 3, most significant first. 242 * 256 + 242 = 62194 is the largest dividend.
[[nodiscard]] constexpr std::uint8_t ternary_fraction(unsigned value) noexcept {
    return static_cast<std::uint8_t>((value * 256 + 242) / 243);
}

/// Takes the most significant digit, 0 to 2, off a fraction: 3 * 255 / 256 is below 3, whatever the byte.
constexpr std::uint8_t take_digit(std::uint8_t& fraction) noexcept {
    const unsigned tripled = 3u * fraction;
    fraction = static_cast<std::uint8_t>(tripled);
    return static_cast<std::uint8_t>(tripled >> 8);
}

/// `Bytes` ternary_fractions of `Digits` codes each -> codes [Bytes * Digits], those of one digit side by side.
template <std::size_t Bytes, std::size_t Digits>
void unpack_digits(const std::uint8_t* bytes, std::uint8_t* codes) noexcept {
    std::uint8_t fractions[Bytes];
    std::memcpy(fractions, bytes, Bytes);
    for (std::size_t n = 0; n < Digits; ++n) {
        for (std::size_t m = 0; m < Bytes; ++m) {
            codes[Bytes * n + m] = take_digit(fractions[m]);
        }
    }
}
/// The way back; digits that a byte has no code for are 0.
template <std::size_t Bytes, std::size_t Digits>
void pack_digits(const std::uint8_t* codes, std::uint8_t* bytes) noexcept {
    for (std::size_t m = 0; m < Bytes; ++m) {
        unsigned value = 0;
        for (std::size_t n = 0; n < 5; ++n) {
            value = 3 * value + (n < Digits ? codes[Bytes * n + m] : 0u);
        }
        bytes[m] = ternary_fraction(value);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
