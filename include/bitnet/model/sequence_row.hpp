// SPDX-License-Identifier: MIT
// sequence_row: what a forward pass needs to know of each of its rows.
#ifndef BITNET_MODEL_SEQUENCE_ROW_HPP
#define BITNET_MODEL_SEQUENCE_ROW_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/lane_ops.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

class kv_cache;
class rotary_frequencies;

/// A token at a position of a sequence, whose cache holds all earlier positions.
struct sequence_row {
    kv_cache* cache;
    const rotary_frequencies* frequencies; ///< the same for all rows of a sequence
    std::size_t position;
    token id;
    const float* embedding = nullptr; ///< [hidden], as the first layer takes it; null: the embedding of `id`, scaled

    /// How many attention blocks hold positions 0..position.
    [[nodiscard]] std::size_t blocks() const noexcept { return position / attention_block + 1; }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
