// SPDX-License-Identifier: MIT
// save() and restore(): what goes on has the bits that would have gone on, and what is no save changes nothing.
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/core/checksum.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/saved_session.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

template <class E> struct saving_policy : policy<isa::scalar>::with_kv<E> {};

using bytes_of_save = std::vector<std::byte>;

/// Two layers, three KV heads, room for more than one page.
bitnet_tests::model_shape paged_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.heads = 12;
    shape.kv_heads = 3;
    shape.head_dim = 32;
    shape.context = 700;
    return shape;
}

buffer<std::byte> written(const bitnet_tests::model_shape& shape) {
    auto made = bitnet_tests::tiny_model(shape);
    REQUIRE(made);
    return *std::move(made);
}

template <class Ladder = any_cpu>
any_model opened(const buffer<std::byte>& bytes, std::string_view isa = {}, const open_options& options = {}) {
    auto made = any_model::open<Ladder>(byte_source::borrow(bytes.span(), "small"), options, isa);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

any_session session_of(const any_model& m, session_options options = {}) {
    options.threads = 1;
    options.stop_at_stop_tokens = false;
    auto made = any_session::open(m, options);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

kv_pool pool_of(const any_model& m, std::size_t pages) {
    const auto one = m.open_kv_pool(UINT64_C(1) << 30);
    REQUIRE(one);
    auto made = m.open_kv_pool(one->page_bytes() * pages);
    REQUIRE(made);
    return *std::move(made);
}

std::vector<token> some_tokens(std::size_t count, unsigned seed) {
    std::vector<token> ids;
    for (std::size_t i = 0; i < count; ++i) {
        seed = seed * 1103515245u + 12345u;
        ids.push_back(static_cast<token>(seed >> 16) % 290);
    }
    return ids;
}

bytes_of_save saved(const any_session& s, const save_options& options = {}) {
    bytes_of_save out;
    const auto done = s.save(out, options);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
    CHECK(out.size() == s.saved_bytes(options));
    return out;
}

std::vector<float> logits_of(any_session& s) {
    const auto logits = s.logits();
    REQUIRE_MESSAGE(logits, (logits ? "" : logits.error().message));
    return {logits->begin(), logits->end()};
}

bool same_bits(std::span<const float> a, std::span<const float> b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// What tells one session from another: its tokens and what it says next.
struct outcome {
    std::vector<token> tokens;
    std::vector<token> said;
    std::vector<float> logits;

    friend bool operator==(const outcome& a, const outcome& b) {
        return a.tokens == b.tokens && a.said == b.said && same_bits(a.logits, b.logits);
    }
};

/// Lets the session go on by six tokens.
outcome what_follows(any_session& s) {
    outcome made;
    while (s.queued() != 0) {
        REQUIRE(s.step(std::chrono::microseconds(200)));
    }
    made.tokens.assign(s.tokens().begin(), s.tokens().end());
    auto choose = *sampler::open({.seed = 9}, 298);
    for (int i = 0; i < 6 && s.position() != s.context(); ++i) {
        const auto id = s.next(choose);
        REQUIRE(id);
        made.said.push_back(*id);
    }
    made.logits = logits_of(s);
    return made;
}

void restore(any_session& s, std::span<const std::byte> bytes) {
    const auto done = s.restore(bytes);
    REQUIRE_MESSAGE(done, (done ? "" : done.error().message));
}

/// Restores a save everywhere: other contexts, chunks, pools, over what was there before.
void check_everywhere(const any_model& m, const bytes_of_save& bytes, const outcome& expected) {
    for (const std::size_t context : std::initializer_list<std::size_t>{0, 268}) { // the last page as short as can be
        for (const bool is_pooled : {false, true}) {
            CAPTURE(context);
            CAPTURE(is_pooled);
            std::optional<kv_pool> kv;
            if (is_pooled) {
                kv.emplace(pool_of(m, 3));
            }
            session_options options{.context = context, .prompt_chunk = 50 + context / 10};
            options.kv = kv ? &*kv : nullptr;
            auto s = session_of(m, options);
            restore(s, bytes);
            CHECK(what_follows(s) == expected);
            restore(s, bytes); // over itself
            CHECK(what_follows(s) == expected);
            s.reset();
            REQUIRE(s.feed(some_tokens(20, 77)));
            restore(s, bytes);
            CHECK(what_follows(s) == expected);
        }
    }
}

/// The sentence and code of a restore() that has to fail.
error refused(any_session& s, std::span<const std::byte> bytes) {
    auto done = s.restore(bytes, "x.save");
    REQUIRE_FALSE(done);
    CHECK(done.error().message.starts_with("x.save: "));
    return failed(done);
}

/// A save of eight tokens of a model with little in it.
struct small_save {
    buffer<std::byte> file;
    any_model m;
    bytes_of_save bytes;

    static small_save open() {
        bitnet_tests::model_shape shape;
        shape.heads = 16;
        shape.head_dim = 8;
        auto file = written(shape);
        auto m = opened<ladder<saving_policy<std::int8_t>>>(file);
        auto s = session_of(m);
        REQUIRE(s.feed(some_tokens(8, 1)));
        auto bytes = saved(s);
        return {std::move(file), std::move(m), std::move(bytes)};
    }
};

} // namespace

TEST_CASE_TEMPLATE("a restored session goes on with the bits of the one that was saved", E, half, float, std::int8_t) {
    const auto file = written(paged_shape());
    const auto m = opened<ladder<saving_policy<E>>>(file);
    for (const std::size_t length : std::initializer_list<std::size_t>{1, 37, 256, 262}) {
        CAPTURE(length);
        auto s = session_of(m);
        REQUIRE(s.feed(some_tokens(length, 1)));
        const auto bytes = saved(s);
        const auto small = saved(s, {.keys_and_values = false});
        CHECK(small.size() == 136 + 4 * length + 8);
        auto lazy = session_of(m); // whose last logits were asked for before
        REQUIRE(lazy.feed(some_tokens(length, 1)));
        logits_of(lazy);
        CHECK(saved(lazy) == bytes);
        const auto expected = what_follows(s);
        CHECK(what_follows(lazy) == expected);
        check_everywhere(m, bytes, expected);
        if (length == 37) {
            check_everywhere(m, small, expected);
        }
    }
}

TEST_CASE("an empty session is saved and restored") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    const auto bytes = saved(session_of(m));
    auto s = session_of(m);
    REQUIRE(s.feed(some_tokens(30, 1)));
    restore(s, bytes);
    CHECK(s.position() == 0);
    CHECK(s.logits().error().code == errc::nothing_fed);
    REQUIRE(s.feed(some_tokens(20, 2)));
    auto fresh = session_of(m);
    REQUIRE(fresh.feed(some_tokens(20, 2)));
    CHECK(what_follows(s) == what_follows(fresh));
}

TEST_CASE("a save of one instruction set goes on with the same bits on every other") {
    const auto file = written(paged_shape());
    std::optional<bytes_of_save> first;
    std::optional<outcome> expected;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        CAPTURE(isa);
        const auto m = opened(file, isa);
        auto s = session_of(m);
        REQUIRE(s.feed(some_tokens(262, 3)));
        const auto bytes = saved(s);
        if (!first) {
            first = bytes;
            expected = what_follows(s);
        }
        CHECK(bytes == *first);
        auto other = session_of(m);
        restore(other, *first);
        CHECK(what_follows(other) == *expected);
    }
    // ... and on every machine: this number is that of all of them.
    CHECK(checksum::of(*first) == UINT64_C(11358857015606490226));
}

TEST_CASE("a token that has not run, a rewind and a fork are saved as they are") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto kv = pool_of(m, 6);
    for (kv_pool* pool : {static_cast<kv_pool*>(nullptr), &kv}) {
        auto s = session_of(m, {.kv = pool});
        REQUIRE(s.feed(some_tokens(261, 4)));
        auto choose = *sampler::open({.seed = 1}, 298);
        REQUIRE(s.next(choose));
        REQUIRE(s.pending());
        const auto pending = saved(s);
        auto fork = s.fork();
        REQUIRE(fork);
        CHECK(saved(*fork) == pending);
        REQUIRE(fork->feed(some_tokens(3, 5)));
        const auto forked = saved(*fork);
        REQUIRE(s.rewind(130));
        const auto rewound = saved(s);
        auto plain = session_of(m, {.kv = pool});
        REQUIRE(plain.feed(some_tokens(261, 4)));
        REQUIRE(plain.rewind(130));
        CHECK(saved(plain) == rewound);
        auto into = session_of(m);
        restore(into, pending);
        CHECK(into.pending());
        CHECK(saved(into) == pending);
        restore(into, rewound);
        CHECK_FALSE(into.pending());
        CHECK(what_follows(into) == what_follows(s));
        restore(into, forked);
        CHECK(what_follows(into) == what_follows(*fork));
    }
}

TEST_CASE("a queue is saved, in the middle of a pass too") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto plain = session_of(m);
    REQUIRE(plain.feed(some_tokens(30, 1)));
    auto choose = *sampler::open({.seed = 1}, 298);
    REQUIRE(plain.next(choose));
    REQUIRE(plain.feed(some_tokens(260, 2)));
    const auto expected = what_follows(plain);
    for (const int steps : {0, 1, 5}) {
        auto s = session_of(m);
        REQUIRE(s.feed(some_tokens(30, 1)));
        choose.reset();
        REQUIRE(s.next(choose));
        REQUIRE(s.queue(some_tokens(260, 2)));
        for (int i = 0; i < steps; ++i) {
            REQUIRE(s.step(std::chrono::microseconds(1)));
        }
        const auto bytes = saved(s);
        const auto small = saved(s, {.keys_and_values = false});
        CHECK(small.size() == 136 + 4 * 291 + 8);
        auto into = session_of(m);
        restore(into, bytes);
        CHECK(into.queued() == s.queued());
        CHECK(into.pending() == s.pending());
        CHECK(saved(into) == bytes);
        CHECK(what_follows(into) == expected);
        REQUIRE(into.queue(some_tokens(9, 3)));
        REQUIRE(into.step(std::chrono::microseconds(1)));
        restore(into, small); // over a pass that is under way
        CHECK(into.queued() == 291);
        CHECK(into.position() == 0);
        CHECK(what_follows(into) == expected);
        CHECK(what_follows(s) == expected);
    }
}

TEST_CASE("what was forgotten is not in a save") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto a = session_of(m);
    auto b = session_of(m);
    REQUIRE(a.feed(some_tokens(20, 4)));
    REQUIRE(b.feed(some_tokens(20, 4)));
    REQUIRE(b.feed(some_tokens(11, 5)));
    REQUIRE(a.rewind(19));
    REQUIRE(b.rewind(19));
    CHECK(saved(a) == saved(b));
}

TEST_CASE("embeddings need keys and values, and are restored with them") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    std::vector<float> rows(3 * m.parameters().hidden);
    for (std::size_t i = 0; i < rows.size(); ++i) {
        rows[i] = static_cast<float>(i % 13) * 0.01f;
    }
    auto s = session_of(m);
    REQUIRE(s.feed(some_tokens(5, 1)));
    REQUIRE(s.feed_embeddings(rows)); // the last one: its state cannot be computed again
    const auto bytes = saved(s);
    bytes_of_save out;
    const auto small = s.save(out, {.keys_and_values = false});
    REQUIRE_FALSE(small);
    CHECK(small.error().code == errc::invalid_argument);
    CHECK(small.error().message.find("position 5 ") != std::string::npos);
    CHECK(out.empty());
    const auto expected = what_follows(s);
    CHECK(expected.tokens[6] == no_token);
    auto other = session_of(m);
    restore(other, bytes);
    CHECK(what_follows(other) == expected);
}

TEST_CASE("sessions of a batch are restored, after an embedding too") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto batch = any_batch::open(m, {.threads = 1});
    REQUIRE(batch);
    const std::vector<float> row(m.parameters().hidden, 0.25f);
    for (const bool is_embedding : {false, true}) {
        auto s = session_of(m);
        REQUIRE(s.feed(some_tokens(5, 1)));
        const batch_entry entry{&s, 7, is_embedding ? std::span<const float>(row) : std::span<const float>()};
        REQUIRE(batch->step({&entry, 1}));
        const auto bytes = saved(s);
        auto other = session_of(m);
        restore(other, bytes);
        CHECK(same_bits(logits_of(s), logits_of(other)));
        CHECK(saved(other).size() >= bytes.size());
        CHECK(what_follows(s) == what_follows(other));
    }
}

TEST_CASE("the mean of states goes on") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto s = session_of(m, {.pooling = pooling_type::mean});
    REQUIRE(s.feed(some_tokens(40, 1)));
    for (const bool keys_and_values : {false, true}) {
        const auto bytes = saved(s, {.keys_and_values = keys_and_values});
        auto same = session_of(m, {.pooling = pooling_type::mean});
        REQUIRE(same.feed(some_tokens(40, 1)));
        auto other = session_of(m, {.pooling = pooling_type::mean});
        REQUIRE(other.feed(some_tokens(3, 2)));
        restore(other, bytes);
        for (auto* each : {&same, &other}) {
            REQUIRE(each->feed(some_tokens(9, 3)));
        }
        const auto expected = same.embedding();
        REQUIRE(expected);
        const auto found = other.embedding();
        REQUIRE(found);
        CHECK(same_bits(*expected, *found));
        auto last = session_of(m);
        CHECK(refused(last, bytes).code == errc::wrong_model);
    }
}

TEST_CASE("every changed bit and every cut of a save is refused, and changes nothing") {
    const auto small = small_save::open();
    auto s = session_of(small.m);
    REQUIRE(s.feed(some_tokens(11, 2)));
    const auto before = saved(s);
    auto bytes = small.bytes;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        REQUIRE_FALSE(s.restore(bytes));
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        CHECK(refused(s, std::span(bytes).first(size)).code == errc::truncated);
    }
    bytes.push_back({});
    CHECK(refused(s, bytes).code == errc::inconsistent);
    bytes.pop_back();
    std::vector<std::byte> swapped = bytes; // two damaged bytes
    std::swap(swapped[bytes.size() - 20], swapped[bytes.size() - 60]);
    CHECK(refused(s, swapped).code == errc::bad_checksum);
    CHECK(saved(s) == before);
    auto twin = session_of(small.m);
    REQUIRE(twin.feed(some_tokens(11, 2)));
    CHECK(what_follows(s) == what_follows(twin));
    restore(s, bytes);
    CHECK(s.position() == 8);
}

TEST_CASE("a save says what it is and what is wrong") {
    const auto small = small_save::open();
    auto s = session_of(small.m);
    const auto sentence_of = [&](std::size_t at, char value) {
        auto changed = small.bytes;
        changed[at] = static_cast<std::byte>(value);
        return refused(s, changed).message;
    };
    CHECK(sentence_of(0, 'X') == "x.save: is no saved session: it begins with 'XITNETSS', not with 'BITNETSS'");
    CHECK(sentence_of(8, 2) == "x.save: is of version 2 of saved sessions, only version 1 is read");
    CHECK(refused(s, std::span(small.bytes).first(100)).message ==
          "x.save: a saved session has at least 136 bytes, these are 100");
    const std::string size = std::to_string(small.bytes.size());
    CHECK(refused(s, std::span(small.bytes).first(small.bytes.size() - 1)).message ==
          "x.save: was saved with " + size + " bytes, these are " + std::to_string(small.bytes.size() - 1));
    auto short_session = session_of(small.m, {.context = 7});
    const auto full = refused(short_session, small.bytes);
    CHECK(full.code == errc::context_full);
    CHECK(full.message == "x.save: has 8 tokens, the context has room for 7");
}

TEST_CASE("a save of another model is refused") {
    auto shape = paged_shape();
    const auto file = written(shape);
    const auto m = opened(file);
    auto s = session_of(m);
    REQUIRE(s.feed(some_tokens(20, 1)));
    const auto bytes = saved(s);
    const auto check = [&](const any_model& other, std::string_view part) {
        auto into = session_of(other);
        REQUIRE(into.feed(some_tokens(3, 1)));
        const auto failure = refused(into, bytes);
        CHECK(failure.code == errc::wrong_model);
        CAPTURE(failure.message);
        CHECK(failure.message.find(part) != std::string::npos);
        CHECK(into.position() == 3);
    };
    check(opened<ladder<saving_policy<float>>>(file), "has 2 bytes in an element of keys and values, this one has 4");
    check(opened(file, {}, {.activations = activation_rounding::per_32}), "rounding of activations, this one has");
    auto changed = shape;
    changed.layers = 1;
    const auto shallow = written(changed);
    check(opened(shallow), "has 2 layers, this one has 1");
    changed = shape;
    changed.seed = 2; // the same shapes, other weights
    const auto other_weights = written(changed);
    check(opened(other_weights), "fingerprint");
    changed = shape;
    changed.epsilon = 2e-5f;
    const auto other_epsilon = written(changed);
    check(opened(other_epsilon), "fingerprint");
    changed = shape;
    changed.theta = 10000.0f;
    const auto other_theta = written(changed);
    check(opened(other_theta), "fingerprint");
}

TEST_CASE("of a model with longrope a save needs a context that rotates as its own") {
    auto shape = paged_shape();
    shape.architecture = "llama";
    shape.long_factor = 4;
    shape.short_factor = 2;
    shape.original_context = 300;
    const auto file = written(shape);
    const auto m = opened(file);
    auto s = session_of(m, {.context = 200});
    REQUIRE(s.feed(some_tokens(20, 1)));
    for (const bool keys_and_values : {true, false}) {
        const auto bytes = saved(s, {.keys_and_values = keys_and_values});
        auto long_one = session_of(m, {.context = 400});
        const auto failure = refused(long_one, bytes);
        CHECK(failure.code == errc::wrong_model);
        CHECK(failure.message.find("longrope") != std::string::npos);
        auto short_one = session_of(m, {.context = 300});
        restore(short_one, bytes);
        auto twin = session_of(m, {.context = 200});
        restore(twin, bytes);
        CHECK(what_follows(short_one) == what_follows(twin));
    }
}

TEST_CASE("a full pool refuses a save and loses nothing, and pages of the session itself serve again") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto kv = pool_of(m, 3);
    auto source = session_of(m);
    REQUIRE(source.feed(some_tokens(430, 1)));
    const auto bytes = saved(source);
    const auto expected = what_follows(source);
    auto s = session_of(m, {.kv = &kv});
    REQUIRE(s.feed(some_tokens(260, 2)));
    CHECK(kv.free_pages() == 1);
    restore(s, bytes); // two pages in place of two
    CHECK(kv.free_pages() == 1);
    auto fork = s.fork();
    REQUIRE(fork);
    const auto before = saved(s);
    const auto done = s.restore(bytes); // two shared pages, and only one is free
    REQUIRE_FALSE(done);
    const error& failure = done.error();
    CHECK(failure.code == errc::kv_pool_full);
    CHECK(failure.message.find("2 more pages") != std::string::npos);
    CHECK(kv.free_pages() == 1);
    CHECK(saved(s) == before);
    CHECK(saved(*fork) == before);
    const auto small = saved(source, {.keys_and_values = false});
    CHECK(s.restore(small).error().code == errc::kv_pool_full);
    CHECK(saved(s) == before);
    fork = error{};
    restore(s, bytes);
    CHECK(what_follows(s) == expected);
    auto third = session_of(m, {.kv = &kv});
    REQUIRE(third.feed(some_tokens(10, 2)));
    auto second_fork = third.fork();
    REQUIRE(second_fork);
    s.reset(); // two are free: one for the shared page, one more
    restore(third, bytes);
    CHECK(what_follows(third) == expected);
    CHECK(kv.free_pages() == 0);
    CHECK(second_fork->position() == 10);
    REQUIRE(third.feed({}));
}

TEST_CASE("saving to memory and restoring allocate nothing") {
    const auto file = written(paged_shape());
    const auto m = opened(file);
    auto kv = pool_of(m, 4);
    for (kv_pool* pool : {static_cast<kv_pool*>(nullptr), &kv}) {
        auto s = session_of(m, {.kv = pool});
        REQUIRE(s.feed(some_tokens(300, 1)));
        std::vector<std::byte> memory(to_size(s.saved_bytes()));
        bytes_of_save small;
        small.reserve(to_size(s.saved_bytes({.keys_and_values = false})));
        auto choose = *sampler::open({}, 298);
        std::vector<std::byte> of_sampler(1000);
        const std::size_t before = bitnet_tests::allocations();
        byte_room room{memory};
        REQUIRE(s.save(room));
        REQUIRE(s.save(small, {.keys_and_values = false}));
        REQUIRE(s.restore(memory));
        REQUIRE(s.restore(small));
        byte_room sampler_room{of_sampler};
        REQUIRE(choose.save(sampler_room));
        REQUIRE(choose.restore(std::span(of_sampler).first(sampler_room.size)));
        CHECK(bitnet_tests::allocations() == before);
        CHECK(room.size == memory.size());
    }
}

TEST_CASE("a sink that takes no more is an error of save(), which leaves the session as it was") {
    const auto small = small_save::open();
    auto s = session_of(small.m);
    restore(s, small.bytes);
    std::vector<std::byte> memory(small.bytes.size() - 1);
    for (std::size_t size = 0; size < memory.size(); size += 7) {
        byte_room room{std::span(memory).first(size)};
        const auto done = s.save(room);
        REQUIRE_FALSE(done);
        CHECK(done.error().code == errc::invalid_argument);
    }
    std::size_t calls = 0;
    const auto second_fails = [](void* context, std::span<const std::byte>) {
        return ++*static_cast<std::size_t*>(context) != 2;
    };
    const auto done = s.save(write_callback{second_fails, &calls});
    REQUIRE_FALSE(done);
    CHECK(done.error().code == errc::io_error);
    CHECK(calls == 2);
    CHECK(saved(s) == small.bytes);
}

TEST_CASE("a restored sampler chooses what the saved one would have chosen") {
    const sampler_options options{.repeat_penalty = 1.3f,
                                  .frequency_penalty = 0.2f,
                                  .penalty_window = 5,
                                  .seed = 4,
                                  .dry_multiplier = 0.5f,
                                  .dry_allowed_length = 1,
                                  .dry_window = 6};
    const auto logits_at = [](unsigned step) {
        std::vector<float> made(298);
        for (std::size_t i = 0; i < made.size(); ++i) {
            made[i] = static_cast<float>((i * 7919 + step * 104729) % 1000) * 0.004f;
        }
        return made;
    };
    const auto steps = [&](sampler& choose, unsigned first, unsigned count) {
        std::vector<token> said;
        for (unsigned i = first; i < first + count; ++i) {
            said.push_back(choose.choose(logits_at(i)));
            choose.accept(said.back());
        }
        return said;
    };
    for (const unsigned length : {0u, 3u, 5u, 17u}) {
        auto a = *sampler::open(options, 298);
        steps(a, 0, length);
        bytes_of_save bytes;
        REQUIRE(a.save(bytes));
        CHECK(bytes.size() == 136 + 4 * ((length < 5 ? length : 5) + 2 * (length < 6 ? length : 6)));
        auto b = *sampler::open(options, 298);
        steps(b, 50, 9);
        REQUIRE(b.restore(bytes));
        bytes_of_save again;
        REQUIRE(b.save(again));
        CHECK(again == bytes);
        CHECK(steps(b, length, 30) == steps(a, length, 30));
        bytes_of_save now;
        REQUIRE(b.save(now));
        for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
            REQUIRE_FALSE(b.restore(bytes));
            bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        }
        for (std::size_t size = 0; size < bytes.size(); ++size) {
            REQUIRE(b.restore(std::span(bytes).first(size)).error().code == errc::truncated);
        }
        bytes_of_save after;
        REQUIRE(b.save(after));
        CHECK(after == now);
        auto other = options;
        other.temperature = 0.7f;
        auto c = *sampler::open(other, 298);
        CHECK(c.restore(bytes).error().code == errc::wrong_model);
        CHECK(c.restore(bytes).error().message.find("temperature") != std::string::npos);
        other = options;
        other.top_k = 41;
        auto d = *sampler::open(other, 298);
        CHECK(d.restore(bytes, "x").error().message == "x: the sampler that was saved has top_k 40, this one 41");
    }
}
