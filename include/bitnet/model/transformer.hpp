// SPDX-License-Identifier: MIT
// transformer<P>: one forward pass over a batch of (sequence, position, token), in steps that the caller sequences.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/attention.hpp>
#include <bitnet/model/head.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/linear.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/simd/rotary.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// The graph of bitnet-b1.58, bitnet-25 and bitnet (Ma et al., "The Era of 1-bit LLMs", 2024; BitNet b1.58 2B4T report,
/// 2025):
///
///     x = embedding[token]
///     each layer: x += o(sub_norm(attention(rope(q(n)), rope(k(n)), v(n))))   with n = norm(x)
///                 x += down(sub_norm(activation(gate(m)) * up(m)))             with m = norm(x)
///     logits = embedding * norm(x)
///
/// Every matrix but the embedding is ternary and takes its input quantised to int8, row by row.
/// embed(), then layer(0), layer(1), ..., then logits() for the rows that are asked for: no loop over layers in here,
/// so a caller can stop between layers. All steps of a pass use the same rows. Allocates in open() only.
template <policy_type P> class transformer {
public:
    using kv_element = typename P::kv_element;
    using row = sequence_row<kv_element>;
    using pool_type = typename P::pool;

    /// Borrows its arguments but the numbers. \return errc::out_of_memory.
    [[nodiscard]] static result<transformer> open(const hyper_parameters& model,
                                                  const weights<typename P::layout>& weights,
                                                  const rotary_frequencies& frequencies, std::size_t max_rows) {
        auto memory = scratch::open<typename P::ternary>(model, max_rows);
        if (!memory) {
            return std::move(memory).error();
        }
        return transformer(model, weights, frequencies, *std::move(memory));
    }

    [[nodiscard]] std::size_t max_rows() const noexcept { return scratch_.max_rows; }

    /// Starts a pass: looks the tokens up. \pre 1 <= rows.size() <= max_rows(); ids inside the vocabulary; rows of one
    /// sequence have ascending positions and their cache has room. `rows` lives until the pass is over.
    void embed(pool_type& pool, std::span<const row> rows) noexcept {
        assert(!rows.empty() && rows.size() <= max_rows());
        rows_ = rows;
        const dense_matrix& table = weights_->embedding();
        parallel_for(pool, rows.size(), [&](std::size_t r) noexcept {
            widen_row<P>(table, static_cast<std::size_t>(rows[r].id), row_of(scratch_.residual, r));
            frequencies_->angles(rows[r].position, row_of(scratch_.cosines, r), row_of(scratch_.sines, r));
        });
    }

    /// Runs layer `index` over all rows and stores their keys and values. \pre the layers below have run.
    void layer(pool_type& pool, std::size_t index) noexcept {
        const auto& w = weights_->layer(index);
        quantize(pool, scratch_.residual, w.attn_norm);
        project<P, 3>(
            pool,
            {{{&w.attn_q, used(scratch_.query)}, {&w.attn_k, used(scratch_.key)}, {&w.attn_v, used(scratch_.value)}}},
            scratch_.quantized);
        parallel_for(pool, rows_.size(), [&](std::size_t r) noexcept { rotate_and_store(index, r); });
        attention<P>(*model_, index, rows_, used(scratch_.query), used(scratch_.attended), scratch_.parts).run(pool);
        quantize(pool, scratch_.attended, w.attn_sub_norm);
        project_add<P>(pool, w.attn_output, scratch_.quantized, used(scratch_.residual));
        quantize(pool, scratch_.residual, w.ffn_norm);
        gate_and_up(pool, w);
        quantize(pool, scratch_.gated, w.ffn_sub_norm);
        project_add<P>(pool, w.ffn_down, scratch_.quantized, used(scratch_.residual));
    }

    /// Logits of rows `rows[i]` of the pass to out[i] [vocabulary], the same bits as one by one. Reads the head once.
    /// \pre all layers have run; rows.size() == out.size() <= max_rows(); rows below the number of this pass.
    void logits(pool_type& pool, std::span<const std::size_t> rows, std::span<float* const> out) noexcept {
        assert(rows.size() == out.size() && rows.size() <= max_rows());
        parallel_for(pool, rows.size(), [&](std::size_t i) noexcept {
            P::loops::rms_norm(row_of(scratch_.residual, rows[i]), weights_->output_norm(), model_->rms_epsilon,
                               model_->hidden, row_of(scratch_.normed, i));
        });
        const float_rows& normed = scratch_.normed;
        head_products<P>(pool, weights_->head(), {normed.values.data(), rows.size(), model_->hidden, normed.cols}, out);
    }
    /// The same for one row.
    void logits(pool_type& pool, std::size_t row_index, std::span<float> out) noexcept {
        float* const to = out.data();
        logits(pool, {&row_index, 1}, {&to, 1});
    }

    /// The hidden state [hidden] of one row behind the last norm: what the head multiplies. Valid until the next call.
    [[nodiscard]] const float* final_state(std::size_t row_index) noexcept {
        float* x = row_of(scratch_.normed, 0);
        P::loops::rms_norm(row_of(scratch_.residual, row_index), weights_->output_norm(), model_->rms_epsilon,
                           model_->hidden, x);
        return x;
    }

private:
    transformer(const hyper_parameters& model, const weights<typename P::layout>& weights,
                const rotary_frequencies& frequencies, scratch memory)
        : model_(&model), weights_(&weights), frequencies_(&frequencies), scratch_(std::move(memory)) {}

    [[nodiscard]] matrix_view<float> used(float_rows& all) const noexcept { return all.first(rows_.size()); }
    [[nodiscard]] static float* row_of(float_rows& all, std::size_t r) noexcept {
        return all.values.data() + r * all.cols;
    }

    /// Norms and quantises all rows of x for the products that follow.
    void quantize(pool_type& pool, float_rows& x, const float* norm) noexcept {
        normalize_and_quantize<P>(pool, used(x), norm, model_->rms_epsilon, used(scratch_.normed), scratch_.quantized);
    }

    void rotate_and_store(std::size_t layer, std::size_t r) noexcept {
        const float* cosines = row_of(scratch_.cosines, r);
        const float* sines = row_of(scratch_.sines, r);
        float* query = row_of(scratch_.query, r);
        float* key = row_of(scratch_.key, r);
        for (std::size_t h = 0; h < model_->heads; ++h) {
            P::loops::rotate(query + h * model_->head_size, cosines, sines, frequencies_->pairs());
        }
        for (std::size_t h = 0; h < model_->kv_heads; ++h) {
            P::loops::rotate(key + h * model_->head_size, cosines, sines, frequencies_->pairs());
        }
        const float* value = row_of(scratch_.value, r);
        rows_[r].cache->template store<typename P::loops>(layer, rows_[r].position, key, value);
    }

    /// gated = activation(x gate^T) * (x up^T): both products of a chunk by one task, joined while still in cache.
    void gate_and_up(pool_type& pool, const layer_weights<typename P::layout>& w) noexcept {
        const std::size_t cols = model_->feed_forward;
        const std::size_t chunk = rows_per_task(w.ffn_gate.cols());
        parallel_for(pool, (cols + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            const std::size_t first = task * chunk;
            const std::size_t count = std::min(chunk, cols - first);
            multiply_rows<P>(w.ffn_gate, first, count, scratch_.quantized,
                             [&](std::size_t r, float scale, const std::int32_t* products) noexcept {
                                 P::loops::dequantize(products, w.ffn_gate.scale, scale, count,
                                                      row_of(scratch_.gated, r) + first);
                             });
            multiply_rows<P>(w.ffn_up, first, count, scratch_.quantized,
                             [&](std::size_t r, float scale, const std::int32_t* products) noexcept {
                                 std::array<float, 128> up; // rows_per_task() at most
                                 P::loops::dequantize(products, w.ffn_up.scale, scale, count, up.data());
                                 activate(row_of(scratch_.gated, r) + first, up.data(), count);
                             });
        });
    }

    void activate(float* gate, const float* up, std::size_t n) const noexcept {
        if (model_->activation == activation_function::relu2) {
            P::loops::relu2_times(gate, up, n, gate);
        } else {
            P::loops::silu_times(gate, up, n, gate);
        }
    }

    const hyper_parameters* model_;
    const weights<typename P::layout>* weights_;
    const rotary_frequencies* frequencies_;
    scratch scratch_;
    std::span<const row> rows_;
};

} // namespace bitnet::inline BITNET_ABI
