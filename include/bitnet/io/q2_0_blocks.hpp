// SPDX-License-Identifier: MIT
// name_q2_0: whether the blocks of tensor type 42 have 128 columns or 64, told by where the tensors lie.
#ifndef BITNET_IO_Q2_0_BLOCKS_HPP
#define BITNET_IO_Q2_0_BLOCKS_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_data_section.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The first place where the file would differ if type 42 were `type`; empty if there is none.
[[nodiscard]] inline std::string q2_0_misfit(const gguf_data_section& data, tensor_type type) {
    std::uint64_t expected = 0;
    std::uint64_t end = 0;
    for (const std::size_t i : data.by_offset.span()) {
        const gguf_tensor& tensor = data.tensors[i];
        const tensor_type own = tensor.type == tensor_type::q2_0 ? type : tensor.type;
        const auto bytes = fits_blocks(own, tensor.dims) ? tensor_bytes(own, tensor.dims) : std::nullopt;
        const auto last = bytes ? checked_add(expected, *bytes) : bytes;
        const auto next = last ? checked_align(*last, data.alignment) : last;
        if (!next) {
            return sentence(
                {"tensor ", quoted{tensor.name}, " of shape ", dims_text(tensor), " has rows of no whole blocks"});
        }
        if (tensor.offset != expected) {
            return sentence({"tensor ", quoted{tensor.name}, " would start at offset ", expected, ", but it does at ",
                             tensor.offset});
        }
        end = *last;
        expected = *next;
    }
    const std::uint64_t size = data.in.bytes().size();
    const std::uint64_t present = size < data.start ? 0 : size - data.start;
    return present >= end && present <= expected
               ? std::string()
               : sentence({"the data would take ", end, " bytes, but it has ", present});
}

/// \param no_128, no_64 what q2_0_misfit() gave: both empty or neither
[[nodiscard]] inline bool refuse_q2_0(gguf_data_section& data, std::string_view no_128, std::string_view no_64) {
    for (const gguf_tensor& tensor : data.tensors) {
        if (tensor.type == tensor_type::q2_0 && !no_64.empty() && !data.meaning_of_type(tensor).empty()) {
            return data.refuse_type(tensor);
        }
    }
    return data.in.fail(errc::wrong_layout, {"tensors of type 42 (Q2_0) have blocks of 128 or of 64 columns, and ",
                                             no_64.empty() ? std::string("the offsets of this file fit both")
                                                           : sentence({"this file fits neither: with 128, ", no_128,
                                                                       "; with 64, ", no_64})});
}

/// Type 42 has blocks of 128 columns in 34 bytes, or of 64 in 18, and no file says which. Tensors follow one another
/// without gaps, so that one of the two meets every offset and the end of the file. Those of 64 become q2_0_g64.
/// \pre the tensors are sorted and have not been placed
[[nodiscard]] inline bool name_q2_0(gguf_data_section& data) {
    const auto is_q2_0 = [](const gguf_tensor& tensor) { return tensor.type == tensor_type::q2_0; };
    if (std::none_of(data.tensors.begin(), data.tensors.end(), is_q2_0)) {
        return true;
    }
    for (const gguf_tensor& tensor : data.tensors) {
        if (!is_q2_0(tensor) && !data.check_shape(tensor)) {
            return false;
        }
    }
    const std::string no_128 = q2_0_misfit(data, tensor_type::q2_0);
    const std::string no_64 = q2_0_misfit(data, tensor_type::q2_0_g64);
    if (no_128.empty() == no_64.empty()) {
        return refuse_q2_0(data, no_128, no_64);
    }
    for (gguf_tensor& tensor : data.tensors) {
        tensor.type = is_q2_0(tensor) && no_64.empty() ? tensor_type::q2_0_g64 : tensor.type;
    }
    return true;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
