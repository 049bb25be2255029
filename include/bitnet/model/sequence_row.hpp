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

/// How a sequence with a window is seen: its first blocks are sinks, and of those behind them the oldest are gone.
struct window_view {
    std::size_t sinks = 0;   ///< blocks
    std::size_t dropped = 0; ///< positions, a multiple of attention_block
};

/// A token at a position of a sequence, whose cache holds all earlier positions, or with a window the first and the
/// last of them: positions count those that are there.
struct sequence_row {
    kv_cache* cache;
    const rotary_frequencies* frequencies; ///< the same for all rows of a sequence
    std::size_t position;
    token id;
    const float* embedding = nullptr; ///< [hidden], as the first layer takes it; null: the embedding of `id`, scaled
    window_view window = {};

    /// How many attention blocks hold positions 0..position.
    [[nodiscard]] std::size_t blocks() const noexcept { return position / attention_block + 1; }
    /// The position by which its key, and the query for what is no sink, are rotated: all that ever were.
    [[nodiscard]] std::size_t rotation() const noexcept { return position + window.dropped; }
    /// Whether block `b` sees the query that is rotated by `position`: as if nothing had been between the sinks and the
    /// window, so that no distance is longer than the context.
    [[nodiscard]] bool is_beyond_gap(std::size_t b) const noexcept { return window.dropped != 0 && b < window.sinks; }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
