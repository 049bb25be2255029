// SPDX-License-Identifier: MIT
#include "run/counted_allocations.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/logprobs.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

std::vector<double> plainly(std::span<const float> logits) {
    double sum = 0;
    for (const float logit : logits) {
        sum += std::exp(static_cast<double>(logit));
    }
    std::vector<double> made;
    for (const float logit : logits) {
        made.push_back(static_cast<double>(logit) - std::log(sum));
    }
    return made;
}

bool is_close(float logprob, double expected) {
    return std::abs(static_cast<double>(logprob) - expected) < 4e-6 + std::abs(expected) * 0x1p-24;
}

std::vector<float> some_logits(std::size_t n, float range) {
    std::vector<float> made(n);
    std::uint32_t state = 7;
    for (float& logit : made) {
        state = state * 1664525u + 1013904223u;
        logit = (static_cast<float>(state >> 8) * 0x1p-23f - 1.0f) * range;
    }
    return made;
}

any_session open_session(const any_model& model, std::size_t threads = 1) {
    auto made = any_session::open(model, {.threads = threads, .stop_at_stop_tokens = false});
    REQUIRE(made);
    return *std::move(made);
}

any_model open_tiny(const open_options& options = {}, std::string_view isa = {}) {
    auto model = any_model::open(BITNET_TEST_MODEL, options, isa);
    REQUIRE_MESSAGE(model, (model ? "" : model.error().message));
    return *std::move(model);
}

bool same_bits(const token_logprob& a, const token_logprob& b) {
    return a.id == b.id && std::bit_cast<std::uint32_t>(a.logprob) == std::bit_cast<std::uint32_t>(b.logprob);
}

} // namespace

TEST_CASE("logprobs among some tokens are those of double arithmetic") {
    for (const std::size_t n : {1u, 2u, 300u, 130000u}) {
        for (const float range : {0.0f, 0.01f, 5.0f, 40.0f, 1000.0f}) {
            const std::vector<float> logits = some_logits(n, range);
            std::vector<scored_token> tokens;
            for (std::size_t i = 0; i < n; ++i) {
                tokens.push_back({static_cast<token>(2 * i), logits[i]});
            }
            std::vector<token_logprob> out(n);
            logprobs_among(tokens, out);
            std::vector<float> shifted = logits; // so that double does not overflow
            const float largest = *std::max_element(logits.begin(), logits.end());
            double sum = 0;
            for (const float logit : logits) {
                sum += std::exp(static_cast<double>(logit) - static_cast<double>(largest));
            }
            std::size_t wrong = 0;
            for (std::size_t i = 0; i < n; ++i) {
                const double expected = static_cast<double>(logits[i]) - static_cast<double>(largest) - std::log(sum);
                wrong += out[i].id == static_cast<token>(2 * i) && is_close(out[i].logprob, expected) ? 0u : 1u;
            }
            CHECK(wrong == 0);
        }
    }
    logprobs_among({}, {});
}

TEST_CASE("a logit of minus infinity has no probability and takes none") {
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<scored_token> tokens{{4, -infinity}, {1, 2.0f}, {9, 2.0f}, {2, -infinity}};
    std::vector<token_logprob> out(4);
    logprobs_among(tokens, out);
    CHECK(out[0].logprob == -infinity);
    CHECK(is_close(out[1].logprob, -std::log(2.0)));
    CHECK(is_close(out[2].logprob, -std::log(2.0)));
    CHECK(out[3].logprob == -infinity);
}

TEST_CASE("a session gives the logprobs of the token that next() gave, and the largest beside it") {
    const any_model model = open_tiny();
    any_session session = open_session(model);
    any_session other = open_session(model);
    const std::vector<token> prompt{5, 300, 17, 80};
    REQUIRE(session.feed(prompt));
    REQUIRE(other.feed(prompt));
    sampler_options options;
    options.temperature = 2.0f;
    auto choose = sampler::open(options, model.parameters().vocabulary);
    REQUIRE(choose);
    for (int step = 0; step < 30; ++step) {
        const auto logits = other.logits();
        REQUIRE(logits);
        const std::vector<double> expected = plainly(*logits);
        const auto ranked = other.largest_logits(20);
        REQUIRE(ranked);
        if (step % 2 == 0) {
            REQUIRE(session.logits()); // so that the head is read once
        }
        const auto id = session.next(*choose);
        REQUIRE(id);
        std::vector<token_logprob> largest(20);
        const auto chosen = session.logprobs(largest);
        REQUIRE(chosen);
        CHECK(chosen->id == *id);
        CHECK(is_close(chosen->logprob, expected[static_cast<std::size_t>(*id)]));
        for (std::size_t i = 0; i < largest.size(); ++i) {
            CHECK(largest[i].id == (*ranked)[i].id);
            CHECK(is_close(largest[i].logprob, expected[static_cast<std::size_t>(largest[i].id)]));
        }
        const auto again = session.logprobs();
        REQUIRE(again);
        CHECK(same_bits(*again, *chosen));
        REQUIRE(other.feed({&*id, 1}));
    }
}

TEST_CASE("logprobs have the same bits on every instruction set, with any threads, through a screen and in forks") {
    std::vector<token_logprob> first;
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        for (const std::string& isa : bitnet_tests::isas_that_run()) {
            const any_model model = open_tiny({.lm_head = head}, isa);
            any_session session = open_session(model, head == lm_head_mode::screened ? 3 : 1);
            REQUIRE(session.feed(std::vector<token>{5, 300, 17, 80}));
            auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
            REQUIRE(choose);
            std::vector<token_logprob> all;
            for (int step = 0; step < 8; ++step) {
                REQUIRE(session.next(*choose));
                auto fork = session.fork();
                REQUIRE(fork);
                REQUIRE(fork->feed(std::vector<token>{static_cast<token>(step)})); // takes the workspace
                std::vector<token_logprob> largest(5);
                const auto chosen = session.logprobs(largest);
                REQUIRE(chosen);
                all.push_back(*chosen);
                all.insert(all.end(), largest.begin(), largest.end());
            }
            first = first.empty() ? all : first;
            REQUIRE(first.size() == all.size());
            for (std::size_t i = 0; i < all.size(); ++i) {
                CHECK(same_bits(all[i], first[i]));
            }
        }
    }
}

TEST_CASE("asking for logprobs changes no token and allocates nothing") {
    const any_model model = open_tiny();
    any_session plain = open_session(model);
    any_session asked = open_session(model);
    const std::vector<token> prompt{5, 300, 17, 80};
    REQUIRE(plain.feed(prompt));
    REQUIRE(asked.feed(prompt));
    auto a = sampler::open({}, model.parameters().vocabulary);
    auto b = sampler::open({}, model.parameters().vocabulary);
    REQUIRE(a);
    REQUIRE(b);
    std::vector<token_logprob> largest(256);
    const std::size_t before = bitnet_tests::allocations();
    bool same = true;
    for (int step = 0; step < 20; ++step) {
        same = same && plain.next(*a) == asked.next(*b) && asked.logprobs(largest).has_value();
    }
    CHECK(bitnet_tests::allocations() == before);
    CHECK(same);
}

TEST_CASE("logprobs of no token, of one that has run, and too many are errors") {
    const any_model model = open_tiny();
    any_session session = open_session(model);
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
    REQUIRE(choose);
    const std::string nothing =
        "session: logprobs are those of the token that next() gave last, and there is none, or it "
        "has run already";
    CHECK(session.logprobs().error().message == nothing);
    REQUIRE(session.feed(std::vector<token>{5, 6}));
    CHECK(session.logprobs().error().code == errc::invalid_argument);
    REQUIRE(session.next(*choose));
    std::vector<token_logprob> largest(257);
    CHECK(session.logprobs(largest).error().message ==
          "session: the 257 largest logprobs were asked for, up to 256 are possible");
    CHECK(session.logprobs().has_value());
    REQUIRE(session.rewind(2));
    CHECK(session.logprobs().error().message == nothing);
    REQUIRE(session.next(*choose));
    REQUIRE(session.logits()); // runs it
    CHECK(session.logprobs().error().message == nothing);
}
