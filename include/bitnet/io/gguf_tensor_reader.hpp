// SPDX-License-Identifier: MIT
// gguf_tensor_reader: names, shapes, types and offsets of the tensors of a GGUF file.
#ifndef BITNET_IO_GGUF_TENSOR_READER_HPP
#define BITNET_IO_GGUF_TENSOR_READER_HPP

#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_file.hpp>
#include <bitnet/io/gguf_input.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads as many tensors as there are places for them: all of them but their bytes.
class gguf_tensor_reader {
public:
    /// Borrows both.
    gguf_tensor_reader(gguf_input& in, std::span<gguf_tensor> tensors)
        : in_(in), reader_(in.reader()), tensors_(tensors) {}

    [[nodiscard]] bool run() {
        for (std::size_t i = 0; i < tensors_.size(); ++i) {
            if (!read_tensor(i, tensors_[i])) {
                return false;
            }
        }
        return true;
    }

private:
    [[nodiscard]] bool ends(std::string_view part, const gguf_tensor& tensor) {
        return in_.ends({part, " of tensor ", quoted{tensor.name}});
    }

    [[nodiscard]] bool read_tensor(std::size_t i, gguf_tensor& tensor) {
        const auto name = reader_.read_string();
        if (!name) {
            return in_.ends({"the name of tensor ", i, " of ", tensors_.size()});
        }
        if (name->empty() || name->size() > gguf_file::longest_tensor_name) {
            return in_.fail(errc::bad_tensor_name, {"the name of tensor ", i, " has ", name->size(), " bytes, 1 to ",
                                                    gguf_file::longest_tensor_name, " are allowed"});
        }
        tensor.name = *name;
        if (const auto nul = name->find('\0'); nul != std::string_view::npos) {
            return in_.fail(errc::bad_tensor_name, tensor, {" holds a NUL byte at ", nul});
        }
        if (!read_dims(tensor)) {
            return false;
        }
        const auto type = reader_.read<std::uint32_t>();
        const auto offset = reader_.read<std::uint64_t>();
        if (!type || !offset) {
            return ends("the type and offset", tensor);
        }
        tensor.type = static_cast<tensor_type>(*type);
        if (is_in_memory_only(tensor.type)) {
            return in_.fail(errc::unsupported_type, tensor, {" has the unknown tensor type ", *type});
        }
        tensor.offset = *offset; // from the data section, until gguf_placement
        return true;
    }

    [[nodiscard]] bool read_dims(gguf_tensor& tensor) {
        const auto rank = reader_.read<std::uint32_t>();
        if (!rank) {
            return ends("the number of dimensions", tensor);
        }
        // The converter of microsoft/BitNet writes the scales of TL1 and TL2 as tensors without dimensions: one
        // element.
        const bool single = *rank == 0 && tensor.name.ends_with(".weight_scale");
        if ((*rank == 0 && !single) || *rank > tensor.dims.size()) {
            return in_.fail(errc::bad_shape, tensor, {" has ", *rank, " dimensions, 1 to 4 are allowed"});
        }
        tensor.rank = *rank;
        for (std::uint32_t d = 0; d < *rank; ++d) {
            const auto dim = reader_.read<std::uint64_t>();
            if (!dim) {
                return ends(sentence({"dimension ", d}), tensor);
            }
            tensor.dims[d] = *dim;
            if (*dim == 0 || *dim > static_cast<std::uint64_t>(INT64_MAX)) {
                return in_.fail(errc::bad_shape, tensor,
                                {": dimension ", d, " is ", (*dim == 0 ? "0" : "negative"), ", it must be at least 1"});
            }
        }
        return true;
    }

    gguf_input& in_;
    byte_reader& reader_;
    std::span<gguf_tensor> tensors_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
