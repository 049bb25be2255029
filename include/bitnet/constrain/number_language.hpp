// SPDX-License-Identifier: MIT
// Languages of JSON numbers by their values: bounds, multiples, exact at any size. Written without exponents.
#ifndef BITNET_CONSTRAIN_NUMBER_LANGUAGE_HPP
#define BITNET_CONSTRAIN_NUMBER_LANGUAGE_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

inline constexpr std::string_view number_alphabet = "-.0123456789";

/// A decimal number, exactly: digits before and after the point, without zeros that mean nothing.
struct exact_decimal {
    bool is_negative = false;
    std::string whole;    ///< empty for 0
    std::string fraction; ///< empty for whole numbers

    [[nodiscard]] bool is_zero() const noexcept { return whole.empty() && fraction.empty(); }
    [[nodiscard]] std::string text() const {
        const std::string digits = whole.empty() ? "0" : whole;
        return (is_negative && !is_zero() ? "-" : "") + digits + (fraction.empty() ? "" : "." + fraction);
    }
};

/// The value of a JSON number; nullopt where it takes more than 4,096 digits.
[[nodiscard]] inline std::optional<exact_decimal> read_decimal(std::string_view text) {
    constexpr std::int64_t most_digits = 4096;
    exact_decimal made;
    made.is_negative = !text.empty() && text[0] == '-';
    text.remove_prefix(made.is_negative ? 1 : 0);
    const std::size_t exponent_at = (std::min)(text.find_first_of("eE"), text.size());
    std::int64_t exponent = 0;
    bool is_small = false;
    for (const char c : text.substr(exponent_at)) {
        is_small = is_small || c == '-';
        exponent = c >= '0' && c <= '9' ? (std::min)(exponent * 10 + (c - '0'), std::int64_t{1} << 40) : exponent;
    }
    const std::string_view mantissa = text.substr(0, exponent_at);
    const std::size_t point = (std::min)(mantissa.find('.'), mantissa.size());
    std::string digits(mantissa.substr(0, point));
    digits += mantissa.substr((std::min)(point + 1, mantissa.size()));
    std::int64_t whole = static_cast<std::int64_t>(point) + (is_small ? -exponent : exponent);
    const std::size_t first = (std::min)(digits.find_first_not_of('0'), digits.size());
    digits.erase(0, first);
    whole -= static_cast<std::int64_t>(first);
    digits.erase(digits.find_last_not_of('0') + 1);
    if (digits.empty()) {
        return exact_decimal{};
    }
    if (whole > most_digits || whole < -most_digits || static_cast<std::int64_t>(digits.size()) > most_digits) {
        return std::nullopt;
    }
    const auto places = static_cast<std::int64_t>(digits.size());
    made.whole = digits.substr(0, static_cast<std::size_t>((std::max)(whole, std::int64_t{0})));
    made.whole.append(static_cast<std::size_t>((std::max)(whole - places, std::int64_t{0})), '0');
    made.fraction = std::string(static_cast<std::size_t>((std::max)(-whole, std::int64_t{0})), '0') +
                    (whole < places ? digits.substr(static_cast<std::size_t>((std::max)(whole, std::int64_t{0}))) : "");
    return made;
}

/// Which numbers are meant by their order to a bound.
struct number_relation {
    bool less = false;
    bool equal = false;
    bool greater = false;
};

/// How far a JSON number has been read.
enum class number_phase : std::uint8_t { start, minus, zero, digits, point, fraction };

/// The phase after `c`; nullopt where no JSON number goes on so.
[[nodiscard]] constexpr std::optional<number_phase> phase_after(number_phase phase, char c) noexcept {
    const bool is_digit = c >= '0' && c <= '9';
    if (c == '-') {
        return phase == number_phase::start ? std::optional{number_phase::minus} : std::nullopt;
    }
    if (c == '.') {
        const bool is_whole = phase == number_phase::zero || phase == number_phase::digits;
        return is_whole ? std::optional{number_phase::point} : std::nullopt;
    }
    if (!is_digit || phase == number_phase::zero) {
        return std::nullopt;
    }
    if (phase == number_phase::start || phase == number_phase::minus) {
        return c == '0' ? number_phase::zero : number_phase::digits;
    }
    return phase == number_phase::digits ? number_phase::digits : number_phase::fraction;
}
[[nodiscard]] constexpr bool is_number_end(number_phase phase) noexcept {
    return phase == number_phase::zero || phase == number_phase::digits || phase == number_phase::fraction;
}

/// Numbers that are less than, equal to or greater than a bound, digit by digit.
class bound_machine {
public:
    struct state {
        number_phase phase = number_phase::start;
        bool is_negative = false;
        std::int8_t order = 0;   ///< of the digits so far to those of the bound
        std::uint32_t place = 0; ///< digits read of this part, as far as the bound has them and one more

        [[nodiscard]] auto operator<=>(const state&) const noexcept = default;
    };

    bound_machine(const exact_decimal& bound, number_relation wanted) : bound_(bound), wanted_(wanted) {}

    [[nodiscard]] state start() const noexcept { return {}; }
    [[nodiscard]] std::optional<state> next(const state& from, char c) const noexcept {
        const auto phase = phase_after(from.phase, c);
        if (!phase) {
            return std::nullopt;
        }
        state to = from;
        to.phase = *phase;
        to.is_negative = from.is_negative || c == '-';
        if (*phase == number_phase::point) {
            to.order = static_cast<std::int8_t>(order_of_whole(from));
            to.place = 0;
        } else if (*phase == number_phase::digits || *phase == number_phase::fraction) {
            const std::string& digits = *phase == number_phase::digits ? bound_.whole : bound_.fraction;
            const bool is_open = to.order == 0 && (*phase == number_phase::fraction || to.place < digits.size());
            const char other = to.place < digits.size() ? digits[to.place] : '0';
            to.order = !is_open ? to.order : static_cast<std::int8_t>(c < other ? -1 : c > other ? 1 : 0);
            const bool is_counted = *phase == number_phase::digits || to.order == 0;
            to.place = is_counted ? (std::min)(to.place + 1, static_cast<std::uint32_t>(digits.size()) + 1) : 0;
        }
        return to;
    }
    [[nodiscard]] bool is_final(const state& at) const noexcept {
        if (!is_number_end(at.phase)) {
            return false;
        }
        const int size = order_of_size(at);
        int order = at.is_negative ? -size : size;
        if (at.is_negative != (bound_.is_negative && !bound_.is_zero())) {
            const bool are_zero = bound_.is_zero() && size == 0;
            order = are_zero ? 0 : at.is_negative ? -1 : 1;
        }
        return order < 0 ? wanted_.less : order > 0 ? wanted_.greater : wanted_.equal;
    }

private:
    [[nodiscard]] int order_of_whole(const state& at) const noexcept {
        const std::size_t places = at.phase == number_phase::zero ? 0 : at.place;
        const std::size_t wanted = bound_.whole.size();
        return places < wanted ? -1 : places > wanted ? 1 : static_cast<int>(at.order);
    }
    /// The order of the absolute values.
    [[nodiscard]] int order_of_size(const state& at) const noexcept {
        if (at.phase != number_phase::fraction) {
            const int whole = order_of_whole(at);
            return whole != 0 || bound_.fraction.empty() ? whole : -1;
        }
        return at.order != 0 || at.place >= bound_.fraction.size() ? static_cast<int>(at.order) : -1;
    }

    const exact_decimal& bound_;
    number_relation wanted_;
};

/// Multiples of step / 10^places, by the remainder of the digits so far.
class multiple_machine {
public:
    struct state {
        number_phase phase = number_phase::start;
        std::uint32_t rest = 0;
        std::uint32_t place = 0; ///< digits behind the point

        [[nodiscard]] auto operator<=>(const state&) const noexcept = default;
    };

    multiple_machine(std::uint32_t step, std::uint32_t places) : step_(step), places_(places) {}

    [[nodiscard]] state start() const noexcept { return {}; }
    [[nodiscard]] std::optional<state> next(const state& from, char c) const noexcept {
        const auto phase = phase_after(from.phase, c);
        if (!phase) {
            return std::nullopt;
        }
        state to = from;
        to.phase = *phase;
        if (c == '-' || c == '.') {
            return to;
        }
        if (*phase == number_phase::fraction && from.place == places_) {
            return c == '0' ? std::optional{to} : std::nullopt;
        }
        to.rest = (from.rest * 10 + static_cast<std::uint32_t>(c - '0')) % step_;
        to.place = from.place + (*phase == number_phase::fraction ? 1 : 0);
        return to;
    }
    [[nodiscard]] bool is_final(const state& at) const noexcept {
        std::uint32_t rest = at.rest;
        for (std::uint32_t place = at.place; place < places_; ++place) {
            rest = rest * 10 % step_;
        }
        return is_number_end(at.phase) && rest == 0;
    }

private:
    std::uint32_t step_;
    std::uint32_t places_;
};

/// nullopt where it takes too many states.
[[nodiscard]] inline std::optional<automaton> numbers_by(const exact_decimal& bound, number_relation wanted) {
    return explored(bound_machine(bound, wanted), number_alphabet);
}
/// nullopt where the remainders are more than 4,096.
[[nodiscard]] inline std::optional<automaton> multiples_of(const exact_decimal& step) {
    constexpr std::uint64_t most_states = 4096;
    const std::string digits = step.whole + step.fraction;
    std::uint64_t value = 0;
    for (const char c : digits) {
        value = (std::min)(value * 10 + static_cast<std::uint64_t>(c - '0'), std::uint64_t{1} << 40);
    }
    if (value == 0 || value * (step.fraction.size() + 1) > most_states) {
        return std::nullopt;
    }
    return explored(
        multiple_machine(static_cast<std::uint32_t>(value), static_cast<std::uint32_t>(step.fraction.size())),
        number_alphabet);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
