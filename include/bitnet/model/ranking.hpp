// SPDX-License-Identifier: MIT
// The order of logits: the largest first, the lower id on ties, NaN below everything.
#ifndef BITNET_MODEL_RANKING_HPP
#define BITNET_MODEL_RANKING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/token.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A token and the logit it has.
struct scored_token {
    token id;
    float logit;
};

namespace detail {

/// Orders floats as integers, NaN below everything: a strict order whatever the flags of the including program.
[[nodiscard]] inline std::int32_t rank_of(float x) noexcept {
    const auto bits = std::bit_cast<std::int32_t>(x);
    if ((bits & 0x7fffffff) > 0x7f800000) {
        return INT32_MIN;
    }
    return bits < 0 ? -(bits & 0x7fffffff) : bits;
}

/// Whether `a` comes before `b` in a sorted list of logits: a total order of different tokens.
[[nodiscard]] inline bool precedes(float a, token a_id, float b, token b_id) noexcept {
    const std::int32_t x = rank_of(a);
    const std::int32_t y = rank_of(b);
    return x != y ? x > y : a_id < b_id;
}
[[nodiscard]] inline bool precedes(const scored_token& a, const scored_token& b) noexcept {
    return precedes(a.logit, a.id, b.logit, b.id);
}

/// The out.size() first of all `logits`, in order; all if there are fewer. \return how many
[[nodiscard]] inline std::size_t take_largest(std::span<const float> logits, std::span<scored_token> out) noexcept {
    std::size_t count = 0;
    for (std::size_t i = 0; i < logits.size() && !out.empty(); ++i) {
        const scored_token here{static_cast<token>(i), logits[i]};
        if (count == out.size() && !precedes(here, out[count - 1])) {
            continue;
        }
        count += count == out.size() ? 0u : 1u; // one drops out at the end if it is full
        std::size_t at = count - 1;
        for (; at != 0 && precedes(here, out[at - 1]); --at) {
            out[at] = out[at - 1];
        }
        out[at] = here;
    }
    return count;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
