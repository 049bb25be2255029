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
#include <cstdint>
#include <string>
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

/// The rule of the automatic layout: the one that the file is stored in, if kernels multiply in it; otherwise I2_S, or
/// five weights to a byte if I2_S does not admit its shapes, as the 8640 columns of the 3B model. `base3` for other
/// files would read a fifth less for each token, but repacks all weights while opening, takes their memory once more,
/// and reads prompts by way of I2_S: with two cores it generated as fast (0.98 to 1.04 of I2_S on AVX-512 and AMX) or
/// slower (AVX2), so that only a program that knows its memory to be narrow gains by naming it.
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

namespace detail {

/// What notes say of that choice. Empty where there was none: of repacked weights another note tells, and files below
/// 64 MiB are read from caches in any layout.
[[nodiscard]] inline std::string layout_note(std::string_view layout, std::uint64_t file_bytes, bool is_repacked) {
    constexpr std::uint64_t least = std::uint64_t{64} << 20;
    return file_bytes < least || is_repacked
               ? std::string()
               : sentence({"layout: ", layout, ", because the file's weights are multiplied in it where they lie"});
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
