// SPDX-License-Identifier: MIT
// schema_of: the JSON Schema of a C++ type. Defines grammar::of.
#ifndef BITNET_CONSTRAIN_TYPE_SCHEMA_HPP
#define BITNET_CONSTRAIN_TYPE_SCHEMA_HPP

#include <bitnet/constrain/fields.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/json.hpp>

#include <concepts>
#include <cstddef>
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

/// The alternative T of a variant: an object with its name under "type".
template <class T> struct tagged {};

/// Writes the JSON Schema of a type. The structs that it is inside of are a list of types, `Open`, the innermost first:
/// where one of them comes again, a reference to its place is written.
class type_schema_writer {
public:
    /// \param place of the schema in the document, such as #
    explicit type_schema_writer(std::string place) : place_(std::move(place)) {}

    template <class T, class... Open> void write(const value_limits& limits) {
        static_assert(!character_type<T>, "a character is no JSON value: take std::string");
        if constexpr (std::same_as<T, bool>) {
            plain("boolean", limits);
        } else if constexpr (json_integer<T> || std::floating_point<T>) {
            const number_range range = range_of<T>(limits);
            begin(json_integer<T> ? "integer" : "number", limits);
            text_.append(",\"minimum\":").append(range.low).append(",\"maximum\":").append(range.high).append("}");
        } else if constexpr (std::same_as<T, std::string>) {
            begin("string", limits);
            sizes("Length", limits.min_size, limits.max_size);
            text_ += '}';
        } else if constexpr (std::is_enum_v<T>) {
            names<T>(limits);
        } else if constexpr (is_optional<T>) {
            choice_of<T>(limits, [&] {
                inside("/anyOf/0", [&] { write<typename T::value_type, Open...>(limits); });
                text_ += ",{\"type\":\"null\"}";
            });
        } else if constexpr (is_vector<T> || is_array<T>) {
            elements<T, Open...>(limits);
        } else if constexpr (is_variant<T>) {
            choice_of<T>(limits, [&] { alternatives<Open...>(static_cast<const T*>(nullptr)); });
        } else if constexpr ((std::same_as<T, Open> || ...)) {
            reference(index_of<T, Open...>());
        } else {
            object<T, Open...>(limits);
        }
    }

    [[nodiscard]] std::string take() && { return std::move(text_); }

    /// From the place of an object's schema to that of one of its keys.
    [[nodiscard]] static std::string property_step(std::string_view key) { return "/properties" + step_of(key); }

private:
    template <class T, class First, class... Rest> [[nodiscard]] static constexpr std::size_t index_of() noexcept {
        if constexpr (std::same_as<T, First>) {
            return 0;
        } else {
            return 1 + index_of<T, Rest...>();
        }
    }

    void description_of(const value_limits& limits) {
        if (!limits.description.empty()) {
            text_ += "\"description\":";
            append_json_string(text_, limits.description);
            text_ += ',';
        }
    }
    void begin(std::string_view type, const value_limits& limits) {
        text_ += '{';
        description_of(limits);
        text_.append("\"type\":\"").append(type).append("\"");
    }
    void plain(std::string_view type, const value_limits& limits) {
        begin(type, limits);
        text_ += '}';
    }
    void sizes(std::string_view of, std::size_t least, std::size_t most) {
        if (least != 0) {
            text_.append(",\"min").append(of).append("\":").append(std::to_string(least));
        }
        if (most != (std::numeric_limits<std::size_t>::max)()) {
            text_.append(",\"max").append(of).append("\":").append(std::to_string(most));
        }
    }
    void reference(std::size_t outwards) {
        text_ += "{\"$ref\":";
        append_json_string(text_, open_[open_.size() - 1 - outwards]);
        text_ += '}';
    }

    /// write() at a place below this one.
    template <class Write> void inside(std::string_view step, Write&& write) {
        const std::size_t before = place_.size();
        place_ += step;
        write();
        place_.resize(before);
    }
    /// A key as a step of a JSON pointer in a URI.
    [[nodiscard]] static std::string step_of(std::string_view key) {
        constexpr std::string_view digits = "0123456789ABCDEF";
        std::string made;
        for (const char c : pointer_step(key)) {
            const auto byte = static_cast<unsigned char>(c);
            const bool is_plain = (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                                  std::string_view("-._~/").find(c) != std::string_view::npos;
            if (is_plain) {
                made += c;
            } else {
                made += '%';
                made += digits[byte >> 4];
                made += digits[byte & 15];
            }
        }
        return made;
    }

    template <class E> void names(const value_limits& limits) {
        static_assert(has_names<E>, "specialise bitnet::names_of for this enum");
        text_ += '{';
        description_of(limits);
        text_ += "\"enum\":[";
        bool is_first = true;
        for (const auto& each : names_of<E>::list) {
            text_ += is_first ? "" : ",";
            append_json_string(text_, each.name);
            is_first = false;
        }
        text_ += "]}";
    }

    template <class T, class Write> void choice_of(const value_limits& limits, Write&& write) {
        text_ += '{';
        description_of(limits);
        text_ += "\"anyOf\":[";
        write();
        text_ += "]}";
    }

    template <class T, class... Open> void elements(const value_limits& limits) {
        begin("array", limits);
        text_ += ",\"items\":";
        inside("/items", [&] { write<typename T::value_type, Open...>({}); });
        if constexpr (is_array<T>) {
            sizes("Items", std::tuple_size_v<T>, std::tuple_size_v<T>);
        } else {
            sizes("Items", limits.min_size, limits.max_size);
        }
        text_ += '}';
    }

    template <class... Open, class... T> void alternatives(const std::variant<T...>*) {
        std::size_t number = 0;
        const auto write_one = [&]<class One>() {
            text_ += number == 0 ? "" : ",";
            inside("/anyOf/" + std::to_string(number), [&] { write<tagged<One>, Open...>({}); });
            ++number;
        };
        (write_one.template operator()<T>(), ...);
    }

    template <class T> struct content_of { using type = T; };
    template <class T> struct content_of<tagged<T>> { using type = T; };

    /// \param T a struct, or tagged<one>
    template <class T, class... Open> void object(const value_limits& limits) {
        using content = typename content_of<T>::type;
        constexpr bool has_tag = !std::same_as<T, content>;
        static_assert(has_fields<content>, "specialise bitnet::fields_of for this type");
        open_.push_back(place_);
        begin("object", limits);
        text_ += ",\"properties\":{";
        std::string required;
        if constexpr (has_tag) {
            text_.append("\"").append(variant_key).append("\":{\"const\":");
            append_json_string(text_, fields_of<content>::name);
            text_ += '}';
            append_json_string(required, variant_key);
        }
        bool is_first = !has_tag;
        for_each_field<content>([&](const auto& each) {
            using member = decltype(member_type(each));
            text_ += is_first ? "" : ",";
            is_first = false;
            append_json_string(text_, each.name);
            text_ += ':';
            inside(property_step(each.name), [&] { write_member<member, T, Open...>(each.limits); });
            if constexpr (!is_optional<member>) {
                required += required.empty() ? "" : ",";
                append_json_string(required, each.name);
            }
        });
        text_.append("},\"required\":[").append(required).append("],\"additionalProperties\":false}");
        open_.pop_back();
    }
    /// An optional member is one that may be missing.
    template <class T, class... Open> void write_member(const value_limits& limits) {
        if constexpr (is_optional<T>) {
            write<typename T::value_type, Open...>(limits);
        } else {
            write<T, Open...>(limits);
        }
    }

    std::string text_;
    std::string place_;
    std::vector<std::string> open_; ///< places of the structs that are open, the outermost first
};

} // namespace detail

/// The JSON Schema of the texts that from_json<T>() reads: to be shown to a model, or for grammar::json_schema.
template <class T> [[nodiscard]] result<std::string> schema_of(const value_limits& limits = {}) {
    return detail::guarded([&]() -> result<std::string> {
        detail::type_schema_writer writer("#");
        writer.write<T>(limits);
        return std::move(writer).take();
    });
}

template <class T> result<grammar> grammar::of(const value_limits& limits) {
    auto schema = schema_of<T>(limits);
    return schema ? json_schema(*schema, schema_options{}, "type") : failed(schema);
}
template <class T> result<grammar> grammar::of() { return of<T>(value_limits{}); }

} // namespace bitnet::inline BITNET_ABI

#endif
