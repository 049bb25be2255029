// SPDX-License-Identifier: MIT
// sentence_pooling: how a folder that sentence-transformers wrote makes one vector of many.
#ifndef BITNET_CHECKPOINT_SENTENCE_POOLING_HPP
#define BITNET_CHECKPOINT_SENTENCE_POOLING_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What modules.json and the pooling module's config.json say.
struct sentence_pooling {
    pooling_type type = pooling_type::mean;
    bool includes_prompt = true; ///< tokens of an instruction in front of the text count, too
    std::optional<std::uint64_t> dimension;

    /// The folder of the pooling module that `modules`, the root of modules.json, names; empty if there is none.
    /// Scaling to length one is no matter here, because all embeddings are. \return errc::wrong_type, or
    /// unsupported_architecture for a module that would change the result, such as a dense layer.
    [[nodiscard]] static result<std::string_view> folder(json_value modules, std::string_view name) {
        std::string_view found;
        if (!modules.is_array()) {
            return error{errc::wrong_type, sentence({name, ": the text must be an array of modules"})};
        }
        for (const json_value module : modules.elements()) {
            const auto type = module.find("type");
            const auto path = module.find("path");
            const std::string_view class_name = type ? type->as_string().value_or("") : "";
            const std::string_view kind = class_name.substr(class_name.rfind('.') + 1);
            if (kind == "Pooling") {
                found = path ? path->as_string().value_or("") : "";
            } else if (kind != "Transformer" && kind != "Normalize") {
                return error{errc::unsupported_architecture,
                             sentence({name, ": a module is of type ", quoted_name(class_name),
                                       "; Transformer, Pooling and Normalize can be run"})};
            }
        }
        return found;
    }

    /// Reads `config`, the root of the pooling module's config.json: since sentence-transformers 5 "pooling_mode" has
    /// a name, before each "pooling_mode_..." is true or false. \return errc::wrong_type, or unsupported_architecture
    /// for other pooling than one mean or the last token, naming the file and the mode.
    [[nodiscard]] static result<sentence_pooling> read(json_value config, std::string_view name) {
        sentence_pooling made;
        std::string modes; // the longer spelling, with commas between
        for (const auto& [key, value] : config.members()) {
            constexpr std::string_view prefix = "pooling_mode_";
            const bool is_set = key.starts_with(prefix) && value.as_bool().value_or(false);
            const std::string_view named = key == "pooling_mode" ? value.as_string().value_or("") : "";
            if (is_set || !named.empty()) {
                modes += sentence({modes.empty() ? "" : ", ", is_set ? key.substr(prefix.size()) : named});
            } else if (key == "include_prompt") {
                made.includes_prompt = value.as_bool().value_or(true);
            } else if (key == "word_embedding_dimension" || key == "embedding_dimension") {
                made.dimension = value.as_integer<std::uint64_t>();
            }
        }
        if (modes == "lasttoken") {
            made.type = pooling_type::last;
        } else if (modes != "mean" && modes != "mean_tokens" && modes != "mean_sqrt_len_tokens") { // one direction
            return error{errc::unsupported_architecture,
                         sentence({name, ": the pooling is ", quoted_name(modes), ", mean and lasttoken can be run"})};
        }
        return made;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
