// SPDX-License-Identifier: MIT
// hyper_parameters: the sizes and constants of a model, read from GGUF metadata and checked.
#ifndef BITNET_CHECKPOINT_HYPER_PARAMETERS_HPP
#define BITNET_CHECKPOINT_HYPER_PARAMETERS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

class gguf_file;

/// The function between the two halves of a gated feed-forward layer.
enum class activation_function {
    relu2, ///< relu(gate)^2 * up: bitnet-b1.58, bitnet-25, and bitnet where it is 2B-4T
    silu,  ///< silu(gate) * up: bitnet, llama, minicpm, qwen2, qwen3
    gelu,  ///< gelu(gate) * up, the tanh form: gemma3
};

[[nodiscard]] constexpr std::string_view name_of(activation_function f) noexcept {
    switch (f) {
    case activation_function::relu2:
        return "relu2";
    case activation_function::silu:
        return "silu";
    case activation_function::gelu:
        break;
    }
    return "gelu";
}

namespace detail {

struct activation_spelling {
    std::string_view name;
    activation_function function;
};

/// How configurations and GGUF files call them. "gelu" is the tanh form in GGUF files; transformers' gelu is not.
inline constexpr activation_spelling activation_spellings[] = {
    {"relu2", activation_function::relu2},
    {"relu_squared", activation_function::relu2},
    {"squared_relu", activation_function::relu2},
    {"relu_sqr", activation_function::relu2},
    {"silu", activation_function::silu},
    {"swish", activation_function::silu},
    {"swiglu", activation_function::silu},
    {"gelu", activation_function::gelu},
    {"geglu", activation_function::gelu},
    {"gelu_pytorch_tanh", activation_function::gelu},
    {"gelu_tanh", activation_function::gelu},
    {"gelu_new", activation_function::gelu},
    {"gelu_fast", activation_function::gelu},
    {"gelu_accurate", activation_function::gelu},
    {"gelu_python_tanh", activation_function::gelu},
};

/// Nullopt for functions that are not computed here.
[[nodiscard]] constexpr std::optional<activation_function> activation_called(std::string_view name) noexcept {
    for (const activation_spelling& each : activation_spellings) {
        if (each.name == name) {
            return each.function;
        }
    }
    return std::nullopt;
}

} // namespace detail

/// Which two columns of a head rotate against each other.
enum class rotary_pairing {
    halves,      ///< j and j + head_size / 2, as in all checkpoints of Hugging Face
    interleaved, ///< 2 j and 2 j + 1: GGUF files of llama and minicpm, whose rows their converter has permuted
};

[[nodiscard]] constexpr std::string_view name_of(rotary_pairing p) noexcept {
    return p == rotary_pairing::halves ? "halves" : "interleaved";
}

/// The largest number of columns of one head. Arrays on the stack of attention and of the KV cache have this size.
inline constexpr std::size_t largest_head_size = 1024;

/// How one vector is made of the states of all tokens; numbered as in GGUF metadata, which has cls (2) and rank (4)
/// too: these are refused.
enum class pooling_type : std::uint8_t {
    none = 0, ///< the model has logits instead
    mean = 1, ///< the mean of all states after the last norm
    last = 3, ///< the last token's state after the last norm
};

[[nodiscard]] constexpr std::string_view name_of(pooling_type p) noexcept {
    return p == pooling_type::mean ? "mean" : p == pooling_type::last ? "last" : "none";
}

namespace detail {

/// What follows from an architecture's name. The rest of the graph follows from the metadata and the tensors.
struct model_family {
    std::string_view architecture;
    activation_function activation; ///< where `<architecture>.hidden_activation` does not say another
    rotary_pairing pairing;
    bool has_sub_norms;    ///< RMSNorms before attn_output and ffn_down, which a file must have; elsewhere they are
                           ///< optional
    bool ties_head;        ///< even if there is an output.weight; otherwise only if there is none
    bool scales_embedding; ///< by sqrt(hidden)
    bool may_have_biases = false; ///< of attn_q, attn_k and attn_v; elsewhere biases are refused
    bool has_scales = false;      ///< keys scale embeddings, both branches of a layer, and logits
};

inline constexpr model_family model_families[] = {
    {"bitnet", activation_function::silu, rotary_pairing::halves, true, true, false},
    {"bitnet-25", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"bitnet-b1.58", activation_function::relu2, rotary_pairing::halves, true, true, false},
    {"llama", activation_function::silu, rotary_pairing::interleaved, false, false, false},
    {"minicpm", activation_function::silu, rotary_pairing::interleaved, false, false, false, false, true},
    {"qwen2", activation_function::silu, rotary_pairing::halves, false, false, false, true},
    {"qwen3", activation_function::silu, rotary_pairing::halves, false, false, false},
    {"gemma3", activation_function::gelu, rotary_pairing::halves, false, false, true},
};

/// What of an architecture is not run, where ternary models have it.
struct foreign_family {
    std::string_view architecture;
    std::string_view what;
};

inline constexpr foreign_family foreign_families[] = {
    {"qwen35", ", which has layers of linear attention, as Ternary Bonsai 2"},
    {"qwen35moe", ", which has layers of linear attention and mixed experts"},
    {"maple", ", which has mixed experts and local attention with a rotation of its own"},
    {"hunyuan-dense", ", which norms heads after their rotation"},
    {"hunyuan-moe", ", which has mixed experts"},
    {"qwen2moe", ", which has mixed experts"},
    {"qwen3moe", ", which has mixed experts"},
    {"minicpm3", ", which has latent attention"},
};

/// Empty for an architecture that nothing is known of.
[[nodiscard]] constexpr std::string_view what_is_not_run(std::string_view architecture) noexcept {
    for (const foreign_family& each : foreign_families) {
        if (each.architecture == architecture) {
            return each.what;
        }
    }
    return {};
}

} // namespace detail

/// Sizes are counts of elements. All are checked: nothing that follows can divide by zero, overflow or be absurdly
/// large.
struct hyper_parameters {
    std::string architecture; ///< general.architecture, one of model_families
    std::string model_name;   ///< general.name; may be empty
    std::size_t layers = 0;
    std::size_t hidden = 0;       ///< columns of the residual stream
    std::size_t feed_forward = 0; ///< columns between ffn_up and ffn_down
    std::size_t heads = 0;
    std::size_t kv_heads = 0;  ///< heads / kv_heads query heads share one key and value head
    std::size_t head_size = 0; ///< columns of one head
    std::size_t vocabulary = 0;
    std::size_t context = 0; ///< positions the model was trained for
    float rms_epsilon = 0;
    float rope_theta = 0;
    float rope_factor = 1;                  ///< linear scaling: angles are divided by it
    std::vector<double> rope_divisors;      ///< and by these, pair by pair (rope_freqs.weight, YaRN, longrope's short
                                            ///< factors); empty: by 1
    std::vector<double> rope_long_divisors; ///< instead of them in sessions that have room for more than
                                            ///< rope_original_context positions (longrope's long factors); empty: none
    std::size_t rope_original_context = 0;  ///< positions that YaRN and longrope extend; 0: neither
    float rope_magnitude = 1;               ///< what cosines and sines are multiplied by (YaRN, longrope)
    rotary_pairing pairing = rotary_pairing::halves;
    bool keeps_row_order = false; ///< rows of Q and K are not permuted, as GGUF files of the architecture have them
    activation_function activation = activation_function::relu2;
    float embedding_scale = 1;                 ///< what looked up embeddings are multiplied by
    float residual_scale = 1;                  ///< and what the two branches of a layer are before x takes them
    float logit_scale = 1;                     ///< what the products of the head are divided by
    bool has_sub_norms = true;                 ///< as in model_family
    bool has_qkv_biases = false;               ///< attn_q, attn_k and attn_v have biases, in every layer
    bool has_own_lm_head = false;              ///< the head is output.weight; otherwise the embedding
    bool is_embedder = false;                  ///< a text embedding model, trained without a head: it has no logits
    pooling_type pooling = pooling_type::none; ///< of a text embedding model; `mean` if its file does not say

    std::vector<std::string> notes; ///< what was inferred, and what of the file has no place in the graph

    [[nodiscard]] std::size_t query_columns() const noexcept { return heads * head_size; }
    [[nodiscard]] std::size_t kv_columns() const noexcept { return kv_heads * head_size; }
    [[nodiscard]] std::size_t heads_per_kv() const noexcept { return heads / kv_heads; }

    /// The tensor that logits are made with.
    [[nodiscard]] std::string_view lm_head_name() const noexcept {
        return has_own_lm_head ? "output.weight" : "token_embd.weight";
    }

    /// Reads the keys of `file`, and what the names of its tensors show. A key or tensor that changes the graph in a
    /// way that is not implemented is refused, any other that is not read is named in a note. \return
    /// errc::unsupported_architecture, missing_key, wrong_type, out_of_range or inconsistent, naming the file, the key
    /// and both numbers.
    [[nodiscard]] static inline result<hyper_parameters> read(const gguf_file& file);
};

} // namespace bitnet::inline BITNET_ABI

#endif
