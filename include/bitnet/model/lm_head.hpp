// SPDX-License-Identifier: MIT
// The output matrix, which makes logits of hidden states: all its rows by several states in one reading.
#ifndef BITNET_MODEL_LM_HEAD_HPP
#define BITNET_MODEL_LM_HEAD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// out[t] [lm_head.rows] = lm_head * row t of x, for all rows of x [tokens, lm_head.cols]. Reads the matrix from memory
/// once: a task takes 64 rows, which stay in a second level cache while the tokens pass them.
inline void lm_head_products(pool_ref pool, const loop_table& loops, const float_matrix& lm_head,
                             matrix_view<const float> x, std::span<float* const> out) noexcept {
    assert(x.rows == out.size() && x.cols == lm_head.cols);
    constexpr std::size_t chunk = 64;
    constexpr std::size_t group = 12; // tokens at a time: a multiple of every tile's
    const element_loops& of_element = loops.of(lm_head.element);
    const std::size_t row_bytes = lm_head.row_bytes();
    parallel_stream(pool, (lm_head.rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        const std::size_t rest = lm_head.rows - first;
        for (std::size_t begin = 0; begin < x.rows; begin += group) {
            const std::size_t tokens = x.rows - begin < group ? x.rows - begin : group;
            std::array<float*, group> y;
            for (std::size_t t = 0; t < tokens; ++t) {
                y[t] = out[begin + t] + first;
            }
            of_element.dot_rows(lm_head.data + first * row_bytes, row_bytes, rest < chunk ? rest : chunk,
                                {x.data + begin * x.stride, tokens, x.cols, x.stride}, y.data());
        }
    });
}

/// out[i] = row rows[i] of lm_head times x [lm_head.cols]: the bits that lm_head_products() gives.
inline void lm_head_listed(pool_ref pool, const loop_table& loops, const float_matrix& lm_head,
                           std::span<const std::uint32_t> rows, const float* x, float* out) noexcept {
    constexpr std::size_t chunk = 64;
    parallel_for(pool, (rows.size() + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        const std::size_t rest = rows.size() - first;
        loops.of(lm_head.element)
            .dot_listed(lm_head.data, lm_head.row_bytes(), rows.subspan(first, rest < chunk ? rest : chunk), x,
                        lm_head.cols, out + first);
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
