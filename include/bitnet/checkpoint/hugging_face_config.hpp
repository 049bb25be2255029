// SPDX-License-Identifier: MIT
// config.json of a Hugging Face checkpoint, read strictly and written as GGUF metadata.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_HPP

#include <bitnet/checkpoint/context_extension.hpp>
#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/simd/rotary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The rotary scaling of LLaMA 3.1: long wavelengths are stretched by `factor`, short ones are kept.
struct llama3_rotary_scaling {
    double factor = 8;
    double low = 1;        ///< turns within the original context below which a frequency is divided by `factor`
    double high = 4;       ///< turns above which it is kept; in between lies a blend
    double context = 8192; ///< positions of the original context
};

} // namespace bitnet::inline BITNET_ABI::detail

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// What GGUF files hold as rope_freqs.weight: the divisor of every frequency theta^(-2 j / head_size).
/// From integer phases as in rotary_frequencies, so that it is the same everywhere.
/// \pre 1 <= theta < 2^126, low != high
[[nodiscard]] inline std::vector<float> llama3_rotary_divisors(float theta, std::size_t head_size,
                                                               const llama3_rotary_scaling& scaling) {
    constexpr std::uint64_t log2_of_2pi = 0x54d90e6931bbeebu; // * 2^57
    const std::uint64_t step = log2_fixed(theta) / head_size;
    std::vector<float> divisors(head_size / 2);
    for (std::size_t j = 0; j < divisors.size(); ++j) {
        const auto turns = static_cast<double>(exp2_negative_fixed(log2_of_2pi + step * 2 * j)) * 0x1p-64;
        const double within = turns * scaling.context;
        const double blend = (within - scaling.low) / (scaling.high - scaling.low);
        const double kept = blend < 0 ? 0 : blend > 1 ? 1 : blend;
        divisors[j] = static_cast<float>(1.0 / ((1.0 - kept) / scaling.factor + kept));
    }
    return divisors;
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

namespace bitnet::inline BITNET_ABI::detail {

/// An object of config.json that knows which of its members were asked for.
class config_object {
public:
    explicit config_object(json_value object) : object_(object) {}

    /// The value of `key`; nullopt if it is missing or null. \param key lives as long as this
    [[nodiscard]] std::optional<json_value> find(std::string_view key) {
        asked_.push_back(key);
        const auto found = object_.find(key);
        return found && !found->is_null() ? found : std::nullopt;
    }
    [[nodiscard]] json_value value() const noexcept { return object_; }

    /// The members that were not asked for and are not null.
    [[nodiscard]] std::vector<std::string_view> unread() const {
        std::vector<std::string_view> names;
        for (const auto& [name, value] : object_.members()) {
            if (!value.is_null() && std::find(asked_.begin(), asked_.end(), name) == asked_.end()) {
                names.push_back(name);
            }
        }
        return names;
    }

private:
    json_value object_;
    std::vector<std::string_view> asked_;
};

/// Members of config.json that say nothing about the numbers of a forward pass: who made the file and how, training,
/// tokens and sampling, for which there are other files, and what transformers writes of every model.
inline constexpr std::string_view config_without_effect[] = {
    "_name_or_path",
    "_attn_implementation",
    "_attn_implementation_autoset",
    "_commit_hash",
    "model_type",
    "auto_map",
    "transformers_version",
    "unsloth_version",
    "unsloth_fixed",
    "torch_dtype",
    "dtype",
    "use_cache",
    "cache_implementation",
    "initializer_range",
    "attention_dropout",
    "hidden_dropout",
    "hidden_dropout_prob",
    "dropout",
    "embd_pdrop",
    "resid_pdrop",
    "attn_pdrop",
    "pretraining_tp",
    "gradient_checkpointing",
    "tokenizer_class",
    "prefix",
    "bos_token_id",
    "eos_token_id",
    "pad_token_id",
    "unk_token_id",
    "sep_token_id",
    "cls_token_id",
    "mask_token_id",
    "decoder_start_token_id",
    "forced_bos_token_id",
    "forced_eos_token_id",
    "max_window_layers", // of layers with windows, and no context is longer than one
    "sliding_window_pattern",
    "_sliding_window_pattern",
    "chunk_size_feed_forward",
    "cross_attention_hidden_size",
    "add_cross_attention",
    "is_decoder",
    "is_encoder_decoder",
    "tie_encoder_decoder",
    "pruned_heads",
    "return_dict",
    "return_dict_in_generate",
    "output_attentions",
    "output_hidden_states",
    "output_scores",
    "torchscript",
    "tf_legacy_loss",
    "use_bfloat16",
    "finetuning_task",
    "problem_type",
    "task_specific_params",
    "id2label",
    "label2id",
    "num_labels",
    "do_sample",
    "temperature",
    "top_k",
    "top_p",
    "typical_p",
    "num_beams",
    "num_beam_groups",
    "num_return_sequences",
    "diversity_penalty",
    "repetition_penalty",
    "length_penalty",
    "exponential_decay_length_penalty",
    "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size",
    "bad_words_ids",
    "suppress_tokens",
    "begin_suppress_tokens",
    "remove_invalid_values",
    "early_stopping",
    "min_length",
    "max_length",
};

/// What config.json says about how to read the tensors.
struct hugging_face_config {
    std::string_view architecture; ///< as general.architecture calls it
    std::size_t layers = 0;
    bool is_bitnet = false; ///< declares that its linear layers are ternary
    bool online = false;    ///< ternarised while it runs: the weights are masters
    bool divides = false;   ///< weight = code / weight_scale, otherwise code * weight_scale
    std::string_view scale_rule = "no quantization_config"; ///< what `divides` follows from
    bool needs_norm_in = false;                             ///< a norm in front of every projection
    std::optional<bool> tied;                               ///< whether the embedding is the head
    std::vector<float> rotary_divisors;                     ///< empty but for rope_type llama3
    std::vector<float> long_factors;                        ///< empty but for rope_type longrope
    std::vector<float> short_factors;
    std::vector<std::string> notes; ///< what was decided, one sentence each

    /// Gemma's norms multiply by 1 + weight.
    [[nodiscard]] bool is_gemma() const noexcept { return architecture == "gemma3"; }
    /// Qwen2's class has biases of the query, key and value projections, whatever its configuration says.
    [[nodiscard]] bool may_have_biases() const noexcept { return architecture == "qwen2"; }

    /// Reads `config`, the root of config.json, and adds the metadata keys of hyper_parameters to `out`. `name` is what
    /// error messages call the file. What would change a result is refused, and other members that nothing reads are
    /// named in a note; those of quantization_config and of scaled rotations are refused, too.
    /// \return errc::missing_key, wrong_type, out_of_range, inconsistent or unsupported_architecture, naming the key.
    [[nodiscard]] static result<hugging_face_config> read(json_value config, std::string_view name, gguf_writer& out);
};

/// One reading of a config.json; the first failure stays. Use hugging_face_config::read.
class hugging_face_config_reader {
public:
    hugging_face_config_reader(json_value config, std::string_view name, gguf_writer& out)
        : config_(config), name_(name), out_(out) {}

    [[nodiscard]] result<hugging_face_config> run() {
        if (!config_.value().is_object()) {
            fail(errc::wrong_type, {"the text is a JSON ", name_of(config_.value().type()), ", it must be an object"});
        }
        read_architecture();
        if (failure_.code == errc{}) { // all keys begin with the architecture
            read_quantization();
            read_sizes();
            read_scales();
            read_rotary();
            refuse_what_is_not_computed();
            note_unread();
        }
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    /// A class of transformers with one activation function, and what GGUF calls it.
    struct family {
        std::string_view name;
        std::string_view activation; ///< in the spelling that it is published with
        std::string_view architecture;
    };
    static constexpr std::array<family, 11> families{{
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
    static constexpr std::uint64_t most_head_size = 1u << 16; // only bounds a table; hyper_parameters has the real cap

    void fail(errc code, sentence_parts what) {
        if (failure_.code == errc{}) {
            failure_ = {code, sentence({name_, ": ", sentence(what)})};
        }
    }

    [[nodiscard]] std::optional<json_value> find(std::string_view key) { return config_.find(key); }

    [[nodiscard]] std::optional<json_value> need(config_object& object, std::string_view key) {
        const auto found = object.find(key);
        if (!found) {
            fail(errc::missing_key, {"there is no ", quoted_name(key)});
        }
        return found;
    }
    void fail_type(std::string_view key, std::string_view wanted, json_value found) {
        fail(errc::wrong_type, {quoted_name(key), " is a JSON ", name_of(found.type()), ", ", wanted, " is needed"});
    }

    [[nodiscard]] std::string_view string_or(config_object& object, std::string_view key, std::string_view fallback) {
        const auto value = object.find(key);
        if (value && !value->as_string()) {
            fail_type(key, "a string", *value);
        }
        return value ? value->as_string().value_or(fallback) : fallback;
    }
    [[nodiscard]] bool bool_or(config_object& object, std::string_view key, bool fallback) {
        const auto value = object.find(key);
        if (value && !value->as_bool()) {
            fail_type(key, "true or false", *value);
        }
        return value ? value->as_bool().value_or(fallback) : fallback;
    }
    /// A whole number that fits the u32 of GGUF; 1 after a failure, so that reading can go on.
    [[nodiscard]] std::uint32_t size(std::string_view key) {
        const auto value = need(config_, key);
        const auto number = value ? value->as_integer<std::uint32_t>() : std::nullopt;
        if (value && !number) {
            fail_type(key, "a whole number below 2^32", *value);
        }
        return number.value_or(1);
    }
    /// A number that a float can hold. A finite double: JSON has no others.
    [[nodiscard]] double number(config_object& object, std::string_view key) {
        constexpr double largest = 0x1.fffffep127;
        const auto value = need(object, key);
        const auto found = value ? value->as_double() : std::nullopt;
        if (value && !found) {
            fail_type(key, "a finite number", *value);
        } else if (found && (*found > largest || *found < -largest)) {
            fail(errc::out_of_range, {quoted_name(key), " is beyond what a float can hold"});
        }
        return found.value_or(1.0);
    }

    [[nodiscard]] std::string key(std::string_view suffix) const { return sentence({made_.architecture, ".", suffix}); }

    /// Nullopt for what is not computed here, such as transformers' "gelu", the exact one.
    [[nodiscard]] static std::optional<activation_function> function_of(std::string_view name) noexcept {
        return name == "gelu" ? std::nullopt : activation_called(name);
    }

    /// The name of the activation function. Gemma's classes have a key of their own for it, and do not look at the
    /// other ones'.
    [[nodiscard]] std::string_view read_activation(std::string_view class_name) {
        const bool is_gemma = class_name.starts_with("Gemma");
        const std::string_view own = is_gemma ? "hidden_activation" : "hidden_act";
        const std::string_view other = is_gemma ? "hidden_act" : "hidden_activation";
        const std::string_view of_other = string_or(config_, other, "");
        const std::string_view taken = string_or(config_, own, of_other);
        if (find(own) && find(other) && activation_called(taken) != activation_called(of_other)) {
            made_.notes.push_back(sentence({"'", other, "', ", quoted{of_other}, ", is not used: ", quoted{class_name},
                                            " goes by '", own, "', ", quoted{taken}}));
        }
        return taken;
    }

    void read_architecture() {
        const auto list = need(config_, "architectures");
        const auto first = list && list->size() != 0 ? std::optional(*list->elements().begin()) : std::nullopt;
        const auto name = list && list->is_array() && first ? first->as_string() : std::nullopt;
        if (!name) {
            fail(errc::wrong_type, {"'architectures' must be an array of strings, the class of the model first"});
            return;
        }
        const std::string_view activation = read_activation(*name);
        std::string known;
        for (const family& row : families) {
            if (row.name == *name && function_of(row.activation) == function_of(activation)) {
                made_.architecture = row.architecture;
                out_.add("general.architecture", row.architecture);
                out_.add(key("hidden_activation"), name_of(*function_of(row.activation)));
                return;
            }
            known += row.name == *name ? sentence({known.empty() ? "" : " or ", row.activation}) : "";
        }
        if (known.empty()) {
            fail(errc::unsupported_architecture,
                 {"the class of the model is ", quoted_name(*name),
                  "; BitNetForCausalLM, BitnetForCausalLM, LlamaForCausalLM, MiniCPMForCausalLM, "
                  "Qwen2ForCausalLM, Qwen3Model, Qwen3ForCausalLM, Gemma3TextModel and Gemma3ForCausalLM can be read"});
        } else {
            fail(errc::unsupported_architecture,
                 {"'hidden_act' is ", quoted_name(activation), ", ", *name, " can be run with ", known});
        }
    }

    /// transformers' BitLinear divides by weight_scale, its AutoBitLinear multiplies, as did the first revision of
    /// 2B-4T, which has the members offline_quantization and online_quantization instead of the class and the mode.
    void read_quantization() {
        made_.is_bitnet = made_.architecture.starts_with("bitnet");
        const auto found = find("quantization_config");
        if (!found) {
            return;
        }
        config_object quantization(*found);
        if (!found->is_object()) {
            return fail_type("quantization_config", "an object", *found);
        }
        if (const std::string_view method = string_or(quantization, "quant_method", ""); method != "bitnet") {
            return fail(errc::unsupported_architecture,
                        {"'quant_method' is ", quoted{method}, ", only bitnet can be read"});
        }
        made_.is_bitnet = true;
        read_linear_class(quantization);
        made_.needs_norm_in = bool_or(quantization, "use_rms_norm", false);
        if (quantization.find("rms_norm_eps") && made_.needs_norm_in &&
            number(quantization, "rms_norm_eps") != number(config_, "rms_norm_eps")) {
            fail(errc::unsupported_architecture,
                 {"the projections' norms have another 'rms_norm_eps' than the layers'"});
        }
        refuse_unconverted(quantization);
        refuse_unread(quantization, "quantization_config");
    }

    void read_linear_class(config_object& quantization) {
        const bool offline = bool_or(quantization, "offline_quantization", false);
        const bool online = bool_or(quantization, "online_quantization", false);
        const bool is_first = quantization.find("offline_quantization") || quantization.find("online_quantization");
        const std::string_view usual_mode = online ? "online" : "offline";
        const std::string_view linear =
            string_or(quantization, "linear_class", is_first ? "autobitlinear" : "bitlinear");
        const std::string_view mode = string_or(quantization, "quantization_mode", usual_mode);
        if (linear != "bitlinear" && linear != "autobitlinear") {
            fail(errc::unsupported_architecture,
                 {"'linear_class' is ", quoted{linear}, ", bitlinear and autobitlinear can be read"});
        } else if (mode != "offline" && mode != "online") {
            fail(errc::unsupported_architecture,
                 {"'quantization_mode' is ", quoted{mode}, ", offline and online can be read"});
        } else if (is_first && (offline == online || linear != "autobitlinear" || mode != usual_mode)) {
            fail(errc::inconsistent, {"'offline_quantization' is ", (offline ? "true" : "false"),
                                      ", 'online_quantization' ", (online ? "true" : "false"), ", 'linear_class' ",
                                      linear, " and 'quantization_mode' ", mode, ", which do not fit together"});
        }
        made_.online = linear == "autobitlinear" && mode == "online";
        made_.divides = linear == "bitlinear";
        made_.scale_rule = is_first        ? "offline_quantization"
                           : made_.divides ? "linear_class bitlinear"
                                           : "linear_class autobitlinear";
    }

    /// Linear layers that stay as they are, beside the head.
    void refuse_unconverted(config_object& quantization) {
        const auto list = quantization.find("modules_to_not_convert");
        if (!list) {
            return;
        }
        if (!list->is_array()) {
            return fail_type("modules_to_not_convert", "an array", *list);
        }
        for (const json_value module : list->elements()) {
            const auto name = module.as_string().value_or("");
            if (name != "lm_head" && name != "embed_tokens" && name != "model.embed_tokens") {
                fail(errc::unsupported_architecture,
                     {"'modules_to_not_convert' names ", quoted_name(name), "; only lm_head may stay unconverted"});
            }
        }
    }

    void refuse_unread(const config_object& object, std::string_view name) {
        if (const auto unread = object.unread(); !unread.empty()) {
            fail(errc::unsupported_architecture, {"'", name, "' has members that are not known: ", listed(unread)});
        }
    }

    void note_unread() {
        std::vector<std::string_view> unread = config_.unread();
        std::erase_if(unread, [](std::string_view each) { return is_any_of(each, config_without_effect); });
        if (!unread.empty()) {
            made_.notes.push_back(sentence({"members of config.json that are not read: ", listed(unread)}));
        }
    }

    /// Local attention equals global attention as long as the context fits its window.
    void read_context() {
        std::uint32_t context = size("max_position_embeddings");
        const bool knows_windows = made_.is_gemma() || made_.architecture.starts_with("qwen");
        const bool wants_windows = bool_or(config_, "use_sliding_window", made_.is_gemma());
        const bool has_local_layers = may_have_local_layers();
        if (knows_windows && find("sliding_window") && wants_windows && has_local_layers) {
            has_local_attention_ = true;
            const std::uint32_t window = size("sliding_window");
            out_.add(key("attention.sliding_window"), window);
            if (window < context) {
                made_.notes.push_back(sentence({"the context ends at ", window, " of its ", context,
                                                " positions, where local attention would begin"}));
                context = window;
            }
        }
        out_.add(key("context_length"), context);
    }

    /// Whether not all layers attend to all positions, as far as the file lists them.
    [[nodiscard]] bool may_have_local_layers() {
        const auto kinds = find("layer_types");
        if (!kinds) {
            return true;
        }
        if (!kinds->is_array()) {
            fail_type("layer_types", "an array", *kinds);
        }
        bool found = false;
        for (const json_value kind : kinds->elements()) {
            const auto name = kind.as_string().value_or("");
            found = found || name == "sliding_attention";
            if (name != "full_attention" && name != "sliding_attention") {
                fail(errc::unsupported_architecture,
                     {"'layer_types' names ", quoted{name}, "; full_attention and sliding_attention can be run"});
            }
        }
        return found;
    }

    void read_sizes() {
        out_.add(key("vocab_size"), size("vocab_size"));
        read_context();
        out_.add(key("embedding_length"), size("hidden_size"));
        made_.layers = size("num_hidden_layers");
        out_.add(key("block_count"), static_cast<std::uint32_t>(made_.layers));
        out_.add(key("feed_forward_length"), size("intermediate_size"));
        const std::uint32_t heads = size("num_attention_heads");
        out_.add(key("attention.head_count"), heads);
        out_.add(key("attention.head_count_kv"), find("num_key_value_heads") ? size("num_key_value_heads") : heads);
        if (find("head_dim")) {
            head_size_ = size("head_dim");
            out_.add(key("attention.key_length"), head_size_);
            out_.add(key("attention.value_length"), head_size_);
        } else {
            head_size_ = size("hidden_size") / (std::max)(heads, 1u); // hyper_parameters refuses a remainder
        }
        out_.add(key("attention.layer_norm_rms_epsilon"), static_cast<float>(number(config_, "rms_norm_eps")));
    }

    /// MiniCPM's numbers, as the converter of GGUF files makes scales of them; hyper_parameters refuses what is not
    /// above zero.
    void read_scales() {
        if (made_.architecture != "minicpm") {
            return;
        }
        const float root = exact_square_root(static_cast<float>(made_.layers));
        out_.add(key("embedding_scale"), static_cast<float>(number(config_, "scale_emb")));
        out_.add(key("residual_scale"), exact_quotient(static_cast<float>(number(config_, "scale_depth")), root));
        out_.add(key("logit_scale"), exact_quotient(static_cast<float>(size("hidden_size")),
                                                    static_cast<float>(number(config_, "dim_model_base"))));
        if (find("sparse_config")) {
            fail(errc::unsupported_architecture, {"'sparse_config' is set, which cannot be run"});
        }
    }

    /// Where the rotary embedding is described: rope_parameters since transformers 5, one for each kind of attention in
    /// Gemma, the top level and rope_scaling before.
    void read_rotary() {
        out_.add("bitnet_hpp.rotary", "halves"); // rows are not permuted here as converters do for LLaMA
        const auto parameters = object_called("rope_parameters");
        auto scaling = object_called("rope_scaling");
        if (parameters && scaling) {
            fail(errc::inconsistent, {"there are both 'rope_parameters' and 'rope_scaling'"});
        } else if (parameters) {
            read_rope_parameters(*parameters);
        } else {
            read_theta(config_);
            if (scaling) {
                read_rotary_scaling(*scaling, "rope_scaling");
            }
            read_local_theta();
        }
    }

    /// The object `key`; nullopt if it is missing, null or, after a failure, of another type.
    [[nodiscard]] std::optional<config_object> object_called(std::string_view key) {
        const auto found = find(key);
        if (found && !found->is_object()) {
            fail_type(key, "an object", *found);
        }
        return found && found->is_object() ? std::optional(config_object(*found)) : std::nullopt;
    }

    void read_rope_parameters(config_object parameters) {
        const auto global = parameters.find("full_attention");
        const auto local = parameters.find("sliding_attention");
        if (!global) {
            read_theta(parameters);
            read_rotary_scaling(parameters, "rope_parameters");
            return read_local_theta();
        }
        refuse_unread(parameters, "rope_parameters");
        config_object of_all(*global);
        read_theta(of_all);
        read_rotary_scaling(of_all, "full_attention");
        if (local) {
            config_object of_near(*local);
            refuse_second_rotation(number(of_near, "rope_theta"));
            if (string_or(of_near, "rope_type", "default") != "default") {
                fail(errc::unsupported_architecture, {"'sliding_attention' has a scaled rotation of its own"});
            }
            refuse_unread(of_near, "sliding_attention");
        } else {
            read_local_theta();
        }
    }

    void read_theta(config_object& object) {
        theta_ = static_cast<float>(number(object, "rope_theta"));
        out_.add(key("rope.freq_base"), theta_);
    }

    /// Gemma's local layers have a theta of their own, 10000 if the file says none.
    void read_local_theta() {
        if (find("rope_local_base_freq")) {
            refuse_second_rotation(number(config_, "rope_local_base_freq"));
        } else if (made_.is_gemma() && has_local_attention_) {
            refuse_second_rotation(10000);
        }
    }

    /// Local layers, where there are any, rotate with `theta`, never scaled.
    void refuse_second_rotation(double theta) {
        if (static_cast<float>(theta) != theta_) {
            fail(errc::unsupported_architecture,
                 {"local attention rotates with theta ", std::to_string(theta), ", global attention with ",
                  std::to_string(theta_), "; only one rotation for all layers can be run"});
        } else if (has_local_attention_ && scales_rotation_) {
            fail(errc::unsupported_architecture, {"the rotation of global attention is scaled, that of local attention "
                                                  "is not; only one rotation for all layers can be run"});
        } else if (has_local_attention_) {
            out_.add(key("rope.freq_base_swa"), theta_);
        }
    }

    /// \param name what error messages call `scaling`
    void read_rotary_scaling(config_object& scaling, std::string_view name) {
        const std::string_view old_type = string_or(scaling, "type", "default");
        const std::string_view type = string_or(scaling, "rope_type", old_type);
        if (scaling.find("type") && type != old_type) {
            return fail(errc::inconsistent, {"'rope_type' is ", quoted{type}, ", 'type' is ", quoted{old_type}});
        }
        scales_rotation_ = type != "default";
        same_or_missing(scaling, "partial_rotary_factor", 1);
        if (type == "llama3") {
            read_llama3_scaling(scaling);
        } else if (scales_rotation_) {
            out_.add(key("rope.scaling.type"), type); // hyper_parameters refuses what it does not know
        }
        if (type == "yarn") {
            read_yarn_scaling(scaling);
        } else if (type == "longrope") {
            read_longrope_scaling(scaling);
        } else if (type == "linear" && scaling.find("factor")) {
            out_.add(key("rope.scaling.factor"), static_cast<float>(number(scaling, "factor")));
        }
        constexpr std::string_view known[] = {"default", "llama3", "linear", "yarn", "longrope"};
        if (is_any_of(type, known)) {
            refuse_unread(scaling, name);
        }
    }

    /// attention_factor takes the place of what follows from the factor; in GGUF metadata attn_factor multiplies it.
    void read_yarn_scaling(config_object& scaling) {
        const double factor = number(scaling, "factor");
        out_.add(key("rope.scaling.factor"), static_cast<float>(factor));
        if (const auto original = original_context(scaling)) {
            out_.add(key("rope.scaling.original_context_length"), *original);
        }
        for (const std::string_view beta : {"beta_fast", "beta_slow"}) {
            if (scaling.find(beta)) {
                out_.add(key(sentence({"rope.scaling.yarn_", beta})), static_cast<float>(number(scaling, beta)));
            }
        }
        const bool is_sane = factor >= 1 && factor <= static_cast<double>(rotary_scaling::most);
        if (scaling.find("attention_factor") && is_sane) {
            const yarn_scaling yarn{.factor = factor};
            out_.add(key("rope.scaling.attn_factor"),
                     static_cast<float>(number(scaling, "attention_factor") / yarn.magnitude()));
        }
        if (!bool_or(scaling, "truncate", true)) {
            fail(errc::unsupported_architecture, {"'truncate' is false, which cannot be run"});
        }
    }

    /// The factors become tensors as in GGUF files.
    void read_longrope_scaling(config_object& scaling) {
        const double context = size("max_position_embeddings");
        const double original = original_context(scaling).value_or(size("max_position_embeddings"));
        out_.add(key("rope.scaling.original_context_length"), static_cast<std::uint32_t>(original));
        made_.long_factors = numbers(scaling, "long_factor");
        made_.short_factors = numbers(scaling, "short_factor");
        out_.add(key("rope.scaling.attn_factor"), scaling.find("attention_factor")
                                                      ? static_cast<float>(number(scaling, "attention_factor"))
                                                      : longrope_magnitude(context, (std::max)(original, 1.0)));
        same_or_missing(scaling, "factor", context / (std::max)(original, 1.0));
    }

    /// Beside the scaling, or beside max_position_embeddings.
    [[nodiscard]] std::optional<std::uint32_t> original_context(config_object& scaling) {
        constexpr std::string_view name = "original_max_position_embeddings";
        const auto found = scaling.find(name) ? scaling.find(name) : find(name);
        const auto number = found ? found->as_integer<std::uint32_t>() : std::nullopt;
        if (found && !number) {
            fail_type(name, "a whole number below 2^32", *found);
        }
        return number;
    }

    [[nodiscard]] std::vector<float> numbers(config_object& object, std::string_view key) {
        constexpr double most = 0x1p127; // a float can hold it, and hyper_parameters refuses far less
        std::vector<float> made;
        const auto list = need(object, key);
        if (!list || !list->is_array()) {
            if (list) {
                fail_type(key, "an array", *list);
            }
            return made;
        }
        for (const json_value each : list->elements()) {
            const auto value = each.as_double();
            if (!value) {
                fail_type(key, "an array of numbers", each);
            }
            made.push_back(static_cast<float>(std::clamp(value.value_or(0), -most, most)));
        }
        return made;
    }

    void read_llama3_scaling(config_object& scaling) {
        llama3_rotary_scaling wanted;
        wanted.factor = number(scaling, "factor");
        wanted.low = number(scaling, "low_freq_factor");
        wanted.high = number(scaling, "high_freq_factor");
        wanted.context = number(scaling.find("original_max_position_embeddings") ? scaling : config_,
                                "original_max_position_embeddings");
        const bool sane = wanted.factor >= 1 && wanted.low > 0 && wanted.high > wanted.low && wanted.context >= 1;
        if (!sane || !(theta_ >= 1) || !(theta_ < 0x1p126f) || head_size_ == 0 || head_size_ > most_head_size) {
            fail(errc::out_of_range, {"the rotary scaling llama3 needs factor >= 1, 0 < low_freq_factor < "
                                      "high_freq_factor, original_max_position_embeddings >= 1 and rope_theta >= 1"});
            return;
        }
        made_.rotary_divisors = llama3_rotary_divisors(theta_, head_size_, wanted);
    }

    /// What would change a result and is not computed here.
    void refuse_what_is_not_computed() {
        if (find("tie_word_embeddings")) {
            made_.tied = bool_or(config_, "tie_word_embeddings", false);
        } else if (made_.architecture == "minicpm") {
            made_.tied = true; // the class's own default
        }
        for (const std::string_view flag : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
            const bool is_known = flag == "attention_bias" && made_.may_have_biases();
            if (bool_or(config_, flag, false) && !is_known) {
                fail(errc::unsupported_architecture, {"'", flag, "' is true, which cannot be run"});
            }
        }
        for (const std::string_view cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
            if (find(cap)) {
                fail(errc::unsupported_architecture, {"'", cap, "' is set, which cannot be run"});
            }
        }
        same_or_missing(config_, "partial_rotary_factor", 1);
        same_or_missing(config_, "weight_bits", 1);
        same_or_missing(config_, "input_bits", 8);
        same_or_missing(config_, "query_pre_attn_scalar", head_size_);
    }
    void same_or_missing(config_object& object, std::string_view key, double wanted) {
        if (object.find(key) && number(object, key) != wanted) {
            fail(errc::unsupported_architecture, {"'", key, "' is ", std::to_string(number(object, key)), ", only ",
                                                  std::to_string(wanted), " can be run"});
        }
    }

    config_object config_;
    std::string name_;
    gguf_writer& out_;
    hugging_face_config made_;
    std::uint32_t head_size_ = 0;
    float theta_ = 0;
    bool scales_rotation_ = false;
    bool has_local_attention_ = false; ///< layers with a window, though it holds the whole context
    error failure_;
};

inline result<hugging_face_config> hugging_face_config::read(json_value config, std::string_view name,
                                                             gguf_writer& out) {
    return hugging_face_config_reader(config, name, out).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
