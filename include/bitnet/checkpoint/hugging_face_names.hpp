// SPDX-License-Identifier: MIT
// The names that tensors of Hugging Face checkpoints have in GGUF files.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_NAMES_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_NAMES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI::detail {

/// What a tensor of a checkpoint is to the model.
enum class checkpoint_role {
    unknown, ///< no part of any model that is supported here
    unused,  ///< ignored: recomputed here (inverse rotary frequencies)
    ternary, ///< the weights of one of the seven projections
    scale,   ///< the weight_scale beside them
    norm,    ///< of a layer, a head, or the output
    norm_in, ///< before a projection
    bias,    ///< of a projection
    embedding,
    head,
};

struct checkpoint_name {
    checkpoint_role role = checkpoint_role::unknown;
    std::string gguf;                   ///< empty for unknown and unused tensors
    std::optional<std::uint32_t> layer; ///< of tensors in a layer
};

/// The end of a tensor's name there and here.
struct renamed {
    std::string_view from;
    std::string_view to;
    checkpoint_role role = checkpoint_role::norm;
};

inline constexpr std::array<renamed, 7> projection_names{{
    {"self_attn.q_proj", "attn_q"},
    {"self_attn.k_proj", "attn_k"},
    {"self_attn.v_proj", "attn_v"},
    {"self_attn.o_proj", "attn_output"},
    {"mlp.gate_proj", "ffn_gate"},
    {"mlp.up_proj", "ffn_up"},
    {"mlp.down_proj", "ffn_down"},
}};

/// What follows a projection's name. "norm" is what microsoft/BitNet's embedding models have, "rms_norm" what
/// transformers' BitLinear has.
inline constexpr std::array<renamed, 5> projection_parts{{
    {".weight", ".weight", checkpoint_role::ternary},
    {".weight_scale", ".scale", checkpoint_role::scale},
    {".bias", ".bias", checkpoint_role::bias},
    {".norm.weight", "_norm_in.weight", checkpoint_role::norm_in},
    {".rms_norm.weight", "_norm_in.weight", checkpoint_role::norm_in},
}};

/// The other tensors of a layer. "inner_attn_ln" and "ffn_layernorm" are what 1bitLLM's checkpoints have.
inline constexpr std::array<renamed, 9> layer_names{{
    {"input_layernorm.weight", "attn_norm.weight"},
    {"post_attention_layernorm.weight", "ffn_norm.weight"},
    {"self_attn.attn_sub_norm.weight", "attn_sub_norm.weight"},
    {"self_attn.inner_attn_ln.weight", "attn_sub_norm.weight"},
    {"mlp.ffn_sub_norm.weight", "ffn_sub_norm.weight"},
    {"mlp.ffn_layernorm.weight", "ffn_sub_norm.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"self_attn.rotary_emb.inv_freq", "", checkpoint_role::unused},
}};

/// Gemma 3 has a norm on both sides of attention and of the feed-forward network.
inline constexpr std::array<renamed, 3> gemma_layer_names{{
    {"post_attention_layernorm.weight", "post_attention_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
}};

inline constexpr std::array<renamed, 4> model_names{{
    {"embed_tokens.weight", "token_embd.weight", checkpoint_role::embedding},
    {"norm.weight", "output_norm.weight", checkpoint_role::norm},
    {"lm_head.weight", "output.weight", checkpoint_role::head},
    {"rotary_emb.inv_freq", "", checkpoint_role::unused},
}};

/// The row of `names` for `name`, or null.
template <std::size_t N>
[[nodiscard]] constexpr const renamed* find_renamed(const std::array<renamed, N>& names,
                                                    std::string_view name) noexcept {
    for (const renamed& row : names) {
        if (row.from == name) {
            return &row;
        }
    }
    return nullptr;
}

/// `name` as a tensor of one layer, without "layers.N.".
[[nodiscard]] inline checkpoint_name layer_tensor_name(std::string_view name, std::uint32_t layer, bool gemma) {
    const std::string block = sentence({"blk.", layer, "."});
    for (const renamed& projection : projection_names) {
        if (!name.starts_with(projection.from)) {
            continue;
        }
        if (const renamed* part = find_renamed(projection_parts, name.substr(projection.from.size()))) {
            return {part->role, sentence({block, projection.to, part->to}), layer};
        }
    }
    const renamed* row = gemma ? find_renamed(gemma_layer_names, name) : nullptr;
    row = row == nullptr ? find_renamed(layer_names, name) : row;
    if (row == nullptr) {
        return {checkpoint_role::unknown, {}, layer};
    }
    return {row->role, row->to.empty() ? std::string() : sentence({block, row->to}), layer};
}

/// What the tensor `name` of a checkpoint is: "model.layers.0.self_attn.q_proj.weight" is "blk.0.attn_q.weight". The
/// prefix "model." may be missing. Sources: transformers, and the converters of llama.cpp and microsoft/BitNet.
[[nodiscard]] inline checkpoint_name gguf_name_of(std::string_view name, bool gemma) {
    constexpr std::string_view prefix = "model.";
    constexpr std::string_view layers = "layers.";
    if (name.starts_with(prefix)) {
        name.remove_prefix(prefix.size());
    }
    if (!name.starts_with(layers)) {
        const renamed* row = find_renamed(model_names, name);
        return row != nullptr ? checkpoint_name{row->role, std::string(row->to), {}} : checkpoint_name{};
    }
    name.remove_prefix(layers.size());
    std::uint32_t layer = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), layer);
    const auto digits = static_cast<std::size_t>(read.ptr - name.data());
    const bool canonical = read.ec == std::errc{} && sentence({layer}) == name.substr(0, digits);
    if (!canonical || digits == name.size() || name[digits] != '.') {
        return {};
    }
    return layer_tensor_name(name.substr(digits + 1), layer, gemma);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
