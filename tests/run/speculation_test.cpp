// SPDX-License-Identifier: MIT
// speculation: whatever is guessed, the tokens, logits and choosers of a session that does not speculate.
#include "golden/golden_data.hpp"
#include "run/counted_allocations.hpp"
#include "run/isas_that_run.hpp"
#include "soak.hpp"

#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/kv_pool.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/logit_bias.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/prompt_lookup.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/speculation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}

any_model open_tiny(lm_head_mode head, std::string_view isa = {}) {
    open_options options;
    options.lm_head = head;
    return must(any_model::open(tiny_model_path(), options, isa));
}

std::vector<token> prompt_of(const any_model& opened, std::string_view text = "Once upon a time there was a little") {
    return must(opened.text().encode(text));
}

/// Guesses what is known to come, but for every n-th token.
class oracle {
public:
    oracle(std::size_t prompt, std::vector<token> known, std::size_t wrong_each)
        : prompt_(prompt), known_(std::move(known)), wrong_each_(wrong_each) {}

    std::span<const token> propose(std::span<const token> all, std::size_t at_most) {
        guesses_.clear();
        for (std::size_t i = all.size() - prompt_; i < known_.size() && guesses_.size() < at_most; ++i) {
            const bool is_wrong = wrong_each_ != 0 && i % wrong_each_ == wrong_each_ - 1;
            guesses_.push_back(is_wrong ? (known_[i] + 1) % 100 : known_[i]);
        }
        return guesses_;
    }

private:
    std::size_t prompt_;
    std::vector<token> known_;
    std::size_t wrong_each_;
    std::vector<token> guesses_;
};

/// The same of a session that has lost tokens on the way: finds its last ones in the whole text.
class oracle_of_ends {
public:
    oracle_of_ends(std::vector<token> text, std::size_t wrong_each) : text_(std::move(text)), wrong_each_(wrong_each) {}

    std::span<const token> propose(std::span<const token> all, std::size_t at_most) {
        const auto end = all.last((std::min)(all.size(), std::size_t{12}));
        const auto behind = std::search(text_.begin(), text_.end(), end.begin(), end.end());
        guesses_.clear();
        for (auto i = static_cast<std::size_t>(behind - text_.begin()) + end.size();
             i < text_.size() && guesses_.size() < at_most; ++i) {
            guesses_.push_back(wrong_each_ != 0 && i % wrong_each_ == 0 ? (text_[i] + 1) % 100 : text_[i]);
        }
        return guesses_;
    }

private:
    std::vector<token> text_;
    std::size_t wrong_each_;
    std::vector<token> guesses_;
};

/// Guesses what no vocabulary has, more than was asked for, or always the same.
struct nonsense {
    std::vector<token> all;
    std::span<const token> propose(std::span<const token>, std::size_t) const { return all; }
};

static_assert(token_draft<oracle>);
static_assert(token_draft<nonsense>);
static_assert(token_draft<prompt_lookup>);

/// What was written, by which state of the sampler, and the logits behind it.
struct written {
    std::vector<token> tokens;
    std::vector<std::byte> sampler;
    std::vector<float> logits;
    stop_reason stopped = stop_reason::none;

    friend bool operator==(const written& a, const written& b) {
        return a.tokens == b.tokens && a.sampler == b.sampler && a.stopped == b.stopped &&
               a.logits.size() == b.logits.size() &&
               (a.logits.empty() ||
                std::memcmp(a.logits.data(), b.logits.data(), a.logits.size() * sizeof(float)) == 0);
    }
};

/// Calls next() `count` times at most; looks at the logits now and then, if they are asked for.
template <class Next>
written write(any_session& session, const sampler& choose, std::size_t count, bool wants_logits, Next&& next) {
    written made;
    for (std::size_t i = 0; i < count; ++i) {
        const auto id = next();
        if (!id) {
            made.stopped = session.stopped_by();
            break;
        }
        made.tokens.push_back(*id);
        if (wants_logits && i % 7 == 3) {
            const auto logits = must(session.logits());
            made.logits.insert(made.logits.end(), logits.begin(), logits.end());
        }
    }
    REQUIRE(choose.save(made.sampler));
    if (session.position() != session.context()) {
        const auto logits = must(session.logits());
        made.logits.insert(made.logits.end(), logits.begin(), logits.end());
    }
    return made;
}

constexpr std::size_t length = 40;

written plainly(const any_model& opened, const std::vector<token>& prompt, const sampler_options& sampling,
                const session_options& options, bool wants_logits = false, std::size_t count = length) {
    auto session = must(any_session::open(opened, options));
    auto choose = must(sampler::open(sampling, opened.parameters().vocabulary));
    REQUIRE(session.feed(prompt));
    return write(session, choose, count, wants_logits, [&] { return session.next(choose); });
}

template <class Draft>
written speculating(const any_model& opened, const std::vector<token>& prompt, const sampler_options& sampling,
                    const session_options& options, Draft&& draft, speculation_statistics* told = nullptr,
                    bool wants_logits = false, speculation_options how = {.is_adaptive = false},
                    std::size_t count = length) {
    auto session = must(any_session::open(opened, options));
    auto choose = must(sampler::open(sampling, opened.parameters().vocabulary));
    auto faster = must(speculation<std::remove_reference_t<Draft>>::open(session, draft, how));
    REQUIRE(session.feed(prompt));
    auto made = write(session, choose, count, wants_logits, [&] { return faster.next(choose); });
    if (told != nullptr) {
        *told = faster.statistics();
    }
    return made;
}

std::vector<sampler_options> samplings() {
    std::vector<sampler_options> all(4);
    all[0] = sampler_options::greedy();
    all[1].seed = 7;
    all[1].temperature = 1.1f;
    all[2].seed = 8;
    all[2].repeat_penalty = 1.3f;
    all[2].frequency_penalty = 0.2f;
    all[2].dry_multiplier = 0.8f;
    all[3].seed = 9;
    all[3].top_k = 0;
    all[3].temperature = 0.9f;
    return all;
}

session_options one_thread() { return {.context = 200, .threads = 1, .stop_at_stop_tokens = false}; }

} // namespace

TEST_CASE("speculating gives the tokens, logits and sampler of not speculating, whatever is guessed") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model opened = open_tiny(head);
        const auto prompt = prompt_of(opened);
        for (const sampler_options& sampling : samplings()) {
            const bool wants_logits = sampling.seed == 7;
            const auto expected = plainly(opened, prompt, sampling, one_thread(), wants_logits);
            for (const std::size_t wrong_each : {0u, 1u, 5u}) {
                speculation_statistics told;
                oracle draft(prompt.size(), expected.tokens, wrong_each);
                CHECK(speculating(opened, prompt, sampling, one_thread(), draft, &told, wants_logits) == expected);
                CHECK(told.tokens == length);
                CHECK((wrong_each != 1 || told.accepted == 0));
                CHECK((wrong_each != 0 || told.tokens_per_pass() > 7));
                CHECK((wrong_each != 5 || told.tokens_per_pass() > 3));
            }
            oracle half(prompt.size(), expected.tokens, 2);
            CHECK(speculating(opened, prompt, sampling, one_thread(), half, nullptr, wants_logits, {}) == expected);
        }
    }
}

TEST_CASE("a window drops the same pages under guesses, right or wrong, as without") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const session_options sliding{.context = 512, .window = true, .threads = 1, .stop_at_stop_tokens = false};
    std::vector<token> text = prompt_of(opened);
    while (text.size() < 490) {
        text.push_back(text[text.size() - 7]);
    }
    const std::vector<token> prompt = text;
    constexpr std::size_t count = 300; // two pages go
    const auto expected = plainly(opened, prompt, samplings()[1], sliding, false, count);
    CHECK(expected.tokens.size() == count);
    text.insert(text.end(), expected.tokens.begin(), expected.tokens.end());
    for (const std::size_t wrong_each : {0u, 3u}) {
        speculation_statistics told;
        CHECK(speculating(opened, prompt, samplings()[1], sliding, oracle_of_ends(text, wrong_each), &told, false,
                          {.is_adaptive = false}, count) == expected);
        CHECK(told.tokens == count);
        CHECK(told.accepted > (wrong_each == 0 ? 200u : 100u));
    }
    CHECK(speculating(opened, prompt, samplings()[1], sliding, must(prompt_lookup::open(512, 1)), nullptr, false,
                      {.is_adaptive = false}, count) == expected);
}

TEST_CASE("guesses that no vocabulary has, too many, none, and those of a lookup change nothing") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto prompt = prompt_of(opened);
    const sampler_options sampling = samplings()[2];
    const auto expected = plainly(opened, prompt, sampling, one_thread());
    const auto vocabulary = static_cast<token>(opened.parameters().vocabulary);
    for (const nonsense& draft : {nonsense{{no_token}}, nonsense{{expected.tokens[1], vocabulary}}, nonsense{},
                                  nonsense{std::vector<token>(100, 5)}, nonsense{{INT32_MAX, INT32_MIN}}}) {
        CHECK(speculating(opened, prompt, sampling, one_thread(), draft) == expected);
    }
    auto lookup = must(prompt_lookup::open(200, 1));
    CHECK(speculating(opened, prompt, sampling, one_thread(), lookup) == expected);
    auto session = must(any_session::open(opened, one_thread()));
    CHECK(session.run_ahead(prompt) == 0); // nothing was fed
    auto refused = speculation<prompt_lookup>::open(session, lookup, {.most = 16});
    REQUIRE(!refused);
    CHECK(refused.error().message == "speculation: 16 guesses to a pass were asked for, up to 15 are possible");
}

TEST_CASE("every instruction set verifies guesses with the same tokens, and so do other elements of a KV cache") {
    constexpr std::size_t count = 7;
    const auto check = [](const any_model& opened) {
        const std::vector<token> prompt = prompt_of(opened, "Once upon");
        const auto expected = plainly(opened, prompt, samplings()[1], one_thread(), false, count);
        oracle draft(prompt.size(), expected.tokens, 4);
        CHECK(speculating(opened, prompt, samplings()[1], one_thread(), draft, nullptr, false, {.is_adaptive = false},
                          count) == expected);
        return expected;
    };
    const auto expected = check(open_tiny(lm_head_mode::screened, "scalar"));
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CHECK(check(open_tiny(lm_head_mode::screened, isa)) == expected);
    }
    check(must(any_model::open<ladder<policy<isa::scalar>::with_kv<std::int8_t>>>(tiny_model_path())));
}

TEST_CASE("on a text that repeats a lookup's guesses come true") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto greedy = sampler_options::greedy();
    auto prompt = prompt_of(opened);
    const std::vector<token> again = prompt;
    for (const auto& part : {plainly(opened, prompt, greedy, one_thread()).tokens, again}) {
        prompt.insert(prompt.end(), part.begin(), part.end());
    }
    const auto expected = plainly(opened, prompt, greedy, one_thread());
    auto lookup = must(prompt_lookup::open(200));
    speculation_statistics told;
    CHECK(speculating(opened, prompt, greedy, one_thread(), lookup, &told) == expected);
    CHECK(told.tokens_per_pass() > 1.5);
    CHECK(told.accepted <= told.drafted);
    CHECK(told.accepted > length / 3);
}

namespace {

/// What a speculating session and one that does not give under a grammar.
std::vector<token> under_grammar(const any_model& opened, const token_trie& trie, const grammar& texts,
                                 const sampler_options& sampling, std::optional<std::size_t> limit,
                                 const std::vector<token>* known, speculation_statistics& told) {
    const auto prompt = prompt_of(opened);
    auto session = must(any_session::open(opened, {.context = 300, .threads = 1}));
    auto inner = must(sampler::open(sampling, opened.parameters().vocabulary));
    auto constraint = must(token_constraint::open(
        texts, trie, {.limit = limit, .masks = 16, .matcher = {}, .forced = forced_text::canonical}));
    auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
    oracle draft(prompt.size(), known != nullptr ? *known : std::vector<token>(), 6);
    auto faster = must(speculation<oracle>::open(session, draft, {.is_adaptive = false}));
    REQUIRE(session.feed(prompt));
    std::vector<token> made;
    while (!constraint.is_done() && made.size() < 45) {
        const auto id = known != nullptr ? faster.next(choose) : session.next(choose);
        if (!id) {
            REQUIRE_MESSAGE(session.stopped_by() == stop_reason::stop_token, session.last_error().message);
            break;
        }
        made.push_back(*id);
    }
    told = faster.statistics();
    return made;
}

} // namespace

TEST_CASE("under a grammar, near its limit too, speculating gives the same tokens") {
    const grammar texts = must(grammar::json_schema(
        R"({"type":"object","properties":{"name":{"type":"string","maxLength":20},"count":{"type":"integer"},
            "kind":{"enum":["sword","shield"]}},"required":["name","count","kind"],"additionalProperties":false})"));
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model opened = open_tiny(head);
        const token_trie trie = must(token_trie::open(opened.text()));
        for (const sampler_options& sampling : samplings()) {
            for (const std::optional<std::size_t> limit :
                 {std::optional<std::size_t>(), std::optional<std::size_t>(40)}) {
                speculation_statistics told;
                const auto expected = under_grammar(opened, trie, texts, sampling, limit, nullptr, told);
                CHECK(under_grammar(opened, trie, texts, sampling, limit, &expected, told) == expected);
                CHECK(told.tokens_per_pass() > 3);
            }
        }
    }
}

namespace {

/// A beginning of a story, another one for each number below 10,000.
std::string beginning(std::size_t number) {
    constexpr std::string_view who[] = {"A little girl", "The old man", "Tom", "Lily and Ben", "A big dog",
                                        "My friend",     "The red car", "Mom", "One bird",     "A sad bear"};
    constexpr std::string_view does[] = {" went to",  " saw",        " played in",  " wanted", " ran from",
                                         " hid from", " dreamed of", " looked for", " found",  " was in"};
    constexpr std::string_view what[] = {" the park",  " a house",    " the sea", " a cake",   " the garden",
                                         " the woods", " a nice toy", " a boat",  " a flower", " the rain"};
    constexpr std::string_view end[] = {".",         " and",        ". Then",     " because", ". He said, \"",
                                        ". One day", " every day.", " with Anna", "!",        ", but"};
    std::string made(who[number % 10]);
    made.append(does[number / 10 % 10]).append(what[number / 100 % 10]).append(end[number / 1000 % 10]);
    return made.append(" ").append(made); // of which a lookup knows something
}

/// Writes with one chooser, for one prompt after the other.
class writer {
public:
    writer(const any_model& opened, const sampler_options& sampling, const grammar* texts, const token_trie& trie)
        : lookup_(must(prompt_lookup::open(200, 1))), draft_(0, {}, 3),
          session_(must(any_session::open(opened, {.context = 200, .threads = 1}))),
          inner_(must(sampler::open(sampling, opened.parameters().vocabulary))) {
        if (texts != nullptr) {
            constraint_ = must(token_constraint::open(*texts, trie, {.limit = 40, .masks = 16, .matcher = {}}));
            held_ = must(constrained_chooser<sampler>::open(inner_, *constraint_));
        }
    }
    writer(const writer&) = delete;
    writer& operator=(const writer&) = delete;

    std::vector<token> plainly(const std::vector<token>& prompt) {
        return write(prompt, [&](auto& choose) { return session_.next(choose); });
    }
    /// \param known what comes, which is guessed with mistakes; null: by a lookup
    std::vector<token> speculating(const std::vector<token>& prompt, const std::vector<token>* known) {
        draft_ = oracle(prompt.size(), known != nullptr ? *known : std::vector<token>(), 3);
        auto guessing = must(speculation<oracle>::open(session_, draft_, {.is_adaptive = false}));
        auto looking = must(speculation<prompt_lookup>::open(session_, lookup_, {.is_adaptive = false}));
        auto made = write(
            prompt, [&](auto& choose) { return known != nullptr ? guessing.next(choose) : looking.next(choose); });
        accepted += guessing.statistics().accepted + looking.statistics().accepted;
        return made;
    }
    std::size_t accepted = 0;

private:
    template <class Next> std::vector<token> write(const std::vector<token>& prompt, Next&& next) {
        constexpr std::size_t most = 40;
        session_.reset();
        inner_.reset();
        REQUIRE(session_.feed(prompt));
        std::vector<token> made;
        if (held_) {
            constraint_->restart();
        }
        while (made.size() < most && !(held_ && constraint_->is_done())) {
            const auto id = held_ ? next(*held_) : next(inner_);
            if (!id) {
                made.push_back(no_token); // the end of a text
                CHECK_MESSAGE(session_.stopped_by() == stop_reason::stop_token, session_.last_error().message);
                break;
            }
            made.push_back(*id);
        }
        return made;
    }

    prompt_lookup lookup_;
    oracle draft_;
    any_session session_;
    sampler inner_;
    std::optional<token_constraint> constraint_;
    std::optional<constrained_chooser<sampler>> held_;
};

} // namespace

// By hand: build/release/tests/test_run -tc="many prompts*" --speculated-prompts=1000
TEST_CASE("many prompts, samplers, with a grammar and without: speculating gives the same tokens") {
    const grammar texts = must(grammar::json_schema(
        R"({"type":"object","properties":{"who":{"type":"string"},"n":{"type":"integer"},"is":{"type":"boolean"}},)"
        R"("required":["who","is"],"additionalProperties":false})"));
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    const auto count = static_cast<std::size_t>(bitnet_tests::speculated_prompts);
    for (const std::size_t sampling : {0u, 1u, 2u}) {
        for (const grammar* const held_to : {static_cast<const grammar*>(nullptr), &texts}) {
            writer plain(opened, samplings()[sampling], held_to, trie);
            writer faster(opened, samplings()[sampling], held_to, trie);
            std::size_t different = 0;
            for (std::size_t i = 0; i < count; ++i) {
                const auto prompt = prompt_of(opened, beginning(i * 7919 % 10000));
                const auto expected = plain.plainly(prompt);
                different += faster.speculating(prompt, nullptr) != expected ? 1u : 0u;
                different += faster.speculating(prompt, &expected) != expected ? 1u : 0u;
            }
            CHECK(different == 0);
            CHECK(faster.accepted > count * 10);
        }
    }
}

TEST_CASE("a session ends at stop tokens, the end of the context and a cancel flag as without guesses") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto prompt = prompt_of(opened);
    const auto vocabulary = opened.parameters().vocabulary;
    session_options options{.context = prompt.size() + 30, .threads = 1, .stop_at_stop_tokens = false};
    const auto expected = plainly(opened, prompt, samplings()[1], options);
    CHECK(expected.stopped == stop_reason::context_full);
    oracle draft(prompt.size(), expected.tokens, 7);
    CHECK(speculating(opened, prompt, samplings()[1], options, draft) == expected);

    auto session = must(any_session::open(opened, options));
    auto choose = must(sampler::open(samplings()[1], vocabulary));
    auto faster = must(speculation<oracle>::open(session, draft, {.is_adaptive = false}));
    REQUIRE(session.feed(prompt));
    std::atomic<bool> flag{false};
    session.set_cancel_flag(&flag);
    std::vector<token> made;
    for (std::size_t i = 0; i < 200 && made.size() < expected.tokens.size(); ++i) {
        flag = i % 3 == 1;
        if (const auto id = faster.next(choose)) {
            made.push_back(*id);
        } else {
            CHECK(session.stopped_by() == stop_reason::cancelled);
        }
    }
    CHECK(made == expected.tokens);

    // A stop token that a guess foretold.
    const token stop = *opened.text().eos();
    std::vector<logit_bias> biases{{stop, 100.0f}};
    sampler_options ending = sampler_options::greedy();
    auto second = must(any_session::open(opened, {.threads = 1}));
    auto usual = must(sampler::open(ending, vocabulary));
    ending.biases = biases;
    auto to_end = must(sampler::open(ending, vocabulary));
    REQUIRE(second.feed(prompt));
    const auto first = second.next(usual);
    REQUIRE(first);
    REQUIRE(second.rewind(prompt.size()));
    REQUIRE(second.next(usual) == first);
    CHECK(second.run_ahead(std::array{stop, token{5}}) == 2);
    CHECK(!second.next(to_end));
    CHECK(second.stopped_by() == stop_reason::stop_token);
    CHECK(second.tokens().back() == stop);
    const auto behind = must(second.logits());
    const std::vector<float> with_guess(behind.begin(), behind.end());
    auto third = must(any_session::open(opened, {.threads = 1}));
    REQUIRE(third.feed(second.tokens()));
    const auto plain = must(third.logits());
    CHECK(std::equal(with_guess.begin(), with_guess.end(), plain.begin(), plain.end()));
}

TEST_CASE("in steps, however small, guesses run within them, and the tokens are the same") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto prompt = prompt_of(opened);
    const auto expected = plainly(opened, prompt, samplings()[1], one_thread());
    oracle draft(prompt.size(), expected.tokens, 7);
    auto session = must(any_session::open(opened, one_thread()));
    auto choose = must(sampler::open(samplings()[1], opened.parameters().vocabulary));
    auto guessing = must(speculation<oracle>::open(session, draft, {.is_adaptive = false}));
    for (int turn = 0; turn < 2; ++turn) { // the second one goes another way than what was guessed
        std::vector<token> made;
        std::size_t stops = 0;
        REQUIRE(session.queue(prompt));
        while (made.size() < length) {
            if (must(guessing.step(std::chrono::nanoseconds(1), choose)) == step_state::working) {
                ++stops;
                continue;
            }
            const auto id = guessing.next(choose);
            REQUIRE(id);
            made.push_back(*id);
        }
        CHECK((made == expected.tokens || turn == 1));
        CHECK((turn == 1 || guessing.statistics().tokens == length));
        CHECK((turn == 1 || guessing.statistics().tokens_per_pass() > 3));
        CHECK(stops > length); // passes with guesses stop in their midst
        session.reset();
    }
}

TEST_CASE("rows that have run ahead are copied with the page that a fork shares") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto prompt = prompt_of(opened);
    const auto greedy = sampler_options::greedy();
    const auto expected = plainly(opened, prompt, greedy, one_thread()).tokens;
    const auto one = must(opened.open_kv_pool(UINT64_C(1) << 30));
    kv_pool pool = must(opened.open_kv_pool(one.page_bytes() * 3));
    session_options options = one_thread();
    options.kv = &pool;
    auto session = must(any_session::open(opened, options));
    auto choose = must(sampler::open(greedy, opened.parameters().vocabulary));
    REQUIRE(session.feed(prompt));
    REQUIRE(session.next(choose) == expected[0]);
    REQUIRE(session.run_ahead(std::span(expected).subspan(1, 3)) == 3);
    auto copy = must(session.fork());
    std::size_t right = 1;
    while (right < length && session.next(choose) == expected[right]) {
        ++right;
    }
    CHECK(right == length);
    right = 1;
    while (right < length && copy.next(choose) == expected[right]) {
        ++right;
    }
    CHECK(right == length);
}

TEST_CASE("tokens from guesses allocate nothing") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const auto prompt = prompt_of(opened);
    auto session = must(any_session::open(opened, one_thread()));
    auto choose = must(sampler::open(samplings()[2], opened.parameters().vocabulary));
    auto lookup = must(prompt_lookup::open(session.context(), 1));
    auto faster = must(speculation<prompt_lookup>::open(session, lookup, {.is_adaptive = false}));
    REQUIRE(session.feed(prompt));
    const std::size_t before = bitnet_tests::allocations();
    bool has_all = true;
    for (std::size_t i = 0; i < 30; ++i) {
        has_all = faster.next(choose).has_value() && has_all;
    }
    CHECK(bitnet_tests::allocations() == before);
    CHECK(has_all);
    CHECK(faster.statistics().drafted > 0);
}

namespace {

class random_numbers {
public:
    explicit random_numbers(unsigned seed) : state_(seed) {}
    std::size_t below(std::size_t end) {
        state_ = state_ * 1103515245u + 12345u;
        return (state_ >> 16) % end;
    }
    std::vector<token> ids(std::size_t count) {
        std::vector<token> all(count);
        std::generate(all.begin(), all.end(), [&] { return static_cast<token>(below(290)); });
        return all;
    }

private:
    unsigned state_;
};

/// Whatever a session can do, in any order, with guesses or without.
class any_calls {
public:
    any_calls(const any_model& opened, kv_pool* pool, bool has_guesses)
        : has_guesses_(has_guesses), options_{.context = 300,
                                              .threads = 1,
                                              .prompt_chunk = 16,
                                              .kv = pool,
                                              .stop_at_stop_tokens = false},
          session_(must(any_session::open(opened, options_))),
          choose_(must(sampler::open(samplings()[1], opened.parameters().vocabulary))),
          batch_(must(any_batch::open(opened, {.sessions = 2, .threads = 1}))) {
        if (has_guesses) {
            REQUIRE(session_.reserve_ahead());
        }
    }

    std::vector<token> said;
    std::vector<float> logits;
    std::size_t ran = 0;

    void start(const std::vector<token>& prompt) { REQUIRE(session_.feed(prompt)); }
    /// \param guesses what the other one said, and then some
    void call(unsigned seed, const std::vector<token>& guesses) {
        random_numbers random(seed);
        if (random.below(4) != 0 && has_guesses_) { // or else the rows that there are have to do
            ran += seed % 2 == 0 ? session_.run_ahead(guesses) : session_.queue_ahead(guesses);
        }
        if (session_.context() - session_.position() < 30) {
            REQUIRE(session_.rewind(20));
        }
        switch (random.below(14)) {
        case 0:
            REQUIRE(session_.feed(random.ids(1 + random.below(20))));
            return;
        case 1:
            REQUIRE(session_.rewind(session_.position() - random.below(3)));
            return;
        case 2: {
            REQUIRE(session_.queue(random.ids(1 + random.below(4))));
            return;
        }
        case 3: {
            while (must(session_.step(std::chrono::microseconds(200), choose_)) == step_state::working) {
            }
            return;
        }
        case 4: {
            auto copy = must(session_.fork());
            take(copy.next(choose_));
            take(copy.next(choose_));
            return random.below(2) == 0 ? std::swap(copy, session_) : void();
        }
        case 5: {
            std::vector<std::byte> saved;
            REQUIRE(session_.save(saved));
            REQUIRE(session_.restore(saved));
            return;
        }
        case 6:
            if (session_.queued() == 0) {
                REQUIRE(batch_.run_pending(std::array{&session_}));
            }
            return;
        case 7:
            return look(must(session_.logits()));
        case 8:
            return look(must(session_.embedding()));
        case 9:
            for (const scored_token& each : must(session_.largest_logits(5))) {
                said.push_back(each.id);
            }
            return;
        case 10: // the beginning of what it has to do
            static_cast<void>(must(session_.step(std::chrono::nanoseconds(1), choose_)));
            return;
        default:
            take(session_.next(choose_));
            if (random.below(3) == 0) {
                std::array<token_logprob, 3> largest;
                logits.push_back(must(session_.logprobs(largest)).logprob);
            }
        }
    }

private:
    void take(std::optional<token> id) {
        REQUIRE(id);
        said.push_back(*id);
    }
    void look(std::span<const float> all) { logits.insert(logits.end(), all.begin(), all.end()); }

    bool has_guesses_;
    session_options options_;
    any_session session_;
    sampler choose_;
    any_batch batch_;
};

void check_any_calls(const any_model& opened, bool has_pool, unsigned seed) {
    const auto one = must(opened.open_kv_pool(UINT64_C(1) << 30));
    kv_pool pool = must(opened.open_kv_pool(one.page_bytes() * 8));
    any_calls plain(opened, has_pool ? &pool : nullptr, false);
    any_calls guessing(opened, has_pool ? &pool : nullptr, true);
    plain.start(prompt_of(opened));
    guessing.start(prompt_of(opened));
    random_numbers random(seed);
    for (unsigned i = 0; i < 150; ++i) {
        const std::size_t said = plain.said.size();
        plain.call(seed * 1000 + i, {});
        // What comes now is right, what comes then is chance.
        std::vector<token> guesses(plain.said.begin() + static_cast<std::ptrdiff_t>(said), plain.said.end());
        const auto more = random.ids(random.below(4));
        guesses.insert(guesses.end(), more.begin(), more.end());
        guessing.call(seed * 1000 + i, guesses);
        REQUIRE(guessing.said == plain.said);
        REQUIRE(guessing.logits == plain.logits);
    }
    CHECK(guessing.ran > 50);
}

} // namespace

TEST_CASE("between guesses a session can be used in any way") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model opened = open_tiny(head);
        for (unsigned seed = 1; seed <= 3; ++seed) {
            check_any_calls(opened, seed % 2 == 1, seed);
        }
    }
}
