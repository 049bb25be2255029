// SPDX-License-Identifier: MIT
// token_chooser: a chooser of the program's own, by itself and with session.next(), beside the sampler.
#include "golden/golden_data.hpp"

#include <bitnet/run/any_session.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/token_chooser.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <span>
#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// The largest logit of the tokens that are allowed: all but the one taken last.
class no_repetition {
public:
    std::size_t needs() const noexcept { return last_ == no_token ? 1 : 2; }
    token choose(std::span<const float> all) const noexcept {
        token best = no_token;
        for (token id = 0; id < static_cast<token>(all.size()); ++id) {
            const bool better =
                best == no_token || all[static_cast<std::size_t>(id)] > all[static_cast<std::size_t>(best)];
            best = id != last_ && better ? id : best;
        }
        return best;
    }
    token choose(std::span<const scored_token> largest) const noexcept {
        const scored_token* best = nullptr;
        for (const scored_token& one : largest) {
            best = one.id != last_ && (best == nullptr || precedes(one, *best)) ? &one : best;
        }
        return best->id;
    }
    void accept(token id) noexcept { last_ = id; }

private:
    token last_ = no_token;
};

struct without_accept {
    std::size_t needs() { return 0; }
    token choose(std::span<const float>) { return 0; }
    token choose(std::span<const scored_token>) { return 0; }
};

/// The largest logit, from as many as it says it needs; counts the calls.
class largest_of_few {
public:
    explicit largest_of_few(std::size_t needed) : needed_(needed) {}

    std::size_t needs() const noexcept { return needed_; }
    token choose(std::span<const float> all) noexcept {
        ++from_all;
        return static_cast<token>(std::ranges::max_element(all) - all.begin());
    }
    token choose(std::span<const scored_token> largest) noexcept {
        ++from_few;
        has_enough = has_enough && largest.size() >= needed_;
        const auto before = [](const scored_token& a, const scored_token& b) { return precedes(a, b); };
        return std::ranges::min_element(largest, before)->id;
    }
    void accept(token id) { accepted.push_back(id); }

    int from_all = 0;
    int from_few = 0;
    bool has_enough = true;
    std::vector<token> accepted;

private:
    std::size_t needed_;
};

/// Sixteen tokens after the same three.
template <class Chooser> std::vector<token> generated(const any_model& opened, Chooser& choose) {
    auto s = any_session::open(opened, {.stop_at_stop_tokens = false});
    REQUIRE(s);
    REQUIRE(s->feed(std::vector<token>{7, 8, 9}));
    std::vector<token> all;
    for (int i = 0; i < 16; ++i) {
        const auto next = s->next(choose);
        REQUIRE(next);
        all.push_back(*next);
    }
    return all;
}

static_assert(token_chooser<no_repetition>);
static_assert(token_chooser<largest_of_few>);
static_assert(token_chooser<sampler>);
static_assert(token_chooser<any_chooser>);
static_assert(!token_chooser<without_accept>);
static_assert(!std::is_constructible_v<any_chooser, no_repetition>, "a temporary would dangle");
static_assert(!std::is_constructible_v<any_chooser, const no_repetition&>);

/// What a session does for each token, with few logits if they suffice.
std::vector<token> taken(any_chooser chooser, std::span<const float> logits, std::span<const scored_token> sorted,
                         int steps) {
    std::vector<token> all;
    for (int i = 0; i < steps; ++i) {
        const std::size_t few = chooser.needs();
        const token id = few == 0 ? chooser.choose(logits) : chooser.choose(sorted.first(few));
        chooser.accept(id);
        all.push_back(id);
    }
    return all;
}

} // namespace

TEST_CASE("a chooser of the program's own works by reference, and keeps its state") {
    const std::vector<float> logits{1.0f, 4.0f, 2.0f, 3.0f};
    const std::vector<scored_token> sorted{{1, 4.0f}, {3, 3.0f}, {2, 2.0f}, {0, 1.0f}};
    no_repetition own;
    CHECK(taken(own, logits, sorted, 4) == std::vector<token>{1, 3, 1, 3});
    CHECK(own.choose(logits) == 1); // `own` accepted these tokens, not a copy of it
    CHECK(any_chooser(own).choose(logits) == 1);
}

TEST_CASE("a sampler by reference chooses what it chooses itself") {
    const std::vector<float> logits{1.0f, 4.0f, 2.0f, 3.0f};
    const std::vector<scored_token> sorted{{1, 4.0f}, {3, 3.0f}, {2, 2.0f}, {0, 1.0f}};
    sampler_options options;
    options.seed = 3;
    options.temperature = 2.0f;
    options.top_k = 3;
    options.repeat_penalty = 1.2f;
    auto direct = sampler::open(options, logits.size());
    auto erased = sampler::open(options, logits.size());
    REQUIRE(direct);
    REQUIRE(erased);
    std::vector<token> expected;
    for (int i = 0; i < 50; ++i) {
        expected.push_back(direct->choose(logits));
        direct->accept(expected.back());
    }
    const std::span<const scored_token> largest(sorted);
    std::vector<token> chosen;
    any_chooser chooser = *erased;
    for (int i = 0; i < 50; ++i) {
        const std::size_t few = chooser.needs();
        REQUIRE(few != 0);
        chosen.push_back(chooser.choose(largest.first(few < largest.size() ? few : largest.size())));
        chooser.accept(chosen.back());
    }
    CHECK(chosen == expected);
}

TEST_CASE("a session gives a chooser of the program's own the logits that it needs, all or a few") {
    for (const lm_head_mode mode : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const auto opened = any_model::open(tiny_model_path(), {.lm_head = mode});
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        auto greedy = sampler::open(sampler_options::greedy(), opened->parameters().vocabulary);
        REQUIRE(greedy);
        const auto expected = generated(*opened, *greedy);
        for (const std::size_t needed : {0u, 3u}) {
            CAPTURE(needed);
            largest_of_few own(needed);
            CHECK(generated(*opened, own) == expected);
            CHECK(own.accepted == expected);
            CHECK(own.has_enough);
            CHECK(own.from_all + own.from_few == 16);
            const bool may_be_few = needed != 0 && mode == lm_head_mode::screened;
            CHECK((may_be_few ? own.from_few > 8 : own.from_few == 0)); // it may have to read all
        }
    }
}

TEST_CASE("a token that is none of the vocabulary is an error, and the session goes on as it was") {
    struct stray {
        std::size_t needs() const noexcept { return 1; }
        token choose(std::span<const float>) const noexcept { return id; }
        token choose(std::span<const scored_token>) const noexcept { return id; }
        void accept(token) noexcept { ++accepted; }

        token id;
        int accepted = 0;
    };
    const auto model = any_model::open(BITNET_TEST_MODEL);
    REQUIRE(model);
    auto session = any_session::open(*model, {});
    REQUIRE(session);
    REQUIRE(session->feed(std::vector<token>{7, 8, 9}));
    const auto vocabulary = static_cast<token>(model->parameters().vocabulary);
    for (const token id : {no_token, token{-2}, vocabulary}) {
        stray choose{id};
        CHECK_FALSE(session->next(choose));
        CHECK(session->stopped_by() == stop_reason::error);
        CHECK(session->last_error().code == (id == no_token ? errc::no_token_left : errc::invalid_token));
        CHECK(choose.accepted == 0);
        CHECK(session->position() == 3);
    }
    stray last{vocabulary - 1};
    CHECK(session->next(last) == vocabulary - 1);
    CHECK(last.accepted == 1);
}
