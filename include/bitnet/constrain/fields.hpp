// SPDX-License-Identifier: MIT
// field, fields_of, names_of: how a program names the members of its structs and the values of its enums, once.
#ifndef BITNET_CONSTRAIN_FIELDS_HPP
#define BITNET_CONSTRAIN_FIELDS_HPP

#include <bitnet/core/config.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What is asked of a value beyond its type. Those that do not fit the type mean nothing.
struct value_limits {
    std::optional<std::int64_t> minimum = {}; ///< of a number
    std::optional<std::int64_t> maximum = {};
    std::size_t min_size = 0; ///< characters (code points) of a string, elements of a vector
    std::size_t max_size = (std::numeric_limits<std::size_t>::max)();
    std::string_view description = {}; ///< for the model, where the schema is shown to it
};

/// A member of a struct, its key in JSON, and its limits.
template <class Owner, class Member> struct field {
    constexpr field(std::string_view key, Member Owner::*of, value_limits asked = {}) noexcept
        : name(key), member(of), limits(asked) {}

    std::string_view name;
    Member Owner::*member;
    value_limits limits;
};

/// Several fields, in the order in which a model writes them.
template <class... Fields> [[nodiscard]] constexpr std::tuple<Fields...> fields(Fields... each) noexcept {
    return {each...};
}

/// To be specialised for a struct that is to be written and read as a JSON object:
///
///     template <> struct bitnet::fields_of<npc_action> {
///         static constexpr auto list = bitnet::fields(bitnet::field("say", &npc_action::say, {.max_size = 80}),
///                                                     bitnet::field("mood", &npc_action::mood));
///     };
///
/// Members may be bool, integers, floating-point numbers, std::string, enums with names_of, structs with fields_of, and
/// std::optional, std::vector, std::array and std::variant of these. A struct that is an alternative of a variant also
/// has `static constexpr std::string_view name`, which its JSON object has under "type". An optional member may be
/// missing; elsewhere an optional may be null. A struct may contain itself by way of a vector.
template <class T> struct fields_of;

template <class E> struct enum_name {
    std::string_view name;
    E value;
};

/// To be specialised for an enum that is written as a JSON string:
///
///     template <> struct bitnet::names_of<mood> {
///         static constexpr bitnet::enum_name<mood> list[] = {{"calm", mood::calm}, {"angry", mood::angry}};
///     };
template <class E> struct names_of;

namespace detail {

template <class T>
concept character_type = std::same_as<T, char> || std::same_as<T, wchar_t> || std::same_as<T, char8_t> ||
    std::same_as<T, char16_t> || std::same_as<T, char32_t>;
template <class T>
concept json_integer = std::integral<T> && !std::same_as<T, bool> && !character_type<T>;
template <class T>
concept has_fields = requires {
    fields_of<T>::list;
};
template <class T>
concept has_names = requires {
    names_of<T>::list;
};

template <class T> inline constexpr bool is_optional = false;
template <class T> inline constexpr bool is_optional<std::optional<T>> = true;
template <class T> inline constexpr bool is_vector = false;
template <class T> inline constexpr bool is_vector<std::vector<T>> = true;
template <class T> inline constexpr bool is_array = false;
template <class T, std::size_t N> inline constexpr bool is_array<std::array<T, N>> = true;
template <class T> inline constexpr bool is_variant = false;
template <class... T> inline constexpr bool is_variant<std::variant<T...>> = true;

/// False for every T, but only once it is known.
template <class T> inline constexpr bool never = false;

/// The key of an alternative's name.
inline constexpr std::string_view variant_key = "type";

/// Calls each(field) for the fields of T in order.
template <has_fields T, class Each> constexpr void for_each_field(Each&& each) {
    std::apply([&](const auto&... all) { (each(all), ...); }, fields_of<T>::list);
}
template <class Owner, class Member> Member member_type(const field<Owner, Member>&);

/// A number of type T as JSON may have it: from low to high, texts of decimal numbers.
struct number_range {
    std::string low;
    std::string high;
};

/// The numbers of type T within the limits.
template <class T> [[nodiscard]] number_range range_of(const value_limits& limits) {
    number_range made;
    if constexpr (json_integer<T>) {
        made = {std::to_string((std::numeric_limits<T>::min)()), std::to_string((std::numeric_limits<T>::max)())};
    } else if constexpr (sizeof(T) == sizeof(float)) {
        made = {"-3.4028235e38", "3.4028235e38"};
    } else {
        made = {"-1.7976931348623157e308", "1.7976931348623157e308"};
    }
    if constexpr (std::integral<T>) {
        const bool is_low = limits.minimum && std::cmp_greater(*limits.minimum, (std::numeric_limits<T>::min)());
        const bool is_high = limits.maximum && std::cmp_less(*limits.maximum, (std::numeric_limits<T>::max)());
        made.low = is_low ? std::to_string(*limits.minimum) : made.low;
        made.high = is_high ? std::to_string(*limits.maximum) : made.high;
    } else {
        made.low = limits.minimum ? std::to_string(*limits.minimum) : made.low;
        made.high = limits.maximum ? std::to_string(*limits.maximum) : made.high;
    }
    return made;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
