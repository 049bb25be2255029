// SPDX-License-Identifier: MIT
// from_json, to_json: values of C++ types from JSON texts and back.
#ifndef BITNET_CONSTRAIN_FROM_JSON_HPP
#define BITNET_CONSTRAIN_FROM_JSON_HPP

#include <bitnet/constrain/fields.hpp>
#include <bitnet/constrain/schema_document.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/decimal.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstdio>
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

namespace detail {

/// Reads values out of a JSON text, with a sentence about the first that is not what the type has.
class json_reader {
public:
    explicit json_reader(std::string_view name) : name_(name) {}

    /// \return whether it worked; if not, failure() says why
    template <class T> [[nodiscard]] bool read(json_value from, T& to, const value_limits& limits) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            const auto value = from.as_bool();
            to = value.value_or(false);
            return value || mismatch("true or false", from);
        } else if constexpr (json_integer<T>) {
            return read_integer(from, to, limits);
        } else if constexpr (std::floating_point<T>) {
            return read_number(from, to, limits);
        } else if constexpr (std::same_as<T, std::string>) {
            return read_string(from, to, limits);
        } else if constexpr (std::is_enum_v<T>) {
            return read_name(from, to);
        } else if constexpr (is_optional<T>) {
            to.reset();
            return from.is_null() || read(from, to.emplace(), limits);
        } else if constexpr (is_vector<T>) {
            return read_vector(from, to, limits);
        } else if constexpr (is_array<T>) {
            return read_array(from, to);
        } else if constexpr (is_variant<T>) {
            return read_variant(from, to);
        } else {
            return read_object(from, to, false);
        }
    }

    [[nodiscard]] bool refuse_others(json_value object, std::size_t known) {
        return object.size() == known || fail({"has ", object.size(), " keys, ", known, " of which are known"});
    }
    template <class T>
    [[nodiscard]] bool read_member(json_value object, std::string_view key, T& to, const value_limits& limits,
                                   std::size_t& found) {
        const auto member = object.find(key);
        found += member ? 1u : 0u;
        if (!member) {
            if constexpr (is_optional<T>) {
                to.reset();
                return true;
            }
            return fail({"has no key ", quoted{key}});
        }
        return inside(pointer_step(key), [&] { return read(*member, to, limits); });
    }

    [[nodiscard]] bool mismatch(std::string_view expected, json_value from) {
        return fail({"is of type ", name_of(from.type()), " where ", expected, " is expected"});
    }
    bool fail(sentence_parts what) {
        set_error(failure_, errc::bad_value,
                  {name_, ": ", place_.empty() ? "the value" : std::string_view(shown_place()), " "}, what);
        return false;
    }
    [[nodiscard]] error take_failure() && { return std::move(failure_); }

private:
    [[nodiscard]] std::string shown_place() const {
        std::string made;
        append_quoted(made, place_, 200);
        return made;
    }

    template <class Read> [[nodiscard]] bool inside(std::string_view step, Read&& read) {
        const std::size_t before = place_.size();
        place_ += step;
        const bool is_read = read();
        place_.resize(before);
        return is_read;
    }

    template <class T> [[nodiscard]] bool read_integer(json_value from, T& to, const value_limits& limits) {
        const auto text = from.as_number_text();
        if (!text) {
            return mismatch("an integer", from);
        }
        const auto value = from.as_integer<T>();
        to = value.value_or(T{0});
        const bool fits = value && (!limits.minimum || !std::cmp_less(to, *limits.minimum)) &&
                          (!limits.maximum || !std::cmp_greater(to, *limits.maximum));
        return fits || out_of_range<T>(*text, limits);
    }
    template <class T> [[nodiscard]] bool read_number(json_value from, T& to, const value_limits& limits) {
        const auto text = from.as_number_text();
        if (!text) {
            return mismatch("a number", from);
        }
        const auto value = from.as_double();
        const double number = value.value_or(0.0);
        constexpr double largest = 3.4028234663852886e38; // of a float; written with few digits it is a little more
        constexpr double most = 3.4028235e38;
        const bool fits = value && (sizeof(T) != sizeof(float) || (number >= -most && number <= most));
        const double within = sizeof(T) != sizeof(float) ? number : (std::max)((std::min)(number, largest), -largest);
        to = static_cast<T>(fits ? within : 0.0);
        const bool is_allowed = fits && (!limits.minimum || number >= static_cast<double>(*limits.minimum)) &&
                                (!limits.maximum || number <= static_cast<double>(*limits.maximum));
        return is_allowed || out_of_range<T>(*text, limits);
    }
    template <class T> [[nodiscard]] bool out_of_range(std::string_view text, const value_limits& limits) {
        const number_range range = range_of<T>(limits);
        const std::string_view kind = json_integer<T> ? "an integer from " : "a number from ";
        return fail({"is ", quoted{text}, " where ", kind, range.low, " to ", range.high, " is expected"});
    }

    [[nodiscard]] bool read_string(json_value from, std::string& to, const value_limits& limits) {
        const auto value = from.as_string();
        if (!value) {
            return mismatch("a string", from);
        }
        to = *value;
        std::size_t characters = 0;
        for (const char c : to) {
            characters += (static_cast<unsigned char>(c) & 0xc0u) != 0x80u ? 1u : 0u;
        }
        return check_size(characters, "characters", limits);
    }
    [[nodiscard]] bool check_size(std::size_t size, std::string_view of_what, const value_limits& limits) {
        return (size >= limits.min_size && size <= limits.max_size) ||
               (size < limits.min_size
                    ? fail({"has ", size, " ", of_what, ", at least ", limits.min_size, " are expected"})
                    : fail({"has ", size, " ", of_what, ", at most ", limits.max_size, " are expected"}));
    }

    template <class E> [[nodiscard]] bool read_name(json_value from, E& to) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        const auto value = from.as_string();
        if (!value) {
            return mismatch("a string", from);
        }
        for (const auto& each : names_of<E>::list) {
            if (each.name == *value) {
                to = each.value;
                return true;
            }
        }
        return fail({"is ", quoted{*value}, ", which is none of its names"});
    }

    template <class T> [[nodiscard]] bool read_vector(json_value from, std::vector<T>& to, const value_limits& limits) {
        if (!from.is_array()) {
            return mismatch("an array", from);
        }
        to.clear();
        to.reserve(from.size());
        for (const json_value each : from.elements()) {
            T element{};
            if (!inside("/" + std::to_string(to.size()), [&] { return read(each, element, {}); })) {
                return false;
            }
            to.push_back(std::move(element));
        }
        return check_size(to.size(), "elements", limits);
    }
    template <class T, std::size_t N> [[nodiscard]] bool read_array(json_value from, std::array<T, N>& to) {
        if (!from.is_array()) {
            return mismatch("an array", from);
        }
        if (from.size() != N) {
            return fail({"has ", from.size(), " elements, ", N, " are expected"});
        }
        std::size_t i = 0;
        for (const json_value each : from.elements()) {
            if (!inside("/" + std::to_string(i), [&] { return read(each, to[i], {}); })) {
                return false;
            }
            ++i;
        }
        return true;
    }

    template <class... T> [[nodiscard]] bool read_variant(json_value from, std::variant<T...>& to) {
        if (!from.is_object()) {
            return mismatch("an object", from);
        }
        const auto tag = from.find(variant_key);
        const auto name = tag ? tag->as_string() : std::nullopt;
        if (!name) {
            return fail({"has no key ", quoted{variant_key}, " with a string"});
        }
        bool is_known = false;
        bool is_read = false;
        const auto read_one = [&]<class One>() {
            if (!is_known && fields_of<One>::name == *name) {
                is_known = true;
                is_read = read_object(from, to.template emplace<One>(), true);
            }
        };
        (read_one.template operator()<T>(), ...);
        return is_read || (!is_known && fail({"has the type ", quoted{*name}, ", which is none of its types"}));
    }

    template <class T> [[nodiscard]] bool read_object(json_value from, T& to, bool has_tag) {
        static_assert(has_fields<T>, "specialise bitnet::fields_of for this type");
        if (!from.is_object()) {
            return mismatch("an object", from);
        }
        std::size_t found = has_tag ? 1 : 0;
        bool is_read = true;
        for_each_field<T>([&](const auto& each) {
            is_read = is_read && read_member(from, each.name, to.*each.member, each.limits, found);
        });
        return is_read && refuse_others(from, found);
    }

    std::string_view name_;
    std::string place_; ///< a JSON pointer
    error failure_;
};

/// Writes values as JSON texts, in pure ASCII.
class json_value_writer {
public:
    template <class T> void write(const T& value) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            text_ += value ? "true" : "false";
        } else if constexpr (json_integer<T>) {
            text_ += std::to_string(value);
        } else if constexpr (std::floating_point<T>) {
            write_number(static_cast<double>(value), sizeof(T) == sizeof(float));
        } else if constexpr (std::same_as<T, std::string> || std::same_as<T, std::string_view>) {
            append_json_string(text_, value);
        } else if constexpr (std::is_enum_v<T>) {
            write_name(value);
        } else if constexpr (is_optional<T>) {
            value ? write(*value) : void(text_ += "null");
        } else if constexpr (is_vector<T> || is_array<T>) {
            write_elements(value);
        } else if constexpr (is_variant<T>) {
            std::visit([&]<class One>(const One& one) { write_object(one, fields_of<One>::name); }, value);
        } else {
            write_object(value, {});
        }
    }
    [[nodiscard]] std::string take() && { return std::move(text_); }

private:
    /// With as few digits as give the number back; null if it is not finite, which JSON does not know.
    void write_number(double value, bool is_float) {
        constexpr std::uint64_t exponent = 0x7ff0000000000000u;
        if ((std::bit_cast<std::uint64_t>(value) & exponent) == exponent) {
            text_ += "null";
            return;
        }
        char digits[40];
        const auto is_same = [&](double other) {
            return is_float ? static_cast<float>(other) == static_cast<float>(value) : other == value;
        };
        int size = 0;
        for (int precision = is_float ? 6 : 15; precision <= 17; ++precision) {
            size = std::snprintf(digits, sizeof digits, "%.*g", precision, value);
            for (int i = 0; i < size; ++i) { // the locale's point
                const char c = digits[i];
                digits[i] = (c >= '0' && c <= '9') || c == '-' || c == '+' || c == 'e' ? c : '.';
            }
            const auto read = parse_decimal({digits, static_cast<std::size_t>(size)});
            if (read && is_same(*read)) {
                break;
            }
        }
        text_.append(digits, static_cast<std::size_t>(size));
    }

    template <class E> void write_name(E value) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        for (const auto& each : names_of<E>::list) {
            if (each.value == value) {
                append_json_string(text_, each.name);
                return;
            }
        }
        text_ += "null"; // a value without a name
    }
    template <class List> void write_elements(const List& list) {
        text_ += '[';
        bool is_first = true;
        for (const auto& each : list) {
            text_ += is_first ? "" : ",";
            write<typename List::value_type>(each);
            is_first = false;
        }
        text_ += ']';
    }
    template <class T> void write_object(const T& value, std::string_view name) {
        static_assert(has_fields<T>, "specialise bitnet::fields_of for this type");
        text_ += '{';
        bool is_first = name.empty();
        if (!name.empty()) {
            text_.append("\"").append(variant_key).append("\":");
            append_json_string(text_, name);
        }
        for_each_field<T>([&](const auto& each) {
            const auto& member = value.*each.member;
            if constexpr (is_optional<std::remove_cvref_t<decltype(member)>>) {
                if (!member) {
                    return;
                }
            }
            text_ += is_first ? "" : ",";
            is_first = false;
            append_json_string(text_, each.name);
            text_ += ':';
            write(member);
        });
        text_ += '}';
    }

    std::string text_;
};

/// As deep as JSON is read.
inline constexpr json_options deep_json{.depth = 1024};
/// The same for what a model writes, whose grammar lets a free key come again.
inline constexpr json_options written_json{.depth = 1024, .last_of_key = true};

} // namespace detail

/// The value of a JSON text: what grammar::of<T>() lets pass, and other texts with the same values, with keys in any
/// order. T needs a default constructor.
/// \return errc::bad_json, errc::bad_utf8; errc::bad_value with the JSON pointer of a value of another type or outside
/// its limits, of an object where a key is missing or unknown; errc::out_of_memory.
template <class T>
[[nodiscard]] result<T> from_json(std::string_view text, const value_limits& limits = {},
                                  std::string_view name = "JSON") {
    return detail::guarded([&]() -> result<T> {
        const auto json = json_document::parse(text, name, detail::deep_json);
        if (!json) {
            return failed(json);
        }
        T made{};
        detail::json_reader reader(name);
        if (!reader.read(json->root(), made, limits)) {
            return std::move(reader).take_failure();
        }
        return made;
    });
}

/// A value as a JSON text in pure ASCII, which from_json<T>() gives back; numbers that are not finite, and values of
/// enums without a name, become null. \return errc::out_of_memory.
template <class T> [[nodiscard]] result<std::string> to_json(const T& value) {
    return detail::guarded([&]() -> result<std::string> {
        detail::json_value_writer writer;
        writer.write(value);
        return std::move(writer).take();
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
