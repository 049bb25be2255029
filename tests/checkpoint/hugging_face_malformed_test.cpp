// SPDX-License-Identifier: MIT
// Hugging Face checkpoints that are inconsistent or cannot be run: each refused with its own code and sentence.
#include "golden/checkpoint_writer.hpp"
#include "golden/tiny_model_writer.hpp"
#include "io/temporary_folder.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::checkpoint;
using bitnet_tests::temporary_folder;

namespace {

struct malformed {
    const char* name;
    void (*damage)(checkpoint&);
    errc expected;
    const char* place;
};

checkpoint good_checkpoint() {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    return bitnet_tests::checkpoint_of(bytes->span(), {});
}

result<model_file> open_folder(const std::string& path) { return model_file::open(path, {.load_tokenizer = false}); }

void check_refused(const result<model_file>& read, errc expected, const char* place) {
    REQUIRE_FALSE(read.has_value());
    CAPTURE(read.error().message);
    CHECK(read.error().code == expected);
    CHECK(read.error().message.find(place) != std::string::npos);
}

void check_rows(std::span<const malformed> rows) {
    const checkpoint good = good_checkpoint();
    for (const malformed& row : rows) {
        CAPTURE(std::string(row.name));
        checkpoint broken = good;
        row.damage(broken);
        const temporary_folder folder;
        broken.write(folder.path());
        const auto read = open_folder(folder.path());
        check_refused(read, row.expected, row.place);
        CHECK(read.error().message.starts_with(folder.path()));
    }
}

/// Replaces the value of `key`, a number or a word, by `value`.
void set(checkpoint& c, std::string_view key, std::string_view value) {
    const std::string quoted = "\"" + std::string(key) + "\": ";
    const auto from = c.config.find(quoted) + quoted.size();
    c.config.replace(from, c.config.find_first_of(",}", from) - from, value);
}
void remove_key(checkpoint& c, std::string_view key) { c.change("\"" + std::string(key) + "\"", "\"_\""); }

constexpr std::string_view q_scale = "model.layers.0.self_attn.q_proj.weight_scale";
constexpr std::string_view q_weight = "model.layers.0.self_attn.q_proj.weight";

void set_scale(checkpoint& c, float value) { std::memcpy(c.tensor(q_scale).data.data(), &value, sizeof value); }

} // namespace

TEST_CASE("a config.json that is empty, incomplete or nonsense is a named error") {
    const malformed rows[] = {
        {"no JSON", [](checkpoint& c) { c.config += "}"; }, errc::bad_json, "config.json: line 1"},
        {"empty", [](checkpoint& c) { c.config.clear(); }, errc::truncated, "config.json"},
        {"an array", [](checkpoint& c) { c.config = "[]"; }, errc::wrong_type, "config.json: the text is a JSON array"},
        {"no architectures", [](checkpoint& c) { remove_key(c, "architectures"); }, errc::missing_key,
         "no 'architectures'"},
        {"no architectures", [](checkpoint& c) { c.change(R"(["BitNetForCausalLM"])", "[]"); }, errc::wrong_type,
         "'architectures'"},
        {"architectures that is an object",
         [](checkpoint& c) { c.change(R"(["BitNetForCausalLM"])", R"({"a": "b"})"); }, errc::wrong_type,
         "'architectures'"},
        {"a number for an architecture", [](checkpoint& c) { c.change(R"(["BitNetForCausalLM"])", "[1]"); },
         errc::wrong_type, "'architectures'"},
        {"no layers", [](checkpoint& c) { remove_key(c, "num_hidden_layers"); }, errc::missing_key,
         "config.json: there is no 'num_hidden_layers'"},
        {"a string for layers", [](checkpoint& c) { set(c, "num_hidden_layers", "\"1\""); }, errc::wrong_type,
         "'num_hidden_layers' is a JSON string"},
        {"negative layers", [](checkpoint& c) { set(c, "num_hidden_layers", "-1"); }, errc::wrong_type,
         "'num_hidden_layers'"},
        {"2^32 layers", [](checkpoint& c) { set(c, "num_hidden_layers", "4294967296"); }, errc::wrong_type,
         "'num_hidden_layers'"},
        {"no hidden size", [](checkpoint& c) { set(c, "hidden_size", "null"); }, errc::missing_key, "'hidden_size'"},
        {"no epsilon", [](checkpoint& c) { remove_key(c, "rms_norm_eps"); }, errc::missing_key, "'rms_norm_eps'"},
        {"an epsilon beyond float", [](checkpoint& c) { set(c, "rms_norm_eps", "1e300"); }, errc::out_of_range,
         "'rms_norm_eps'"},
        {"no theta", [](checkpoint& c) { remove_key(c, "rope_theta"); }, errc::missing_key, "'rope_theta'"},
        {"a word for tying", [](checkpoint& c) { set(c, "tie_word_embeddings", "\"yes\""); }, errc::wrong_type,
         "'tie_word_embeddings' is a JSON string"},
    };
    check_rows(rows);
}

TEST_CASE("a checkpoint whose graph cannot be run is refused, not approximated") {
    const malformed rows[] = {
        {"another class", [](checkpoint& c) { c.change("BitNetForCausalLM", "MambaForCausalLM"); },
         errc::unsupported_architecture, "'MambaForCausalLM'; BitNetForCausalLM, BitnetForCausalLM"},
        {"another activation", [](checkpoint& c) { c.change("relu2", "gelu"); }, errc::unsupported_architecture,
         "'gelu', BitNetForCausalLM can be run with relu2 or silu"},
        {"the exact GELU where the tanh form is meant",
         [](checkpoint& c) {
             c.change("BitNetForCausalLM", "Gemma3TextModel");
             c.change(R"("hidden_act": "relu2")", R"("hidden_activation": "gelu")");
         },
         errc::unsupported_architecture, "'gelu', Gemma3TextModel can be run with gelu_pytorch_tanh"},
        {"an activation that no one computes", [](checkpoint& c) { c.change("relu2", "quick_gelu"); },
         errc::unsupported_architecture, "'quick_gelu'"},
        {"another quantisation",
         [](checkpoint& c) { c.change(R"("quant_method": "bitnet")", R"("quant_method": "awq")"); },
         errc::unsupported_architecture, "'quant_method' is 'awq'"},
        {"another linear class", [](checkpoint& c) { c.change("\"autobitlinear\"", "\"linear\""); },
         errc::unsupported_architecture, "'linear_class' is 'linear'"},
        {"another mode", [](checkpoint& c) { c.change("\"offline\"", "\"sometimes\""); },
         errc::unsupported_architecture, "'quantization_mode' is 'sometimes'"},
        {"packed weights that are ternarised while they run", [](checkpoint& c) { c.change("offline", "online"); },
         errc::inconsistent, "'quantization_mode' is online"},
        {"a member of quantization_config that is not known",
         [](checkpoint& c) { c.change("\"quant_method\"", R"("group_size": 128, "quant_method")"); },
         errc::unsupported_architecture, "'quantization_config' has members that are not known: 'group_size'"},
        {"weights that are neither offline nor online",
         [](checkpoint& c) { c.change("\"quant_method\"", R"("offline_quantization": false, "quant_method")"); },
         errc::inconsistent, "'offline_quantization' is false, 'online_quantization' false"},
        {"weights that are offline and online",
         [](checkpoint& c) {
             c.change("\"quant_method\"",
                      R"("offline_quantization": true, "online_quantization": true, "quant_method")");
         },
         errc::inconsistent, "'offline_quantization' is true, 'online_quantization' true"},
        {"offline weights of a class that divides",
         [](checkpoint& c) { c.change("\"autobitlinear\"", R"("bitlinear", "offline_quantization": true)"); },
         errc::inconsistent, "'linear_class' bitlinear"},
        {"online weights in offline mode",
         [](checkpoint& c) { c.change("\"quant_method\"", R"("online_quantization": true, "quant_method")"); },
         errc::inconsistent, "'online_quantization' true"},
        {"a number for offline",
         [](checkpoint& c) { c.change("\"quant_method\"", R"("offline_quantization": 1, "quant_method")"); },
         errc::wrong_type, "'offline_quantization' is a JSON number"},
        {"a quantisation in a word",
         [](checkpoint& c) {
             c.add(R"("quantization_config": "bitnet")");
             c.change(R"("quantization_config": {)", R"("_": {)");
         },
         errc::wrong_type, "'quantization_config' is a JSON string"},
        {"packed weights that the first revision ternarises while it runs",
         [](checkpoint& c) {
             c.change(R"("linear_class": "autobitlinear", "quantization_mode": "offline")",
                      R"("online_quantization": true)");
         },
         errc::inconsistent, "'quantization_mode' is online"},
        {"a layer of another kind", [](checkpoint& c) { c.add(R"("layer_types": ["linear_attention"])"); },
         errc::unsupported_architecture, "'layer_types' names 'linear_attention'"},
        {"weights of two bits", [](checkpoint& c) { c.add(R"("weight_bits": 2)"); }, errc::unsupported_architecture,
         "'weight_bits' is 2"},
        {"a rotation with a member that is not known",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "linear", "factor": 2, "offset": 1})");
         },
         errc::unsupported_architecture, "'rope_scaling' has members that are not known: 'offset'"},
        {"a YaRN without its factor",
         [](checkpoint& c) { c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "yarn"})"); },
         errc::missing_key, "'factor'"},
        {"a YaRN whose ramp is not cut to whole pairs",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "yarn", "factor": 4, "truncate": false})");
         },
         errc::unsupported_architecture, "'truncate' is false"},
        {"a YaRN with another magnitude",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "yarn", "factor": 4, "mscale": 0.7})");
         },
         errc::unsupported_architecture, "'rope_scaling' has members that are not known: 'mscale'"},
        {"a YaRN of a context in words",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_scaling": {"type": "yarn", "factor": 4, "original_max_position_embeddings": "16"})");
         },
         errc::wrong_type, "'original_max_position_embeddings' is a JSON string"},
        {"a longrope without short factors",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "longrope", "long_factor": [1, 2]})");
         },
         errc::missing_key, "'short_factor'"},
        {"a longrope whose factors are words",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_scaling": {"type": "longrope", "long_factor": ["1"], "short_factor": [1]})");
         },
         errc::wrong_type, "'long_factor' is a JSON string, an array of numbers"},
        {"a longrope of another factor",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_scaling": {"type": "longrope", "factor": 3, "long_factor": [1], "short_factor": [1]})");
         },
         errc::unsupported_architecture, "'factor' is 3"},
        {"a rotation that is not scaled, by a factor",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_parameters": {"rope_theta": 10000, "factor": 2})");
         },
         errc::unsupported_architecture, "'rope_parameters' has members that are not known: 'factor'"},
        {"a rotation of two types",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_scaling": {"rope_type": "default", "type": "mrope", "mrope_section": [16, 24, 24]})");
         },
         errc::inconsistent, "'rope_type' is 'default', 'type' is 'mrope'"},
        {"a part of a rotation",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_parameters": {"rope_theta": 10000, "partial_rotary_factor": 0.5})");
         },
         errc::unsupported_architecture, "'partial_rotary_factor' is 0.5"},
        {"two descriptions of the rotation",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"type": "linear", "factor": 2},
                         "rope_parameters": {"rope_theta": 10000})");
         },
         errc::inconsistent, "both 'rope_parameters' and 'rope_scaling'"},
        {"a number for a rotation", [](checkpoint& c) { c.change(R"("rope_scaling": null)", R"("rope_scaling": 4)"); },
         errc::wrong_type, "'rope_scaling' is a JSON number"},
        {"a layer that stays as it is",
         [](checkpoint& c) {
             c.change("\"quant_method\"", R"("modules_to_not_convert": ["lm_head", "q_proj"], "quant_method")");
         },
         errc::unsupported_architecture, "names 'q_proj'"},
        {"norms before projections that are not there",
         [](checkpoint& c) { c.change("\"quant_method\"", R"("use_rms_norm": true, "quant_method")"); },
         errc::missing_tensor, "'use_rms_norm' is true"},
        {"norms before projections with another epsilon",
         [](checkpoint& c) {
             c.change("\"quant_method\"", R"("use_rms_norm": true, "rms_norm_eps": 0.5, "quant_method")");
         },
         errc::unsupported_architecture, "another 'rms_norm_eps'"},
        {"biases", [](checkpoint& c) { set(c, "attention_bias", "true"); }, errc::unsupported_architecture,
         "'attention_bias' is true"},
        {"attention in both directions", [](checkpoint& c) { c.add(R"("use_bidirectional_attention": true)"); },
         errc::unsupported_architecture, "'use_bidirectional_attention'"},
        {"capped logits", [](checkpoint& c) { c.add(R"("final_logit_softcapping": 30.0)"); },
         errc::unsupported_architecture, "'final_logit_softcapping'"},
        {"half a rotation", [](checkpoint& c) { c.add(R"("partial_rotary_factor": 0.5)"); },
         errc::unsupported_architecture, "'partial_rotary_factor' is 0.5"},
        {"activations of four bits", [](checkpoint& c) { c.add(R"("input_bits": 4)"); }, errc::unsupported_architecture,
         "'input_bits' is 4"},
        {"another scale of scores", [](checkpoint& c) { c.add(R"("query_pre_attn_scalar": 100)"); },
         errc::unsupported_architecture, "'query_pre_attn_scalar' is 100"},
        {"two rotations", [](checkpoint& c) { c.add(R"("rope_local_base_freq": 10.0)"); },
         errc::unsupported_architecture, "theta 10.0"},
        {"a LLaMA 3.1 rotation without its numbers",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)", R"("rope_scaling": {"rope_type": "llama3", "factor": 8})");
         },
         errc::missing_key, "'low_freq_factor'"},
        {"a LLaMA 3.1 rotation whose two factors are equal",
         [](checkpoint& c) {
             c.change(R"("rope_scaling": null)",
                      R"("rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 4,
                         "high_freq_factor": 4, "original_max_position_embeddings": 8192})");
         },
         errc::out_of_range, "llama3"},
        {"an ordinary LLaMA",
         [](checkpoint& c) {
             c.change("BitNetForCausalLM", "LlamaForCausalLM");
             c.change("relu2", "silu");
             c.change("quantization_config", "_");
         },
         errc::unsupported_architecture, "not a BitNet model"},
        {"a head of its own",
         [](checkpoint& c) {
             set(c, "tie_word_embeddings", "false");
             auto head = c.tensor("model.embed_tokens.weight");
             head.name = "lm_head.weight";
             c.tensors.push_back(head);
         },
         errc::unsupported_architecture, "ties the head"},
        {"no head at all", [](checkpoint& c) { set(c, "tie_word_embeddings", "false"); }, errc::missing_tensor,
         "no 'lm_head.weight'"},
    };
    check_rows(rows);
}

TEST_CASE("a tensor of a checkpoint with an unknown name, wrong type or bad scale is a named error") {
    const malformed rows[] = {
        {"a bias",
         [](checkpoint& c) {
             c.tensors.push_back({"model.layers.0.self_attn.q_proj.bias", "F32", {1}, "1234"});
         },
         errc::unsupported_architecture,
         "tensor 'model.layers.0.self_attn.q_proj.bias': the graph of bitnet-b1.58 has no place for this bias"},
        {"a bias that Qwen2 does not have",
         [](checkpoint& c) {
             c.change("BitNetForCausalLM", "Qwen2ForCausalLM");
             c.change("relu2", "silu");
             c.tensors.push_back({"model.layers.0.self_attn.o_proj.bias", "F32", {128}, std::string(512, '\0')});
         },
         errc::unsupported_architecture, "'model.layers.0.self_attn.o_proj.bias': the graph of qwen2 has no place"},
        {"a layer too many",
         [](checkpoint& c) {
             c.tensors.push_back({"model.layers.1.input_layernorm.weight", "F32", {1}, "1234"});
         },
         errc::inconsistent, "'model.layers.1.input_layernorm.weight': a layer beyond the 1"},
        {"the same tensor under two names",
         [](checkpoint& c) {
             c.tensors.push_back({"norm.weight", "F32", {1}, "1234"});
         },
         errc::duplicate_tensor, "'output_norm.weight'"},
        {"the same scale under two names",
         [](checkpoint& c) {
             c.tensors.push_back({"layers.0.self_attn.q_proj.weight_scale", "F32", {1}, "1234"});
         },
         errc::duplicate_tensor, "'blk.0.attn_q.scale'"},
        {"weights in doubles", [](checkpoint& c) { c.tensor(q_weight).type = "I8"; }, errc::unsupported_type,
         "'model.layers.0.self_attn.q_proj.weight': dtype I8"},
        {"an embedding in bytes",
         [](checkpoint& c) {
             c.tensors.push_back({"embed_tokens.weight", "U8", {2}, "12"});
         },
         errc::unsupported_type, "'embed_tokens.weight': dtype U8"},
        {"packed weights in one dimension", [](checkpoint& c) { c.tensor(q_weight).shape = {32 * 128}; },
         errc::unsupported_type, "dtype U8"},
        {"a norm of no elements",
         [](checkpoint& c) {
             c.tensor("model.norm.weight") = {"model.norm.weight", "F32", {0}, ""};
         },
         errc::bad_shape, "'model.norm.weight': shape [0]"},
        {"a norm of three dimensions",
         [](checkpoint& c) {
             c.tensor("model.norm.weight").shape = {1, 1, 128};
         },
         errc::bad_shape, "shape [1, 1, 128]"},
        {"packed weights without a scale", [](checkpoint& c) { c.remove(q_scale); }, errc::missing_tensor,
         "'blk.0.attn_q.weight' has packed weights"},
        {"two scales",
         [](checkpoint& c) {
             c.tensor(q_scale) = {std::string(q_scale), "F32", {2}, "12345678"};
         },
         errc::wrong_shape, "F32 [2], one number"},
        {"a scale in bytes",
         [](checkpoint& c) {
             c.tensor(q_scale) = {std::string(q_scale), "U8", {1}, "1"};
         },
         errc::wrong_shape, "U8 [1], one number"},
        {"a scale that is no number", [](checkpoint& c) { set_scale(c, std::numeric_limits<float>::quiet_NaN()); },
         errc::bad_scale, "bits 2143289344"},
        {"an infinite scale", [](checkpoint& c) { set_scale(c, std::numeric_limits<float>::infinity()); },
         errc::bad_scale, "bits 2139095040"},
        {"a scale of zero", [](checkpoint& c) { set_scale(c, 0.0f); }, errc::bad_scale, "bits 0"},
        {"a negative scale", [](checkpoint& c) { set_scale(c, -1.0f); }, errc::bad_scale, "bits 3212836864"},
        {"a scale whose reciprocal is infinite", [](checkpoint& c) { set_scale(c, 1e-40f); }, errc::bad_scale, "bits"},
    };
    check_rows(rows);
}

TEST_CASE("a folder without the files of a checkpoint is a named error") {
    const temporary_folder folder;
    check_refused(open_folder(folder.path()), errc::file_not_found, "config.json");
    checkpoint::write_file(folder.path(), "config.json", good_checkpoint().config);
    check_refused(open_folder(folder.path()), errc::file_not_found,
                  "neither model.safetensors nor model.safetensors.index.json");
    std::filesystem::create_directory(folder.path("model.safetensors"));
    check_refused(open_folder(folder.path()), errc::not_a_file, "model.safetensors");
    check_refused(model_file::open(folder.path("nothing")), errc::file_not_found, "nothing");
    check_refused(model_file::open(std::string_view("a\0b", 3)), errc::file_not_found, "NUL");
}

TEST_CASE("a truncated safetensors file is refused wherever it ends") {
    const temporary_folder folder;
    const checkpoint good = good_checkpoint();
    good.write(folder.path());
    const std::string whole = bitnet_tests::safetensors_bytes(good.tensors);
    for (std::size_t size = 0; size < whole.size(); size += 997) {
        checkpoint::write_file(folder.path(), "model.safetensors", std::string_view(whole).substr(0, size));
        CHECK_FALSE(open_folder(folder.path()).has_value());
    }
}

TEST_CASE("an index that leads out of the folder or does not fit its files is a named error") {
    struct row {
        const char* name;
        std::string from; ///< in the index
        std::string to;
        errc expected;
        const char* place;
    };
    const std::string first = "\"" + checkpoint::shard_name(0, 2) + "\"";
    const std::string second = "\"" + checkpoint::shard_name(1, 2) + "\"";
    const row rows[] = {
        {"no JSON", "}}", "}", errc::bad_json, "model.safetensors.index.json: line 1"},
        {"no map", "weight_map", "map", errc::wrong_type, "'weight_map' must be an object"},
        {"a number for a file", first, "1", errc::bad_file_name, "'model.embed_tokens.weight', ''"},
        {"a way out", first, "\"../model-1-of-2.safetensors\"", errc::bad_file_name, "'../model-1-of-2.safetensors'"},
        {"an absolute path", first, "\"/etc/passwd\"", errc::bad_file_name, "'/etc/passwd'"},
        {"a way out of Windows", first, R"("..\\secret")", errc::bad_file_name, "'..\\secret'"},
        {"a drive", first, "\"C:secret\"", errc::bad_file_name, "'C:secret'"},
        {"the folder above", first, "\"..\"", errc::bad_file_name, "'..'"},
        {"the folder itself", first, "\".\"", errc::bad_file_name, "'.'"},
        {"a name with NUL", first, R"("a\u0000b")", errc::bad_file_name, "'a\\x00b'"},
        {"no name", first, "\"\"", errc::bad_file_name, "is no plain name"},
        {"a missing shard", first, "\"model-3-of-2.safetensors\"", errc::file_not_found,
         "model.safetensors.index.json: a file that it names: "},
        {"a tensor in the other shard", first, second, errc::inconsistent,
         "'model.embed_tokens.weight': the index does not say"},
        {"a tensor that is nowhere", "\"weight_map\": {", "\"weight_map\": {\"x.weight\": " + first + ", ",
         errc::missing_tensor, "tensor 'x.weight': not in the file"},
        {"a tensor that is not listed", "\"model.embed_tokens.weight\"", "\"x\"", errc::inconsistent,
         "'model.embed_tokens.weight': the index does not say"},
    };
    const checkpoint good = good_checkpoint();
    const temporary_folder pristine;
    good.write_sharded(pristine.path(), 2);
    const auto source = byte_source::open(pristine.path("model.safetensors.index.json"));
    REQUIRE(source);
    const std::string index(bitnet_tests::as_text(source->bytes()));
    REQUIRE(open_folder(pristine.path()).has_value());
    for (const row& broken : rows) {
        CAPTURE(std::string(broken.name));
        const temporary_folder folder;
        good.write_sharded(folder.path(), 2);
        std::string damaged = index;
        REQUIRE(damaged.find(broken.from) != std::string::npos);
        damaged.replace(damaged.find(broken.from), broken.from.size(), broken.to);
        checkpoint::write_file(folder.path(), "model.safetensors.index.json", damaged);
        check_refused(open_folder(folder.path()), broken.expected, broken.place);
    }
}

TEST_CASE("no damaged byte of config.json or of an index makes the reader fail without a message") {
    const checkpoint good = good_checkpoint();
    const temporary_folder folder;
    good.write_sharded(folder.path(), 2);
    for (const char* name : {"config.json", "model.safetensors.index.json"}) {
        std::string text;
        {
            const auto source = byte_source::open(folder.path(name));
            REQUIRE(source);
            text = bitnet_tests::as_text(source->bytes());
        }
        for (std::size_t at = 0; at < text.size(); ++at) {
            for (const unsigned flip : {0x01u, 0x08u, 0x10u, 0x80u}) {
                std::string damaged = text;
                damaged[at] = static_cast<char>(static_cast<unsigned char>(damaged[at]) ^ flip);
                checkpoint::write_file(folder.path(), name, damaged);
                const auto read = open_folder(folder.path());
                CHECK((read.has_value() || read.error().message.starts_with(folder.path())));
            }
        }
        checkpoint::write_file(folder.path(), name, text);
    }
}

TEST_CASE("packed weights are refused as a type of a GGUF file") {
    const auto bytes = bitnet_tests::tiny_model();
    REQUIRE(bytes);
    const std::uint32_t packed = 0xb15801ff;
    gguf_writer writer;
    const std::uint64_t dims[] = {4, 4};
    writer.add_tensor("t", static_cast<tensor_type>(packed), dims, std::as_bytes(std::span("123", 4)));
    const auto written = writer.write_memory();
    REQUIRE_FALSE(written.has_value());
    CHECK(written.error().code == errc::bad_shape);
    gguf_writer other;
    other.add_tensor("t", tensor_type::i8_s, dims, std::as_bytes(std::span("123456789012345", 16)));
    auto file = other.write_memory();
    REQUIRE(file);
    const auto i8_s = static_cast<std::uint32_t>(tensor_type::i8_s);
    for (std::size_t at = 24; at + sizeof packed <= file->size(); ++at) { // after the counts
        if (std::memcmp(file->data() + at, &i8_s, sizeof i8_s) == 0) {
            std::memcpy(file->data() + at, &packed, sizeof packed);
            break;
        }
    }
    const auto read = gguf_file::parse(file->span(), "packed.gguf");
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().code == errc::unsupported_type);
}
