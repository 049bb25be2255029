// SPDX-License-Identifier: MIT
// What a model says on the library's own threads and on those of a host.
#pragma once

#include "golden/tiny_model_writer.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/sampler.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitnet_tests {

/// Tokens and the bits of logits.
struct hosted_answer {
    std::vector<bitnet::token> tokens;
    std::vector<std::uint32_t> logits;

    friend bool operator==(const hosted_answer&, const hosted_answer&) = default;
};

[[nodiscard]] inline const bitnet::buffer<std::byte>& hosted_file() {
    static const auto bytes = [] {
        model_shape shape;
        shape.layers = 2;
        shape.hidden = 256;
        shape.ffn = 768;
        shape.heads = 4;
        shape.kv_heads = 2;
        shape.context = 600;
        return tiny_model(shape);
    }();
    REQUIRE(bytes);
    return *bytes;
}

/// \param pool nullopt: threads of the library's own, as they are while the model is opened
[[nodiscard]] inline bitnet::any_model open_hosted(std::optional<bitnet::pool_ref> pool) {
    auto opened = bitnet::any_model::open(bitnet::byte_source::borrow(hosted_file().span(), "tiny"),
                                          {.lm_head = bitnet::lm_head_mode::screened, .pool = pool});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

[[nodiscard]] inline bitnet::any_session open_session(const bitnet::any_model& model,
                                                      std::optional<bitnet::pool_ref> pool) {
    const bitnet::session_options options{.threads = 2, .stop_at_stop_tokens = false};
    auto opened = pool ? bitnet::any_session::open(model, *pool, options) : bitnet::any_session::open(model, options);
    REQUIRE(opened);
    return *std::move(opened);
}

/// A prompt of more than one attention block, tokens, and steps of a batch of two sessions.
[[nodiscard]] inline hosted_answer answer_of(const bitnet::any_model& model, std::optional<bitnet::pool_ref> pool) {
    bitnet::any_session one = open_session(model, pool);
    bitnet::any_session other = open_session(model, pool);
    auto choose = bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary);
    auto batch = pool ? bitnet::any_batch::open(model, *pool, {.sessions = 2})
                      : bitnet::any_batch::open(model, {.sessions = 2, .threads = 2});
    REQUIRE((choose && batch));
    std::vector<bitnet::token> prompt(300);
    for (std::size_t i = 0; i < prompt.size(); ++i) {
        prompt[i] = static_cast<bitnet::token>(i * 7 % 200);
    }
    REQUIRE(one.feed(prompt));
    REQUIRE(other.feed(std::span(prompt).first(40)));
    hosted_answer all;
    bitnet::any_session* const both[] = {&one, &other};
    for (int i = 0; i < 6; ++i) {
        for (bitnet::any_session* each : both) {
            all.tokens.push_back(each->next(*choose).value_or(bitnet::no_token));
        }
        REQUIRE(batch->run_pending(both));
    }
    for (bitnet::any_session* each : both) {
        const auto logits = each->logits();
        REQUIRE(logits);
        for (const float logit : *logits) {
            all.logits.push_back(std::bit_cast<std::uint32_t>(logit));
        }
    }
    return all;
}

} // namespace bitnet_tests
