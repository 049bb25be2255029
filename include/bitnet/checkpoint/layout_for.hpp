// SPDX-License-Identifier: MIT
// layout_for: in which layout a file runs best.
#ifndef BITNET_CHECKPOINT_LAYOUT_FOR_HPP
#define BITNET_CHECKPOINT_LAYOUT_FOR_HPP

#include <bitnet/checkpoint/ternary_source.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <array>
#include <cstddef>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The type of a file's ternary tensors.
/// \return errc::missing_tensor if the file has no blk.0.attn_q.weight.
[[nodiscard]] inline result<tensor_type> ternary_type_of(const gguf_file& file) {
    const gguf_tensor* tensor = file.find_tensor("blk.0.attn_q.weight");
    if (tensor == nullptr) {
        return detail::error_saying(errc::missing_tensor,
                                    {file.name(), ": tensor 'blk.0.attn_q.weight': not in the file"});
    }
    return tensor->type;
}

/// Whether a tensor of this name is one of the matrices that are ternary: "blk.0.attn_q.weight".
[[nodiscard]] constexpr bool is_ternary_place(std::string_view name) noexcept {
    constexpr std::array<std::string_view, 7> places{".attn_q.weight",      ".attn_k.weight",   ".attn_v.weight",
                                                     ".attn_output.weight", ".ffn_gate.weight", ".ffn_up.weight",
                                                     ".ffn_down.weight"};
    bool found = false;
    for (const std::string_view place : places) {
        found = found || name.ends_with(place);
    }
    return found && name.starts_with("blk.");
}

/// The layout that the file is stored in, if it is one that kernels multiply in; otherwise I2_S, or five weights to a
/// byte if I2_S does not admit its shapes, as the 8640 columns of the 3B model.
[[nodiscard]] inline const layout_table& layout_for(const gguf_file& file) {
    const auto type = ternary_type_of(file);
    const layout_table* own = type ? detail::layout_of_type(*type, i2s_order::planar_128) : nullptr;
    if (own != nullptr && own != &detail::layout_table_of<i2s>) {
        return *own;
    }
    for (const gguf_tensor& tensor : file.tensors()) {
        if (is_ternary_place(tensor.name) &&
            !i2s::admits(detail::to_size(tensor.dims[1]), detail::to_size(tensor.dims[0]))) {
            return detail::layout_table_of<base3>;
        }
    }
    return detail::layout_table_of<i2s>;
}

} // namespace bitnet::inline BITNET_ABI

#endif
