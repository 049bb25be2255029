// SPDX-License-Identifier: MIT
// What of a GGUF file has a place in the graph: metadata keys and tensors, by name.
#ifndef BITNET_CHECKPOINT_GRAPH_PARTS_HPP
#define BITNET_CHECKPOINT_GRAPH_PARTS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

namespace bitnet::inline BITNET_ABI::detail {

/// Keys that hyper_parameter_reader reads, after the name of the architecture and a dot. A pattern of sliding windows
/// is among them because windows are refused unless they hold the whole context.
inline constexpr std::string_view read_keys[] = {
    "block_count",
    "embedding_length",
    "embedding_length_out",
    "embedding_scale",
    "feed_forward_length",
    "context_length",
    "vocab_size",
    "hidden_activation",
    "logit_scale",
    "pooling_type",
    "residual_scale",
    "attention.head_count",
    "attention.head_count_kv",
    "attention.key_length",
    "attention.key_length_swa",
    "attention.value_length",
    "attention.value_length_swa",
    "attention.layer_norm_rms_epsilon",
    "attention.scale",
    "attention.query_pre_attn_scalar",
    "attention.causal",
    "attention.sliding_window",
    "attention.sliding_window_pattern",
    "rope.dimension_count",
    "rope.dimension_count_swa",
    "rope.freq_base",
    "rope.freq_base_swa",
    "rope.scale_linear",
    "rope.scaling.type",
    "rope.scaling.factor",
    "rope.scaling.attn_factor",
    "rope.scaling.yarn_ext_factor",
};

/// Keys that are read where YaRN or longrope extends the context.
inline constexpr std::string_view context_extension_keys[] = {
    "rope.scaling.original_context_length",
    "rope.scaling.yarn_beta_fast",
    "rope.scaling.yarn_beta_slow",
};

/// A key that would change the graph, and the two numbers with which it does not. Source: the keys of gguf-py's
/// constants.py and how llama.cpp's loader takes them.
struct neutral_value {
    std::string_view key; ///< after the name of the architecture
    double value;
    double other;
};
inline constexpr neutral_value neutral_values[] = {
    {"expert_count", 0, 0},
    {"expert_used_count", 0, 0},
    {"expert_shared_count", 0, 0},
    {"nextn_predict_layers", 0, 0},
    {"decoder_block_count", 0, 0},
    {"n_deepstack_layers", 0, 0},
    {"hash_layer_count", 0, 0},
    {"num_loops", 0, 1},
    {"attn_logit_softcapping", 0, 0},
    {"final_logit_softcapping", 0, 0},
    {"swin_norm", 0, 0},
    {"norm_before_residual", 0, 0},
    {"use_parallel_residual", 0, 0},
    {"rescale_every_n_layers", 0, 0},
    {"token_shift_count", 0, 0},
    {"full_attention_interval", 0, 1},
    {"activation_sparsity_scale", 0, 0},
    {"swiglu_clamp_exp", 0, 0},
    {"swiglu_clamp_shexp", 0, 0},
    {"altup.num_inputs", 0, 1},
    {"embedding_length_per_layer_input", 0, 0},
    {"adapters.count", 0, 0},
    {"hyper_connection.count", 0, 1},
    {"attn_res.block_size", 0, 0},
    {"attention.max_alibi_bias", 0, 0},
    {"attention.clamp_kqv", 0, 0},
    {"attention.group_norm_groups", 0, 0},
    {"attention.q_lora_rank", 0, 0},
    {"attention.kv_lora_rank", 0, 0},
    {"attention.output_lora_rank", 0, 0},
    {"attention.output_group_count", 0, 1},
    {"attention.relative_buckets_count", 0, 0},
    {"attention.output_scale", 0, 1},
    {"attention.value_scale", 0, 1},
    {"attention.temperature_length", 0, 0},
    {"attention.temperature_scale", 0, 0},
    {"attention.key_length_mla", 0, 0},
    {"attention.value_length_mla", 0, 0},
    {"attention.shared_kv_layers", 0, 0},
    {"attention.compress_ratios", 0, 1},
    {"attention.indexer.top_k", 0, 0},
    {"rope.dimension_sections", 0, 0},
    {"rope.scaling.alpha", 0, 1},
    {"rope.scaling.yarn_log_multiplier", 0, 0},
    {"rope.scaling.truncate", 1, 1},
    {"rope.scaling.yarn_attn_factor", 1, 1},
    {"ssm.conv_kernel", 0, 0},
    {"ssm.state_size", 0, 0},
    {"wkv.head_size", 0, 0},
    {"kda.head_dim", 0, 0},
    {"shortconv.l_cache", 0, 0},
};

[[nodiscard]] inline bool is_any_of(std::string_view wanted, std::span<const std::string_view> list) noexcept {
    return std::find(list.begin(), list.end(), wanted) != list.end();
}

/// Whether `key` of a file of that architecture is read by something, or describes the file to people.
[[nodiscard]] inline bool is_known_key(std::string_view key, std::string_view architecture,
                                       bool extends_context) noexcept {
    if (key.starts_with(architecture) && key.substr(architecture.size()).starts_with('.')) {
        const std::string_view suffix = key.substr(architecture.size() + 1);
        return is_any_of(suffix, read_keys) || (extends_context && is_any_of(suffix, context_extension_keys)) ||
               std::any_of(std::begin(neutral_values), std::end(neutral_values),
                           [suffix](const neutral_value& each) { return each.key == suffix; });
    }
    constexpr std::string_view others[] = {"general.", "tokenizer.", "split.", "quantize.", "imatrix.", "bitnet_hpp."};
    return std::any_of(std::begin(others), std::end(others),
                       [key](std::string_view each) { return key.starts_with(each); });
}

/// What a tensor is to the graph.
enum class tensor_place {
    known,          ///< asked for by name; weight_reader sees whether each norm is
    without_effect, ///< left out: no number of a text depends on it
    foreign,        ///< of another graph: without it the results would be wrong
};

/// The part of "blk.7.attn_q.weight" after the number; empty if the name is another or the number not below `layers`.
[[nodiscard]] inline std::string_view name_in_layer(std::string_view name, std::size_t layers) noexcept {
    constexpr std::string_view prefix = "blk.";
    if (!name.starts_with(prefix)) {
        return {};
    }
    name.remove_prefix(prefix.size());
    std::size_t layer = 0;
    const auto read = std::from_chars(name.data(), name.data() + name.size(), layer);
    const auto digits = static_cast<std::size_t>(read.ptr - name.data());
    const bool is_plain = read.ec == std::errc{} && (digits == 1 || name[0] != '0');
    return is_plain && layer < layers && name.substr(digits).starts_with('.') ? name.substr(digits + 1)
                                                                              : std::string_view{};
}

/// Whether the tensor `name` of a layer, without "blk.N.", is added to what the query, key or value projection gives.
[[nodiscard]] inline bool is_qkv_bias(std::string_view name) noexcept {
    constexpr std::string_view biases[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
    return is_any_of(name, biases);
}

/// The place of the tensor `name` of a layer, without "blk.N.". \param is_lookup whether its ternary tensors are TL1 or
/// TL2, which have their scales beside them under another name \param may_have_biases see model_family
[[nodiscard]] inline tensor_place place_in_layer(std::string_view name, bool is_lookup, bool may_have_biases) noexcept {
    constexpr std::string_view matrices[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                             "ffn_gate", "ffn_up", "ffn_down"};
    constexpr std::string_view norms[] = {
        "attn_norm",           "attn_q_norm_in",      "attn_k_norm_in", "attn_v_norm_in",   "attn_q_norm",
        "attn_k_norm",         "attn_sub_norm",       "ffn_norm",       "ffn_gate_norm_in", "ffn_up_norm_in",
        "attn_output_norm_in", "post_attention_norm", "ffn_sub_norm",   "ffn_down_norm_in", "post_ffw_norm"};
    const std::string_view stem = name.substr(0, name.find('.'));
    const std::string_view part = name.substr(stem.size());
    const bool is_weight = part == ".weight" && (is_any_of(stem, matrices) || is_any_of(stem, norms));
    const bool is_scale = part == (is_lookup ? ".weight_scale" : ".scale") && is_any_of(stem, matrices);
    if (is_weight || is_scale || (may_have_biases && is_qkv_bias(name))) {
        return tensor_place::known;
    }
    // Inverse frequencies of the rotation, which old converters kept, are computed here.
    return stem == "attn_rot_embd" ? tensor_place::without_effect : tensor_place::foreign;
}

/// The place of a tensor outside of the layers. Foreign is what a language model could hold; towers for images and
/// sound are without effect on text, and so is what nothing is known of.
/// \param has_long_factors whether the rotation is scaled by longrope
[[nodiscard]] inline tensor_place place_outside(std::string_view name, bool has_long_factors) noexcept {
    constexpr std::string_view wanted[] = {"token_embd.weight", "output_norm.weight", "output.weight",
                                           "rope_freqs.weight", "token_embd.screen",  "output.screen"};
    constexpr std::string_view factors[] = {"rope_factors_long.weight", "rope_factors_short.weight"};
    constexpr std::string_view towers[] = {"v.", "a.", "mm."};
    constexpr std::string_view signs[] = {"blk.",  "enc.",   "dec.",  "norm",  "bias",  "embd",  "token_types",
                                          "rope",  "scale",  "lora",  "sinks", "_inp",  "exps",  "ssm",
                                          "dense", "output", "shexp", "hc_",   "altup", "nextn", "per_layer"};
    if (is_any_of(name, wanted) || (has_long_factors && is_any_of(name, factors))) {
        return tensor_place::known;
    }
    const bool is_tower = std::any_of(std::begin(towers), std::end(towers),
                                      [name](std::string_view each) { return name.starts_with(each); });
    const bool matters = std::any_of(std::begin(signs), std::end(signs), [name](std::string_view each) {
        return name.find(each) != std::string_view::npos;
    });
    return matters && !is_tower ? tensor_place::foreign : tensor_place::without_effect;
}

/// "'a', 'b' and 17 more".
[[nodiscard]] inline std::string listed(std::span<const std::string_view> names) {
    constexpr std::size_t most = 8;
    std::string made;
    for (const std::string_view name : names.first((std::min)(names.size(), most))) {
        made += sentence({made.empty() ? "" : ", ", quoted{name}});
    }
    return names.size() > most ? sentence({made, " and ", names.size() - most, " more"}) : made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
