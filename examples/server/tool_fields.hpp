// SPDX-License-Identifier: MIT
// tool_fields: the functions that a request declares, and whether they may or have to be called.
#pragma once

#include "field_reader.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/python_json.hpp>

#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace server {

struct tool_fields {
    struct function {
        std::string name;
        std::string description;
        std::string parameters; ///< JSON Schema
    };
    std::vector<function> functions = {};
    bitnet::tool_choice choice = {}; ///< `name` is in `named`
    std::string named = {};

    [[nodiscard]] bool is_used() const noexcept { return !functions.empty(); }
    [[nodiscard]] bool contains(std::string_view name) const noexcept {
        return std::any_of(functions.begin(), functions.end(), [&](const function& f) { return f.name == name; });
    }
};

namespace detail {

inline std::string_view text_of(std::optional<bitnet::json_value> value) {
    return value ? value->as_string().value_or("") : std::string_view();
}

inline bool is_function_name(std::string_view name) {
    const auto is_allowed = [](char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    };
    return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), is_allowed);
}

inline void read_function(field_reader& fields, bitnet::json_value tool, std::size_t number, tool_fields& made) {
    const std::string place = "tools[" + std::to_string(number) + "]";
    const auto function = tool.find("function");
    if (text_of(tool.find("type")) != "function" || !function || !function->is_object()) {
        fields.expect(place, "of type function, with a member function");
        return;
    }
    const auto name = text_of(function->find("name"));
    if (!is_function_name(name) || made.contains(name)) {
        fields.expect(place + ".function.name", "1 to 64 letters, digits, _ and -, and another one than before");
        return;
    }
    tool_fields::function read{std::string(name), std::string(text_of(function->find("description"))), {}};
    const auto parameters = function->find("parameters");
    if (parameters && !parameters->is_null()) {
        if (!parameters->is_object()) {
            fields.expect(place + ".function.parameters", "a JSON Schema of an object");
            return;
        }
        bitnet::detail::append_python_json(read.parameters, *parameters);
    } else {
        read.parameters = R"({"type":"object","properties":{}})";
    }
    made.functions.push_back(std::move(read));
}

inline bool read_mode(std::string_view word, bitnet::tool_choice& choice) {
    using bitnet::tool_mode;
    choice.mode = word == "none" ? tool_mode::none : word == "required" ? tool_mode::required : tool_mode::automatic;
    return word == "none" || word == "required" || word == "auto";
}

/// Those that are not in the list go.
inline bool keep_allowed(std::optional<bitnet::json_value> list, tool_fields& made) {
    if (!list || !list->is_array()) {
        return false;
    }
    std::erase_if(made.functions, [&](const tool_fields::function& each) {
        for (const bitnet::json_value tool : list->elements()) {
            const auto function = tool.find("function");
            if (function && text_of(function->find("name")) == each.name) {
                return false;
            }
        }
        return true;
    });
    return !made.functions.empty();
}

inline bool read_choice(bitnet::json_value given, tool_fields& made) {
    if (const auto word = given.as_string()) {
        return read_mode(*word, made.choice);
    }
    const auto type = text_of(given.find("type"));
    if (type == "allowed_tools") {
        const auto inner = given.find("allowed_tools");
        return inner && read_mode(text_of(inner->find("mode")), made.choice) &&
               keep_allowed(inner->find("tools"), made);
    }
    const auto function = given.find("function");
    made.named = function ? text_of(function->find("name")) : std::string_view();
    made.choice.mode = bitnet::tool_mode::named;
    return type == "function" && made.contains(made.named);
}

} // namespace detail

inline void read_tools(field_reader& fields, tool_fields& made) {
    const auto tools = fields.array("tools");
    std::size_t number = 0;
    if (tools && tools->size() > 128) {
        fields.expect("tools", "an array of at most 128 functions");
        return;
    }
    if (tools) {
        for (const bitnet::json_value each : tools->elements()) {
            detail::read_function(fields, each, number++, made);
        }
    }
    const auto choice = fields.find("tool_choice");
    made.choice.parallel = fields.flag("parallel_tool_calls").value_or(true);
    if (choice && !fields.failure() && !detail::read_choice(*choice, made)) {
        fields.expect("tool_choice", "none, auto, required, or one of the tools that are given");
    }
    if (!made.is_used() && (made.choice.mode == bitnet::tool_mode::required)) {
        fields.refuse("tool_choice", "'tool_choice' requires a call, and there are no 'tools'");
    }
    if (made.choice.mode == bitnet::tool_mode::required || made.choice.mode == bitnet::tool_mode::named) {
        made.choice.parallel = false; // the one that is required
    }
}

} // namespace server
