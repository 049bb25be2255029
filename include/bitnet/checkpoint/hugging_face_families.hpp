// SPDX-License-Identifier: MIT
// hugging_face_families: the classes of transformers that can be read, and which one a config.json is of.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_FAMILIES_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_FAMILIES_HPP

#include <bitnet/checkpoint/config_object.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Nullopt for what is not computed here, such as transformers' "gelu", the exact one.
[[nodiscard]] constexpr std::optional<activation_function> activation_of_transformers(std::string_view name) noexcept {
    return name == "gelu" ? std::nullopt : activation_called(name);
}

/// A class of transformers with one activation function, and what GGUF calls it.
struct hugging_face_family {
    std::string_view name;
    std::string_view activation; ///< in the spelling that it is published with
    std::string_view architecture;

    [[nodiscard]] activation_function function() const noexcept { return *activation_of_transformers(activation); }
};

inline constexpr std::array<hugging_face_family, 11> hugging_face_families{{
    {"BitNetForCausalLM", "relu2", "bitnet-b1.58"},
    {"BitNetForCausalLM", "silu", "bitnet"},
    {"BitnetForCausalLM", "relu2", "bitnet-b1.58"},
    {"BitnetForCausalLM", "silu", "bitnet"},
    {"LlamaForCausalLM", "silu", "llama"},
    {"MiniCPMForCausalLM", "silu", "minicpm"},
    {"Qwen2ForCausalLM", "silu", "qwen2"},
    {"Qwen3Model", "silu", "qwen3"},
    {"Qwen3ForCausalLM", "silu", "qwen3"},
    {"Gemma3TextModel", "gelu_pytorch_tanh", "gemma3"},
    {"Gemma3ForCausalLM", "gelu_pytorch_tanh", "gemma3"},
}};

/// The name of the activation function. Gemma's classes have a key of their own for it, and do not look at the
/// other ones'.
[[nodiscard]] inline std::string_view read_activation(config_object& config, std::string_view class_name,
                                                      std::vector<std::string>& notes) {
    const bool is_gemma = class_name.starts_with("Gemma");
    const std::string_view own = is_gemma ? "hidden_activation" : "hidden_act";
    const std::string_view other = is_gemma ? "hidden_act" : "hidden_activation";
    const std::string_view of_other = config.string_or(other, "");
    const std::string_view taken = config.string_or(own, of_other);
    if (config.find(own) && config.find(other) && activation_called(taken) != activation_called(of_other)) {
        notes.push_back(sentence({"'", other, "', ", quoted{of_other}, ", is not used: ", quoted{class_name},
                                  " goes by '", own, "', ", quoted{taken}}));
    }
    return taken;
}

/// The family that `config` names; null if it names none, which is a failure then. What is decided goes to `notes`.
[[nodiscard]] inline const hugging_face_family* read_family(config_object& config, std::vector<std::string>& notes) {
    const auto list = config.need("architectures");
    const auto first = list && list->size() != 0 ? std::optional(*list->elements().begin()) : std::nullopt;
    const auto name = list && list->is_array() && first ? first->as_string() : std::nullopt;
    if (!name) {
        config.fail(errc::wrong_type, {"'architectures' must be an array of strings, the class of the model first"});
        return nullptr;
    }
    const std::string_view activation = read_activation(config, *name, notes);
    std::string known;
    for (const hugging_face_family& row : hugging_face_families) {
        if (row.name == *name && row.function() == activation_of_transformers(activation)) {
            return &row;
        }
        known += row.name == *name ? sentence({known.empty() ? "" : " or ", row.activation}) : "";
    }
    if (known.empty()) {
        config.fail(
            errc::unsupported_architecture,
            {"the class of the model is ", quoted_name(*name),
             "; BitNetForCausalLM, BitnetForCausalLM, LlamaForCausalLM, MiniCPMForCausalLM, "
             "Qwen2ForCausalLM, Qwen3Model, Qwen3ForCausalLM, Gemma3TextModel and Gemma3ForCausalLM can be read"});
    } else {
        config.fail(errc::unsupported_architecture,
                    {"'hidden_act' is ", quoted_name(activation), ", ", *name, " can be run with ", known});
    }
    return nullptr;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
