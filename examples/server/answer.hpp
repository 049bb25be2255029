// SPDX-License-Identifier: MIT
// answer: a request to the interface, and where its answer goes. Knows nothing of sockets.
#pragma once

#include "engine.hpp"
#include "json_endpoints.hpp"
#include "metrics.hpp"
#include "reply_sink.hpp"

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

namespace server {

struct api_request {
    std::string method;
    std::string target;
    std::string body = {};
    std::string authorization = {}; ///< the header
};

struct answer_options {
    std::string api_key = {}; ///< empty: none is asked for
    std::string page = {};    ///< HTML for browsers, at the root, to everybody; empty: none
};

namespace detail {

/// In a time that does not tell how much of it is right.
inline bool is_same_secret(std::string_view given, std::string_view wanted) noexcept {
    unsigned differ = given.size() == wanted.size() ? 0 : 1;
    for (std::size_t i = 0; i < given.size(); ++i) {
        const char other = wanted.empty() ? '\0' : wanted[i % wanted.size()];
        differ |= static_cast<unsigned>(static_cast<unsigned char>(given[i] ^ other));
    }
    return differ == 0;
}

/// The path of a target: without query, trailing slashes and a leading /v1.
inline std::string_view path_of(std::string_view target) noexcept {
    std::string_view path = target.substr(0, target.find_first_of("?#"));
    while (path.size() > 1 && path.ends_with('/')) {
        path.remove_suffix(1);
    }
    if (path.starts_with("/v1/")) {
        path.remove_prefix(3);
    }
    return path;
}

inline void write_model(tools::json_writer& json, const served_model& model) {
    json.begin('{');
    json.member("id", model.name);
    json.member("object", "model");
    json.member("created", model.created);
    json.member("owned_by", "bitnet.hpp");
    json.end('}');
}

inline api_reply models_of(const served_model& model) {
    tools::json_writer json;
    json.begin('{');
    json.member("object", "list");
    json.begin("data", '[');
    write_model(json, model);
    json.end(']');
    json.end('}');
    return {200, json.text()};
}

inline void answer_get(std::string_view path, const engine& with, reply_sink& sink) {
    const served_model& served = with.served();
    if (path == "/models") {
        return sink.send(models_of(served));
    }
    if (path == "/metrics") {
        return sink.send(metrics_of(with));
    }
    constexpr std::string_view one = "/models/";
    if (path.starts_with(one) && path.substr(one.size()) == served.name) {
        tools::json_writer json;
        write_model(json, served);
        return sink.send(api_reply{200, json.text()});
    }
    if (path.starts_with(one)) {
        return sink.send(api_error{404, "there is no such model here, but " + served.name, "model", "model_not_found"});
    }
    sink.send(api_error{404,
                        "there is nothing at this path" +
                            std::string(path == "/responses" ? ": use /v1/chat/completions" : ""),
                        {},
                        {}});
}

/// It runs its own script, and asks nobody but this server.
inline api_reply page_of(const answer_options& options) {
    return {200,
            options.page,
            "text/html; charset=utf-8",
            {{"Content-Security-Policy", "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; "
                                         "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
                                         "frame-ancestors 'none'"}}};
}

inline api_reply wrong_method(const std::string& allowed) {
    return {405, to_json({405, "this path takes " + allowed, {}, {}}), "application/json", {{"Allow", allowed}}};
}

} // namespace detail

/// Answers a request, at once or, through the engine, later.
inline void answer(const api_request& request, engine& with, const answer_options& options,
                   std::shared_ptr<reply_sink> sink) {
    const std::string_view path = detail::path_of(request.target);
    const bool is_get = request.method == "GET" || request.method == "HEAD";
    const json_endpoint* takes_json = find_json_endpoint(path);
    if (path == "/health" && is_get) {
        return sink->send(api_reply{200, R"({"status":"ok"})"});
    }
    if (path == "/" && is_get && !options.page.empty()) {
        return sink->send(detail::page_of(options));
    }
    if (!options.api_key.empty() && !detail::is_same_secret(request.authorization, "Bearer " + options.api_key)) {
        return sink->send(api_error{401, "the API key is missing or wrong", {}, "invalid_api_key"});
    }
    const bool is_known = takes_json != nullptr || path == "/health" || path == "/metrics" || path == "/models" ||
                          path.starts_with("/models/");
    if (is_known && !(takes_json != nullptr ? request.method == "POST" : is_get)) {
        return sink->send(detail::wrong_method(takes_json != nullptr ? "POST" : "GET, HEAD"));
    }
    if (takes_json != nullptr) {
        return answer_json(*takes_json, request.body, with, std::move(sink));
    }
    detail::answer_get(path, with, *sink);
}

} // namespace server
