// SPDX-License-Identifier: MIT
// Sessions stepped together give the bits that each gives alone.
#include "golden/tiny_model_writer.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/batch.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using plain = policy<isa::scalar>;

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

model<plain> open_plain(const buffer<std::byte>& bytes) {
    auto opened = model<plain>::open(byte_source::borrow(bytes.span(), "small"));
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

template <class Ladder = any_cpu> any_model open_any(const buffer<std::byte>& bytes, std::string_view isa) {
    auto opened = any_model::open<Ladder>(byte_source::borrow(bytes.span(), "small"), {}, isa);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

template <class Session, class Model> std::vector<Session> open_sessions(const Model& opened, std::size_t count) {
    std::vector<Session> all;
    for (std::size_t i = 0; i < count; ++i) {
        auto made = Session::open(opened, {.prompt_chunk = 64, .stop_at_stop_tokens = false});
        REQUIRE(made);
        all.push_back(*std::move(made));
    }
    return all;
}

/// Sequence i has positions of its own: 0, 1, 300, 17, 255, ... tokens before the batch begins.
std::vector<token> prompt_of(std::size_t i) {
    const std::size_t lengths[] = {0, 1, 300, 17, 255, 256, 3, 40, 2};
    std::vector<token> ids(lengths[i % 9]);
    for (std::size_t j = 0; j < ids.size(); ++j) {
        ids[j] = static_cast<token>((j * 37 + i * 11 + 5) % 290);
    }
    return ids;
}
token token_of(std::size_t i, std::size_t step) { return static_cast<token>((i * 53 + step * 17 + 3) % 290); }

std::vector<float> logits_of(any_session& s) {
    const auto logits = s.logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

/// Logits after each of three steps, session by session.
std::vector<std::vector<float>> alone(const any_model& opened, std::size_t count) {
    std::vector<std::vector<float>> all;
    auto sessions = open_sessions<any_session>(opened, count);
    for (std::size_t step = 0; step < 3; ++step) {
        for (std::size_t i = 0; i < count; ++i) {
            REQUIRE((step != 0 || sessions[i].feed(prompt_of(i))));
            const token id = token_of(i, step);
            REQUIRE(sessions[i].feed({&id, 1}));
            all.push_back(logits_of(sessions[i]));
        }
    }
    return all;
}

std::vector<std::vector<float>> together(const any_model& opened, std::size_t count, std::size_t threads) {
    std::vector<std::vector<float>> all;
    auto sessions = open_sessions<any_session>(opened, count);
    auto steps = any_batch::open(opened, {.sessions = count + 1, .threads = threads});
    REQUIRE(steps);
    for (std::size_t step = 0; step < 3; ++step) {
        std::vector<batch_entry> entries;
        for (std::size_t i = 0; i < count; ++i) {
            REQUIRE((step != 0 || sessions[i].feed(prompt_of(i))));
            entries.push_back({&sessions[i], token_of(i, step)});
        }
        const auto stepped = steps->step(entries);
        REQUIRE_MESSAGE(stepped, (stepped ? "" : stepped.error().message));
        for (std::size_t i = 0; i < count; ++i) {
            CHECK(sessions[i].position() == prompt_of(i).size() + step + 1);
            all.push_back(logits_of(sessions[i]));
        }
    }
    return all;
}

/// \param expected what alone() gave for nine sessions
void check_together(const any_model& opened, const std::vector<std::vector<float>>& expected) {
    for (const std::size_t count : {1u, 2u, 5u, 9u}) {
        for (const std::size_t threads : {1u, 3u}) {
            const auto actual = together(opened, count, threads);
            for (std::size_t i = 0; i < actual.size(); ++i) {
                const auto& one = expected[i / count * 9 + i % count];
                CHECK_MESSAGE(same(one, actual[i]),
                              opened.isa() << ": " << count << " sessions, " << threads << " threads, result " << i);
            }
        }
    }
}

} // namespace

TEST_CASE("a step of several sessions gives each the bits it has alone, with every instruction set") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    const auto expected = alone(open_any(*bytes, "scalar"), 9);
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        check_together(open_any(*bytes, isa), expected);
    }
}

TEST_CASE("a step of several sessions with an int8 KV cache gives each the bits it has alone") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    const any_model opened = open_any<ladder<plain::with_kv<std::int8_t>>>(*bytes, "scalar");
    check_together(opened, alone(opened, 9));
}

TEST_CASE("tokens that next() gave run together, and decoding continues as if alone") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    const auto opened = open_plain(*bytes);
    const std::size_t vocabulary = opened.parameters().vocabulary;
    std::vector<std::vector<token>> tokens[2]; // alone, together
    for (const bool is_together : {false, true}) {
        auto sessions = open_sessions<session<plain>>(opened, 3);
        auto steps = batch<plain>::open(opened, {.sessions = 3, .threads = 2});
        REQUIRE(steps);
        auto& all = tokens[is_together ? 1 : 0];
        std::vector<sampler> choose;
        std::vector<session<plain>*> pointers;
        for (std::size_t i = 0; i < 3; ++i) {
            REQUIRE(sessions[i].feed(prompt_of(i + 1)));
            auto made = sampler::open({.temperature = 1.0f, .seed = i}, vocabulary);
            REQUIRE(made);
            choose.push_back(*std::move(made));
            pointers.push_back(&sessions[i]);
            all.emplace_back();
        }
        for (int step = 0; step < 12; ++step) {
            REQUIRE((!is_together || steps->run_pending(pointers)));
            for (std::size_t i = 0; i < 3; ++i) {
                const auto chosen = sessions[i].next(choose[i]);
                REQUIRE(chosen);
                all[i].push_back(*chosen);
            }
        }
    }
    CHECK(tokens[0] == tokens[1]);
}

TEST_CASE("a step that is refused names both numbers and leaves every session as it was") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    const auto opened = open_plain(*bytes);
    const auto other = open_plain(*bytes);
    auto sessions = open_sessions<session<plain>>(opened, 3);
    auto strange = session<plain>::open(other);
    auto full = session<plain>::open(opened, {.context = 1});
    auto steps = batch<plain>::open(opened, {.sessions = 2});
    auto greedy = sampler::open(sampler_options::greedy(), opened.parameters().vocabulary);
    REQUIRE((strange && full && steps && greedy));
    const token one = 7;
    REQUIRE(sessions[0].feed({&one, 1}));
    REQUIRE(full->feed({&one, 1}));
    const auto before = logits_of(sessions[0]);
    const auto refused = [&](std::vector<batch_entry> entries, errc code, const std::string& message) {
        const auto stepped = steps->step(entries);
        REQUIRE_FALSE(stepped);
        CHECK(stepped.error().code == code);
        CHECK(stepped.error().message == message);
        CHECK(sessions[0].position() == 1);
        CHECK(same(before, logits_of(sessions[0])));
    };
    refused({{&sessions[0], 1}, {&sessions[1], 1}, {&sessions[2], 1}}, errc::invalid_argument,
            "batch: 3 sessions in a step of 2 sessions");
    refused({{&sessions[0], 1}, {&sessions[0], 2}}, errc::invalid_argument,
            "batch: entries 0 and 1 are the same session");
    refused({{&sessions[0], 1}, {&*strange, 2}}, errc::invalid_argument,
            "batch: entry 1 is a session of another model");
    refused({{&sessions[0], 1}, {&sessions[1], 298}}, errc::invalid_token,
            "batch: entry 1 has token 298, the vocabulary has 298");
    refused({{&sessions[0], 1}, {&sessions[1], -1}}, errc::invalid_token,
            "batch: entry 1 has token -1, the vocabulary has 298");
    refused({{&sessions[0], 1}, {&*full, 1}}, errc::context_full,
            "batch: entry 1: the context has 1 positions and 1 are taken");
    const auto given = sessions[0].next(*greedy);
    REQUIRE(given);
    const token wrong = *given == 5 ? 6 : 5;
    const batch_entry entries[] = {{&sessions[0], wrong}};
    const auto stepped = steps->step(entries);
    REQUIRE_FALSE(stepped);
    CHECK(stepped.error().message == "batch: entry 0 has token " + std::to_string(wrong) +
                                         ", but next() of its session gave " + std::to_string(*given));
    CHECK(sessions[0].position() == 2);
    CHECK(steps->step({})); // nothing to do is no error
    CHECK(steps->run_pending(std::vector<session<plain>*>()));
}

TEST_CASE("a batch of no sessions or too many is refused") {
    const auto bytes = bitnet_tests::tiny_model(small_shape());
    REQUIRE(bytes);
    const auto opened = open_plain(*bytes);
    const auto none = batch<plain>::open(opened, {.sessions = 0});
    REQUIRE_FALSE(none);
    CHECK(none.error().message == "batch: 0 sessions were asked for, 1 to 1024 are possible");
    CHECK_FALSE(batch<plain>::open(opened, {.sessions = 1025}));
    CHECK_FALSE(batch<plain>::open(opened, {.threads = 0}));
}
