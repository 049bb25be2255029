// SPDX-License-Identifier: MIT
// One constant for all machines, compilers and compiler flags: a digest of the tiny model's logits and tokens.
// .ci/run builds it again with other flags and compilers.
#include "golden/block_encoders.hpp"
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/isas_that_run.hpp"

#include <bitnet/run/any_session.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// FNV-1a over 32-bit words.
struct digest {
    std::uint64_t value = 0xcbf29ce484222325u;
    void add(std::uint32_t word) {
        for (int byte = 0; byte < 4; ++byte) {
            value = (value ^ ((word >> (8 * byte)) & 0xffu)) * 0x100000001b3u;
        }
    }
};

const char* const prompts[] = {"Once upon a time",
                               "The wolf said to the fox,",
                               "There was once a poor woodcutter who lived",
                               "\"Who are you?\" asked the old woman.",
                               "A",
                               "in the deep, dark wood 1234567 stood"};

struct way {
    std::size_t threads;
    std::size_t piece;
};

void feed_in_pieces(any_session& s, const std::vector<token>& ids, std::size_t piece) {
    for (std::size_t at = 0; at < ids.size(); at += piece) {
        REQUIRE(s.feed(std::span(ids).subspan(at, std::min(piece, ids.size() - at))));
    }
}

/// All logits after each prompt, then eight greedy and eight sampled tokens.
std::uint64_t digest_of(const any_model& opened, way how) {
    digest sum;
    auto s = any_session::open(opened, {.context = 96, .threads = how.threads});
    auto greedy = sampler::open(sampler_options::greedy(), opened.parameters().vocabulary);
    sampler_options options;
    options.seed = 42;
    options.repeat_penalty = 1.1f;
    auto drawing = sampler::open(options, opened.parameters().vocabulary);
    REQUIRE(s);
    REQUIRE(greedy);
    REQUIRE(drawing);
    for (const char* prompt : prompts) {
        auto ids = opened.text().encode(prompt);
        REQUIRE(ids);
        ids->insert(ids->begin(), opened.text().bos().value());
        s->reset();
        feed_in_pieces(*s, *ids, how.piece);
        const auto logits = s->logits();
        REQUIRE(logits);
        for (const float logit : *logits) {
            sum.add(std::bit_cast<std::uint32_t>(logit));
        }
        for (sampler* choose : {&*greedy, &*drawing}) {
            for (int i = 0; i < 8; ++i) {
                const auto chosen = s->next(*choose);
                sum.add(chosen ? static_cast<std::uint32_t>(*chosen) : 0xffffffffu);
            }
        }
    }
    return sum.value;
}

const std::vector<way> all_ways{{1, 1000}, {2, 1000}, {3, 1000}, {2, 1}, {3, 3}};
const std::vector<way> few_ways{{1, 1000}, {3, 3}}; // for the scalar code, which takes a second for each

/// \tparam Model any_model or a model<P>
template <class Model> void check_digest(const result<Model>& opened, const std::vector<way>& ways) {
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    MESSAGE("run: " << std::string(opened->isa()));
    constexpr std::uint64_t expected = 0x12a06f1a982935c6u;
    for (const way how : ways) {
        CHECK_MESSAGE(digest_of(*opened, how) == expected, "threads " << how.threads << ", pieces of " << how.piece);
    }
}

/// Small models that together run every step of the graph: both rotations and their scaling, SiLU and GELU, all norms,
/// a head of their own, embeddings.
std::vector<bitnet_tests::model_shape> other_families() {
    bitnet_tests::model_shape llama;
    llama.architecture = "llama";
    llama.own_head = true;
    llama.rope_factor = 2.0f;
    llama.rope_divisor = 8.0f;
    bitnet_tests::model_shape qwen;
    qwen.architecture = "qwen3";
    qwen.head_norms = true;
    qwen.input_norms = true;
    qwen.pooling = 3;
    bitnet_tests::model_shape gemma = qwen;
    gemma.architecture = "gemma3";
    gemma.post_norms = true;
    return {llama, qwen, gemma};
}

/// Biases, the scales of minicpm, YaRN and longrope.
std::vector<bitnet_tests::model_shape> younger_families() {
    bitnet_tests::model_shape qwen;
    qwen.architecture = "qwen2";
    qwen.biases = true;
    bitnet_tests::model_shape minicpm;
    minicpm.architecture = "minicpm";
    minicpm.embedding_scale = 12.0f;
    minicpm.residual_scale = 0.35f;
    minicpm.logit_scale = 2.0f;
    minicpm.long_factor = 4.0f;
    minicpm.short_factor = 2.0f;
    minicpm.original_context = 32;
    bitnet_tests::model_shape bonsai;
    bonsai.architecture = "qwen3";
    bonsai.head_norms = true;
    bonsai.yarn_factor = 4.0f;
    bonsai.original_context = 16;
    return {qwen, minicpm, bonsai};
}

/// Adds the last logits, or the embedding, of thirty tokens.
void add_last(digest& sum, std::span<const std::byte> file, open_options options, const std::string& isa, way how) {
    std::vector<token> ids;
    for (token i = 0; i < 30; ++i) {
        ids.push_back((i * 37 + 11) % 290);
    }
    const auto opened = any_model::open(byte_source::borrow(file, "family"), options, isa);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    auto s = any_session::open(*opened, {.threads = how.threads});
    REQUIRE(s);
    feed_in_pieces(*s, ids, how.piece);
    const auto last = opened->parameters().is_embedder ? s->embedding() : s->logits();
    REQUIRE(last);
    for (const float value : *last) {
        sum.add(std::bit_cast<std::uint32_t>(value));
    }
}

std::uint64_t digest_of_families(const std::vector<bitnet_tests::model_shape>& all, const std::string& isa, way how) {
    digest sum;
    for (const auto& shape : all) {
        const auto bytes = bitnet_tests::tiny_model(shape);
        REQUIRE(bytes);
        add_last(sum, bytes->span(), {}, isa, how);
    }
    return sum.value;
}

/// Weights with scales of 128 and of 64 columns, ternary embeddings and heads, every rounding of activations.
std::uint64_t digest_of_blocks(const std::string& isa, way how) {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen3";
    shape.hidden = 256;
    shape.ffn = 384;
    shape.heads = 4;
    shape.kv_heads = 2;
    shape.head_norms = true;
    shape.own_head = true;
    const auto plain = bitnet_tests::tiny_model(shape);
    REQUIRE(plain);
    digest sum;
    for (const tensor_type type : {tensor_type::pq2_0, tensor_type::q2_0_g64, tensor_type::ptq1_0}) {
        const std::size_t group = type == tensor_type::q2_0_g64 ? 64 : 128;
        const auto bytes = bitnet_tests::with_block_scales(plain->span(), {type, group, true});
        for (const auto rounding : {activation_rounding::per_32, activation_rounding::per_128,
                                    activation_rounding::per_token, activation_rounding::none}) {
            open_options options;
            options.activations = rounding;
            add_last(sum, bytes, options, isa, how);
        }
    }
    return sum.value;
}

} // namespace

TEST_CASE("the digest of every other family") {
    constexpr std::uint64_t expected = 0xdf3dea77597089eu;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        for (const way how : few_ways) {
            CHECK_MESSAGE(digest_of_families(other_families(), isa, how) == expected,
                          isa << ", pieces of " << how.piece);
        }
    }
}

TEST_CASE("the digest of families with biases, YaRN, longrope and scaled branches") {
    constexpr std::uint64_t expected = 0x2d8151ae953ae68u;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        for (const way how : few_ways) {
            CHECK_MESSAGE(digest_of_families(younger_families(), isa, how) == expected,
                          isa << ", pieces of " << how.piece);
        }
    }
}

TEST_CASE("the digest of weights with scales of blocks, in every rounding of activations") {
    constexpr std::uint64_t expected = 0xdf9058183ff9372du;
    for (const std::string& isa : bitnet_tests::isas_that_run()) {
        for (const way how : few_ways) {
            CHECK_MESSAGE(digest_of_blocks(isa, how) == expected, isa << ", pieces of " << how.piece);
        }
    }
}

TEST_CASE_TEMPLATE_DEFINE("the tiny model has the digest of all machines", Isa, has_the_digest) {
    if (bitnet_tests::runs_here<Isa>()) {
        constexpr bool is_slow = std::is_same_v<Isa, isa::scalar>;
        check_digest(any_model::open(tiny_model_path(), {}, Isa::name), is_slow ? few_ways : all_ways);
    }
}
TEST_CASE_TEMPLATE_APPLY(has_the_digest, bitnet_tests::every_isa);

/// Skipped if the flags enable nothing beyond the scalar code.
constexpr bool flags_enable_nothing = std::is_same_v<native, policy<isa::scalar>>;
TEST_CASE("the digest of the policy that this translation unit's flags enable" * doctest::skip(flags_enable_nothing)) {
    if (bitnet_tests::runs_here<native::isa>()) {
        check_digest(model<native>::open(tiny_model_path()), all_ways);
    }
}
