// SPDX-License-Identifier: MIT
// scratch: the working memory of one forward pass. Belongs to a session, never to the model.
#ifndef BITNET_MODEL_SCRATCH_HPP
#define BITNET_MODEL_SCRATCH_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/matrix_view.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_table.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/simd/lane_ops.hpp>

#include <algorithm>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Rows of int8 activations with their scales and sums: the input of every ternary product. [rows, cols]
/// One buffer serves inputs of several widths; whoever fills it zeroes each row to a multiple of activation_padding.
/// For scaled_blocks the values are in the order of block_activations and have steps instead of scales, or the rows
/// are floats.
struct quantized_rows {
    activation_rounding rounding = activation_rounding::per_token;
    bool are_blocks = false;        ///< whether they meet scaled_blocks
    buffer<float> steps;            ///< [rows, stride / 32]
    buffer<std::int32_t> step_sums; ///< [rows, stride / 32]
    buffer<float> floats;           ///< [rows, stride]; without rounding, and nothing else then
    buffer<std::int8_t> values;
    buffer<float> scales;            ///< [rows]; value = int8 / scale
    buffer<std::int32_t> sums;       ///< [rows]
    buffer<std::byte> arranged;      ///< [groups of rows], as the kernel arranges them; empty if it does not
    std::size_t stride = 0;          ///< int8 values from row to row
    std::size_t used_rows = 0;       ///< of this pass
    std::size_t group_rows = 1;      ///< rows that the kernel arranges together
    std::size_t arranged_stride = 0; ///< bytes from group to group

    [[nodiscard]] block_row blocks(std::size_t r) noexcept {
        const std::size_t step = r * (stride / columns_per_step);
        return {row(r), steps.data() + step, step_sums.data() + step};
    }
    [[nodiscard]] block_activations block_view(std::size_t first, std::size_t count) const noexcept {
        return block_activations{values.data(), steps.data(), step_sums.data(), stride, used_rows}.part(first, count);
    }
    [[nodiscard]] float* float_row(std::size_t r) noexcept { return floats.data() + r * stride; }
    [[nodiscard]] const float* float_row(std::size_t r) const noexcept { return floats.data() + r * stride; }

    [[nodiscard]] std::int8_t* row(std::size_t r) noexcept { return values.data() + r * stride; }
    void allocate_rows(const ternary_table& kernel, std::size_t cols, std::size_t max_rows, error& failure,
                       const memory_from& from) {
        if (rounding == activation_rounding::none) {
            return allocate(floats, max_rows * stride, "scratch", failure, from);
        }
        allocate(values, max_rows * stride, "scratch", failure, from);
        if (are_blocks) {
            allocate(steps, max_rows * (stride / columns_per_step), "scratch", failure, from);
            return allocate(step_sums, max_rows * (stride / columns_per_step), "scratch", failure, from);
        }
        group_rows = kernel.arranged_tokens;
        arranged_stride = kernel.arranged_stride(cols);
        allocate(arranged, (max_rows + group_rows - 1) / group_rows * arranged_stride, "scratch", failure, from);
        allocate(scales, max_rows, "scratch", failure, from);
        allocate(sums, max_rows, "scratch", failure, from);
    }

    /// What allocate_rows() allocates.
    [[nodiscard]] static std::uint64_t bytes(activation_rounding rounding, bool are_blocks, const ternary_table& kernel,
                                             std::size_t cols, std::size_t max_rows) noexcept {
        const std::uint64_t values = std::uint64_t{max_rows} * stride_of(cols);
        if (rounding == activation_rounding::none) {
            return values * sizeof(float);
        }
        if (are_blocks) {
            return values + values / columns_per_step * (sizeof(float) + sizeof(std::int32_t));
        }
        const std::uint64_t groups = (max_rows + kernel.arranged_tokens - 1) / kernel.arranged_tokens;
        return values + groups * kernel.arranged_stride(cols) + max_rows * (sizeof(float) + sizeof(std::int32_t));
    }
    [[nodiscard]] static std::size_t stride_of(std::size_t cols) noexcept {
        return (cols + activation_padding - 1) / activation_padding * activation_padding;
    }

    /// The arranged group of rows g * group_rows and following.
    [[nodiscard]] std::byte* group(std::size_t g) noexcept { return arranged.data() + g * arranged_stride; }
    /// \pre `first` is a multiple of group_rows; `count` is one too or ends at used_rows.
    [[nodiscard]] activation_view view(std::size_t first, std::size_t count) const noexcept {
        assert(first % group_rows == 0);
        return {values.data() + first * stride,
                sums.data() + first,
                stride,
                count,
                arranged.data() + first / group_rows * arranged_stride,
                arranged_stride};
    }
};

/// Floats of [rows, cols] that are allocated once and viewed with as many rows as a pass has.
struct float_rows {
    buffer<float> values;
    std::size_t cols = 0;

    [[nodiscard]] matrix_view<float> first(std::size_t rows) noexcept {
        assert(rows * cols <= values.size());
        return {values.data(), rows, cols};
    }
};

/// Partial results of single blocks of attention, to be merged.
struct attention_parts {
    /// Blocks over all rows of a pass; a pass with more has tasks enough without splitting rows into blocks, or is one
    /// sequence beyond 32,768 positions, whose tasks are then its KV heads.
    static constexpr std::size_t most = 128;

    buffer<float> vectors;            ///< [most, query_columns]
    buffer<softmax_state> all_states; ///< [most, heads]
    std::size_t cols = 0;
    std::size_t heads = 0;

    [[nodiscard]] float* vector(std::size_t part) noexcept { return vectors.data() + part * cols; }
    [[nodiscard]] softmax_state* states(std::size_t part) noexcept { return all_states.data() + part * heads; }
};

/// Buffers for up to max_rows rows, allocated once; nothing allocates after open().
struct scratch {
    std::size_t max_rows = 0;
    float_rows residual; ///< [rows, hidden]
    float_rows normed;   ///< [rows, the widest of all]
    float_rows query;    ///< [rows, query_columns]
    float_rows key;      ///< [rows, kv_columns]
    float_rows value;    ///< [rows, kv_columns]
    float_rows attended; ///< [rows, query_columns]
    float_rows gated;    ///< [rows, feed_forward]
    float_rows cosines;  ///< [rows, 2, head_size / 2]: the second ones for the sinks of a window
    float_rows sines;    ///< [rows, 2, head_size / 2]
    quantized_rows quantized;
    attention_parts parts;

    /// Queries [rows, query_columns] for the sinks of windows: where gated() is, which is not needed meanwhile.
    [[nodiscard]] matrix_view<float> sink_query(std::size_t rows) noexcept {
        assert(rows * query.cols <= gated.values.size());
        return {gated.values.data(), rows, query.cols};
    }

    /// What open() allocates.
    [[nodiscard]] static std::uint64_t bytes(const hyper_parameters& model, activation_rounding rounding,
                                             bool are_blocks, const ternary_table& kernel,
                                             std::size_t max_rows) noexcept {
        const std::size_t widest = widest_of(model);
        const std::uint64_t floats = model.hidden + widest + 2 * (model.query_columns() + model.kv_columns()) +
                                     gated_columns(model) + model.head_size / 2 * 2 * 2;
        const std::uint64_t part = model.query_columns() * sizeof(float) + model.heads * sizeof(softmax_state);
        return max_rows * floats * sizeof(float) + attention_parts::most * part +
               quantized_rows::bytes(rounding, are_blocks, kernel, widest, max_rows);
    }
    [[nodiscard]] static std::size_t widest_of(const hyper_parameters& model) noexcept {
        return (std::max)({model.hidden, model.query_columns(), model.feed_forward});
    }

    [[nodiscard]] static std::size_t gated_columns(const hyper_parameters& model) noexcept {
        return (std::max)(model.feed_forward, model.query_columns());
    }

    /// For products of `weights` by `kernel`. \pre max_rows > 0. \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] static result<scratch> open(const hyper_parameters& model, const weights& tensors,
                                              const ternary_table& kernel, std::size_t max_rows,
                                              const memory_source* memory = nullptr) {
        const memory_from from{memory, {memory_use::scratch, false}};
        scratch made;
        made.max_rows = max_rows;
        const std::size_t widest = widest_of(model);
        error failure;
        const auto floats = [&](float_rows& into, std::size_t cols) {
            into.cols = cols;
            allocate(into.values, max_rows * cols, "scratch", failure, from);
        };
        floats(made.residual, model.hidden);
        floats(made.normed, widest);
        floats(made.query, model.query_columns());
        floats(made.key, model.kv_columns());
        floats(made.value, model.kv_columns());
        floats(made.attended, model.query_columns());
        floats(made.gated, gated_columns(model));
        made.gated.cols = model.feed_forward;
        floats(made.cosines, model.head_size / 2 * 2);
        floats(made.sines, model.head_size / 2 * 2);
        made.quantized.stride = quantized_rows::stride_of(widest);
        made.quantized.rounding = tensors.activations();
        made.quantized.are_blocks = tensors.has_blocks();
        made.quantized.allocate_rows(kernel, widest, max_rows, failure, from);
        made.parts.cols = model.query_columns();
        made.parts.heads = model.heads;
        allocate(made.parts.vectors, attention_parts::most * model.query_columns(), "scratch", failure, from);
        allocate(made.parts.all_states, attention_parts::most * model.heads, "scratch", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
