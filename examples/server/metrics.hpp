// SPDX-License-Identifier: MIT
// metrics: the counts of an engine in Prometheus' text format.
#pragma once

#include "engine.hpp"
#include "reply_sink.hpp"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace server {

inline api_reply metrics_of(const engine& of) {
    const engine_counts& counts = of.counts();
    std::string text;
    const auto add = [&](std::string_view name, std::string_view type, std::string_view help, std::uint64_t value) {
        text.append("# HELP ").append(name).append(" ").append(help).append("\n# TYPE ").append(name).append(" ");
        text.append(type).append("\n").append(name).append(" ").append(std::to_string(value)).append("\n");
    };
    add("bitnet_requests_total", "counter", "Requests that were taken or refused for the queue.", counts.requests);
    add("bitnet_requests_refused_total", "counter", "Requests that were refused because the queue was full.",
        counts.refused);
    add("bitnet_requests_cancelled_total", "counter", "Requests whose client went away.", counts.cancelled);
    add("bitnet_requests_active", "gauge", "Requests that are being answered.", counts.active);
    add("bitnet_requests_waiting", "gauge", "Requests in the queue.", counts.waiting);
    add("bitnet_prompt_tokens_total", "counter", "Tokens of prompts.", counts.prompt_tokens);
    add("bitnet_prompt_tokens_cached_total", "counter", "Those that had not to be computed.", counts.cached_tokens);
    add("bitnet_completion_tokens_total", "counter", "Tokens of answers.", counts.written_tokens);
    return {200, std::move(text), "text/plain; version=0.0.4; charset=utf-8"};
}

} // namespace server
