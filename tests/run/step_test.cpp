// SPDX-License-Identifier: MIT
// queue(), step() and cancelling against sessions whose calls do not stop.
#include "run/counted_allocations.hpp"

#include <bitnet/run/batch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <span>
#include <thread>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace std::chrono_literals;

namespace {

/// Waits a little at every eighth index, on the calling thread.
class slow_pool {
public:
    static result<std::unique_ptr<slow_pool>> open(std::size_t, std::chrono::microseconds) {
        return std::make_unique<slow_pool>();
    }
    void run(std::size_t count, loop_body body) noexcept {
        for (std::size_t i = count; i-- != 0;) { // any order will do
            body(i);
            if (++indices_ % 8 == 0) {
                std::this_thread::sleep_for(20us);
            }
        }
    }
    [[nodiscard]] std::size_t threads() const noexcept { return 3; }

private:
    std::size_t indices_ = 0;
};

class random_numbers {
public:
    explicit random_numbers(unsigned seed) : state_(seed) {}
    std::size_t below(std::size_t end) {
        state_ = state_ * 1103515245u + 12345u;
        return (state_ >> 16) % end;
    }
    token id() { return static_cast<token>(below(290)); }
    std::vector<token> ids(std::size_t count) {
        std::vector<token> all(count);
        std::generate(all.begin(), all.end(), [&] { return id(); });
        return all;
    }
    /// None, tiny, small, and often enough for all.
    std::chrono::nanoseconds budget() {
        constexpr std::chrono::nanoseconds all[] = {0ns, 1ns, 20us, 300us, 5ms, -1s, std::chrono::nanoseconds::max()};
        return all[below(std::size(all))];
    }

private:
    unsigned state_;
};

any_model open_tiny(lm_head_mode head = lm_head_mode::as_stored) {
    auto opened = any_model::open(BITNET_TEST_MODEL, {.lm_head = head, .threads = 2});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

kv_pool pool_of(const any_model& m, std::size_t pages) {
    auto one = m.open_kv_pool(UINT64_C(1) << 30);
    REQUIRE(one);
    auto made = m.open_kv_pool(one->page_bytes() * pages);
    REQUIRE(made);
    return *std::move(made);
}

any_session session_of(const any_model& m, const session_options& options) {
    auto opened = any_session::open(m, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

sampler sampler_of(const any_model& m, sampler_options options) {
    auto opened = sampler::open(options, m.parameters().vocabulary);
    REQUIRE(opened);
    return *std::move(opened);
}

std::vector<float> logits_of(any_session& s) {
    const auto logits = s.logits();
    REQUIRE_MESSAGE(logits, (logits ? "" : logits.error().message));
    return {logits->begin(), logits->end()};
}

/// The logits after `ids` in a session that never stops.
std::vector<float> fresh(any_session& s, std::span<const token> ids) {
    s.reset();
    REQUIRE(s.feed(ids));
    return logits_of(s);
}

bool is_working(const result<step_state>& state) { return state && *state == step_state::working; }
bool is_ready(const result<step_state>& state) { return state && *state == step_state::ready; }

bool are_same(std::span<const token> a, std::span<const token> b) {
    return std::equal(a.begin(), a.end(), b.begin(), b.end());
}

/// Prompts and answers in turn, in steps of random budgets, and without; equal tokens, and equal logits at the end.
void check_dialog(const any_model& m, any_session& stepped, any_session& plain, unsigned seed) {
    random_numbers random(seed);
    const sampler_options all[] = {sampler_options::greedy(), {.seed = 3}, {.top_k = 0, .seed = 4}};
    sampler ours = sampler_of(m, all[seed % 3]);
    sampler theirs = sampler_of(m, all[seed % 3]);
    for (const std::size_t length : {150u, 1u, 40u}) {
        const auto prompt = random.ids(length);
        REQUIRE(plain.feed(prompt));
        const std::size_t first = random.below(length + 1);
        REQUIRE(stepped.queue(std::span(prompt).first(first)));
        bool is_whole = false;
        for (int i = 0; i < 12; ++i) {
            for (;;) {
                const auto state = stepped.step(random.budget(), ours);
                REQUIRE((state || state.error().code == errc::nothing_fed));
                if (!is_whole && random.below(4) == 0) {
                    REQUIRE(stepped.queue(std::span(prompt).subspan(first)));
                    is_whole = true;
                } else if (is_whole && state && (*state == step_state::ready || random.below(50) == 0)) {
                    break; // mostly with nothing left to compute
                }
            }
            const auto expected = plain.next(theirs);
            const auto found = stepped.next(ours);
            REQUIRE(expected == found);
        }
    }
    CHECK(are_same(stepped.tokens(), plain.tokens()));
    CHECK(logits_of(stepped) == logits_of(plain));
}

} // namespace

TEST_CASE("steps of any budget give the tokens and logits of calls that do not stop") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_tiny(head);
        session_options options{.context = 400, .threads = 1, .stop_at_stop_tokens = false};
        any_session plain = session_of(m, options);
        unsigned seed = 0;
        for (const std::size_t threads : {1u, 2u, 5u}) {
            options.threads = threads;
            any_session stepped = session_of(m, options);
            for (int round = 0; round < 3; ++round) {
                check_dialog(m, stepped, plain, seed++);
                stepped.reset();
                plain.reset();
            }
        }
        slow_pool slow;
        auto kv = pool_of(m, 2);
        options.kv = &kv;
        auto stepped = any_session::open(m, slow, options);
        REQUIRE(stepped);
        check_dialog(m, *stepped, plain, seed);
    }
}

TEST_CASE("a step does what it was asked for, and says whether there is more") {
    const any_model m = open_tiny();
    any_session s = session_of(m, {.context = 300, .threads = 1, .stop_at_stop_tokens = false});
    sampler choose = sampler_of(m, sampler_options::greedy());
    CHECK(is_ready(s.step(1s))); // nothing to do
    CHECK(s.step(1s, choose).error().code == errc::nothing_fed);
    const auto prompt = random_numbers(1).ids(100);
    REQUIRE(s.queue(prompt));
    CHECK(s.queued() == 100);
    CHECK(s.position() == 0);
    CHECK(is_working(s.step(0s)));
    std::size_t steps = 1;
    while (is_working(s.step(0s))) { // one index at least in each
        ++steps;
        REQUIRE(s.position() + s.queued() == 100);
        REQUIRE(are_same(s.tokens(), std::span(prompt).first(s.position())));
    }
    CHECK(steps > 50);
    CHECK(steps < 100'000);
    CHECK(s.position() == 100);
    CHECK(s.queued() == 0);
    CHECK(is_ready(s.step(0s)));
    while (is_working(s.step(0s, choose))) {
    }
    const auto first = s.next(choose);
    REQUIRE(first);
    CHECK(s.pending() == first);
    while (is_working(s.step(0s))) {
    }
    CHECK(!s.pending());
    CHECK(s.position() == 101);
    REQUIRE(s.rewind(50)); // the state of the last token is gone, which only the head needs
    CHECK(is_ready(s.step(1h)));
    CHECK(!s.pending());
    CHECK(is_working(s.step(0s, choose)));
    while (is_working(s.step(10us, choose))) {
    }
    any_session other = session_of(m, {.context = 300, .threads = 1});
    CHECK(logits_of(s) == fresh(other, std::span(prompt).first(50)));
}

TEST_CASE("a queue is refused whole, and counted where there must be room") {
    const any_model m = open_tiny();
    auto kv = pool_of(m, 1);
    any_session s = session_of(m, {.context = 300, .threads = 1, .kv = &kv});
    const std::vector<token> bad{1, 2, -7};
    CHECK(s.queue(bad).error().code == errc::invalid_token);
    CHECK(s.queued() == 0);
    CHECK(s.queue(std::vector<token>(301, 5)).error().code == errc::context_full);
    CHECK(s.queue(std::vector<token>(300, 5)).error().code == errc::kv_pool_full);
    CHECK(s.queued() == 0);
    CHECK(kv.free_pages() == 1);
    REQUIRE(s.queue(std::vector<token>(200, 5)));
    CHECK(kv.free_pages() == 0);
    CHECK(s.queue(std::vector<token>(101, 5)).error().code == errc::context_full);
    CHECK(s.feed(std::vector<token>(101, 5)).error().code == errc::context_full);
    CHECK(s.feed(std::vector<token>(100, 5)).error().code == errc::kv_pool_full);
    CHECK(s.queued() == 200);
    CHECK(is_working(s.step(0s)));
    REQUIRE(s.rewind(0));
    CHECK(s.queued() == 0);
    CHECK(kv.free_pages() == 1);
    REQUIRE(s.queue(std::vector<token>(9, 5)));
    CHECK(s.rewind(1).error().code == errc::invalid_argument); // none of them is part of the sequence yet
    CHECK(s.queued() == 9);
    s.reset();
    CHECK(s.queued() == 0);
    CHECK(kv.free_pages() == 1);

    auto steps = any_batch::open(m, {.sessions = 1, .threads = 1});
    REQUIRE(steps);
    REQUIRE(s.queue(std::vector<token>(2, 5)));
    const batch_entry entries[] = {{&s, 5}};
    CHECK(steps->step(entries).error().code == errc::invalid_argument);
    CHECK(is_ready(s.step(1h)));
    CHECK(steps->step(entries));
    CHECK(s.position() == 3);
}

TEST_CASE("a full context ends steps and sessions alike") {
    const any_model m = open_tiny();
    any_session s = session_of(m, {.context = 20, .threads = 1});
    sampler choose = sampler_of(m, sampler_options::greedy());
    REQUIRE(s.queue(std::vector<token>(20, 5)));
    while (is_working(s.step(0s, choose))) {
    }
    CHECK(s.position() == 20);
    CHECK(!s.next(choose));
    CHECK(s.stopped_by() == stop_reason::context_full);
    REQUIRE(s.rewind(18));
    REQUIRE(s.queue(std::vector<token>(1, 5)));
    CHECK(s.next(choose));
    CHECK(s.position() == 20);
}

namespace {

/// A session that does what comes to mind, and the tokens that it must have.
struct restless_session {
    any_session session;
    std::vector<token> tokens;
    std::vector<token> queued;

    void check() const {
        const std::size_t ran = session.position();
        REQUIRE(ran + session.queued() == tokens.size() + queued.size());
        REQUIRE(ran >= tokens.size());
    }
    /// What has left the queue.
    void follow() {
        check();
        const std::size_t count = session.position() - tokens.size();
        tokens.insert(tokens.end(), queued.begin(), queued.begin() + static_cast<std::ptrdiff_t>(count));
        queued.erase(queued.begin(), queued.begin() + static_cast<std::ptrdiff_t>(count));
        REQUIRE(are_same(session.tokens(), tokens));
    }
    void follow_all() {
        REQUIRE(session.queued() == 0);
        follow();
    }
};

/// One call at random. `reference` never stops.
void do_something(restless_session& s, any_session& reference, sampler& choose, random_numbers& random) {
    const std::size_t room = s.session.context() - s.tokens.size() - s.queued.size();
    const auto some = random.ids(random.below(30));
    std::atomic<bool> flag{true};
    switch (random.below(12)) {
    case 0:
        if (some.size() < room) {
            REQUIRE(s.session.queue(some));
            s.queued.insert(s.queued.end(), some.begin(), some.end());
        }
        break;
    case 1:
    case 2:
        REQUIRE(s.session.step(random.budget()));
        break;
    case 3:
    case 4:
        if (s.tokens.size() + s.queued.size() != 0) {
            REQUIRE(s.session.step(random.budget(), choose));
        }
        break;
    case 5:
        if (some.size() < room) {
            REQUIRE(s.session.feed(some));
            if (!some.empty()) {
                s.queued.insert(s.queued.end(), some.begin(), some.end());
                s.follow_all();
            }
        }
        break;
    case 6:
        if (s.tokens.size() + s.queued.size() != 0 && room != 0) {
            const auto next = s.session.next(choose);
            REQUIRE(next);
            s.queued.push_back(*next);
            s.follow_all();
        }
        break;
    case 7:
        if (s.tokens.size() + s.queued.size() != 0) {
            const auto found = random.below(2) == 0 ? logits_of(s.session) : std::vector<float>();
            const auto largest = s.session.largest_logits(5);
            REQUIRE(largest);
            const std::vector<scored_token> five(largest->begin(), largest->end());
            s.follow_all();
            REQUIRE(s.session.embedding());
            const auto expected = fresh(reference, s.tokens);
            REQUIRE((found.empty() || found == expected));
            REQUIRE(logits_of(s.session) == expected);
            for (const scored_token& each : five) {
                REQUIRE(each.logit == expected[static_cast<std::size_t>(each.id)]);
            }
        }
        break;
    case 8: {
        const std::size_t to = s.tokens.size() - random.below((std::min)(s.tokens.size() + 1, std::size_t{9}));
        REQUIRE(s.session.rewind(to));
        s.tokens.resize(to);
        s.queued.clear();
        break;
    }
    case 9: // cancelled at once: nothing changes
        s.session.set_cancel_flag(&flag);
        if (s.session.queued() != 0) {
            REQUIRE(s.session.step(1h).error().code == errc::cancelled);
            REQUIRE(s.session.logits().error().code == errc::cancelled);
            if (room != 0) {
                REQUIRE(!s.session.next(choose));
                REQUIRE(s.session.stopped_by() == stop_reason::cancelled);
            }
        }
        if (!some.empty() && some.size() < room) {
            REQUIRE(s.session.feed(some).error().code == errc::cancelled);
        }
        s.session.set_cancel_flag(nullptr);
        break;
    default:
        if (s.tokens.size() + s.queued.size() != 0) { // with a flag that stays false
            flag.store(false);
            s.session.set_cancel_flag(&flag);
            REQUIRE(s.session.step(random.budget(), choose));
            s.session.set_cancel_flag(nullptr);
        }
    }
    s.follow();
}

} // namespace

TEST_CASE("sessions and their forks can do anything between two steps") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_tiny(head);
        auto kv = pool_of(m, 20);
        for (const bool is_paged : {false, true}) {
            const session_options options{.context = 300,
                                          .threads = 2,
                                          .prompt_chunk = 24,
                                          .kv = is_paged ? &kv : nullptr,
                                          .stop_at_stop_tokens = false};
            any_session reference = session_of(m, {.context = 300, .threads = 1});
            random_numbers random(is_paged ? 7 : 8);
            sampler choose = sampler_of(m, {.seed = 5});
            std::vector<restless_session> all;
            all.push_back({session_of(m, options), {}, {}});
            for (int i = 0; i < 600; ++i) {
                const std::size_t at = random.below(all.size());
                restless_session& one = all[at];
                if (random.below(40) == 0 && all.size() < 4) {
                    auto copy = one.session.fork();
                    REQUIRE(copy);
                    REQUIRE(copy->queued() == 0);
                    all.push_back({*std::move(copy), one.tokens, {}});
                    all.back().follow();
                } else if (random.below(60) == 0 && all.size() > 1) {
                    all.erase(all.begin() + static_cast<std::ptrdiff_t>(at));
                } else {
                    do_something(one, reference, choose, random);
                }
            }
        }
    }
}

TEST_CASE("a flag that another thread sets stops a prompt, and the session goes on from what ran") {
    const any_model m = open_tiny();
    any_session reference = session_of(m, {.context = 500, .threads = 1});
    const auto prompt = random_numbers(3).ids(400);
    for (const auto delay : {0us, 300us, 3000us, 20'000us}) {
        slow_pool slow;
        auto s = any_session::open(m, slow, {.context = 500, .prompt_chunk = 32});
        REQUIRE(s);
        std::atomic<bool> flag{false};
        s->set_cancel_flag(&flag);
        std::thread other([&] {
            std::this_thread::sleep_for(delay);
            flag.store(true);
        });
        const auto fed = s->feed(prompt);
        other.join();
        if (!fed) {
            CHECK(fed.error().code == errc::cancelled);
            CHECK(s->position() % 32 == 0);
            CHECK(s->position() < prompt.size());
        }
        CHECK(s->queued() == 0);
        const std::size_t kept = s->position();
        CHECK(are_same(s->tokens(), std::span(prompt).first(kept)));
        flag.store(false);
        REQUIRE(s->feed(std::span(prompt).subspan(kept)));
        CHECK(logits_of(*s) == fresh(reference, prompt));
    }
}

TEST_CASE("a flag stops feed_each between logits, and feed_embeddings") {
    const any_model m = open_tiny();
    any_session s = session_of(m, {.context = 300, .threads = 1, .prompt_chunk = 16});
    any_session reference = session_of(m, {.context = 300, .threads = 1});
    const auto prompt = random_numbers(4).ids(64);
    std::atomic<bool> flag{false};
    s.set_cancel_flag(&flag);
    std::size_t visits = 0;
    const auto fed = s.feed_each(prompt, [&](std::size_t i, std::span<const float>) {
        CHECK(i == visits++);
        flag.store(visits == 24);
    });
    CHECK(fed.error().code == errc::cancelled);
    CHECK(visits == 24);
    CHECK(s.position() == 32); // whole chunks
    std::vector<float> rows(m.parameters().hidden * 40, 0.25f);
    CHECK(s.feed_embeddings(rows).error().code == errc::cancelled);
    CHECK(s.position() == 32);
    flag.store(false);
    CHECK(logits_of(s) == fresh(reference, std::span(prompt).first(32)));
    REQUIRE(s.feed_embeddings(rows));
    REQUIRE(reference.feed_embeddings(rows));
    CHECK(logits_of(s) == logits_of(reference));
    REQUIRE(s.queue(prompt)); // the state of an embedding outlasts a pass that is dropped
    CHECK(is_working(s.step(0s)));
    REQUIRE(s.rewind(s.position()));
    CHECK(logits_of(s) == logits_of(reference));
}

TEST_CASE("steps, cancelling and what takes them back allocate nothing") {
    for (const lm_head_mode head : {lm_head_mode::as_stored, lm_head_mode::screened}) {
        const any_model m = open_tiny(head);
        any_session s = session_of(m, {.context = 300, .threads = 3, .stop_at_stop_tokens = false});
        sampler choose = sampler_of(m, {.seed = 5});
        const auto prompt = random_numbers(6).ids(60);
        std::atomic<bool> flag{false};
        s.set_cancel_flag(&flag);
        random_numbers random(9);
        bool ok = true;
        const std::size_t before = bitnet_tests::allocations();
        for (int i = 0; i < 4; ++i) {
            ok = ok && s.queue(prompt) && is_working(s.step(0s));
            flag.store(true);
            ok = ok && !s.step(1s) && !s.next(choose) && !s.feed(prompt);
            flag.store(false);
            for (int n = 0; n < 5; ++n) {
                while (is_working(s.step(random.budget(), choose))) {
                }
                ok = ok && s.next(choose);
            }
            ok = ok && s.queue(prompt) && s.step(30us) && s.rewind(s.position()) && s.rewind(s.position() / 2);
        }
        CHECK(bitnet_tests::allocations() == before);
        CHECK(ok);
    }
}
