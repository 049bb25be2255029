// SPDX-License-Identifier: MIT
// rotary_config_reader: the rotary embedding that a config.json describes, and its scaling.
#ifndef BITNET_CHECKPOINT_ROTARY_CONFIG_HPP
#define BITNET_CHECKPOINT_ROTARY_CONFIG_HPP

#include <bitnet/checkpoint/config_object.hpp>
#include <bitnet/checkpoint/context_extension.hpp>
#include <bitnet/checkpoint/graph_parts.hpp>
#include <bitnet/checkpoint/hugging_face_config.hpp>
#include <bitnet/checkpoint/llama3_rotary_scaling.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/simd/rotary.hpp>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Writes the rotation as GGUF metadata; what GGUF has tensors for goes to hugging_face_config.
class rotary_config_reader {
public:
    /// Borrows all. \param has_local_attention whether there are layers with a window, though it holds the whole
    /// context
    rotary_config_reader(config_object& config, gguf_writer& out, hugging_face_config& made, std::uint32_t head_size,
                         bool has_local_attention)
        : config_(config), out_(out), made_(made), head_size_(head_size), has_local_attention_(has_local_attention) {}

    /// Where the rotary embedding is described: rope_parameters since transformers 5, one for each kind of attention in
    /// Gemma, the top level and rope_scaling before.
    void run() {
        out_.add("bitnet_hpp.rotary", "halves"); // rows are not permuted here as converters do for LLaMA
        const auto parameters = config_.object("rope_parameters");
        auto scaling = config_.object("rope_scaling");
        if (parameters && scaling) {
            config_.fail(errc::inconsistent, {"there are both 'rope_parameters' and 'rope_scaling'"});
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

private:
    static constexpr std::string_view original_length = "original_max_position_embeddings";
    static constexpr std::uint64_t most_head_size = 1u << 16; // only bounds a table; hyper_parameters has the real cap

    void read_rope_parameters(config_object parameters) {
        const auto global = parameters.find("full_attention");
        const auto local = parameters.find("sliding_attention");
        if (!global) {
            read_theta(parameters);
            read_rotary_scaling(parameters, "rope_parameters");
            return read_local_theta();
        }
        parameters.refuse_unread("rope_parameters");
        config_object of_all = config_.within(*global);
        read_theta(of_all);
        read_rotary_scaling(of_all, "full_attention");
        if (local) {
            config_object of_near = config_.within(*local);
            refuse_second_rotation(of_near.number("rope_theta"));
            if (of_near.string_or("rope_type", "default") != "default") {
                config_.fail(errc::unsupported_architecture, {"'sliding_attention' has a scaled rotation of its own"});
            }
            of_near.refuse_unread("sliding_attention");
        } else {
            read_local_theta();
        }
    }

    void read_theta(config_object& object) {
        theta_ = static_cast<float>(object.number("rope_theta"));
        out_.add(made_.key("rope.freq_base"), theta_);
    }

    /// Gemma's local layers have a theta of their own, 10000 if the file says none.
    void read_local_theta() {
        if (config_.find("rope_local_base_freq")) {
            refuse_second_rotation(config_.number("rope_local_base_freq"));
        } else if (made_.is_gemma() && has_local_attention_) {
            refuse_second_rotation(10000);
        }
    }

    /// Local layers, where there are any, rotate with `theta`, never scaled.
    void refuse_second_rotation(double theta) {
        if (static_cast<float>(theta) != theta_) {
            config_.fail(errc::unsupported_architecture,
                         {"local attention rotates with theta ", std::to_string(theta), ", global attention with ",
                          std::to_string(theta_), "; only one rotation for all layers can be run"});
        } else if (has_local_attention_ && scales_rotation_) {
            config_.fail(errc::unsupported_architecture,
                         {"the rotation of global attention is scaled, that of local attention "
                          "is not; only one rotation for all layers can be run"});
        } else if (has_local_attention_) {
            out_.add(made_.key("rope.freq_base_swa"), theta_);
        }
    }

    /// \param name what error messages call `scaling`
    void read_rotary_scaling(config_object& scaling, std::string_view name) {
        const std::string_view old_type = scaling.string_or("type", "default");
        const std::string_view type = scaling.string_or("rope_type", old_type);
        if (scaling.find("type") && type != old_type) {
            return config_.fail(errc::inconsistent,
                                {"'rope_type' is ", quoted{type}, ", 'type' is ", quoted{old_type}});
        }
        scales_rotation_ = type != "default";
        scaling.same_or_missing("partial_rotary_factor", 1);
        if (type == "llama3") {
            read_llama3_scaling(scaling);
        } else if (scales_rotation_) {
            out_.add(made_.key("rope.scaling.type"), type); // hyper_parameters refuses what it does not know
        }
        if (type == "yarn") {
            read_yarn_scaling(scaling);
        } else if (type == "longrope") {
            read_longrope_scaling(scaling);
        } else if (type == "linear" && scaling.find("factor")) {
            out_.add(made_.key("rope.scaling.factor"), static_cast<float>(scaling.number("factor")));
        }
        constexpr std::string_view known[] = {"default", "llama3", "linear", "yarn", "longrope"};
        if (is_any_of(type, known)) {
            scaling.refuse_unread(name);
        }
    }

    /// attention_factor takes the place of what follows from the factor; in GGUF metadata attn_factor multiplies it.
    void read_yarn_scaling(config_object& scaling) {
        const double factor = scaling.number("factor");
        out_.add(made_.key("rope.scaling.factor"), static_cast<float>(factor));
        if (const auto original = original_context(scaling)) {
            out_.add(made_.key("rope.scaling.original_context_length"), *original);
        }
        for (const std::string_view beta : {"beta_fast", "beta_slow"}) {
            if (scaling.find(beta)) {
                out_.add(made_.key(sentence({"rope.scaling.yarn_", beta})), static_cast<float>(scaling.number(beta)));
            }
        }
        const bool is_sane = factor >= 1 && factor <= static_cast<double>(rotary_scaling::most);
        if (scaling.find("attention_factor") && is_sane) {
            const yarn_scaling yarn{.factor = factor};
            out_.add(made_.key("rope.scaling.attn_factor"),
                     static_cast<float>(scaling.number("attention_factor") / yarn.magnitude()));
        }
        if (!scaling.bool_or("truncate", true)) {
            config_.fail(errc::unsupported_architecture, {"'truncate' is false, which cannot be run"});
        }
    }

    /// The factors become tensors as in GGUF files.
    void read_longrope_scaling(config_object& scaling) {
        const double context = config_.size("max_position_embeddings");
        const double original = original_context(scaling).value_or(config_.size("max_position_embeddings"));
        out_.add(made_.key("rope.scaling.original_context_length"), static_cast<std::uint32_t>(original));
        made_.long_factors = scaling.numbers("long_factor");
        made_.short_factors = scaling.numbers("short_factor");
        out_.add(made_.key("rope.scaling.attn_factor"), scaling.find("attention_factor")
                                                            ? static_cast<float>(scaling.number("attention_factor"))
                                                            : longrope_magnitude(context, (std::max)(original, 1.0)));
        scaling.same_or_missing("factor", context / (std::max)(original, 1.0));
    }

    /// Beside the scaling, or beside max_position_embeddings.
    [[nodiscard]] std::optional<std::uint32_t> original_context(config_object& scaling) {
        const auto found =
            scaling.find(original_length) ? scaling.find(original_length) : config_.find(original_length);
        const auto number = found ? found->as_integer<std::uint32_t>() : std::nullopt;
        if (found && !number) {
            config_.fail_type(original_length, "a whole number below 2^32", *found);
        }
        return number;
    }

    void read_llama3_scaling(config_object& scaling) {
        llama3_rotary_scaling wanted;
        wanted.factor = scaling.number("factor");
        wanted.low = scaling.number("low_freq_factor");
        wanted.high = scaling.number("high_freq_factor");
        wanted.context = (scaling.find(original_length) ? scaling : config_).number(original_length);
        const bool sane = wanted.factor >= 1 && wanted.low > 0 && wanted.high > wanted.low && wanted.context >= 1;
        if (!sane || !(theta_ >= 1) || !(theta_ < 0x1p126f) || head_size_ == 0 || head_size_ > most_head_size) {
            config_.fail(errc::out_of_range,
                         {"the rotary scaling llama3 needs factor >= 1, 0 < low_freq_factor < "
                          "high_freq_factor, original_max_position_embeddings >= 1 and rope_theta >= 1"});
            return;
        }
        made_.rotary_divisors = llama3_rotary_divisors(theta_, head_size_, wanted);
    }

    config_object& config_;
    gguf_writer& out_;
    hugging_face_config& made_;
    std::uint32_t head_size_;
    bool has_local_attention_;
    float theta_ = 0;
    bool scales_rotation_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
