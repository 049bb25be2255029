// SPDX-License-Identifier: MIT
// chat_request: what /v1/chat/completions was asked, read and checked.
#pragma once

#include "field_reader.hpp"
#include "sampling_fields.hpp"
#include "tool_fields.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/python_json.hpp>

#include <algorithm>
#include <cstddef>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace server {

struct chat_request {
    std::vector<bitnet::conversation_turn> turns = {};
    std::string begun = {}; ///< a last message of the assistant's, which is to be continued
    sampling_fields sampling = {};
    bool logprobs = false;
    std::size_t top_logprobs = 0;
    std::optional<std::string> schema = {};  ///< JSON Schema that the answer follows
    std::optional<std::string> grammar = {}; ///< GBNF that it follows
    tool_fields tools = {};
};

namespace detail {

/// A message's text: a string, or parts of type text, joined. nullopt: what is wrong is noted.
inline std::optional<std::string> read_content(field_reader& fields, bitnet::json_value message,
                                               const std::string& place, bool may_lack) {
    const auto content = message.find("content");
    if (!content || content->is_null()) {
        if (!may_lack) {
            fields.refuse(place + ".content", "'" + place + ".content' is missing");
        }
        return std::string();
    }
    if (const auto text = content->as_string()) {
        return std::string(*text);
    }
    if (!content->is_array()) {
        fields.expect(place + ".content", "a string or an array of parts");
        return std::nullopt;
    }
    std::string joined;
    for (const bitnet::json_value part : content->elements()) {
        const auto type = part.find("type");
        const auto name = type ? type->as_string() : std::nullopt;
        const auto text = part.find("text");
        const auto value = text ? text->as_string() : std::nullopt;
        if (name == std::optional<std::string_view>("refusal")) {
            continue;
        }
        if (name != std::optional<std::string_view>("text") || !value) {
            fields.refuse(place + ".content", "'" + place + ".content': parts of type \"" +
                                                  std::string(name.value_or("?").substr(0, 64)) +
                                                  "\" are not possible here, {\"type\":\"text\",\"text\":...} is");
            return std::nullopt;
        }
        joined += *value;
    }
    return joined;
}

inline void read_calls(field_reader& fields, bitnet::json_value message, const std::string& place,
                       std::vector<bitnet::conversation_turn::call>& calls) {
    const auto given = message.find("tool_calls");
    if (!given || given->is_null()) {
        return;
    }
    for (const bitnet::json_value each : given->elements()) {
        const auto function = each.find("function");
        const auto name = function ? function->find("name") : std::nullopt;
        const auto arguments = function ? function->find("arguments") : std::nullopt;
        if (!name || !name->as_string() || !arguments || !arguments->as_string()) {
            fields.expect(place + ".tool_calls", "an array of calls, each with function.name and function.arguments");
            return;
        }
        calls.push_back({std::string(*name->as_string()), std::string(*arguments->as_string())});
    }
    if (!given->is_array()) {
        fields.expect(place + ".tool_calls", "an array");
    }
}

inline void read_message(field_reader& fields, bitnet::json_value message, std::size_t number, chat_request& made) {
    const std::string place = "messages[" + std::to_string(number) + "]";
    const auto role = message.find("role");
    const auto name = role ? role->as_string() : std::nullopt;
    constexpr std::string_view known[] = {"system", "developer", "user", "assistant", "tool"};
    if (!name || std::find(std::begin(known), std::end(known), *name) == std::end(known)) {
        fields.expect(place + ".role", "one of system, developer, user, assistant and tool");
        return;
    }
    bitnet::conversation_turn turn;
    turn.role = *name == "developer" ? "system" : *name;
    if (*name == "assistant") {
        read_calls(fields, message, place, turn.calls);
    }
    auto content = read_content(fields, message, place, *name == "assistant");
    turn.text = content ? *std::move(content) : std::string();
    made.turns.push_back(std::move(turn));
}

inline void read_messages(field_reader& fields, chat_request& made) {
    const auto messages = fields.array("messages");
    if (!messages || messages->size() == 0) {
        fields.expect("messages", "an array of messages, one at least");
        return;
    }
    std::size_t number = 0;
    for (const bitnet::json_value each : messages->elements()) {
        read_message(fields, each, number++, made);
        if (fields.failure()) {
            return;
        }
    }
    if (const auto& last = made.turns.back(); last.role == "assistant" && last.calls.empty()) {
        made.begun = last.text;
        made.turns.pop_back();
    }
}

inline void read_format(field_reader& fields, chat_request& made) {
    if (const auto grammar = fields.text("grammar")) {
        made.grammar = *grammar;
    }
    const auto format = fields.object("response_format");
    if (!format) {
        return;
    }
    const auto type = format->find("type");
    const auto name = type ? type->as_string().value_or("") : std::string_view("");
    auto schema = format->find("schema"); // as llama.cpp has it
    if (name == "json_schema") {
        const auto inner = format->find("json_schema");
        const auto found = inner ? inner->find("schema") : std::nullopt;
        schema = found ? found : schema;
    } else if (name == "text") {
        return;
    } else if (name != "json_object") {
        fields.expect("response_format", "of type text, json_object or json_schema");
        return;
    }
    if (schema) {
        made.schema.emplace();
        bitnet::detail::append_python_json(*made.schema, *schema);
    } else if (name == "json_object") {
        made.schema = R"({"type":"object"})";
    } else {
        fields.refuse("response_format", "'response_format.json_schema.schema' is missing");
    }
    if (made.grammar) {
        fields.refuse("grammar", "'grammar' and 'response_format' cannot both be followed");
    }
}

} // namespace detail

/// \param defaults how tokens are chosen where the request says nothing
inline std::variant<chat_request, api_error> read_chat_request(bitnet::json_value root,
                                                               const bitnet::sampler_options& defaults) {
    field_reader fields(root);
    chat_request made;
    made.sampling.options = defaults;
    if (!fields.failure()) {
        for (const std::string_view key : {"audio", "web_search_options", "functions", "function_call"}) {
            if (fields.find(key)) {
                fields.refuse(key, "'" + std::string(key) + "' is not possible here");
            }
        }
        detail::read_messages(fields, made);
        read_sampling(fields, made.sampling);
        made.logprobs = fields.flag("logprobs").value_or(false);
        made.top_logprobs = static_cast<std::size_t>(fields.integer("top_logprobs", 0, 20).value_or(0));
        detail::read_format(fields, made);
        read_tools(fields, made.tools);
        if (made.tools.is_used() && (made.schema || made.grammar) &&
            made.tools.choice.mode != bitnet::tool_mode::none) {
            fields.refuse("tools",
                          "'tools' that may be called and 'response_format' or 'grammar' cannot both be followed");
        }
    }
    if (fields.failure()) {
        return *fields.failure();
    }
    return made;
}

} // namespace server
