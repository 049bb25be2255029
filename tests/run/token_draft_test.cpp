// SPDX-License-Identifier: MIT
// prompt_lookup, draft_model and draft_length: what is guessed, and how much.
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/run/draft_model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/pass_times.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/speculation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}

std::vector<token> guessed(prompt_lookup& lookup, const std::vector<token>& all, std::size_t at_most) {
    const auto guesses = lookup.propose(all, at_most);
    return {guesses.begin(), guesses.end()};
}

/// The longest end that stands earlier, up to 16 tokens, the latest of these: by looking everywhere.
std::vector<token> guessed_by_hand(const std::vector<token>& all, std::size_t shortest, std::size_t at_most) {
    std::size_t best = 0;
    std::size_t best_length = shortest - 1;
    for (std::size_t end = all.size() - std::min<std::size_t>(1, all.size()); end >= 1 && end < all.size(); --end) {
        std::size_t length = 0;
        while (length < end && length < 16 && all[end - 1 - length] == all[all.size() - 1 - length]) {
            ++length;
        }
        if (length > best_length) {
            best = end;
            best_length = length;
        }
    }
    std::vector<token> made;
    for (std::size_t i = 0; best != 0 && i < at_most; ++i) {
        made.push_back(best + i < all.size() ? all[best + i] : made[best + i - all.size()]);
    }
    return made;
}

} // namespace

TEST_CASE("a lookup goes on behind the longest end that stood before, the latest one, and repeats what repeats") {
    auto lookup = must(prompt_lookup::open(100, 2));
    using ids = std::vector<token>;
    CHECK(guessed(lookup, {}, 5).empty());
    CHECK(guessed(lookup, {1, 2, 3, 4}, 5).empty());
    CHECK(guessed(lookup, {1, 2, 3, 4, 1}, 5).empty()); // shorter than two
    CHECK(guessed(lookup, {1, 2, 3, 4, 1, 2}, 5) == ids{3, 4, 1, 2, 3});
    CHECK(guessed(lookup, {1, 2, 3, 4, 1, 2}, 0).empty());
    CHECK(guessed(lookup, {7, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2}, 2) == ids{3, 9}); // three tokens before two
    CHECK(guessed(lookup, {8, 1, 2, 3, 9, 1, 2, 4, 7, 1, 2}, 2) == ids{4, 7}); // the later one
    CHECK(guessed(lookup, {5, 6, 6, 6}, 4) == ids{6, 6, 6, 6});
    CHECK(guessed(lookup, {4, 4, no_token, 4, 4}, 3) == ids{no_token, 4, 4});
    CHECK(guessed(lookup, std::vector<token>(101, 3), 4).empty()); // beyond its context
    CHECK(guessed(lookup, {1, 2, 1, 2}, 1000).size() == 64);

    const auto refused = prompt_lookup::open(100, 17);
    REQUIRE(!refused);
    CHECK(refused.error().message == "prompt lookup: ends of 17 tokens were asked for, 1 to 16 are possible");
    CHECK(!prompt_lookup::open(100, 0));
    auto nothing = must(prompt_lookup::open(0));
    CHECK(guessed(nothing, {1, 2, 3, 1, 2, 3}, 2).empty());
}

TEST_CASE("a lookup of a sequence that grows and is rewound guesses as one that looks everywhere") {
    for (const std::size_t shortest : {1u, 3u}) {
        auto lookup = must(prompt_lookup::open(300, shortest));
        std::vector<token> all;
        unsigned state = 5;
        const auto below = [&](unsigned end) {
            state = state * 1103515245u + 12345u;
            return (state >> 16) % end;
        };
        std::size_t found = 0;
        for (int i = 0; i < 2000; ++i) {
            if (all.size() > 30 || below(20) == 0) {
                all.resize(all.size() - std::min<std::size_t>(all.size(), below(12)));
            }
            for (unsigned more = below(4); more-- > 0;) {
                all.push_back(static_cast<token>(below(3)));
            }
            const auto guesses = guessed(lookup, all, 6);
            CHECK(guesses == guessed_by_hand(all, shortest, 6)); // of 32 places at most
            found += guesses.empty() ? 0u : 1u;
        }
        CHECK(found > 200);
    }
}

TEST_CASE("the length of drafts follows what they cost and how many come true") {
    draft_length length;
    pass_times times;
    CHECK(length.choose(15, times) == 0); // nothing is known
    times.learn(1, 1000);
    CHECK(length.choose(15, times) == 1); // one is cheap enough for a try
    CHECK(length.choose(0, times) == 0);
    for (int i = 0; i < 60; ++i) { // wrong each time
        length.learn(true, false, false);
    }
    CHECK(length.choose(15, times) == 0);
    times.learn(16, 1500);
    for (int i = 0; i < 60; ++i) { // right each time, and rows that cost little
        length.learn(true, true, true);
        length.learn(false, true, true);
    }
    CHECK(length.choose(15, times) == 15);
    CHECK(length.choose(2, times) == 2);
    for (int i = 0; i < 64; ++i) {
        CHECK(length.choose(15, times) == 15);
        length.end_round(15, times);
        length.learn(true, true, true);
    }
    CHECK(length.choose(15, times) == 0); // what they are compared with is measured again
    length.end_round(0, times);
    CHECK(length.choose(15, times) == 15);
    for (int i = 0; i < 60; ++i) { // rows that cost as much as passes
        times.learn(16, 16000);
        times.learn(8, 8000);
        times.learn(2, 2000);
    }
    CHECK(length.choose(15, times) == 0);
    CHECK(times.is_little(10));
    CHECK(!times.is_little(500));
    bool is_doubted = false;
    for (int i = 0; i < 64 * 12; ++i) { // after a while it tries again
        length.end_round(0, times);
        if (length.is_out_of_practice()) {
            is_doubted = true;
            times.doubt_more_than(1);
        }
    }
    CHECK(is_doubted);
    CHECK(length.choose(15, times) > 0);
}

TEST_CASE("among other rows guesses have to gain more than they cost all") {
    draft_length length;
    pass_times times;
    for (std::size_t rows = 1; rows <= 16; ++rows) {
        times.learn(rows, 1000 + 100 * rows);
    }
    for (int i = 0; i < 60; ++i) {
        length.learn(true, true, true);
        length.learn(false, i % 2 == 0, true);
    }
    const std::size_t alone = length.choose(15, times);
    const std::size_t among = length.choose(8, times, 8);
    CHECK(alone > among);
    CHECK(among > 0);
    for (int i = 0; i < 16; ++i) { // fewer
        length.learn(true, false, false);
    }
    CHECK(length.choose(15, times) > 0);
    CHECK(length.choose(8, times, 8) == 0);
}

namespace {

/// What rounds do, with passes of which each row more takes `row` of the first one's thousand.
struct simulated {
    std::uint64_t row;
    std::size_t tokens = 0;
    std::size_t passes = 0;
    std::size_t guessed = 0; ///< guesses that had a row
    std::uint64_t time = 0;

    /// \param comes_true of a token: whether its guess is right \param has_guess whether there is one
    template <class HasGuess, class IsRight>
    void run(std::size_t count, draft_length& length, pass_times& times, HasGuess&& has_guess, IsRight&& is_right) {
        for (const std::size_t end = tokens + count; tokens < end;) {
            const std::size_t wanted = length.choose(15, times);
            const std::size_t offered = has_guess(tokens) ? (std::max)(wanted, std::size_t{1}) : 0;
            const std::size_t ran = wanted != 0 ? offered : 0;
            std::size_t right = 0;
            while (right < offered && is_right(tokens + right)) {
                length.learn(right == 0, true, right < ran);
                ++right;
            }
            if (right < offered) {
                length.learn(right == 0, false, right < ran);
            }
            const std::uint64_t took = 1000 + ran * row;
            times.learn(1 + ran, took);
            length.end_round(ran, times);
            if (length.is_out_of_practice()) {
                times.doubt_more_than(1);
            }
            tokens += 1 + (std::min)(right, ran);
            guessed += ran;
            time += took;
            ++passes;
        }
    }
};

} // namespace

TEST_CASE("false repeats get few rows, whatever a row costs, and copies keep theirs") {
    const auto always = [](std::size_t) { return true; };
    const auto never = [](std::size_t) { return false; };
    for (const std::uint64_t row : {50u, 400u, 900u}) {
        draft_length length;
        pass_times times;
        simulated all{row};
        all.run(400, length, times, always, never);
        CHECK(all.guessed <= (row == 50 ? 20u : 4u)); // cheap ones are tried more often
        CHECK(all.time * 97 <= 100 * 1000 * all.tokens);

        // One guess in eight comes true by chance, at every fifth token.
        simulated some{row};
        draft_length other;
        pass_times measured;
        some.run(
            400, other, measured, [](std::size_t i) { return i % 5 == 0; }, [](std::size_t i) { return i % 40 == 0; });
        CHECK(some.guessed <= (row == 50 ? 250u : 8u));
        CHECK(some.time * 97 <= 100 * 1000 * some.tokens);

        simulated copy{row};
        copy.run(400, length, times, always, always); // after all that was wrong
        CHECK((row == 900 || copy.time * 3 <= 2 * 1000 * copy.tokens));
        CHECK((row != 50 || copy.passes <= 60));
        CHECK(copy.time * 97 <= 100 * 1000 * copy.tokens);

        simulated ended{row};
        ended.run(400, length, times, always, never); // and what was right for long
        CHECK(ended.guessed <= (row == 50 ? 300u : 30u));
        CHECK((copy.time + ended.time) * 97 <= 100 * 1000 * (copy.tokens + ended.tokens));
    }
}

namespace {

buffer<std::byte> random_file(std::uint64_t seed, std::uint32_t layers, std::uint32_t context = 100) {
    bitnet_tests::model_shape shape;
    shape.seed = seed;
    shape.layers = layers;
    shape.context = context;
    return must(bitnet_tests::tiny_model(shape));
}

any_model opened(const buffer<std::byte>& file, bool has_text = true) {
    return must(
        any_model::open(byte_source::borrow(file.span(), "random"), {.load_tokenizer = has_text, .threads = 1}));
}

constexpr session_options one_thread() {
    session_options options;
    options.threads = 1;
    options.stop_at_stop_tokens = false;
    return options;
}

/// 60 tokens, rewound on the way.
template <class Next> std::vector<token> said(any_session& session, const any_model& of, Next&& next) {
    sampler_options sampling;
    sampling.seed = 3;
    sampling.top_k = 2;
    auto choose = must(sampler::open(sampling, of.parameters().vocabulary));
    REQUIRE(session.feed(std::vector<token>{7, 8, 9}));
    std::vector<token> made;
    for (int i = 0; i < 60; ++i) {
        if (i % 20 == 19) {
            REQUIRE(session.rewind(session.position() - 7));
            REQUIRE(session.feed(std::vector<token>{static_cast<token>(i), 12}));
        }
        const auto id = next(choose);
        REQUIRE(id);
        made.push_back(*id);
    }
    return made;
}

} // namespace

TEST_CASE("guesses of the same model mostly come true, of another one some, and neither changes a token") {
    const auto file = random_file(1, 2);
    const any_model main = opened(file);
    auto plain = must(any_session::open(main, one_thread()));
    const auto expected = said(plain, main, [&](sampler& choose) { return plain.next(choose); });
    for (const auto& [seed, context] : {std::pair{1u, 100u}, std::pair{2u, 100u}, std::pair{1u, 30u}}) {
        const auto other_file = random_file(seed, 2, context);
        const any_model other = opened(other_file);
        auto draft = must(draft_model::open(main, other, one_thread()));
        auto session = must(any_session::open(main, one_thread()));
        auto faster = must(speculation<draft_model>::open(session, draft, {.most = 5, .is_adaptive = false}));
        CHECK(said(session, main, [&](sampler& choose) { return faster.next(choose); }) == expected);
        const speculation_statistics& told = faster.statistics();
        CHECK(told.drafted > 0);
        CHECK((seed == 2 || told.accepted > 0));
        CHECK((seed == 2 || context == 30 || told.tokens_per_pass() > 1.5));
        CHECK(draft.session().context() == context);
    }
}

TEST_CASE("greedily, all guesses of the same model come true, and they allocate nothing") {
    const auto file = random_file(1, 1);
    const any_model main = opened(file);
    auto draft = must(draft_model::open(main, main, one_thread()));
    auto session = must(any_session::open(main, one_thread()));
    auto faster = must(speculation<draft_model>::open(session, draft, {.most = 5, .is_adaptive = false}));
    auto choose = must(sampler::open(sampler_options::greedy(), main.parameters().vocabulary));
    REQUIRE(session.feed(std::vector<token>{7, 8, 9}));
    const std::size_t before = bitnet_tests::allocations();
    bool has_all = true;
    for (int i = 0; i < 37; ++i) {
        has_all = faster.next(choose).has_value() && has_all;
    }
    CHECK(bitnet_tests::allocations() == before);
    CHECK(has_all);
    CHECK(faster.statistics().accepted == faster.statistics().drafted);
    CHECK(faster.statistics().passes == 7); // the prompt's, and six of 1 + 5
}

TEST_CASE("a draft model of another vocabulary is refused by what differs") {
    const auto file = random_file(1, 1);
    const any_model main = opened(file);
    const any_model trained = must(any_model::open(tiny_model_path(), {.threads = 1}));
    const auto counts = draft_model::open(main, trained);
    REQUIRE(!counts);
    CHECK(counts.error().code == errc::invalid_argument);
    CHECK(counts.error().message.starts_with("draft model: its vocabulary has "));

    auto tokens = bitnet_tests::tiny_tokens();
    tokens.tokens[40] = "other";
    const auto other_file = must(bitnet_tests::tiny_model({}, tokens));
    const any_model other = opened(other_file);
    const auto spelled = draft_model::open(main, other);
    REQUIRE(!spelled);
    CHECK(spelled.error().message.starts_with("draft model: its token 40 is 'other', that of "));

    const any_model without = opened(file, false);
    CHECK(!draft_model::open(main, without));
    CHECK(!draft_model::open(without, main));
    CHECK(draft_model::open(without, without));
}
