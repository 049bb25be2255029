// SPDX-License-Identifier: MIT
// Sessions whose tokens a grammar forces, or whose prompt ended in the middle of a word.
#include "golden/golden_data.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/healed_answers.hpp>
#include <bitnet/constrain/healed_prefix.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/speculation.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using bitnet_tests::allocations;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}

any_model open_tiny(lm_head_mode head) {
    open_options options;
    options.lm_head = head;
    return must(any_model::open(tiny_model_path(), options));
}

constexpr std::string_view person = R"({"type":"object","properties":{"the name of the person":{"type":"string",
    "maxLength":9},"kind of animal":{"enum":["a little dog","a little cat"]},"age in years":{"type":"integer",
    "minimum":10,"maximum":19}},"required":["the name of the person","kind of animal","age in years"],
    "additionalProperties":false})";

sampler_options sampling_of(float temperature) {
    sampler_options sampling;
    sampling.temperature = temperature;
    sampling.seed = 5;
    return sampling;
}

/// A sampler that is held to a schema, and what it needs.
struct held_sampler {
    held_sampler(const any_model& opened, const token_trie& trie, forced_text forced, float temperature,
                 std::optional<std::size_t> limit = {})
        : inner(must(sampler::open(sampling_of(temperature), opened.parameters().vocabulary))),
          constraint(must(token_constraint::open(must(grammar::json_schema(person)), trie,
                                                 {.limit = limit, .masks = 16, .matcher = {}, .forced = forced}))),
          choose(must(constrained_chooser<sampler>::open(inner, constraint))) {}

    sampler inner;
    token_constraint constraint;
    constrained_chooser<sampler> choose;
};

/// Knows of forced tokens and does not tell.
class silent_chooser {
public:
    explicit silent_chooser(constrained_chooser<sampler>& of) : of_(&of) {}
    result<allowed_tokens> allowed() { return of_->allowed(); }
    std::size_t needs() { return of_->needs(); }
    token choose(std::span<const float> all) { return of_->choose(all); }
    token choose(std::span<const scored_token> largest) { return of_->choose(largest); }
    void accept(token id) { of_->accept(id); }

private:
    constrained_chooser<sampler>* of_;
};

/// A token_draft without a guess.
struct no_draft {
    std::span<const token> propose(std::span<const token>, std::size_t) { return {}; }
};

/// All tokens that next(session) gives.
template <class Next> std::vector<token> written(any_session& session, const token_constraint& constraint, Next next) {
    std::vector<token> made;
    while (!constraint.is_done() && made.size() < 200) {
        const auto id = next();
        if (!id) {
            REQUIRE_MESSAGE(session.stopped_by() == stop_reason::stop_token, session.last_error().message);
            break;
        }
        made.push_back(*id);
    }
    return made;
}

std::string text_of(const any_model& opened, std::span<const token> tokens) {
    return opened.text().decode(tokens, {.follows_text = true});
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
}

std::vector<token> prompt_of(const any_model& opened) { return must(opened.text().encode("Once upon a time")); }

} // namespace

static_assert(foreseeing_token_chooser<constrained_chooser<sampler>>);
static_assert(!foreseeing_token_chooser<silent_chooser>);
static_assert(constrained_token_chooser<healed_prefix<sampler>>);

TEST_CASE("forced tokens that run together are those of a pass each, and leave the logits of feeding them") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model opened = open_tiny(head);
        const token_trie trie = must(token_trie::open(opened.text()));
        for (const float temperature : {0.0f, 1.5f}) {
            for (const std::size_t chunk : {3u, 128u}) {
                CAPTURE(chunk);
                auto together = must(any_session::open(opened, {.context = 256, .threads = 1, .prompt_chunk = chunk}));
                auto apart = must(any_session::open(opened, {.context = 256, .threads = 1}));
                held_sampler one(opened, trie, forced_text::canonical, temperature);
                held_sampler other(opened, trie, forced_text::canonical, temperature);
                silent_chooser silent(other.choose);
                REQUIRE(together.feed(prompt_of(opened)));
                REQUIRE(apart.feed(prompt_of(opened)));
                const auto made = written(together, one.constraint, [&] { return together.next(one.choose); });
                const auto expected = written(apart, other.constraint, [&] { return apart.next(silent); });
                CHECK(made == expected);
                CHECK(together.position() == apart.position());
                CHECK(one.constraint.is_done());
                auto fed = must(any_session::open(opened, {.context = 256, .threads = 1}));
                REQUIRE(fed.feed(prompt_of(opened)));
                REQUIRE(fed.feed(made));
                const auto logits = must(together.logits());
                CHECK(same_bits(logits, must(fed.logits())));
            }
        }
    }
}

TEST_CASE("what is forced is written as the tokenizer writes it, and off is another way to the same forced text") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    std::array<std::string, 2> texts;
    std::array<std::size_t, 2> counts{};
    for (const forced_text forced : {forced_text::canonical, forced_text::off}) {
        auto session = must(any_session::open(opened, {.context = 256, .threads = 1}));
        held_sampler held(opened, trie, forced, 1.5f);
        REQUIRE(session.feed(prompt_of(opened)));
        const auto made = written(session, held.constraint, [&] { return session.next(held.choose); });
        const std::size_t i = forced == forced_text::off ? 1 : 0;
        texts[i] = text_of(opened, made);
        counts[i] = made.size();
        auto bytes = must(matcher::open(must(grammar::json_schema(person))));
        CHECK(bytes.accept(texts[i]) == texts[i].size());
        CHECK(bytes.can_end());
        if (i == 0) { // the longest of what is forced
            const auto key = must(opened.text().encode("kind of animal", {.follows_text = true}));
            CHECK(std::search(made.begin(), made.end(), key.begin() + 1, key.end()) != made.end());
        }
    }
    CHECK(counts[0] < counts[1]); // at a temperature of 1.5 the model cuts words to pieces
}

TEST_CASE("speculation runs forced tokens first, and guesses of a draft where nothing is forced") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    auto session = must(any_session::open(opened, {.context = 256, .threads = 1}));
    auto plain = must(any_session::open(opened, {.context = 256, .threads = 1}));
    held_sampler held(opened, trie, forced_text::canonical, 0.8f);
    held_sampler other(opened, trie, forced_text::canonical, 0.8f);
    no_draft draft;
    auto faster = must(speculation<no_draft>::open(session, draft));
    REQUIRE(session.feed(prompt_of(opened)));
    REQUIRE(plain.feed(prompt_of(opened)));
    const auto made = written(session, held.constraint, [&] { return faster.next(held.choose); });
    CHECK(made == written(plain, other.constraint, [&] { return plain.next(other.choose); }));
    CHECK(faster.statistics().tokens == made.size());
    CHECK(faster.statistics().drafted != 0);
    CHECK(faster.statistics().accepted == faster.statistics().drafted);
}

TEST_CASE("with forced tokens a text ends within its limit, and nothing is allocated") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    auto bytes = must(matcher::open(must(grammar::json_schema(person))));
    const std::size_t least = bytes.shortest_end();
    auto session = must(any_session::open(opened, {.context = 256, .threads = 1}));
    held_sampler held(opened, trie, forced_text::canonical, 1.5f, least);
    for (std::size_t more = 0; more < 6; ++more) {
        REQUIRE(held.constraint.restart(least + more));
        session.reset();
        REQUIRE(session.feed(prompt_of(opened)));
        std::array<token, 256> made{};
        std::size_t count = 0;
        const std::size_t before = allocations();
        for (auto id = session.next(held.choose); id && count < made.size(); id = session.next(held.choose)) {
            made[count++] = *id;
            if (held.constraint.is_done()) {
                break;
            }
        }
        CHECK(allocations() == before);
        CHECK(count <= least + more);
        const std::string text = text_of(opened, std::span(made).first(count));
        bytes.restart();
        CHECK(bytes.accept(text) == text.size());
        CHECK(bytes.can_end());
    }
}

TEST_CASE("a conversation writes the same under a grammar by answer() and by steps of any budget") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    std::array<std::string, 2> answers;
    for (std::string& answer : answers) {
        conversation_options options;
        options.chat_format = "llama3";
        options.answer_limit = 100;
        options.session.threads = 1;
        auto talk = must(conversation::open(opened, options));
        held_sampler held(opened, trie, forced_text::canonical, 0.8f, 100);
        talk.choose_with(any_chooser(held.choose));
        REQUIRE(talk.say("Tell me"));
        if (&answer == &answers[0]) {
            must(talk.answer([&](std::string_view text) { answer += text; }));
        } else {
            while (must(talk.step(std::chrono::microseconds(1))) != conversation_state::idle) {
                answer += talk.take_text();
            }
            answer += talk.take_text();
        }
    }
    CHECK(answers[0] == answers[1]);
    CHECK(answers[0].starts_with("{\"the name of the person\":"));
}

TEST_CASE("tokens are taken back where a longer token begins with them, by a search of the whole vocabulary") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const tokenizer& text = opened.text();
    const token_trie trie = must(token_trie::open(text));
    for (const std::string_view prompt :
         {"Once upon a ti", "There was a littl", "She was hap", "Lily and Tom. ", "a\n", "a"}) {
        const auto tokens = must(text.encode(prompt));
        std::size_t expected = 0;
        for (std::size_t count = 1; count <= 4 && count < tokens.size(); ++count) {
            const std::string last = text_of(opened, std::span(tokens).last(count));
            for (token id = 0; text.contains(id); ++id) {
                const bool is_text = !text.is_special(id) && !text.is_stop(id);
                const std::string_view bytes = text.bytes_of(id);
                expected = is_text && bytes.size() > last.size() && bytes.starts_with(last) ? count : expected;
            }
        }
        CHECK(tokens_to_heal(trie, tokens) == expected);
    }
    CHECK(tokens_to_heal(trie, must(text.encode("Once upon a ti"))) != 0);
    CHECK(tokens_to_heal(trie, text.stop_tokens()) == 0);
    CHECK(tokens_to_heal(trie, {}) == 0);
}

namespace {

/// Goes on with a prompt by healed_prefix. \return all tokens of the session, those fed included
std::vector<token> healed(const any_model& opened, const token_trie& trie, std::span<const token> prompt,
                          float temperature, std::size_t top_k, std::size_t count) {
    auto session = must(any_session::open(opened, {.context = 128, .threads = 1, .stop_at_stop_tokens = false}));
    sampler_options sampling = sampling_of(temperature);
    sampling.top_k = top_k;
    auto inner = must(sampler::open(sampling, opened.parameters().vocabulary));
    auto choose = must(healed_prefix<sampler>::open(inner, trie));
    const std::size_t fed = must(choose.begin(prompt));
    CHECK(choose.missing() == text_of(opened, prompt.subspan(fed)));
    REQUIRE(session.feed(prompt.first(fed)));
    for (std::size_t i = 0; i < count; ++i) {
        REQUIRE(session.next(choose));
    }
    CHECK(choose.missing().empty());
    return {session.tokens().begin(), session.tokens().end()};
}

} // namespace

TEST_CASE("a healed prefix comes again with the model's tokens, and what follows is as if they had been fed") {
    const any_model plain = open_tiny(lm_head_mode::as_stored);
    const any_model screened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(plain.text()));
    const token_trie other = must(token_trie::open(screened.text()));
    for (const std::string_view prompt : {"Once upon a ti", "There was a littl", "Once upon"}) {
        const auto tokens = must(plain.text().encode(prompt));
        for (const std::size_t top_k : {0u, 40u}) {
            for (const float temperature : {0.0f, 1.0f}) {
                const auto made = healed(plain, trie, tokens, temperature, top_k, 12);
                CHECK(text_of(plain, made).starts_with(prompt));
                CHECK(healed(screened, other, tokens, temperature, top_k, 12) == made);
            }
        }
    }
    // "ti" alone is followed by what it is in other words; healed it becomes the word that everybody expects
    const auto tokens = must(plain.text().encode("Once upon a ti"));
    CHECK(text_of(plain, healed(plain, trie, tokens, 0.0f, 40, 3)).starts_with("Once upon a time"));
    const auto whole = must(plain.text().encode("Once upon a time"));
    CHECK(healed(plain, trie, whole, 0.0f, 40, 6) == healed(plain, trie, tokens, 0.0f, 40, 6));
}

TEST_CASE("a grammar goes on behind a prompt that was taken back, within its limit") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    const auto prompt = must(opened.text().encode("Once upon a ti"));
    const std::size_t back = tokens_to_heal(trie, prompt);
    REQUIRE(back != 0);
    const std::string missing = text_of(opened, std::span(prompt).last(back));
    auto constraint =
        must(token_constraint::open(must(grammar::gbnf("root ::= [a-z]{1,4} \", \" [a-z ]{3,20} \".\"")), trie));
    auto inner = must(sampler::open(sampler_options::greedy(), opened.parameters().vocabulary));
    auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
    for (const std::size_t limit : {12u, 40u}) {
        auto session = must(any_session::open(opened, {.context = 128, .threads = 1}));
        REQUIRE(constraint.restart_behind(missing, limit));
        REQUIRE(session.feed(std::span(prompt).first(prompt.size() - back)));
        const auto made = written(session, constraint, [&] { return session.next(choose); });
        const std::string text = text_of(opened, made);
        CHECK(made.size() <= limit);
        CHECK(text.starts_with(missing + "me, "));
        CHECK(text.ends_with("."));
    }
}

TEST_CASE("a conversation goes on with a word that the host began") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    conversation_options options;
    options.chat_format = "llama3";
    options.answer_limit = 8;
    options.session.threads = 1;
    options.sampling = sampler_options::greedy();
    auto talk = must(conversation::open(opened, options));
    auto inner = must(sampler::open(sampler_options::greedy(), opened.parameters().vocabulary));
    auto choose = must(healed_prefix<sampler>::open(inner, trie));
    const std::string begun = "Once upon a ti";
    const std::string_view said = must(choose.begin(begun));
    CHECK(std::string(said) + std::string(choose.missing()) == begun);
    CHECK(said.size() < begun.size());
    const std::string missing(choose.missing());
    talk.choose_with(any_chooser(choose));
    REQUIRE(talk.say("Tell me", said));
    std::string answer;
    must(talk.answer([&](std::string_view text) { answer += text; }));
    CHECK(answer.starts_with(missing));
    CHECK(talk.history().back().text.starts_with(begun));
}

TEST_CASE("a conversation heals what the host began: as by hand, written anew, forked, saved and with a stop text") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    const healed_answers heals(trie);
    const std::string begun = "Once upon a ti";
    conversation_options options;
    options.chat_format = "llama3";
    options.answer_limit = 8;
    options.session.threads = 1;
    options.sampling = sampling_of(1.0f);
    const auto written = [](conversation& talk) {
        std::string text;
        static_cast<void>(must(talk.answer([&](std::string_view more) { text += more; })));
        return text;
    };
    const auto tokens_of = [](const conversation& talk) {
        return std::vector<token>(talk.tokens().begin(), talk.tokens().end());
    };

    // By hand: what is missing is shown again there.
    auto by_hand = must(conversation::open(opened, options));
    auto inner = must(sampler::open(*options.sampling, opened.parameters().vocabulary));
    auto choose = must(healed_prefix<sampler>::open(inner, trie));
    const std::string_view said = must(choose.begin(std::string_view(begun)));
    const std::string missing(choose.missing());
    REQUIRE(!missing.empty());
    by_hand.choose_with(choose);
    REQUIRE(by_hand.say("Tell me", said));
    const std::string shown = written(by_hand);
    REQUIRE(shown.starts_with(missing));

    options.heal = &heals;
    auto talk = must(conversation::open(opened, options));
    REQUIRE(talk.say("Tell me", begun));
    CHECK(talk.tokens().size() ==
          by_hand.prompt_tokens() + must(opened.text().encode(said, {.follows_text = true})).size());
    const std::string text = written(talk);
    CHECK(missing + text == shown);
    CHECK(tokens_of(talk) == tokens_of(by_hand));
    CHECK(talk.history().back().text == begun + text);
    CHECK(talk.history().back().text == by_hand.history().back().text);
    CHECK(talk.answer_tokens() == 8);

    // Forked and saved before, within and behind what comes again, and written anew.
    for (std::size_t steps = 0; steps <= 4; ++steps) {
        auto first = must(conversation::open(opened, options));
        REQUIRE(first.say("Tell me", begun));
        std::string early;
        while (first.answer_tokens() < steps) {
            REQUIRE(first.step(std::chrono::nanoseconds(0)));
        }
        early += first.take_text();
        std::vector<std::byte> saved;
        REQUIRE(first.save(saved));
        auto fork = must(first.fork());
        auto restored = must(conversation::open(opened, options));
        REQUIRE(restored.restore(saved));
        CHECK(early + written(fork) == text);
        CHECK(early + written(restored) == text);
        CHECK(tokens_of(restored) == tokens_of(talk));
        CHECK(tokens_of(fork) == tokens_of(talk));
        CHECK(restored.history().back().text == begun + text);
        REQUIRE(restored.regenerate());
        CHECK(restored.history().back().text == begun);
        const std::string again = written(restored);
        CHECK(restored.history().back().text == begun + again);
        const auto all = tokens_of(restored);
        const std::size_t answer = restored.prompt_tokens();
        CHECK(text_of(opened, std::span(all).subspan(answer)).starts_with(begun + again.substr(0, 1)));
    }

    // A stop text takes off what is behind it only.
    const std::array<std::string_view, 1> stops{std::string_view(text).substr(text.size() / 2, 3)};
    options.stop_texts = stops;
    auto stopped = must(conversation::open(opened, options));
    REQUIRE(stopped.say("Tell me", begun));
    const std::string before = written(stopped);
    CHECK(before == text.substr(0, text.find(stops[0])));
    CHECK(stopped.history().back().text == begun + before);
    const auto all = tokens_of(stopped);
    CHECK(text_of(opened, std::span(all).subspan(stopped.prompt_tokens())) == begun + before);
    options.stop_texts = {};

    // What ends where a word does is as without; a constrained chooser is let alone; tools are refused.
    auto plain = options;
    plain.heal = nullptr;
    auto with = must(conversation::open(opened, options));
    auto without = must(conversation::open(opened, plain));
    REQUIRE(with.say("Tell me"));
    REQUIRE(without.say("Tell me"));
    CHECK(written(with) == written(without));
    auto constraint = must(token_constraint::open(must(grammar::gbnf("root ::= \"me \" [a-z]{1,20}")), trie));
    auto held = must(constrained_chooser<sampler>::open(inner, constraint));
    with.choose_with(held);
    REQUIRE(with.say("Tell me", begun));
    CHECK(written(with).starts_with("me "));
    tool_set tools;
    REQUIRE(tools.declare({"wait", "Waits."}, R"({"type":"object"})"));
    const auto source = must(constrained_tools::open(tools, trie));
    options.tools = &source;
    options.chat.tools_in_words = true;
    const auto refused = conversation::open(opened, options);
    REQUIRE(!refused);
    CHECK(refused.error().message.find("`heal` and `tools`") != std::string::npos);
    options.heal = nullptr;
    CHECK(conversation::open(opened, options));
}
