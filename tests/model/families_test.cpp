// SPDX-License-Identifier: MIT
// Keys and tensors that a file of a family must not have: each refused with a code and a sentence that names the place.
#include "golden/gguf_editor.hpp"
#include "golden/tiny_model_writer.hpp"

#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
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
    {"rotation scaled in an unknown way", [](edit& f) { add(f, "rope.scaling.type", "dynamic"); },
     errc::unsupported_architecture,
     "'llama.rope.scaling.type' is 'dynamic'; none, linear, yarn and longrope can be run"},
    {"rotation scaled by YaRN and by divisors",
     [](edit& f) {
         add(f, "rope.scaling.type", "yarn");
         add(f, "rope.scaling.factor", 4.0f);
     },
     errc::inconsistent, "'rope_freqs.weight': in the file, but 'llama.rope.scaling.type' is yarn"},
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
    {"attention to later positions",
     [](edit& f) { f.add_key("llama.attention.causal", gguf_type::boolean, std::string(1, char{0})); },
     errc::unsupported_architecture, "'llama.attention.causal' is false"},
    {"another scale of scores", [](edit& f) { add(f, "attention.scale", 0.25f); }, errc::unsupported_architecture,
     "'llama.attention.scale' is 0.25"},
    {"scores capped", [](edit& f) { add(f, "attn_logit_softcapping", 50.0f); }, errc::unsupported_architecture,
     "'llama.attn_logit_softcapping' is 50"},
    {"experts", [](edit& f) { add(f, "expert_count", 8u); }, errc::unsupported_architecture,
     "'llama.expert_count' is 8"},
    {"a number of experts as an array",
     [](edit& f) {
         f.add_key("llama.expert_count", gguf_type::array,
                   edit::number(static_cast<std::uint32_t>(gguf_type::u32)) + edit::number(std::uint64_t{2}) +
                       edit::number(0u) + edit::number(4u));
     },
     errc::unsupported_architecture, "'llama.expert_count' is 4"},
    {"a word for a number", [](edit& f) { add(f, "logit_scale", "two"); }, errc::wrong_type,
     "'llama.logit_scale' is of type string, a number is needed"},
    {"two factors of one rotation",
     [](edit& f) {
         add(f, "rope.scaling.factor", 4.0f);
         add(f, "rope.scale_linear", 2.0f);
     },
     errc::unsupported_architecture, "'llama.rope.scale_linear' is 2.000000; only 4.0"},
    {"another rotation of local layers", [](edit& f) { add(f, "rope.freq_base_swa", 10000.0f); },
     errc::unsupported_architecture, "'llama.rope.freq_base_swa' is 10000"},
    {"scaled logits", [](edit& f) { add(f, "logit_scale", 2.0f); }, errc::unsupported_architecture,
     "'llama.logit_scale' is 2"},
    {"scaled branches", [](edit& f) { add(f, "residual_scale", 0.5f); }, errc::unsupported_architecture,
     "'llama.residual_scale' is 0.5"},
    {"scaled embeddings", [](edit& f) { add(f, "embedding_scale", 12.0f); }, errc::unsupported_architecture,
     "'llama.embedding_scale' is 12"},
    {"rotated weights", [](edit& f) { f.add_key("prism.hadamard.version", gguf_type::u32, edit::number(1u)); },
     errc::unsupported_architecture, "'prism.hadamard.version' says that the weights are rotated"},
    {"an unknown norm", [](edit& f) { f.rename_tensor("rope_freqs.weight", "token_embd_norm.weight"); },
     errc::unsupported_architecture, "'token_embd_norm.weight': in the file, but the graph of llama has no place"},
    {"attention sinks", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_sinks.weight"); },
     errc::unsupported_architecture, "'blk.0.attn_sinks.weight': in the file, but the graph of llama has no place"},
    {"a router", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.1.ffn_gate_inp.weight"); },
     errc::unsupported_architecture, "'blk.1.ffn_gate_inp.weight'"},
    {"a LoRA", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_q.weight.lora_a"); },
     errc::unsupported_architecture, "'blk.0.attn_q.weight.lora_a'"},
    {"a second norm", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_norm_2.weight"); },
     errc::unsupported_architecture, "'blk.0.attn_norm_2.weight'"},
    {"a layer more than said", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.2.attn_norm.weight"); },
     errc::unsupported_architecture,
     "'blk.2.attn_norm.weight': in the file, but the graph of llama has no place for it "
     "(2 layers)"},
    {"a layer written with a zero", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.00.attn_norm.weight"); },
     errc::unsupported_architecture, "'blk.00.attn_norm.weight'"},
    {"the scale of a TL1 tensor beside I2_S",
     [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_q.weight_scale"); }, errc::unsupported_architecture,
     "'blk.0.attn_q.weight_scale'"},
    {"the scale of no ternary tensor", [](edit& f) { f.rename_tensor("rope_freqs.weight", "output.scale"); },
     errc::unsupported_architecture, "'output.scale'"},
    {"divisors for long contexts", [](edit& f) { f.rename_tensor("rope_freqs.weight", "rope_factors_long.weight"); },
     errc::unsupported_architecture, "'rope_factors_long.weight'"},
    {"embedded positions", [](edit& f) { f.rename_tensor("rope_freqs.weight", "position_embd.weight"); },
     errc::unsupported_architecture, "'position_embd.weight'"},
    {"a bias", [](edit& f) { f.rename_tensor("rope_freqs.weight", "blk.0.attn_q.bias"); },
     errc::unsupported_architecture, "'blk.0.attn_q.bias': in the file, but the graph of llama has no place for it"},
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

TEST_CASE("rotated weights are refused before anything else, whatever the file is") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    const auto check = [](const edit& f) {
        const auto opened = open(f.bytes());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == errc::unsupported_architecture);
        CHECK(opened.error().message.find("'prism.hadamard.weight_names' says that the weights are rotated") !=
              std::string::npos);
    };
    edit rotated(good->span());
    rotated.add_key("prism.hadamard.weight_names", gguf_type::string, edit::string("all"));
    check(rotated);
    edit of_another_family = rotated;
    of_another_family.set_value("general.architecture", gguf_type::string, edit::string("qwen35"));
    check(of_another_family);
    edit lacking = rotated;
    lacking.remove_tensor("token_embd.weight");
    lacking.remove_key("llama.block_count");
    check(lacking);
    edit of_another_type = rotated;
    of_another_type.poke(of_another_type.tensor("blk.0.attn_q.weight").type, std::uint32_t{999});
    check(of_another_type);
    edit misplaced = rotated;
    misplaced.poke(misplaced.tensor("blk.0.attn_q.weight").offset, std::uint64_t{1} << 60);
    check(misplaced);
}

TEST_CASE("blocks whose scale comes last are refused by the mark of their writer") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    edit editor(good->span());
    editor.set_value("general.quantization_version", gguf_type::string, edit::string("TQ2_0_G128"));
    const auto opened = open(editor.bytes());
    REQUIRE_FALSE(opened);
    CHECK(opened.error().code == errc::unsupported_type);
    CHECK(opened.error().message.starts_with("llama.gguf: 'general.quantization_version' is 'TQ2_0_G128': blocks"));
    editor.poke(editor.tensor("blk.0.attn_q.weight").type, std::uint32_t{42});
    CHECK(open(editor.bytes()).error().message == opened.error().message);
}

TEST_CASE("architectures of ternary models that are not run are refused by what they need") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    for (const foreign_family& each : foreign_families) {
        edit editor(good->span());
        editor.set_value("general.architecture", gguf_type::string, edit::string(each.architecture));
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == errc::unsupported_architecture);
        CHECK(opened.error().message.starts_with("llama.gguf: 'general.architecture' is '" +
                                                 std::string(each.architecture) + "', which "));
        CHECK(opened.error().message.find("qwen3, gemma3 can be run") != std::string::npos);
    }
}

TEST_CASE("what YaRN does not say, says wrongly or says of another YaRN is refused by name") {
    bitnet_tests::model_shape shape;
    shape.architecture = "llama";
    shape.yarn_factor = 4.0f;
    shape.original_context = 16;
    const auto good = bitnet_tests::tiny_model(shape);
    REQUIRE(good);
    const auto whole = open(good->span());
    REQUIRE_MESSAGE(whole, (whole ? "" : whole.error().message));
    CHECK(whole->parameters().notes.empty());
    CHECK(whole->parameters().rope_magnitude == 1.1386294f);
    const float no_number = std::numeric_limits<float>::quiet_NaN();
    const float endless = std::numeric_limits<float>::infinity();
    struct row {
        const char* key;
        float value;
        errc expected;
    };
    const row rows[] = {{"rope.scaling.factor", 0.5f, errc::out_of_range},
                        {"rope.scaling.factor", -4.0f, errc::out_of_range},
                        {"rope.scaling.factor", no_number, errc::out_of_range},
                        {"rope.scaling.factor", endless, errc::out_of_range},
                        {"rope.scaling.attn_factor", 0.0f, errc::out_of_range},
                        {"rope.scaling.attn_factor", -1.0f, errc::out_of_range},
                        {"rope.scaling.attn_factor", endless, errc::out_of_range},
                        {"rope.scaling.yarn_beta_fast", 0.0f, errc::out_of_range},
                        {"rope.scaling.yarn_beta_slow", no_number, errc::out_of_range},
                        {"rope.scaling.yarn_log_multiplier", 0.1f, errc::unsupported_architecture},
                        {"rope.scaling.yarn_ext_factor", 0.0f, errc::unsupported_architecture},
                        {"rope.scaling.yarn_attn_factor", 2.0f, errc::unsupported_architecture},
                        {"rope.scaling.truncate", 0.0f, errc::unsupported_architecture},
                        {"rope.scale_linear", 2.0f, errc::unsupported_architecture}};
    for (const row& each : rows) {
        CAPTURE(std::string(each.key));
        edit editor(good->span());
        const std::string key = std::string("llama.") + each.key;
        if (std::string_view(each.key) == "rope.scaling.factor") {
            editor.set_value(key, gguf_type::f32, edit::number(each.value));
        } else {
            editor.add_key(key, gguf_type::f32, edit::number(each.value));
        }
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        CHECK(opened.error().code == each.expected);
        CHECK(opened.error().message.find("'" + key + "' is ") != std::string::npos);
    }
    edit editor(good->span());
    editor.set_value("llama.rope.scaling.original_context_length", gguf_type::u32, edit::number(0u));
    CHECK(open(editor.bytes()).error().code == errc::out_of_range);
    edit other(good->span());
    other.remove_key("llama.rope.scaling.factor");
    CHECK(open(other.bytes()).error().message.find("'llama.rope.scaling.factor'") != std::string::npos);
}

TEST_CASE("YaRN without its context extends that of the model, and its other keys change the rotation") {
    bitnet_tests::model_shape shape;
    shape.architecture = "llama";
    shape.yarn_factor = 4.0f;
    shape.theta = 10000.0f;
    const auto bytes = bitnet_tests::tiny_model(shape);
    shape.original_context = shape.context;
    const auto said = bitnet_tests::tiny_model(shape);
    REQUIRE(bytes);
    REQUIRE(said);
    const auto divisors = [](std::span<const std::byte> file) {
        const auto opened = open(file);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        CHECK(opened->parameters().notes.empty());
        return opened->parameters().rope_divisors;
    };
    CHECK(divisors(bytes->span()) == divisors(said->span()));
    for (const char* key : {"llama.rope.scaling.yarn_beta_fast", "llama.rope.scaling.yarn_beta_slow"}) {
        edit editor(bytes->span());
        editor.add_key(key, gguf_type::f32, edit::number(4.0f));
        CHECK(divisors(editor.bytes()) != divisors(bytes->span()));
    }
}

TEST_CASE("factors of longrope are two tensors of the right length, all within bounds") {
    bitnet_tests::model_shape shape;
    shape.architecture = "llama";
    shape.long_factor = 8.0f;
    shape.short_factor = 2.0f;
    shape.original_context = 16;
    const auto good = bitnet_tests::tiny_model(shape);
    REQUIRE(good);
    const auto whole = open(good->span());
    REQUIRE_MESSAGE(whole, (whole ? "" : whole.error().message));
    CHECK(whole->parameters().rope_magnitude == doctest::Approx(std::sqrt(1.5))); // S = 4, L = 16
    REQUIRE(whole->parameters().notes.size() == 1);
    CHECK(whole->parameters().notes[0].starts_with("'llama.rope.scaling.attn_factor' is missing: 1.2247"));
    const auto refused = [&](const auto& change, errc expected, const std::string& place) {
        edit editor(good->span());
        change(editor);
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        CAPTURE(opened.error().message);
        CHECK(opened.error().code == expected);
        CHECK(opened.error().message.find(place) != std::string::npos);
    };
    for (const std::string name : {"rope_factors_long.weight", "rope_factors_short.weight"}) {
        refused([&](edit& f) { f.remove_tensor(name); }, errc::missing_tensor, "'" + name + "': not in the file");
        refused([&](edit& f) { f.set_dim(name, 0, 16); }, errc::wrong_shape,
                "'" + name + "': F32 [16] in the file, F32 [32] expected");
        for (const float factor : {0.0f, -1.0f, 0.2f, 5000.0f, std::numeric_limits<float>::quiet_NaN()}) {
            refused([&](edit& f) { f.poke(f.tensor(name).data + 8, factor); }, errc::out_of_range,
                    "'" + name + "' is ");
        }
    }
    refused([](edit& f) { add(f, "rope.scaling.factor", 4.0f); }, errc::unsupported_architecture,
            "'llama.rope.scaling.factor' is 4");
    refused([](edit& f) { add(f, "rope.scaling.attn_factor", 0.0f); }, errc::out_of_range,
            "'llama.rope.scaling.attn_factor' is 0");
}

TEST_CASE("the scales of minicpm are finite and above zero, and those that an old file lacks are told") {
    bitnet_tests::model_shape shape;
    shape.architecture = "minicpm";
    shape.layers = 4;
    const auto old = bitnet_tests::tiny_model(shape);
    REQUIRE(old);
    const auto opened = open(old->span());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().embedding_scale == 12.0f);
    CHECK(opened->parameters().residual_scale == 0.7f);
    CHECK(opened->parameters().logit_scale == 0.5f);
    REQUIRE(opened->parameters().notes.size() == 3);
    CHECK(opened->parameters().notes[1] == "'minicpm.residual_scale' is missing: 0.700000 is taken, as files mean that "
                                           "were written before it");
    for (const char* suffix : {"embedding_scale", "residual_scale", "logit_scale"}) {
        const std::string key = std::string("minicpm.") + suffix;
        for (const float value : {0.0f, -1.0f, 1e-42f, 1e9f, std::numeric_limits<float>::quiet_NaN(),
                                  std::numeric_limits<float>::infinity()}) {
            edit editor(old->span());
            editor.add_key(key, gguf_type::f32, edit::number(value));
            const auto refused = open(editor.bytes());
            REQUIRE_FALSE(refused);
            CHECK(refused.error().code == errc::out_of_range);
            CHECK(refused.error().message.find("'" + key + "' is ") != std::string::npos);
        }
        edit editor(old->span());
        editor.add_key(key, gguf_type::string, edit::string("2"));
        CHECK(open(editor.bytes()).error().code == errc::wrong_type);
    }
}

TEST_CASE("biases of qwen2 are those of query, key and value in every layer, and no others") {
    bitnet_tests::model_shape shape;
    shape.architecture = "qwen2";
    shape.layers = 2;
    shape.biases = true;
    const auto good = bitnet_tests::tiny_model(shape);
    REQUIRE(good);
    const auto whole = open(good->span());
    REQUIRE_MESSAGE(whole, (whole ? "" : whole.error().message));
    CHECK(whole->parameters().has_qkv_biases);
    const auto refused = [&](void (*change)(edit&)) {
        edit editor(good->span());
        change(editor);
        const auto opened = open(editor.bytes());
        REQUIRE_FALSE(opened);
        return opened.error();
    };
    for (const char* name : {"attn_q.bias", "attn_k.bias", "attn_v.bias"}) {
        for (const char* block : {"blk.0.", "blk.1."}) {
            edit editor(good->span());
            editor.remove_tensor(std::string(block) + name);
            const auto opened = open(editor.bytes());
            REQUIRE_FALSE(opened);
            CHECK(opened.error().code == errc::missing_tensor);
            CHECK(opened.error().message == "llama.gguf: tensor '" + std::string(block) + name + "': not in the file");
        }
    }
    const error other = refused([](edit& f) { f.rename_tensor("blk.1.attn_v.bias", "blk.1.attn_output.bias"); });
    CHECK(other.code == errc::unsupported_architecture);
    CHECK(other.message.find("'blk.1.attn_output.bias': in the file, but the graph of qwen2 has no place") !=
          std::string::npos);
    const error shorter = refused([](edit& f) { f.set_dim("blk.1.attn_k.bias", 0, 32); });
    CHECK(shorter.code == errc::wrong_shape);
    CHECK(shorter.message.find("'blk.1.attn_k.bias': [32] in the file, [64] expected") != std::string::npos);
}

TEST_CASE("the context ends where local attention would begin, with a note") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    edit editor(good->span());
    add(editor, "attention.sliding_window", 63u);
    const auto opened = open(editor.bytes());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().context == 63);
    REQUIRE(opened->parameters().notes.size() == 1);
    CHECK(opened->parameters().notes[0] ==
          "the context ends at 63 of its 64 positions, where local attention would begin");
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
    add(editor, "embedding_scale", 1.0f);
    add(editor, "rope.freq_base_swa", 500000.0f);
    add(editor, "rope.scaling.attn_factor", 1.0f);
    editor.add_key("llama.attention.causal", gguf_type::boolean, std::string(1, char{1}));
    const auto opened = open(editor.bytes());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().notes.empty());
    CHECK(opened->parameters().rope_factor == 1.0f);
    CHECK(opened->parameters().pairing == rotary_pairing::interleaved);
}

TEST_CASE("every key that would change the graph is accepted with its neutral numbers and refused with others") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    for (const neutral_value& each : neutral_values) {
        CAPTURE(std::string(each.key));
        const std::string key(each.key);
        for (const double number : {each.value, each.other, 7.0}) {
            edit editor(good->span());
            add(editor, key.c_str(), static_cast<float>(number));
            const auto opened = open(editor.bytes(), {.load_tokenizer = false});
            if (number == 7.0) {
                REQUIRE_FALSE(opened);
                CHECK(opened.error().code == errc::unsupported_architecture);
                CHECK(opened.error().message.find("'llama." + key + "' is 7.0") != std::string::npos);
            } else {
                REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
                CHECK(opened->parameters().notes.empty());
            }
        }
    }
}

TEST_CASE("keys that are not read are named in one note") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    edit editor(good->span());
    add(editor, "tensor_data_layout", "Meta AI original pth");
    add(editor, "rope.scaling.original_context_length", 8192u);
    add(editor, "something_new", 2.0f);
    editor.add_key("bitnet-b1.58.block_count", gguf_type::u32, edit::number(30u));
    editor.add_key("general.license", gguf_type::string, edit::string("mit"));
    editor.add_key("quantize.imatrix.file", gguf_type::string, edit::string("m.dat"));
    const auto opened = open(editor.bytes());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    REQUIRE(opened->parameters().notes.size() == 1);
    CHECK(opened->parameters().notes[0] ==
          "metadata keys that are not read: 'llama.tensor_data_layout', 'llama.rope.scaling.original_context_length', "
          "'llama.something_new', 'bitnet-b1.58.block_count'");
    for (int i = 0; i < 7; ++i) {
        add(editor, ("new_key_" + std::to_string(i)).c_str(), 1u);
    }
    const auto many = open(editor.bytes());
    REQUIRE(many);
    CHECK(many->parameters().notes[0].ends_with("'llama.new_key_3' and 3 more"));
}

TEST_CASE("a factor that the type of rotary scaling leaves unused is named in a note") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    edit editor(good->span());
    add(editor, "rope.scaling.type", "none");
    add(editor, "rope.scaling.factor", 4.0f);
    const auto opened = open(editor.bytes());
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->parameters().rope_factor == 1.0f);
    REQUIRE(opened->parameters().notes.size() == 1);
    CHECK(opened->parameters().notes[0] ==
          "'llama.rope.scaling.factor' is not used, because 'llama.rope.scaling.type' is none");
}

TEST_CASE("tensors without effect on text are named in a note, and the rest of the file runs") {
    const auto good = bitnet_tests::tiny_model(llama_shape());
    REQUIRE(good);
    for (const char* name :
         {"v.blk.0.attn_q.weight", "mm.0.bias", "a.conv1d.weight", "blk.1.attn_rot_embd.weight", "training_steps"}) {
        edit editor(good->span());
        editor.rename_tensor("rope_freqs.weight", name);
        const auto opened = open(editor.bytes());
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        REQUIRE(opened->parameters().notes.size() == 1);
        CHECK(opened->parameters().notes[0] == "tensors that the graph does not use: '" + std::string(name) + "'");
    }
}

TEST_CASE("Gemma's local layers turn with theta 10000 unless the file says another, which must be the model's") {
    bitnet_tests::model_shape shape;
    shape.architecture = "gemma3";
    shape.head_norms = true;
    shape.post_norms = true;
    const auto check = [&](float theta, float local, float factor, bool runs) {
        shape.theta = theta;
        shape.rope_factor = factor;
        const auto good = bitnet_tests::tiny_model(shape);
        REQUIRE(good);
        CHECK(open(good->span())); // without a window there are no local layers
        edit editor(good->span());
        editor.add_key("gemma3.attention.sliding_window", gguf_type::u32, edit::number(64u));
        if (local != 0) {
            editor.add_key("gemma3.rope.freq_base_swa", gguf_type::f32, edit::number(local));
        }
        const auto opened = open(editor.bytes());
        CHECK(opened.has_value() == runs);
        if (!opened) {
            CHECK(opened.error().code == errc::unsupported_architecture);
        }
    };
    check(10000.0f, 0, 0, true);
    check(1e6f, 0, 0, false);
    check(1e6f, 1e6f, 0, true);
    check(1e6f, 10000.0f, 0, false);
    check(10000.0f, 0, 8.0f, false);
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
