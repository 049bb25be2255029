// SPDX-License-Identifier: MIT
// constrained_chooser: what a session writes under a grammar: the same tokens by every way, always whole texts.
#include "golden/golden_data.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/scheduler.hpp>
#include <bitnet/run/speaker.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::allocations;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}

constexpr std::string_view tool_call = R"({"anyOf":[
    {"type":"object","properties":{"name":{"const":"give_item"},"arguments":{"type":"object","properties":{
      "to":{"type":"string","maxLength":30},"item":{"enum":["sword","shield","potion"]},"count":{"type":"integer","minimum":1,
      "maximum":99}},"required":["to","item"],"additionalProperties":false}},"required":["name","arguments"],
      "additionalProperties":false},
    {"type":"object","properties":{"name":{"const":"say"},"arguments":{"type":"object","properties":{"text":{"type":"string"}},
      "required":["text"],"additionalProperties":false}},"required":["name","arguments"],"additionalProperties":false}]})";

any_model open_tiny(lm_head_mode head) {
    open_options options;
    options.lm_head = head;
    return must(any_model::open(tiny_model_path(), options));
}

/// Hides allowed(), so that a session computes all logits, or runs in a batch before.
template <class C> class without_protocol {
public:
    explicit without_protocol(C& of) : of_(&of) {}
    std::size_t needs() { return 0; }
    token choose(std::span<const float> all) { return of_->choose(all); }
    token choose(std::span<const scored_token> largest) { return of_->choose(largest); }
    void accept(token id) { of_->accept(id); }

private:
    C* of_;
};

enum class way { protocol, all_logits, batch };

struct writing {
    std::vector<token> tokens;
    std::string text;
    bool is_complete = false;
};

/// Writes one text after a prompt.
writing written(const any_model& opened, const token_trie& trie, const grammar& texts, sampler_options sampling, way by,
                std::optional<std::size_t> limit) {
    auto session = must(any_session::open(opened, {.threads = 1}));
    auto batch = must(any_batch::open(opened, {.sessions = 1, .threads = 1}));
    auto inner = must(sampler::open(sampling, opened.parameters().vocabulary));
    auto constraint = must(token_constraint::open(
        texts, trie, {.limit = limit, .masks = 16, .matcher = {}, .forced = forced_text::canonical}));
    auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
    without_protocol hidden(choose);
    REQUIRE(session.feed(must(opened.text().encode("Once upon a time"))));
    writing made;
    while (!constraint.is_done() && made.tokens.size() < 300) {
        if (by == way::batch) {
            REQUIRE(batch.run_pending(std::array{&session}));
        }
        const auto next = by == way::all_logits ? session.next(hidden) : session.next(choose);
        if (!next) {
            REQUIRE_MESSAGE(session.stopped_by() == stop_reason::stop_token, session.last_error().message);
            break;
        }
        made.tokens.push_back(*next);
        made.text += opened.text().bytes_of(*next);
    }
    made.is_complete = constraint.can_end();
    return made;
}

/// Lists the tokens of every other mask no more, as if they were too many for that.
class unlisted {
public:
    unlisted(constrained_chooser<sampler>& of, bool is_at_times) : of_(&of), is_at_times_(is_at_times) {}
    result<allowed_tokens> allowed() {
        auto all = of_->allowed();
        if (all && is_at_times_ && all->count > 1 && taken_ % 4 < 2) {
            all->few = {};
        }
        return all;
    }
    std::span<const token> forced() noexcept { return of_->forced(); }
    std::size_t needs() { return of_->needs(); }
    token choose(std::span<const float> all) { return of_->choose(all); }
    token choose(std::span<const scored_token> largest) { return of_->choose(largest); }
    void accept(token id) {
        ++taken_;
        of_->accept(id);
    }

private:
    constrained_chooser<sampler>* of_;
    bool is_at_times_;
    std::size_t taken_ = 0;
};

/// A speaker under a grammar that guesses what it is told will come, but for every third token.
class writer final : public speaker {
public:
    writer(const any_model& opened, const token_trie& trie, const grammar& texts, const sampler_options& sampling,
           forced_text forced, bool unlists, std::vector<token> known)
        : session_(must(any_session::open(opened, {.threads = 1}))),
          inner_(must(sampler::open(sampling, opened.parameters().vocabulary))),
          constraint_(must(token_constraint::open(
              texts, trie, {.limit = std::nullopt, .masks = 16, .matcher = {}, .forced = forced}))),
          choose_(must(constrained_chooser<sampler>::open(inner_, constraint_))), chooser_(choose_, unlists),
          known_(std::move(known)) {
        for (std::size_t i = 2; i < known_.size(); i += 3) {
            known_[i] = (known_[i] + 1) % 300;
        }
        tokens.reserve(most);
        REQUIRE(session_.queue(must(opened.text().encode("Once upon a time"))));
    }

    any_session& session() noexcept override { return session_; }
    std::optional<any_chooser> chooser() noexcept override {
        const bool wants = !has_stopped && !constraint_.is_done() && tokens.size() < most;
        return wants ? std::optional<any_chooser>(any_chooser(chooser_)) : std::nullopt;
    }
    void take(std::optional<token> id) noexcept override {
        has_stopped = !id;
        if (id) {
            tokens.push_back(*id);
        }
    }
    std::span<const token> guess(std::size_t at_most) noexcept override {
        const auto rest = std::span<const token>(known_).subspan((std::min)(known_.size(), tokens.size()));
        return rest.first((std::min)(rest.size(), at_most));
    }
    void add_statistics(const speculation_statistics& more) noexcept override { work.add(more); }

    /// What it has to write, alone.
    static std::vector<token> alone(const any_model& opened, const token_trie& trie, const grammar& texts,
                                    const sampler_options& sampling, forced_text forced) {
        writer made(opened, trie, texts, sampling, forced, false, {});
        while (const auto chooser = made.chooser()) {
            made.take(made.session_.next(made.choose_));
        }
        return made.tokens;
    }

    static constexpr std::size_t most = 90;
    std::vector<token> tokens;
    speculation_statistics work;
    bool has_stopped = false;

private:
    any_session session_;
    sampler inner_;
    token_constraint constraint_;
    constrained_chooser<sampler> choose_;
    unlisted chooser_;
    std::vector<token> known_;
};

} // namespace

static_assert(constrained_token_chooser<constrained_chooser<sampler>>);
static_assert(!constrained_token_chooser<sampler>);

TEST_CASE("under a grammar a session takes the same token by listed rows, a screened head, all logits and a batch") {
    const any_model plain = open_tiny(lm_head_mode::as_stored);
    const any_model screened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(plain.text()));
    const std::array grammars{must(grammar::json_schema(tool_call)),
                              must(grammar::gbnf("root ::= [^\\n]{20,60} \"\\n\"")),
                              must(grammar::choices(std::array<std::string_view, 3>{"yes", "no", "not now"}))};
    std::uint64_t seed = 1;
    for (const grammar& texts : grammars) {
        for (const std::size_t top_k : {0u, 40u}) {
            for (const float temperature : {0.0f, 0.8f, 2.0f}) {
                for (const float penalty : {1.0f, 1.3f}) {
                    sampler_options sampling;
                    sampling.temperature = temperature;
                    sampling.top_k = top_k;
                    sampling.repeat_penalty = penalty;
                    sampling.seed = ++seed;
                    const auto limit = seed % 2 == 0 ? std::optional<std::size_t>(120) : std::nullopt;
                    const writing expected = written(plain, trie, texts, sampling, way::all_logits, limit);
                    CHECK(written(plain, trie, texts, sampling, way::protocol, limit).tokens == expected.tokens);
                    CHECK(written(screened, trie, texts, sampling, way::protocol, limit).tokens == expected.tokens);
                    CHECK(written(plain, trie, texts, sampling, way::batch, limit).tokens == expected.tokens);
                    CHECK(!expected.tokens.empty());
                }
            }
        }
    }
}

TEST_CASE(
    "under a grammar speakers of a scheduler write what each would alone, guessing or not, in passes and in steps") {
    using namespace std::chrono_literals;
    const std::array models{open_tiny(lm_head_mode::as_stored), open_tiny(lm_head_mode::screened)};
    const token_trie trie = must(token_trie::open(models[0].text()));
    const std::array grammars{must(grammar::json_schema(tool_call)),
                              must(grammar::gbnf("root ::= [^\\n]{20,60} \"\\n\"")),
                              must(grammar::choices(std::array<std::string_view, 3>{"yes", "no", "not now"})),
                              must(grammar::gbnf("root ::= \"x = \" [0-9]+ (\", \" [^,]{4,9} | \"; \" [a-z]+){3}"))};
    for (const any_model& opened : models) {
        for (const bool guesses : {false, true}) {
            const auto budget = guesses == (&opened == &models[0]) ? 100us : 0us; // 0: whole passes
            auto all =
                must(scheduler::open(opened, {.speculation = {.is_adaptive = false}, .threads = guesses ? 2u : 1u}));
            std::vector<std::unique_ptr<writer>> writers;
            std::vector<std::vector<token>> expected;
            for (std::size_t i = 0; i < 8; ++i) {
                sampler_options sampling;
                sampling.temperature = i % 3 == 0 ? 0.0f : 1.2f;
                sampling.top_k = i % 2 == 0 ? 40u : 0u;
                sampling.repeat_penalty = i % 4 == 1 ? 1.3f : 1.0f;
                sampling.seed = i;
                const grammar& texts = grammars[i % grammars.size()];
                const forced_text forced = i % 5 == 4 ? forced_text::off : forced_text::canonical;
                expected.push_back(writer::alone(opened, trie, texts, sampling, forced));
                writers.push_back(std::make_unique<writer>(opened, trie, texts, sampling, forced, i % 3 == 2,
                                                           guesses ? expected.back() : std::vector<token>()));
            }
            for (std::size_t first : {0u, 1u, 2u, 5u}) { // 1, 1, 3 and 3 at a time, in passes with room for guesses
                const std::size_t end = first == 0 ? 1 : first == 1 ? 2 : first == 2 ? 5 : 8;
                for (std::size_t i = first; i < end; ++i) {
                    REQUIRE(all.add(*writers[i]));
                }
                while ((budget == 0us ? all.step() : all.step(budget)) == step_state::working) {
                }
                for (std::size_t i = first; i < end; ++i) {
                    CAPTURE(i);
                    CHECK(writers[i]->tokens == expected[i]);
                    CHECK(writers[i]->work.tokens == expected[i].size());
                    CHECK(writers[i]->work.passes + writers[i]->work.accepted >= writers[i]->work.tokens);
                    CHECK(writers[i]->work.drafted >= writers[i]->work.accepted);
                    CHECK(all.remove(*writers[i]));
                }
            }
            CHECK(writers[0]->work.accepted > 10); // what the grammar forces runs together
        }
    }
}

TEST_CASE("tool calls at high temperatures and with random limits are accepted by the matcher, and parse") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    const grammar texts = must(grammar::json_schema(tool_call));
    matcher bytes = must(matcher::open(texts));
    const std::size_t least = bytes.shortest_end();
    std::mt19937 random(3);
    auto session = must(any_session::open(opened, {.threads = 1}));
    auto constraint = must(token_constraint::open(texts, trie));
    const std::vector<token> prompt = must(opened.text().encode("Once upon a time"));
    int forced_ends = 0;
    for (int i = 0; i < 300; ++i) {
        const std::size_t limit = least + random() % 64;
        REQUIRE(constraint.restart(limit));
        sampler_options sampling;
        sampling.temperature = i % 2 == 0 ? 1.5f : 2.0f;
        sampling.top_k = i % 3 == 0 ? 0 : 200;
        sampling.top_p = 1.0f;
        sampling.seed = random();
        auto inner = must(sampler::open(sampling, opened.parameters().vocabulary));
        auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
        session.reset();
        REQUIRE(session.feed(prompt));
        std::string text;
        std::size_t tokens = 0;
        for (; !constraint.is_done(); ++tokens) {
            const auto next = session.next(choose);
            if (!next) {
                REQUIRE_MESSAGE(session.stopped_by() == stop_reason::stop_token, session.last_error().message);
                break;
            }
            text += opened.text().bytes_of(*next);
            forced_ends += constraint.is_near_limit() ? 1 : 0;
        }
        CAPTURE(text);
        CHECK(tokens <= limit);
        bytes.restart();
        CHECK(bytes.accept(text) == text.size());
        CHECK(bytes.can_end());
        CHECK(json_document::parse(text, "tool call"));
    }
    CHECK(forced_ends > 0);
}

TEST_CASE("where nothing is allowed a session stops with an error, and where one token is, no head is read") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    auto session = must(any_session::open(opened, {.threads = 1}));
    auto inner = must(sampler::open({}, opened.parameters().vocabulary));
    auto constraint = must(token_constraint::open(must(grammar::gbnf("root ::= \"\\xff\\xfe\\xff\"")), trie));
    auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
    REQUIRE(session.feed(must(opened.text().encode("Once"))));
    const std::uint64_t before = session.screening().steps;
    while (session.next(choose)) {
    }
    CHECK(session.screening().steps == before);
    if (session.stopped_by() == stop_reason::error) { // a vocabulary may lack bytes that no UTF-8 has
        CHECK(session.last_error().code == errc::no_token_left);
    }
    auto wrong = must(token_constraint::open(must(grammar::gbnf("root ::= \"a\"")), trie));
    auto refused = must(constrained_chooser<sampler>::open(inner, wrong));
    static_cast<void>(wrong.accept(must(opened.text().encode("b"))[0]));
    CHECK(!session.next(refused));
    CHECK(session.stopped_by() == stop_reason::error);
    CHECK(session.last_error().code == errc::invalid_token);
}

TEST_CASE("a session with a constrained chooser allocates nothing") {
    const any_model opened = open_tiny(lm_head_mode::screened);
    const token_trie trie = must(token_trie::open(opened.text()));
    auto session = must(any_session::open(opened, {.threads = 1}));
    auto inner = must(sampler::open({}, opened.parameters().vocabulary));
    auto constraint = must(token_constraint::open(must(grammar::json_schema(tool_call)), trie));
    auto choose = must(constrained_chooser<sampler>::open(inner, constraint));
    REQUIRE(session.feed(must(opened.text().encode("Once"))));
    const std::size_t before = allocations();
    int tokens = 0;
    while (tokens < 60 && session.next(choose)) {
        ++tokens;
    }
    const std::size_t after = allocations();
    CHECK(tokens > 5);
    CHECK(after == before);
}
