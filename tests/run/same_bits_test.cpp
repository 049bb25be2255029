// SPDX-License-Identifier: MIT
// The central promise: the same logits, bit for bit, on every instruction set, thread count and prompt chunking.
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/any_session.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A shape that exercises tails: an odd number of blocks, a head size that is no multiple of 16, grouped heads.
bitnet_tests::model_shape odd_shape() {
    bitnet_tests::model_shape shape;
    shape.layers = 2;
    shape.hidden = 384;
    shape.ffn = 640;
    shape.heads = 6;
    shape.kv_heads = 3;
    shape.head_dim = 64;
    shape.context = 640;
    return shape;
}

std::vector<token> some_tokens(std::size_t n) {
    std::vector<token> ids;
    for (std::size_t i = 0; i < n; ++i) {
        ids.push_back(static_cast<token>((i * 37 + 11) % 290));
    }
    return ids;
}

struct chunking {
    std::vector<std::size_t> pieces; ///< repeated until the prompt ends
    std::size_t threads;
    std::size_t batch;
};

/// The last logits, or the embedding of a text embedding model.
std::vector<float> outcome_of(const any_model& opened, const std::vector<token>& ids, const chunking& how) {
    auto s = any_session::open(opened, {.threads = how.threads, .prompt_chunk = how.batch});
    REQUIRE_MESSAGE(s, (s ? "" : s.error().message));
    std::size_t at = 0;
    for (std::size_t piece = 0; at < ids.size(); ++piece) {
        const std::size_t count = std::min(how.pieces[piece % how.pieces.size()], ids.size() - at);
        REQUIRE(s->feed(std::span(ids).subspan(at, count)));
        at += count;
    }
    const auto last = opened.parameters().is_embedder ? s->embedding() : s->logits();
    REQUIRE(last);
    return {last->begin(), last->end()};
}

const chunking ways[] = {
    {{1000}, 1, 128}, {{1000}, 2, 128},          {{1000}, 3, 64},       {{1000}, 8, 7},
    {{1}, 2, 128},    {{1, 2, 3, 5, 8}, 3, 128}, {{17, 1, 100}, 2, 33},
};

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <class Ladder> any_model open_odd(const buffer<std::byte>& bytes, std::string_view isa) {
    auto opened = any_model::open<Ladder>(byte_source::borrow(bytes.span(), "odd"), {}, isa);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

/// Every instruction set gives the scalar code's bits in all ways.
/// \tparam Ladder any_cpu, or any_cpu with another element in the KV cache
template <class Ladder = any_cpu> void check_all_ways(const bitnet_tests::model_shape& shape, std::size_t length) {
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto ids = some_tokens(length);
    const auto expected = outcome_of(open_odd<Ladder>(*bytes, "scalar"), ids, ways[0]);
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        const any_model opened = open_odd<Ladder>(*bytes, isa);
        for (const chunking& how : ways) {
            CHECK_MESSAGE(same(expected, outcome_of(opened, ids, how)), isa << ", threads " << how.threads << ", batch "
                                                                            << how.batch << ", first piece "
                                                                            << how.pieces[0]);
        }
    }
}

} // namespace

TEST_CASE("logits are the scalar code's bits with every instruction set, threads and chunks") {
    check_all_ways(odd_shape(), 90);
}

TEST_CASE("logits with an F32 or an int8 KV cache are the scalar code's bits, too") {
    check_all_ways<any_cpu::with_kv<float>>(odd_shape(), 40);
    check_all_ways<any_cpu::with_kv<std::int8_t>>(odd_shape(), 40);
}

TEST_CASE("embeddings in Q8_0, Q6_K, Q4_K and Q4_0 give the scalar bits") {
    bitnet_tests::model_shape shape;
    shape.hidden = 512;
    shape.ffn = 384;
    shape.heads = 4;
    shape.head_dim = 64;
    for (const auto type : {tensor_type::q8_0, tensor_type::q6_k, tensor_type::q4_k, tensor_type::q4_0}) {
        shape.embedding = type;
        check_all_ways(shape, 20);
    }
}

TEST_CASE("logits are the scalar bits beyond one attention block of 256 positions") {
    auto shape = odd_shape();
    shape.layers = 1;
    shape.hidden = 128;
    shape.ffn = 128;
    shape.heads = 2;
    shape.kv_heads = 1;
    check_all_ways(shape, 530);
}

TEST_CASE("a SiLU model with a head size of 100 and wide heads gives the scalar bits") {
    bitnet_tests::model_shape shape;
    shape.architecture = "bitnet";
    shape.activation = "silu";
    shape.layers = 1;
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 32;
    shape.kv_heads = 32;
    shape.head_dim = 100; // 32 * 100 = 3200 columns, not the hidden size
    shape.scale_tensors = true;
    check_all_ways(shape, 20);
}

TEST_CASE("a LLaMA with scaled rotation and an output matrix of its own gives the scalar bits") {
    auto shape = odd_shape();
    shape.architecture = "llama";
    shape.head_dim = 192; // 1152 columns, not the hidden size
    shape.layers = 1;
    shape.own_head = true;
    shape.rope_factor = 3.0f;
    shape.rope_divisor = 8.0f;
    check_all_ways(shape, 20);
}

TEST_CASE("text embeddings are the scalar code's bits with every instruction set, threads and chunks") {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 6;
    shape.kv_heads = 3;
    shape.head_norms = true;
    shape.input_norms = true;
    shape.pooling = 3;
    check_all_ways(shape, 40);
    shape.pooling = 1;
    check_all_ways(shape, 40);
    shape.architecture = "gemma3";
    shape.post_norms = true;
    shape.heads = 4;
    shape.kv_heads = 1;
    shape.head_dim = 96;
    check_all_ways(shape, 40);
}
