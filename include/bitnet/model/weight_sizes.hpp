// SPDX-License-Identifier: MIT
// Which arithmetic a file's ternary tensors are multiplied in, and what its weights take beside the file's own bytes.
#ifndef BITNET_MODEL_WEIGHT_SIZES_HPP
#define BITNET_MODEL_WEIGHT_SIZES_HPP

#include <bitnet/checkpoint/activation_rounding.hpp>
#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/checkpoint/layout_for.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/kernel/i2s_order.hpp>
#include <bitnet/kernel/layout_table.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Blocks with scales, or codes with one scale for a matrix: the same for the whole model, whose products share their
/// activations. A ternary embedding or head is read as blocks.
struct weight_arithmetic {
    bool has_blocks = false;
    activation_rounding activations = activation_rounding::per_token; ///< never by_model

    [[nodiscard]] static weight_arithmetic of(const gguf_file& file, activation_rounding wanted) noexcept {
        bool several = false;
        for (const gguf_tensor& tensor : file.tensors()) {
            several = several || (has_block_scales(tensor.type) &&
                                  (is_embedding_or_head(tensor.name) || has_several_scales(tensor)));
        }
        if (wanted == activation_rounding::by_model) {
            wanted = several ? activation_rounding::per_32 : activation_rounding::per_token;
        }
        return {several || wanted != activation_rounding::per_token, wanted};
    }
    [[nodiscard]] static bool is_embedding_or_head(std::string_view name) noexcept {
        return name == "token_embd.weight" || name == "output.weight";
    }
};

/// Bytes of a ternary matrix in a layout, so that the next one starts at a cache line.
[[nodiscard]] inline std::optional<std::uint64_t> repacked_bytes(const layout_table& layout, std::size_t rows,
                                                                 std::size_t cols) noexcept {
    const auto bytes = layout.bytes(rows, cols);
    return bytes ? checked_align(*bytes, 64) : bytes;
}

/// Those of all ternary matrices of a model, embedding and head included where they may be ternary.
[[nodiscard]] inline std::optional<std::uint64_t>
all_repacked_bytes(const hyper_parameters& model, const layout_table& layout, bool has_blocks) noexcept {
    const std::size_t q = model.query_columns();
    const std::size_t layers = model.layers;
    const std::size_t shapes[][3] = {{layers, q, model.hidden},
                                     {2 * layers, model.kv_columns(), model.hidden},
                                     {layers, model.hidden, q},
                                     {2 * layers, model.feed_forward, model.hidden},
                                     {layers, model.hidden, model.feed_forward},
                                     {has_blocks ? 2u : 0u, model.vocabulary, model.hidden}};
    std::optional<std::uint64_t> bytes = 0;
    for (const auto& [count, rows, cols] : shapes) {
        const auto one = repacked_bytes(layout, rows, cols);
        const auto all = one ? checked_multiply(*one, count) : one;
        bytes = bytes && all ? checked_add(*bytes, *all) : std::nullopt;
    }
    return bytes;
}

/// Whether a ternary tensor is multiplied where it lies.
[[nodiscard]] inline bool is_multiplied_in_place(const gguf_tensor& tensor, const layout_table& layout, bool has_blocks,
                                                 i2s_order order) noexcept {
    if (has_blocks) {
        return is_scaled_blocks(tensor.type);
    }
    const layout_table* own = layout_of_type(tensor.type, order);
    return own != nullptr && own->name == layout.name;
}

/// Bytes that are written of all_repacked_bytes(): those of tensors that are not multiplied in place.
[[nodiscard]] inline std::uint64_t used_repacked_bytes(const gguf_file& file, const layout_table& layout,
                                                       bool has_blocks, i2s_order order) noexcept {
    std::uint64_t bytes = 0;
    for (const gguf_tensor& tensor : file.tensors()) {
        const bool is_block_place =
            has_blocks && weight_arithmetic::is_embedding_or_head(tensor.name) && has_block_scales(tensor.type);
        if ((is_ternary_place(tensor.name) || is_block_place) &&
            !is_multiplied_in_place(tensor, layout, has_blocks, order)) {
            bytes += repacked_bytes(layout, to_size(tensor.dims[1]), to_size(tensor.dims[0])).value_or(0);
        }
    }
    return bytes;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
