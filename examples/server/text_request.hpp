// SPDX-License-Identifier: MIT
// text_request: what /v1/completions and /v1/embeddings were asked, read and checked.
#pragma once

#include "field_reader.hpp"
#include "sampling_fields.hpp"

#include <bitnet/any.hpp>

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace server {

/// A text, or the tokens of one.
using text_or_tokens = std::variant<std::string, std::vector<bitnet::token>>;

struct completion_request {
    std::vector<text_or_tokens> prompts = {};
    sampling_fields sampling = {};
    bool echo = false;
    std::optional<std::size_t> logprobs = {}; ///< how many of the likeliest ones are told, too
};

struct embedding_request {
    std::vector<text_or_tokens> inputs = {};
    bool as_base64 = false;
};

namespace detail {

inline std::optional<std::vector<bitnet::token>> read_tokens(bitnet::json_value list) {
    std::vector<bitnet::token> made;
    for (const bitnet::json_value each : list.elements()) {
        const auto id = each.as_integer<bitnet::token>();
        if (!id) {
            return std::nullopt;
        }
        made.push_back(*id);
    }
    return made;
}

/// A text, a list of texts, a list of tokens, or a list of such lists.
inline std::optional<std::vector<text_or_tokens>> read_texts(bitnet::json_value given) {
    std::vector<text_or_tokens> made;
    if (const auto text = given.as_string()) {
        made.emplace_back(std::string(*text));
        return made;
    }
    if (!given.is_array() || given.size() == 0) {
        return std::nullopt;
    }
    if ((*given.elements().begin()).type() == bitnet::json_type::number) {
        auto tokens = read_tokens(given);
        if (!tokens) {
            return std::nullopt;
        }
        made.emplace_back(*std::move(tokens));
        return made;
    }
    for (const bitnet::json_value each : given.elements()) {
        const auto text = each.as_string();
        auto tokens = each.is_array() ? read_tokens(each) : std::nullopt;
        if (text) {
            made.emplace_back(std::string(*text));
        } else if (tokens) {
            made.emplace_back(*std::move(tokens));
        } else {
            return std::nullopt;
        }
    }
    return made;
}

/// \param most texts
inline std::vector<text_or_tokens> read_texts(field_reader& fields, std::string_view key, std::size_t most) {
    const auto given = fields.find(key);
    auto made = given ? read_texts(*given) : std::nullopt;
    if (!made || made->size() > most) {
        fields.expect(key,
                      "a string, an array of token ids, or an array of 1 to " + std::to_string(most) + " of these");
        return {};
    }
    return *std::move(made);
}

} // namespace detail

inline std::variant<completion_request, api_error> read_completion_request(bitnet::json_value root,
                                                                           const bitnet::sampler_options& defaults) {
    field_reader fields(root);
    completion_request made;
    made.sampling.options = defaults;
    if (!fields.failure()) {
        made.prompts = detail::read_texts(fields, "prompt", 64);
        read_sampling(fields, made.sampling);
        if (!made.sampling.limit) {
            made.sampling.limit = 16; // as OpenAI has it
        }
        made.echo = fields.flag("echo").value_or(false);
        if (const auto likeliest = fields.integer("logprobs", 0, 5)) {
            made.logprobs = static_cast<std::size_t>(*likeliest);
        }
        if (const auto suffix = fields.text("suffix"); suffix && !suffix->empty()) {
            fields.refuse("suffix", "'suffix' is not possible here");
        }
    }
    if (fields.failure()) {
        return *fields.failure();
    }
    return made;
}

/// \param dimensions of the model's embeddings
inline std::variant<embedding_request, api_error> read_embedding_request(bitnet::json_value root,
                                                                         std::size_t dimensions) {
    field_reader fields(root);
    embedding_request made;
    if (!fields.failure()) {
        made.inputs = detail::read_texts(fields, "input", 2048);
        const auto format = fields.text("encoding_format").value_or("float");
        made.as_base64 = format == "base64";
        if (format != "float" && format != "base64") {
            fields.expect("encoding_format", "float or base64");
        }
        const auto asked = fields.integer("dimensions", 1, 1 << 30);
        if (asked && static_cast<std::size_t>(*asked) != dimensions) {
            fields.refuse("dimensions", "'dimensions' is " + std::to_string(*asked) +
                                            ", and this model's embeddings have " + std::to_string(dimensions));
        }
    }
    if (fields.failure()) {
        return *fields.failure();
    }
    return made;
}

} // namespace server
