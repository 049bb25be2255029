// SPDX-License-Identifier: MIT
// How long masks take: every token of a text that a grammar allows is asked for and taken.
#pragma once

#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <span>
#include <vector>

namespace bench {

template <class Work> double microseconds(Work work) {
    const auto start = std::chrono::steady_clock::now();
    work();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
}

/// What this share of the times does not exceed. \pre sorted, and not empty
[[nodiscard]] inline double at_share(std::span<const double> sorted, double share) {
    return sorted[static_cast<std::size_t>(share * static_cast<double>(sorted.size() - 1))];
}

/// Adds the microseconds of the mask in front of each token, up to the first one that is not allowed.
inline void add_mask_times(bitnet::token_constraint& constraint, std::span<const bitnet::token> tokens,
                           std::vector<double>& times) {
    for (const bitnet::token id : tokens) {
        bool is_allowed = false;
        times.push_back(microseconds([&] {
            const auto mask = constraint.allowed();
            is_allowed = mask && mask->contains(id);
        }));
        if (!is_allowed || !constraint.accept(id)) {
            return;
        }
    }
}

} // namespace bench
