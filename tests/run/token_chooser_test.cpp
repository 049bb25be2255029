// SPDX-License-Identifier: MIT
// token_chooser: a chooser of the program's own beside the sampler, both by reference.
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/token_chooser.hpp>

#include <doctest/doctest.h>

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

static_assert(token_chooser<no_repetition>);
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
    CHECK(own.choose(logits) == 1); // it was `own` that accepted these tokens, not a copy
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
