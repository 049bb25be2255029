// SPDX-License-Identifier: MIT
// gguf_file::parse: reads GGUF versions 2 and 3 in place and refuses what does not hold together.
#ifndef BITNET_IO_GGUF_READER_HPP
#define BITNET_IO_GGUF_READER_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/foreign_contents.hpp>
#include <bitnet/io/gguf_data_section.hpp>
#include <bitnet/io/gguf_file.hpp>
#include <bitnet/io/gguf_input.hpp>
#include <bitnet/io/gguf_metadata_reader.hpp>
#include <bitnet/io/gguf_placement.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_tensor_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/name_index.hpp>
#include <bitnet/io/q2_0_blocks.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// One reading of a GGUF file: fills a gguf_file from front to back. Use gguf_file::parse.
class gguf_parser {
public:
    gguf_parser(std::span<const std::byte> bytes, std::string_view name, const memory_source* memory)
        : in_(bytes, name, memory) {
        file_.name_ = name;
        file_.memory_ = memory;
    }

    [[nodiscard]] result<gguf_file> run() {
        if (read_header() && read_metadata() && read_alignment() && read_tensors() && place_tensors()) {
            return std::move(file_);
        }
        if (in_.failure().code != errc::out_of_memory) {
            explain_failure();
        }
        return std::move(in_.failure());
    }

    /// Of extend(), too.
    [[nodiscard]] static bool index_tensors(gguf_input& in, gguf_file& file) {
        return in.index_names(file.names_sorted_, list_of_names<&gguf_tensor::name>(file.tensors_),
                              errc::duplicate_tensor, "tensor", "tensors");
    }

private:
    /// Where a mark says that the tensors are not what they seem, that is what is wrong, whatever else is.
    void explain_failure() {
        if (auto marks = refuse_foreign_marks(file_.values_.span(), file_.name_); !marks) {
            in_.failure() = failed(marks);
        }
    }

    [[nodiscard]] bool read_header() {
        constexpr std::size_t header_bytes = 24; // magic, version, two counts
        if (in_.bytes().size() < header_bytes) {
            return in_.fail(errc::truncated,
                            {"the file has ", in_.bytes().size(), " bytes, a GGUF header needs ", header_bytes});
        }
        const auto magic = *in_.reader().read_bytes(4);
        if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
            const std::string_view found(reinterpret_cast<const char*>(magic.data()), 4);
            return in_.fail(errc::bad_magic, {"starts with ", quoted{found}, " instead of 'GGUF'"});
        }
        file_.version_ = *in_.reader().read<std::uint32_t>();
        if (!check_version()) {
            return false;
        }
        tensor_count_ = *in_.reader().read<std::uint64_t>();
        key_count_ = *in_.reader().read<std::uint64_t>();
        return check_counts();
    }

    [[nodiscard]] bool check_version() {
        const std::uint32_t version = file_.version_;
        if (version == 2 || version == 3) {
            return true;
        }
        if (version != 0 && (version & 0xffffu) == 0) {
            return in_.fail(errc::bad_version, {"the version field is ", version,
                                                ": a byte-swapped (big-endian) GGUF file, only little-endian is read"});
        }
        return in_.fail(errc::bad_version, {"GGUF version ", version, ", only 2 and 3 are read"});
    }

    [[nodiscard]] bool check_counts() {
        // The least that an entry takes: key length 8, key 1, type 4, value 1; name length 8, name 1, rank 4, one
        // dimension 8, type 4, offset 8.
        constexpr std::uint64_t least_key_bytes = 14;
        constexpr std::uint64_t least_tensor_bytes = 33;
        const std::uint64_t left = in_.reader().remaining();
        if (key_count_ > left / least_key_bytes) {
            return in_.fail(errc::bad_count,
                            {"announces ", key_count_, " metadata keys, but only ", left, " bytes follow"});
        }
        if (tensor_count_ > (left - key_count_ * least_key_bytes) / least_tensor_bytes) {
            return in_.fail(errc::bad_count,
                            {"announces ", tensor_count_, " tensors, but only ", left, " bytes follow"});
        }
        return true;
    }

    [[nodiscard]] bool read_metadata() {
        return in_.allocate_list(file_.values_, key_count_, "metadata") &&
               gguf_metadata_reader(in_, file_.values_.span()).run() &&
               in_.index_names(file_.keys_sorted_, list_of_names<&gguf_value::key>(file_.values_), errc::duplicate_key,
                               "metadata key", "entries");
    }

    [[nodiscard]] bool read_alignment() {
        const gguf_value* value = file_.find("general.alignment");
        if (value == nullptr) {
            return true;
        }
        if (value->type != gguf_type::u32) {
            return in_.fail(errc::bad_alignment,
                            {"general.alignment is of type ", name_of(value->type), ", it must be u32"});
        }
        file_.alignment_ = value->element<std::uint32_t>(0);
        if (file_.alignment_ < least_gguf_alignment || file_.alignment_ > largest_gguf_alignment ||
            !std::has_single_bit(file_.alignment_)) {
            return in_.fail(errc::bad_alignment,
                            {"general.alignment is ", file_.alignment_, ", it must be a power of two from ",
                             least_gguf_alignment, " to ", largest_gguf_alignment});
        }
        return true;
    }

    [[nodiscard]] bool read_tensors() {
        return in_.allocate_list(file_.tensors_, tensor_count_, "tensor list") &&
               gguf_tensor_reader(in_, file_.tensors_.span()).run() && index_tensors(in_, file_);
    }

    [[nodiscard]] bool place_tensors() {
        const auto start = checked_align(in_.reader().offset(), file_.alignment_);
        if (!start) {
            return in_.fail(errc::bad_offset, {"the padding after the tensor list overflows"});
        }
        file_.data_offset_ = *start;
        gguf_data_section data{in_, file_.tensors_.span(), *start, file_.alignment_};
        return data.sort_offsets() && name_q2_0(data) && gguf_placement(data).run();
    }

    gguf_input in_;
    gguf_file file_;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t key_count_ = 0;
};

} // namespace detail

inline result<gguf_file> gguf_file::parse(std::span<const std::byte> bytes, std::string_view name,
                                          const memory_source* memory) {
    return detail::guarded([&] { return detail::gguf_parser(bytes, name, memory).run(); });
}

inline result<gguf_file> gguf_file::extend(gguf_file file, std::span<const gguf_tensor> more) {
    return detail::guarded([&]() -> result<gguf_file> {
        detail::gguf_input in({}, file.name_, file.memory_);
        const auto own = file.tensors();
        buffer<gguf_tensor> all;
        if (!in.allocate_list(all, own.size() + more.size(), "tensor list")) {
            return std::move(in.failure());
        }
        std::copy(more.begin(), more.end(), std::copy(own.begin(), own.end(), all.data()));
        file.tensors_ = std::move(all);
        if (!detail::gguf_parser::index_tensors(in, file)) {
            return std::move(in.failure());
        }
        return std::move(file);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
