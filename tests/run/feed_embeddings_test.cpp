// SPDX-License-Identifier: MIT
// Sessions and batches that are fed embeddings compute what they would of the tokens whose embeddings these are.
#include "golden/tiny_model_writer.hpp"

#include <bitnet/core/half.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

const std::vector<token> prompt{3, 290, 17, 111, 64, 0, 255};

bitnet_tests::model_shape shape_of(const std::string& architecture) {
    bitnet_tests::model_shape shape;
    shape.architecture = architecture;
    shape.layers = 2;
    return shape;
}

/// A model in memory, and what its first layer takes for tokens.
struct small_model {
    buffer<std::byte> bytes;
    any_model model;

    explicit small_model(const bitnet_tests::model_shape& shape)
        : bytes([&] {
              auto made = bitnet_tests::tiny_model(shape);
              REQUIRE(made);
              return *std::move(made);
          }()),
          model([&] {
              auto opened = any_model::open(byte_source::borrow(bytes.span(), "tiny"), {.load_tokenizer = false});
              REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
              return *std::move(opened);
          }()) {}

    [[nodiscard]] std::vector<float> embeddings(std::span<const token> tokens) const {
        const gguf_tensor& table = *model.file().find_tensor("token_embd.weight");
        const auto hidden = static_cast<std::size_t>(table.dims[0]);
        std::vector<float> rows;
        for (const token id : tokens) {
            for (std::size_t i = 0; i < hidden; ++i) {
                half element{};
                const std::size_t at = static_cast<std::size_t>(id) * hidden + i;
                std::memcpy(&element, table.bytes.data() + at * sizeof element, sizeof element);
                rows.push_back(widen(element) * model.parameters().embedding_scale);
            }
        }
        return rows;
    }

    [[nodiscard]] any_session session(const session_options& options = {}) const {
        auto opened = any_session::open(model, options);
        REQUIRE(opened);
        return *std::move(opened);
    }
};

std::vector<float> logits_of(any_session& session) {
    const auto logits = session.logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

} // namespace

TEST_CASE("embeddings of tokens give the tokens' bits, in chunks of any size and mixed with tokens") {
    for (const char* architecture : {"bitnet-b1.58", "minicpm", "gemma3"}) {
        CAPTURE(std::string(architecture));
        const small_model tiny(shape_of(architecture));
        const std::size_t hidden = tiny.model.parameters().hidden;
        any_session plain = tiny.session();
        REQUIRE(plain.feed(prompt));
        const auto expected = logits_of(plain);
        const auto rows = tiny.embeddings(prompt);
        for (const std::size_t chunk : {1u, 3u, 128u}) {
            any_session fed = tiny.session({.threads = 2, .prompt_chunk = chunk});
            REQUIRE(fed.feed_embeddings(rows));
            CHECK(fed.position() == prompt.size());
            CHECK(logits_of(fed) == expected);
        }
        any_session mixed = tiny.session();
        REQUIRE(mixed.feed(std::span(prompt).first(2)));
        REQUIRE(mixed.feed_embeddings(std::span(rows).subspan(2 * hidden, 3 * hidden)));
        REQUIRE(mixed.feed_embeddings({}));
        REQUIRE(mixed.feed(std::span(prompt).subspan(5)));
        CHECK(logits_of(mixed) == expected);
    }
}

TEST_CASE("what next() gave runs before embeddings") {
    const small_model tiny(shape_of("llama"));
    auto greedy = sampler::open(sampler_options::greedy(), tiny.model.parameters().vocabulary);
    REQUIRE(greedy);
    any_session plain = tiny.session();
    any_session fed = tiny.session();
    REQUIRE(plain.feed(prompt));
    REQUIRE(fed.feed(prompt));
    CHECK(plain.next(*greedy) == fed.next(*greedy));
    REQUIRE(plain.feed(std::span(prompt).first(3)));
    REQUIRE(fed.feed_embeddings(tiny.embeddings(std::span(prompt).first(3))));
    CHECK(fed.position() == plain.position());
    CHECK(logits_of(fed) == logits_of(plain));
}

TEST_CASE("an embedding is no token: after going back to it a session can be fed, but has no logits") {
    const small_model tiny(shape_of("llama"));
    any_session fed = tiny.session();
    REQUIRE(fed.feed(std::span(prompt).first(2)));
    REQUIRE(fed.feed_embeddings(tiny.embeddings(std::span(prompt).subspan(2, 2))));
    REQUIRE(fed.feed(std::span(prompt).subspan(4)));
    REQUIRE(fed.tokens().size() == prompt.size());
    CHECK(fed.tokens()[1] == prompt[1]);
    CHECK(fed.tokens()[3] == no_token);
    CHECK(fed.tokens()[4] == prompt[4]);
    REQUIRE(fed.rewind(4));
    const auto refused = fed.logits();
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(fed.position() == 4);
    REQUIRE(fed.feed(std::span(prompt).subspan(4)));
    any_session plain = tiny.session();
    REQUIRE(plain.feed(prompt));
    CHECK(logits_of(fed) == logits_of(plain));
}

TEST_CASE("a text embedding is the same of embeddings as of tokens, by either pooling") {
    auto shape = shape_of("qwen3");
    shape.input_norms = true;
    const small_model tiny(shape);
    for (const pooling_type pooling : {pooling_type::mean, pooling_type::last}) {
        any_session plain = tiny.session({.pooling = pooling});
        any_session fed = tiny.session({.prompt_chunk = 2, .pooling = pooling});
        const auto expected = plain.embed(prompt);
        REQUIRE(expected);
        REQUIRE(fed.feed_embeddings(tiny.embeddings(prompt)));
        const auto actual = fed.embedding();
        REQUIRE(actual);
        CHECK(std::vector<float>(actual->begin(), actual->end()) ==
              std::vector<float>(expected->begin(), expected->end()));
    }
}

TEST_CASE("a batch steps sessions with embeddings and others with tokens") {
    const small_model tiny(shape_of("minicpm"));
    any_session plain = tiny.session();
    any_session of_tokens = tiny.session();
    any_session of_embeddings = tiny.session();
    auto batch = any_batch::open(tiny.model, {.sessions = 2});
    REQUIRE(batch);
    for (const token id : prompt) {
        REQUIRE(plain.feed({&id, 1}));
        const auto row = tiny.embeddings({&id, 1});
        const batch_entry entries[] = {{&of_embeddings, -1, row}, {&of_tokens, id}};
        REQUIRE(batch->step(entries));
        const auto expected = logits_of(plain);
        CHECK(logits_of(of_tokens) == expected);
        CHECK(logits_of(of_embeddings) == expected);
    }
}

TEST_CASE("embeddings that cannot be fed are refused, and the session goes on as it was") {
    const small_model tiny(shape_of("llama"));
    any_session fed = tiny.session({.context = 8});
    any_session plain = tiny.session({.context = 8});
    REQUIRE(fed.feed(prompt));
    REQUIRE(plain.feed(prompt));
    auto rows = tiny.embeddings(prompt);
    const auto refused = [&](std::span<const float> given, errc expected, const std::string& message) {
        const auto result = fed.feed_embeddings(given);
        REQUIRE_FALSE(result);
        CHECK(result.error().code == expected);
        CHECK(result.error().message == message);
        CHECK(fed.position() == prompt.size());
    };
    refused(std::span(rows).first(127), errc::invalid_argument,
            "session: 127 floats are no whole number of embeddings, which have 128 each");
    refused(rows, errc::context_full, "session: 7 embeddings do not fit, the context has 8 positions and 7 are taken");
    auto batch = any_batch::open(tiny.model, {.sessions = 1});
    REQUIRE(batch);
    const auto refused_in_batch = [&](std::span<const float> given, const std::string& message) {
        const batch_entry entry{&fed, 0, given};
        const auto result = batch->step({&entry, 1});
        REQUIRE_FALSE(result);
        CHECK(result.error().code == errc::invalid_argument);
        CHECK(result.error().message == message);
    };
    refused_in_batch(std::span(rows).first(256), "batch: entry 0 has an embedding of 256 floats, the model's have 128");
    rows[5] = std::numeric_limits<float>::infinity();
    refused(std::span(rows).first(128), errc::invalid_argument, "session: embedding 0 is not finite in column 5");
    rows[5] = std::numeric_limits<float>::quiet_NaN();
    refused_in_batch(std::span(rows).first(128), "batch: entry 0: embedding 0 is not finite in column 5");
    CHECK(logits_of(fed) == logits_of(plain));
    auto greedy = sampler::open(sampler_options::greedy(), tiny.model.parameters().vocabulary);
    REQUIRE(greedy);
    any_session asked = tiny.session();
    REQUIRE(asked.feed(prompt));
    const auto given = asked.next(*greedy);
    REQUIRE(given);
    const batch_entry entry{&asked, 0, std::span(rows).subspan(128, 128)};
    const auto result = batch->step({&entry, 1});
    REQUIRE_FALSE(result);
    CHECK(result.error().message == "batch: entry 0 has an embedding, but next() of its session gave " +
                                        std::to_string(*given) + ", which comes first");
}
