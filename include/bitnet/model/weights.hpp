// SPDX-License-Identifier: MIT
// weights: the tensors of a model, in place in the file's bytes wherever the layout allows.
#ifndef BITNET_MODEL_WEIGHTS_HPP
#define BITNET_MODEL_WEIGHTS_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/ternary_reading.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

class gguf_file;
class model_file;

namespace detail {

/// A ternary matrix [rows, cols]: weight = (code - 1) * scale, and times the scale of its block where it has blocks.
struct ternary_matrix {
    ternary_view codes;   ///< of a matrix with one scale that meets rows of int8 with one scale
    float scale = 0;      ///< of the whole matrix
    scaled_blocks blocks; ///< instead of codes

    [[nodiscard]] bool has_blocks() const noexcept { return blocks.data != nullptr; }
    [[nodiscard]] std::size_t rows() const noexcept { return has_blocks() ? blocks.rows : codes.rows; }
    [[nodiscard]] std::size_t cols() const noexcept { return has_blocks() ? blocks.cols : codes.cols; }
};

/// The matrices, norms and biases of one transformer block. Shapes are [rows, cols] = [outputs, inputs]. A norm or bias
/// that is null is not applied.
struct layer_weights {
    const float* attn_norm = nullptr;           ///< [hidden]
    const float* attn_q_norm_in = nullptr;      ///< [hidden]: after attn_norm, before attn_q alone
    const float* attn_k_norm_in = nullptr;      ///< [hidden]
    const float* attn_v_norm_in = nullptr;      ///< [hidden]
    ternary_matrix attn_q;                      ///< [query_columns, hidden]
    ternary_matrix attn_k;                      ///< [kv_columns, hidden]
    ternary_matrix attn_v;                      ///< [kv_columns, hidden]
    const float* attn_q_bias = nullptr;         ///< [query_columns]; all three biases or none
    const float* attn_k_bias = nullptr;         ///< [kv_columns]
    const float* attn_v_bias = nullptr;         ///< [kv_columns]
    const float* attn_q_norm = nullptr;         ///< [head_size]: of each head, before rotation
    const float* attn_k_norm = nullptr;         ///< [head_size]
    const float* attn_sub_norm = nullptr;       ///< [query_columns]: before attn_output
    ternary_matrix attn_output;                 ///< [hidden, query_columns]
    const float* post_attention_norm = nullptr; ///< [hidden]: before the residual takes attn_output's products
    const float* ffn_norm = nullptr;            ///< [hidden]
    const float* ffn_gate_norm_in = nullptr;    ///< [hidden]: after ffn_norm, before ffn_gate alone
    const float* ffn_up_norm_in = nullptr;      ///< [hidden]
    ternary_matrix ffn_gate;                    ///< [feed_forward, hidden]
    ternary_matrix ffn_up;                      ///< [feed_forward, hidden]
    const float* ffn_sub_norm = nullptr;        ///< [feed_forward]: before ffn_down
    ternary_matrix ffn_down;                    ///< [hidden, feed_forward]
    const float* post_ffw_norm = nullptr;       ///< [hidden]: before the residual takes ffn_down's products

    /// Whether each of q, k and v, and each of gate and up, has an input of its own.
    [[nodiscard]] bool has_own_qkv_inputs() const noexcept {
        return attn_q_norm_in != nullptr || attn_k_norm_in != nullptr || attn_v_norm_in != nullptr;
    }
    [[nodiscard]] bool has_own_ffn_inputs() const noexcept {
        return ffn_gate_norm_in != nullptr || ffn_up_norm_in != nullptr;
    }
};

/// How weights are opened.
struct weight_options {
    /// What the file does not say of its ternary tensors.
    ternary_reading reading = {};
    /// Whether every code of every ternary tensor is looked at, to refuse code 3. Reads all weights once. Tensors that
    /// are repacked are looked at in any case.
    bool verify_codes = false;
    /// The same for tensors with a scale for each block, scales too: type 42 is also written for four-valued weights.
    bool verify_blocks = true;
    /// What happens to activations before the products.
    activation_rounding activations = activation_rounding::by_model;
    /// What the file's bytes are from: pages of tensors that were repacked are given back to it. May be null.
    const model_file* source = nullptr;
};

/// All weights of a model. Borrows the file's bytes, which must outlive it; owns the norms (widened to float) and the
/// ternary tensors that had to be repacked. Immutable once open.
class weights {
public:
    /// Repacks tensors that are not in `layout` on the threads of `pool`, and ternarises float masters: see
    /// has_float_masters.
    /// \return errc::missing_tensor, wrong_shape, unsupported_type, wrong_layout, bad_scale, bad_code or out_of_memory,
    /// naming the file, the tensor and both shapes or numbers.
    [[nodiscard]] static inline result<weights> open(const gguf_file& file, const hyper_parameters& model,
                                                     const layout_table& layout, const weight_options& options,
                                                     pool_ref pool);

    /// Floats of all norms and biases that a model can have.
    [[nodiscard]] static std::uint64_t norm_floats(const hyper_parameters& model) noexcept {
        const std::uint64_t per_layer = 9 * model.hidden + 2 * model.head_size + 2 * model.query_columns() +
                                        2 * model.kv_columns() + model.feed_forward;
        return per_layer * model.layers + model.hidden;
    }

    /// Whether ternary matrices are scaled_blocks: those of a file with several scales to a matrix, and all where
    /// activations are not rounded token by token.
    [[nodiscard]] bool has_blocks() const noexcept { return has_blocks_; }
    /// Never by_model.
    [[nodiscard]] activation_rounding activations() const noexcept { return activations_; }
    /// What the ternary matrices are in: the layout asked for, or "Q2_0", "Q2_0_G64" of scaled_blocks.
    [[nodiscard]] std::string_view layout() const noexcept { return layout_; }

    [[nodiscard]] const float_matrix& token_embedding() const noexcept { return embedding_; } ///< [vocabulary, hidden]
    /// The same two where they are ternary: then the float_matrix is empty.
    [[nodiscard]] const ternary_matrix& ternary_embedding() const noexcept { return ternary_embedding_; }
    [[nodiscard]] const ternary_matrix& ternary_head() const noexcept { return ternary_head_; }
    /// [vocabulary, hidden]; the embedding if the model has no output matrix of its own.
    [[nodiscard]] const float_matrix& lm_head() const noexcept { return lm_head_; }
    [[nodiscard]] const float* output_norm() const noexcept { return output_norm_; } ///< [hidden]
    [[nodiscard]] const layer_weights& layer(std::size_t i) const noexcept { return layers_[i]; }

    /// How many ternary tensors were not in the layout, and the bytes made of them.
    [[nodiscard]] std::size_t repacked_tensors() const noexcept { return repacked_tensors_; }
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return repacked_bytes_; }

private:
    friend class weight_reader;

    bool has_blocks_ = false;
    activation_rounding activations_ = activation_rounding::per_token;
    std::string_view layout_;
    float_matrix embedding_;
    float_matrix lm_head_;
    ternary_matrix ternary_embedding_;
    ternary_matrix ternary_head_;
    const float* output_norm_ = nullptr;
    std::unique_ptr<layer_weights[]> layers_;
    buffer<float> norms_;
    buffer<std::uint8_t> repacked_;
    std::size_t repacked_tensors_ = 0;
    std::uint64_t repacked_bytes_ = 0;
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
