// SPDX-License-Identifier: MIT
// gguf_data_section: where the data of a GGUF file starts, and which tensors are said to lie in it.
#ifndef BITNET_IO_GGUF_DATA_SECTION_HPP
#define BITNET_IO_GGUF_DATA_SECTION_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/foreign_contents.hpp>
#include <bitnet/io/gguf_input.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/name_index.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The data section and its tensors, whose offsets count from its start until gguf_placement has placed them.
struct gguf_data_section {
    gguf_input& in;
    std::span<gguf_tensor> tensors;
    std::uint64_t start;             ///< from the start of the file
    std::uint32_t alignment;         ///< bytes
    buffer<std::size_t> by_offset{}; ///< the indices of all tensors by ascending offset

    /// Fills by_offset.
    [[nodiscard]] bool sort_offsets() {
        if (!in.allocate_list(by_offset, tensors.size(), "an index of offsets")) {
            return false;
        }
        sort_indices(by_offset.span(), tensors.data(), [](const void* first, std::size_t a, std::size_t b) noexcept {
            const auto* list = static_cast<const gguf_tensor*>(first);
            return (list[a].offset > list[b].offset ? 1 : 0) - (list[a].offset < list[b].offset ? 1 : 0);
        });
        return true;
    }

    /// Whether the type is known and its number of bytes can be computed.
    [[nodiscard]] bool check_shape(const gguf_tensor& tensor) {
        const auto* format = format_of(tensor.type);
        if (format == nullptr) {
            return refuse_type(tensor);
        }
        const auto elements = element_count(tensor.dims);
        if (!elements || *elements > static_cast<std::uint64_t>(INT64_MAX)) {
            return bad_shape(tensor, {" has more elements than 64 bits with a sign can count"});
        }
        if (!fits_blocks(tensor.type, tensor.dims)) {
            return bad_shape(tensor, {" does not fit the blocks of ", format->name, ": ", block_rule(*format)});
        }
        return tensor_bytes(tensor.type, tensor.dims) ||
               bad_shape(tensor, {" has more bytes as ", format->name, " than 64 bits can count"});
    }
    /// \pre neither the tensor nor those after it have been placed
    [[nodiscard]] bool refuse_type(const gguf_tensor& tensor) {
        const auto id = static_cast<std::uint32_t>(tensor.type);
        const std::string_view what = meaning_of_type(tensor);
        return what.empty() ? in.fail(errc::unsupported_type, tensor, {" has the unknown tensor type ", id})
                            : in.fail(errc::unsupported_type, tensor, {" has type ", id, ", ", what});
    }
    [[nodiscard]] std::string_view meaning_of_type(const gguf_tensor& tensor) const noexcept {
        const bool is_last = &tensor == &tensors.back();
        const std::uint64_t end = is_last ? in.bytes().size() - start : (&tensor + 1)->offset;
        return what_is_type(static_cast<std::uint32_t>(tensor.type), element_count(tensor.dims).value_or(0),
                            end - tensor.offset, alignment);
    }

private:
    [[nodiscard]] bool bad_shape(const gguf_tensor& tensor, sentence_parts what) {
        return in.fail(errc::bad_shape, tensor, {" of shape ", dims_text(tensor), sentence(what)});
    }
    [[nodiscard]] static std::string block_rule(const tensor_format& format) {
        if (format.type == tensor_type::tl2) {
            return "its rows must have at least 256 elements";
        }
        const std::string first = sentence({format.flat ? "the number of its elements" : "the first dimension",
                                            " must be a multiple of ", format.block_elements});
        return format.row_group == 1 ? first : sentence({first, " and the second a multiple of ", format.row_group});
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
