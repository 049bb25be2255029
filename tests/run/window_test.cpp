// SPDX-License-Identifier: MIT
// Sessions with a window: what they see, and that it is the same however the tokens came.
#include "golden/tiny_model_writer.hpp"
#include "model/reference_forward.hpp"
#include "run/counted_allocations.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/core/checksum.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/scheduler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cmath>
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

namespace {

/// Of the bits of the logits after each token.
using sums = std::vector<std::uint64_t>;

const buffer<std::byte>& small_file() {
    static const auto bytes = [] {
        bitnet_tests::model_shape shape;
        shape.layers = 2;
        shape.context = 1200;
        return bitnet_tests::tiny_model(shape);
    }();
    REQUIRE(bytes);
    return *bytes;
}

any_model small_model(std::string_view isa = {}) {
    auto opened =
        any_model::open(byte_source::borrow(small_file().span(), "small"), {.lm_head = lm_head_mode::as_stored}, isa);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

session_options window_of(std::size_t context, std::size_t chunk = 128) {
    return {.context = context, .window = true, .threads = 1, .prompt_chunk = chunk, .stop_at_stop_tokens = false};
}

any_session session_of(const any_model& m, const session_options& options) {
    auto opened = any_session::open(m, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

kv_pool pool_of(const any_model& m, std::size_t pages) {
    const auto one = m.open_kv_pool(UINT64_C(1) << 30);
    REQUIRE(one);
    auto made = m.open_kv_pool(one->page_bytes() * pages);
    REQUIRE(made);
    return *std::move(made);
}

std::vector<token> some_tokens(std::size_t count, std::uint32_t seed = 1) {
    std::vector<token> ids(count);
    for (token& id : ids) {
        seed = seed * 1664525u + 1013904223u;
        id = static_cast<token>((seed >> 8) % 290);
    }
    return ids;
}

std::uint64_t sum_of(std::span<const float> logits) { return detail::checksum::of(std::as_bytes(logits)); }
std::uint64_t sum_of(any_session& s) {
    const auto logits = s.logits();
    REQUIRE_MESSAGE(logits, (logits ? "" : logits.error().message));
    return sum_of(*logits);
}

void feed_each(any_session& s, std::span<const token> ids, sums& after) {
    const auto fed =
        s.feed_each(ids, [&](std::size_t, std::span<const float> logits) noexcept { after.push_back(sum_of(logits)); });
    REQUIRE_MESSAGE(fed, (fed ? "" : fed.error().message));
}

/// What all ways of feeding are to give: one by one.
const sums& one_by_one(std::size_t context, std::size_t sinks = 1) {
    struct known {
        std::size_t context;
        std::size_t sinks;
        sums after;
    };
    static std::vector<known> all;
    for (const known& each : all) {
        if (each.context == context && each.sinks == sinks) {
            return each.after;
        }
    }
    const any_model m = small_model();
    auto options = window_of(context);
    options.sinks = sinks;
    any_session s = session_of(m, options);
    sums after;
    for (const token id : some_tokens(context == 512 ? 800 : 1100)) {
        REQUIRE(s.feed({&id, 1}));
        after.push_back(sum_of(s));
    }
    all.push_back({context, sinks, std::move(after)});
    return all.back().after;
}

/// What a session keeps of `ids` when all of them have run.
std::vector<token> left_of(std::span<const token> ids, std::size_t sinks, std::size_t dropped) {
    std::vector<token> left(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(sinks));
    left.insert(left.end(), ids.begin() + static_cast<std::ptrdiff_t>(sinks + dropped), ids.end());
    return left;
}
std::vector<token> tokens_of(const any_session& s) { return {s.tokens().begin(), s.tokens().end()}; }

double mean_difference(std::span<const float> a, const std::vector<double>& b) {
    double sum = 0;
    for (std::size_t i = 0; i < b.size(); ++i) {
        sum += std::abs(static_cast<double>(a[i]) - b[i]);
    }
    return sum / static_cast<double>(b.size());
}

class plain_speaker final : public speaker {
public:
    plain_speaker(any_session& of, sampler choose) : session_(&of), choose_(std::move(choose)) {}
    any_session& session() noexcept override { return *session_; }
    std::optional<any_chooser> chooser() noexcept override {
        return given.size() < wanted ? std::optional(any_chooser(choose_)) : std::nullopt;
    }
    void take(std::optional<token> id) noexcept override {
        if (id) {
            given.push_back(*id);
        } else {
            wanted = 0;
        }
    }
    std::vector<token> given;
    std::size_t wanted = 0;

private:
    any_session* session_;
    sampler choose_;
};

sampler greedy(const any_model& m) {
    auto made = sampler::open(sampler_options::greedy(), m.parameters().vocabulary);
    REQUIRE(made);
    return *std::move(made);
}

} // namespace

TEST_CASE("a window is that of the paper of attention sinks: first and last positions, rotated by their places") {
    const auto file = gguf_file::parse(small_file().span(), "small");
    REQUIRE(file);
    bitnet_tests::reference_forward reference(*file);
    reference.see_through_a_window(768, 256); // so that a page was made before another was dropped
    const auto ids = some_tokens(776);
    const auto expected = reference.logits({ids.begin(), ids.end()});
    const any_model m = small_model();
    const auto difference = [&](const session_options& options) {
        any_session s = session_of(m, options);
        double sum = 0;
        const auto fed = s.feed_each(ids, [&](std::size_t i, std::span<const float> logits) {
            sum += i < 768 ? 0 : mean_difference(logits, expected[i]) / 8;
        });
        REQUIRE(fed);
        return sum;
    };
    const double of_window = difference(window_of(768));
    const double of_none = difference({.context = 800, .threads = 1});
    MESSAGE("in millionths, a window differs by " << static_cast<int>(of_window * 1e6) << ", none by "
                                                  << static_cast<int>(of_none * 1e6));
    CHECK(of_window * 10 < of_none);
}

TEST_CASE("the logits after each token of a window have the same bits on every instruction set, in any chunks") {
    const auto ids = some_tokens(560);
    const sums& all = one_by_one(512);
    const sums expected(all.begin(), all.begin() + 560);
    std::size_t chunk = 512;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        const any_model m = small_model(isa);
        auto options = window_of(512, chunk);
        options.threads = 1 + chunk % 3;
        any_session s = session_of(m, options);
        sums after;
        feed_each(s, ids, after);
        CHECK(after == expected);
        chunk = chunk * 2 / 3;
    }
}

TEST_CASE("however tokens come to a window, the logits after them have the same bits") {
    const auto ids = some_tokens(800);
    const any_model m = small_model();
    const sums& expected = one_by_one(512);
    any_session s = session_of(m, window_of(512, 100));
    const auto check = [&](any_session& other, std::size_t count) {
        CHECK(sum_of(other) == expected[count - 1]);
        CHECK(other.position() == count);
        const std::size_t dropped = count <= 512 ? 0 : (count - 257) / 256 * 256;
        CHECK(other.dropped() == dropped);
        CHECK(tokens_of(other) == left_of(std::span(ids).first(count), (std::min)(count, std::size_t{256}), dropped));
    };
    SUBCASE("in pieces of any size") {
        sums after;
        for (std::size_t at = 0, size = 1; at < ids.size(); at += size, size = size * 3 % 331) {
            size = (std::min)(size, ids.size() - at);
            feed_each(s, std::span(ids).subspan(at, size), after);
        }
        CHECK(after == expected);
        check(s, 800);
    }
    SUBCASE("queued, in steps, and as a queue that is as long as the context") {
        REQUIRE(s.queue(std::span(ids).first(300)));
        while (*s.step({}) == step_state::working) {
        }
        check(s, 300);
        REQUIRE(s.queue(std::span(ids).subspan(300)));
        std::size_t steps = 0;
        while (*s.step(std::chrono::microseconds(50)) == step_state::working) {
            ++steps;
            REQUIRE(s.position() + s.queued() == 800);
        }
        CHECK(steps > 5);
        check(s, 800);
    }
    SUBCASE("as embeddings") {
        // Rows of the embedding are the tokens' own: fed as tokens up to the full context, then as they are in the
        // file.
        const auto file = gguf_file::parse(small_file().span(), "small");
        REQUIRE(file);
        const auto* table = file->find_tensor("token_embd.weight");
        std::vector<float> rows;
        for (const token id : ids) {
            for (std::size_t i = 0; i < table->dims[0]; ++i) {
                half value;
                std::memcpy(&value, table->bytes.data() + (static_cast<std::size_t>(id) * table->dims[0] + i) * 2, 2);
                rows.push_back(detail::widen(value));
            }
        }
        REQUIRE(s.feed_embeddings(rows));
        CHECK(sum_of(s) == expected.back());
        CHECK(s.dropped() == 512);
    }
    SUBCASE("through a batch and a scheduler") {
        any_session other = session_of(m, window_of(512));
        REQUIRE(s.feed(std::span(ids).first(505)));
        REQUIRE(other.feed(std::span(ids).first(760)));
        auto batch = any_batch::open(m, {.sessions = 2, .threads = 1});
        REQUIRE(batch);
        for (std::size_t i = 0; i < 20; ++i) {
            const batch_entry entries[] = {{&s, ids[505 + i]}, {&other, ids[760 + i]}};
            REQUIRE(batch->step(entries));
            CHECK(sum_of(s) == expected[505 + i]);
            CHECK(sum_of(other) == expected[760 + i]);
        }
        check(s, 525);
        check(other, 780);
        auto serves = scheduler::open(m, {.speakers = 2, .threads = 1});
        REQUIRE(serves);
        plain_speaker first(s, greedy(m));
        plain_speaker second(other, greedy(m));
        REQUIRE(serves->add(first));
        REQUIRE(serves->add(second));
        REQUIRE(s.queue(std::span(ids).subspan(525)));
        REQUIRE(other.queue(std::span(ids).subspan(780)));
        while (serves->step(std::chrono::microseconds(200)) == step_state::working) {
        }
        check(s, 800);
        check(other, 800);
    }
    SUBCASE("with forks of a pool, which drop shared pages and their own") {
        kv_pool kv = pool_of(m, 6);
        auto options = window_of(512);
        options.kv = &kv;
        any_session from = session_of(m, options);
        REQUIRE(from.feed(std::span(ids).first(500)));
        auto fork = from.fork();
        REQUIRE(fork);
        REQUIRE(fork->feed(std::span(ids).subspan(500)));
        check(*fork, 800);
        check(from, 500);
        CHECK(kv.free_pages() == 3); // the sinks are shared
        REQUIRE(from.feed(std::span(ids).subspan(500, 100)));
        auto second = from.fork();
        REQUIRE(second);
        REQUIRE(second->feed(std::span(ids).subspan(600)));
        check(*second, 800);
        check(from, 600);
        REQUIRE(from.feed(std::span(ids).subspan(600)));
        check(from, 800);
    }
    SUBCASE("saved and restored") {
        for (const std::size_t at : {200u, 512u, 513u, 700u}) {
            CAPTURE(at);
            any_session from = session_of(m, window_of(512));
            REQUIRE(from.feed(std::span(ids).first(at)));
            REQUIRE(from.queue(std::span(ids).subspan(at, 40)));
            std::vector<std::byte> bytes;
            REQUIRE(from.save(byte_sink(bytes)));
            CHECK(bytes.size() == from.saved_bytes());
            const auto restored = s.restore(bytes);
            REQUIRE_MESSAGE(restored, (restored ? "" : restored.error().message));
            CHECK(s.queued() == 40);
            CHECK(s.dropped() == (at <= 512 ? 0 : (at - 257) / 256 * 256));
            REQUIRE(s.feed(std::span(ids).subspan(at + 40)));
            check(s, 800);
        }
    }
    SUBCASE("after a rewind") {
        REQUIRE(s.feed(ids));
        REQUIRE(s.rewind(780));
        check(s, 780);
        REQUIRE(s.feed(std::span(ids).subspan(780)));
        check(s, 800);
        REQUIRE(s.rewind(769));
        check(s, 769);
        REQUIRE(s.rewind(256));
        check(s, 256);
        REQUIRE(s.feed(std::span(ids).subspan(256)));
        check(s, 800);
        REQUIRE(s.rewind(100));
        check(s, 100);
    }
}

TEST_CASE("a window of several pages, of which the first two are sinks") {
    const auto ids = some_tokens(1100);
    const any_model m = small_model();
    auto options = window_of(0); // 1024 of 1200
    options.sinks = 300;
    any_session s = session_of(m, options);
    CHECK(s.context() == 1024);
    CHECK(s.sinks() == 512);
    sums after;
    feed_each(s, ids, after);
    CHECK(after == one_by_one(1024, 512));
    CHECK(tokens_of(s) == left_of(ids, 512, 256));
    CHECK(after != one_by_one(1024));
}

TEST_CASE("next() goes on beyond the context, the pending token too, without a limit") {
    const any_model m = small_model();
    sampler choose = greedy(m);
    sampler other = greedy(m);
    any_session s = session_of(m, window_of(512));
    any_session again = session_of(m, window_of(512));
    const auto ids = some_tokens(500);
    REQUIRE(s.feed(ids));
    std::vector<token> given;
    const std::size_t before = bitnet_tests::allocations();
    for (std::size_t i = 0; i < 320; ++i) {
        const auto id = s.next(choose);
        REQUIRE(id);
        REQUIRE(s.pending() == id);
        REQUIRE(s.tokens().back() == *id);
        REQUIRE(s.position() == 501 + i);
        static_cast<void>(*id);
    }
    CHECK(bitnet_tests::allocations() == before);
    CHECK(s.dropped() == 512);
    REQUIRE(again.feed(ids));
    for (std::size_t i = 0; i < 320; ++i) {
        given.push_back(*again.next(other));
        if (i % 50 == 13) {
            std::vector<std::byte> bytes; // with the pending token
            REQUIRE(again.save(byte_sink(bytes)));
            REQUIRE(again.restore(bytes));
        }
    }
    CHECK(tokens_of(again) == tokens_of(s));
    CHECK(sum_of(again) == sum_of(s));
}

TEST_CASE("what a window cannot do is an error that says so and changes nothing") {
    const any_model m = small_model();
    const auto refused = [&](const session_options& options) {
        const auto opened = any_session::open(m, options);
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == errc::invalid_argument);
        return opened.error().message;
    };
    CHECK(refused(window_of(600)) == "session: a window takes a context of whole pages of 256 positions, two at least, "
                                     "and 600 positions were asked for");
    CHECK(refused(window_of(256)).find("and 256 positions were asked for") != std::string::npos);
    auto options = window_of(512);
    options.sinks = 257;
    CHECK(refused(options) ==
          "session: 257 positions were asked for as the sinks of a window, 1 to 256 are possible in "
          "a context of 512");
    options.sinks = 0;
    CHECK(refused(options).find("session: 0 positions") == 0);
    options.sinks = SIZE_MAX;
    static_cast<void>(refused(options));

    const auto ids = some_tokens(800);
    any_session s = session_of(m, window_of(512));
    REQUIRE(s.feed(ids));
    const auto kept = tokens_of(s);
    const auto rewound = s.rewind(768);
    REQUIRE_FALSE(rewound);
    CHECK(rewound.error().code == errc::invalid_argument);
    CHECK(rewound.error().message ==
          "session: position 768 was asked for, the window has dropped positions 256 to 767; "
          "up to 256 and from 769 on are possible");
    for (const std::size_t to : {257u, 600u, 768u, 801u}) {
        CHECK_FALSE(s.can_rewind(to));
        CHECK_FALSE(s.rewind(to));
    }
    for (const std::size_t to : {0u, 1u, 256u, 769u, 800u}) {
        CHECK(s.can_rewind(to));
    }
    const auto too_many = s.queue(some_tokens(1024));
    REQUIRE_FALSE(too_many);
    CHECK(too_many.error().message == "session: 1024 tokens do not fit the queue, which has room for 736 more");
    std::vector<std::byte> bytes;
    const auto small = s.save(byte_sink(bytes), {.keys_and_values = false});
    REQUIRE_FALSE(small);
    CHECK(small.error().message ==
          "session: the window has dropped 512 positions, without which nothing can run again, "
          "so that a save needs keys and values");
    CHECK(bytes.empty());
    CHECK(tokens_of(s) == kept);
    CHECK(sum_of(s) == one_by_one(512)[799]);

    REQUIRE(s.save(byte_sink(bytes)));
    any_session larger = session_of(m, window_of(768));
    any_session without = session_of(m, {.context = 600, .threads = 1});
    for (any_session* other : {&larger, &without}) {
        const auto restored = other->restore(bytes, "save");
        REQUIRE_FALSE(restored);
        CHECK(restored.error().code == errc::wrong_model);
        CHECK(
            restored.error().message.starts_with("save: the session that was saved has a window of 512 positions, 256 "
                                                 "of them sinks, and has dropped 512; this one has a window of "));
        CHECK(other->position() == 0);
    }
    for (std::size_t at = 0; at < 200; ++at) { // the header, and what is said of the window
        bytes[at] ^= std::byte{1};
        CHECK_FALSE(s.restore(bytes));
        bytes[at] ^= std::byte{1};
    }
    CHECK(sum_of(s) == one_by_one(512)[799]);
}

TEST_CASE("a save whose window cannot be is refused, though its checksums are right") {
    const any_model m = small_model();
    any_session s = session_of(m, window_of(512));
    REQUIRE(s.feed(some_tokens(600)));
    std::vector<std::byte> bytes;
    REQUIRE(s.save(byte_sink(bytes)));
    constexpr std::size_t begin = 136; // the window: context, sinks, dropped; then tokens and the last state
    const std::size_t end = begin + 3 * 8 + s.tokens().size_bytes() + m.parameters().hidden * sizeof(float);
    const auto code_with = [&](std::size_t field, std::uint64_t value) {
        auto changed = bytes;
        std::uint64_t sum = 0;
        std::memcpy(&sum, changed.data() + 128, sizeof sum);
        std::memcpy(changed.data() + begin + 8 * field, &value, sizeof value);
        sum = detail::checksum::of(std::span(changed).subspan(begin, end - begin), sum);
        std::memcpy(changed.data() + end, &sum, sizeof sum);
        return s.restore(changed).error().code;
    };
    for (const std::uint64_t dropped : {std::uint64_t{0}, std::uint64_t{255}, std::uint64_t{1} << 63, UINT64_MAX}) {
        CHECK(code_with(2, dropped) == errc::inconsistent);
    }
    CHECK(code_with(0, 768) == errc::wrong_model);
    CHECK(code_with(1, 512) == errc::wrong_model);
    CHECK(code_with(2, 512) == errc::bad_checksum); // of the pages: nothing else tells that it is another number
    CHECK(s.position() == 600);
    CHECK(sum_of(s) == one_by_one(512)[599]);
}

TEST_CASE("a pool without a page in place of a shared one stops a window where it is, and nothing is lost") {
    const any_model m = small_model();
    const auto ids = some_tokens(800);
    const sums& expected = one_by_one(512);
    kv_pool kv = pool_of(m, 3);
    auto options = window_of(512, 64);
    options.kv = &kv;
    any_session s = session_of(m, options);
    any_session other = session_of(m, options);
    REQUIRE(s.feed(std::span(ids).first(512)));
    REQUIRE(other.feed(std::span(ids).first(10)));
    auto fork = s.fork();
    REQUIRE(fork);
    REQUIRE(fork->queue(std::span(ids).subspan(512, 100)));
    for (int i = 0; i < 2; ++i) {
        const auto stopped = fork->step(std::chrono::hours(1));
        REQUIRE_FALSE(stopped);
        CHECK(stopped.error().code == errc::kv_pool_full);
        CHECK(fork->queued() == 100);
        CHECK(fork->position() == 512);
        CHECK(fork->dropped() == 0);
    }
    REQUIRE(fork->rewind(512)); // drops the queue
    CHECK(fork->feed(std::span(ids).subspan(512)).error().code == errc::kv_pool_full);
    CHECK(fork->position() == 512);
    CHECK(sum_of(*fork) == expected[511]);
    CHECK(sum_of(s) == expected[511]);
    other.reset();
    REQUIRE(fork->feed(std::span(ids).subspan(512)));
    CHECK(sum_of(*fork) == expected[799]);
    REQUIRE(s.feed(std::span(ids).subspan(512))); // what it drops is its own now
    CHECK(sum_of(s) == expected[799]);
    CHECK(sum_of(*fork) == expected[799]);
    CHECK(kv.free_pages() == 0);
    fork->reset();
    CHECK(kv.free_pages() == 1);
}

TEST_CASE("estimate_memory counts what a window takes, and memory does not depend on how far it went") {
    const any_model m = small_model();
    const std::size_t before = bitnet_tests::allocated_bytes();
    any_session plain = session_of(m, {.context = 512, .threads = 1});
    const std::size_t of_plain = bitnet_tests::allocated_bytes() - before;
    any_session s = session_of(m, window_of(512));
    CHECK(bitnet_tests::allocated_bytes() - before - of_plain == of_plain + 512 * sizeof(token));
}
