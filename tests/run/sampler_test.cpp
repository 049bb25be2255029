// SPDX-License-Identifier: MIT
#include "run/counted_allocations.hpp"

#include <bitnet/run/sampler.hpp>
#include <bitnet/run/token_counts.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <map>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

sampler make(const sampler_options& options, std::size_t vocabulary) {
    auto made = sampler::open(options, vocabulary);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

/// Options that keep every token, so that single ones can be tried.
sampler_options open_options_of_sampler() {
    sampler_options options;
    options.temperature = 1.0f;
    options.top_k = 0;
    options.top_p = 1.0f;
    return options;
}

std::map<token, int> histogram(sampler& choose, std::span<const float> logits, int draws) {
    std::map<token, int> counts;
    for (int i = 0; i < draws; ++i) {
        ++counts[choose.choose(logits)];
    }
    return counts;
}

} // namespace

TEST_CASE("greedy takes the largest logit, the lowest id on ties, and never a NaN") {
    auto choose = make(sampler_options::greedy(), 5);
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(choose.choose(std::vector<float>{1, 5, 3, 5, 2}) == 1);
    CHECK(choose.choose(std::vector<float>{nan, -3, -2, nan, -9}) == 2);
    CHECK(choose.choose(std::vector<float>{-0.0f, 0.0f, -1, -1, -1}) == 0);
    CHECK(choose.choose(std::vector<float>{nan, nan, nan, nan, nan}) == 0);
    CHECK(choose.choose(std::vector<float>{-1, -2, std::numeric_limits<float>::infinity(), 9, 9}) == 2);
}

TEST_CASE("draws follow softmax(logits / temperature)") {
    const std::vector<float> logits{0.0f, 1.0f, 2.0f, -1.0f};
    for (const float temperature : {0.5f, 1.0f, 2.0f}) {
        auto options = open_options_of_sampler();
        options.temperature = temperature;
        options.seed = 7;
        auto choose = make(options, logits.size());
        const int draws = 40000;
        const auto counts = histogram(choose, logits, draws);
        double total = 0;
        for (const float logit : logits) {
            total += std::exp(logit / temperature);
        }
        for (std::size_t i = 0; i < logits.size(); ++i) {
            const double p = std::exp(logits[i] / temperature) / total;
            const double share =
                static_cast<double>(counts.contains(static_cast<token>(i)) ? counts.at(static_cast<token>(i)) : 0) /
                draws;
            CHECK(std::abs(share - p) < 5 * std::sqrt(p * (1 - p) / draws)); // five standard deviations
        }
    }
}

TEST_CASE("top_k, top_p and min_p cut at their limits") {
    // Probabilities 0.5, 0.25, 0.15, 0.1.
    const std::vector<float> logits{std::log(0.1f), std::log(0.5f), std::log(0.15f), std::log(0.25f)};
    const auto kept = [&](auto&& set) {
        auto options = open_options_of_sampler();
        set(options);
        auto choose = make(options, logits.size());
        return histogram(choose, logits, 3000).size();
    };
    CHECK(kept([](auto&) {}) == 4);
    CHECK(kept([](auto& o) { o.top_k = 1; }) == 1);
    CHECK(kept([](auto& o) { o.top_k = 3; }) == 3);
    CHECK(kept([](auto& o) { o.top_k = 400; }) == 4);
    CHECK(kept([](auto& o) { o.top_p = 0.45f; }) == 1);
    CHECK(kept([](auto& o) { o.top_p = 0.7f; }) == 2);
    CHECK(kept([](auto& o) { o.top_p = 0.8f; }) == 3);
    CHECK(kept([](auto& o) { o.top_p = 0.0f; }) == 1);
    CHECK(kept([](auto& o) { o.min_p = 0.4f; }) == 2);
    CHECK(kept([](auto& o) { o.min_p = 0.25f; }) == 3);
    CHECK(kept([](auto& o) { o.min_p = 1.0f; }) == 1);
}

TEST_CASE("penalties count recent tokens and forget those outside the window") {
    const std::vector<float> logits{2.0f, 1.5f, -1.0f};
    auto options = sampler_options::greedy();
    options.repeat_penalty = 2.0f;
    options.penalty_window = 2;
    auto choose = make(options, 3);
    CHECK(choose.choose(logits) == 0);
    choose.accept(0); // 2.0 / 2 < 1.5
    CHECK(choose.choose(logits) == 1);
    choose.accept(1); // 0.75 < 1.0
    CHECK(choose.choose(logits) == 0);
    choose.accept(2);
    choose.accept(2); // 0 and 1 have left the window
    CHECK(choose.choose(logits) == 0);
    choose.reset();
    CHECK(choose.choose(logits) == 0);

    options = sampler_options::greedy();
    options.frequency_penalty = 0.3f;
    auto frequent = make(options, 3);
    frequent.accept(0);
    CHECK(frequent.choose(logits) == 0); // 1.7
    frequent.accept(0);
    CHECK(frequent.choose(logits) == 1); // 1.4
    options = sampler_options::greedy();
    options.presence_penalty = 0.3f;
    auto present = make(options, 3);
    present.accept(0);
    present.accept(0);
    CHECK(present.choose(logits) == 0); // 1.7, however often
    options.presence_penalty = 0.6f;
    auto more = make(options, 3);
    more.accept(0);
    CHECK(more.choose(logits) == 1);
}

TEST_CASE("the same seed draws the same tokens on every platform") {
    std::vector<float> logits;
    for (int i = 0; i < 100; ++i) {
        logits.push_back(static_cast<float>((i * 37) % 100) / 25.0f);
    }
    sampler_options options;
    options.seed = 1234;
    auto choose = make(options, logits.size());
    std::vector<token> drawn;
    for (int i = 0; i < 12; ++i) {
        drawn.push_back(choose.choose(logits));
    }
    CHECK(drawn == std::vector<token>{13, 78, 8, 62, 13, 86, 97, 35, 16, 21, 54, 62});
    auto again = make(options, logits.size());
    for (const token t : drawn) {
        CHECK(again.choose(logits) == t);
    }
    options.seed = 1235;
    auto other = make(options, logits.size());
    std::vector<token> others;
    for (int i = 0; i < 12; ++i) {
        others.push_back(other.choose(logits));
    }
    CHECK(others != drawn);
    choose.reset();
    CHECK(choose.choose(logits) == drawn[0]);
}

namespace {

/// What penalties make of logits, by their definition.
std::vector<float> penalized(std::vector<float> logits, const sampler_options& options,
                             const std::vector<token>& accepted) {
    const std::size_t recent = std::min(accepted.size(), options.penalty_window);
    std::map<token, float> counts;
    for (std::size_t i = accepted.size() - recent; i < accepted.size(); ++i) {
        counts[accepted[i]] += 1.0f;
    }
    for (const auto& [id, count] : counts) {
        float& logit = logits[static_cast<std::size_t>(id)];
        const float p = options.repeat_penalty;
        const float absent = -options.presence_penalty;
        const float present = logit > 0.0f ? logit / p + absent : std::fma(logit, p, absent);
        logit = std::fma(-count, options.frequency_penalty, present);
    }
    return logits;
}

} // namespace

TEST_CASE("the largest logits that a sampler needs give the token that all logits give") {
    const std::size_t vocabulary = 1000;
    const float nan = std::numeric_limits<float>::quiet_NaN();
    std::vector<sampler_options> all;
    for (const std::size_t k : {0u, 1u, 3u, 40u, 256u}) {
        for (const float repeat : {1.0f, 1.5f, 0.7f}) {
            for (const float presence : {0.0f, 0.4f, -0.4f}) {
                for (const float temperature : {0.0f, 0.8f}) {
                    sampler_options options;
                    options.top_k = k;
                    options.repeat_penalty = repeat;
                    options.presence_penalty = presence;
                    options.frequency_penalty = presence / 2;
                    options.temperature = temperature;
                    options.min_p = 0.01f;
                    options.penalty_window = 20;
                    all.push_back(options);
                }
            }
        }
    }
    std::size_t sparse_choices = 0;
    for (const auto& options : all) {
        auto full = make(options, vocabulary);
        auto sparse = make(options, vocabulary);
        auto without = options; // and so chooses among logits that others have penalized
        without.repeat_penalty = 1.0f;
        without.presence_penalty = without.frequency_penalty = 0.0f;
        auto plain = make(without, vocabulary);
        std::vector<token> accepted;
        std::uint32_t state = 1;
        for (int step = 0; step < 60; ++step) {
            std::vector<float> logits(vocabulary);
            for (float& logit : logits) {
                state = state * 1664525u + 1013904223u;
                logit = static_cast<float>(state >> 26) / 8.0f - 4.0f; // 64 values: ties everywhere, and many below 0
            }
            logits[static_cast<std::size_t>(step)] = nan;
            std::vector<scored_token> sorted;
            for (std::size_t i = 0; i < vocabulary; ++i) {
                sorted.push_back({static_cast<token>(i), logits[i]});
            }
            std::sort(sorted.begin(), sorted.end(),
                      [](const scored_token& a, const scored_token& b) { return precedes(a, b); });
            const std::size_t needed = sparse.needs();
            sparse_choices += needed != 0 ? 1 : 0;
            const token expected = full.choose(logits);
            const token chosen = needed == 0 ? sparse.choose(logits)
                                             : sparse.choose(std::span<const scored_token>(sorted).first(needed));
            REQUIRE(chosen == expected);
            REQUIRE(plain.choose(penalized(logits, options, accepted)) == expected);
            full.accept(expected);
            sparse.accept(expected);
            accepted.push_back(expected);
            if (step % 3 == 0) { // a token near the top becomes a recent one
                full.accept(sorted[static_cast<std::size_t>(step % 7)].id);
                sparse.accept(sorted[static_cast<std::size_t>(step % 7)].id);
                accepted.push_back(sorted[static_cast<std::size_t>(step % 7)].id);
            }
        }
    }
    CHECK(sparse_choices > all.size() * 20);
}

TEST_CASE("a sampler reports how many of the largest logits it needs") {
    const auto needs = [](auto&& set, std::initializer_list<token> recent) {
        sampler_options options;
        options.penalty_window = 3;
        set(options);
        auto choose = make(options, 10);
        for (const token id : recent) {
            choose.accept(id);
        }
        return choose.needs();
    };
    CHECK(needs([](auto& o) { o.temperature = 0; }, {}) == 1);
    CHECK(needs([](auto& o) { o.temperature = 0; }, {1, 2}) == 1);
    CHECK(needs([](auto& o) { o.top_k = 7; }, {1, 2}) == 7);
    CHECK(needs([](auto& o) { o.top_k = 0; }, {}) == 0);
    CHECK(needs([](auto& o) { o.repeat_penalty = 1.1f; }, {}) == 40);
    CHECK(needs([](auto& o) { o.repeat_penalty = 1.1f; }, {1, 2, 2}) == 42);
    CHECK(needs([](auto& o) { o.repeat_penalty = 1.1f; }, {1, 2, 2, 2, 2}) == 41); // a window of three
    CHECK(needs([](auto& o) { o.repeat_penalty = 0.9f; }, {1}) == 0);
    CHECK(needs([](auto& o) { o.presence_penalty = -1; }, {1}) == 0);
    CHECK(needs([](auto& o) { o.frequency_penalty = -1; }, {}) == 40);
}

TEST_CASE("a sampler has no memory for each token of the vocabulary unless all logits are needed") {
    const std::size_t vocabulary = 1u << 20;
    const auto bytes_of = [&](const sampler_options& options) {
        const std::size_t before = bitnet_tests::allocated_bytes();
        const auto choose = make(options, vocabulary);
        return bitnet_tests::allocated_bytes() - before;
    };
    auto penalizing = sampler_options{};
    penalizing.repeat_penalty = 1.1f;
    CHECK(bytes_of({}) < 4096);
    CHECK(bytes_of(sampler_options::greedy()) < 4096);
    CHECK(bytes_of(penalizing) < 4096);
    auto rising = sampler_options{};
    rising.repeat_penalty = 0.9f;
    CHECK(bytes_of(rising) > vocabulary);
    auto all = sampler_options{};
    all.top_k = 0;
    CHECK(bytes_of(all) > vocabulary);
}

TEST_CASE("counts of tokens are those of a map, whatever comes and goes") {
    auto made = token_counts::open(50);
    REQUIRE(made);
    std::map<token, std::uint32_t> expected;
    std::vector<token> present;
    std::uint32_t state = 5;
    const auto random = [&](std::uint32_t below) {
        state = state * 1664525u + 1013904223u;
        return (state >> 8) % below;
    };
    for (int step = 0; step < 20000; ++step) {
        if (present.size() < 50 && random(100) < 55) {
            const auto id = static_cast<token>(random(200) * (step % 2 == 0 ? 1u : 4096u));
            present.push_back(id);
            made->add(id);
            ++expected[id];
        } else if (!present.empty()) {
            const std::size_t which = random(static_cast<std::uint32_t>(present.size()));
            const token id = present[which];
            present.erase(present.begin() + static_cast<std::ptrdiff_t>(which));
            made->remove(id);
            if (--expected[id] == 0) {
                expected.erase(id);
            }
        }
        REQUIRE(made->distinct() == expected.size());
        const auto id = static_cast<token>(random(200));
        REQUIRE(made->of(id) == (expected.contains(id) ? expected[id] : 0));
        for (const auto& [each, count] : expected) {
            REQUIRE(made->of(each) == count);
        }
    }
}

TEST_CASE("options outside their range are refused by name") {
    const auto refused = [](auto&& set) {
        sampler_options options;
        set(options);
        const auto made = sampler::open(options, 10);
        REQUIRE_FALSE(made);
        CHECK(made.error().code == errc::invalid_argument);
        return made.error().message;
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(refused([](auto& o) { o.temperature = -1; }) == "sampler: temperature must be 0 to 1e6");
    CHECK(refused([&](auto& o) { o.temperature = nan; }).find("temperature") != std::string::npos);
    CHECK(refused([](auto& o) { o.top_p = 1.5f; }).find("top_p") != std::string::npos);
    CHECK(refused([](auto& o) { o.min_p = -0.1f; }).find("min_p") != std::string::npos);
    CHECK(refused([](auto& o) { o.repeat_penalty = 0; }).find("repeat_penalty") != std::string::npos);
    CHECK(refused([&](auto& o) { o.frequency_penalty = nan; }).find("frequency_penalty") != std::string::npos);
    CHECK(refused([](auto& o) { o.penalty_window = 1u << 20; }).find("penalty_window") != std::string::npos);
}
