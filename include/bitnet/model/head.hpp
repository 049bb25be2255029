// SPDX-License-Identifier: MIT
// The embedding and head: one row looked up, all rows multiplied by several hidden states in one reading.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// Row `r` of an embedding as floats: out [table.cols].
template <policy_type P> void widen_row(const dense_matrix& table, std::size_t r, float* out) noexcept {
    with_element(table.element, [&]<class E>() {
        P::loops::template widen_row<E>(table.data + r * row_bytes_of<E>(table.cols), table.cols, out);
    });
}

/// y[t][r] = dot(row first + r of the head, row t of x) for r < count.
template <policy_type P>
void dot_rows(const dense_matrix& head, std::size_t first, std::size_t count, matrix_view<const float> x,
              float* const* y) noexcept {
    with_element(head.element, [&]<class E>() {
        const std::size_t row_bytes = row_bytes_of<E>(head.cols);
        P::loops::template dot_rows<E>(head.data + first * row_bytes, row_bytes, count, x, y);
    });
}

/// out[t] [head.rows] = head * row t of x, for all rows of x [tokens, head.cols]. Reads the head from memory once: a
/// task takes 64 rows, which stay in a second level cache while the tokens pass them.
template <policy_type P>
void head_products(typename P::pool& pool, const dense_matrix& head, matrix_view<const float> x,
                   std::span<float* const> out) noexcept {
    assert(x.rows == out.size() && x.cols == head.cols);
    constexpr std::size_t chunk = 64;
    constexpr std::size_t group = 12; // tokens at a time: a multiple of every tile's
    parallel_stream(pool, (head.rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        for (std::size_t begin = 0; begin < x.rows; begin += group) {
            const std::size_t tokens = std::min(group, x.rows - begin);
            std::array<float*, group> y;
            for (std::size_t t = 0; t < tokens; ++t) {
                y[t] = out[begin + t] + first;
            }
            dot_rows<P>(head, first, std::min(chunk, head.rows - first),
                        {x.data + begin * x.stride, tokens, x.cols, x.stride}, y.data());
        }
    });
}

} // namespace bitnet::inline BITNET_ABI
