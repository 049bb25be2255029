// SPDX-License-Identifier: MIT
// The options that say how tokens are chosen, for all tools that generate.
#pragma once

#include "options.hpp"

#include <bitnet/checkpoint/sampling_advice.hpp>
#include <bitnet/run/sampler.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <optional>
#include <string>

namespace tools {

/// What the user says; the file's advice is followed where that is nothing, and the library's defaults where both say
/// nothing.
struct sampling_options {
    bitnet::sampling_advice given;
    bitnet::sampler_options others; ///< what no file advises

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
        all.number<std::uint64_t>("--seed", "S", others.seed, 0, most_seed, "start of the random numbers");
    }

    [[nodiscard]] bitnet::sampler_options with(const bitnet::sampling_advice& advice) const {
        bitnet::sampler_options made = others;
        const bitnet::sampler_options advised = bitnet::sampler_options::advised_by(advice);
        made.temperature = given.temperature.value_or(advised.temperature);
        made.top_k = given.top_k.value_or(advised.top_k);
        made.top_p = given.top_p.value_or(advised.top_p);
        made.min_p = given.min_p.value_or(advised.min_p);
        return made;
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
    template <class Number> [[nodiscard]] static std::string spelled(Number value) {
        char text[32];
        std::snprintf(text, sizeof text, "%g", static_cast<double>(value));
        return text;
    }
};

} // namespace tools
