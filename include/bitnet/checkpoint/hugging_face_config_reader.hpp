// SPDX-License-Identifier: MIT
// hugging_face_config::read: config.json of a Hugging Face checkpoint, read strictly and written as GGUF metadata.
#ifndef BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_READER_HPP
#define BITNET_CHECKPOINT_HUGGING_FACE_CONFIG_READER_HPP

#include <bitnet/checkpoint/config_object.hpp>
#include <bitnet/checkpoint/config_without_effect.hpp>
#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/checkpoint/hugging_face_config.hpp>
#include <bitnet/checkpoint/hugging_face_families.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/quantization_config.hpp>
#include <bitnet/checkpoint/rotary_config.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/exponential.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// One reading of a config.json; the first failure stays. Use hugging_face_config::read.
class hugging_face_config_reader {
public:
    hugging_face_config_reader(json_value config, std::string_view name, gguf_writer& out)
        : config_(config, name, failure_), out_(out) {}

    [[nodiscard]] result<hugging_face_config> run() {
        if (const json_type type = config_.value().type(); type != json_type::object) {
            config_.fail(errc::wrong_type, {"the text is a JSON ", name_of(type), ", it must be an object"});
        }
        if (const hugging_face_family* family = read_family(config_, made_.notes)) { // all keys begin with it
            write_family(*family);
            read_quantization(config_, made_);
            read_sizes();
            read_scales();
            rotary_config_reader(config_, out_, made_, head_size_, has_local_attention_).run();
            refuse_what_is_not_computed();
            note_unread();
        }
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    void write_family(const hugging_face_family& family) {
        made_.architecture = family.architecture;
        out_.add("general.architecture", family.architecture);
        out_.add(made_.key("hidden_activation"), name_of(family.function()));
    }

    void read_sizes() {
        out_.add(made_.key("vocab_size"), config_.size("vocab_size"));
        read_context();
        out_.add(made_.key("embedding_length"), config_.size("hidden_size"));
        made_.layers = config_.size("num_hidden_layers");
        out_.add(made_.key("block_count"), static_cast<std::uint32_t>(made_.layers));
        out_.add(made_.key("feed_forward_length"), config_.size("intermediate_size"));
        const std::uint32_t heads = config_.size("num_attention_heads");
        out_.add(made_.key("attention.head_count"), heads);
        out_.add(made_.key("attention.head_count_kv"),
                 config_.find("num_key_value_heads") ? config_.size("num_key_value_heads") : heads);
        if (config_.find("head_dim")) {
            head_size_ = config_.size("head_dim");
            out_.add(made_.key("attention.key_length"), head_size_);
            out_.add(made_.key("attention.value_length"), head_size_);
        } else {
            head_size_ = config_.size("hidden_size") / (std::max)(heads, 1u); // hyper_parameters refuses a remainder
        }
        out_.add(made_.key("attention.layer_norm_rms_epsilon"), static_cast<float>(config_.number("rms_norm_eps")));
    }

    /// Local attention equals global attention as long as the context fits its window.
    void read_context() {
        std::uint32_t context = config_.size("max_position_embeddings");
        const bool knows_windows = made_.is_gemma() || made_.architecture.starts_with("qwen");
        const bool wants_windows = config_.bool_or("use_sliding_window", made_.is_gemma());
        const bool has_local_layers = may_have_local_layers();
        if (knows_windows && config_.find("sliding_window") && wants_windows && has_local_layers) {
            has_local_attention_ = true;
            const std::uint32_t window = config_.size("sliding_window");
            out_.add(made_.key("attention.sliding_window"), window);
            if (window < context) {
                made_.notes.push_back(sentence({"the context ends at ", window, " of its ", context,
                                                " positions, where local attention would begin"}));
                context = window;
            }
        }
        out_.add(made_.key("context_length"), context);
    }

    /// Whether not all layers attend to all positions, as far as the file lists them.
    [[nodiscard]] bool may_have_local_layers() {
        const auto kinds = config_.find("layer_types");
        if (!kinds) {
            return true;
        }
        if (!kinds->is_array()) {
            config_.fail_type("layer_types", "an array", *kinds);
        }
        bool found = false;
        for (const json_value kind : kinds->elements()) {
            const auto name = kind.as_string().value_or("");
            found = found || name == "sliding_attention";
            if (name != "full_attention" && name != "sliding_attention") {
                config_.fail(errc::unsupported_architecture, {"'layer_types' names ", quoted{name},
                                                              "; full_attention and sliding_attention can be run"});
            }
        }
        return found;
    }

    /// MiniCPM's numbers, as the converter of GGUF files makes scales of them; hyper_parameters refuses what is not
    /// above zero.
    void read_scales() {
        if (made_.architecture != "minicpm") {
            return;
        }
        const float root = exact_square_root(static_cast<float>(made_.layers));
        out_.add(made_.key("embedding_scale"), static_cast<float>(config_.number("scale_emb")));
        out_.add(made_.key("residual_scale"), exact_quotient(static_cast<float>(config_.number("scale_depth")), root));
        out_.add(made_.key("logit_scale"), exact_quotient(static_cast<float>(config_.size("hidden_size")),
                                                          static_cast<float>(config_.number("dim_model_base"))));
        if (config_.find("sparse_config")) {
            config_.fail(errc::unsupported_architecture, {"'sparse_config' is set, which cannot be run"});
        }
    }

    /// What would change a result and is not computed here.
    void refuse_what_is_not_computed() {
        if (config_.find("tie_word_embeddings")) {
            made_.tied = config_.bool_or("tie_word_embeddings", false);
        } else if (made_.architecture == "minicpm") {
            made_.tied = true; // the class's own default
        }
        for (const std::string_view flag : {"attention_bias", "mlp_bias", "use_bidirectional_attention"}) {
            const bool is_known = flag == "attention_bias" && made_.may_have_biases();
            if (config_.bool_or(flag, false) && !is_known) {
                config_.fail(errc::unsupported_architecture, {"'", flag, "' is true, which cannot be run"});
            }
        }
        for (const std::string_view cap : {"attn_logit_softcapping", "final_logit_softcapping"}) {
            if (config_.find(cap)) {
                config_.fail(errc::unsupported_architecture, {"'", cap, "' is set, which cannot be run"});
            }
        }
        config_.same_or_missing("partial_rotary_factor", 1);
        config_.same_or_missing("weight_bits", 1);
        config_.same_or_missing("input_bits", 8);
        config_.same_or_missing("query_pre_attn_scalar", head_size_);
    }

    void note_unread() {
        std::vector<std::string_view> unread = config_.unread();
        std::erase_if(unread, [](std::string_view each) { return is_any_of(each, config_without_effect); });
        if (!unread.empty()) {
            made_.notes.push_back(sentence({"members of config.json that are not read: ", listed(unread)}));
        }
    }

    error failure_;
    config_object config_;
    gguf_writer& out_;
    hugging_face_config made_;
    std::uint32_t head_size_ = 0;
    bool has_local_attention_ = false; ///< layers with a window, though it holds the whole context
};

inline result<hugging_face_config> hugging_face_config::read(json_value config, std::string_view name,
                                                             gguf_writer& out) {
    return hugging_face_config_reader(config, name, out).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
