// SPDX-License-Identifier: MIT
// rewind(), fork() and kv_pool against sessions that never had what was taken back.
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class E> struct forking_policy : policy<isa::scalar>::with_kv<E> {};

/// A model with elements of type E, plain C++ and 64 positions, or with halves, this CPU's best and 512.
struct small_model {
    buffer<std::byte> bytes;
    any_model opened;
    std::size_t length; ///< of the sequences that tests make

    template <class E> static small_model open() {
        auto bytes = bitnet_tests::tiny_model();
        REQUIRE(bytes);
        auto opened = any_model::open<ladder<forking_policy<E>>>(byte_source::borrow(bytes->span(), "small"));
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        return {*std::move(bytes), *std::move(opened), 40};
    }
};
template <> small_model small_model::open<half>() {
    auto opened = any_model::open(BITNET_TEST_MODEL);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return {{}, *std::move(opened), 300};
}

/// Tokens that look random, the same for the same seed.
std::vector<token> some_tokens(std::size_t count, unsigned seed) {
    std::vector<token> ids;
    for (std::size_t i = 0; i < count; ++i) {
        seed = seed * 1103515245u + 12345u;
        ids.push_back(static_cast<token>(seed >> 16) % 290);
    }
    return ids;
}

any_session session_of(const any_model& m, kv_pool* kv = nullptr) {
    auto opened = any_session::open(m, session_options{.kv = kv});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

kv_pool pool_of(const any_model& m, std::size_t pages) {
    auto one = m.open_kv_pool(UINT64_C(1) << 30);
    REQUIRE(one);
    auto made = m.open_kv_pool(one->page_bytes() * pages);
    REQUIRE(made);
    REQUIRE(made->pages() == pages);
    return *std::move(made);
}

std::vector<float> logits_of(any_session& s) {
    const auto logits = s.logits();
    REQUIRE_MESSAGE(logits, (logits ? "" : logits.error().message));
    return {logits->begin(), logits->end()};
}

/// The logits after `ids` in a session of their own.
std::vector<float> fresh(const any_model& m, std::span<const token> ids) {
    auto s = session_of(m);
    REQUIRE(s.feed(ids));
    return logits_of(s);
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<token> joined(std::span<const token> a, std::span<const token> b) {
    std::vector<token> all(a.begin(), a.end());
    all.insert(all.end(), b.begin(), b.end());
    return all;
}

} // namespace

TEST_CASE_TEMPLATE("what follows a rewind has the bits of a session that never had the rest", E, half, float,
                   std::int8_t) {
    const auto small = small_model::open<E>();
    const any_model& m = small.opened;
    const auto ids = some_tokens(small.length, 1);
    const auto more = some_tokens(20, 2);
    for (const std::size_t pages : std::initializer_list<std::size_t>{0, 2}) {
        std::optional<kv_pool> kv;
        if (pages != 0) {
            kv.emplace(pool_of(m, pages));
        }
        auto s = session_of(m, kv ? &*kv : nullptr);
        REQUIRE(s.feed(ids));
        for (const std::size_t to : std::initializer_list<std::size_t>{300, 299, 270, 257, 256, 255, 40, 33, 16, 1}) {
            if (to > ids.size()) {
                continue;
            }
            CAPTURE(to);
            REQUIRE(s.rewind(to));
            CHECK(s.position() == to);
            CHECK(std::vector<token>(s.tokens().begin(), s.tokens().end()) ==
                  std::vector<token>(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(to)));
            CHECK(same_bits(logits_of(s), fresh(m, std::span(ids).first(to))));
            if (to % 16 == 1) { // and goes on
                REQUIRE(s.feed(more));
                CHECK(same_bits(logits_of(s), fresh(m, joined(std::span(ids).first(to), more))));
                REQUIRE(s.rewind(to));
            }
        }
        REQUIRE(s.rewind(0));
        CHECK(s.position() == 0);
        CHECK(s.logits().error().code == errc::nothing_fed);
        if (kv) {
            CHECK(kv->free_pages() == pages);
        }
    }
}

TEST_CASE("a rewind takes back what next() gave, and refuses what is not there") {
    const auto small = small_model::open<half>();
    const any_model& m = small.opened;
    auto s = session_of(m);
    const auto ids = some_tokens(10, 3);
    REQUIRE(s.feed(ids));
    auto choose = *sampler::open(sampler_options::greedy(), m.parameters().vocabulary);
    const auto first = s.next(choose);
    REQUIRE(first);
    REQUIRE(s.rewind(10));
    CHECK_FALSE(s.pending());
    CHECK(s.next(choose) == first);
    REQUIRE(s.next(choose));
    CHECK(s.position() == 12);
    const auto beyond = s.rewind(13);
    REQUIRE_FALSE(beyond);
    CHECK(beyond.error().code == errc::invalid_argument);
    CHECK(beyond.error().message == "session: position 13 was asked for, 12 are taken");
    REQUIRE(s.rewind(10));
    CHECK(s.next(choose) == first);
}

TEST_CASE_TEMPLATE("forks go their own ways, each with the bits that it would have had alone", E, half, float,
                   std::int8_t) {
    const auto small = small_model::open<E>();
    const any_model& m = small.opened;
    const auto past = some_tokens(small.length, 4);
    const std::size_t taken = (past.size() + 255) / 256;
    for (const std::size_t pages : std::initializer_list<std::size_t>{0, 7}) {
        std::optional<kv_pool> kv;
        if (pages != 0) {
            kv.emplace(pool_of(m, pages));
        }
        auto first = session_of(m, kv ? &*kv : nullptr);
        REQUIRE(first.feed(past));
        auto second = first.fork();
        REQUIRE(second);
        auto third = second->fork();
        REQUIRE(third);
        if (kv) {
            CHECK(kv->free_pages() == 7 - taken); // shared by all
        }
        CHECK(second->position() == past.size());
        const std::vector<float> after = fresh(m, past);
        CHECK(same_bits(logits_of(*second), after));
        CHECK(same_bits(logits_of(first), after));
        any_session* const all[] = {&first, &*second, &*third};
        std::vector<token> own[3] = {past, past, past};
        for (unsigned round = 0; round < 3; ++round) { // by turns on one workspace
            for (unsigned i = 0; i < 3; ++i) {
                const auto more = some_tokens(3 + round, 10 * round + i);
                REQUIRE(all[i]->feed(more));
                own[i] = joined(own[i], more);
            }
        }
        if (kv) {
            CHECK(kv->free_pages() == 7 - taken - 2); // the last page three times
        }
        for (unsigned i = 0; i < 3; ++i) {
            CHECK(same_bits(logits_of(*all[i]), fresh(m, own[i])));
        }
        third = error{};
        if (kv) {
            CHECK(kv->free_pages() == 7 - taken - 1);
        }
        CHECK(same_bits(logits_of(first), fresh(m, own[0])));
    }
}

TEST_CASE("logits that another session has overwritten are computed again, with the same bits") {
    const auto small = small_model::open<half>();
    auto first = session_of(small.opened);
    REQUIRE(first.feed(some_tokens(small.length, 3)));
    auto second = first.fork();
    REQUIRE(second);
    auto steps = any_batch::open(small.opened, {.sessions = 2});
    REQUIRE(steps);
    const auto before = logits_of(first);
    const auto after = fresh(small.opened, joined(some_tokens(small.length, 3), some_tokens(1, 9)));
    const token id = some_tokens(1, 9)[0];
    REQUIRE(second->feed({&id, 1}));
    CHECK(same_bits(logits_of(*second), after));
    CHECK(same_bits(logits_of(first), before));
    CHECK(same_bits(logits_of(*second), after));
    const batch_entry entry{&first, id};
    REQUIRE(steps->step({&entry, 1}));
    CHECK(same_bits(logits_of(first), after)); // in the batch's memory
    const batch_entry other{&*second, id};
    REQUIRE(steps->step({&other, 1}));
    CHECK(same_bits(logits_of(first), after));
    REQUIRE(second->rewind(small.length));
    CHECK(same_bits(logits_of(*second), before));
    *steps = *any_batch::open(small.opened, {.sessions = 1}); // ends the batch whose row the first one has
    CHECK(same_bits(logits_of(first), after));
}

TEST_CASE("a fork takes memory for its tokens, a state and little else") {
    const auto small = small_model::open<half>();
    kv_pool kv = pool_of(small.opened, 4);
    auto first = session_of(small.opened, &kv);
    REQUIRE(first.feed(some_tokens(small.length, 3)));
    const std::size_t before = bitnet_tests::allocated_bytes();
    auto second = first.fork();
    REQUIRE(second);
    const std::size_t taken = bitnet_tests::allocated_bytes() - before;
    CHECK(taken <= 4 * (first.context() + small.opened.parameters().hidden) + 1024);
    CHECK(kv.free_pages() == 2);
}

TEST_CASE("a fork outlives the session it came from") {
    const auto small = small_model::open<half>();
    const any_model& m = small.opened;
    const auto past = some_tokens(40, 5);
    std::optional<any_session> first(session_of(m));
    REQUIRE(first->feed(past));
    auto second = first->fork();
    REQUIRE(second);
    first.reset();
    const auto more = some_tokens(2, 6);
    REQUIRE(second->feed(more));
    CHECK(same_bits(logits_of(*second), fresh(m, joined(past, more))));
}

TEST_CASE("a pool that is full is an error that loses nothing") {
    const auto small = small_model::open<half>();
    const any_model& m = small.opened;
    auto kv = pool_of(m, 2);
    auto first = session_of(m, &kv);
    auto second = session_of(m, &kv);
    const auto past = some_tokens(100, 7);
    REQUIRE(first.feed(past));
    REQUIRE(second.feed(past));
    CHECK(kv.free_pages() == 0);
    const auto more = some_tokens(200, 8);
    const auto refused = first.feed(more);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::kv_pool_full);
    CHECK(refused.error().message == "KV pool: 1 more pages of 256 positions are needed, and 0 of 2 are free");
    CHECK(first.position() == 100);
    CHECK(same_bits(logits_of(first), fresh(m, past)));
    second.reset();
    CHECK(kv.free_pages() == 1);
    REQUIRE(first.feed(more));
    CHECK(same_bits(logits_of(first), fresh(m, joined(past, more))));
    auto choose = *sampler::open(sampler_options::greedy(), m.parameters().vocabulary);
    auto copy = first.fork(); // shares both pages; the next position needs one of its own
    REQUIRE(copy);
    REQUIRE(copy->next(choose)); // chosen from the logits there are
    CHECK_FALSE(copy->next(choose));
    CHECK(copy->stopped_by() == stop_reason::error);
    CHECK(copy->last_error().code == errc::kv_pool_full);
    copy = error{};
    REQUIRE(first.next(choose));
}

TEST_CASE("pools: what they hold is stated, and another model's are refused") {
    const auto small = small_model::open<half>();
    const any_model& m = small.opened;
    const auto other = small_model::open<float>();
    auto kv = pool_of(m, 3);
    const hyper_parameters& p = m.parameters();
    CHECK(kv.page_bytes() == 2 * 2 * p.layers * p.kv_heads * p.head_size * 256);
    const auto refused = any_session::open(other.opened, session_options{.context = 32, .kv = &kv});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find(std::to_string(kv.page_bytes())) != std::string::npos);
    const auto none = m.open_kv_pool(kv.page_bytes() - 1);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == errc::invalid_argument);
}
