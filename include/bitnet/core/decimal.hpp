// SPDX-License-Identifier: MIT
// parse_decimal: text to double, correctly rounded, whatever the locale, the C++ library and the compiler's flags.
#ifndef BITNET_CORE_DECIMAL_HPP
#define BITNET_CORE_DECIMAL_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A natural number of up to 4,480 bits, just enough arithmetic for parse_decimal.
class big_natural {
public:
    [[nodiscard]] bool is_zero() const noexcept { return used_ == 0; }

    /// this = this * factor + addend
    void multiply_add(std::uint32_t factor, std::uint32_t addend) noexcept {
        std::uint64_t carry = addend;
        for (std::size_t i = 0; i < used_; ++i) {
            carry += std::uint64_t{words_[i]} * factor;
            words_[i] = static_cast<std::uint32_t>(carry);
            carry >>= 32;
        }
        push(static_cast<std::uint32_t>(carry));
    }
    void multiply_by_power_of_ten(std::int64_t power) noexcept {
        for (; power >= 9; power -= 9) {
            multiply_add(1000000000u, 0);
        }
        for (; power > 0; --power) {
            multiply_add(10, 0);
        }
    }
    [[nodiscard]] int bits() const noexcept {
        return used_ == 0 ? 0 : static_cast<int>(used_ * 32) - std::countl_zero(words_[used_ - 1]);
    }
    void shift_left(int count) noexcept {
        const auto whole = static_cast<std::size_t>(count / 32);
        const int part = count % 32;
        std::uint32_t above = 0;
        if (part != 0) {
            for (std::size_t i = 0; i < used_; ++i) {
                const std::uint32_t word = words_[i];
                words_[i] = (word << part) | above;
                above = word >> (32 - part);
            }
            push(above);
        }
        if (whole != 0 && used_ != 0) {
            std::copy_backward(words_.begin(), words_.begin() + static_cast<std::ptrdiff_t>(used_),
                               words_.begin() + static_cast<std::ptrdiff_t>(used_ + whole));
            std::fill_n(words_.begin(), whole, 0u);
            used_ += whole;
        }
    }
    [[nodiscard]] bool at_least(const big_natural& other) const noexcept {
        if (used_ != other.used_) {
            return used_ > other.used_;
        }
        for (std::size_t i = used_; i-- > 0;) {
            if (words_[i] != other.words_[i]) {
                return words_[i] > other.words_[i];
            }
        }
        return true;
    }
    /// \pre at_least(other)
    void subtract(const big_natural& other) noexcept {
        std::uint64_t borrow = 0;
        for (std::size_t i = 0; i < used_; ++i) {
            const std::uint64_t taken = (i < other.used_ ? other.words_[i] : 0) + borrow;
            borrow = words_[i] < taken ? 1 : 0;
            words_[i] = static_cast<std::uint32_t>(words_[i] - taken);
        }
        while (used_ != 0 && words_[used_ - 1] == 0) {
            --used_;
        }
    }

private:
    void push(std::uint32_t word) noexcept {
        if (word != 0) {
            words_[used_++] = word;
        }
    }
    // 800 digits over a power of ten of 1,143 are 3,797 bits, aligning adds none: 119 words.
    std::array<std::uint32_t, 140> words_{};
    std::size_t used_ = 0;
};

/// The digits and the exponent of a decimal number: value = digits * 10^exponent.
struct decimal_number {
    big_natural digits;
    std::int64_t digit_count = 0; ///< without leading zeros
    std::int64_t exponent = 0;
    bool negative = false;
};

/// Takes a decimal number apart, from left to right.
class decimal_scanner {
public:
    explicit decimal_scanner(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] std::optional<decimal_number> scan() noexcept {
        number_.negative = skip('-');
        if (!take_digits(0) || (skip('.') && !take_digits(1))) {
            return std::nullopt;
        }
        if ((skip('e') || skip('E')) && !take_exponent()) {
            return std::nullopt;
        }
        if (dropped_) {
            number_.digits.multiply_add(10, 1);
            ++number_.digit_count;
            --number_.exponent;
        }
        return at_ == text_.size() ? std::optional{number_} : std::nullopt;
    }

private:
    // Digits beyond the 800th only decide ties (767 can matter, for halfway cases of the smallest doubles), so a 1 in
    // the 801st place stands for all of them.
    static constexpr std::int64_t most_digits = 800;

    [[nodiscard]] bool is_digit() const noexcept {
        return at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9';
    }
    bool skip(char wanted) noexcept {
        const bool found = at_ < text_.size() && text_[at_] == wanted;
        at_ += found ? 1 : 0;
        return found;
    }
    /// `scale`: by how many powers of ten each digit moves the others (1 after the point).
    [[nodiscard]] bool take_digits(std::int64_t scale) noexcept {
        const std::size_t first = at_;
        for (; is_digit(); ++at_) {
            const auto digit = static_cast<std::uint32_t>(text_[at_] - '0');
            const bool kept = number_.digit_count < most_digits;
            if (kept && (digit != 0 || number_.digit_count != 0)) {
                number_.digits.multiply_add(10, digit);
                ++number_.digit_count;
            }
            dropped_ = dropped_ || (!kept && digit != 0);
            number_.exponent += (kept ? 0 : 1) - scale;
        }
        return at_ > first;
    }
    [[nodiscard]] bool take_exponent() noexcept {
        const bool minus = skip('-');
        if (!minus) {
            skip('+');
        }
        const std::size_t first = at_;
        std::int64_t power = 0;
        for (; is_digit(); ++at_) {
            // Beyond any number of digits that fits memory, so the clamp cannot change a value.
            power = std::min<std::int64_t>(power * 10 + (text_[at_] - '0'), std::int64_t{1} << 56);
        }
        number_.exponent += minus ? -power : power;
        return at_ > first;
    }

    std::string_view text_;
    std::size_t at_ = 0;
    bool dropped_ = false;
    decimal_number number_;
};

/// upper / lower = (quotient + less than one, 0 only if exact) * 2^(power - 63), quotient of 64 bits with the top one
/// set.
struct binary_quotient {
    std::uint64_t quotient = 0;
    int power = 0;
    bool exact = false;
};

/// Schoolbook division, one bit at a time.
[[nodiscard]] inline binary_quotient divide(big_natural upper, big_natural lower) noexcept {
    binary_quotient made;
    made.power = upper.bits() - lower.bits();
    lower.shift_left((std::max)(made.power, 0));
    upper.shift_left((std::max)(-made.power, 0));
    if (!upper.at_least(lower)) {
        upper.shift_left(1);
        --made.power;
    }
    for (int i = 0; i < 64; ++i) {
        const bool one = upper.at_least(lower);
        if (one) {
            upper.subtract(lower);
        }
        made.quotient = (made.quotient << 1) | (one ? 1u : 0u);
        upper.shift_left(1);
    }
    made.exact = upper.is_zero();
    return made;
}

/// The bits of the nearest double, ties to even; nullopt above the largest.
[[nodiscard]] inline std::optional<std::uint64_t> round_to_double_bits(const binary_quotient& value) noexcept {
    // Keep 53 bits, fewer below the smallest normal double; round on what is cut off.
    const int cut = 11 + (std::max)(-1022 - value.power, 0);
    if (cut > 64) {
        return 0;
    }
    const std::uint64_t kept = cut == 64 ? 0 : value.quotient >> cut;
    const std::uint64_t half = std::uint64_t{1} << (cut - 1);
    const std::uint64_t rest = value.quotient & (half | (half - 1));
    const bool up = rest > half || (rest == half && (!value.exact || (kept & 1) != 0));
    const std::uint64_t exponent = value.power >= -1022 ? static_cast<std::uint64_t>(value.power + 1022) << 52 : 0;
    const std::uint64_t bits = exponent + kept + (up ? 1 : 0); // kept brings the leading one: + 1 in the exponent
    constexpr std::uint64_t infinity = 0x7ff0000000000000u;
    return bits < infinity ? std::optional{bits} : std::nullopt;
}

/// The double nearest to |number|, as bits; nullopt above the largest double.
[[nodiscard]] inline std::optional<std::uint64_t> nearest_double_bits(const decimal_number& number) noexcept {
    const std::int64_t magnitude = number.digit_count + number.exponent; // value < 10^magnitude
    if (number.digits.is_zero() || magnitude < -330) {
        return 0;
    }
    if (magnitude > 310) {
        return std::nullopt;
    }
    big_natural upper = number.digits;
    big_natural lower;
    lower.multiply_add(1, 1);
    upper.multiply_by_power_of_ten(number.exponent);
    lower.multiply_by_power_of_ten(-number.exponent);
    return round_to_double_bits(divide(upper, lower));
}

/// The double nearest to all of `text`, ties to even: an optional '-', digits, optionally '.' and digits, optionally an
/// exponent; nullopt if `text` is anything else or exceeds the largest double. Integer arithmetic only, so that
/// neither a locale nor -ffast-math changes a bit; std::from_chars for double is missing in libraries that are in use.
/// Cost: a few microseconds, linear in the text. Proven against std::from_chars by tests/core/decimal_test.cpp.
[[nodiscard]] inline std::optional<double> parse_decimal(std::string_view text) noexcept {
    const auto number = decimal_scanner(text).scan();
    const auto bits = number ? nearest_double_bits(*number) : std::nullopt;
    constexpr std::uint64_t sign = 0x8000000000000000u;
    return bits ? std::optional{std::bit_cast<double>(*bits | (number->negative ? sign : 0))} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
