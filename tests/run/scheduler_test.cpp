// SPDX-License-Identifier: MIT
// Speakers that a scheduler serves get the tokens that each would have had alone.
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/open_model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/scheduler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace std::chrono_literals;

namespace {

any_model open_story(lm_head_mode head = lm_head_mode::as_stored) {
    auto opened = any_model::open(BITNET_TEST_MODEL, {.lm_head = head, .threads = 2});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

any_session session_of(const any_model& m, const session_options& options = {.threads = 1, .prompt_chunk = 16}) {
    auto opened = any_session::open(m, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

any_session forked(any_session& from) {
    auto made = from.fork();
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

scheduler scheduler_of(const any_model& m, const scheduler_options& options) {
    auto opened = scheduler::open(m, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

class random_numbers {
public:
    explicit random_numbers(std::uint32_t seed) : state_(seed) {}
    std::size_t below(std::size_t limit) {
        state_ = state_ * 1664525u + 1013904223u;
        return (state_ >> 8) % limit;
    }

private:
    std::uint32_t state_;
};

/// What a speaker is given: tokens to begin with, how to choose and how much.
struct task {
    std::vector<token> prompt;
    sampler_options sampling;
    std::size_t wanted;
};

/// Tasks of all kinds, number i always the same.
task task_of(std::size_t i) {
    random_numbers random(static_cast<std::uint32_t>(i * 77 + 5));
    task made;
    const std::size_t lengths[] = {1, 5, 16, 17, 40, 90, 2, 33};
    made.prompt.resize(lengths[i % 8]);
    for (token& id : made.prompt) {
        id = static_cast<token>(random.below(290));
    }
    made.sampling.seed = i;
    made.sampling.temperature = i % 3 == 0 ? 0.0f : 0.9f;
    made.sampling.repeat_penalty = i % 2 == 0 ? 1.2f : 1.0f;
    made.sampling.presence_penalty = i % 5 == 0 ? -0.1f : 0.0f; // so that all logits are needed
    made.sampling.top_k = i % 7 == 3 ? 0 : 20;
    made.wanted = 6 + i % 9;
    return made;
}

std::vector<token> alone(any_session& session, const any_model& m, const task& work) {
    auto choose = sampler::open(work.sampling, m.parameters().vocabulary);
    REQUIRE((choose && session.feed(work.prompt)));
    std::vector<token> tokens;
    while (tokens.size() < work.wanted) {
        const auto id = session.next(*choose);
        if (!id) {
            break;
        }
        tokens.push_back(*id);
    }
    return tokens;
}
std::vector<token> alone(const any_model& m, const task& work) {
    auto session = session_of(m);
    return alone(session, m, work);
}

class talker final : public speaker {
public:
    talker(any_session session, const any_model& m, const task& work)
        : session_(std::move(session)), choose_(*sampler::open(work.sampling, m.parameters().vocabulary)),
          wanted_(work.wanted) {
        tokens.reserve(wanted_);
        REQUIRE(session_.queue(work.prompt));
    }

    any_session& session() noexcept override { return session_; }
    std::optional<any_chooser> chooser() noexcept override {
        const bool wants = !is_silent && !has_stopped && tokens.size() < wanted_;
        return wants ? std::optional<any_chooser>(any_chooser(choose_)) : std::nullopt;
    }
    void take(std::optional<token> id) noexcept override {
        ++takes;
        if (id) {
            tokens.push_back(*id);
        } else {
            has_stopped = !is_stubborn;
            why = session_.stopped_by();
        }
    }

    /// Guesses what it knows will come, but for every n-th token.
    void know(std::vector<token> text, std::size_t wrong_each) {
        known_ = std::move(text);
        for (std::size_t i = 0; wrong_each != 0 && i < known_.size(); ++i) {
            known_[i] = i % wrong_each == wrong_each - 1 ? (known_[i] + 1) % 100 : known_[i];
        }
    }
    std::span<const token> guess(std::size_t at_most) noexcept override {
        most_asked = (std::max)(most_asked, at_most);
        const auto rest = std::span<const token>(known_).subspan((std::min)(known_.size(), tokens.size()));
        return rest.first((std::min)(rest.size(), at_most));
    }

    std::vector<token> tokens;
    std::size_t most_asked = 0; ///< guesses
    std::size_t takes = 0;
    bool is_silent = false;
    bool is_stubborn = false; ///< wants tokens whatever happened
    bool has_stopped = false;
    stop_reason why = stop_reason::none;

private:
    any_session session_;
    sampler choose_;
    std::size_t wanted_;
    std::vector<token> known_;
};

std::unique_ptr<talker> make_talker(any_session session, const any_model& m, const task& work) {
    return std::make_unique<talker>(std::move(session), m, work);
}

/// \return how many passes that took
std::size_t run_all(scheduler& all) {
    std::size_t passes = 1;
    for (; all.step() == step_state::working; ++passes) {
        REQUIRE(passes < 100000);
    }
    return passes;
}

bitnet_tests::model_shape small_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 1;
    shape.hidden = 128;
    shape.ffn = 256;
    shape.heads = 6;
    shape.kv_heads = 3;
    shape.head_dim = 64;
    shape.context = 640;
    return shape;
}

} // namespace

TEST_CASE("speakers of a scheduler get the tokens that they get alone") {
    for (const auto head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_story(head);
        std::vector<std::vector<token>> expected;
        for (std::size_t i = 0; i < 32; ++i) {
            expected.push_back(alone(m, task_of(i)));
        }
        for (const std::size_t count : {1u, 2u, 8u, 32u}) {
            for (const std::size_t threads : {1u, 3u}) {
                CAPTURE(count);
                CAPTURE(threads);
                auto all = scheduler_of(m, {.answers = count == 32 ? 7u : 32u,
                                            .prompt_chunk = 24,
                                            .prompt_beside_answers = 5,
                                            .threads = threads});
                CHECK(all.threads() == threads);
                std::vector<std::unique_ptr<talker>> talkers;
                for (std::size_t i = 0; i < count; ++i) {
                    talkers.push_back(make_talker(session_of(m), m, task_of(i)));
                    REQUIRE(all.add(*talkers.back(), static_cast<int>(i % 3)));
                }
                CHECK(all.speakers() == count);
                run_all(all);
                for (std::size_t i = 0; i < count; ++i) {
                    CHECK(talkers[i]->tokens == expected[i]);
                    CHECK(talkers[i]->session().queued() == 0);
                }
            }
        }
    }
}

TEST_CASE("speakers that guess get the tokens that they get alone, from fewer passes") {
    for (const auto head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_story(head);
        for (const std::size_t wrong_each : {0u, 1u, 3u}) {
            for (const std::size_t count : {1u, 2u, 5u}) {
                CAPTURE(wrong_each);
                CAPTURE(count);
                auto all = scheduler_of(m, {.speculation = {.is_adaptive = false}, .threads = 1 + count % 2});
                auto pool = m.open_kv_pool(UINT64_C(1) << 24);
                REQUIRE(pool);
                std::vector<std::unique_ptr<talker>> talkers;
                std::vector<std::vector<token>> expected;
                for (std::size_t i = 0; i < count; ++i) {
                    expected.push_back(alone(m, task_of(i * 8))); // a token to begin with
                    const session_options options{.threads = 1, .kv = i % 2 == 0 ? &*pool : nullptr};
                    talkers.push_back(make_talker(session_of(m, options), m, task_of(i * 8)));
                    talkers.back()->know(expected.back(), wrong_each);
                    REQUIRE(all.add(*talkers.back()));
                }
                const std::size_t passes = run_all(all);
                std::size_t longest = 0;
                for (std::size_t i = 0; i < count; ++i) {
                    CHECK(talkers[i]->tokens == expected[i]);
                    CHECK(talkers[i]->most_asked >= (16 - count) / count);
                    longest = (std::max)(longest, expected[i].size());
                }
                CHECK((wrong_each != 0 || passes <= 2 + longest / (1 + 15 / count - 1)));
                CHECK((wrong_each != 1 || passes >= longest));
                talkers.clear();
                CHECK(pool->free_pages() == pool->pages());
            }
        }
    }
}

TEST_CASE("speakers get the tokens that they get alone with every instruction set") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    std::vector<std::vector<token>> expected;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        auto m = any_model::open(byte_source::borrow(bytes->span(), "small"), {}, isa);
        REQUIRE(m);
        auto all = scheduler_of(*m, {.threads = 2});
        std::vector<std::unique_ptr<talker>> talkers;
        for (std::size_t i = 0; i < 5; ++i) {
            if (expected.size() == i) {
                expected.push_back(alone(*m, task_of(i)));
            }
            talkers.push_back(make_talker(session_of(*m), *m, task_of(i)));
            REQUIRE(all.add(*talkers.back()));
        }
        run_all(all);
        for (std::size_t i = 0; i < 5; ++i) {
            CHECK_MESSAGE(talkers[i]->tokens == expected[i], isa);
        }
    }
}

TEST_CASE("speakers that come, leave, are cancelled and raised at any step change nobody's tokens") {
    const any_model m = open_story(lm_head_mode::screened);
    for (std::uint32_t seed = 0; seed < 4; ++seed) {
        CAPTURE(seed);
        random_numbers random(seed);
        auto world = session_of(m);
        auto all = scheduler_of(m, {.speakers = 12,
                                    .answers = 1 + random.below(6),
                                    .prompt_chunk = 1 + random.below(40),
                                    .prompt_beside_answers = 1 + random.below(9),
                                    .speculation = {.is_adaptive = seed % 2 == 0},
                                    .threads = 1 + random.below(3)});
        struct one {
            std::unique_ptr<talker> who;
            std::size_t number;
            std::unique_ptr<std::atomic<bool>> flag;
        };
        std::vector<one> present;
        std::size_t next = 0;
        std::size_t finished = 0;
        const auto check = [&](const one& each, bool is_whole) {
            const auto expected = alone(m, task_of(each.number));
            const auto& tokens = each.who->tokens;
            REQUIRE(tokens.size() <= expected.size());
            CHECK((!is_whole || tokens.size() == expected.size()));
            CHECK(std::equal(tokens.begin(), tokens.end(), expected.begin()));
        };
        for (int step = 0; step < 4000 && finished < 30; ++step) {
            if (present.size() < 12 && random.below(4) == 0) {
                one made{make_talker(forked(world), m, task_of(next)), next,
                         std::make_unique<std::atomic<bool>>(false)};
                ++next;
                made.who->session().set_cancel_flag(made.flag.get());
                made.who->know(alone(m, task_of(made.number)), made.number % 4);
                REQUIRE(all.add(*made.who, static_cast<int>(random.below(3))));
                present.push_back(std::move(made));
            }
            if (!present.empty() && random.below(3) == 0) {
                static_cast<void>(
                    all.set_priority(*present[random.below(present.size())].who, static_cast<int>(random.below(4))));
            }
            if (!present.empty() && random.below(40) == 0) {
                present[random.below(present.size())].flag->store(true);
            }
            const std::chrono::nanoseconds budgets[] = {0ns, 20us, 100us, 1ms, 5ms};
            const auto state = random.below(6) == 0 ? all.step() : all.step(budgets[random.below(5)]);
            CHECK((state == step_state::working || !present.empty() || all.speakers() == 0));
            for (std::size_t i = present.size(); i-- > 0;) {
                talker& who = *present[i].who;
                const bool is_done = !who.chooser() && who.session().queued() == 0;
                if (is_done || who.has_stopped || random.below(120) == 0) {
                    if (who.has_stopped && who.why == stop_reason::cancelled) {
                        CHECK(present[i].flag->load());
                    }
                    REQUIRE(all.remove(who));
                    CHECK_FALSE(all.remove(who));
                    check(present[i], is_done && who.why != stop_reason::cancelled);
                    present.erase(present.begin() + static_cast<std::ptrdiff_t>(i)); // its session ends here
                    ++finished;
                }
            }
        }
        CHECK(finished >= 30);
    }
}

TEST_CASE("a pass that stopped halfway survives what is done to its sessions meanwhile") {
    const any_model m = open_story();
    const task work = task_of(5); // 90 tokens
    for (const int steps : {2, 30, 90, 200, 400}) {
        CAPTURE(steps);
        auto all = scheduler_of(m, {.prompt_chunk = 256, .threads = 1});
        auto changed = make_talker(session_of(m), m, work);
        auto leaving = make_talker(session_of(m), m, task_of(4));
        auto staying = make_talker(session_of(m), m, task_of(12));
        auto stepping = make_talker(session_of(m), m, task_of(13));
        REQUIRE((all.add(*changed) && all.add(*leaving) && all.add(*staying) && all.add(*stepping)));
        for (int i = 0; i < steps; ++i) {
            CHECK(all.step(0ns) == step_state::working);
        }
        CHECK((steps == 400 || changed->session().position() == 0)); // the pass is under way
        REQUIRE(changed->session().rewind(0));                       // and forgets the queue
        REQUIRE(changed->session().feed(std::vector<token>(90, 7)));
        REQUIRE(changed->session().rewind(0));
        REQUIRE(changed->session().queue(work.prompt));
        CHECK(all.step(0ns) == step_state::working);
        REQUIRE(all.remove(*leaving));
        leaving.reset();
        static_cast<void>(stepping->session().step(0ns)); // begins a pass of its own
        CHECK(all.step(0ns) == step_state::working);
        static_cast<void>(stepping->session().step(0ns));
        auto copy = forked(staying->session()); // of a session in a pass
        run_all(all);
        CHECK(changed->tokens == alone(m, work));
        CHECK(staying->tokens == alone(m, task_of(12)));
        CHECK(stepping->tokens == alone(m, task_of(13)));
        if (copy.position() == 0) {
            CHECK(alone(copy, m, task_of(12)) == staying->tokens);
        }
    }
}

TEST_CASE("a session that is restored while a pass has stopped halfway goes on with what was restored") {
    const any_model m = open_story();
    const task other = task_of(3); // 17 tokens
    auto saving = session_of(m);
    REQUIRE(saving.queue(other.prompt));
    std::vector<std::byte> saved;
    REQUIRE(saving.save(saved));
    for (const int steps : {2, 30, 90}) {
        CAPTURE(steps);
        auto all = scheduler_of(m, {.prompt_chunk = 256, .threads = 1});
        task work = task_of(5); // 90 tokens
        work.sampling = other.sampling;
        work.wanted = other.wanted;
        auto restored = make_talker(session_of(m), m, work);
        auto staying = make_talker(session_of(m), m, task_of(12));
        REQUIRE((all.add(*restored) && all.add(*staying)));
        for (int i = 0; i < steps; ++i) {
            CHECK(all.step(0ns) == step_state::working);
        }
        CHECK(restored->session().position() == 0); // the pass is under way
        REQUIRE(restored->session().restore(saved));
        run_all(all);
        CHECK(restored->tokens == alone(m, other));
        CHECK(staying->tokens == alone(m, task_of(12)));
    }
}

TEST_CASE("a session that changes while the head is computed gets the token of what it is then") {
    for (const auto head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_story(head);
        task work = task_of(9);
        auto all = scheduler_of(m, {.threads = 1});
        auto changed = make_talker(session_of(m), m, work);
        auto other = make_talker(session_of(m), m, task_of(12));
        REQUIRE((all.add(*changed) && all.add(*other)));
        const std::size_t end = work.prompt.size();
        while (changed->session().position() != end) {
            CHECK(all.step(0ns) == step_state::working);
        }
        REQUIRE(changed->tokens.empty());
        REQUIRE(changed->session().rewind(end - 2));
        run_all(all);
        work.prompt.resize(end - 2);
        CHECK(changed->tokens == alone(m, work));
        CHECK(other->tokens == alone(m, task_of(12)));
    }
}

TEST_CASE("sessions come with a past, and go on without the scheduler") {
    const any_model m = open_story();
    auto kv = m.open_kv_pool(std::uint64_t{1} << 28);
    REQUIRE(kv);
    auto world = session_of(m, {.threads = 1, .kv = &*kv});
    std::vector<token> past(300);
    for (std::size_t i = 0; i < past.size(); ++i) {
        past[i] = static_cast<token>((i * 37 + 11) % 290);
    }
    REQUIRE(world.feed(past));
    auto all = scheduler_of(m, {.threads = 2});
    std::vector<std::unique_ptr<talker>> talkers;
    std::vector<std::vector<token>> expected;
    for (std::size_t i = 0; i < 6; ++i) {
        task work = task_of(i);
        if (i < 3) {
            work.prompt.clear(); // the state that is there is enough
        }
        auto plain = session_of(m);
        REQUIRE(plain.feed(past));
        expected.push_back(alone(plain, m, work));
        talkers.push_back(make_talker(forked(world), m, work));
        REQUIRE(all.add(*talkers.back()));
        if (i == 1) { // or is not
            REQUIRE(talkers.back()->session().feed(std::span(past).first(40)));
            REQUIRE(talkers.back()->session().rewind(past.size()));
        }
    }
    run_all(all);
    auto greedy = sampler::open(sampler_options::greedy(), m.parameters().vocabulary);
    REQUIRE(greedy);
    for (std::size_t i = 0; i < talkers.size(); ++i) {
        CHECK(talkers[i]->tokens == expected[i]);
        REQUIRE(all.remove(*talkers[i]));
        auto& session = talkers[i]->session();
        auto plain = session_of(m);
        REQUIRE(plain.feed(session.tokens()));
        CHECK(session.next(*greedy) == plain.next(*greedy));
    }
}

TEST_CASE("nobody waits for more than four passes for each speaker, and priority has three of four passes") {
    const any_model m = open_story();
    constexpr std::size_t count = 9;
    auto all = scheduler_of(m, {.answers = 2, .threads = 1});
    std::vector<std::unique_ptr<talker>> talkers;
    for (std::size_t i = 0; i < count; ++i) {
        task work{{static_cast<token>(5 + i)}, sampler_options::greedy(), 1000};
        work.sampling.seed = i;
        talkers.push_back(make_talker(session_of(m, {.threads = 1, .stop_at_stop_tokens = false}), m, work));
        REQUIRE(all.add(*talkers.back(), i < 3 ? 10 - static_cast<int>(i) : 0));
    }
    std::vector<std::size_t> waited(count, 0);
    std::size_t longest = 0;
    constexpr std::size_t passes = 400;
    for (std::size_t pass = 0; pass < passes; ++pass) {
        std::vector<std::size_t> before;
        for (const auto& each : talkers) {
            before.push_back(each->tokens.size());
        }
        REQUIRE(all.step() == step_state::working);
        std::size_t given = 0;
        for (std::size_t i = 0; i < count; ++i) {
            const std::size_t now = talkers[i]->tokens.size() - before[i];
            REQUIRE(now <= 1);
            given += now;
            waited[i] = now != 0 ? 0 : waited[i] + 1;
            longest = std::max(longest, waited[i]);
        }
        CHECK(given == 2);
    }
    CHECK(longest <= 4 * count);
    CHECK(talkers[0]->tokens.size() >= passes * 3 / 4);
    CHECK(talkers[1]->tokens.size() >= passes * 3 / 4);
    for (std::size_t i = 3; i < count; ++i) { // the rest share what is left alike
        CHECK(talkers[i]->tokens.size() >= passes / 4 * 2 / count - 1);
        CHECK(talkers[i]->tokens.size() <= talkers[3]->tokens.size() + 1);
        CHECK(talkers[i]->tokens.size() + 1 >= talkers[3]->tokens.size());
    }
}

TEST_CASE("those that are speaking get a token in every pass while long prompts come in pieces, the urgent one first") {
    const any_model m = open_story();
    auto all = scheduler_of(m, {.prompt_chunk = 64, .prompt_beside_answers = 8, .threads = 1});
    const task speech{{5, 6}, sampler_options::greedy(), 1000};
    auto speaking = make_talker(session_of(m, {.threads = 1, .stop_at_stop_tokens = false}), m, speech);
    REQUIRE(all.add(*speaking));
    REQUIRE(all.step() == step_state::working);
    CHECK(speaking->tokens.size() == 1);
    const task question{std::vector<token>(80, 9), sampler_options::greedy(), 1};
    auto patient = make_talker(session_of(m), m, question);
    auto urgent = make_talker(session_of(m), m, question);
    REQUIRE((all.add(*patient) && all.add(*urgent, 1)));
    std::size_t passes = 0;
    for (; patient->tokens.empty(); ++passes) {
        REQUIRE(passes < 100);
        const std::size_t before = speaking->tokens.size();
        const std::size_t left = patient->session().queued() + urgent->session().queued();
        REQUIRE(all.step() == step_state::working);
        CHECK(speaking->tokens.size() == before + 1);
        CHECK(left - patient->session().queued() - urgent->session().queued() == 8);
        CHECK((urgent->tokens.empty() || passes >= 10));
        CHECK((passes < 14 || !urgent->tokens.empty())); // ten of fourteen passes
    }
    CHECK(passes == 20);
}

TEST_CASE("a speaker whose context or pool is full, or that has nothing to say, fails alone") {
    const any_model m = open_story();
    auto one = m.open_kv_pool(std::uint64_t{1} << 30);
    REQUIRE(one);
    auto kv = m.open_kv_pool(one->page_bytes() * 2);
    REQUIRE(kv);
    auto all = scheduler_of(m, {.threads = 2});
    task work = task_of(1);
    auto good = make_talker(session_of(m), m, work);
    auto empty = make_talker(session_of(m), m, {{}, {}, 3});
    auto full = make_talker(session_of(m, {.context = 8, .stop_at_stop_tokens = false}), m, {{1, 2, 3, 4, 5}, {}, 9});
    auto filled = make_talker(session_of(m, {.context = 5}), m, {{1, 2, 3, 4, 5}, {}, 9});
    task long_one{std::vector<token>(250, 8), sampler_options::greedy(), 12};
    std::vector<std::unique_ptr<talker>> pooled; // each has a page, and needs another one after six tokens
    for (int i = 0; i < 2; ++i) {
        pooled.push_back(
            make_talker(session_of(m, {.threads = 1, .kv = &*kv, .stop_at_stop_tokens = false}), m, long_one));
        REQUIRE(all.add(*pooled.back()));
    }
    pooled[1]->is_stubborn = true;
    REQUIRE((all.add(*good) && all.add(*empty) && all.add(*full) && all.add(*filled)));
    run_all(all);
    CHECK(good->tokens == alone(m, work));
    CHECK(empty->why == stop_reason::error);
    CHECK(empty->session().last_error().code == errc::nothing_fed);
    CHECK(full->tokens.size() == 3);
    CHECK(full->why == stop_reason::context_full);
    CHECK(filled->why == stop_reason::context_full);
    CHECK(filled->session().queued() == 0);
    auto plain = session_of(m, {.threads = 1, .stop_at_stop_tokens = false});
    const auto expected = alone(plain, m, long_one);
    for (const auto& each : pooled) {
        CHECK(each->why == stop_reason::error);
        CHECK(each->session().last_error().code == errc::kv_pool_full);
        CHECK(each->tokens == std::vector<token>(expected.begin(), expected.begin() + 7));
        CHECK(each->session().position() == 257);
    }
    REQUIRE(all.remove(*pooled[0])); // and its page is free
    pooled[0].reset();
    run_all(all);
    CHECK(pooled[1]->tokens == expected);
}

TEST_CASE("a cancelled speaker keeps its place, and goes on when its flag is false again") {
    const any_model m = open_story();
    auto all = scheduler_of(m, {.prompt_chunk = 16, .threads = 1});
    std::atomic<bool> flag{false};
    auto cancelled = make_talker(session_of(m), m, task_of(5));
    auto other = make_talker(session_of(m), m, task_of(13));
    cancelled->session().set_cancel_flag(&flag);
    REQUIRE((all.add(*cancelled) && all.add(*other)));
    REQUIRE(all.step() == step_state::working);
    flag = true;
    const std::size_t left = cancelled->session().queued();
    run_all(all);
    CHECK(cancelled->why == stop_reason::cancelled);
    CHECK(cancelled->tokens.empty());
    CHECK(cancelled->session().queued() == left);
    CHECK(other->tokens == alone(m, task_of(13)));
    flag = false;
    cancelled->has_stopped = false;
    run_all(all);
    CHECK(cancelled->tokens == alone(m, task_of(5)));
}

TEST_CASE("a prompt without an answer is only run, and its logits can be had afterwards") {
    const any_model m = open_story();
    auto all = scheduler_of(m, {.threads = 1});
    auto quiet = make_talker(session_of(m), m, task_of(5));
    quiet->is_silent = true;
    REQUIRE(all.add(*quiet));
    run_all(all);
    CHECK(quiet->takes == 0);
    CHECK(quiet->session().position() == 90);
    auto plain = session_of(m);
    REQUIRE(plain.feed(task_of(5).prompt));
    const auto expected = plain.logits();
    const auto actual = quiet->session().logits();
    REQUIRE((expected && actual));
    CHECK(std::equal(expected->begin(), expected->end(), actual->begin()));
}

TEST_CASE("a scheduler allocates nothing after it was opened and speakers were added") {
    for (const auto head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_story(head);
        auto kv = m.open_kv_pool(std::uint64_t{1} << 26);
        REQUIRE(kv);
        auto all = scheduler_of(m, {.answers = 5, .threads = 2});
        auto world = session_of(m, {.threads = 1, .kv = &*kv});
        std::vector<std::unique_ptr<talker>> talkers;
        for (std::size_t i = 0; i < 8; ++i) {
            talkers.push_back(make_talker(forked(world), m, task_of(i)));
        }
        const std::size_t before = bitnet_tests::allocations();
        bool ok = true;
        for (std::size_t i = 0; i < 8; ++i) {
            ok = all.add(*talkers[i], static_cast<int>(i % 2)).has_value() && ok;
        }
        for (int i = 0; i < 300; ++i) {
            static_cast<void>(i % 2 == 0 ? all.step(50us) : all.step());
        }
        ok = all.step() == step_state::ready && ok;
        for (const auto& each : talkers) {
            ok = all.remove(*each) && ok;
        }
        CHECK(bitnet_tests::allocations() == before);
        CHECK(ok);
    }
}

TEST_CASE("a scheduler names what it refuses") {
    const any_model m = open_story();
    const any_model other = open_story();
    const auto refusal = [&](const scheduler_options& options) {
        const auto opened = scheduler::open(m, options);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == errc::invalid_argument);
        return opened.error().message;
    };
    CHECK(refusal({.speakers = 0}) == "scheduler: 0 speakers were asked for, 1 to 65536 are possible");
    CHECK(refusal({.answers = 1025}) == "scheduler: 1025 answers to a pass were asked for, 1 to 1024 are possible");
    CHECK(refusal({.prompt_chunk = 0}).find("0 prompt tokens to a pass") != std::string::npos);
    CHECK(refusal({.prompt_beside_answers = 0}).find("0 prompt tokens beside answers") != std::string::npos);
    CHECK_FALSE(scheduler::open(m, {.threads = 0}));
    auto all = scheduler_of(m, {.speakers = 2});
    auto first = make_talker(session_of(m), m, task_of(0));
    auto second = make_talker(session_of(m), m, task_of(1));
    auto third = make_talker(session_of(m), m, task_of(2));
    auto strange = make_talker(session_of(other), other, task_of(2));
    REQUIRE((all.add(*first) && all.add(*second)));
    CHECK(all.add(*first).error().message == "scheduler: the speaker or its session is served already");
    CHECK(all.add(*third).error().message ==
          "scheduler: 2 speakers are served, and scheduler_options::speakers makes room for no more");
    CHECK(all.add(*strange).error().message == "scheduler: the speaker's session is one of another model");
    CHECK(all.speakers() == 2);
    CHECK_FALSE(all.set_priority(*third, 1));
    CHECK_FALSE(all.remove(*third));
    REQUIRE(all.remove(*first));
    CHECK(all.add(*third));
}

TEST_CASE("a scheduler works on a pool of the caller's") {
    const any_model m = open_story();
    inline_pool here;
    auto all = scheduler::open(m, pool_ref(here));
    REQUIRE(all);
    CHECK(all->threads() == 1);
    auto one = make_talker(session_of(m), m, task_of(3));
    REQUIRE(all->add(*one));
    run_all(*all);
    CHECK(one->tokens == alone(m, task_of(3)));
}
