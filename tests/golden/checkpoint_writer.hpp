// SPDX-License-Identifier: MIT
// Writes Hugging Face checkpoints: the numbers of a GGUF model as a folder of config.json and safetensors files.
#pragma once

#include "safetensors_writer.hpp"
#include "tiny_model_writer.hpp"

#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/ternary_tail.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet_tests {

/// How a checkpoint stores its ternary weights.
enum class checkpoint_weights {
    packed,  ///< U8, four rows to a byte, and weight_scale
    masters, ///< F32, each -scale, 0 or +scale
};

/// A checkpoint in memory. Tests change it and write it.
struct checkpoint {
    std::string config;
    std::vector<safetensors_entry> tensors;

    [[nodiscard]] safetensors_entry& tensor(std::string_view name) {
        for (safetensors_entry& entry : tensors) {
            if (entry.name == name) {
                return entry;
            }
        }
        return tensors.emplace_back(safetensors_entry{std::string(name), "F32", {0}, {}});
    }
    void remove(std::string_view name) {
        std::erase_if(tensors, [&](const safetensors_entry& entry) { return entry.name == name; });
    }
    /// Replaces a part of config.json that must be there.
    void change(std::string_view from, std::string_view to) {
        const auto at = config.find(from);
        assert(at != std::string::npos);
        config.replace(at, from.size(), to);
    }
    /// Adds members to config.json: R"("head_dim": 64)".
    void add(std::string_view members) { config.replace(1, 0, std::string(members) + ", "); }

    static void write_file(const std::string& folder, const std::string& name, std::string_view bytes) {
        const std::filesystem::path path = std::u8string(folder.begin(), folder.end());
        std::ofstream(path / name, std::ios::binary) << bytes;
    }

    /// config.json and model.safetensors.
    void write(const std::string& folder) const {
        write_file(folder, "config.json", config);
        write_file(folder, "model.safetensors", safetensors_bytes(tensors));
    }

    /// config.json, model.safetensors.index.json and `shards` files.
    void write_sharded(const std::string& folder, std::size_t shards) const {
        write_file(folder, "config.json", config);
        std::string index;
        for (std::size_t shard = 0; shard < shards; ++shard) {
            const std::string name = shard_name(shard, shards);
            std::vector<safetensors_entry> part;
            for (std::size_t i = shard; i < tensors.size(); i += shards) {
                part.push_back(tensors[i]);
                index += (index.empty() ? "\"" : ", \"") + tensors[i].name + "\": \"" + name + "\"";
            }
            write_file(folder, name, safetensors_bytes(part));
        }
        write_file(folder, "model.safetensors.index.json", R"({"metadata": {}, "weight_map": {)" + index + "}}");
    }
    [[nodiscard]] static std::string shard_name(std::size_t shard, std::size_t shards) {
        return "model-" + std::to_string(shard + 1) + "-of-" + std::to_string(shards) + ".safetensors";
    }
};

/// The name in a checkpoint; empty if checkpoints have no such tensor.
[[nodiscard]] inline std::string checkpoint_name_of(std::string_view gguf, bool gemma) {
    constexpr std::array<std::array<std::string_view, 2>, 3> outside{{
        {"token_embd.weight", "model.embed_tokens.weight"},
        {"output_norm.weight", "model.norm.weight"},
        {"output.weight", "lm_head.weight"},
    }};
    constexpr std::array<std::array<std::string_view, 2>, 7> projections{{
        {"attn_q", "self_attn.q_proj"},
        {"attn_k", "self_attn.k_proj"},
        {"attn_v", "self_attn.v_proj"},
        {"attn_output", "self_attn.o_proj"},
        {"ffn_gate", "mlp.gate_proj"},
        {"ffn_up", "mlp.up_proj"},
        {"ffn_down", "mlp.down_proj"},
    }};
    const std::array<std::array<std::string_view, 2>, 8> norms{{
        {"attn_norm.weight", "input_layernorm.weight"},
        {"attn_sub_norm.weight", "self_attn.attn_sub_norm.weight"},
        {"attn_q_norm.weight", "self_attn.q_norm.weight"},
        {"attn_k_norm.weight", "self_attn.k_norm.weight"},
        {"ffn_norm.weight", gemma ? "pre_feedforward_layernorm.weight" : "post_attention_layernorm.weight"},
        {"ffn_sub_norm.weight", "mlp.ffn_sub_norm.weight"},
        {"post_attention_norm.weight", "post_attention_layernorm.weight"},
        {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
    }};
    for (const auto& [from, to] : outside) {
        if (from == gguf) {
            return std::string(to);
        }
    }
    const auto dot = gguf.find('.', 4);
    if (dot == std::string_view::npos) {
        return {};
    }
    const std::string layer = "model.layers." + std::string(gguf.substr(4, dot - 4)) + ".";
    const std::string rest(gguf.substr(dot + 1));
    for (const auto& [from, to] : norms) {
        if (from == rest) {
            return layer + std::string(to);
        }
    }
    for (const auto& [from, to] : projections) {
        if (rest == std::string(from) + ".weight") {
            return layer + std::string(to) + ".weight";
        }
        if (rest == std::string(from) + "_norm_in.weight") {
            return layer + std::string(to) + ".norm.weight";
        }
        if (rest == std::string(from) + ".bias") {
            return layer + std::string(to) + ".bias";
        }
    }
    return {};
}

/// Code by code, as transformers' pack_weights describes it.
[[nodiscard]] inline std::string packed_codes(const bitnet::gguf_tensor& tensor) {
    const auto rows = static_cast<std::size_t>(tensor.dims[1]);
    const auto cols = static_cast<std::size_t>(tensor.dims[0]);
    const bitnet::i2s::view view{reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), rows, cols};
    std::string packed(rows / 4 * cols, '\0');
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t col = 0; col < cols; ++col) {
            char& byte = packed[row % (rows / 4) * cols + col];
            byte = static_cast<char>(byte | bitnet::i2s::code(view, row, col) << (2 * (row / (rows / 4))));
        }
    }
    return packed;
}

[[nodiscard]] inline std::string master_weights(const bitnet::gguf_tensor& tensor, float scale) {
    const auto rows = static_cast<std::size_t>(tensor.dims[1]);
    const auto cols = static_cast<std::size_t>(tensor.dims[0]);
    const bitnet::i2s::view view{reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), rows, cols};
    std::string weights;
    for (std::size_t i = 0; i < rows * cols; ++i) {
        const float value = static_cast<float>(bitnet::i2s::code(view, i / cols, i % cols) - 1) * scale;
        weights.append(reinterpret_cast<const char*>(&value), sizeof value);
    }
    return weights;
}

/// config.json as its publishers write it. In embedding models nothing says that they are BitNets.
[[nodiscard]] inline std::string config_of(const model_shape& shape, std::size_t vocabulary) {
    const auto member = [](std::string_view key, auto value) {
        return "\"" + std::string(key) + "\": " + std::to_string(value) + ", ";
    };
    constexpr std::array<std::array<std::string_view, 4>, 6> families{{
        {"bitnet-b1.58", "BitNetForCausalLM", "hidden_act", "relu2"},
        {"llama", "LlamaForCausalLM", "hidden_act", "silu"},
        {"minicpm", "MiniCPMForCausalLM", "hidden_act", "silu"},
        {"qwen2", "Qwen2ForCausalLM", "hidden_act", "silu"},
        {"qwen3", "Qwen3Model", "hidden_act", "silu"},
        {"gemma3", "Gemma3TextModel", "hidden_activation", "gelu_pytorch_tanh"},
    }};
    std::string config = "{";
    for (const auto& [architecture, name, key, activation] : families) {
        if (architecture == shape.architecture) {
            config += "\"architectures\": [\"" + std::string(name) + "\"], \"" + std::string(key) + "\": \"" +
                      std::string(activation) + "\", ";
        }
    }
    if (!shape.input_norms) {
        config += R"("quantization_config": {"quant_method": "bitnet", "linear_class": "autobitlinear", )"
                  R"("quantization_mode": "offline"}, )";
    }
    if (shape.heads * shape.head_dim != shape.hidden) {
        config += member("head_dim", shape.head_dim);
    }
    if (shape.architecture == "minicpm") { // those of files without the keys
        config += R"("scale_emb": 12, "scale_depth": 1.4, "dim_model_base": 256, )";
    }
    config += R"("rope_scaling": null, "attention_bias": false, )" + member("num_hidden_layers", shape.layers) +
              member("hidden_size", shape.hidden) + member("intermediate_size", shape.ffn) +
              member("num_attention_heads", shape.heads) + member("num_key_value_heads", shape.kv_heads) +
              member("max_position_embeddings", shape.context) + member("vocab_size", vocabulary) +
              member("rope_theta", shape.theta);
    return config + R"("rms_norm_eps": 1e-05, "tie_word_embeddings": )" + (shape.own_head ? "false}" : "true}");
}

/// Gemma stores its own norms less 1, which is exact for these norms near 1.
inline void subtract_one(safetensors_entry& norm) {
    for (std::size_t i = 0; i < norm.data.size(); i += sizeof(float)) {
        float value = 0;
        std::memcpy(&value, norm.data.data() + i, sizeof value);
        value -= 1.0f;
        std::memcpy(norm.data.data() + i, &value, sizeof value);
    }
}

/// The model in the GGUF file `bytes`, which has that shape and unpermuted rows.
[[nodiscard]] inline checkpoint checkpoint_of(std::span<const std::byte> bytes, const model_shape& shape,
                                              checkpoint_weights weights = checkpoint_weights::packed) {
    const auto file = bitnet::gguf_file::parse(bytes, "test");
    const bool gemma = shape.architecture == "gemma3";
    checkpoint made;
    for (const bitnet::gguf_tensor& tensor : file->tensors()) {
        safetensors_entry entry{checkpoint_name_of(tensor.name, gemma), std::string(name_of(tensor.type)), {}, {}};
        for (std::uint32_t d = tensor.rank; d-- > 0;) {
            entry.shape.push_back(tensor.dims[d]);
        }
        if (tensor.type != bitnet::tensor_type::i2_s) {
            entry.data.assign(reinterpret_cast<const char*>(tensor.bytes.data()), tensor.bytes.size());
            if (gemma && tensor.rank == 1 && tensor.type == bitnet::tensor_type::f32) {
                subtract_one(entry);
            }
            made.tensors.push_back(std::move(entry));
            continue;
        }
        const float scale = *bitnet::detail::scale_of_tail(tensor, "test");
        if (weights == checkpoint_weights::masters) {
            entry.type = "F32";
            entry.data = master_weights(tensor, scale);
            made.tensors.push_back(std::move(entry));
            continue;
        }
        entry.type = "U8";
        entry.shape[0] /= 4;
        entry.data = packed_codes(tensor);
        made.tensors.push_back({entry.name + "_scale", "F32", {1}, std::string(sizeof scale, '\0')});
        std::memcpy(made.tensors.back().data.data(), &scale, sizeof scale);
        made.tensors.push_back(std::move(entry));
    }
    made.config = config_of(shape, static_cast<std::size_t>(file->find_tensor("token_embd.weight")->dims[1]));
    return made;
}

} // namespace bitnet_tests
