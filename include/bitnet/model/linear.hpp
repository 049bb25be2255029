// SPDX-License-Identifier: MIT
// Ternary linear layers: quantise rows once, multiply them by one or several matrices in one parallel loop.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A task takes this many rows of a matrix: 40 to 64 KiB of weights, so that a chunk stays in a first or second level
/// cache while all rows of activations pass it. A multiple of 32, the rows of a pair of AMX tiles.
[[nodiscard]] constexpr std::size_t rows_per_task(std::size_t cols) noexcept {
    constexpr std::size_t bytes_per_task = std::size_t{64} * 1024;
    return cols / 4 * 64 <= bytes_per_task ? 64 : 32;
}

/// The weights of RMSNorms that a row passes one after another before it is quantised. Those that are null are left
/// out.
using norm_chain = std::array<const float*, 2>;

/// One row -> RMSNorms -> int8, zeroed to a multiple of activation_padding. `normed` is working memory [x.size()].
template <policy_type P>
void normalize_and_quantize_row(std::span<const float> x, const norm_chain& norms, float epsilon, float* normed,
                                quantized_rows& out, std::size_t r) noexcept {
    const float* from = x.data();
    for (const float* norm : norms) {
        if (norm != nullptr) {
            P::loops::rms_norm(from, norm, epsilon, x.size(), normed);
            from = normed;
        }
    }
    const row_quantization row = P::loops::quantize(from, x.size(), out.row(r));
    out.scales[r] = row.scale;
    out.sums[r] = row.sum;
    const std::size_t padded = (x.size() + activation_padding - 1) / activation_padding * activation_padding;
    std::memset(out.row(r) + x.size(), 0, padded - x.size());
}

/// x [rows, cols] -> RMSNorms -> int8, in parallel, and arranged where the kernel wants that. `normed` is working
/// memory: a row for every task, of which there are at most x.rows, and at least x.cols columns.
template <policy_type P>
void normalize_and_quantize(typename P::pool& pool, matrix_view<const float> x, const norm_chain& norms, float epsilon,
                            matrix_view<float> normed, quantized_rows& out) noexcept {
    constexpr std::size_t group_rows = tokens_per_group<typename P::ternary>();
    out.used_rows = x.rows;
    const std::size_t groups = (x.rows + group_rows - 1) / group_rows;
    const std::size_t chunk = std::max<std::size_t>(groups / (4 * pool.threads()), 1); // four to eight tasks a thread
    parallel_for(pool, (groups + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        float* row = normed.row(task).data(); // one for all rows of the task, so that it stays in cache
        const std::size_t end_group = std::min(groups, (task + 1) * chunk);
        for (std::size_t group = task * chunk; group < end_group; ++group) {
            const std::size_t first = group * group_rows;
            const std::size_t end = std::min(first + group_rows, x.rows);
            for (std::size_t r = first; r < end; ++r) {
                normalize_and_quantize_row<P>(x.row(r), norms, epsilon, row, out, r);
            }
            if constexpr (arranging_kernel<typename P::ternary>) {
                P::ternary::arrange(out.view(0, x.rows), first, x.cols, out.group(group));
            }
        }
    });
}

/// Rows [first, first + count) of w times every row of x. Calls store(row of x, its scale, products [count]) for each
/// row; a product is worth product * w.scale / scale. \pre count <= 128
template <policy_type P, class Store>
void multiply_rows(const ternary_matrix<typename P::layout>& w, std::size_t first, std::size_t count,
                   const quantized_rows& x, Store&& store) noexcept {
    constexpr std::size_t group = tokens_per_group<typename P::ternary>();
    constexpr std::size_t most_products = 8192; // 32 KiB of stack: 128 tokens of 64 rows
    static_assert(most_products / 128 >= group);
    std::array<std::int32_t, most_products> products;
    const std::size_t most_tokens = most_products / count / group * group;
    for (std::size_t begin = 0; begin < x.used_rows; begin += most_tokens) {
        const std::size_t tokens = std::min(most_tokens, x.used_rows - begin);
        P::ternary::rows(w.codes, first, count, x.view(begin, tokens), products.data(), count);
        for (std::size_t t = 0; t < tokens; ++t) {
            store(begin + t, x.scales[begin + t], products.data() + t * count);
        }
    }
}

/// One matrix and where its products go: out [rows of x, rows of the matrix].
template <class Layout> struct projection {
    const ternary_matrix<Layout>* matrix;
    matrix_view<float> out;
};

/// out = x w^T for several matrices that share their input, in one parallel loop.
template <policy_type P, std::size_t Count>
void project(typename P::pool& pool, const std::array<projection<typename P::layout>, Count>& all,
             const quantized_rows& x) noexcept {
    const std::size_t chunk = rows_per_task(all[0].matrix->cols());
    std::array<std::size_t, Count + 1> task_ends{};
    for (std::size_t i = 0; i < Count; ++i) {
        task_ends[i + 1] = task_ends[i] + (all[i].matrix->rows() + chunk - 1) / chunk;
    }
    parallel_stream(pool, task_ends[Count], [&](std::size_t task) noexcept {
        std::size_t i = 0;
        while (task >= task_ends[i + 1]) {
            ++i;
        }
        const auto& w = *all[i].matrix;
        const std::size_t first = (task - task_ends[i]) * chunk;
        const std::size_t count = std::min(chunk, w.rows() - first);
        multiply_rows<P>(w, first, count, x, [&](std::size_t row, float scale, const std::int32_t* products) noexcept {
            P::loops::dequantize(products, w.scale, scale, count, all[i].out.row(row).data() + first);
        });
    });
}

/// residual += x w^T.
template <policy_type P>
void project_add(typename P::pool& pool, const ternary_matrix<typename P::layout>& w, const quantized_rows& x,
                 matrix_view<float> residual) noexcept {
    const std::size_t chunk = rows_per_task(w.cols());
    parallel_stream(pool, (w.rows() + chunk - 1) / chunk, [&](std::size_t task) noexcept {
        const std::size_t first = task * chunk;
        const std::size_t count = std::min(chunk, w.rows() - first);
        multiply_rows<P>(w, first, count, x, [&](std::size_t row, float scale, const std::int32_t* products) noexcept {
            P::loops::dequantize_add(products, w.scale, scale, count, residual.row(row).data() + first);
        });
    });
}

} // namespace bitnet::inline BITNET_ABI
