// SPDX-License-Identifier: MIT
// read_quantization: what the quantization_config of a config.json says about ternary weights and their scales.
#ifndef BITNET_CHECKPOINT_QUANTIZATION_CONFIG_HPP
#define BITNET_CHECKPOINT_QUANTIZATION_CONFIG_HPP

#include <bitnet/checkpoint/config_object.hpp>
#include <bitnet/checkpoint/hugging_face_config.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// How weights are read out of codes and scales.
inline void read_linear_class(config_object& quantization, hugging_face_config& made) {
    const bool offline = quantization.bool_or("offline_quantization", false);
    const bool online = quantization.bool_or("online_quantization", false);
    const bool is_first = quantization.find("offline_quantization") || quantization.find("online_quantization");
    const std::string_view usual_mode = online ? "online" : "offline";
    const std::string_view linear = quantization.string_or("linear_class", is_first ? "autobitlinear" : "bitlinear");
    const std::string_view mode = quantization.string_or("quantization_mode", usual_mode);
    if (linear != "bitlinear" && linear != "autobitlinear") {
        quantization.fail(errc::unsupported_architecture,
                          {"'linear_class' is ", quoted{linear}, ", bitlinear and autobitlinear can be read"});
    } else if (mode != "offline" && mode != "online") {
        quantization.fail(errc::unsupported_architecture,
                          {"'quantization_mode' is ", quoted{mode}, ", offline and online can be read"});
    } else if (is_first && (offline == online || linear != "autobitlinear" || mode != usual_mode)) {
        quantization.fail(errc::inconsistent,
                          {"'offline_quantization' is ", (offline ? "true" : "false"), ", 'online_quantization' ",
                           (online ? "true" : "false"), ", 'linear_class' ", linear, " and 'quantization_mode' ", mode,
                           ", which do not fit together"});
    }
    made.online = linear == "autobitlinear" && mode == "online";
    made.divides = linear == "bitlinear";
    made.scale_rule = is_first       ? "offline_quantization"
                      : made.divides ? "linear_class bitlinear"
                                     : "linear_class autobitlinear";
}

/// Linear layers that stay as they are, beside the head.
inline void refuse_unconverted(config_object& quantization) {
    const auto list = quantization.find("modules_to_not_convert");
    if (!list) {
        return;
    }
    if (!list->is_array()) {
        return quantization.fail_type("modules_to_not_convert", "an array", *list);
    }
    for (const json_value module : list->elements()) {
        const auto name = module.as_string().value_or("");
        if (name != "lm_head" && name != "embed_tokens" && name != "model.embed_tokens") {
            quantization.fail(errc::unsupported_architecture, {"'modules_to_not_convert' names ", quoted_name(name),
                                                               "; only lm_head may stay unconverted"});
        }
    }
}

/// transformers' BitLinear divides by weight_scale, its AutoBitLinear multiplies, as did the first revision of
/// 2B-4T, which has the members offline_quantization and online_quantization instead of the class and the mode.
inline void read_quantization(config_object& config, hugging_face_config& made) {
    made.is_bitnet = made.architecture.starts_with("bitnet");
    auto quantization = config.object("quantization_config");
    if (!quantization) {
        return;
    }
    if (const std::string_view method = quantization->string_or("quant_method", ""); method != "bitnet") {
        return config.fail(errc::unsupported_architecture,
                           {"'quant_method' is ", quoted{method}, ", only bitnet can be read"});
    }
    made.is_bitnet = true;
    read_linear_class(*quantization, made);
    made.needs_norm_in = quantization->bool_or("use_rms_norm", false);
    if (quantization->find("rms_norm_eps") && made.needs_norm_in &&
        quantization->number("rms_norm_eps") != config.number("rms_norm_eps")) {
        config.fail(errc::unsupported_architecture,
                    {"the projections' norms have another 'rms_norm_eps' than the layers'"});
    }
    refuse_unconverted(*quantization);
    quantization->refuse_unread("quantization_config");
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
