// SPDX-License-Identifier: MIT
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using plain = policy<isa::scalar>;

/// A model of 298 tokens and 64 positions, and its bytes.
struct small_model {
    buffer<std::byte> bytes;
    model<plain> opened;

    static small_model open() {
        auto bytes = bitnet_tests::tiny_model();
        REQUIRE(bytes);
        auto opened = model<plain>::open(byte_source::borrow(bytes->span(), "small"));
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        return {*std::move(bytes), *std::move(opened)};
    }
};

sampler greedy() {
    auto made = sampler::open(sampler_options::greedy(), 298);
    REQUIRE(made);
    return *std::move(made);
}

std::vector<float> copy(result<std::span<const float>> logits) {
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

} // namespace

TEST_CASE("a new session is empty, asking it for a token is an error, after which it still works") {
    const auto m = small_model::open();
    auto s = session<plain>::open(m.opened);
    REQUIRE(s);
    CHECK(s->position() == 0);
    CHECK(s->context() == 64);
    auto choose = greedy();
    CHECK_FALSE(s->next(choose));
    CHECK(s->stopped_by() == stop_reason::error);
    CHECK(s->last_error().code == errc::nothing_fed);
    CHECK(s->logits().error().code == errc::nothing_fed);
    CHECK(s->feed({})); // nothing to do is no error
    const token ids[] = {1, 2, 3};
    CHECK(s->feed(ids));
    CHECK(s->next(choose));
    CHECK(s->stopped_by() == stop_reason::none);
}

TEST_CASE("wrong token ids are refused with both numbers, and nothing is fed") {
    const auto m = small_model::open();
    auto s = session<plain>::open(m.opened);
    REQUIRE(s);
    const token good[] = {5, 6};
    REQUIRE(s->feed(good));
    const auto before = copy(s->logits());
    for (const token bad : {-1, 298, 1 << 30}) {
        const token ids[] = {1, bad};
        const auto fed = s->feed(ids);
        REQUIRE_FALSE(fed);
        CHECK(fed.error().code == errc::invalid_token);
        CHECK(fed.error().message.find("token 1 is " + std::to_string(bad)) != std::string::npos);
        CHECK(fed.error().message.find("298") != std::string::npos);
        CHECK(s->position() == 2);
        CHECK(copy(s->logits()) == before);
    }
}

TEST_CASE("a full context is reported by feed and next, and reset makes room") {
    const auto m = small_model::open();
    auto s = session<plain>::open(m.opened, {.context = 8, .stop_at_stop_tokens = false});
    REQUIRE(s);
    const std::vector<token> nine(9, 4);
    const auto fed = s->feed(nine);
    REQUIRE_FALSE(fed);
    CHECK(fed.error().code == errc::context_full);
    CHECK(fed.error().message == "session: 9 tokens do not fit, the context has 8 positions and 0 are taken");
    CHECK(s->position() == 0);
    REQUIRE(s->feed(std::span(nine).first(6)));
    auto choose = greedy();
    CHECK(s->next(choose));
    CHECK(s->next(choose));
    CHECK(s->position() == 8);
    CHECK_FALSE(s->next(choose));
    CHECK(s->stopped_by() == stop_reason::context_full);
    CHECK_FALSE(s->feed(std::span(nine).first(1)));
    s->reset();
    CHECK(s->position() == 0);
    CHECK(s->feed(std::span(nine).first(8)));
}

TEST_CASE("the token that next() gave is part of the sequence, as if it had been fed") {
    const auto m = small_model::open();
    auto a = session<plain>::open(m.opened, {.stop_at_stop_tokens = false});
    auto b = session<plain>::open(m.opened);
    REQUIRE(a);
    REQUIRE(b);
    const token ids[] = {7, 8, 9};
    REQUIRE(a->feed(ids));
    auto choose = greedy();
    const auto chosen = a->next(choose);
    REQUIRE(chosen);
    const token more[] = {10};
    REQUIRE(a->feed(more));
    const token whole[] = {7, 8, 9, *chosen, 10};
    REQUIRE(b->feed(whole));
    CHECK(a->position() == b->position());
    CHECK(copy(a->logits()) == copy(b->logits()));
}

TEST_CASE("a reset session repeats itself") {
    const auto m = small_model::open();
    auto s = session<plain>::open(m.opened);
    REQUIRE(s);
    const token ids[] = {7, 8, 9, 200, 31};
    REQUIRE(s->feed(ids));
    const auto first = copy(s->logits());
    s->reset();
    const token other[] = {1, 2};
    REQUIRE(s->feed(other));
    CHECK(copy(s->logits()) != first);
    s->reset();
    REQUIRE(s->feed(ids));
    CHECK(copy(s->logits()) == first);
}

TEST_CASE("feed_each shows the logits after every token, however many are computed together") {
    const auto m = small_model::open();
    std::vector<token> ids;
    for (token id = 0; id < 19; ++id) {
        ids.push_back(id * 13 + 7);
    }
    for (const std::size_t batch : {3u, 11u, 64u}) {
        auto s = session<plain>::open(m.opened, {.prompt_chunk = batch});
        auto t = session<plain>::open(m.opened);
        REQUIRE(s);
        REQUIRE(t);
        std::size_t visits = 0;
        REQUIRE(s->feed_each(ids, [&](std::size_t i, std::span<const float> row) {
            CHECK(i == visits++);
            REQUIRE(t->feed(std::span(ids).subspan(i, 1)));
            CHECK(copy(t->logits()) == std::vector<float>(row.begin(), row.end()));
        }));
        CHECK(visits == ids.size());
        CHECK(copy(s->logits()) == copy(t->logits()));
    }
}

TEST_CASE("next ends at a stop token, keeps it in the sequence, and continues when fed") {
    const auto m = small_model::open();
    const token eot = m.opened.text().eot().value();
    auto s = session<plain>::open(m.opened);
    REQUIRE(s);
    const token ids[] = {7, 8};
    REQUIRE(s->feed(ids));
    // A frequency penalty below zero pulls the recent token to the front: the sampler must choose eot.
    sampler_options options = sampler_options::greedy();
    options.frequency_penalty = -1000.0f;
    auto choose = sampler::open(options, 298);
    REQUIRE(choose);
    choose->accept(eot);
    CHECK_FALSE(s->next(*choose));
    CHECK(s->stopped_by() == stop_reason::stop_token);
    CHECK(s->position() == 3);
    const token more[] = {9};
    REQUIRE(s->feed(more));
    CHECK(s->position() == 4);
    auto u = session<plain>::open(m.opened);
    REQUIRE(u);
    const token whole[] = {7, 8, eot, 9};
    REQUIRE(u->feed(whole));
    CHECK(copy(s->logits()) == copy(u->logits()));
    auto unstopped = session<plain>::open(m.opened, {.stop_at_stop_tokens = false});
    REQUIRE(unstopped);
    REQUIRE(unstopped->feed(ids));
    CHECK(unstopped->next(*choose) == eot);
}

TEST_CASE("options that cannot be met are refused with both numbers") {
    const auto m = small_model::open();
    const std::pair<session_options, const char*> table[] = {
        {{.context = 65}, "session: a context of 65 was asked for, the model has 64"},
        {{.threads = 0}, "thread_pool: 0 threads asked for, 1 to 1024 are possible"},
        {{.prompt_chunk = 0}, "session: a prompt chunk of 0 was asked for, 1 to 4096 are possible"},
        {{.prompt_chunk = 5000}, "session: a prompt chunk of 5000 was asked for, 1 to 4096 are possible"},
    };
    for (const auto& [options, sentence] : table) {
        const auto s = session<plain>::open(m.opened, options);
        REQUIRE_FALSE(s);
        CHECK(s.error().code == errc::invalid_argument);
        CHECK(s.error().message == sentence);
    }
}

TEST_CASE("sessions share a pool, and a model that was moved") {
    auto m = small_model::open();
    auto pool = thread_pool::open(2);
    REQUIRE(pool);
    auto a = session<plain>::open(m.opened, **pool);
    REQUIRE(a);
    model<plain> moved = std::move(m.opened);
    auto b = session<plain>::open(moved, **pool);
    REQUIRE(b);
    const token ids[] = {1, 2, 3};
    REQUIRE(a->feed(ids));
    session<plain> moved_session = *std::move(a);
    REQUIRE(b->feed(ids));
    CHECK(copy(moved_session.logits()) == copy(b->logits()));
}

TEST_CASE("a session and a batch that name no threads have one for each core that the process may use") {
    const auto opened = any_model::open(tiny_model_path());
    REQUIRE(opened);
    const auto session = any_session::open(*opened, {.context = 16});
    const auto batch = any_batch::open(*opened);
    REQUIRE(session);
    REQUIRE(batch);
    CHECK(session->threads() == usable_cores());
    CHECK(batch->threads() == usable_cores());
    const auto one = any_session::open(*opened, {.context = 16, .threads = 1});
    REQUIRE(one);
    CHECK(one->threads() == 1);
}

TEST_CASE("inline_pool and the f32 cache are policies like any other") {
    auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    using quiet = plain::with_pool<inline_pool>::with_kv<float>;
    const auto m = model<quiet>::open(byte_source::borrow(bytes->span(), "small"));
    REQUIRE(m);
    auto s = session<quiet>::open(*m);
    REQUIRE(s);
    CHECK(s->threads() == 1);
    const token ids[] = {1, 2, 3};
    CHECK(s->feed(ids));
    CHECK(s->logits());
}

TEST_CASE("any_model takes the first policy that runs, or the one that is named") {
    const auto best = any_model::open(tiny_model_path());
    REQUIRE_MESSAGE(best, (best ? "" : best.error().message));
    any_cpu::with_first_available([&]<class P>() { CHECK(best->isa() == P::isa::name); });
    const auto scalar = any_model::open(tiny_model_path(), {}, "scalar");
    REQUIRE(scalar);
    CHECK(scalar->isa() == "scalar");
    const auto unknown = any_model::open(tiny_model_path(), {}, "mmx");
    REQUIRE_FALSE(unknown);
    CHECK(unknown.error().code == errc::unsupported_cpu);
    CHECK(unknown.error().message.starts_with("'mmx' is none of: "));
    CHECK(unknown.error().message.find("scalar") != std::string::npos);
}

TEST_CASE("any_session does what session does") {
    auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const auto erased = any_model::open(byte_source::borrow(bytes->span(), "small"), {}, "scalar");
    REQUIRE(erased);
    CHECK(erased->parameters().vocabulary == 298);
    CHECK(erased->text().vocabulary_size() == 298);
    CHECK(erased->file().name() == "small");
    auto a = any_session::open(*erased, {.context = 16, .threads = 2});
    REQUIRE(a);
    const auto m = small_model::open();
    auto b = session<plain>::open(m.opened, {.context = 16});
    REQUIRE(b);
    const token ids[] = {3, 1, 4, 1, 5};
    REQUIRE(a->feed(ids));
    REQUIRE(b->feed(ids));
    auto choose_a = greedy();
    auto choose_b = greedy();
    CHECK(a->next(choose_a) == b->next(choose_b));
    CHECK(copy(a->logits()) == copy(b->logits()));
    CHECK(a->position() == 6);
    CHECK(a->context() == 16);
    CHECK(a->threads() == 2);
    const token bad[] = {-5};
    CHECK(a->feed(bad).error().code == errc::invalid_token);
    std::size_t visits = 0;
    CHECK(a->feed_each(ids, [&](std::size_t, std::span<const float>) { ++visits; }));
    CHECK(visits == 5);
    a->reset();
    CHECK(a->position() == 0);
    CHECK_FALSE(a->next(choose_a));
    CHECK(a->stopped_by() == stop_reason::error);
    CHECK(a->last_error().code == errc::nothing_fed);
}

TEST_CASE("missing files, directories and truncated files are refused by name") {
    const auto missing = any_model::open("no/such/file.gguf");
    REQUIRE_FALSE(missing);
    CHECK(missing.error().code == errc::file_not_found);
    CHECK(missing.error().message.find("no/such/file.gguf") != std::string::npos);
    const auto directory = any_model::open("."); // it might be a checkpoint's
    REQUIRE_FALSE(directory);
    CHECK(directory.error().code == errc::file_not_found);
    CHECK(directory.error().message.find("config.json") != std::string::npos);
    auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const auto cut = any_model::open(byte_source::borrow(bytes->span().first(bytes->size() / 2), "cut"));
    REQUIRE_FALSE(cut);
    CHECK(cut.error().message.starts_with("cut: "));
}

TEST_CASE("with_first_available runs the first available policy once") {
    int runs = 0;
    CHECK(with_first_available<policy<isa::scalar>, plain>([&]<class P>() {
        ++runs;
        CHECK(P::isa::name == "scalar");
    }));
    CHECK(runs == 1);
}
