// SPDX-License-Identifier: MIT
// GGUF files that are well-formed but not a consistent model: each refused with its own code and sentence.
#include "golden/gguf_editor.hpp"
#include "golden/malformed_gguf.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <string>

using namespace bitnet;
using namespace bitnet::detail;
using edit = bitnet_tests::gguf_editor;

namespace {

struct senseless_model {
    const char* name;
    void (*damage)(edit&);
    errc expected;
    const char* place;
};

constexpr float infinity = std::numeric_limits<float>::infinity();
constexpr float nan = std::numeric_limits<float>::quiet_NaN();

/// A key "bitnet-b1.58.<suffix>" becomes a u32 or f32 of that value.
void set(edit& f, const char* suffix, std::uint32_t value) {
    f.set_value(std::string("bitnet-b1.58.") + suffix, gguf_type::u32, edit::number(value));
}
void set(edit& f, const char* suffix, float value) {
    f.set_value(std::string("bitnet-b1.58.") + suffix, gguf_type::f32, edit::number(value));
}
void remove(edit& f, const char* suffix) { f.remove_key(std::string("bitnet-b1.58.") + suffix); }
void swap_dims(edit& f, const char* tensor) {
    const auto first = f.peek<std::uint64_t>(f.tensor(tensor).dims);
    const auto second = f.peek<std::uint64_t>(f.tensor(tensor).dims + 8);
    f.set_dim(tensor, 0, second);
    f.set_dim(tensor, 1, first);
}

const senseless_model table[] = {
    {"no architecture", [](edit& f) { f.remove_key("general.architecture"); }, errc::missing_key,
     "'general.architecture'"},
    {"a number for architecture",
     [](edit& f) { f.set_value("general.architecture", gguf_type::u32, edit::number(1u)); }, errc::wrong_type,
     "'general.architecture'"},
    {"another architecture",
     [](edit& f) { f.set_value("general.architecture", gguf_type::string, edit::string("gptneox")); },
     errc::unsupported_architecture, "'gptneox'"},
    {"no layers", [](edit& f) { remove(f, "block_count"); }, errc::missing_key, "'bitnet-b1.58.block_count'"},
    {"zero layers", [](edit& f) { set(f, "block_count", 0u); }, errc::out_of_range, "is 0, 1 to 1024"},
    {"four billion layers", [](edit& f) { set(f, "block_count", 0xffffffffu); }, errc::out_of_range,
     "is 4294967295, 1 to 1024"},
    {"a layer too many", [](edit& f) { set(f, "block_count", 2u); }, errc::missing_tensor, "'blk.1.attn_norm.weight'"},
    {"a float for layers", [](edit& f) { set(f, "block_count", 1.0f); }, errc::wrong_type, "block_count"},
    {"negative layers", [](edit& f) { f.set_value("bitnet-b1.58.block_count", gguf_type::i32, edit::number(-1)); },
     errc::out_of_range, "block_count"},
    {"no hidden size", [](edit& f) { remove(f, "embedding_length"); }, errc::missing_key, "embedding_length"},
    {"hidden size of zero", [](edit& f) { set(f, "embedding_length", 0u); }, errc::out_of_range, "embedding_length"},
    {"hidden size beyond 2^16", [](edit& f) { set(f, "embedding_length", 65537u); }, errc::out_of_range, "1 to 65536"},
    {"hidden size other than the embedding's", [](edit& f) { set(f, "embedding_length", 256u); }, errc::inconsistent,
     "rope.dimension_count"},
    {"no feed-forward size", [](edit& f) { remove(f, "feed_forward_length"); }, errc::missing_key,
     "feed_forward_length"},
    {"another feed-forward size", [](edit& f) { set(f, "feed_forward_length", 256u); }, errc::wrong_shape,
     "[128, 256] expected"},
    {"no context", [](edit& f) { remove(f, "context_length"); }, errc::missing_key, "context_length"},
    {"context of zero", [](edit& f) { set(f, "context_length", 0u); }, errc::out_of_range, "is 0"},
    {"context above 2^20", [](edit& f) { set(f, "context_length", (1u << 20) + 1); }, errc::out_of_range,
     "is 1048577, 1 to 1048576"},
    {"no heads", [](edit& f) { remove(f, "attention.head_count"); }, errc::missing_key, "head_count"},
    {"zero heads", [](edit& f) { set(f, "attention.head_count", 0u); }, errc::out_of_range, "head_count"},
    {"zero KV heads", [](edit& f) { set(f, "attention.head_count_kv", 0u); }, errc::out_of_range, "head_count_kv"},
    {"heads that KV heads do not divide",
     [](edit& f) {
         set(f, "attention.head_count", 4u);
         set(f, "attention.head_count_kv", 3u);
     },
     errc::inconsistent, "is 4, not a multiple of 'bitnet-b1.58.attention.head_count_kv', 3"},
    {"heads that do not divide the hidden size", [](edit& f) { set(f, "attention.head_count", 3u); },
     errc::inconsistent, "is 128, not a multiple"},
    {"an odd head size",
     [](edit& f) {
         remove(f, "rope.dimension_count");
         f.add_key("bitnet-b1.58.attention.key_length", gguf_type::u32, edit::number(63u));
     },
     errc::out_of_range, "head size is 63"},
    {"a head size of 2000",
     [](edit& f) { f.add_key("bitnet-b1.58.attention.key_length", gguf_type::u32, edit::number(2000u)); },
     errc::out_of_range, "1 to 1024"},
    {"values of another size than keys",
     [](edit& f) { f.add_key("bitnet-b1.58.attention.value_length", gguf_type::u32, edit::number(32u)); },
     errc::inconsistent, "value_length' is 32, the head size is 64"},
    {"partial rotation", [](edit& f) { set(f, "rope.dimension_count", 32u); }, errc::inconsistent,
     "rope.dimension_count' is 32"},
    {"no epsilon", [](edit& f) { remove(f, "attention.layer_norm_rms_epsilon"); }, errc::missing_key,
     "layer_norm_rms_epsilon"},
    {"epsilon of zero", [](edit& f) { set(f, "attention.layer_norm_rms_epsilon", 0.0f); }, errc::out_of_range,
     "layer_norm_rms_epsilon"},
    {"negative epsilon", [](edit& f) { set(f, "attention.layer_norm_rms_epsilon", -1e-5f); }, errc::out_of_range,
     "layer_norm_rms_epsilon"},
    {"epsilon that is no number", [](edit& f) { set(f, "attention.layer_norm_rms_epsilon", nan); }, errc::out_of_range,
     "not finite"},
    {"an integer epsilon", [](edit& f) { set(f, "attention.layer_norm_rms_epsilon", 1u); }, errc::wrong_type,
     "layer_norm_rms_epsilon"},
    {"theta of infinity", [](edit& f) { set(f, "rope.freq_base", infinity); }, errc::out_of_range,
     "rope.freq_base' is not finite"},
    {"theta of zero", [](edit& f) { set(f, "rope.freq_base", 0.0f); }, errc::out_of_range, "rope.freq_base"},
    {"negative theta", [](edit& f) { set(f, "rope.freq_base", -10000.0f); }, errc::out_of_range, "rope.freq_base"},
    {"scaled rotation",
     [](edit& f) { f.add_key("bitnet-b1.58.rope.scaling.type", gguf_type::string, edit::string("ntk")); },
     errc::unsupported_architecture, "'ntk'"},
    {"another vocabulary size", [](edit& f) { set(f, "vocab_size", 300u); }, errc::inconsistent,
     "is 300, 'token_embd.weight' has 298"},
    {"no embedding", [](edit& f) { f.remove_tensor("token_embd.weight"); }, errc::missing_tensor,
     "'token_embd.weight'"},
    {"no output norm", [](edit& f) { f.remove_tensor("output_norm.weight"); }, errc::missing_tensor,
     "'output_norm.weight'"},
    {"no query matrix", [](edit& f) { f.remove_tensor("blk.0.attn_q.weight"); }, errc::missing_tensor,
     "'blk.0.attn_q.weight'"},
    {"no attention sub-norm", [](edit& f) { f.remove_tensor("blk.0.attn_sub_norm.weight"); }, errc::missing_tensor,
     "attn_sub_norm"},
    {"no feed-forward sub-norm", [](edit& f) { f.remove_tensor("blk.0.ffn_sub_norm.weight"); }, errc::missing_tensor,
     "ffn_sub_norm"},
    {"keys on their side", [](edit& f) { swap_dims(f, "blk.0.attn_k.weight"); }, errc::wrong_shape,
     "[64, 128] in the file, [128, 64] expected"},
    {"a short norm", [](edit& f) { f.set_dim("blk.0.ffn_norm.weight", 0, 64); }, errc::wrong_shape,
     "[64] in the file, [128] expected"},
    {"a float query matrix",
     [](edit& f) {
         f.set_dim("blk.0.attn_q.weight", 0, 8);
         f.set_dim("blk.0.attn_q.weight", 1, 128);
         f.poke(f.tensor("blk.0.attn_q.weight").type, 0u);
     },
     errc::wrong_shape, "attn_q"},
    {"an embedding of bytes", [](edit& f) { f.poke(f.tensor("token_embd.weight").type, 37u); }, errc::unsupported_type,
     "type I8_S"},
    {"a norm of 8-bit blocks", [](edit& f) { f.poke(f.tensor("output_norm.weight").type, 8u); }, errc::unsupported_type,
     "type Q8_0"},
    {"a last tensor whose type id is another program's",
     [](edit& f) { f.poke(f.tensor("output_norm.weight").type, 37u); }, errc::unsupported_type,
     "would take 128 bytes as I8_S, but 512 bytes lie before the end of the file"},
    {"a scale of infinity",
     [](edit& f) {
         const auto& t = f.tensor("blk.0.ffn_up.weight");
         f.poke(t.data + t.data_size - 32, infinity);
     },
     errc::bad_scale, "'blk.0.ffn_up.weight'"},
    {"a code 3", [](edit& f) { f.poke(f.tensor("blk.0.ffn_down.weight").data + 5, std::uint8_t{0x30}); },
     errc::bad_code, "'blk.0.ffn_down.weight'"},
    {"no tokens", [](edit& f) { f.remove_key("tokenizer.ggml.tokens"); }, errc::missing_key, "tokenizer.ggml.tokens"},
};

result<model<policy<isa::scalar>>> open(std::span<const std::byte> bytes, open_options options = {}) {
    return model<policy<isa::scalar>>::open(byte_source::borrow(bytes, "broken.gguf"), options);
}

} // namespace

TEST_CASE("a well-formed file that is not a consistent model is refused by name") {
    const auto good = bitnet_tests::tiny_model();
    REQUIRE(good);
    const auto whole = open(good->span());
    REQUIRE_MESSAGE(whole, (whole ? "" : whole.error().message));
    for (const auto& row : table) {
        CAPTURE(std::string(row.name));
        edit editor(good->span());
        row.damage(editor);
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        const std::string& message = opened.error().message;
        CAPTURE(message);
        CHECK(opened.error().code == row.expected);
        CHECK(message.starts_with("broken.gguf: "));
        CHECK(message.find(row.place) != std::string::npos);
    }
}

TEST_CASE("every malformed GGUF file is refused by model::open too") {
    const auto good = bitnet_tests::tiny_model();
    REQUIRE(good);
    for (const auto rows : {bitnet_tests::malformed_files(), bitnet_tests::malformed_ternary_data()}) {
        for (const auto& row : rows) {
            CAPTURE(std::string(row.name));
            edit editor(good->span());
            row.damage(editor);
            CHECK_FALSE(open(editor.bytes()));
        }
    }
}

TEST_CASE("codes are verified for spans by default, unless the caller says no") {
    const auto good = bitnet_tests::tiny_model();
    REQUIRE(good);
    edit editor(good->span());
    editor.poke(editor.tensor("blk.0.ffn_down.weight").data + 5, std::uint8_t{0x30});
    CHECK_FALSE(open(editor.bytes()));
    CHECK(open(editor.bytes(), {.verify_codes = false}));
}

TEST_CASE("rows that I2_S cannot hold are refused, naming the layouts that can") {
    bitnet_tests::model_shape shape;
    shape.ffn = 192; // ffn_down has rows of one and a half blocks of 128
    const auto bytes = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    const auto opened = open(bytes->span());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == errc::wrong_layout);
    CHECK(opened.error().message.find(
              "'blk.0.ffn_down.weight': [192, 128] in the file, layout i2_s needs columns in multiples of 128") !=
          std::string::npos);
    CHECK(opened.error().message.find("base3, lookup2 and lookup3 take all shapes") != std::string::npos);
}
