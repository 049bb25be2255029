// SPDX-License-Identifier: MIT
// gguf_tensor: one tensor of a GGUF file, in place.
#ifndef BITNET_IO_GGUF_TENSOR_HPP
#define BITNET_IO_GGUF_TENSOR_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One tensor of a GGUF file. Everything points into the file's bytes, which must outlive it. `bytes` is as aligned as
/// the file in memory and general.alignment make it.
struct gguf_tensor {
    std::string_view name;
    tensor_type type = tensor_type::f32;
    tensor_dims dims{1, 1, 1, 1}; ///< fastest first; those beyond `rank` are 1
    std::uint32_t rank = 0;
    std::uint64_t offset = 0; ///< from the start of the file
    std::span<const std::byte> bytes;
};

/// "[2560, 6912]", fastest dimension first.
[[nodiscard]] inline std::string dims_text(const gguf_tensor& tensor) {
    std::string text = "[";
    for (std::uint32_t i = 0; i < tensor.rank; ++i) {
        text += detail::sentence({i == 0 ? "" : ", ", tensor.dims[i]});
    }
    return text + "]";
}

} // namespace bitnet::inline BITNET_ABI

#endif
