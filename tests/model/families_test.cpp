// SPDX-License-Identifier: MIT
// Keys and tensors that a file of a family must not have: each refused with a code and a sentence that names the place.
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using edit = bitnet_tests::gguf_editor;

namespace {

struct refused_variant {
    const char* name;
    void (*change)(edit&);
    errc expected;
    const char* place;
};

void add(edit& f, const char* suffix, float value) {
    f.add_key(std::string("llama.") + suffix, gguf_type::f32, edit::number(value));
}
void add(edit& f, const char* suffix, std::uint32_t value) {
    f.add_key(std::string("llama.") + suffix, gguf_type::u32, edit::number(value));
}
void add(edit& f, const char* suffix, const char* value) {
    f.add_key(std::string("llama.") + suffix, gguf_type::string, edit::string(value));
}

const refused_variant table[] = {
    {"rotation scaled in an unknown way", [](edit& f) { add(f, "rope.scaling.type", "longrope"); },
     errc::unsupported_architecture, "'llama.rope.scaling.type' is 'longrope'; none and linear can be run"},
    {"rotation scaled linearly by nothing", [](edit& f) { add(f, "rope.scaling.type", "linear"); }, errc::missing_key,
     "'llama.rope.scaling.factor'"},
    {"rotation scaled by less than one", [](edit& f) { add(f, "rope.scaling.factor", 0.5f); }, errc::out_of_range,
     "'llama.rope.scaling.factor' is 0.5"},
    {"rotation scaled by no number",
     [](edit& f) { add(f, "rope.scale_linear", std::numeric_limits<float>::quiet_NaN()); }, errc::out_of_range,
     "'llama.rope.scale_linear' is not finite"},
    {"rotation scaled by too much", [](edit& f) { add(f, "rope.scaling.factor", 5000.0f); }, errc::out_of_range,
     "1 to 4096"},
    {"attention values scaled for long contexts", [](edit& f) { add(f, "rope.scaling.attn_factor", 1.5f); },
     errc::unsupported_architecture, "'llama.rope.scaling.attn_factor' is 1.5"},
    {"a divisor below one", [](edit& f) { f.poke(f.tensor("rope_freqs.weight").data + 8, 0.25f); }, errc::out_of_range,
     "'rope_freqs.weight' is 0.25"},
    {"too few divisors", [](edit& f) { f.set_dim("rope_freqs.weight", 0, 16); }, errc::wrong_shape,
     "'rope_freqs.weight': F32 [16] in the file, F32 [32] expected"},
    {"an unknown pairing", [](edit& f) { f.add_key("bitnet_hpp.rotary", gguf_type::string, edit::string("thirds")); },
     errc::out_of_range, "'bitnet_hpp.rotary' is 'thirds'"},
    {"a sliding window", [](edit& f) { add(f, "attention.sliding_window", 63u); }, errc::unsupported_architecture,
     "'llama.attention.sliding_window' is 63, less than the context of 64"},
    {"attention to later positions",
     [](edit& f) { f.add_key("llama.attention.causal", gguf_type::boolean, std::string(1, char{0})); },
     errc::unsupported_architecture, "'llama.attention.causal' is false"},
    {"another scale of scores", [](edit& f) { add(f, "attention.scale", 0.25f); }, errc::unsupported_architecture,
     "'llama.attention.scale' is 0.25"},
    {"scores capped", [](edit& f) { add(f, "attn_logit_softcapping", 50.0f); }, errc::unsupported_architecture,
     "'llama.attn_logit_softcapping' is 50"},
    {"experts", [](edit& f) { add(f, "expert_count", 8u); }, errc::unsupported_architecture,
     "'llama.expert_count' is 8"},
    {"an unknown norm", [](edit& f) { f.rename_tensor("rope_freqs.weight", "token_embd_norm.weight"); },
     errc::unsupported_architecture, "'token_embd_norm.weight': in the file, but the graph of llama has no place"},
    {"a bias", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_q.bias"); },
     errc::unsupported_architecture, "'blk.0.attn_q.bias'"},
    {"a head norm in one layer only", [](edit& f) { f.remove_tensor("blk.1.attn_k_norm.weight"); },
     errc::missing_tensor, "'blk.1.attn_k_norm.weight'"},
    {"a head norm of another size", [](edit& f) { f.set_dim("blk.0.attn_k_norm.weight", 0, 32); }, errc::wrong_shape,
     "'blk.0.attn_k_norm.weight': [32] in the file, [64] expected"},
    {"a head of another shape", [](edit& f) { f.set_dim("output.weight", 1, 297); }, errc::wrong_shape,
     "'output.weight': [128, 297] in the file, [128, 298] expected"},
    {"a last norm before attention's output and another one",
     [](edit& f) { f.rename_tensor("blk.0.attn_output_norm_in.weight", "blk.0.attn_sub_norm.weight"); },
     errc::missing_tensor, "'blk.1.attn_sub_norm.weight'"},
};

bitnet_tests::model_shape llama_shape() {
    bitnet_tests::model_shape shape;
    shape.architecture = "llama";
    shape.layers = 2;
    shape.own_head = true;
    shape.head_norms = true;
    shape.input_norms = true;
    shape.rope_divisor = 8.0f;
    return shape;
}

result<model<policy<isa::scalar>>> open(std::span<const std::byte> bytes, open_options options = {}) {
    return model<policy<isa::scalar>>::open(byte_source::borrow(bytes, "llama.gguf"), options);
}

} // namespace

TEST_CASE("a key that would change the graph of a family is refused by name") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    const auto whole = open(good->span());
    REQUIRE_MESSAGE(whole, (whole ? "" : whole.error().message));
    for (const auto& row : table) {
        CAPTURE(std::string(row.name));
        edit editor(good->span());
        row.change(editor);
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        const std::string& message = opened.error().message;
        CAPTURE(message);
        CHECK(opened.error().code == row.expected);
        CHECK(message.starts_with("llama.gguf: "));
        CHECK(message.find(row.place) != std::string::npos);
    }
}

TEST_CASE("keys that change nothing in the graph are accepted") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    edit editor(good->span());
    add(editor, "attention.sliding_window", 64u);
    add(editor, "attention.scale", 0.125f);
    add(editor, "expert_count", 0u);
    add(editor, "rope.scaling.type", "none");
    add(editor, "rope.scaling.factor", 0.0f);
    add(editor, "rope.scaling.attn_factor", 1.0f);
    editor.add_key("llama.attention.causal", gguf_type::boolean, std::string(1, char{1}));
    const auto opened = open(editor.bytes());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().rope_factor == 1.0f);
    CHECK(opened->parameters().pairing == rotary_pairing::interleaved);
}

TEST_CASE("a matrix that is not ternary is refused by name") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    const auto file = gguf_file::parse(good->span(), "test");
    REQUIRE(file);
    gguf_writer writer;
    for (const auto& value : file->metadata()) {
        if (value.type == gguf_type::string) {
            writer.add(value.key, value.string());
        } else if (value.type == gguf_type::u32) {
            writer.add(value.key, value.element<std::uint32_t>(0));
        } else if (value.type == gguf_type::f32) {
            writer.add(value.key, value.element<float>(0));
        }
    }
    const std::vector<std::byte> blocks(std::size_t{128} * 128 / 32 * 34);
    for (const auto& tensor : file->tensors()) {
        const auto dims = std::span(tensor.dims).first(tensor.rank);
        if (tensor.name == "blk.1.ffn_up.weight") {
            writer.add_tensor(tensor.name, tensor_type::q8_0, dims, blocks);
        } else {
            writer.add_tensor(tensor.name, tensor.type, dims, tensor.bytes);
        }
    }
    const auto written = writer.write_memory();
    REQUIRE(written);
    const auto opened = open(written->span(), {.load_tokenizer = false});
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == errc::unsupported_type);
    CHECK(opened.error().message.find("'blk.1.ffn_up.weight': type Q8_0") != std::string::npos);
}
