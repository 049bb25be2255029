// SPDX-License-Identifier: MIT
#include "golden/tiny_model_writer.hpp"

#include <bitnet/run/batch.hpp>
#include <bitnet/run/embedding.hpp>
#include <bitnet/run/embedding_codes.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using tested = policy<isa::scalar>;

bitnet_tests::model_shape embedder_shape() {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.head_norms = true;
    shape.input_norms = true;
    shape.pooling = 3;
    return shape;
}

buffer<std::byte> written(const bitnet_tests::model_shape& shape) {
    auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    return *std::move(bytes);
}

model<tested> opened(const buffer<std::byte>& bytes) {
    auto made = model<tested>::open(byte_source::borrow(bytes.span(), "test"));
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

std::vector<float> copy_of(std::span<const float> x) { return {x.begin(), x.end()}; }

const std::vector<token> ids{3, 290, 17, 111, 64};

} // namespace

TEST_CASE("an embedding has length one and depends on each of its own tokens and nothing else") {
    const auto bytes = written(embedder_shape());
    const auto m = opened(bytes);
    auto s = session<tested>::open(m);
    REQUIRE(s);
    const auto first = s->embed(ids);
    REQUIRE(first);
    const auto expected = copy_of(*first);
    CHECK(expected.size() == m.parameters().hidden);
    double squares = 0;
    for (const float value : expected) {
        squares += static_cast<double>(value) * static_cast<double>(value);
    }
    CHECK(squares == doctest::Approx(1.0).epsilon(1e-6));
    const auto other = s->embed(std::span(ids).subspan(1));
    REQUIRE(other);
    CHECK(copy_of(*other) != expected);
    const auto again = s->embed(ids);
    REQUIRE(again);
    CHECK(copy_of(*again) == expected);

    s->reset();
    REQUIRE(s->feed(std::span(ids).first(2)));
    REQUIRE(s->feed(std::span(ids).subspan(2)));
    const auto in_parts = s->embedding();
    REQUIRE(in_parts);
    CHECK(copy_of(*in_parts) == expected);
    const auto none = s->embed({});
    REQUIRE_FALSE(none);
    CHECK(none.error().code == errc::nothing_fed);
}

TEST_CASE("a text embedding model refuses to make logits and tokens") {
    const auto bytes = written(embedder_shape());
    const auto m = opened(bytes);
    auto s = session<tested>::open(m);
    REQUIRE(s);
    REQUIRE(s->feed(ids));
    CHECK(s->logits().error().code == errc::no_lm_head);
    CHECK(s->largest_logits(3).error().code == errc::no_lm_head);
    CHECK(s->feed_each(ids, [](std::size_t, std::span<const float>) {}).error().code == errc::no_lm_head);
    CHECK(s->position() == ids.size());
    auto choose = sampler::open({}, m.parameters().vocabulary);
    REQUIRE(choose);
    CHECK_FALSE(s->next(*choose));
    CHECK(s->stopped_by() == stop_reason::error);
    CHECK(s->last_error().code == errc::no_lm_head);
    CHECK(s->last_error().message.find("text embedding model") != std::string::npos);
    CHECK(batch<tested>::open(m).error().code == errc::no_lm_head);
    CHECK(m.notes().empty());
}

TEST_CASE("the file says how states are pooled, and the session may say otherwise") {
    auto shape = embedder_shape();
    const auto with_last = written(shape);
    shape.pooling = 1;
    const auto with_mean = written(shape);
    shape.pooling = 0; // only the norms before the projections show what it is
    const auto unsaid = written(shape);
    const auto embedding_of = [](const model<tested>& m, const session_options& options) {
        auto s = session<tested>::open(m, options);
        REQUIRE(s);
        const auto embedding = s->embed(ids);
        REQUIRE(embedding);
        return copy_of(*embedding);
    };
    const auto m = opened(with_mean);
    CHECK(m.notes().empty());
    CHECK(m.parameters().pooling == pooling_type::mean);
    const auto l = opened(with_last);
    CHECK(l.notes().empty());
    const auto mean = embedding_of(m, {});
    const auto last = embedding_of(l, {});
    CHECK(mean != last);
    CHECK(embedding_of(m, {.pooling = pooling_type::last}) == last);
    CHECK(embedding_of(l, {.pooling = pooling_type::mean}) == mean);

    const auto u = opened(unsaid);
    CHECK(u.parameters().is_embedder);
    REQUIRE(u.notes().size() == 1);
    CHECK(u.notes()[0].find("'qwen3.pooling_type'") != std::string::npos);
    CHECK(embedding_of(u, {}) == mean);
    const auto refused = session<tested>::open(m, {.pooling = pooling_type::none});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find("0 (none)") != std::string::npos);
}

TEST_CASE("a pooling that cannot be run is refused by its name") {
    auto shape = embedder_shape();
    constexpr std::pair<std::uint32_t, const char*> unknown[] = {{2, "2 (cls)"}, {4, "4 (rank)"}, {5, "5 (unknown)"}};
    for (const auto& [number, name] : unknown) {
        shape.pooling = number;
        const auto bytes = written(shape);
        const auto refused = model<tested>::open(byte_source::borrow(bytes.span(), "test"));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::unsupported_architecture);
        CHECK(refused.error().message.find("'qwen3.pooling_type' is " + std::string(name)) != std::string::npos);
    }
}

TEST_CASE("a token that a batch has run counts in an embedding like any other") {
    for (const auto pooling : {pooling_type::mean, pooling_type::last}) {
        const auto bytes = written({});
        const auto m = opened(bytes);
        auto alone = session<tested>::open(m, {.pooling = pooling});
        auto s = session<tested>::open(m, {.pooling = pooling});
        auto steps = batch<tested>::open(m);
        REQUIRE((alone && s && steps));
        const token more = 5;
        const batch_entry entry{&*s, more};
        REQUIRE(s->feed(ids));
        REQUIRE(steps->step({&entry, 1}));
        REQUIRE(alone->feed(ids));
        REQUIRE(alone->feed({&more, 1}));
        const auto expected = alone->embedding();
        const auto actual = s->embedding();
        REQUIRE((expected && actual));
        CHECK(copy_of(*actual) == copy_of(*expected));
        REQUIRE(s->feed(ids));
        REQUIRE(alone->feed(ids));
        CHECK(copy_of(*s->embedding()) == copy_of(*alone->embedding()));
    }
}

TEST_CASE("a model with a head gives embeddings too") {
    const auto bytes = written({});
    const auto m = opened(bytes);
    auto s = session<tested>::open(m);
    REQUIRE(s);
    CHECK(s->embed(ids));
    CHECK(s->logits());
    CHECK(s->embedding());
}

TEST_CASE("the tokens of a text to embed have the BOS and EOS that the file asks for") {
    const auto bytes = written(embedder_shape());
    const auto m = opened(bytes);
    const auto made = tokens_to_embed(m, "the thing");
    REQUIRE(made);
    const auto plain = m.text().encode("the thing");
    REQUIRE(plain);
    REQUIRE(made->size() == plain->size() + 2);
    CHECK(made->front() == *m.text().bos());
    CHECK(made->back() == *m.text().eos());
    const auto generative = written({});
    const auto without = tokens_to_embed(opened(generative), "the thing");
    REQUIRE(without);
    CHECK(without->size() == plain->size() + 1);
}

TEST_CASE("any_session embeds as a session does") {
    const auto bytes = written(embedder_shape());
    const auto m = opened(bytes);
    auto expected = session<tested>::open(m);
    REQUIRE(expected);
    const auto any = any_model::open(byte_source::borrow(bytes.span(), "test"));
    REQUIRE(any);
    const auto text = tokens_to_embed(*any, "the thing");
    REQUIRE(text);
    auto s = any_session::open(*any);
    REQUIRE(s);
    const auto actual = s->embed(*text);
    REQUIRE(actual);
    const auto by_scalar = expected->embed(*text);
    REQUIRE(by_scalar);
    CHECK(copy_of(*actual) == copy_of(*by_scalar));
    const auto once_more = s->embedding();
    REQUIRE(once_more);
    CHECK(copy_of(*once_more) == copy_of(*by_scalar));
}

TEST_CASE("an embedding in int8 is within half a step, in bits it has the signs") {
    const std::vector<float> x{0.5f, -0.25f, 0.0f, 0.125f, -0.5f, 0.3f, -0.1f, 0.2f, 0.01f, -0.01f};
    std::vector<std::int8_t> q(x.size());
    const float step = quantize_embedding(x, q);
    CHECK(q[0] == 127);
    CHECK(q[4] == -127);
    for (std::size_t i = 0; i < x.size(); ++i) {
        CHECK(std::abs(static_cast<float>(q[i]) * step - x[i]) <= 0.5001f * step);
    }
    std::vector<std::uint8_t> bits(binary_embedding_bytes(x.size()));
    REQUIRE(bits.size() == 2);
    binarize_embedding(x, bits);
    CHECK(bits[0] == 0b10010101);
    CHECK(bits[1] == 0b10000000);
}
