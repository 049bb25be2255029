// SPDX-License-Identifier: MIT
// Ternary linear layers: quantise rows once, multiply them by one or several matrices in one parallel loop.
#ifndef BITNET_MODEL_LINEAR_HPP
#define BITNET_MODEL_LINEAR_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_table.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/kernel/ternary_table.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// A task takes this many rows of a matrix: 40 to 64 KiB of weights, so that a chunk stays in a first or second level
/// cache while all rows of activations pass it. A multiple of 32, the rows of a pair of AMX tiles.
[[nodiscard]] constexpr std::size_t rows_per_task(std::size_t cols) noexcept {
    constexpr std::size_t bytes_per_task = std::size_t{64} * 1024;
    return cols / 4 * 64 <= bytes_per_task ? 64 : 32;
}
inline constexpr std::size_t most_rows_per_task = 64;

/// The weights of RMSNorms that a row passes one after another before it is quantised. Those that are null are left
/// out.
using norm_chain = std::array<const float*, 2>;

/// Ternary matrix products of one kernel with the loops around them, on the threads of a pool.
class linear {
public:
    linear(const engine& tables, pool_ref pool) noexcept
        : loops_(*tables.loops), kernel_(*tables.ternary), blocks_(*tables.blocks), pool_(pool) {}

    /// x [rows, cols] -> RMSNorms -> what products take, arranged if the kernel wants that. `normed` is working memory:
    /// a row for every task, of which there are at most x.rows, and at least x.cols columns.
    void normalize_and_quantize(matrix_view<const float> x, const norm_chain& norms, float epsilon,
                                matrix_view<float> normed, quantized_rows& out) const noexcept {
        out.used_rows = x.rows;
        const std::size_t group_rows = out.group_rows;
        const std::size_t groups = (x.rows + group_rows - 1) / group_rows;
        if (out.arranged_stride != 0 && x.rows > 1 && x.rows < group_rows * pool_.threads()) {
            // Tasks of whole groups would leave threads without work.
            const std::size_t chunk = chunk_of(x.rows);
            parallel_for(pool_, (x.rows + chunk - 1) / chunk, [&](std::size_t task) noexcept {
                const std::size_t end = (std::min)(x.rows, (task + 1) * chunk);
                normalize_and_quantize_rows(x, task * chunk, end, norms, epsilon, normed.row(task).data(), out);
            });
            return parallel_for(pool_, groups, [&](std::size_t group) noexcept { arrange(group, x, out); });
        }
        const std::size_t chunk = chunk_of(groups);
        parallel_for(pool_, (groups + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            const std::size_t end_group = (std::min)(groups, (task + 1) * chunk);
            for (std::size_t group = task * chunk; group < end_group; ++group) {
                const std::size_t end = (std::min)(x.rows, (group + 1) * group_rows);
                normalize_and_quantize_rows(x, group * group_rows, end, norms, epsilon, normed.row(task).data(), out);
                arrange(group, x, out);
            }
        });
    }

    /// The values [x.size()] of row `r` -> int8, zeroed to a multiple of activation_padding, or as they are.
    void quantize(std::span<const float> x, quantized_rows& out, std::size_t r) const noexcept {
        if (out.rounding == activation_rounding::none) {
            std::copy(x.begin(), x.end(), out.float_row(r));
            return;
        }
        if (out.are_blocks) {
            return blocks_.quantize(x.data(), x.size(), columns_per_scale(out.rounding, x.size()), out.blocks(r));
        }
        const row_quantization row = loops_.quantize(x.data(), x.size(), out.row(r));
        out.scales[r] = row.scale;
        out.sums[r] = row.sum;
        const std::size_t padded = (x.size() + activation_padding - 1) / activation_padding * activation_padding;
        std::memset(out.row(r) + x.size(), 0, padded - x.size());
    }

    /// One matrix and where its products go: out [rows of x, rows of the matrix].
    struct projection {
        const ternary_matrix* matrix;
        matrix_view<float> out;
    };

    /// out = x w^T for several matrices that share their input, in one parallel loop.
    template <std::size_t Count>
    void project(const std::array<projection, Count>& all, const quantized_rows& x) const noexcept {
        const std::size_t chunk = rows_per_task(all[0].matrix->cols());
        std::array<std::size_t, Count + 1> task_ends{};
        for (std::size_t i = 0; i < Count; ++i) {
            task_ends[i + 1] = task_ends[i] + (all[i].matrix->rows() + chunk - 1) / chunk;
        }
        parallel_stream(pool_, task_ends[Count], [&](std::size_t task) noexcept {
            std::size_t i = 0;
            while (task >= task_ends[i + 1]) {
                ++i;
            }
            const std::size_t first = (task - task_ends[i]) * chunk;
            multiply(*all[i].matrix, first, (std::min)(chunk, all[i].matrix->rows() - first), x, all[i].out);
        });
    }

    /// out[t] [rows of w] = w times row t of x, for a matrix of scaled_blocks.
    void project_rows(const ternary_matrix& w, const quantized_rows& x, std::span<float* const> out) const noexcept {
        for_chunks(w, [&](std::size_t first, std::size_t count) noexcept {
            multiply_blocks(w, first, count, x, [&](const float_tile& tile, std::size_t begin) noexcept {
                for (std::size_t t = 0; t < tile.tokens; ++t) {
                    std::copy_n(tile.row(t), count, out[begin + t] + first);
                }
            });
        });
    }

    /// residual += x w^T.
    void project_add(const ternary_matrix& w, const quantized_rows& x, matrix_view<float> residual) const noexcept {
        for_chunks(w, [&](std::size_t first, std::size_t count) noexcept {
            multiply_rows(w, first, count, x, residual,
                          [&](const auto& tile, float* y) noexcept { add_to(tile, y, residual.stride); });
        });
    }

    /// out = activation(x gate^T) * (x up^T): both products of a chunk by one task, joined while still in cache.
    /// \pre gate and up have the same shape
    void project_gated(const ternary_matrix& gate, const ternary_matrix& up, activation_function activation,
                       const quantized_rows& x, matrix_view<float> out) const noexcept {
        for_chunks(gate, [&](std::size_t first, std::size_t count) noexcept {
            multiply(gate, first, count, x, out);
            multiply_gated(up, first, count, activation, x, out);
        });
    }

    /// out = activation(out) * (x up^T)
    void project_gated(const ternary_matrix& up, activation_function activation, const quantized_rows& x,
                       matrix_view<float> out) const noexcept {
        for_chunks(up, [&](std::size_t first, std::size_t count) noexcept {
            multiply_gated(up, first, count, activation, x, out);
        });
    }

private:
    /// How many of `count` are a task, so that a thread has 4 to 8 tasks.
    [[nodiscard]] std::size_t chunk_of(std::size_t count) const noexcept {
        return std::max<std::size_t>(count / (4 * pool_.threads()), 1);
    }
    /// Rows [first, end) -> RMSNorms -> quantize(). `normed` is working memory [x.cols], one row for all of them, so
    /// that it stays in cache.
    void normalize_and_quantize_rows(matrix_view<const float> x, std::size_t first, std::size_t end,
                                     const norm_chain& norms, float epsilon, float* normed,
                                     quantized_rows& out) const noexcept {
        for (std::size_t r = first; r < end; ++r) {
            normalize_and_quantize_row(x.row(r), norms, epsilon, normed, out, r);
        }
    }
    void arrange(std::size_t group, matrix_view<const float> x, quantized_rows& out) const noexcept {
        if (out.arranged_stride != 0) {
            kernel_.arrange(out.view(0, x.rows), group * out.group_rows, x.cols, out.group(group));
        }
    }
    /// One row. `normed` is working memory [x.size()].
    void normalize_and_quantize_row(std::span<const float> x, const norm_chain& norms, float epsilon, float* normed,
                                    quantized_rows& out, std::size_t r) const noexcept {
        const float* from = x.data();
        for (const float* norm : norms) {
            if (norm != nullptr) {
                loops_.rms_norm(from, norm, epsilon, x.size(), normed);
                from = normed;
            }
        }
        quantize({from, x.size()}, out, r);
    }

    /// Calls task(first row, number of rows) for chunks of the rows of w, in parallel.
    template <class Task> void for_chunks(const ternary_matrix& w, Task&& task) const noexcept {
        const std::size_t chunk = rows_per_task(w.cols());
        parallel_stream(pool_, (w.rows() + chunk - 1) / chunk,
                        [&](std::size_t i) noexcept { task(i * chunk, (std::min)(chunk, w.rows() - i * chunk)); });
    }

    /// As product_tile, of scaled_blocks: what is in it is worth itself.
    struct float_tile {
        const float* products; ///< [tokens][count]
        std::size_t tokens;
        std::size_t count;

        [[nodiscard]] const float* row(std::size_t t) const noexcept { return products + t * count; }
    };

    // What becomes of a tile of products: once for all its rows, `stride` from row to row of y.

    void store(const product_tile& tile, float* y, std::size_t stride) const noexcept {
        loops_.dequantize(tile, y, stride);
    }
    void store(const float_tile& tile, float* y, std::size_t stride) const noexcept {
        for (std::size_t t = 0; t < tile.tokens; ++t) {
            std::copy_n(tile.row(t), tile.count, y + t * stride);
        }
    }
    void add_to(const product_tile& tile, float* y, std::size_t stride) const noexcept {
        loops_.dequantize_add(tile, y, stride);
    }
    void add_to(const float_tile& tile, float* y, std::size_t stride) const noexcept {
        for (std::size_t t = 0; t < tile.tokens; ++t) {
            loops_.add(tile.row(t), tile.count, y + t * stride);
        }
    }
    void gate_with(const product_tile& up, activation_function activation, float* y,
                   std::size_t stride) const noexcept {
        switch (activation) {
        case activation_function::relu2:
            return loops_.relu2_gate(up, y, stride);
        case activation_function::silu:
            return loops_.silu_gate(up, y, stride);
        case activation_function::gelu:
            return loops_.gelu_gate(up, y, stride);
        }
    }
    void gate_with(const float_tile& up, activation_function activation, float* y, std::size_t stride) const noexcept {
        for (std::size_t t = 0; t < up.tokens; ++t) {
            activate(activation, y + t * stride, up.row(t), up.count);
        }
    }

    /// Rows [first, first + count) of w times every row of x. Calls use(tile, columns [first, first + count) of its
    /// rows of out) for tiles that together hold all rows. \pre count <= most_rows_per_task
    template <class Use>
    void multiply_rows(const ternary_matrix& w, std::size_t first, std::size_t count, const quantized_rows& x,
                       matrix_view<float> out, Use&& use) const noexcept {
        const auto at_rows = [&](const auto& tile, std::size_t begin) noexcept {
            use(tile, out.row(begin).data() + first);
        };
        if (w.has_blocks()) {
            multiply_blocks(w, first, count, x, at_rows);
        } else {
            multiply_codes(w, first, count, x, at_rows);
        }
    }

    // Both have 32 KiB of stack, of which WebAssembly has 64: never inlined into one frame.
    template <class Use>
    BITNET_NOINLINE void multiply_codes(const ternary_matrix& w, std::size_t first, std::size_t count,
                                        const quantized_rows& x, Use&& use) const noexcept {
        constexpr std::size_t most_products = 8192; // 32 KiB of stack: 128 tokens of 64 rows
        const std::size_t group = kernel_.arranged_tokens;
        std::array<std::int32_t, most_products> products;
        const std::size_t most_tokens = most_products / count / group * group;
        for (std::size_t begin = 0; begin < x.used_rows; begin += most_tokens) {
            const std::size_t tokens = (std::min)(most_tokens, x.used_rows - begin);
            kernel_.multiply(w.codes, first, count, x.view(begin, tokens), products.data(), count);
            use(product_tile{products.data(), tokens, count, w.scale, x.scales.data() + begin}, begin);
        }
    }

    template <class Use>
    BITNET_NOINLINE void multiply_blocks(const ternary_matrix& w, std::size_t first, std::size_t count,
                                         const quantized_rows& x, Use&& use) const noexcept {
        constexpr std::size_t most_products = 8192; // 32 KiB of stack: 128 tokens of 64 rows
        std::array<float, most_products> products;
        const std::size_t most_tokens = most_products / count;
        for (std::size_t begin = 0; begin < x.used_rows; begin += most_tokens) {
            const std::size_t tokens = (std::min)(most_tokens, x.used_rows - begin);
            if (x.rounding == activation_rounding::none) {
                multiply_floats(w.blocks, first, count, x, begin, tokens, products.data());
            } else {
                blocks_.multiply(w.blocks, first, count, x.block_view(begin, tokens), products.data(), count);
            }
            if (w.scale != 1.0f) {
                loops_.scale(products.data(), w.scale, tokens * count);
            }
            use(float_tile{products.data(), tokens, count}, begin);
        }
    }

    /// y [tokens, count] = rows of w times rows of x that were not rounded: pieces of 256 columns, ascending, each
    /// widened and multiplied as rows of F32.
    void multiply_floats(const scaled_blocks& w, std::size_t first, std::size_t count, const quantized_rows& x,
                         std::size_t begin, std::size_t tokens, float* y) const noexcept {
        constexpr std::size_t most_columns = 256;
        std::array<float, most_columns> piece;
        std::fill_n(y, tokens * count, 0.0f);
        for (std::size_t r = 0; r < count; ++r) {
            for (std::size_t c = 0; c < w.cols; c += most_columns) {
                const std::size_t columns = (std::min)(most_columns, w.cols - c);
                widen_blocks(w, first + r, c, columns, piece.data());
                for (std::size_t t = 0; t < tokens; ++t) {
                    float product = 0.0f;
                    float* const to = &product;
                    loops_.of(float_element::f32)
                        .dot_rows(reinterpret_cast<const std::byte*>(piece.data()), sizeof piece, 1,
                                  {x.float_row(begin + t) + c, 1, columns}, &to);
                    y[t * count + r] += product;
                }
            }
        }
    }

    /// Columns [first, first + count) of out = x w^T.
    void multiply(const ternary_matrix& w, std::size_t first, std::size_t count, const quantized_rows& x,
                  matrix_view<float> out) const noexcept {
        multiply_rows(w, first, count, x, out,
                      [&](const auto& tile, float* y) noexcept { store(tile, y, out.stride); });
    }

    /// The same columns of out = activation(out) * (x up^T).
    void multiply_gated(const ternary_matrix& up, std::size_t first, std::size_t count, activation_function activation,
                        const quantized_rows& x, matrix_view<float> out) const noexcept {
        multiply_rows(up, first, count, x, out,
                      [&](const auto& tile, float* y) noexcept { gate_with(tile, activation, y, out.stride); });
    }

    void activate(activation_function activation, float* gate, const float* up, std::size_t n) const noexcept {
        switch (activation) {
        case activation_function::relu2:
            return loops_.relu2_times(gate, up, n, gate);
        case activation_function::silu:
            return loops_.silu_times(gate, up, n, gate);
        case activation_function::gelu:
            return loops_.gelu_times(gate, up, n, gate);
        }
    }

    const loop_table& loops_;
    const ternary_table& kernel_;
    const block_table& blocks_;
    pool_ref pool_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
