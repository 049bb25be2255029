// SPDX-License-Identifier: MIT
// field_reader: the members of a request's JSON object, each of the type and in the range that it has to have.
#pragma once

#include "api_error.hpp"

#include <bitnet/io/json.hpp>

#include <charconv>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace server {

/// The first field that is wrong is noted, and the caller asks for it once, at the end. A field that is null counts as
/// absent.
class field_reader {
public:
    explicit field_reader(bitnet::json_value object) : object_(object) {
        if (!object.is_object()) {
            refuse({}, "the request must be a JSON object, not " + std::string(bitnet::name_of(object.type())));
        }
    }

    [[nodiscard]] std::optional<bitnet::json_value> find(std::string_view key) const {
        const auto found = object_.find(key);
        return found && !found->is_null() ? found : std::nullopt;
    }
    [[nodiscard]] std::optional<std::string_view> text(std::string_view key) {
        return read(key, "a string", [](bitnet::json_value value) { return value.as_string(); });
    }
    [[nodiscard]] std::optional<bool> flag(std::string_view key) {
        return read(key, "true or false", [](bitnet::json_value value) { return value.as_bool(); });
    }
    [[nodiscard]] std::optional<double> number(std::string_view key, double least, double most) {
        return read(key, "a number from " + spelled(least) + " to " + spelled(most), [=](bitnet::json_value value) {
            const auto number = value.as_double();
            return number && *number >= least && *number <= most ? number : std::nullopt;
        });
    }
    [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key, std::int64_t least, std::int64_t most) {
        const std::string range = "an integer from " + std::to_string(least) + " to " + std::to_string(most);
        return read(key, range, [=](bitnet::json_value value) {
            const auto number = value.as_integer<std::int64_t>();
            return number && *number >= least && *number <= most ? number : std::nullopt;
        });
    }
    [[nodiscard]] std::optional<bitnet::json_value> array(std::string_view key) {
        return read(key, "an array",
                    [](bitnet::json_value value) { return value.is_array() ? std::optional(value) : std::nullopt; });
    }
    [[nodiscard]] std::optional<bitnet::json_value> object(std::string_view key) {
        return read(key, "an object",
                    [](bitnet::json_value value) { return value.is_object() ? std::optional(value) : std::nullopt; });
    }

    /// \param param the field's path
    void refuse(std::string_view param, std::string message) {
        if (!failure_) {
            failure_ = api_error{400, std::move(message), std::string(param), {}};
        }
    }
    void expect(std::string_view param, std::string_view what) {
        refuse(param, "'" + std::string(param) + "' must be " + std::string(what));
    }
    [[nodiscard]] const std::optional<api_error>& failure() const noexcept { return failure_; }

private:
    template <class Read>
    auto read(std::string_view key, std::string_view what, Read as)
        -> decltype(as(std::declval<bitnet::json_value>())) {
        const auto found = find(key);
        if (!found) {
            return std::nullopt;
        }
        auto made = as(*found);
        if (!made) {
            expect(key, what);
        }
        return made;
    }
    [[nodiscard]] static std::string spelled(double number) {
        char digits[32];
        return std::string(digits, std::to_chars(digits, digits + sizeof digits, number).ptr);
    }

    bitnet::json_value object_;
    std::optional<api_error> failure_;
};

} // namespace server
