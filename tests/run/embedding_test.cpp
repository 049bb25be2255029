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
#include <cstring>
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

TEST_CASE("mean pooling is replaced by the last state with a note, and any other pooling is refused") {
    auto shape = embedder_shape();
    const auto right = written(shape);
    shape.pooling = 1;
    const auto mean = written(shape);
    const auto m = opened(mean);
    REQUIRE(m.notes().size() == 1);
    CHECK(m.notes()[0].find("'qwen3.pooling_type' is 1") != std::string::npos);
    auto a = session<tested>::open(m);
    REQUIRE(a);
    const auto n = opened(right);
    auto b = session<tested>::open(n);
    REQUIRE(b);
    const auto x = a->embed(ids);
    const auto y = b->embed(ids);
    REQUIRE(x);
    REQUIRE(y);
    CHECK(copy_of(*x) == copy_of(*y));

    shape.pooling = 2;
    const auto first_token = written(shape);
    const auto refused = model<tested>::open(byte_source::borrow(first_token.span(), "test"));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::unsupported_architecture);
    CHECK(refused.error().message.find("'qwen3.pooling_type' is 2") != std::string::npos);
    shape.pooling = 1;
    shape.input_norms = false; // not a BitNet architecture
    const auto another = written(shape);
    CHECK_FALSE(model<tested>::open(byte_source::borrow(another.span(), "test")));
}

TEST_CASE("a model with a head gives embeddings too, but not of what a batch has run") {
    const auto bytes = written({});
    const auto m = opened(bytes);
    auto s = session<tested>::open(m);
    REQUIRE(s);
    CHECK(s->embed(ids));
    CHECK(s->logits());
    auto steps = batch<tested>::open(m);
    REQUIRE(steps);
    const batch_entry entry{&*s, 5};
    REQUIRE(steps->step({&entry, 1}));
    const auto elsewhere = s->embedding();
    REQUIRE_FALSE(elsewhere);
    CHECK(elsewhere.error().code == errc::invalid_argument);
    REQUIRE(s->feed(ids));
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
