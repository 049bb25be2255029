// SPDX-License-Identifier: MIT
// The steady state allocates nothing.
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/run/batch.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

void check_that_nothing_is_allocated(lm_head_mode head) {
    bitnet_tests::model_shape shape;
    shape.context = 600;
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto model = any_model::open(byte_source::borrow(bytes->span(), "tiny"), {.lm_head = head});
    REQUIRE(model);
    auto session = any_session::open(*model, {.threads = 3, .stop_at_stop_tokens = false});
    REQUIRE(session);
    for (const bool is_greedy : {true, false}) {
        sampler_options options;
        options.temperature = is_greedy ? 0.0f : 0.8f;
        options.repeat_penalty = 1.1f;
        auto choose = sampler::open(options, model->parameters().vocabulary);
        REQUIRE(choose);
        const std::vector<token> prompt(300, 5);
        const std::size_t before = bitnet_tests::allocations();
        bool ok = session->feed(prompt).has_value();
        for (int i = 0; i < 100; ++i) {
            ok = ok && session->next(*choose).has_value() && session->largest_logits(9).has_value();
            ok = ok && (i % 2 == 0 || session->logits().has_value());
        }
        session->reset();
        CHECK(bitnet_tests::allocations() == before);
        CHECK(ok);
    }
}

} // namespace

TEST_CASE("feed, next, logits and reset allocate nothing") {
    check_that_nothing_is_allocated(lm_head_mode::as_stored);
    check_that_nothing_is_allocated(lm_head_mode::screened);
}

TEST_CASE("a dialog in pages, with steps, rewinds, saves, restores and a fork beside it, allocates nothing") {
    bitnet_tests::model_shape shape;
    shape.context = 700;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto model = any_model::open(byte_source::borrow(bytes->span(), "tiny"));
    REQUIRE(model);
    auto pages = model->open_kv_pool(model->open_kv_pool(std::uint64_t{1} << 30)->page_bytes() * 6);
    REQUIRE(pages);
    auto talk = any_session::open(*model, {.threads = 2, .kv = &*pages, .stop_at_stop_tokens = false});
    auto choose = sampler::open({.repeat_penalty = 1.1f}, model->parameters().vocabulary);
    REQUIRE((talk && choose));
    const std::vector<token> prompt(300, 5);
    REQUIRE(talk->feed(prompt));
    std::vector<std::byte> memory(std::size_t{4} << 20);
    std::atomic<bool> cancel{false};
    talk->set_cancel_flag(&cancel);
    const std::size_t before_fork = bitnet_tests::allocations();
    auto fork = talk->fork();
    CHECK(bitnet_tests::allocations() - before_fork <= 5); // the object, its tokens, table of pages, state and sum
    REQUIRE(fork);
    const std::size_t before = bitnet_tests::allocations();
    bool ok = true;
    for (int turn = 0; turn < 5; ++turn) {
        for (any_session* each : {&*talk, &*fork}) {
            ok = ok && each->queue(std::span(prompt).first(40)).has_value();
            while (ok && *each->step(std::chrono::microseconds(100), *choose) == step_state::working) {
            }
            for (int i = 0; i < 10; ++i) {
                ok = ok && each->next(*choose).has_value();
            }
            byte_room room{memory};
            ok = ok && each->save(room).has_value() && each->rewind(290).has_value();
            ok = ok && each->restore(std::span(memory).first(room.size)).has_value();
        }
        cancel = true;
        ok = ok && talk->next(*choose) == std::nullopt && talk->stopped_by() == stop_reason::cancelled;
        cancel = false;
        ok = ok && talk->rewind(280).has_value() && fork->rewind(256 + static_cast<std::size_t>(turn)).has_value();
    }
    CHECK(bitnet_tests::allocations() == before);
    CHECK(ok);
}

TEST_CASE("saving a conversation to memory allocates nothing, in the middle of an answer and behind it") {
    const auto model = any_model::open(BITNET_TEST_MODEL);
    REQUIRE(model);
    auto talk = conversation::open(*model, {.system = "You tell fairy tales.",
                                            .session = {.context = 200, .threads = 1},
                                            .sampling = sampler_options{.repeat_penalty = 1.1f, .seed = 3},
                                            .answer_limit = 12});
    REQUIRE(talk);
    std::vector<std::byte> memory(std::size_t{4} << 20);
    const auto saved_for_nothing = [&](const save_options& options) {
        const std::size_t before = bitnet_tests::allocations();
        byte_room room{memory};
        const bool ok = talk->save(room, options).has_value();
        return ok && room.size != 0 && bitnet_tests::allocations() == before;
    };
    for (const char* question : {"Who lived in the castle?", "Why?"}) {
        REQUIRE(talk->say(question));
        while (talk->state() != conversation_state::idle) {
            REQUIRE(talk->step(std::chrono::milliseconds(1)));
            CHECK(saved_for_nothing({.keys_and_values = false}));
        }
        CHECK(saved_for_nothing({}));
    }
}

TEST_CASE("a batch with an int8 KV cache allocates nothing, over several attention blocks") {
    using P = policy<isa::scalar>::with_kv<std::int8_t>;
    bitnet_tests::model_shape shape;
    shape.context = 1100;
    shape.layers = 1;
    shape.hidden = 128;
    shape.ffn = 128;
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto opened = model<P>::open(byte_source::borrow(bytes->span(), "tiny"));
    REQUIRE(opened);
    auto a = session<P>::open(*opened, {.threads = 3, .stop_at_stop_tokens = false});
    auto b = session<P>::open(*opened, {.threads = 2, .stop_at_stop_tokens = false});
    auto steps = batch<P>::open(*opened, {.sessions = 2, .threads = 3});
    auto choose = sampler::open(sampler_options::greedy(), opened->parameters().vocabulary);
    REQUIRE((a && b && steps && choose));
    const std::vector<token> prompt(1020, 5);
    session<P>* const both[] = {&*a, &*b};
    const std::size_t before = bitnet_tests::allocations();
    bool ok = a->feed(prompt).has_value() && b->feed(std::span(prompt).first(9)).has_value();
    for (int i = 0; i < 20; ++i) {
        ok = ok && a->next(*choose) && b->next(*choose) && steps->run_pending(both).has_value();
    }
    const batch_entry entries[] = {{both[0], 1}, {both[1], 2}};
    ok = ok && steps->step(entries).has_value();
    CHECK(bitnet_tests::allocations() == before);
    CHECK(ok);
}

TEST_CASE("weights that are used as stored are not copied") {
    bitnet_tests::model_shape shape;
    shape.hidden = 512;
    shape.head_dim = 256;
    shape.ffn = 1024;
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto opened = model<policy<isa::scalar>>::open(byte_source::borrow(bytes->span(), "tiny"));
    REQUIRE(opened);
    const auto* first = reinterpret_cast<const std::uint8_t*>(bytes->data());
    const auto inside = [&](const void* p) {
        const auto* byte = static_cast<const std::uint8_t*>(p);
        return byte >= first && byte < first + bytes->size();
    };
    const auto& layer = opened->tensors().layer(0);
    for (const auto* matrix : {&layer.attn_q, &layer.attn_k, &layer.attn_v, &layer.attn_output, &layer.ffn_gate,
                               &layer.ffn_up, &layer.ffn_down}) {
        CHECK(inside(matrix->codes.data));
    }
    CHECK(inside(opened->tensors().lm_head().data));
    CHECK(opened->tensors().repacked_tensors() == 0);
}
