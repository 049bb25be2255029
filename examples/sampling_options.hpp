// SPDX-License-Identifier: MIT
// The options that say how tokens are chosen, for all tools that generate.
#pragma once

#include "options.hpp"

#include <bitnet/run/sampler.hpp>

#include <cstddef>
#include <cstdint>
#include <limits>

namespace tools {

inline void add_sampling(options& all, bitnet::sampler_options& sampling) {
    constexpr std::size_t most_k = std::size_t{1} << 30;
    constexpr std::uint64_t most_seed = std::numeric_limits<std::uint64_t>::max();
    all.number<float>("--temp", "T", sampling.temperature, 0.0f, 1e6f, "temperature; 0 takes the likeliest token");
    all.number<std::size_t>("--top-k", "K", sampling.top_k, 0, most_k, "keep the K likeliest tokens; 0 keeps all");
    all.number<float>("--top-p", "P", sampling.top_p, 0.0f, 1.0f, "keep the fewest that reach this probability");
    all.number<float>("--min-p", "P", sampling.min_p, 0.0f, 1.0f, "keep those with this share of the likeliest");
    all.number<float>("--repeat-penalty", "R", sampling.repeat_penalty, 0.001f, 1000.0f,
                      "makes the last 64 tokens less likely, the prompt's included");
    all.number<std::uint64_t>("--seed", "S", sampling.seed, 0, most_seed, "start of the random numbers");
}

} // namespace tools
