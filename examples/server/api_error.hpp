// SPDX-License-Identifier: MIT
// api_error: what a client is told when its request cannot be answered, as OpenAI's interface writes it.
#pragma once

#include "../tools/json_writer.hpp"

#include <bitnet/core/result.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace server {

struct api_error {
    int status = 400;
    std::string message = {};
    std::string param = {}; ///< the field that is wrong; empty: null
    std::string code = {};  ///< empty: null

    [[nodiscard]] std::string_view type() const noexcept {
        return status == 401   ? "authentication_error"
               : status == 404 ? "not_found_error"
               : status == 429 ? "rate_limit_error"
               : status == 503 ? "unavailable_error"
               : status >= 500 ? "server_error"
                               : "invalid_request_error";
    }
};

inline std::string to_json(const api_error& why) {
    tools::json_writer json;
    const auto text_or_null = [&](std::string_view key, const std::string& text) {
        json.name(key);
        text.empty() ? json.raw("null") : json.value(text);
    };
    json.begin('{');
    json.begin("error", '{');
    json.member("message", why.message);
    json.member("type", why.type());
    text_or_null("param", why.param);
    text_or_null("code", why.code);
    json.end('}');
    json.end('}');
    return json.text();
}

/// What the library refuses because of the request is the client's to mend, all else is the server's.
inline api_error api_error_of(const bitnet::error& why, std::string param = {}) {
    using bitnet::errc;
    switch (why.code) {
    case errc::context_full:
        // LangChain knows it by these words.
        return {400, "more than the maximum context length: " + why.message, "messages", "context_length_exceeded"};
    case errc::out_of_memory:
    case errc::kv_pool_full:
        return {503, why.message, {}, {}};
    case errc::thread_error:
    case errc::broken_kernel:
    case errc::io_error:
    case errc::nothing_fed:
        return {500, why.message, {}, {}};
    default:
        return {400, why.message, std::move(param), {}};
    }
}

} // namespace server
