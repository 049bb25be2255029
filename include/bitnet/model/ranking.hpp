// SPDX-License-Identifier: MIT
// The order of logits: the largest first, the lower id on ties, NaN below everything.
#ifndef BITNET_MODEL_RANKING_HPP
#define BITNET_MODEL_RANKING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/token.hpp>

#include <bit>
#include <cstdint>

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

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
