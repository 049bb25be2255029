// SPDX-License-Identifier: MIT
// transformer: one forward pass over a batch of (sequence, position, token), in steps that the caller sequences.
#ifndef BITNET_MODEL_TRANSFORMER_HPP
#define BITNET_MODEL_TRANSFORMER_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/model/attention.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/linear.hpp>
#include <bitnet/model/lm_head.hpp>
#include <bitnet/model/scratch.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/simd/rotary.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The graph of all model_families:
///
///     x = embedding[token] * embedding_scale
///     each layer: x += s * post_norm(o(sub_norm(attention(rope(head_norm(q(n))), rope(head_norm(k(n))), v(n)))))
///                 x += s * post_norm(down(sub_norm(activation(gate(m)) * up(m))))
///                 with s = residual_scale, n = norm(x) and m = norm(x), which q, k, v, gate and up may norm once more,
///                 each its own way
///     logits = head * norm(x) / logit_scale
///
/// Norms other than norm() are where the file has them, and so are biases, which q, k and v add to their products.
/// Source: Ma et al., "The Era of 1-bit LLMs", 2024; BitNet b1.58 2B4T report, 2025; "BitNet Text Embeddings", 2026.
///
/// Every matrix but embedding and head is ternary and takes its input quantised to int8, row by row.
/// begin(), then layer(0), layer(1), ..., then logits() for the rows that are asked for: no loop over layers in here,
/// so a caller can stop between layers. All steps of a pass use the same rows. Allocates in open() only.
///
/// All work is in the loops that a pool runs. Between them these three write nothing that another call of the same step
/// would not write alike: a stepped_pool can stop them inside any loop, and call them again to go on.
class transformer {
public:
    /// Borrows its arguments but the numbers. \return errc::out_of_memory.
    [[nodiscard]] static result<transformer> open(const engine& tables, const hyper_parameters& model,
                                                  const weights& weights, std::size_t max_rows,
                                                  const memory_source* memory = nullptr) {
        auto space = scratch::open(model, weights, *tables.ternary, max_rows, memory);
        if (!space) {
            return failed(space);
        }
        return transformer(tables, model, weights, *std::move(space));
    }

    [[nodiscard]] std::size_t max_rows() const noexcept { return scratch_.max_rows; }
    [[nodiscard]] std::size_t layers() const noexcept { return model_->layers; }

    /// Starts a pass: looks the tokens up. \pre 1 <= rows.size() <= max_rows(); ids inside the vocabulary, but for rows
    /// with embeddings of their own; rows of one sequence have ascending positions and their cache has room. `rows`
    /// lives until the pass is over.
    void begin(pool_ref pool, std::span<const sequence_row> rows) noexcept {
        assert(!rows.empty() && rows.size() <= max_rows());
        rows_ = rows;
        parallel_for(pool, rows.size(), [&](std::size_t r) noexcept {
            float* x = row_of(scratch_.residual, r);
            if (rows[r].embedding != nullptr) {
                std::copy_n(rows[r].embedding, model_->hidden, x);
            } else {
                look_up(static_cast<std::size_t>(rows[r].id), x);
            }
            float* cosines = row_of(scratch_.cosines, r);
            float* sines = row_of(scratch_.sines, r);
            rows[r].frequencies->angles(rows[r].rotation(), cosines, sines);
            if (rows[r].window.dropped != 0) {
                rows[r].frequencies->angles(rows[r].position, cosines + pairs(), sines + pairs());
            }
        });
    }

    /// Runs layer `index` over all rows and stores their keys and values. \pre the layers below have run.
    void layer(pool_ref pool, std::size_t index) noexcept {
        const auto& w = weights_->layer(index);
        query_key_value(pool, w);
        // Neighbours by one thread: sixteen positions of a sequence write their keys to the same lines of cache.
        const std::size_t most = std::clamp<std::size_t>(rows_.size() / (4 * pool.threads()), 1, kv_cache::key_lanes);
        parallel_for(pool, (rows_.size() + most - 1) / most, [&](std::size_t task) noexcept {
            const std::size_t end = (std::min)((task + 1) * most, rows_.size());
            for (std::size_t r = task * most; r < end; ++r) {
                rotate_and_store(w, index, r);
            }
        });
        attention(*loops_, *tables_->kv, *model_, index, rows_, used(scratch_.query), scratch_.sink_query(rows_.size()),
                  used(scratch_.attended), scratch_.parts)
            .run(pool);
        quantize(pool, scratch_.attended, {w.attn_sub_norm});
        add_to_residual(pool, w.attn_output, w.post_attention_norm);
        gate_and_up(pool, w);
        quantize(pool, scratch_.gated, {w.ffn_sub_norm});
        add_to_residual(pool, w.ffn_down, w.post_ffw_norm);
    }

    /// A whole pass: begin() and all layers.
    void run(pool_ref pool, std::span<const sequence_row> rows) noexcept {
        begin(pool, rows);
        for (std::size_t index = 0; index < model_->layers; ++index) {
            layer(pool, index);
        }
    }

    /// Logits of rows `rows[i]` of the pass to out[i] [vocabulary], the same bits as one by one. Reads the head once.
    /// \pre all layers have run; rows.size() == out.size() <= max_rows(); rows below the number of this pass.
    void logits(pool_ref pool, std::span<const std::size_t> rows, std::span<float* const> out) noexcept {
        assert(rows.size() == out.size() && rows.size() <= max_rows());
        parallel_for(pool, rows.size(), [&](std::size_t i) noexcept {
            loops_->rms_norm(row_of(scratch_.residual, rows[i]), weights_->output_norm(), model_->rms_epsilon,
                             model_->hidden, row_of(scratch_.normed, i));
        });
        multiply_by_head(pool, rows.size(), out);
        if (model_->logit_scale != 1.0f) {
            parallel_for(pool, rows.size(), [&](std::size_t i) noexcept {
                loops_->divide(out[i], model_->logit_scale, model_->vocabulary);
            });
        }
    }
    /// The same for one row.
    void logits(pool_ref pool, std::size_t row_index, std::span<float> out) noexcept {
        float* const to = out.data();
        logits(pool, {&row_index, 1}, {&to, 1});
    }

    /// Whether listed_logits() can be asked: the output matrix is no ternary one.
    [[nodiscard]] bool has_listed_logits() const noexcept { return !weights_->ternary_head().has_blocks(); }
    /// out[i] = the logit of token ids[i] of one row, the same bits as in logits(). Reads these rows of the output
    /// matrix alone. \pre has_listed_logits()
    void listed_logits(pool_ref pool, std::size_t row_index, std::span<const std::uint32_t> ids, float* out) noexcept {
        lm_head_listed(pool, *loops_, weights_->lm_head(), ids, final_state(row_index), out);
        if (model_->logit_scale != 1.0f) {
            loops_->divide(out, model_->logit_scale, ids.size());
        }
    }

    /// The hidden state [hidden] of one row after the last norm: what the output matrix multiplies. Valid until the
    /// next call but one of this with another `place`, which is below max_rows().
    [[nodiscard]] const float* final_state(std::size_t row_index, std::size_t place = 0) noexcept {
        float* x = row_of(scratch_.normed, place);
        loops_->rms_norm(row_of(scratch_.residual, row_index), weights_->output_norm(), model_->rms_epsilon,
                         model_->hidden, x);
        return x;
    }

    /// What final_state() gave for that place.
    [[nodiscard]] const float* place_of_state(std::size_t place) noexcept { return row_of(scratch_.normed, place); }

    /// The hidden state [hidden] of one row as the layers left it.
    [[nodiscard]] const float* state(std::size_t row_index) const noexcept {
        return scratch_.residual.values.data() + row_index * scratch_.residual.cols;
    }
    /// The same, and back, to a row that no pass uses meanwhile.
    void copy_state(std::size_t row_index, float* out) noexcept { std::copy_n(state(row_index), model_->hidden, out); }
    void set_state(const float* state, std::size_t row_index = 0) noexcept {
        std::copy_n(state, model_->hidden, row_of(scratch_.residual, row_index));
    }

    /// sum += final_state(row_index)
    void add_final_state(std::size_t row_index, std::span<float> sum) noexcept {
        loops_->add(final_state(row_index), model_->hidden, sum.data());
    }

    /// `state` [hidden] scaled to length one; it may be final_state(). Valid until the next call.
    [[nodiscard]] std::span<const float> normalized(const float* state) noexcept {
        float* x = row_of(scratch_.normed, 0);
        loops_->normalize(state, model_->hidden, x);
        return {x, model_->hidden};
    }

private:
    transformer(const engine& tables, const hyper_parameters& model, const weights& weights, scratch memory) noexcept
        : tables_(&tables), loops_(tables.loops), model_(&model), weights_(&weights), scratch_(std::move(memory)) {}

    [[nodiscard]] linear on(pool_ref pool) const noexcept { return {*tables_, pool}; }

    /// x [hidden] = the embedding of a token.
    void look_up(std::size_t id, float* x) const noexcept {
        if (weights_->ternary_embedding().has_blocks()) {
            widen_blocks(weights_->ternary_embedding().blocks, id, 0, model_->hidden, x);
        } else {
            const float_matrix& table = weights_->token_embedding();
            loops_->of(table.element).widen_row(table.row(id), table.cols, x);
        }
        if (model_->embedding_scale != 1.0f) {
            loops_->scale(x, model_->embedding_scale, model_->hidden);
        }
    }

    [[nodiscard]] std::size_t pairs() const noexcept { return model_->head_size / 2; }
    [[nodiscard]] matrix_view<float> used(float_rows& all) const noexcept { return all.first(rows_.size()); }
    [[nodiscard]] static float* row_of(float_rows& all, std::size_t r) noexcept {
        return all.values.data() + r * all.cols;
    }

    /// out[i] [vocabulary] = head * row i of normed.
    void multiply_by_head(pool_ref pool, std::size_t count, std::span<float* const> out) noexcept {
        const float_rows& normed = scratch_.normed;
        const ternary_matrix& head = weights_->ternary_head();
        if (!head.has_blocks()) {
            return lm_head_products(pool, *loops_, weights_->lm_head(),
                                    {normed.values.data(), count, model_->hidden, normed.cols}, out);
        }
        const linear products = on(pool);
        parallel_for(pool, count, [&](std::size_t i) noexcept {
            products.quantize({row_of(scratch_.normed, i), model_->hidden}, scratch_.quantized, i);
        });
        scratch_.quantized.used_rows = count;
        products.project_rows(head, scratch_.quantized, out);
    }

    /// Norms and quantises all rows of x for the products that follow.
    void quantize(pool_ref pool, float_rows& x, const norm_chain& norms) noexcept {
        on(pool).normalize_and_quantize(used(x), norms, model_->rms_epsilon, used(scratch_.normed), scratch_.quantized);
    }

    void query_key_value(pool_ref pool, const layer_weights& w) noexcept {
        const linear::projection query{&w.attn_q, used(scratch_.query)};
        const linear::projection key{&w.attn_k, used(scratch_.key)};
        const linear::projection value{&w.attn_v, used(scratch_.value)};
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_q_norm_in});
        if (!w.has_own_qkv_inputs()) {
            return on(pool).project<3>({{query, key, value}}, scratch_.quantized);
        }
        on(pool).project<1>({{query}}, scratch_.quantized);
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_k_norm_in});
        on(pool).project<1>({{key}}, scratch_.quantized);
        quantize(pool, scratch_.residual, {w.attn_norm, w.attn_v_norm_in});
        on(pool).project<1>({{value}}, scratch_.quantized);
    }

    void rotate_and_store(const layer_weights& w, std::size_t layer, std::size_t r) noexcept {
        add_bias(w.attn_q_bias, used(scratch_.query), r);
        add_bias(w.attn_k_bias, used(scratch_.key), r);
        add_bias(w.attn_v_bias, used(scratch_.value), r);
        const float* cosines = row_of(scratch_.cosines, r);
        const float* sines = row_of(scratch_.sines, r);
        if (rows_[r].window.dropped != 0) {
            float* to_sinks = scratch_.sink_query(rows_.size()).row(r).data();
            std::copy_n(row_of(scratch_.query, r), model_->query_columns(), to_sinks);
            rotate_heads(to_sinks, model_->heads, w.attn_q_norm, r, cosines + pairs(), sines + pairs());
        }
        rotate_heads(row_of(scratch_.query, r), model_->heads, w.attn_q_norm, r, cosines, sines);
        rotate_heads(row_of(scratch_.key, r), model_->kv_heads, w.attn_k_norm, r, cosines, sines);
        rows_[r].cache->store(layer, rows_[r].position, row_of(scratch_.key, r), row_of(scratch_.value, r));
    }

    void add_bias(const float* bias, matrix_view<float> products, std::size_t r) noexcept {
        if (bias != nullptr) {
            loops_->add(bias, products.cols, products.row(r).data());
        }
    }

    /// Norms, where there is a norm, and rotates the heads of row `r` in place.
    void rotate_heads(float* head, std::size_t count, const float* norm, std::size_t r, const float* cosines,
                      const float* sines) noexcept {
        for (const float* end = head + count * model_->head_size; head != end; head += model_->head_size) {
            if (norm != nullptr) {
                loops_->rms_norm(head, norm, model_->rms_epsilon, model_->head_size, head);
            }
            if (model_->pairing == rotary_pairing::interleaved) {
                split_neighbours(head, row_of(scratch_.normed, r));
            }
            loops_->rotate(head, cosines, sines, pairs());
        }
    }

    /// Columns 2 j and 2 j + 1 of a head to j and j + head_size / 2, where a checkpoint has them that was not permuted:
    /// with the order of the columns, the sums of attention are the same too.
    void split_neighbours(float* head, float* spare) noexcept {
        std::copy_n(head, 2 * pairs(), spare);
        for (std::size_t j = 0; j < pairs(); ++j) {
            head[j] = spare[2 * j];
            head[j + pairs()] = spare[2 * j + 1];
        }
    }

    /// residual += residual_scale * norm(x w^T), x being what was quantised last; without scale and norm in one go.
    void add_to_residual(pool_ref pool, const ternary_matrix& w, const float* norm) noexcept {
        const float scale = model_->residual_scale;
        if (norm == nullptr && scale == 1.0f) {
            return on(pool).project_add(w, scratch_.quantized, used(scratch_.residual));
        }
        on(pool).project<1>({{{&w, used(scratch_.normed)}}}, scratch_.quantized);
        parallel_for(pool, rows_.size(), [&](std::size_t r) noexcept {
            float* products = row_of(scratch_.normed, r);
            if (norm != nullptr) {
                loops_->rms_norm(products, norm, model_->rms_epsilon, model_->hidden, products);
            }
            if (scale != 1.0f) {
                loops_->scale(products, scale, model_->hidden);
            }
            loops_->add(products, model_->hidden, row_of(scratch_.residual, r));
        });
    }

    /// gated = activation(x gate^T) * (x up^T), in one loop if both have the same x.
    void gate_and_up(pool_ref pool, const layer_weights& w) noexcept {
        quantize(pool, scratch_.residual, {w.ffn_norm, w.ffn_gate_norm_in});
        const matrix_view<float> gated = used(scratch_.gated);
        if (!w.has_own_ffn_inputs()) {
            return on(pool).project_gated(w.ffn_gate, w.ffn_up, model_->activation, scratch_.quantized, gated);
        }
        on(pool).project<1>({{{&w.ffn_gate, gated}}}, scratch_.quantized);
        quantize(pool, scratch_.residual, {w.ffn_norm, w.ffn_up_norm_in});
        on(pool).project_gated(w.ffn_up, model_->activation, scratch_.quantized, gated);
    }

    const engine* tables_;
    const loop_table* loops_;
    const hyper_parameters* model_;
    const weights* weights_;
    scratch scratch_;
    std::span<const sequence_row> rows_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
