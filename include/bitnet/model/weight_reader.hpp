// SPDX-License-Identifier: MIT
// weight_reader: finds, checks and where necessary repacks the tensors of a model.
#ifndef BITNET_MODEL_WEIGHT_READER_HPP
#define BITNET_MODEL_WEIGHT_READER_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/model_file.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/progress_meter.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/model/weight_sizes.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One reading of a file's tensors; the first failure stays. Use weights::open.
class weight_reader {
public:
    weight_reader(const gguf_file& file, const hyper_parameters& model, const layout_table& layout,
                  const weight_options& options, pool_ref pool)
        : file_(file), model_(model), layout_(layout), options_(options), pool_(pool) {}

    [[nodiscard]] result<weights> run() {
        if (auto made = allocate(); !made) {
            return failed(made);
        }
        choose_arithmetic();
        read_embedding_and_head();
        made_.output_norm_ = vector("output_norm.weight", model_.hidden);
        for (std::size_t i = 0; i < model_.layers && ok(); ++i) {
            read_layer("blk." + std::to_string(i) + ".", made_.layers_[i]);
        }
        refuse_unused();
        finish_tensor();
        if (!ok()) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    void choose_arithmetic() {
        const auto chosen = weight_arithmetic::of(file_, options_.activations);
        made_.activations_ = chosen.activations;
        made_.has_blocks_ = chosen.has_blocks;
        made_.layout_ = layout_.name;
        if (made_.has_blocks_) {
            layout_ = unscaled_blocks;
            const gguf_tensor* tensor = file_.find_tensor("blk.0.attn_q.weight");
            made_.layout_ =
                tensor != nullptr && tensor->type == tensor_type::q2_0_g64 ? name_of(tensor->type) : layout_.name;
        }
    }

    void read_embedding_and_head() {
        const std::string embedding = "token_embd.weight";
        const std::string head = "output.weight";
        if (is_ternary(embedding)) {
            made_.ternary_embedding_ = block_matrix(embedding, model_.vocabulary, model_.hidden);
        } else {
            made_.embedding_ = floats(embedding);
        }
        if (!model_.has_own_lm_head) {
            made_.lm_head_ = made_.embedding_;
            made_.ternary_head_ = made_.ternary_embedding_;
        } else if (is_ternary(head)) {
            made_.ternary_head_ = block_matrix(head, model_.vocabulary, model_.hidden);
        } else {
            made_.lm_head_ = floats(head);
        }
    }
    [[nodiscard]] bool is_ternary(const std::string& name) const noexcept {
        const gguf_tensor* tensor = file_.find_tensor(name);
        return made_.has_blocks_ && tensor != nullptr && has_block_scales(tensor->type);
    }

    [[nodiscard]] bool ok() const noexcept { return failure_.code == errc{}; }

    void fail(errc code, std::string_view tensor, std::string_view what) {
        if (ok()) {
            failure_ = {code, sentence({file_.name(), ": tensor ", quoted_name(tensor), ": ", what})};
        }
    }

    void fail(error failure) {
        if (ok()) {
            failure_ = std::move(failure);
        }
    }

    [[nodiscard]] memory_from temporary() const noexcept { return {file_.memory(), {memory_use::temporary, false}}; }

    /// Norms and biases are copied (and widened): a few MB at most, and then always aligned floats.
    [[nodiscard]] result<void> allocate() {
        auto norms = buffer<float>::allocate_uninitialized(weights::norm_floats(model_), "norm weights",
                                                           {file_.memory(), {memory_use::weights, false}});
        if (!norms) {
            return failed(norms);
        }
        made_.norms_ = *std::move(norms); // what a model has no norms for is never touched and takes no pages
        auto used = buffer<bool>::allocate(file_.tensors().size(), "tensor table", temporary());
        if (!used) {
            return failed(used);
        }
        used_tensors_ = *std::move(used);
        auto layers = buffer<layer_weights>::allocate(model_.layers, "layer table",
                                                      {file_.memory(), {memory_use::tables, false}});
        if (!layers) {
            return failed(layers);
        }
        made_.layers_ = *std::move(layers);
        return {};
    }

    /// Memory for all ternary tensors of the model. What stays unused is never touched and takes no pages.
    [[nodiscard]] result<void> allocate_repacked() {
        const auto bytes = all_repacked_bytes(model_, layout_, made_.has_blocks_);
        if (!bytes) {
            return error{errc::out_of_memory, "repacked weights: the number of bytes overflows 64 bits"};
        }
        auto memory = buffer<std::uint8_t>::allocate_uninitialized(*bytes, "repacked weights",
                                                                   {file_.memory(), {memory_use::weights, true}});
        if (!memory) {
            return failed(memory);
        }
        made_.repacked_ = *std::move(memory);
        return {};
    }
    /// The tensor that was found last is read.
    void finish_tensor() {
        if (ok() && !advance(options_.progress, std::exchange(bytes_in_work_, 0))) {
            fail(options_.progress->cancelled(file_.name()));
        }
    }

    [[nodiscard]] const gguf_tensor* find(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
        finish_tensor();
        if (!ok()) {
            return nullptr;
        }
        const gguf_tensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) {
            fail(errc::missing_tensor, name, "not in the file");
            return nullptr;
        }
        if (tensor->dims != tensor_dims{cols, rows, 1, 1}) {
            fail(errc::wrong_shape, name,
                 rows == 1
                     ? sentence({dims_text(*tensor), " in the file, [", cols, "] expected from the hyper-parameters"})
                     : sentence({dims_text(*tensor), " in the file, [", cols, ", ", rows,
                                 "] expected from the hyper-parameters"}));
            return nullptr;
        }
        used_tensors_[static_cast<std::size_t>(tensor - file_.tensors().data())] = true;
        bytes_in_work_ = tensor->bytes.size();
        return tensor;
    }

    /// Refuses norms of layers that no step of the graph has asked for: without them the results would be wrong. What
    /// has no place in any layer is refused by hyper_parameters::read.
    void refuse_unused() {
        for (std::size_t i = 0; i < file_.tensors().size() && ok(); ++i) {
            const std::string_view name = file_.tensors()[i].name;
            const bool is_norm = name.ends_with("norm.weight") || name.ends_with("norm_in.weight");
            if (name.starts_with("blk.") && is_norm && !used_tensors_[i]) {
                fail(errc::unsupported_architecture, name,
                     sentence({"in the file, but the graph of ", model_.architecture, " has no place for it"}));
            }
        }
    }

    /// The embedding or the output matrix.
    [[nodiscard]] float_matrix floats(const std::string& name) {
        const gguf_tensor* tensor = ok() ? find(name, model_.vocabulary, model_.hidden) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        const auto element = float_element_of(tensor->type);
        if (!element) {
            fail(errc::unsupported_type, tensor->name,
                 sentence({"type ", name_of(tensor->type),
                           " in the file, F16, F32, BF16, Q8_0, Q6_K, Q4_K or Q4_0 expected"}));
            return {};
        }
        return {tensor->bytes.data(), model_.vocabulary, model_.hidden, *element};
    }

    /// A norm or a bias.
    [[nodiscard]] const float* vector(const std::string& name, std::size_t size) {
        const gguf_tensor* tensor = ok() ? find(name, 1, size) : nullptr;
        if (tensor == nullptr) {
            return nullptr;
        }
        float* out = made_.norms_.data() + used_norms_;
        used_norms_ += size;
        if (!widen_plain(tensor->type, tensor->bytes.data(), size, out)) {
            fail(errc::unsupported_type, name,
                 sentence({"type ", name_of(tensor->type), " in the file, F32, F16 or BF16 expected"}));
        }
        return out;
    }

    /// The norm `prefix` + `what`.weight. Null in a model that has none: if block 0 has it, every block must.
    [[nodiscard]] const float* optional_norm(const std::string& prefix, const std::string& what, std::size_t size) {
        const std::string name = prefix + what + ".weight";
        const bool wanted =
            file_.find_tensor("blk.0." + what + ".weight") != nullptr || file_.find_tensor(name) != nullptr;
        return wanted ? vector(name, size) : nullptr;
    }

    /// A norm between a layer's last two steps: `what`, which BitNet b1.58 must have, or `other`, which stands in the
    /// same place in the embedding models, or none.
    [[nodiscard]] const float* sub_norm(const std::string& prefix, const std::string& what, const std::string& other,
                                        std::size_t size) {
        if (model_.has_sub_norms) {
            return vector(prefix + what + ".weight", size);
        }
        const float* found = optional_norm(prefix, what, size);
        return found != nullptr ? found : optional_norm(prefix, other, size);
    }

    void read_layer(const std::string& prefix, layer_weights& layer) {
        read_attention(prefix, layer);
        const std::size_t hidden = model_.hidden;
        layer.ffn_norm = vector(prefix + "ffn_norm.weight", hidden);
        layer.ffn_gate_norm_in = optional_norm(prefix, "ffn_gate_norm_in", hidden);
        layer.ffn_up_norm_in = optional_norm(prefix, "ffn_up_norm_in", hidden);
        layer.ffn_gate = matrix(prefix + "ffn_gate", model_.feed_forward, hidden);
        layer.ffn_up = matrix(prefix + "ffn_up", model_.feed_forward, hidden);
        layer.ffn_sub_norm = sub_norm(prefix, "ffn_sub_norm", "ffn_down_norm_in", model_.feed_forward);
        layer.ffn_down = matrix(prefix + "ffn_down", hidden, model_.feed_forward);
        layer.post_ffw_norm = optional_norm(prefix, "post_ffw_norm", hidden);
    }

    void read_attention(const std::string& prefix, layer_weights& layer) {
        const std::size_t q = model_.query_columns();
        const std::size_t hidden = model_.hidden;
        layer.attn_norm = vector(prefix + "attn_norm.weight", hidden);
        layer.attn_q_norm_in = optional_norm(prefix, "attn_q_norm_in", hidden);
        layer.attn_k_norm_in = optional_norm(prefix, "attn_k_norm_in", hidden);
        layer.attn_v_norm_in = optional_norm(prefix, "attn_v_norm_in", hidden);
        layer.attn_q = matrix(prefix + "attn_q", q, hidden);
        layer.attn_k = matrix(prefix + "attn_k", model_.kv_columns(), hidden);
        layer.attn_v = matrix(prefix + "attn_v", model_.kv_columns(), hidden);
        read_biases(prefix, layer);
        layer.attn_q_norm = optional_norm(prefix, "attn_q_norm", model_.head_size);
        layer.attn_k_norm = optional_norm(prefix, "attn_k_norm", model_.head_size);
        layer.attn_sub_norm = sub_norm(prefix, "attn_sub_norm", "attn_output_norm_in", q);
        layer.attn_output = matrix(prefix + "attn_output", hidden, q);
        layer.post_attention_norm = optional_norm(prefix, "post_attention_norm", hidden);
    }

    /// All three or none, in all layers: a file with one of them must have the others.
    void read_biases(const std::string& prefix, layer_weights& layer) {
        if (!model_.has_qkv_biases) {
            return;
        }
        layer.attn_q_bias = vector(prefix + "attn_q.bias", model_.query_columns());
        layer.attn_k_bias = vector(prefix + "attn_k.bias", model_.kv_columns());
        layer.attn_v_bias = vector(prefix + "attn_v.bias", model_.kv_columns());
    }

    /// The ternary tensor `name`.weight, and the scale that a file may have beside it: in place if it is in our layout,
    /// otherwise repacked.
    [[nodiscard]] ternary_matrix matrix(const std::string& name, std::size_t rows, std::size_t cols) {
        if (made_.has_blocks_) {
            return block_matrix(name + ".weight", rows, cols);
        }
        const gguf_tensor* tensor = ok() ? find(name + ".weight", rows, cols) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        const auto source = ternary_source::open(file_, *tensor, options_.reading, pool_);
        if (!source) {
            fail(source.error());
            return {};
        }
        const bool is_in_place = source->layout() != nullptr && source->layout()->name == layout_.name;
        if (is_in_place && options_.verify_codes) {
            keep_failure(check_codes(layout_, *tensor, file_.name()));
        }
        return {is_in_place ? codes_of(*tensor) : repacked(*source, *tensor), source->scale(), {}};
    }

    /// A ternary tensor as scaled_blocks: in place if it has them, otherwise made of what it has.
    [[nodiscard]] ternary_matrix block_matrix(const std::string& name, std::size_t rows, std::size_t cols) {
        const gguf_tensor* tensor = ok() ? find(name, rows, cols) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        if (tensor->rank != 2) {
            fail(errc::wrong_shape, name, sentence({dims_text(*tensor), " in the file, a matrix expected"}));
            return {};
        }
        if (has_block_scales(tensor->type)) {
            return scaled_matrix(*tensor, rows, cols);
        }
        const auto source = ternary_source::open(file_, *tensor, options_.reading, pool_);
        if (!source) {
            fail(source.error());
            return {};
        }
        const ternary_view view = repacked(*source, *tensor);
        return {{}, source->scale(), {view.data, rows, cols, 128}};
    }

    /// A tensor whose blocks have scales, and the scale that a file may have beside it.
    [[nodiscard]] ternary_matrix scaled_matrix(const gguf_tensor& tensor, std::size_t rows, std::size_t cols) {
        const auto beside =
            is_ternary_place(tensor.name) ? find_scale(file_, tensor) : result<std::optional<float>>(std::nullopt);
        if (!beside) {
            fail(beside.error());
            return {};
        }
        const float scale = beside->value_or(1.0f);
        if (is_scaled_blocks(tensor.type)) {
            if (options_.verify_blocks) {
                keep_failure(check_scaled_blocks(pool_, tensor, file_.name()));
            }
            return {{}, scale, blocks_of(tensor)};
        }
        std::uint8_t* const out = repacked_space();
        if (out != nullptr) {
            keep_failure(pack_scaled_rows(pool_, tensor, file_.name(), out, file_.memory()));
            use_repacked(tensor);
        }
        return {{}, scale, {out, rows, cols, 128}};
    }

    /// Where the next repacked tensor goes; null after a failure.
    [[nodiscard]] std::uint8_t* repacked_space() {
        keep_failure(ok() && made_.repacked_.empty() ? allocate_repacked() : result<void>{});
        return ok() ? made_.repacked_.data() + used_repacked_ : nullptr;
    }
    /// After a tensor was repacked there: its own pages are not needed any more.
    void use_repacked(const gguf_tensor& tensor) {
        if (options_.source != nullptr) {
            options_.source->give_back(tensor.bytes);
        }
        const auto rows = to_size(tensor.dims[1]);
        const auto cols = to_size(tensor.dims[0]);
        used_repacked_ += to_size(*repacked_bytes(layout_, rows, cols));
        ++made_.repacked_tensors_;
        made_.repacked_bytes_ += *layout_.bytes(rows, cols);
    }

    [[nodiscard]] ternary_view repacked(const ternary_source& source, const gguf_tensor& tensor) {
        keep_failure(check_admits(layout_, tensor, file_.name()));
        std::uint8_t* const out = repacked_space();
        if (out == nullptr) {
            return {};
        }
        const auto rows = to_size(tensor.dims[1]);
        const auto cols = to_size(tensor.dims[0]);
        auto packed =
            pack_rows(pool_, source.rows(), tensor, file_.name(), layout_, out, source.stride(cols), file_.memory());
        if (!packed && packed.error().code == errc::bad_code && source.layout() != nullptr) {
            packed = check_codes(*source.layout(), tensor, file_.name()); // names the byte
        }
        keep_failure(std::move(packed));
        use_repacked(tensor);
        return {out, rows, cols};
    }

    void keep_failure(result<void> done) {
        if (!done) {
            fail(failed(done));
        }
    }

    const gguf_file& file_;
    const hyper_parameters& model_;
    layout_table layout_; ///< that ternary matrices are repacked to
    const weight_options& options_;
    pool_ref pool_;
    weights made_;
    buffer<bool> used_tensors_; ///< in the order of the file
    std::uint64_t bytes_in_work_ = 0;
    std::size_t used_norms_ = 0;
    std::size_t used_repacked_ = 0;
    error failure_;
};

inline result<weights> weights::open(const gguf_file& file, const hyper_parameters& model, const layout_table& layout,
                                     const weight_options& options, pool_ref pool) {
    return weight_reader(file, model, layout, options, pool).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
