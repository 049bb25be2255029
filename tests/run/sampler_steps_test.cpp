// SPDX-License-Identifier: MIT
#include <bitnet/run/sampler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

sampler make(const sampler_options& options, std::size_t vocabulary) {
    auto made = sampler::open(options, vocabulary);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

class random_numbers {
public:
    std::uint32_t below(std::uint32_t n) {
        state_ = state_ * 1664525u + 1013904223u;
        return static_cast<std::uint32_t>((static_cast<std::uint64_t>(state_ >> 8) * n) >> 24);
    }
    std::vector<float> logits(std::size_t vocabulary, std::uint32_t values = 64) {
        std::vector<float> made(vocabulary);
        for (float& logit : made) {
            logit = static_cast<float>(below(values)) / 8.0f - 4.0f;
        }
        return made;
    }

private:
    std::uint32_t state_ = 1;
};

token first_of_largest(const std::vector<float>& logits) {
    return static_cast<token>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

std::vector<scored_token> sorted(const std::vector<float>& logits) {
    std::vector<scored_token> all;
    for (std::size_t i = 0; i < logits.size(); ++i) {
        all.push_back({static_cast<token>(i), logits[i]});
    }
    std::sort(all.begin(), all.end(), [](const scored_token& a, const scored_token& b) { return precedes(a, b); });
    return all;
}

/// What DRY takes from each token, by its definition over all that was said.
std::map<token, float> penalties(const std::vector<token>& said, const sampler_options& o) {
    const auto breaks = [&](token id) {
        return std::find(o.dry_breakers.begin(), o.dry_breakers.end(), id) != o.dry_breakers.end();
    };
    std::map<token, float> made;
    const std::size_t from = said.size() > o.dry_window ? said.size() - o.dry_window : 0;
    for (std::size_t end = from + 1; end < said.size(); ++end) { // said[end] follows what ends before it
        std::size_t same = 0;
        while (same < end && said[end - 1 - same] == said[said.size() - 1 - same] && !breaks(said[end - 1 - same])) {
            ++same;
        }
        if (same >= o.dry_allowed_length && !breaks(said[end])) {
            const double lost =
                static_cast<double>(o.dry_multiplier) *
                std::pow(static_cast<double>(o.dry_base), static_cast<double>(same - o.dry_allowed_length));
            made[said[end]] = (std::max)(made[said[end]], static_cast<float>((std::min)(lost, 1e6)));
        }
    }
    return made;
}

std::string refused(const sampler_options& options, std::size_t vocabulary) {
    const auto made = sampler::open(options, vocabulary);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == errc::invalid_argument);
    return made.error().message;
}

} // namespace

TEST_CASE("a bias is added to its token's logit before everything else") {
    random_numbers random;
    int changed = 0;
    for (int round = 0; round < 300; ++round) {
        const std::vector<float> logits = random.logits(50);
        std::vector<logit_bias> biases;
        std::vector<float> expected = logits;
        for (token id = static_cast<token>(random.below(9)); id < 50; id += static_cast<token>(1 + random.below(9))) {
            const float bias = static_cast<float>(random.below(33)) / 4.0f - 4.0f;
            biases.insert(biases.begin(), {id, bias});
            expected[static_cast<std::size_t>(id)] += bias;
        }
        auto options = sampler_options::greedy();
        options.biases = biases;
        auto choose = make(options, 50);
        biases.clear(); // the sampler has its own
        biases.shrink_to_fit();
        CHECK(choose.choose(logits) == first_of_largest(expected));
        CHECK(choose.options().biases.size() > 5);
        changed += first_of_largest(expected) != first_of_largest(logits) ? 1 : 0;
    }
    CHECK(changed > 100);

    const logit_bias halved[] = {{0, 2.0f}};
    auto options = sampler_options::greedy();
    options.biases = halved;
    options.repeat_penalty = 2.0f;
    auto choose = make(options, 2);
    choose.accept(0);
    CHECK(choose.choose(std::vector<float>{2.0f, 1.9f}) == 0); // (2 + 2) / 2, not 2 / 2 + 2, which would be 3
    CHECK(choose.choose(std::vector<float>{2.0f, 2.5f}) == 1);
}

TEST_CASE("a forbidden token is never chosen, whatever the logits are") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    std::vector<logit_bias> biases;
    for (token id = 0; id < 20; ++id) {
        if (id != 11 && id != 12) {
            biases.push_back({id, logit_bias::forbidden()});
        }
    }
    for (const float temperature : {0.0f, 2.0f}) {
        sampler_options options;
        options.temperature = temperature;
        options.biases = biases;
        auto choose = make(options, 20);
        CHECK(choose.needs() == (temperature == 0.0f ? 1 : 40) + 18);
        for (const float others : {nan, infinity, 5.0f}) {
            std::vector<float> logits(20, others);
            for (const float own : {nan, -infinity, infinity, -9.0f}) {
                logits[11] = own;
                logits[12] = own;
                const token all = choose.choose(logits);
                CHECK((all == 11 || all == 12));
                const token few = choose.choose(sorted(logits));
                CHECK((few == 11 || few == 12));
            }
        }
        const std::vector<scored_token> both{{3, 1.0f}, {4, 2.0f}};
        CHECK(choose.choose(both) == no_token); // nothing that may be chosen was offered
    }
}

TEST_CASE("biases that cannot be meant are refused by the token's id") {
    const auto with = [](std::vector<logit_bias> biases, std::size_t vocabulary = 4) {
        sampler_options options;
        options.biases = biases;
        return refused(options, vocabulary);
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    CHECK(with({{4, 1.0f}}) == "sampler: a bias is of token 4, the vocabulary has 4");
    CHECK(with({{-1, 1.0f}}) == "sampler: a bias is of token -1, the vocabulary has 4");
    CHECK(with({{1, nan}}) == "sampler: the bias of token 1 must be -1000 to 1000, or forbidden()");
    CHECK(with({{2, infinity}}) == "sampler: the bias of token 2 must be -1000 to 1000, or forbidden()");
    CHECK(with({{2, 1000.5f}}).find("token 2") != std::string::npos);
    CHECK(with({{3, 1.0f}, {1, 2.0f}, {3, 1.0f}}) == "sampler: the bias of token 3 is given twice");
    CHECK(with({{0, 1.0f}, {1, 2.0f}, {2, 1.0f}, {3, 0.0f}, {3, 0.0f}}) ==
          "sampler: 5 biases were given, the vocabulary has 4 tokens");
    const float never = logit_bias::forbidden();
    CHECK(with({{0, never}, {1, never}}, 2) == "sampler: all 2 tokens are forbidden, none is left to choose");
}

TEST_CASE("typical_p keeps the tokens whose information content is closest to the entropy") {
    random_numbers random;
    int cut = 0;
    for (int round = 0; round < 200; ++round) {
        const std::vector<float> logits = random.logits(12, 1000);
        std::vector<double> p;
        double sum = 0;
        for (const float logit : logits) {
            p.push_back(std::exp(static_cast<double>(logit) / 20));
            sum += p.back();
        }
        double entropy = 0;
        for (double& each : p) {
            each /= sum;
            entropy -= each * std::log(each);
        }
        std::vector<std::pair<double, token>> order;
        for (std::size_t i = 0; i < p.size(); ++i) {
            order.emplace_back(std::abs(-std::log(p[i]) - entropy), static_cast<token>(i));
        }
        std::sort(order.begin(), order.end());
        const double share = 0.05 + 0.9 * random.below(100) / 100.0;
        std::set<token> expected;
        double reached = 0;
        bool is_close = false;
        for (std::size_t i = 0; i < order.size() && reached < share; ++i) {
            expected.insert(order[i].second);
            reached += p[static_cast<std::size_t>(order[i].second)];
            is_close = is_close || std::abs(reached - share) < 1e-4;
            is_close = is_close || (i + 1 < order.size() && order[i + 1].first - order[i].first < 1e-4);
        }
        if (is_close) {
            continue;
        }
        sampler_options options;
        options.temperature = 1.0f;
        options.top_k = 0;
        options.top_p = 1.0f;
        options.typical_p = static_cast<float>(share);
        std::vector<float> scaled;
        for (const float logit : logits) {
            scaled.push_back(logit / 20);
        }
        auto choose = make(options, scaled.size());
        std::set<token> drawn;
        for (int i = 0; i < 2000; ++i) {
            drawn.insert(choose.choose(scaled));
        }
        for (const token id : drawn) {
            CHECK(expected.contains(id));
        }
        for (const token id : expected) {
            CHECK((p[static_cast<std::size_t>(id)] < 0.01 || drawn.contains(id)));
        }
        cut += expected.size() < p.size() ? 1 : 0;
    }
    CHECK(cut > 50);
}

TEST_CASE("typical_p may leave out the likeliest token") {
    // Entropy of 0.5 and ten of 0.05: 1.84. A token of 0.05 carries 3.0, that of 0.5 carries 0.69: nearly as far, but
    // less.
    std::vector<float> logits(11, std::log(0.05f));
    logits[0] = std::log(0.5f);
    sampler_options options;
    options.typical_p = 0.4f;
    auto choose = make(options, 11);
    CHECK(choose.choose(logits) == 0);
    std::vector<float> many(91, std::log(0.01f)); // 0.1 and ninety of 0.01: 4.37, 4.6 is near it, 2.3 is not
    many[0] = std::log(0.1f);
    options.top_k = 0;
    options.temperature = 0.01f;
    auto other = make(options, 91);
    for (int i = 0; i < 50; ++i) {
        CHECK(other.choose(many) != 0);
    }
    CHECK(other.choose(std::vector<float>(91, -std::numeric_limits<float>::infinity())) >= 0);
}

TEST_CASE("DRY takes from the tokens that would repeat what was said, as it is defined") {
    random_numbers random;
    std::size_t penalized = 0;
    for (const std::size_t window : {0u, 1u, 2u, 7u, 30u, 500u}) {
        for (const std::size_t allowed : {1u, 2u, 4u}) {
            for (const bool has_breakers : {false, true}) {
                const std::vector<token> breakers = has_breakers ? std::vector<token>{5, 2} : std::vector<token>{};
                auto options = sampler_options::greedy();
                options.dry_multiplier = 0.5f;
                options.dry_base = 2.0f;
                options.dry_allowed_length = allowed;
                options.dry_window = window;
                options.dry_breakers = breakers;
                auto choose = make(options, 6);
                std::vector<token> said;
                for (int step = 0; step < 150; ++step) {
                    const std::vector<float> logits = random.logits(6, 30);
                    std::vector<float> expected = logits;
                    const auto lost = penalties(said, options);
                    for (const auto& [id, penalty] : lost) {
                        expected[static_cast<std::size_t>(id)] -= penalty;
                    }
                    penalized += lost.size();
                    REQUIRE(choose.choose(logits) == first_of_largest(expected));
                    REQUIRE(choose.needs() == 1 + lost.size());
                    // Two letters first, then six; now and then long repetitions.
                    const token next = step > 20 && step % 50 < 25
                                           ? said[said.size() - 11]
                                           : static_cast<token>(random.below(step < 60 ? 2 : 6));
                    said.push_back(next);
                    choose.accept(next);
                }
                choose.reset();
                CHECK(choose.needs() == 1);
            }
        }
    }
    CHECK(penalized > 3000);
}

TEST_CASE("what DRY takes grows with base to the power of the length, and ends at a million") {
    auto options = sampler_options::greedy();
    options.dry_multiplier = 1.0f;
    options.dry_base = 3.0f;
    auto choose = make(options, 2);
    for (int i = 0; i < 60; ++i) {
        choose.accept(0);
    }
    CHECK(choose.choose(std::vector<float>{0.0f, -999999.0f}) == 1);
    CHECK(choose.choose(std::vector<float>{0.0f, -1000001.0f}) == 0);
    choose.reset();
    for (int i = 0; i < 7; ++i) {
        choose.accept(0); // six before the last one: 3^4
    }
    CHECK(choose.choose(std::vector<float>{0.0f, -80.5f}) == 1);
    CHECK(choose.choose(std::vector<float>{0.0f, -81.5f}) == 0);
}

TEST_CASE("with biases, typical_p and DRY, too, the logits that are needed give the token that all give") {
    const std::size_t vocabulary = 300;
    random_numbers random;
    std::size_t sparse_choices = 0;
    for (int round = 0; round < 60; ++round) {
        std::vector<logit_bias> biases;
        for (token id = 0; id < 300; id += static_cast<token>(1 + random.below(60))) {
            const bool forbids = random.below(3) == 0;
            const float bias = static_cast<float>(random.below(20)) / 8.0f - (round % 5 == 0 ? 1.0f : 2.5f);
            biases.push_back({id, forbids ? logit_bias::forbidden() : bias});
        }
        sampler_options options;
        options.biases = biases;
        options.top_k = 1 + random.below(20);
        options.typical_p = random.below(2) == 0 ? 1.0f : 0.6f;
        options.dry_multiplier = random.below(2) == 0 ? 0.0f : 1.5f;
        options.repeat_penalty = random.below(2) == 0 ? 1.0f : 1.3f;
        options.temperature = round % 4 == 0 ? 0.0f : 1.2f;
        auto full = make(options, vocabulary);
        auto sparse = make(options, vocabulary);
        for (int step = 0; step < 60; ++step) {
            const std::vector<float> logits = random.logits(vocabulary);
            const std::size_t needed = sparse.needs();
            CHECK((needed == 0) == std::any_of(biases.begin(), biases.end(), [](const auto& b) { return b.bias > 0; }));
            const token expected = full.choose(logits);
            const auto all = sorted(logits);
            const token chosen = sparse.choose(
                std::span<const scored_token>(all).first(needed == 0 ? vocabulary : (std::min)(needed, vocabulary)));
            sparse_choices += needed != 0 ? 1 : 0;
            REQUIRE(chosen == expected);
            const token next = step % 3 == 0 ? expected : static_cast<token>(random.below(3));
            full.accept(next);
            sparse.accept(next);
        }
    }
    CHECK(sparse_choices > 500);
}

TEST_CASE("options of typical_p and DRY outside their range are refused by name") {
    const auto with = [](auto&& set) {
        sampler_options options;
        set(options);
        return refused(options, 10);
    };
    const float nan = std::numeric_limits<float>::quiet_NaN();
    CHECK(with([](auto& o) { o.typical_p = 1.1f; }) == "sampler: typical_p must be 0 to 1");
    CHECK(with([&](auto& o) { o.typical_p = nan; }) == "sampler: typical_p must be 0 to 1");
    CHECK(with([](auto& o) { o.dry_multiplier = -1; }) == "sampler: dry_multiplier must be 0 to 1000");
    CHECK(with([](auto& o) { o.dry_base = 0.5f; }) == "sampler: dry_base must be 1 to 100");
    CHECK(with([](auto& o) { o.dry_allowed_length = 0; }) == "sampler: dry_allowed_length must be 1 or more");
    CHECK(with([](auto& o) { o.dry_window = 65537; }) == "sampler: dry_window must be 0 to 65536");
    const token breakers[] = {3, 10};
    CHECK(with([&](auto& o) { o.dry_breakers = breakers; }) ==
          "sampler: a sequence breaker is token 10, the vocabulary has 10");
}
