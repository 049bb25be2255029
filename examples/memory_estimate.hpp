// SPDX-License-Identifier: MIT
// What a session will take, before anything is allocated.
#pragma once

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/simd/screen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace tools {

/// Bytes that a session with `context` positions takes beside the weights.
struct session_memory {
    std::size_t context;
    std::uint64_t kv_f16;
    std::uint64_t kv_f32;
    std::uint64_t kv_i8;
    std::uint64_t working; ///< rows of activations, parts of attention, logits; within a tenth
};

/// Rows that run through the layers together, as floats and as int8, the vectors of attention's parts and eight rows of
/// logits: see scratch and session.
[[nodiscard]] inline std::uint64_t working_bytes(const bitnet::hyper_parameters& p, std::size_t context) {
    const std::uint64_t rows = std::min(context, bitnet::session_options{}.prompt_chunk);
    const std::uint64_t widest = std::max({p.hidden, p.query_columns(), p.feed_forward});
    const std::uint64_t floats =
        p.hidden + widest + 2 * (p.query_columns() + p.kv_columns()) + p.feed_forward + p.head_size;
    const std::uint64_t parts = bitnet::detail::attention_parts::most * p.query_columns();
    return rows * (4 * floats + widest) + 4 * parts + 8 * 4 * std::uint64_t{p.vocabulary};
}

[[nodiscard]] inline session_memory estimate(const bitnet::hyper_parameters& p, std::size_t context) {
    return {context, bitnet::detail::kv_cache::bytes(p, 2, false, context),
            bitnet::detail::kv_cache::bytes(p, 4, false, context), bitnet::detail::kv_cache::bytes(p, 1, true, context),
            working_bytes(p, context)};
}

/// One estimate for 512 positions and each further power of two from 2048 on below the model's context, and one for
/// that.
[[nodiscard]] inline std::vector<session_memory> estimates(const bitnet::hyper_parameters& p) {
    std::vector<session_memory> all;
    for (std::size_t context = 512; context < p.context; context *= context == 512 ? 4 : 2) {
        all.push_back(estimate(p, context));
    }
    all.push_back(estimate(p, p.context));
    return all;
}

/// Bytes that a screened head takes beside the head itself.
struct screened_head_memory {
    std::uint64_t screen;  ///< of the model
    std::uint64_t session; ///< for the search, in each session
};

/// Where the head's type has a screen. \pre not an embedder
[[nodiscard]] inline screened_head_memory estimate_screened_head(const bitnet::hyper_parameters& p) {
    return {std::uint64_t{p.vocabulary} * bitnet::detail::screen_layout::row_bytes(p.hidden),
            bitnet::detail::screened_search::working_bytes(p.vocabulary, p.hidden)};
}

} // namespace tools
