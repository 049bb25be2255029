// SPDX-License-Identifier: MIT
// ternary_source: a ternary tensor of a file, whatever its type: its scale, its rows, and its codes if it has a layout.
#ifndef BITNET_CHECKPOINT_TERNARY_SOURCE_HPP
#define BITNET_CHECKPOINT_TERNARY_SOURCE_HPP

#include <bitnet/checkpoint/format_rows.hpp>
#include <bitnet/checkpoint/layout_rows.hpp>
#include <bitnet/checkpoint/microsoft_tl.hpp>
#include <bitnet/checkpoint/packed_rows.hpp>
#include <bitnet/checkpoint/ternarised_rows.hpp>
#include <bitnet/checkpoint/ternary_reading.hpp>
#include <bitnet/checkpoint/ternary_rows.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/io/ternary_tail.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/iq1_bn.hpp>
#include <bitnet/kernel/iq2_bn.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/lookup2.hpp>
#include <bitnet/kernel/lookup3.hpp>
#include <bitnet/kernel/ptq1_0.hpp>
#include <bitnet/kernel/q2_0.hpp>
#include <bitnet/kernel/row_format.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/tq1_0.hpp>
#include <bitnet/kernel/tq2_0.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The layouts that files are stored in.
struct stored_layout {
    tensor_type type;
    i2s_order order; ///< of tensor_type::i2_s
    const layout_table* layout;
};
inline constexpr stored_layout stored_layouts[] = {
    {tensor_type::i2_s, i2s_order::planar_128, &layout_table_of<i2s>},
    {tensor_type::i2_s, i2s_order::planar_64, &layout_table_of<i2s_b>},
    {tensor_type::i2_s, i2s_order::four_rows, &layout_table_of<i2s_c>},
    {tensor_type::hpp_base3, {}, &layout_table_of<base3>},
    {tensor_type::hpp_lookup2, {}, &layout_table_of<lookup2>},
    {tensor_type::hpp_lookup3, {}, &layout_table_of<lookup3>},
};

/// The layout of tensors of that type; null unless it is one of this library's.
[[nodiscard]] constexpr const layout_table* layout_of_type(tensor_type type, i2s_order order) noexcept {
    for (const stored_layout& each : stored_layouts) {
        if (each.type == type && (type != tensor_type::i2_s || each.order == order)) {
            return each.layout;
        }
    }
    return nullptr;
}

/// The type of tensors in layout L.
template <ternary_layout L>
inline constexpr tensor_type file_type = [] {
    for (const stored_layout& each : stored_layouts) {
        if (each.layout == &layout_table_of<L>) {
            return each.type;
        }
    }
    return tensor_type::i2_s;
}();

/// The codes of a tensor in a layout, in place. \pre layout_of_type(tensor.type), which admits its shape
[[nodiscard]] inline ternary_view codes_of(const gguf_tensor& tensor) noexcept {
    return {reinterpret_cast<const std::uint8_t*>(tensor.bytes.data()), to_size(tensor.dims[1]),
            to_size(tensor.dims[0])};
}

/// \return errc::wrong_layout, naming the tensor and its shape, if `layout` does not admit that.
[[nodiscard]] inline result<void> check_admits(const layout_table& layout, const gguf_tensor& tensor,
                                               std::string_view file) {
    if (layout.admits(to_size(tensor.dims[1]), to_size(tensor.dims[0]))) {
        return {};
    }
    const std::string place = sentence(
        {file, ": tensor ", quoted_name(tensor.name), ": ", dims_text(tensor), " in the file, layout ", layout.name});
    const bool is_i2s = layout.block_bytes * 4 == layout.block_rows * layout.block_columns;
    return error{errc::wrong_layout, is_i2s
                                         ? sentence({place, " needs columns in multiples of ", layout.block_columns,
                                                     " and rows in multiples of ", layout.block_rows, "; ", base3::name,
                                                     ", ", lookup2::name, " and ", lookup3::name, " take all shapes"})
                                         : sentence({place, " holds fewer columns"})};
}

/// Whether all codes of a tensor are ternary. Reads the whole tensor. \pre `layout` is its own and admits its shape
/// \return errc::bad_code, naming the first place that is not.
[[nodiscard]] inline result<void> check_codes(const layout_table& layout, const gguf_tensor& tensor,
                                              std::string_view file) {
    if (tensor.type == tensor_type::i2_s) {
        return check_i2s_codes(tensor, file);
    }
    const ternary_view codes = codes_of(tensor);
    const std::size_t across = layout.blocks_across(codes.cols);
    const std::uint8_t* blocks = codes.data;
    for (std::size_t row = 0; row < codes.rows; row += layout.block_rows, blocks += across * layout.block_bytes) {
        if (!layout.is_ternary(blocks, across)) {
            return error{errc::bad_code,
                         sentence({file, ": tensor ", quoted_name(tensor.name), ": row ", row, " of its ", codes.rows,
                                   " rows, or one that shares its blocks, holds an index that layout ", layout.name,
                                   " does not have"})};
        }
    }
    return {};
}

/// Whether a file's weights in floating point are to be ternarised as in training: those of a bitnet architecture, and
/// those that the metadata calls masters. Others are read if they are ternary as they are, as are those that have a
/// scale beside them.
[[nodiscard]] inline bool has_float_masters(const gguf_file& file) {
    const auto architecture = file.get_or<std::string_view>("general.architecture", "");
    const auto said = file.get_or<bool>("bitnet_hpp.masters", false);
    return (architecture && architecture->starts_with("bitnet")) || (said && *said);
}

/// "blk.0.attn_q.weight" -> "blk.0.attn_q.scale".
[[nodiscard]] inline std::string scale_name(std::string_view name) {
    return std::string(name.substr(0, name.size() - std::string_view("weight").size())) + "scale";
}

/// The scale that is in a tensor of its own beside a ternary one, which microsoft/BitNet's TL1 and TL2 always have;
/// nullopt if there is none. \return errc::missing_tensor, wrong_shape or bad_scale.
[[nodiscard]] inline result<std::optional<float>> find_scale(const gguf_file& file, const gguf_tensor& ternary) {
    const bool is_lookup = ternary.type == tensor_type::tl1 || ternary.type == tensor_type::tl2;
    const std::string name = is_lookup ? std::string(ternary.name) + "_scale" : scale_name(ternary.name);
    const gguf_tensor* tensor = file.find_tensor(name);
    const auto fail = [&](errc code, std::string_view what) {
        return error{code, sentence({file.name(), ": tensor ", quoted_name(name), ": ", what})};
    };
    if (tensor == nullptr && is_lookup) {
        return fail(errc::missing_tensor, "not in the file: it is the scale of a TL1 or TL2 tensor");
    }
    if (tensor == nullptr) {
        return std::optional<float>{};
    }
    if (tensor->type != tensor_type::f32 || tensor->dims != tensor_dims{1, 1, 1, 1}) {
        return fail(errc::wrong_shape,
                    sentence({name_of(tensor->type), " ", dims_text(*tensor), " in the file, F32 [1] expected"}));
    }
    float scale = 0;
    std::memcpy(&scale, tensor->bytes.data(), sizeof scale);
    if (!is_ternary_scale(scale)) {
        return fail(errc::bad_scale,
                    sentence({"the scale is ", scale_text(scale), ", it must be finite and above zero"}));
    }
    return std::optional(scale);
}

/// Borrows the tensor's bytes. Move-only; what rows() refers to stays where it is.
class ternary_source {
public:
    /// A tensor of `file` with the scale beside it. Weights in floating point are read once, on the threads of `pool`.
    /// \return errc::wrong_shape if the tensor is no matrix; errc::unsupported_type, wrong_layout, bad_scale,
    /// missing_tensor or out_of_memory, naming the file and the tensor.
    [[nodiscard]] static result<ternary_source> open(const gguf_file& file, const gguf_tensor& tensor,
                                                     const ternary_reading& reading, pool_ref pool) {
        const auto beside = find_scale(file, tensor);
        if (!beside) {
            return failed(beside);
        }
        // Masters have no scale but their mean. With one beside them, weights are ternary as they are.
        auto opened = open(tensor, file.name(), has_float_masters(file) && !*beside, reading, pool, file.memory());
        if (!opened) {
            return opened;
        }
        opened->beside_ = *beside;
        if (!is_ternary_scale(opened->scale())) {
            return error{errc::bad_scale,
                         sentence({file.name(), ": tensor ", quoted_name(tensor.name), ": the scale is ",
                                   scale_text(opened->scale()), ", it must be finite and above zero"})};
        }
        return opened;
    }

    /// A tensor alone. \param file what errors call the file \param masters whether weights in floating point are
    /// ternarised: see has_float_masters
    [[nodiscard]] static result<ternary_source> open(const gguf_tensor& tensor, std::string_view file, bool masters,
                                                     const ternary_reading& reading, pool_ref pool,
                                                     const memory_source* memory = nullptr) {
        if (tensor.rank != 2) {
            return error{errc::wrong_shape, sentence({file, ": tensor ", quoted_name(tensor.name), ": ",
                                                      dims_text(tensor), " in the file, a matrix expected"})};
        }
        if (const layout_table* layout = layout_of_type(tensor.type, reading.order)) {
            return open_layout(*layout, tensor, file);
        }
        return open_rows(tensor, file, masters, reading, pool, memory);
    }

    /// The layout of this library that the tensor has; null for other formats, which are read by rows() alone.
    [[nodiscard]] const layout_table* layout() const noexcept { return layout_; }

    /// weight = (code - 1) * scale(): own_scale(), times the one of a tensor beside it.
    [[nodiscard]] float scale() const noexcept { return own_scale() * beside_.value_or(1.0f); }
    [[nodiscard]] float own_scale() const noexcept { return rows_.scale(); }
    [[nodiscard]] std::optional<float> scale_beside() const noexcept { return beside_; }

    [[nodiscard]] const any_ternary_rows& rows() const noexcept { return rows_; }

    /// What for_each_rows needs of `cols` columns: whole blocks of the tensor's own layout.
    [[nodiscard]] std::size_t stride(std::size_t cols) const noexcept {
        return layout_ != nullptr ? layout_->blocks_across(cols) * layout_->block_columns : cols;
    }

private:
    using holder = std::unique_ptr<const void, void (*)(const void*) noexcept>;

    ternary_source(any_ternary_rows rows, holder held) noexcept : rows_(rows), held_(std::move(held)) {}

    /// Takes over opened rows.
    template <ternary_rows R> [[nodiscard]] static result<ternary_source> hold(result<R> opened) {
        if (!opened) {
            return failed(opened);
        }
        const R* const kept = new (std::nothrow) R(*std::move(opened));
        if (kept == nullptr) {
            return error{errc::out_of_memory, sentence({"ternary rows: ", sizeof(R), " bytes could not be allocated"})};
        }
        return ternary_source(any_ternary_rows(*kept),
                              holder(kept, [](const void* rows) noexcept { delete static_cast<const R*>(rows); }));
    }

    [[nodiscard]] static result<ternary_source> open_layout(const layout_table& layout, const gguf_tensor& tensor,
                                                            std::string_view file) {
        if (auto admitted = check_admits(layout, tensor, file); !admitted) {
            return failed(admitted);
        }
        const auto scale = scale_of_tail(tensor, file);
        if (!scale) {
            return failed(scale);
        }
        auto made = hold(result<layout_rows>(layout_rows(layout, codes_of(tensor), *scale)));
        if (made) {
            made->layout_ = &layout;
        }
        return made;
    }

    [[nodiscard]] static result<ternary_source> open_rows(const gguf_tensor& tensor, std::string_view file,
                                                          bool masters, const ternary_reading& reading, pool_ref pool,
                                                          const memory_source* memory) {
        switch (tensor.type) {
        case tensor_type::tq1_0:
            return hold(format_rows<tq1_0>::open(tensor, file));
        case tensor_type::tq2_0:
            return hold(format_rows<tq2_0>::open(tensor, file));
        case tensor_type::ptq1_0:
            return hold(format_rows<ptq1_0>::open(tensor, file));
        case tensor_type::q2_0:
            return hold(format_rows<q2_0>::open(tensor, file));
        case tensor_type::q2_0_g64:
            return hold(format_rows<q2_0_g64>::open(tensor, file));
        case tensor_type::pq2_0:
            return hold(format_rows<pq2_0>::open(tensor, file));
        case tensor_type::iq1_bn:
            return hold(format_rows<iq1_bn>::open(tensor, file));
        case tensor_type::iq2_bn:
            return hold(format_rows<iq2_bn>::open(tensor, file));
        case tensor_type::iq2_bn_r4:
            return hold(format_rows<iq2_bn_r4>::open(tensor, file));
        case tensor_type::hf_packed:
            return hold(result<packed_rows>(packed_rows(tensor)));
        case tensor_type::tl1:
            return hold(microsoft_tl1_rows::open(tensor, file, reading.lookup_tiling));
        case tensor_type::tl2:
            return hold(microsoft_tl2_rows::open(tensor, file, reading.lookup_tiling));
        case tensor_type::f32:
            return hold(ternarised_rows<float>::open(tensor, file, masters, pool, memory));
        case tensor_type::f16:
            return hold(ternarised_rows<half>::open(tensor, file, masters, pool, memory));
        case tensor_type::bf16:
            return hold(ternarised_rows<bfloat16>::open(tensor, file, masters, pool, memory));
        default:
            return error{errc::unsupported_type,
                         sentence({file, ": tensor ", quoted_name(tensor.name), ": type ", name_of(tensor.type),
                                   " in the file, a ternary one expected: I2_S, TQ1_0, TQ2_0, Q2_0, PQ2_0, PTQ1_0, "
                                   "IQ1_BN, IQ2_BN, TL1, TL2, or F32, F16, BF16 masters"})};
        }
    }

    any_ternary_rows rows_;
    holder held_;
    const layout_table* layout_ = nullptr;
    std::optional<float> beside_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
