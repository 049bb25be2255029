// SPDX-License-Identifier: MIT
// The options that say how tokens are chosen, for all tools that generate.
#pragma once

#include "options.hpp"

#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/core/decimal.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/logit_bias.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace tools {

/// What the user says; the file's advice is followed where that is nothing, and the library's defaults where both say
/// nothing.
struct sampling_options {
    bitnet::sampling_advice given;
    bitnet::sampler_options others; ///< what no file advises
    std::vector<bitnet::logit_bias> biases;

    void add_to(options& all) {
        constexpr std::size_t most_k = std::size_t{1} << 30;
        constexpr std::uint64_t most_seed = std::numeric_limits<std::uint64_t>::max();
        const bitnet::sampler_options defaults;
        const auto automatic = [](const auto& value) { return "the file's, else " + spelled(value); };
        all.number<float>("--temp", "T", given.temperature, 0.0f, 1e6f, "temperature; 0 takes the likeliest token",
                          automatic(defaults.temperature));
        all.number<std::size_t>("--top-k", "K", given.top_k, 0, most_k, "keep the K likeliest tokens; 0 keeps all",
                                automatic(defaults.top_k));
        all.number<float>("--top-p", "P", given.top_p, 0.0f, 1.0f, "keep the fewest that reach this probability",
                          automatic(defaults.top_p));
        all.number<float>("--min-p", "P", given.min_p, 0.0f, 1.0f, "keep those with this share of the likeliest",
                          automatic(defaults.min_p));
        all.number<float>("--repeat-penalty", "R", others.repeat_penalty, 0.001f, 1000.0f,
                          "makes the last 64 tokens less likely, the prompt's included");
        all.number<float>("--typical", "P", others.typical_p, 0.0f, 1.0f,
                          "keep the most typical that reach this probability; 1 keeps all");
        all.number<float>("--dry", "M", others.dry_multiplier, 0.0f, 1000.0f,
                          "DRY: what would repeat N tokens or more loses M * B^(their number - N)");
        all.number<float>("--dry-base", "B", others.dry_base, 1.0f, 100.0f, "base of DRY's penalty");
        all.number<std::size_t>("--dry-length", "N", others.dry_allowed_length, 1, most_k,
                                "what DRY lets pass is shorter; tokens with a line end, :, \" or * end it");
        all.number<std::size_t>("--dry-window", "W", others.dry_window, 0, bitnet::sampler::largest_window,
                                "how many of the last tokens DRY looks at");
        all.each(
            "--logit-bias", "ID=V", [this](std::string_view text) { return add_bias(text); },
            "adds V to the logit of token ID, -inf forbids it; can be given again");
        all.number<std::uint64_t>("--seed", "S", others.seed, 0, most_seed, "start of the random numbers");
    }

    [[nodiscard]] bitnet::sampler_options with(const bitnet::sampling_advice& advice) const {
        bitnet::sampler_options made = others;
        const bitnet::sampler_options advised = bitnet::sampler_options::advised_by(advice);
        made.temperature = given.temperature.value_or(advised.temperature);
        made.top_k = given.top_k.value_or(advised.top_k);
        made.top_p = given.top_p.value_or(advised.top_p);
        made.min_p = given.min_p.value_or(advised.min_p);
        made.biases = biases;
        return made;
    }

    /// A sampler for that model, which follows its file's advice.
    [[nodiscard]] bitnet::result<bitnet::sampler> open(const bitnet::any_model& model) const {
        bitnet::sampler_options made = with(model.sampling());
        const auto breakers = made.dry_multiplier > 0 ? breakers_of(model.text()) : std::vector<bitnet::token>{};
        made.dry_breakers = breakers;
        return bitnet::sampler::open(made, model.parameters().vocabulary);
    }

    /// What of the advice is followed, as a sentence; empty if nothing is. Without temperature the rest has no effect.
    [[nodiscard]] std::string followed(const bitnet::sampling_advice& advice) const {
        std::string all;
        const auto add = [&all](std::string_view name, const auto& own, const auto& advised) {
            if (!own && advised) {
                all.append(all.empty() ? "" : ", ").append(name).append(" ").append(spelled(*advised));
            }
        };
        add("temperature", given.temperature, advice.temperature);
        if (with(advice).temperature > 0) {
            add("top-k", given.top_k, advice.top_k);
            add("top-p", given.top_p, advice.top_p);
            add("min-p", given.min_p, advice.min_p);
        }
        return all.empty() ? all : "tokens are chosen as the file advises: " + all;
    }

private:
    /// \return what was expected; empty if that was given
    [[nodiscard]] std::string add_bias(std::string_view text) {
        const std::size_t equals = text.find('=');
        const std::string_view value = equals == text.npos ? std::string_view{} : text.substr(equals + 1);
        bitnet::logit_bias made{0, bitnet::logit_bias::forbidden()};
        const char* const end = text.data() + (text.size() - value.size()) - (equals == text.npos ? 0 : 1);
        const auto id = std::from_chars(text.data(), end, made.id);
        const auto number = bitnet::detail::parse_decimal(value);
        if (id.ec != std::errc{} || id.ptr != end || made.id < 0 || !(number || value == "-inf")) {
            return "a token's id, = and a number or -inf";
        }
        made.bias = number ? static_cast<float>(*number) : made.bias;
        biases.push_back(made);
        return {};
    }

    /// What DRY's author gives as sequence breakers: here all tokens that contain one.
    [[nodiscard]] static std::vector<bitnet::token> breakers_of(const bitnet::tokenizer& text) {
        std::vector<bitnet::token> made;
        for (std::size_t i = 0; i < text.vocabulary_size(); ++i) {
            const auto id = static_cast<bitnet::token>(i);
            if (text.bytes_of(id).find_first_of("\n:\"*") != std::string_view::npos) {
                made.push_back(id);
            }
        }
        return made;
    }

    template <class Number> [[nodiscard]] static std::string spelled(Number value) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", static_cast<double>(value));
        return text;
    }
};

} // namespace tools
