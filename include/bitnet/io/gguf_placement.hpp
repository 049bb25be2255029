// SPDX-License-Identifier: MIT
// gguf_placement: gives the tensors of a GGUF file their bytes, which must lie in it and not overlap.
#ifndef BITNET_IO_GGUF_PLACEMENT_HPP
#define BITNET_IO_GGUF_PLACEMENT_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_data_section.hpp>
#include <bitnet/io/gguf_input.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// From offsets within the data to offsets within the file, and bytes.
class gguf_placement {
public:
    /// \pre sorted
    explicit gguf_placement(gguf_data_section& data) : data_(data) {}

    [[nodiscard]] bool run() {
        for (gguf_tensor& tensor : data_.tensors) {
            if (!data_.check_shape(tensor) || !place(tensor, *tensor_bytes(tensor.type, tensor.dims))) {
                return false;
            }
        }
        return check_overlaps();
    }

private:
    [[nodiscard]] bool place(gguf_tensor& tensor, std::uint64_t bytes) {
        const std::span<const std::byte> file = data_.in.bytes();
        if (tensor.offset % data_.alignment != 0) {
            return data_.in.fail(
                errc::bad_offset, tensor,
                {" starts at offset ", tensor.offset, ", which is not a multiple of the alignment ", data_.alignment});
        }
        const auto first = checked_add(data_.start, tensor.offset);
        const auto last = first ? checked_add(*first, bytes) : first;
        if (!last || *last > file.size()) {
            return data_.in.fail(errc::bad_offset, tensor,
                                 {" takes ", bytes, " bytes at offset ", tensor.offset,
                                  " of the data, which starts at ", data_.start, ", but the file has ", file.size(),
                                  " bytes"});
        }
        tensor.offset = *first;
        tensor.bytes = file.subspan(to_size(*first), to_size(bytes));
        return true;
    }

    [[nodiscard]] bool check_overlaps() {
        const gguf_tensor* lower = nullptr;
        for (const std::size_t i : data_.by_offset.span()) {
            const gguf_tensor& tensor = data_.tensors[i];
            if (lower != nullptr && !check_neighbours(*lower, tensor)) {
                return false;
            }
            lower = &tensor;
        }
        return lower == nullptr || check_space(*lower, data_.in.bytes().size(), "the end of the file");
    }

    [[nodiscard]] bool check_neighbours(const gguf_tensor& lower, const gguf_tensor& upper) {
        const std::uint64_t space = upper.offset - lower.offset;
        const std::uint64_t bytes = lower.bytes.size();
        if (space < bytes) {
            return data_.in.fail(errc::bad_offset,
                                 {"tensor ", quoted{lower.name}, " (bytes ", lower.offset, " to ", lower.offset + bytes,
                                  ") and tensor ", quoted{upper.name}, " (from ", upper.offset, ") overlap"});
        }
        return check_space(lower, upper.offset, "the next tensor");
    }

    /// Upstream ggml gave ids 36 to 39 to types of 4.25 bits and more per element: twice the bytes of ours.
    [[nodiscard]] bool check_space(const gguf_tensor& tensor, std::uint64_t end, std::string_view what) {
        const std::uint64_t space = end - tensor.offset;
        const bool claimed_twice = tensor.type >= tensor_type::i2_s && tensor.type <= tensor_type::tl2;
        if (claimed_twice && space / 2 >= tensor.bytes.size() + data_.alignment) {
            return data_.in.fail(errc::unsupported_type, tensor,
                                 {" would take ", tensor.bytes.size(), " bytes as ", name_of(tensor.type), ", but ",
                                  space, " bytes lie before ", what,
                                  ": its type id means another type to whoever wrote it"});
        }
        return true;
    }

    gguf_data_section& data_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
