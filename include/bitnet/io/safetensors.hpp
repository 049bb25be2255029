// SPDX-License-Identifier: MIT
// safetensors_file: reads safetensors files in place and refuses what does not hold together.
#ifndef BITNET_IO_SAFETENSORS_HPP
#define BITNET_IO_SAFETENSORS_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/name_index.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {
class safetensors_parser;
} // namespace detail

/// The element types of safetensors whose elements are whole bytes.
enum class safetensors_type : std::uint8_t {
    boolean,
    u8,
    i8,
    f8_e4m3,
    f8_e5m2,
    f8_e8m0,
    i16,
    u16,
    f16,
    bf16,
    i32,
    u32,
    f32,
    i64,
    u64,
    f64,
    c64,
};

namespace detail {

struct safetensors_format {
    safetensors_type type;
    std::string_view name; ///< as the header spells it
    std::uint32_t bytes;   ///< of one element
};

inline constexpr std::array<safetensors_format, 17> safetensors_formats{{
    {safetensors_type::boolean, "BOOL", 1},
    {safetensors_type::u8, "U8", 1},
    {safetensors_type::i8, "I8", 1},
    {safetensors_type::f8_e4m3, "F8_E4M3", 1},
    {safetensors_type::f8_e5m2, "F8_E5M2", 1},
    {safetensors_type::f8_e8m0, "F8_E8M0", 1},
    {safetensors_type::i16, "I16", 2},
    {safetensors_type::u16, "U16", 2},
    {safetensors_type::f16, "F16", 2},
    {safetensors_type::bf16, "BF16", 2},
    {safetensors_type::i32, "I32", 4},
    {safetensors_type::u32, "U32", 4},
    {safetensors_type::f32, "F32", 4},
    {safetensors_type::i64, "I64", 8},
    {safetensors_type::u64, "U64", 8},
    {safetensors_type::f64, "F64", 8},
    {safetensors_type::c64, "C64", 8},
}};

} // namespace detail

/// "BF16", ...
[[nodiscard]] constexpr std::string_view name_of(safetensors_type type) noexcept {
    return detail::safetensors_formats[static_cast<std::size_t>(type)].name;
}

/// One tensor of a safetensors file. Everything points into the file's bytes or its safetensors_file.
struct safetensors_tensor {
    static constexpr std::size_t most_dimensions = 8;

    std::string_view name;
    safetensors_type type = safetensors_type::f32;
    std::array<std::uint64_t, most_dimensions> shape{}; ///< slowest first, as PyTorch shows it; 0 beyond `rank`
    std::uint32_t rank = 0;                             ///< 0: one element
    std::uint64_t offset = 0;                           ///< from the start of the file
    std::span<const std::byte> bytes;                   ///< of any alignment
};

namespace detail {

/// "[640, 2560]", slowest dimension first.
[[nodiscard]] inline std::string shape_text(const safetensors_tensor& tensor) {
    std::string text = "[";
    for (std::uint32_t i = 0; i < tensor.rank; ++i) {
        text += sentence({i == 0 ? "" : ", ", tensor.shape[i]});
    }
    return text + "]";
}

} // namespace detail

/// The tensors of one safetensors file, in place and checked. Borrows the file's bytes, which must outlive it, and owns
/// the tensors' names. Immutable; move-only; what it gave stays valid when it moves.
///
///     u64 length of the header | header, JSON | data
///     {"name": {"dtype": "BF16", "shape": [out, in], "data_offsets": [begin, end]}, ..., "__metadata__": {"": ""}}
///
/// Source: the README of huggingface/safetensors.
class safetensors_file {
public:
    /// As in the format's own reader.
    static constexpr std::uint64_t longest_header = 100'000'000;
    static constexpr std::size_t longest_tensor_name = 1024;

    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file. As strict as
    /// the format: the tensors fill the data section without overlap and without a hole. Cost: O(n log n) in the length
    /// of the header, and the memory of json_document.
    /// \param memory null: operator new
    /// \return errc::truncated, bad_count (header length), bad_json, bad_utf8, bad_tensor_name, wrong_type,
    /// unsupported_type, bad_shape, bad_offset or out_of_memory, naming the tensor and both numbers. Proven by
    /// tests/io/safetensors_malformed_test.cpp.
    [[nodiscard]] static result<safetensors_file> parse(std::span<const std::byte> bytes, std::string_view name,
                                                        const memory_source* memory = nullptr);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// In the order of their data.
    [[nodiscard]] std::span<const safetensors_tensor> tensors() const noexcept { return tensors_.span(); }
    /// The tensor called `tensor_name`, or null. O(log n).
    [[nodiscard]] const safetensors_tensor* find(std::string_view tensor_name) const noexcept {
        const std::size_t found =
            names_sorted_.find(detail::list_of_names<&safetensors_tensor::name>(tensors_), tensor_name);
        return found != detail::name_index::none ? &tensors_[found] : nullptr;
    }

private:
    friend class detail::safetensors_parser;
    explicit safetensors_file(json_document header) noexcept : header_(std::move(header)) {}

    std::string name_;
    json_document header_;
    buffer<safetensors_tensor> tensors_;
    detail::name_index names_sorted_;
};

namespace detail {

/// One reading of a safetensors file. Use safetensors_file::parse.
class safetensors_parser {
public:
    safetensors_parser(std::span<const std::byte> bytes, std::string_view name, const memory_source* memory)
        : bytes_(bytes), name_(name), memory_(memory) {}

    [[nodiscard]] result<safetensors_file> run() {
        auto header = read_header();
        if (!header) {
            return failed(header);
        }
        safetensors_file file(*std::move(header));
        file.name_ = name_;
        if (!read_tensors(file) || !check_coverage(file.tensors_.span()) ||
            !file.names_sorted_.build(list_of_names<&safetensors_tensor::name>(file.tensors_),
                                      sentence({name_, ": an index of names"}), failure_, tables())) {
            return std::move(failure_);
        }
        return file;
    }

private:
    static constexpr std::string_view metadata_key = "__metadata__";

    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool fail(errc code, sentence_parts what) { return set_error(failure_, code, {name_, ": "}, what); }
    [[nodiscard]] bool fail(errc code, std::string_view tensor, sentence_parts what) {
        return set_error(failure_, code, {name_, ": tensor ", quoted{tensor}, ": "}, what);
    }

    [[nodiscard]] memory_from tables() const noexcept { return {memory_, {memory_use::tables, false}}; }

    [[nodiscard]] error header_error(errc code, sentence_parts what) const {
        return error{code, sentence({name_, ": ", sentence(what)})};
    }
    [[nodiscard]] result<json_document> read_header() {
        byte_reader reader(bytes_);
        const auto length = reader.read<std::uint64_t>();
        if (!length) {
            return header_error(errc::truncated, {"the file has ", bytes_.size(),
                                                  " bytes, the length of a safetensors header alone takes 8"});
        }
        if (*length > safetensors_file::longest_header) {
            return header_error(errc::bad_count, {"announces a header of ", *length, " bytes, up to ",
                                                  safetensors_file::longest_header, " are possible"});
        }
        const auto text = reader.read_bytes(*length);
        if (!text) {
            return header_error(errc::truncated, {"announces a header of ", *length, " bytes, but only ",
                                                  reader.remaining(), " bytes follow"});
        }
        data_offset_ = reader.offset();
        constexpr std::uint32_t depth = 3; // header, tensor, shape
        auto header = json_document::parse({reinterpret_cast<const char*>(text->data()), text->size()},
                                           name_ + ": header", {depth, memory_});
        if (header && !header->root().is_object()) {
            return header_error(errc::wrong_type, {"the header is of JSON type ", name_of(header->root().type()),
                                                   ", it must be an object"});
        }
        return header;
    }

    [[nodiscard]] bool read_tensors(safetensors_file& file) {
        const json_value header = file.header_.root();
        const std::size_t tensors = header.size() - (header.find(metadata_key) ? 1 : 0);
        allocate(file.tensors_, tensors, sentence({name_, ": tensor list"}), failure_, tables());
        if (failure_.code != errc{}) {
            return false;
        }
        std::size_t count = 0;
        for (const auto& [key, value] : header.members()) {
            if (!(key == metadata_key ? check_metadata(value) : read_tensor(key, value, file.tensors_[count++]))) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool check_metadata(json_value metadata) {
        if (!metadata.is_object()) {
            return fail(errc::wrong_type,
                        {"__metadata__ is of JSON type ", name_of(metadata.type()), ", it must be an object"});
        }
        for (const auto& [key, value] : metadata.members()) {
            if (value.type() != json_type::string) {
                return fail(errc::wrong_type, {"__metadata__: ", quoted{key}, " is of JSON type ",
                                               name_of(value.type()), ", it must be a string"});
            }
        }
        return true;
    }

    [[nodiscard]] bool read_tensor(std::string_view name, json_value entry, safetensors_tensor& tensor) {
        if (name.empty() || name.size() > safetensors_file::longest_tensor_name ||
            name.find('\0') != std::string_view::npos) {
            return fail(errc::bad_tensor_name, name,
                        {"a name of ", name.size(), " bytes; 1 to ", safetensors_file::longest_tensor_name,
                         " are allowed, none of them NUL"});
        }
        tensor.name = name;
        const auto type = entry.find("dtype");
        const auto shape = entry.find("shape");
        const auto offsets = entry.find("data_offsets");
        if (!type || !shape || !offsets || entry.size() != 3) {
            return fail(errc::wrong_type, name, {"its entry must be an object of dtype, shape and data_offsets"});
        }
        if (!read_type(*type, tensor)) {
            return false;
        }
        if (!read_shape(*shape, tensor)) {
            return false;
        }
        return read_range(*offsets, tensor);
    }

    [[nodiscard]] bool read_type(json_value value, safetensors_tensor& tensor) {
        const auto text = value.as_string();
        if (!text) {
            return fail(errc::wrong_type, tensor.name,
                        {"its dtype is of JSON type ", name_of(value.type()), ", it must be a string"});
        }
        const auto* end = safetensors_formats.data() + safetensors_formats.size();
        const auto* found = std::find_if(safetensors_formats.data(), end,
                                         [&](const safetensors_format& each) { return each.name == *text; });
        if (found == end) {
            return fail(errc::unsupported_type, tensor.name, {"unknown dtype ", quoted{*text}});
        }
        tensor.type = found->type;
        return true;
    }

    [[nodiscard]] bool read_shape(json_value value, safetensors_tensor& tensor) {
        if (!value.is_array() || value.size() > tensor.shape.size()) {
            return fail(errc::bad_shape, tensor.name,
                        {"its shape must be an array of 0 to ", tensor.shape.size(), " dimensions"});
        }
        for (const json_value dim : value.elements()) {
            const auto size = dim.as_integer<std::uint64_t>();
            if (!size || *size > static_cast<std::uint64_t>(INT64_MAX)) {
                return fail(errc::bad_shape, tensor.name,
                            {"dimension ", tensor.rank, " is not an integer from 0 to 2^63 - 1"});
            }
            tensor.shape[tensor.rank++] = *size;
        }
        return true;
    }

    /// Bytes that type and shape need; nullopt if they do not fit 64 bits.
    [[nodiscard]] static std::optional<std::uint64_t> byte_size(const safetensors_tensor& tensor) noexcept {
        std::optional<std::uint64_t> size = safetensors_formats[static_cast<std::size_t>(tensor.type)].bytes;
        for (std::uint32_t i = 0; i < tensor.rank && size; ++i) {
            size = checked_multiply(*size, tensor.shape[i]);
        }
        return size;
    }

    [[nodiscard]] bool read_range(json_value value, safetensors_tensor& tensor) {
        std::array<std::optional<std::uint64_t>, 2> range;
        std::size_t count = 0;
        for (const json_value offset : value.elements()) {
            if (count < range.size()) {
                range[count] = offset.as_integer<std::uint64_t>();
            }
            ++count;
        }
        if (count != 2 || !range[0] || !range[1] || *range[0] > *range[1]) {
            return fail(errc::bad_offset, tensor.name, {"its data_offsets must be two integers, begin <= end"});
        }
        const std::uint64_t data = bytes_.size() - data_offset_;
        if (*range[1] > data) {
            return fail(errc::bad_offset, tensor.name,
                        {"its data ends at ", *range[1], ", the file has ", data, " bytes of data"});
        }
        const auto needed = byte_size(tensor);
        if (!needed || *needed != *range[1] - *range[0]) {
            return fail(errc::bad_shape, tensor.name,
                        {"shape ", shape_text(tensor), " of ", name_of(tensor.type), " needs ",
                         needed ? sentence_part(*needed) : "more than 2^64", " bytes, its data_offsets give ",
                         *range[1] - *range[0]});
        }
        tensor.offset = data_offset_ + *range[0];
        tensor.bytes = bytes_.subspan(to_size(tensor.offset), to_size(*needed));
        return true;
    }

    /// Sorts the tensors by their data, which must follow one another without a gap from the first byte to the last.
    [[nodiscard]] bool check_coverage(std::span<safetensors_tensor> tensors) {
        const auto place = [](const safetensors_tensor& t) { return std::pair(t.offset, t.bytes.size()); };
        // Empty tensors come before the one that starts at the same byte.
        std::sort(tensors.begin(), tensors.end(), [&](const auto& a, const auto& b) { return place(a) < place(b); });
        std::uint64_t end = data_offset_;
        for (const safetensors_tensor& tensor : tensors) {
            if (tensor.offset != end) {
                return fail(errc::bad_offset, tensor.name,
                            {"its data begins at ", tensor.offset - data_offset_,
                             (tensor.offset < end ? ", inside" : ", with a hole after"),
                             " the data before it, which ends at ", end - data_offset_});
            }
            end += tensor.bytes.size();
        }
        if (end != bytes_.size()) {
            return fail(errc::bad_offset, {"the data of its ", tensors.size(), " tensors ends at ", end - data_offset_,
                                           ", the file has ", bytes_.size() - data_offset_, " bytes of data"});
        }
        return true;
    }

    std::span<const std::byte> bytes_;
    std::string name_;
    const memory_source* memory_;
    std::size_t data_offset_ = 0;
    error failure_;
};

} // namespace detail

inline result<safetensors_file> safetensors_file::parse(std::span<const std::byte> bytes, std::string_view name,
                                                        const memory_source* memory) {
    return detail::guarded([&] { return detail::safetensors_parser(bytes, name, memory).run(); });
}

} // namespace bitnet::inline BITNET_ABI

#endif
