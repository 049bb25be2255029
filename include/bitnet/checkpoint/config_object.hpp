// SPDX-License-Identifier: MIT
// config_object: a JSON object with members of known types, what is wrong with them, and which were not read.
#ifndef BITNET_CHECKPOINT_CONFIG_OBJECT_HPP
#define BITNET_CHECKPOINT_CONFIG_OBJECT_HPP

#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// An object of config.json that knows which of its members were asked for. What is wrong with any of them is kept in
/// one error, of which the first stays; reading goes on with a value that does no harm.
class config_object {
public:
    /// \param name what error messages call the file \param failure both outlive this
    config_object(json_value object, std::string_view name, error& failure)
        : object_(object), name_(name), failure_(failure) {}

    [[nodiscard]] json_value value() const noexcept { return object_; }

    void fail(errc code, sentence_parts what) {
        if (failure_.code == errc{}) {
            set_error(failure_, code, {name_, ": "}, what);
        }
    }
    void fail_type(std::string_view key, std::string_view wanted, json_value found) {
        fail(errc::wrong_type, {quoted_name(key), " is a JSON ", name_of(found.type()), ", ", wanted, " is needed"});
    }

    // Members. A key lives as long as this.

    /// The value of `key`; nullopt if it is missing or null.
    [[nodiscard]] std::optional<json_value> find(std::string_view key) {
        asked_.push_back(key);
        const auto found = object_.find(key);
        return found && !found->is_null() ? found : std::nullopt;
    }
    [[nodiscard]] std::optional<json_value> need(std::string_view key) {
        const auto found = find(key);
        if (!found) {
            fail(errc::missing_key, {"there is no ", quoted_name(key)});
        }
        return found;
    }

    [[nodiscard]] std::string_view string_or(std::string_view key, std::string_view fallback) {
        const auto value = find(key);
        if (value && !value->as_string()) {
            fail_type(key, "a string", *value);
        }
        return value ? value->as_string().value_or(fallback) : fallback;
    }
    [[nodiscard]] bool bool_or(std::string_view key, bool fallback) {
        const auto value = find(key);
        if (value && !value->as_bool()) {
            fail_type(key, "true or false", *value);
        }
        return value ? value->as_bool().value_or(fallback) : fallback;
    }
    /// A whole number that fits the u32 of GGUF; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::uint32_t size(std::string_view key) {
        const auto value = need(key);
        const auto number = value ? value->as_integer<std::uint32_t>() : std::nullopt;
        if (value && !number) {
            fail_type(key, "a whole number below 2^32", *value);
        }
        return number.value_or(1);
    }
    /// A number that a float can hold. A finite double: JSON has no others.
    [[nodiscard]] double number(std::string_view key) {
        constexpr double largest = 0x1.fffffep127;
        const auto value = need(key);
        const auto found = value ? value->as_double() : std::nullopt;
        if (value && !found) {
            fail_type(key, "a finite number", *value);
        } else if (found && (*found > largest || *found < -largest)) {
            fail(errc::out_of_range, {quoted_name(key), " is beyond what a float can hold"});
        }
        return found.value_or(1.0);
    }
    /// An array of numbers; empty after a failure.
    [[nodiscard]] std::vector<float> numbers(std::string_view key) {
        constexpr double most = 0x1p127; // a float can hold it, and hyper_parameters refuses far less
        std::vector<float> made;
        const auto list = need(key);
        if (!list || !list->is_array()) {
            if (list) {
                fail_type(key, "an array", *list);
            }
            return made;
        }
        for (const json_value each : list->elements()) {
            const auto value = each.as_double();
            if (!value) {
                fail_type(key, "an array of numbers", each);
            }
            made.push_back(static_cast<float>(std::clamp(value.value_or(0), -most, most)));
        }
        return made;
    }
    /// The same of a value within this one.
    [[nodiscard]] config_object within(json_value value) const { return {value, name_, failure_}; }
    /// The object `key`; nullopt if it is missing, null or, after a failure, of another type.
    [[nodiscard]] std::optional<config_object> object(std::string_view key) {
        const auto found = find(key);
        if (found && !found->is_object()) {
            fail_type(key, "an object", *found);
        }
        return found && found->is_object() ? std::optional(within(*found)) : std::nullopt;
    }

    /// Refuses another number than `wanted`.
    void same_or_missing(std::string_view key, double wanted) {
        if (find(key) && number(key) != wanted) {
            fail(errc::unsupported_architecture,
                 {"'", key, "' is ", std::to_string(number(key)), ", only ", std::to_string(wanted), " can be run"});
        }
    }

    /// The members that were not asked for and are not null.
    [[nodiscard]] std::vector<std::string_view> unread() const {
        std::vector<std::string_view> names;
        for (const auto& [name, value] : object_.members()) {
            if (!value.is_null() && std::find(asked_.begin(), asked_.end(), name) == asked_.end()) {
                names.push_back(name);
            }
        }
        return names;
    }
    /// \param name what error messages call this object
    void refuse_unread(std::string_view name) {
        if (const auto names = unread(); !names.empty()) {
            fail(errc::unsupported_architecture, {"'", name, "' has members that are not known: ", listed(names)});
        }
    }

private:
    json_value object_;
    std::string_view name_;
    error& failure_;
    std::vector<std::string_view> asked_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
