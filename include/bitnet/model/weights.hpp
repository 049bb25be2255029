// SPDX-License-Identifier: MIT
// weights<Layout>: the tensors of a model, in place in the file's bytes wherever the layout allows.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/huge_pages.hpp>
#include <bitnet/core/quantized_block.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/i2s_tensor.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/model/hyper_parameters.hpp>
#include <bitnet/model/model_file.hpp>
#include <bitnet/model/ternary_tensor.hpp>
#include <bitnet/thread/pool.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A ternary matrix [rows, cols] and its one scale: weight = (code - 1) * scale.
template <class Layout> struct ternary_matrix {
    typename Layout::view codes;
    float scale = 0;

    [[nodiscard]] std::size_t rows() const noexcept { return codes.rows; }
    [[nodiscard]] std::size_t cols() const noexcept { return codes.cols; }
};

/// What the elements of a dense matrix are.
enum class dense_element { f32, f16, bf16, q8_0, q6_k, q4_k, q4_0 };

/// Calls f.operator()<E>() for the type of the elements.
template <class F> auto with_element(dense_element element, F&& f) noexcept {
    switch (element) {
    case dense_element::f32:
        return f.template operator()<float>();
    case dense_element::bf16:
        return f.template operator()<bfloat16>();
    case dense_element::q8_0:
        return f.template operator()<bitnet::q8_0>();
    case dense_element::q6_k:
        return f.template operator()<bitnet::q6_k>();
    case dense_element::q4_k:
        return f.template operator()<bitnet::q4_k>();
    case dense_element::q4_0:
        return f.template operator()<bitnet::q4_0>();
    case dense_element::f16:
        break;
    }
    return f.template operator()<half>();
}

/// What the elements of a tensor are; nothing for types that no head and no embedding has.
[[nodiscard]] constexpr std::optional<dense_element> dense_element_of(tensor_type type) noexcept {
    switch (type) {
    case tensor_type::f32:
        return dense_element::f32;
    case tensor_type::f16:
        return dense_element::f16;
    case tensor_type::bf16:
        return dense_element::bf16;
    case tensor_type::q8_0:
        return dense_element::q8_0;
    case tensor_type::q6_k:
        return dense_element::q6_k;
    case tensor_type::q4_k:
        return dense_element::q4_k;
    case tensor_type::q4_0:
        return dense_element::q4_0;
    default:
        return std::nullopt;
    }
}

/// The embedding and head, [rows, cols], in the file's own type and place, at any alignment.
struct dense_matrix {
    const std::byte* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    dense_element element = dense_element::f16;

    [[nodiscard]] std::size_t row_bytes() const noexcept {
        return with_element(element, [this]<class E>() { return row_bytes_of<E>(cols); });
    }
};

/// The matrices and norms of one transformer block. Shapes are [rows, cols] = [outputs, inputs]. A norm that is null is
/// not applied.
template <class Layout> struct layer_weights {
    const float* attn_norm = nullptr;           ///< [hidden]
    const float* attn_q_norm_in = nullptr;      ///< [hidden]: after attn_norm, before attn_q alone
    const float* attn_k_norm_in = nullptr;      ///< [hidden]
    const float* attn_v_norm_in = nullptr;      ///< [hidden]
    ternary_matrix<Layout> attn_q;              ///< [query_columns, hidden]
    ternary_matrix<Layout> attn_k;              ///< [kv_columns, hidden]
    ternary_matrix<Layout> attn_v;              ///< [kv_columns, hidden]
    const float* attn_q_norm = nullptr;         ///< [head_size]: of each head, before rotation
    const float* attn_k_norm = nullptr;         ///< [head_size]
    const float* attn_sub_norm = nullptr;       ///< [query_columns]: before attn_output
    ternary_matrix<Layout> attn_output;         ///< [hidden, query_columns]
    const float* post_attention_norm = nullptr; ///< [hidden]: before the residual takes attn_output's products
    const float* ffn_norm = nullptr;            ///< [hidden]
    const float* ffn_gate_norm_in = nullptr;    ///< [hidden]: after ffn_norm, before ffn_gate alone
    const float* ffn_up_norm_in = nullptr;      ///< [hidden]
    ternary_matrix<Layout> ffn_gate;            ///< [feed_forward, hidden]
    ternary_matrix<Layout> ffn_up;              ///< [feed_forward, hidden]
    const float* ffn_sub_norm = nullptr;        ///< [feed_forward]: before ffn_down
    ternary_matrix<Layout> ffn_down;            ///< [hidden, feed_forward]
    const float* post_ffw_norm = nullptr;       ///< [hidden]: before the residual takes ffn_down's products

    /// Whether each of q, k and v, and each of gate and up, has an input of its own.
    [[nodiscard]] bool has_own_qkv_inputs() const noexcept {
        return attn_q_norm_in != nullptr || attn_k_norm_in != nullptr || attn_v_norm_in != nullptr;
    }
    [[nodiscard]] bool has_own_ffn_inputs() const noexcept {
        return ffn_gate_norm_in != nullptr || ffn_up_norm_in != nullptr;
    }
};

struct weight_options {
    /// Which of the three byte orders the file's I2_S tensors have: the file does not tell. A but for files that were
    /// quantised on Arm (B) or by an x86 build without ACT_PARALLEL (C).
    i2s_order file_order = i2s_order::planar_128;
    /// Whether every code of every ternary tensor is looked at, to refuse code 3. Reads all weights once. Tensors that
    /// are repacked are looked at in any case.
    bool verify_codes = false;
    /// Where the file's bytes come from: pages of tensors that were repacked are given back to it. May be null.
    const model_file* source = nullptr;
    /// The text of the kernel_config.ini that a file in microsoft/BitNet's TL1 or TL2 was written with.
    std::string_view lookup_tiling = {};
};

/// All weights of a model. Borrows the file's bytes, which must outlive it; owns the norms (widened to float) and the
/// ternary tensors that had to be repacked. Immutable once open.
template <class Layout> class weights {
public:
    /// Repacks tensors that are not in `Layout` on the threads of `pool`, and ternarises masters: see has_masters.
    /// \return errc::missing_tensor, wrong_shape, unsupported_type, wrong_layout, bad_scale, bad_code or out_of_memory,
    /// naming the file, the tensor and both shapes or numbers.
    template <thread_pool_type Pool>
    [[nodiscard]] static result<weights> open(const gguf_file& file, const hyper_parameters& model,
                                              const weight_options& options, Pool& pool);

    [[nodiscard]] const dense_matrix& embedding() const noexcept { return embedding_; } ///< [vocabulary, hidden]
    /// [vocabulary, hidden]; the embedding where the model has no head of its own.
    [[nodiscard]] const dense_matrix& head() const noexcept { return head_; }
    [[nodiscard]] const float* output_norm() const noexcept { return output_norm_; } ///< [hidden]
    [[nodiscard]] const layer_weights<Layout>& layer(std::size_t i) const noexcept { return layers_[i]; }

    /// How many ternary tensors were not in the policy's layout, and the bytes made of them.
    [[nodiscard]] std::size_t repacked_tensors() const noexcept { return repacked_tensors_; }
    [[nodiscard]] std::uint64_t repacked_bytes() const noexcept { return repacked_bytes_; }

private:
    template <class L, class Pool> friend class weight_reader;

    dense_matrix embedding_;
    dense_matrix head_;
    const float* output_norm_ = nullptr;
    std::unique_ptr<layer_weights<Layout>[]> layers_;
    buffer<float> norms_;
    buffer<std::uint8_t> repacked_;
    std::size_t repacked_tensors_ = 0;
    std::uint64_t repacked_bytes_ = 0;
};

/// One reading of a file's tensors; the first failure stays. Use weights::open.
template <class Layout, class Pool> class weight_reader {
public:
    weight_reader(const gguf_file& file, const hyper_parameters& model, const weight_options& options, Pool& pool)
        : file_(file), model_(model), options_(options), pool_(pool) {}

    [[nodiscard]] result<weights<Layout>> run() {
        if (auto made = allocate(); !made) {
            return std::move(made).error();
        }
        made_.embedding_ = dense("token_embd.weight");
        made_.head_ = model_.has_own_head ? dense("output.weight") : made_.embedding_;
        made_.output_norm_ = norm("output_norm.weight", model_.hidden);
        for (std::size_t i = 0; i < model_.layers && ok(); ++i) {
            read_layer("blk." + std::to_string(i) + ".", made_.layers_[i]);
        }
        refuse_unused();
        if (!ok()) {
            return std::move(failure_);
        }
        return std::move(made_);
    }

private:
    [[nodiscard]] bool ok() const noexcept { return failure_.code == errc{}; }

    void fail(errc code, std::string_view tensor, const std::string& sentence) {
        if (ok()) {
            failure_ = {code, file_.name() + ": tensor '" + std::string(tensor) + "': " + sentence};
        }
    }

    void fail(const error& failure) {
        if (ok()) {
            failure_ = failure;
        }
    }

    /// Norms are copied (and widened): a few MB at most, and then always aligned floats.
    [[nodiscard]] result<void> allocate() {
        const std::uint64_t per_layer =
            9 * model_.hidden + 2 * model_.head_size + model_.query_columns() + model_.feed_forward;
        auto norms = buffer<float>::allocate_uninitialized(per_layer * model_.layers + model_.hidden, "norm weights");
        if (!norms) {
            return std::move(norms).error();
        }
        made_.norms_ = *std::move(norms); // what a model has no norms for is never touched and takes no pages
        auto used = buffer<bool>::allocate(file_.tensors().size(), "tensor table");
        if (!used) {
            return std::move(used).error();
        }
        used_tensors_ = *std::move(used);
        made_.layers_.reset(new (std::nothrow) layer_weights<Layout>[model_.layers]);
        if (made_.layers_ == nullptr) {
            return error{errc::out_of_memory,
                         "layer table: " + std::to_string(model_.layers * sizeof(layer_weights<Layout>)) +
                             " bytes could not be allocated"};
        }
        return {};
    }

    /// Memory for all ternary tensors of the model. What stays unused is never touched and takes no pages.
    [[nodiscard]] result<void> allocate_repacked() {
        const std::size_t q = model_.query_columns();
        const std::size_t shapes[][3] = {{1, q, model_.hidden},
                                         {2, model_.kv_columns(), model_.hidden},
                                         {1, model_.hidden, q},
                                         {2, model_.feed_forward, model_.hidden},
                                         {1, model_.hidden, model_.feed_forward}};
        std::optional<std::uint64_t> bytes = 0;
        for (const auto& [count, rows, cols] : shapes) {
            const auto one = repacked_size(rows, cols);
            const auto all = one ? checked_multiply(*one, count * model_.layers) : one;
            bytes = bytes && all ? checked_add(*bytes, *all) : std::nullopt;
        }
        if (!bytes) {
            return error{errc::out_of_memory, "repacked weights: the number of bytes overflows 64 bits"};
        }
        auto memory = buffer<std::uint8_t>::allocate_uninitialized(*bytes, "repacked weights");
        if (!memory) {
            return std::move(memory).error();
        }
        made_.repacked_ = *std::move(memory);
        ask_for_huge_pages(made_.repacked_.data(), made_.repacked_.size_bytes());
        return {};
    }
    /// Bytes of a matrix in our layout, so that the next one starts at a cache line.
    [[nodiscard]] static std::optional<std::uint64_t> repacked_size(std::size_t rows, std::size_t cols) noexcept {
        const auto bytes = layout_bytes<Layout>(rows, cols);
        return bytes ? checked_align(*bytes, 64) : bytes;
    }

    [[nodiscard]] const gguf_tensor* find(const std::string& name, std::uint64_t rows, std::uint64_t cols) {
        const gguf_tensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) {
            fail(errc::missing_tensor, name, "not in the file");
            return nullptr;
        }
        if (tensor->dims != tensor_dims{cols, rows, 1, 1}) {
            fail(errc::wrong_shape, name,
                 dims_text(*tensor) + " in the file, [" + std::to_string(cols) +
                     (rows == 1 ? "" : ", " + std::to_string(rows)) + "] expected from the hyper-parameters");
            return nullptr;
        }
        used_tensors_[static_cast<std::size_t>(tensor - file_.tensors().data())] = true;
        return tensor;
    }

    /// Refuses norms and biases that no step of the graph has asked for: without them the results would be wrong.
    void refuse_unused() {
        for (std::size_t i = 0; i < file_.tensors().size() && ok(); ++i) {
            const std::string_view name = file_.tensors()[i].name;
            const bool matters =
                name.ends_with("norm.weight") || name.ends_with("norm_in.weight") || name.ends_with(".bias");
            if (matters && !used_tensors_[i]) {
                fail(errc::unsupported_architecture, name,
                     "in the file, but the graph of " + model_.architecture + " has no place for it");
            }
        }
    }

    /// The embedding or the head.
    [[nodiscard]] dense_matrix dense(const std::string& name) {
        const gguf_tensor* tensor = ok() ? find(name, model_.vocabulary, model_.hidden) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        const auto element = dense_element_of(tensor->type);
        if (!element) {
            fail(errc::unsupported_type, tensor->name,
                 "type " + std::string(name_of(tensor->type)) +
                     " in the file, F16, F32, BF16, Q8_0, Q6_K, Q4_K or Q4_0 expected");
            return {};
        }
        return {tensor->bytes.data(), model_.vocabulary, model_.hidden, *element};
    }

    [[nodiscard]] const float* norm(const std::string& name, std::size_t size) {
        const gguf_tensor* tensor = ok() ? find(name, 1, size) : nullptr;
        if (tensor == nullptr) {
            return nullptr;
        }
        float* out = made_.norms_.data() + used_norms_;
        used_norms_ += size;
        switch (tensor->type) {
        case tensor_type::f32:
            std::memcpy(out, tensor->bytes.data(), size * sizeof(float));
            break;
        case tensor_type::f16:
            widen_into<half>(*tensor, out);
            break;
        case tensor_type::bf16:
            widen_into<bfloat16>(*tensor, out);
            break;
        default:
            fail(errc::unsupported_type, name,
                 "type " + std::string(name_of(tensor->type)) + " in the file, F32, F16 or BF16 expected");
        }
        return out;
    }
    template <class E> static void widen_into(const gguf_tensor& tensor, float* out) noexcept {
        for (std::size_t i = 0; i < tensor.bytes.size() / sizeof(E); ++i) {
            E element;
            std::memcpy(&element, tensor.bytes.data() + i * sizeof(E), sizeof(E));
            out[i] = widen(element);
        }
    }

    /// The norm `prefix` + `what`.weight. Null in a model that has none: block 0 tells for all that have to follow.
    [[nodiscard]] const float* optional_norm(const std::string& prefix, const std::string& what, std::size_t size) {
        const std::string name = prefix + what + ".weight";
        const bool wanted =
            file_.find_tensor("blk.0." + what + ".weight") != nullptr || file_.find_tensor(name) != nullptr;
        return wanted ? norm(name, size) : nullptr;
    }

    /// A norm between a layer's last two steps: `what`, which BitNet b1.58 must have, or `other`, which stands in the
    /// same place in the embedding models, or none.
    [[nodiscard]] const float* sub_norm(const std::string& prefix, const std::string& what, const std::string& other,
                                        std::size_t size) {
        if (model_.has_sub_norms) {
            return norm(prefix + what + ".weight", size);
        }
        const float* found = optional_norm(prefix, what, size);
        return found != nullptr ? found : optional_norm(prefix, other, size);
    }

    void read_layer(const std::string& prefix, layer_weights<Layout>& layer) {
        read_attention(prefix, layer);
        const std::size_t hidden = model_.hidden;
        layer.ffn_norm = norm(prefix + "ffn_norm.weight", hidden);
        layer.ffn_gate_norm_in = optional_norm(prefix, "ffn_gate_norm_in", hidden);
        layer.ffn_up_norm_in = optional_norm(prefix, "ffn_up_norm_in", hidden);
        layer.ffn_gate = matrix(prefix + "ffn_gate", model_.feed_forward, hidden);
        layer.ffn_up = matrix(prefix + "ffn_up", model_.feed_forward, hidden);
        layer.ffn_sub_norm = sub_norm(prefix, "ffn_sub_norm", "ffn_down_norm_in", model_.feed_forward);
        layer.ffn_down = matrix(prefix + "ffn_down", hidden, model_.feed_forward);
        layer.post_ffw_norm = optional_norm(prefix, "post_ffw_norm", hidden);
    }

    void read_attention(const std::string& prefix, layer_weights<Layout>& layer) {
        const std::size_t q = model_.query_columns();
        const std::size_t hidden = model_.hidden;
        layer.attn_norm = norm(prefix + "attn_norm.weight", hidden);
        layer.attn_q_norm_in = optional_norm(prefix, "attn_q_norm_in", hidden);
        layer.attn_k_norm_in = optional_norm(prefix, "attn_k_norm_in", hidden);
        layer.attn_v_norm_in = optional_norm(prefix, "attn_v_norm_in", hidden);
        layer.attn_q = matrix(prefix + "attn_q", q, hidden);
        layer.attn_k = matrix(prefix + "attn_k", model_.kv_columns(), hidden);
        layer.attn_v = matrix(prefix + "attn_v", model_.kv_columns(), hidden);
        layer.attn_q_norm = optional_norm(prefix, "attn_q_norm", model_.head_size);
        layer.attn_k_norm = optional_norm(prefix, "attn_k_norm", model_.head_size);
        layer.attn_sub_norm = sub_norm(prefix, "attn_sub_norm", "attn_output_norm_in", q);
        layer.attn_output = matrix(prefix + "attn_output", hidden, q);
        layer.post_attention_norm = optional_norm(prefix, "post_attention_norm", hidden);
    }

    /// The ternary tensor `name`.weight, and the scalar `name`.scale that files of architecture bitnet may have beside
    /// it.
    [[nodiscard]] ternary_matrix<Layout> matrix(const std::string& name, std::size_t rows, std::size_t cols) {
        const gguf_tensor* tensor = ok() ? find(name + ".weight", rows, cols) : nullptr;
        if (tensor == nullptr) {
            return {};
        }
        ternary_matrix<Layout> made;
        if (has_ternary_scale(tensor->type)) {
            made.scale = scale(*tensor);
            with_layout_of(tensor->type, options_.file_order,
                           [&]<class From>() { made.codes = codes<From>(*tensor, rows, cols); });
        } else {
            made = read_rows(*tensor, rows, cols);
        }
        made.scale *= extra_scale(name + ".scale");
        check_scale(tensor->name, made.scale);
        return made;
    }

    /// A tensor in a format that no kernel works on, packed into our layout.
    [[nodiscard]] ternary_matrix<Layout> read_rows(const gguf_tensor& tensor, std::size_t rows, std::size_t cols) {
        ternary_matrix<Layout> made;
        const auto pack = [&](const any_ternary_rows& source) -> result<void> {
            made.scale = source.scale();
            made.codes = repacked(tensor, rows, cols, [&](std::uint8_t* out) {
                return pack_rows<Layout>(pool_, source, tensor, file_.name(), out);
            });
            return {};
        };
        if (!admits<Layout>(tensor)) {
            return {};
        }
        const row_options how{file_.name(), has_masters(file_), options_.lookup_tiling};
        if (const auto done = with_ternary_rows(tensor, how, pool_, pack); !done) {
            fail(done.error());
        }
        if (tensor.type == tensor_type::tl1 || tensor.type == tensor_type::tl2) {
            made.scale = lookup_scale(std::string(tensor.name) + "_scale");
        }
        return made;
    }

    /// TL1 and TL2 have their scale in a tensor of its own.
    [[nodiscard]] float lookup_scale(const std::string& name) {
        if (file_.find_tensor(name) == nullptr) {
            fail(errc::missing_tensor, name, "not in the file: it is the scale of a TL1 or TL2 tensor");
        }
        return extra_scale(name);
    }
    [[nodiscard]] float scale(const gguf_tensor& tensor) {
        const auto value = i2s_scale(tensor, file_.name());
        if (!value) {
            fail(value.error());
            return 1.0f;
        }
        return *value;
    }
    [[nodiscard]] float extra_scale(const std::string& name) {
        const gguf_tensor* tensor = file_.find_tensor(name);
        if (tensor == nullptr) {
            return 1.0f;
        }
        float value = 0;
        if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{1, 1, 1, 1}) {
            fail(errc::wrong_shape, name,
                 std::string(name_of(tensor->type)) + " " + dims_text(*tensor) + " in the file, F32 [1] expected");
            return 1.0f;
        }
        std::memcpy(&value, tensor->bytes.data(), sizeof value);
        check_scale(name, value);
        return value;
    }
    void check_scale(std::string_view name, float value) {
        const auto bits = std::bit_cast<std::uint32_t>(value); // isfinite() would vanish under -ffast-math
        if (bits == 0 || bits >= 0x7f800000u) {
            fail(errc::bad_scale, name,
                 (bits & 0x7fffffffu) >= 0x7f800000u
                     ? std::string("the scale is not finite")
                     : "the scale is " + std::to_string(value) + ", it must be above 0");
        }
    }

    /// The codes of `tensor`, which lie in layout `From`: in place, or repacked.
    template <class From>
    [[nodiscard]] typename Layout::view codes(const gguf_tensor& tensor, std::size_t rows, std::size_t cols) {
        if (!ok() || !admits<From>(tensor) || !admits<Layout>(tensor)) {
            return {};
        }
        if constexpr (std::is_same_v<From, Layout>) {
            if (const auto checked = options_.verify_codes ? check_codes<From>(tensor, file_.name()) : result<void>{};
                !checked) {
                fail(checked.error());
            }
            return codes_of<From>(tensor);
        } else {
            return repacked(tensor, rows, cols, [&](std::uint8_t* out) {
                return repack_tensor<Layout, From>(pool_, tensor, file_.name(), out);
            });
        }
    }

    /// What `write`, given where it may lie, makes of a tensor in our layout. \pre Layout admits the shape
    template <class Write>
    [[nodiscard]] typename Layout::view repacked(const gguf_tensor& tensor, std::size_t rows, std::size_t cols,
                                                 Write&& write) {
        if (const auto ready = made_.repacked_.empty() ? allocate_repacked() : result<void>{}; !ready) {
            fail(ready.error());
            return {};
        }
        std::uint8_t* out = made_.repacked_.data() + used_repacked_;
        if (const auto done = write(out); !done) {
            fail(done.error());
        }
        if (options_.source != nullptr) {
            options_.source->give_back(tensor.bytes);
        }
        used_repacked_ += static_cast<std::size_t>(*repacked_size(rows, cols));
        ++made_.repacked_tensors_;
        made_.repacked_bytes_ += *layout_bytes<Layout>(rows, cols);
        return {out, rows, cols};
    }

    template <class L> [[nodiscard]] bool admits(const gguf_tensor& tensor) {
        const auto rows = static_cast<std::size_t>(tensor.dims[1]);
        const auto cols = static_cast<std::size_t>(tensor.dims[0]);
        if (!L::admits(rows, cols)) {
            fail(errc::wrong_layout, tensor.name,
                 dims_text(tensor) + " in the file, layout " + std::string(L::name) +
                     (file_type<L> == tensor_type::i2_s
                          ? " needs columns in multiples of " + std::to_string(L::block_columns) +
                                " and rows in multiples of " + std::to_string(L::block_rows) +
                                "; dense, tl1 and tl2 take all shapes"
                          : " holds fewer columns"));
            return false;
        }
        return true;
    }

    const gguf_file& file_;
    const hyper_parameters& model_;
    const weight_options& options_;
    Pool& pool_;
    weights<Layout> made_;
    buffer<bool> used_tensors_; ///< in the order of the file
    std::size_t used_norms_ = 0;
    std::size_t used_repacked_ = 0;
    error failure_;
};

template <class Layout>
template <thread_pool_type Pool>
result<weights<Layout>> weights<Layout>::open(const gguf_file& file, const hyper_parameters& model,
                                              const weight_options& options, Pool& pool) {
    return weight_reader<Layout, Pool>(file, model, options, pool).run();
}

} // namespace bitnet::inline BITNET_ABI
