// SPDX-License-Identifier: MIT
// What a session will take, before anything is allocated.
#pragma once

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/simd/screen.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>
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

/// What a value of activations takes where it meets ternary weights: int8; for blocks with scales also the step and the
/// sum of 32 columns; or a float. See quantized_rows. \param layout of the model: any_model::layout()
[[nodiscard]] inline double bytes_of_activation(bitnet::activation_rounding rounding, std::string_view layout) {
    return rounding == bitnet::activation_rounding::none ? 4.0 : layout.starts_with("Q2_0") ? 1.25 : 1.0;
}

/// Rows that run through the layers together, as floats and as activations, the vectors of attention's parts, eight
/// rows of logits and those of listed tokens: see scratch and workspace.
[[nodiscard]] inline std::uint64_t working_bytes(const bitnet::hyper_parameters& p, std::size_t context,
                                                 double activation) {
    const std::uint64_t rows = std::min(context, bitnet::session_options{}.prompt_chunk);
    const std::uint64_t widest = std::max({p.hidden, p.query_columns(), p.feed_forward});
    const std::uint64_t gated = std::max(p.query_columns(), p.feed_forward);
    const std::uint64_t floats = p.hidden + widest + 2 * (p.query_columns() + p.kv_columns()) + gated + 2 * p.head_size;
    constexpr std::uint64_t padding = bitnet::detail::activation_padding;
    const std::uint64_t stride = (widest + padding - 1) / padding * padding;
    const auto rounded = static_cast<std::uint64_t>(activation * static_cast<double>(stride));
    const std::uint64_t parts = bitnet::detail::attention_parts::most * (p.query_columns() + 2 * p.heads);
    const std::uint64_t listed = 12 * std::uint64_t{bitnet::allowed_tokens::most_listed};
    return rows * (4 * floats + rounded) + 4 * parts + 8 * 4 * std::uint64_t{p.vocabulary} + listed;
}

[[nodiscard]] inline session_memory estimate(const bitnet::hyper_parameters& p, std::size_t context,
                                             double activation = 1.0) {
    return {context, bitnet::detail::kv_cache::bytes(p, 2, false, context),
            bitnet::detail::kv_cache::bytes(p, 4, false, context), bitnet::detail::kv_cache::bytes(p, 1, true, context),
            working_bytes(p, context, activation)};
}

/// One estimate for 512 positions and each further power of two from 2048 on below the model's context, and one for
/// that. \param activation bytes_of_activation
[[nodiscard]] inline std::vector<session_memory> estimates(const bitnet::hyper_parameters& p, double activation = 1.0) {
    std::vector<session_memory> all;
    for (std::size_t context = 512; context < p.context; context *= context == 512 ? 4 : 2) {
        all.push_back(estimate(p, context, activation));
    }
    all.push_back(estimate(p, p.context, activation));
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
