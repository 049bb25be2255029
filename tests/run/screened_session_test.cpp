// SPDX-License-Identifier: MIT
// Sessions with a screened head draw the tokens of sessions without.
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

any_model open_tiny(lm_head_mode head) {
    auto opened = any_model::open(tiny_model_path(), {.lm_head = head, .threads = 2});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

std::vector<token> generate(any_session& session, const any_model& model, const sampler_options& options) {
    auto choose = sampler::open(options, model.parameters().vocabulary);
    REQUIRE(choose);
    session.reset();
    auto prompt = model.text().encode("There was once a poor woodcutter who lived");
    REQUIRE(prompt);
    prompt->insert(prompt->begin(), model.text().bos().value());
    REQUIRE(session.feed(*prompt));
    for (const token id : *prompt) {
        choose->accept(id);
    }
    std::vector<token> tokens;
    for (int i = 0; i < 60; ++i) {
        const auto next = session.next(*choose);
        tokens.push_back(next ? *next : -1);
    }
    return tokens;
}

std::vector<std::pair<std::string, sampler_options>> samplers() {
    std::vector<std::pair<std::string, sampler_options>> all;
    const auto add = [&](std::string name, auto&& set) {
        sampler_options options;
        options.seed = 11;
        set(options);
        all.emplace_back(std::move(name), options);
    };
    add("greedy", [](auto& o) { o.temperature = 0; });
    add("default", [](auto&) {});
    add("top_k 5, hot", [](auto& o) { o.top_k = 5, o.temperature = 1.5f; });
    add("top_k 256, min_p", [](auto& o) { o.top_k = 256, o.top_p = 1.0f, o.min_p = 0.02f; });
    add("top_k 300", [](auto& o) { o.top_k = 300; });
    add("top_p alone", [](auto& o) { o.top_k = 0, o.top_p = 0.9f; });
    add("greedy, repeat penalty", [](auto& o) { o.temperature = 0, o.repeat_penalty = 1.3f; });
    add("all penalties", [](auto& o) {
        o.repeat_penalty = 1.1f, o.presence_penalty = 0.2f, o.frequency_penalty = 0.1f, o.penalty_window = 30;
    });
    add("raising penalties", [](auto& o) { o.temperature = 0, o.repeat_penalty = 0.8f; });
    add("rewarded presence", [](auto& o) { o.presence_penalty = -0.5f; });
    return all;
}

} // namespace

TEST_CASE("generation is the same with a screened head, whatever the sampler") {
    const any_model stored = open_tiny(lm_head_mode::as_stored);
    const any_model screened = open_tiny(lm_head_mode::screened);
    for (const std::size_t threads : {1u, 3u}) {
        auto a = any_session::open(stored, {.threads = threads, .stop_at_stop_tokens = false});
        auto b = any_session::open(screened, {.threads = threads, .stop_at_stop_tokens = false});
        REQUIRE(a);
        REQUIRE(b);
        for (const auto& each : samplers()) {
            const auto& name = each.first;
            const auto& options = each.second;
            const auto before = b->screening();
            CHECK_MESSAGE(generate(*a, stored, options) == generate(*b, screened, options), name);
            const auto& after = b->screening();
            const double whole =
                60.0 * static_cast<double>(stored.parameters().vocabulary * stored.parameters().hidden * 2);
            MESSAGE(name << ": " << after.steps - before.steps << " screened steps, "
                         << after.full_passes - before.full_passes << " full passes, "
                         << static_cast<double>(after.bytes_read - before.bytes_read) / whole << " of the bytes");
        }
        CHECK(a->screening().steps == 0);
    }
}

TEST_CASE("the largest logits are those of all logits, sorted, with a screened head and without") {
    const any_model stored = open_tiny(lm_head_mode::as_stored);
    const any_model screened = open_tiny(lm_head_mode::screened);
    auto a = any_session::open(stored);
    auto b = any_session::open(screened);
    REQUIRE(a);
    REQUIRE(b);
    CHECK(b->largest_logits(1).error().code == errc::nothing_fed);
    for (token id = 5; id < 25; ++id) {
        const token ids[] = {id};
        REQUIRE(a->feed(ids));
        REQUIRE(b->feed(ids));
        for (const std::size_t k : {1u, 7u, 256u}) {
            const auto expected = a->largest_logits(k);
            const auto found = b->largest_logits(k);
            REQUIRE(expected);
            REQUIRE(found);
            REQUIRE(expected->size() == k);
            REQUIRE(found->size() == k);
            CHECK(std::memcmp(expected->data(), found->data(), k * sizeof(scored_token)) == 0);
            const auto all = a->logits();
            REQUIRE(all);
            for (std::size_t i = 0; i < k; ++i) {
                CHECK((*expected)[i].logit == (*all)[static_cast<std::size_t>((*expected)[i].id)]);
                CHECK((i == 0 || precedes((*expected)[i - 1], (*expected)[i])));
            }
            const auto above = static_cast<std::size_t>(
                std::count_if(all->begin(), all->end(), [&](float logit) { return logit > expected->back().logit; }));
            CHECK(above < k);
        }
        const auto full_a = a->logits();
        const auto full_b = b->logits();
        REQUIRE(full_b);
        CHECK(std::memcmp(full_a->data(), full_b->data(), full_a->size_bytes()) == 0);
    }
    CHECK(b->largest_logits(0).error().code == errc::invalid_argument);
    CHECK(b->largest_logits(257).error().message ==
          "session: the 257 largest logits were asked for, 1 to 256 are possible");
}

TEST_CASE("scaled logits are the same bits one by one, together, in a batch and by way of a screen") {
    bitnet_tests::model_shape shape;
    shape.architecture = "minicpm";
    shape.logit_scale = 0.3f;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto open = [&](lm_head_mode head) {
        auto opened = any_model::open(byte_source::borrow(bytes->span(), "minicpm"), {.lm_head = head});
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        return *std::move(opened);
    };
    const any_model stored = open(lm_head_mode::as_stored);
    const any_model screened = open(lm_head_mode::screened);
    auto plain = any_session::open(stored);
    auto visited = any_session::open(stored);
    auto stepped = any_session::open(stored);
    auto searched = any_session::open(screened);
    auto batch = any_batch::open(stored, {.sessions = 1});
    REQUIRE(plain);
    REQUIRE(visited);
    REQUIRE(stepped);
    REQUIRE(searched);
    REQUIRE(batch);
    const auto same = [](std::span<const float> a, std::span<const float> b) {
        return std::memcmp(a.data(), b.data(), a.size_bytes()) == 0;
    };
    for (const token id : {3, 290, 17, 111, 64, 0, 255}) {
        REQUIRE(plain->feed({&id, 1}));
        REQUIRE(searched->feed({&id, 1}));
        const batch_entry entry{&*stepped, id};
        REQUIRE(batch->step({&entry, 1}));
        const auto expected = plain->logits();
        REQUIRE(expected);
        REQUIRE(visited->feed_each(std::span(&id, 1),
                                   [&](std::size_t, std::span<const float> row) { CHECK(same(*expected, row)); }));
        CHECK(same(*expected, *stepped->logits()));
        for (const std::size_t k : {1u, 9u, 256u}) {
            const auto largest = plain->largest_logits(k);
            const auto found = searched->largest_logits(k);
            REQUIRE(largest);
            REQUIRE(found);
            CHECK(std::memcmp(largest->data(), found->data(), k * sizeof(scored_token)) == 0);
        }
    }
    CHECK(searched->screening().steps > 0);
}

TEST_CASE("a head in blocks is used as stored, and a note says so") {
    bitnet_tests::model_shape shape;
    shape.hidden = 256;
    shape.embedding = tensor_type::q6_k;
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto opened =
        any_model::open(byte_source::borrow(bytes->span(), "blocks"), {.lm_head = lm_head_mode::screened});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].find("this one is Q6_K") != std::string::npos);
    auto s = any_session::open(*opened);
    REQUIRE(s);
    const token ids[] = {1, 2, 3};
    REQUIRE(s->feed(ids));
    const auto found = s->largest_logits(256);
    REQUIRE(found);
    CHECK(found->size() == 256);
    CHECK(s->screening().steps == 0);
}
