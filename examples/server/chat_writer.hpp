// SPDX-License-Identifier: MIT
// chat_writer: answers of /v1/chat/completions as JSON, whole and in chunks.
#pragma once

#include "../tools/json_writer.hpp"
#include "job.hpp"

#include <bitnet/any.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace server {

/// `prefix` and 24 random letters and digits.
inline std::string made_id(std::string_view prefix) {
    constexpr std::string_view letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    std::random_device random;
    std::string id(prefix);
    for (int i = 0; i < 24; ++i) {
        id += letters[random() % letters.size()];
    }
    return id;
}

/// What all chunks of an answer have alike.
struct answer_head {
    std::string id;
    std::string model;
    std::int64_t created =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch()).count();

    /// Begins the object.
    void write(tools::json_writer& json, std::string_view object) const {
        json.begin('{');
        json.member("id", id);
        json.member("object", object);
        json.member("created", created);
        json.member("model", model);
        json.member("system_fingerprint", "bitnet.hpp");
    }
};

/// A token that was chosen, and the likeliest ones in its place.
struct token_choice {
    bitnet::token_logprob chosen;
    std::vector<bitnet::token_logprob> likeliest;
};

struct called_function {
    std::string id;
    std::string name;
    std::string arguments;
};

/// One choice of an answer.
struct finished_choice {
    std::string text = {};
    std::vector<called_function> calls = {};
    std::vector<token_choice> tokens = {};
    std::string_view finish = "stop";
};

struct answer_times {
    std::chrono::steady_clock::time_point begun = std::chrono::steady_clock::now();
    std::optional<std::chrono::steady_clock::time_point> first = {}; ///< of the first token
};

inline void write_usage(tools::json_writer& json, const token_usage& usage) {
    json.begin("usage", '{');
    json.member("prompt_tokens", usage.prompt);
    json.member("completion_tokens", usage.written);
    json.member("total_tokens", usage.prompt + usage.written);
    json.begin("prompt_tokens_details", '{');
    json.member("cached_tokens", usage.cached);
    json.end('}');
    json.end('}');
}

/// As llama.cpp's server has them.
inline void write_times(tools::json_writer& json, const token_usage& usage, const answer_times& times) {
    const auto now = std::chrono::steady_clock::now();
    using milliseconds = std::chrono::duration<double, std::milli>;
    const auto write = [&](const std::string& name, std::size_t tokens, double taken) {
        json.member(name + "_n", tokens);
        json.member(name + "_ms", taken);
        json.member(name + "_per_second", taken > 0 ? static_cast<double>(tokens) * 1000 / taken : 0.0);
    };
    const auto first = times.first.value_or(now);
    json.begin("timings", '{');
    write("prompt", usage.prompt - usage.cached, milliseconds(first - times.begun).count());
    write("predicted", usage.written, milliseconds(now - first).count());
    json.end('}');
}

inline void write_logprob(tools::json_writer& json, const bitnet::tokenizer& text, bitnet::token_logprob of) {
    const std::string_view bytes = text.bytes_of(of.id);
    json.member("token", bytes);
    json.member("logprob", of.logprob);
    json.begin("bytes", '[');
    for (const char byte : bytes) {
        json.value(static_cast<unsigned>(static_cast<unsigned char>(byte)));
    }
    json.end(']');
}

/// Null where there are none.
inline void write_logprobs(tools::json_writer& json, const bitnet::tokenizer& text,
                           std::span<const token_choice> tokens, bool are_wanted) {
    if (!are_wanted) {
        json.name("logprobs");
        json.raw("null");
        return;
    }
    json.begin("logprobs", '{');
    json.begin("content", '[');
    for (const token_choice& each : tokens) {
        json.begin('{');
        write_logprob(json, text, each.chosen);
        json.begin("top_logprobs", '[');
        for (const bitnet::token_logprob& likely : each.likeliest) {
            json.begin('{');
            write_logprob(json, text, likely);
            json.end('}');
        }
        json.end(']');
        json.end('}');
    }
    json.end(']');
    json.name("refusal");
    json.raw("null");
    json.end('}');
}

inline void write_message(tools::json_writer& json, const finished_choice& choice) {
    json.begin("message", '{');
    json.member("role", "assistant");
    json.name("content");
    choice.calls.empty() || !choice.text.empty() ? json.value(choice.text) : json.raw("null");
    json.name("refusal");
    json.raw("null");
    if (!choice.calls.empty()) {
        json.begin("tool_calls", '[');
        for (const called_function& call : choice.calls) {
            json.begin('{');
            json.member("id", call.id);
            json.member("type", "function");
            json.begin("function", '{');
            json.member("name", call.name);
            json.member("arguments", call.arguments);
            json.end('}');
            json.end('}');
        }
        json.end(']');
    }
    json.end('}');
}

/// The whole answer.
inline std::string chat_completion(const answer_head& head, std::span<const finished_choice> choices,
                                   const bitnet::tokenizer& text, bool has_logprobs, const token_usage& usage,
                                   const answer_times& times) {
    tools::json_writer json;
    head.write(json, "chat.completion");
    json.begin("choices", '[');
    std::size_t index = 0;
    for (const finished_choice& each : choices) {
        json.begin('{');
        json.member("index", index++);
        write_message(json, each);
        write_logprobs(json, text, each.tokens, has_logprobs);
        json.member("finish_reason", each.finish);
        json.end('}');
    }
    json.end(']');
    write_usage(json, usage);
    write_times(json, usage, times);
    json.end('}');
    return json.text();
}

/// A chunk of a stream. \param delta its members, with the braces \param finish empty: null
inline std::string chat_chunk(const answer_head& head, std::size_t index, std::string_view delta,
                              const bitnet::tokenizer& text, std::span<const token_choice> tokens, bool has_logprobs,
                              std::string_view finish = {}) {
    tools::json_writer json;
    head.write(json, "chat.completion.chunk");
    json.begin("choices", '[');
    json.begin('{');
    json.member("index", index);
    json.name("delta");
    json.raw(delta);
    write_logprobs(json, text, tokens, has_logprobs && !tokens.empty());
    json.name("finish_reason");
    finish.empty() ? json.raw("null") : json.value(finish);
    json.end('}');
    json.end(']');
    json.end('}');
    return json.text();
}

/// The chunk of a stream that has the usage and no choices. \param object "chat.completion.chunk", ...
inline std::string usage_chunk(const answer_head& head, std::string_view object, const token_usage& usage,
                               const answer_times& times) {
    tools::json_writer json;
    head.write(json, object);
    json.begin("choices", '[');
    json.end(']');
    write_usage(json, usage);
    write_times(json, usage, times);
    json.end('}');
    return json.text();
}

/// The first delta of a call: its name, once and whole. \param index among the calls
inline std::string call_begins(std::size_t index, const called_function& call) {
    tools::json_writer json;
    json.begin('{');
    json.begin("tool_calls", '[');
    json.begin('{');
    json.member("index", index);
    json.member("id", call.id);
    json.member("type", "function");
    json.begin("function", '{');
    json.member("name", call.name);
    json.member("arguments", "");
    json.end('}');
    json.end('}');
    json.end(']');
    json.end('}');
    return json.text();
}
/// The second one: its arguments.
inline std::string call_goes_on(std::size_t index, const called_function& call) {
    tools::json_writer json;
    json.begin('{');
    json.begin("tool_calls", '[');
    json.begin('{');
    json.member("index", index);
    json.begin("function", '{');
    json.member("arguments", call.arguments);
    json.end('}');
    json.end('}');
    json.end(']');
    json.end('}');
    return json.text();
}

inline std::string content_delta(std::string_view text, bool is_first) {
    tools::json_writer json;
    json.begin('{');
    if (is_first) {
        json.member("role", "assistant");
    }
    json.member("content", text);
    json.end('}');
    return json.text();
}

} // namespace server
