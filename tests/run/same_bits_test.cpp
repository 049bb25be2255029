// SPDX-License-Identifier: MIT
// The central promise: the same logits, bit for bit, on every instruction set, thread count and prompt chunking.
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>

#include <doctest/doctest.h>

#include <cstring>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

#if BITNET_X86_64
#define ISAS isa::scalar, isa::sse41, isa::avx2, isa::avx_vnni, isa::avx512_vnni, isa::amx_int8
#elif BITNET_ARM64
#define ISAS isa::scalar, isa::neon, isa::neon_dotprod, isa::neon_i8mm
#elif BITNET_WASM_RELAXED_SIMD
#define ISAS isa::scalar, isa::wasm_simd128, isa::wasm_relaxed_simd
#elif BITNET_WASM_SIMD128
#define ISAS isa::scalar, isa::wasm_simd128
#else
#define ISAS isa::scalar
#endif

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

template <class P>
std::vector<float> logits_after(const model<P>& opened, const std::vector<token>& ids, const chunking& how) {
    auto s = session<P>::open(opened, {.threads = how.threads, .prompt_chunk = how.batch});
    REQUIRE_MESSAGE(s, (s ? "" : s.error().message));
    std::size_t at = 0;
    for (std::size_t piece = 0; at < ids.size(); ++piece) {
        const std::size_t count = std::min(how.pieces[piece % how.pieces.size()], ids.size() - at);
        REQUIRE(s->feed(std::span(ids).subspan(at, count)));
        at += count;
    }
    const auto logits = opened.parameters().is_embedder ? s->embedding() : s->logits();
    REQUIRE(logits);
    return {logits->begin(), logits->end()};
}

const chunking ways[] = {
    {{1000}, 1, 128}, {{1000}, 2, 128},          {{1000}, 3, 64},       {{1000}, 8, 7},
    {{1}, 2, 128},    {{1, 2, 3, 5, 8}, 3, 128}, {{17, 1, 100}, 2, 33},
};

bool same(const std::vector<float>& a, const std::vector<float>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

template <class Isa, class Kv> void check_all_ways(const bitnet_tests::model_shape& shape, std::size_t length) {
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto ids = some_tokens(length);
    using oracle = typename policy<isa::scalar>::with_kv<Kv>;
    const auto scalar_model = model<oracle>::open(byte_source::borrow(bytes->span(), "odd"));
    REQUIRE_MESSAGE(scalar_model, (scalar_model ? "" : scalar_model.error().message));
    const auto expected = logits_after(*scalar_model, ids, ways[0]);
    using tested = typename policy<Isa>::template with_kv<Kv>;
    const auto opened = model<tested>::open(byte_source::borrow(bytes->span(), "odd"));
    REQUIRE(opened);
    for (const chunking& how : ways) {
        CHECK_MESSAGE(same(expected, logits_after(*opened, ids, how)),
                      "threads " << how.threads << ", batch " << how.batch << ", first piece " << how.pieces[0]);
    }
}

} // namespace

TEST_CASE_TEMPLATE("logits are the same for any threads and chunks, and those of the scalar code", Isa, ISAS) {
    if (!Isa::available()) {
        MESSAGE("not run: this CPU has no " << std::string(Isa::name));
        return;
    }
    check_all_ways<Isa, half>(odd_shape(), 90);
    check_all_ways<Isa, float>(odd_shape(), 40);
    check_all_ways<Isa, std::int8_t>(odd_shape(), 40);
}

TEST_CASE_TEMPLATE("embeddings in Q8_0, Q6_K, Q4_K and Q4_0 give the scalar bits", Isa, ISAS) {
    if (!Isa::available()) {
        return;
    }
    bitnet_tests::model_shape shape;
    shape.hidden = 512;
    shape.ffn = 384;
    shape.heads = 4;
    shape.head_dim = 64;
    for (const auto type : {tensor_type::q8_0, tensor_type::q6_k, tensor_type::q4_k, tensor_type::q4_0}) {
        shape.embedding = type;
        check_all_ways<Isa, half>(shape, 20);
    }
}

TEST_CASE_TEMPLATE("logits are the same beyond one attention block of 256 positions", Isa, ISAS) {
    if (!Isa::available()) {
        return;
    }
    auto shape = odd_shape();
    shape.layers = 1;
    shape.hidden = 128;
    shape.ffn = 128;
    shape.heads = 2;
    shape.kv_heads = 1;
    check_all_ways<Isa, half>(shape, 530);
}

TEST_CASE_TEMPLATE("a SiLU model with a head size of 100 and wide heads gives the scalar bits", Isa, ISAS) {
    if (!Isa::available()) {
        return;
    }
    bitnet_tests::model_shape shape;
    shape.architecture = "bitnet";
    shape.layers = 1;
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 32;
    shape.kv_heads = 32;
    shape.head_dim = 100; // 32 * 100 = 3200 columns, not the hidden size
    shape.scale_tensors = true;
    check_all_ways<Isa, half>(shape, 20);
}

TEST_CASE_TEMPLATE("a llama with scaled rotation and a head of its own gives the scalar bits", Isa, ISAS) {
    if (!Isa::available()) {
        return;
    }
    auto shape = odd_shape();
    shape.architecture = "llama";
    shape.head_dim = 192; // 1152 columns, not the hidden size
    shape.layers = 1;
    shape.own_head = true;
    shape.rope_factor = 3.0f;
    shape.rope_divisor = 8.0f;
    check_all_ways<Isa, half>(shape, 20);
}

TEST_CASE_TEMPLATE("text embeddings are the same for any threads and chunks, and those of the scalar code", Isa, ISAS) {
    if (!Isa::available()) {
        return;
    }
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 6;
    shape.kv_heads = 3;
    shape.head_norms = true;
    shape.input_norms = true;
    shape.pooling = 3;
    check_all_ways<Isa, half>(shape, 40);
    shape.architecture = "gemma3";
    shape.post_norms = true;
    shape.heads = 4;
    shape.kv_heads = 1;
    shape.head_dim = 96;
    check_all_ways<Isa, half>(shape, 40);
}
