// SPDX-License-Identifier: MIT
// json_endpoints: what is asked with a JSON body, by path.
#pragma once

#include "chat_job.hpp"
#include "chat_request.hpp"
#include "completion_job.hpp"
#include "embedding_job.hpp"
#include "engine.hpp"
#include "field_reader.hpp"
#include "reply_sink.hpp"
#include "text_request.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace server {

struct json_endpoint {
    std::string_view path; ///< without /v1
    void (*answer)(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink);
    bool writes; ///< needs a model that writes
};

namespace detail {

/// Submits a Job of what was read, or tells what is wrong with it.
template <class Job, class Request>
void submit(std::variant<Request, api_error> read, engine& with, std::shared_ptr<reply_sink> sink) {
    if (const auto* wrong = std::get_if<api_error>(&read)) {
        return sink->send(*wrong);
    }
    auto& asked = std::get<Request>(read);
    if constexpr (requires { asked.sampling; }) {
        if (!asked.sampling.has_seed) {
            std::random_device random;
            asked.sampling.options.seed = (std::uint64_t{random()} << 32) | random();
        }
    }
    with.submit(std::make_unique<Job>(std::move(asked), std::move(sink)));
}

inline bitnet::sampler_options advised(const engine& with) {
    return bitnet::sampler_options::advised_by(with.served().model.sampling());
}

inline void answer_chat(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink) {
    submit<chat_job>(read_chat_request(root, advised(with)), with, std::move(sink));
}
inline void answer_completion(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink) {
    submit<completion_job>(read_completion_request(root, advised(with)), with, std::move(sink));
}
inline void answer_embedding(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink) {
    const auto dimensions = static_cast<std::size_t>(with.served().model.parameters().hidden);
    submit<embedding_job>(read_embedding_request(root, dimensions), with, std::move(sink));
}

inline void answer_tokenize(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink) {
    field_reader fields(root);
    const auto text = fields.failure() ? std::nullopt : fields.text("content");
    if (!text) {
        fields.expect("content", "a string");
        return sink->send(*fields.failure());
    }
    const auto tokens = with.served().model.text().encode(*text);
    if (!tokens) {
        return sink->send(api_error_of(tokens.error(), "content"));
    }
    tools::json_writer json;
    json.begin('{');
    json.begin("tokens", '[');
    for (const bitnet::token id : *tokens) {
        json.value(id);
    }
    json.end(']');
    json.end('}');
    sink->send(api_reply{200, json.text()});
}
inline void answer_detokenize(bitnet::json_value root, engine& with, std::shared_ptr<reply_sink> sink) {
    field_reader fields(root);
    const auto list = fields.failure() ? std::nullopt : fields.array("tokens");
    const auto tokens = list ? read_tokens(*list) : std::nullopt;
    const bitnet::tokenizer& text = with.served().model.text();
    const auto is_known = [&](bitnet::token id) { return text.contains(id); };
    if (!tokens || !std::all_of(tokens->begin(), tokens->end(), is_known)) {
        fields.expect("tokens", "an array of token ids");
        return sink->send(*fields.failure());
    }
    tools::json_writer json;
    json.begin('{');
    json.member("content", text.decode(*tokens, {.follows_text = true}));
    json.end('}');
    sink->send(api_reply{200, json.text()});
}

} // namespace detail

inline constexpr json_endpoint json_endpoints[] = {
    {"/chat/completions", detail::answer_chat, true},  {"/completions", detail::answer_completion, true},
    {"/embeddings", detail::answer_embedding, false},  {"/tokenize", detail::answer_tokenize, false},
    {"/detokenize", detail::answer_detokenize, false},
};

/// Null: there is none at this path.
inline const json_endpoint* find_json_endpoint(std::string_view path) noexcept {
    const auto* found = std::find_if(std::begin(json_endpoints), std::end(json_endpoints),
                                     [&](const json_endpoint& each) { return each.path == path; });
    return found == std::end(json_endpoints) ? nullptr : found;
}

inline void answer_json(const json_endpoint& of, std::string_view body, engine& with,
                        std::shared_ptr<reply_sink> sink) {
    if (of.writes && !with.served().is_chatting) {
        return sink->send(
            api_error{400, with.served().name + " is a text embedding model: use /v1/embeddings", "model", {}});
    }
    const auto json = bitnet::json_document::parse(body, "request", {.depth = 128});
    if (!json) {
        return sink->send(api_error_of(json.error()));
    }
    of.answer(json->root(), with, std::move(sink));
}

} // namespace server
