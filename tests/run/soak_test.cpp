// SPDX-License-Identifier: MIT
// Conversations to which anything happens, in any order, against plain sessions. By hand, for an hour:
//     build/release/tests/test_run -tc="soak*" --soak=3600
#include "run/dialog_by_hand.hpp"
#include "soak.hpp"

#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;

namespace {

struct dice {
    std::uint64_t state;
    unsigned below(unsigned n) noexcept {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<unsigned>((state >> 33) % n);
    }
};

constexpr std::array<std::string_view, 8> sayings{"Who lived in the castle?",
                                                  "Why?",
                                                  "Once upon a time there was a king who had three sons.",
                                                  "<|eot_id|>",
                                                  "And then",
                                                  "",
                                                  "The fox and the crow \xe2\x82\xac \xf0\x9f\x90\xba",
                                                  "What did they eat, and who cooked it?"};
constexpr std::array<std::string_view, 2> stops{"ing to", ". He"};

using tokens = std::vector<token>;

tokens tokens_of(const conversation& talk) { return {talk.tokens().begin(), talk.tokens().end()}; }

/// Conversations that share a pool of pages too small for all of them, one of them with a window, and plain sessions
/// that have none.
class soak {
public:
    explicit soak(std::uint64_t seed)
        : random_{seed}, model_(*any_model::open(BITNET_TEST_MODEL)),
          plain_(*any_session::open(model_, {.threads = 1, .stop_at_stop_tokens = false})),
          windowed_(*any_session::open(model_,
                                       {.context = 512, .window = true, .threads = 1, .stop_at_stop_tokens = false})) {
        pages_.emplace(*model_.open_kv_pool(4 * model_.open_kv_pool(std::uint64_t{64} << 20)->page_bytes()));
        for (std::size_t i = 0; i < 4; ++i) {
            talks_.push_back(opened(i));
        }
    }

    void do_something() {
        const std::size_t at = random_.below(4);
        conversation& talk = talks_[at];
        const tokens before = tokens_of(talk);
        switch (random_.below(16)) {
        case 0:
        case 1:
        case 2:
            attempt(talk, before, talk.say(saying(), random_.below(4) == 0 ? "Once" : ""));
            break;
        case 3:
        case 4:
        case 5:
            step(talk, std::chrono::hours(1));
            break;
        case 6:
        case 7:
        case 8:
            step(talk, std::chrono::microseconds(random_.below(600)));
            break;
        case 9:
            talk.cancel();
            break;
        case 10:
            attempt(talk, before, talk.regenerate());
            break;
        case 11:
            attempt(talk, before, talk.edit(random_.below(6), saying()));
            break;
        case 12:
            attempt(talk, before, talk.rewind(random_.below(8)));
            break;
        case 13:
            fork(talk, random_.below(4));
            break;
        case 14:
            save(talk, random_.below(4));
            break;
        default:
            random_.below(4) == 0 ? attempt(talk, before, talk.reset()) : attempt(talk, before, talk.retry());
        }
        check(talk);
    }

    std::size_t answers = 0; ///< tokens that were compared
    std::size_t windows = 0; ///< of these those behind a gap
    std::size_t refusals = 0;

private:
    [[nodiscard]] std::string_view saying() noexcept {
        return sayings[random_.below(static_cast<unsigned>(sayings.size()))];
    }

    [[nodiscard]] conversation opened(std::size_t i) {
        sampler_options sampling;
        sampling.seed = random_.below(1000);
        sampling.repeat_penalty = i % 2 == 0 ? 1.1f : 1.0f;
        auto made = conversation::open(model_, {.system = i == 3 ? "" : "You tell fairy tales.",
                                                .session = {.context = i == 2 ? 512 : 90 + 100 * (i % 2),
                                                            .threads = 1 + i % 2,
                                                            .prompt_chunk = 1 + random_.below(20),
                                                            .kv = i == 0 ? nullptr : &*pages_},
                                                .sampling = sampling,
                                                .when_full = i == 1   ? full_context::stop
                                                             : i == 2 ? full_context::window
                                                                      : full_context::drop_oldest,
                                                .stop_texts = i == 2 ? std::span<const std::string_view>()
                                                                     : std::span<const std::string_view>(stops),
                                                .answer_limit = i == 0   ? std::size_t{0}
                                                                : i == 2 ? std::size_t{120}
                                                                         : std::size_t{30}});
        REQUIRE(made);
        for (int turn = 0; i == 2 && turn < 40; ++turn) { // it has come far
            REQUIRE(made->add({turn % 2 == 0 ? "user" : "assistant", sayings[static_cast<unsigned>(turn) % 3]}));
        }
        return *std::move(made);
    }

    /// What was refused has changed nothing.
    void attempt(const conversation& talk, const tokens& before, const result<void>& done) {
        if (!done) {
            ++refusals;
            const errc code = done.error().code;
            CHECK_MESSAGE((code == errc::context_full || code == errc::kv_pool_full || code == errc::invalid_argument),
                          done.error().message);
            CHECK(tokens_of(talk) == before);
        }
    }

    void step(conversation& talk, std::chrono::nanoseconds budget) {
        const tokens before = tokens_of(talk);
        const std::size_t dropped = talk.dropped();
        auto choose = *talk.chooses().copy();
        const auto stepped = talk.step(budget);
        const tokens after = tokens_of(talk);
        if (!stepped) {
            ++refusals;
            CHECK_MESSAGE(stepped.error().code == errc::kv_pool_full, stepped.error().message);
            static_cast<void>(talks_[random_.below(4)].rewind(0)); // gives back pages
        }
        any_session& plain = talk.session().sinks() != 0 ? windowed_ : plain_;
        if (talk.dropped() != dropped || talk.ended_by() == answer_end::stop_text) {
            return; // the tokens before are others, or the last ones
        }
        REQUIRE(after.size() >= before.size());
        REQUIRE(std::equal(before.begin(), before.end(), after.begin()));
        for (std::size_t i = before.size(); i < after.size(); ++i) {
            follow(plain, std::span(after).first(i));
            REQUIRE(plain.next(choose) == after[i]);
            windows += plain.dropped() != 0 ? 1u : 0u;
            ++answers;
        }
    }

    /// The plain session has these tokens, sometimes from the start.
    void follow(any_session& plain, std::span<const token> all) {
        std::size_t kept = 0;
        tokens& held = &plain == &plain_ ? held_ : held_of_windowed_; // with those that the window has dropped
        while ((&plain == &windowed_ || random_.below(50) != 0) && kept < (std::min)(all.size(), held.size()) &&
               held[kept] == all[kept]) {
            ++kept;
        }
        kept = plain.can_rewind(kept) && random_.below(100) != 0 ? kept : 0;
        REQUIRE(plain.rewind(kept));
        REQUIRE(plain.feed(all.subspan(kept)));
        held.assign(all.begin(), all.end());
    }

    void fork(conversation& talk, std::size_t to) {
        auto made = random_.below(2) == 0 ? talk.fork() : talk.fork(random_.below(1000));
        if (!made) {
            ++refusals;
            CHECK_MESSAGE(made.error().code == errc::kv_pool_full, made.error().message);
            return;
        }
        CHECK(tokens_of(*made) == tokens_of(talk));
        check(*made);
        if (&talks_[to] != &talk) {
            talks_[to] = *std::move(made);
        }
    }

    /// What was saved is restored in another conversation, if its context is as long; a changed bit is refused.
    void save(conversation& talk, std::size_t to) {
        std::vector<std::byte> bytes;
        const auto saved =
            talk.save(byte_sink(bytes), {.keys_and_values = random_.below(2) == 0 || talk.dropped_tokens() != 0});
        REQUIRE_MESSAGE(saved, (saved ? "" : saved.error().message));
        conversation& other = talks_[to];
        const tokens before = tokens_of(other);
        const std::size_t changed = random_.below(static_cast<unsigned>(bytes.size()));
        bytes[changed] ^= std::byte{4};
        CHECK_FALSE(other.restore(bytes));
        CHECK(tokens_of(other) == before);
        bytes[changed] ^= std::byte{4};
        const tokens expected = tokens_of(talk);
        const auto restored = other.restore(bytes);
        CHECK(tokens_of(other) == (restored ? expected : before));
        refusals += restored ? 0u : 1u;
        check(other);
    }

    void check(conversation& talk) {
        const tokens now = tokens_of(talk);
        CHECK(now == bitnet_tests::tokens_by_hand(talk, model_));
        CHECK(now.size() - talk.dropped_tokens() <= talk.context() * (talk.session().sinks() != 0 ? 2 : 1));
    }

    dice random_;
    any_model model_;
    any_session plain_;
    any_session windowed_;
    tokens held_;
    tokens held_of_windowed_;
    std::optional<kv_pool> pages_;
    std::vector<conversation> talks_;
};

} // namespace

TEST_CASE("soak: whatever happens to conversations, their tokens are those of a plain session") {
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(bitnet_tests::soak_seconds);
    std::size_t answers = 0;
    std::size_t windows = 0;
    const auto goes_on = [&] { return answers <= 100 || std::chrono::steady_clock::now() < end; };
    for (std::uint64_t seed = 1; goes_on(); ++seed) {
        CAPTURE(seed);
        soak all(seed);
        for (int i = 0; i < 400 && goes_on(); ++i) {
            CAPTURE(i);
            const std::size_t before = all.answers;
            all.do_something();
            answers += all.answers - before;
        }
        windows += all.windows;
    }
    MESSAGE(answers << " tokens, " << windows << " of them in windows that had dropped something");
}
