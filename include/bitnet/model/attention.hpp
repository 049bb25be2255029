// SPDX-License-Identifier: MIT
// Causal grouped-query attention over the KV cache.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// One row of a forward pass: a token at a position of a sequence, whose cache holds all earlier positions.
template <class Kv> struct sequence_row {
    kv_cache<Kv>* cache;
    std::size_t position;
    token id;
};

/// One query head at one position attends to positions 0..position: out = softmax(q k^T / sqrt(head_size)) v.
/// Blocks of 256 positions are reduced one by one and merged ascending, so the bits depend on the position alone.
/// q, out [head_size]
template <policy_type P>
void attend(const float* q, const kv_cache<typename P::kv_element>& cache, std::size_t layer, std::size_t kv_head,
            std::size_t head_size, std::size_t position, float* out) noexcept {
    constexpr std::size_t largest_head = 1024; // hyper_parameters refuses larger ones
    std::array<float, attention_block> scores;
    std::array<float, largest_head> block;
    softmax_state state{};
    for (std::size_t first = 0; first <= position; first += attention_block) {
        const std::size_t count = std::min(attention_block, position + 1 - first);
        P::loops::scores(q, cache.keys(layer, kv_head, first), head_size, count, scores.data());
        const softmax_state here = P::loops::exponentials(scores.data(), count);
        const auto* values = cache.values(layer, kv_head, first);
        if (first == 0) {
            P::loops::weighted_values(scores.data(), values, head_size, count, out);
            state = here;
        } else {
            P::loops::weighted_values(scores.data(), values, head_size, count, block.data());
            state = P::loops::merge(state, out, here, block.data(), head_size);
        }
    }
    P::loops::divide(out, state.sum, head_size);
}

} // namespace bitnet::inline BITNET_ABI
