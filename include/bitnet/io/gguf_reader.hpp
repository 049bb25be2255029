// SPDX-License-Identifier: MIT
// gguf_file: reads GGUF versions 2 and 3 in place and refuses what does not hold together.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

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
        text += (i == 0 ? "" : ", ") + std::to_string(tensor.dims[i]);
    }
    return text + "]";
}

/// The metadata and tensors of one GGUF file, in place and checked. Borrows the file's bytes, which must outlive it;
/// immutable, so reading is thread-safe. Move-only; pointers and spans that it gave stay valid when it moves.
class gguf_file {
public:
    static constexpr std::uint64_t longest_key = 65536;
    static constexpr std::uint64_t longest_tensor_name = 128;

    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file.
    /// Cost: O(n log n) in the number of keys and of tensors, one pass over the metadata; memory for 64 bytes per key
    /// and 96 per tensor, allocated after the counts are known to fit the file.
    /// \return one of errc's "bytes of a file" codes, with a sentence naming the key or tensor and both numbers, or
    /// errc::out_of_memory. Proven by tests/io/gguf_malformed_test.cpp.
    [[nodiscard]] static result<gguf_file> parse(std::span<const std::byte> bytes, std::string_view name);

    /// `file` with `more` tensors behind its own. Their names and bytes may lie anywhere and must outlive what is made;
    /// their offsets count from wherever they came from. For checkpoints whose tensors stay in files of other formats.
    /// \pre every tensor of `more` has the bytes that its type and dims need
    /// \return errc::duplicate_tensor or out_of_memory.
    [[nodiscard]] static result<gguf_file> extend(gguf_file file, std::span<const gguf_tensor> more);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::uint32_t alignment() const noexcept { return alignment_; } ///< bytes
    [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
    /// In the order of the file.
    [[nodiscard]] std::span<const gguf_value> metadata() const noexcept { return values_.span(); }
    /// In the order of the file.
    [[nodiscard]] std::span<const gguf_tensor> tensors() const noexcept { return tensors_.span(); }

    /// The entry called `key`, or null. O(log n).
    [[nodiscard]] const gguf_value* find(std::string_view key) const noexcept {
        return search(values_, keys_sorted_, key, [](const gguf_value& v) { return v.key; });
    }
    /// The tensor called `tensor_name`, or null. O(log n).
    [[nodiscard]] const gguf_tensor* find_tensor(std::string_view tensor_name) const noexcept {
        return search(tensors_, names_sorted_, tensor_name, [](const gguf_tensor& t) { return t.name; });
    }

    /// The value of `key` as bool, an integer, float, double or std::string_view (into the file's bytes). An integer is
    /// taken from any integer type if its value fits T, a double from f32 too; nothing else is converted.
    /// \return errc::missing_key, wrong_type (names both types) or out_of_range (names the value).
    template <class T> [[nodiscard]] result<T> get(std::string_view key) const {
        const gguf_value* value = find(key);
        if (value == nullptr) {
            return error{errc::missing_key, name_ + ": the metadata has no key " + quoted_name(key) + " (" +
                                                std::string(wanted<T>()) + " is needed)"};
        }
        return convert<T>(*value);
    }

    /// Like get(), but `fallback` where the key is missing. A value of a wrong type is still an error.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view key, T fallback) const {
        const gguf_value* value = find(key);
        return value != nullptr ? convert<T>(*value) : result<T>(std::move(fallback));
    }

private:
    friend class gguf_parser;

    template <class Element, class Key>
    [[nodiscard]] static const Element* search(const buffer<Element>& all, const buffer<std::size_t>& sorted,
                                               std::string_view wanted_key, Key key_of) noexcept {
        const auto order = sorted.span();
        const auto less = [&](std::size_t i, std::string_view k) { return key_of(all[i]) < k; };
        const auto found = std::lower_bound(order.begin(), order.end(), wanted_key, less);
        return found != order.end() && key_of(all[*found]) == wanted_key ? &all[*found] : nullptr;
    }

    template <class T> [[nodiscard]] static constexpr std::string_view wanted() noexcept {
        if constexpr (std::is_arithmetic_v<T>) {
            return name_of(gguf_type_of<T>());
        } else {
            static_assert(std::is_same_v<T, std::string_view>, "metadata is read as a number, bool or string_view");
            return name_of(gguf_type::string);
        }
    }

    [[nodiscard]] static std::string type_text(const gguf_value& value) {
        const std::string element(name_of(value.element_type));
        return value.type == gguf_type::array ? "array of " + std::to_string(value.count) + " " + element : element;
    }

    template <class T> [[nodiscard]] error wrong_type(const gguf_value& value) const {
        return error{errc::wrong_type, name_ + ": metadata key " + quoted_name(value.key) + " is of type " +
                                           type_text(value) + ", " + std::string(wanted<T>()) + " is needed"};
    }

    template <class T> [[nodiscard]] result<T> convert(const gguf_value& value) const {
        if constexpr (std::is_same_v<T, std::string_view>) {
            return value.type == gguf_type::string ? result<T>(value.string()) : wrong_type<T>(value);
        } else if constexpr (std::is_same_v<T, bool>) {
            return value.type == gguf_type::boolean ? result<T>(value.bytes[0] != std::byte{0}) : wrong_type<T>(value);
        } else if constexpr (std::is_integral_v<T>) {
            return convert_integer<T>(value);
        } else {
            if (value.type == gguf_type_of<T>()) {
                return value.element<T>(0);
            }
            // Widening is exact; narrowing a double is not offered.
            return value.type == gguf_type::f32 && sizeof(T) == 8 ? result<T>(static_cast<T>(value.element<float>(0)))
                                                                  : wrong_type<T>(value);
        }
    }

    template <class T> [[nodiscard]] result<T> convert_integer(const gguf_value& value) const {
        switch (value.type) {
        case gguf_type::u8:
            return fit<T>(value, value.element<std::uint8_t>(0));
        case gguf_type::i8:
            return fit<T>(value, value.element<std::int8_t>(0));
        case gguf_type::u16:
            return fit<T>(value, value.element<std::uint16_t>(0));
        case gguf_type::i16:
            return fit<T>(value, value.element<std::int16_t>(0));
        case gguf_type::u32:
            return fit<T>(value, value.element<std::uint32_t>(0));
        case gguf_type::i32:
            return fit<T>(value, value.element<std::int32_t>(0));
        case gguf_type::u64:
            return fit<T>(value, value.element<std::uint64_t>(0));
        case gguf_type::i64:
            return fit<T>(value, value.element<std::int64_t>(0));
        default:
            return wrong_type<T>(value);
        }
    }

    template <class T, class Stored> [[nodiscard]] result<T> fit(const gguf_value& value, Stored number) const {
        if (std::in_range<T>(number)) {
            return static_cast<T>(number);
        }
        return error{errc::out_of_range, name_ + ": metadata key " + quoted_name(value.key) + " is " +
                                             std::to_string(number) + ", which does not fit the " +
                                             std::string(wanted<T>()) + " that is needed"};
    }

    std::string name_;
    std::uint32_t version_ = 0;
    std::uint32_t alignment_ = 32;
    std::uint64_t data_offset_ = 0;
    buffer<gguf_value> values_;
    buffer<gguf_tensor> tensors_;
    buffer<std::size_t> keys_sorted_;  // indices of values_ by key
    buffer<std::size_t> names_sorted_; // indices of tensors_ by name
};

/// One reading of a GGUF file: fills a gguf_file from front to back. Use gguf_file::parse.
class gguf_parser {
public:
    gguf_parser(std::span<const std::byte> bytes, std::string_view name) : bytes_(bytes), reader_(bytes) {
        file_.name_ = name;
    }
    explicit gguf_parser(gguf_file file) : reader_({}), file_(std::move(file)) {}

    [[nodiscard]] result<gguf_file> extend(std::span<const gguf_tensor> more) {
        const auto own = file_.tensors_.span();
        auto all = buffer<gguf_tensor>::allocate(own.size() + more.size(), file_.name_ + ": tensor list");
        if (!all) {
            return std::move(all).error();
        }
        std::copy(more.begin(), more.end(), std::copy(own.begin(), own.end(), all->data()));
        file_.tensors_ = *std::move(all);
        if (auto sorted = sort_names(); !sorted) {
            return std::move(sorted).error();
        }
        return std::move(file_);
    }

    [[nodiscard]] result<gguf_file> run() {
        for (const auto step : {&gguf_parser::read_header, &gguf_parser::read_metadata, &gguf_parser::sort_keys,
                                &gguf_parser::read_alignment, &gguf_parser::read_tensors, &gguf_parser::sort_names,
                                &gguf_parser::place_tensors, &gguf_parser::check_overlaps}) {
            if (auto done = (this->*step)(); !done) {
                return std::move(done).error();
            }
        }
        return std::move(file_);
    }

private:
    [[nodiscard]] error fail(errc code, const std::string& sentence) const {
        return error{code, file_.name_ + ": " + sentence};
    }
    [[nodiscard]] error ends(const std::string& where) const {
        return fail(errc::truncated, "the file ends inside " + where + " (" + std::to_string(reader_.remaining()) +
                                         " of its " + std::to_string(bytes_.size()) + " bytes are left there)");
    }
    [[nodiscard]] static std::string key_place(std::size_t i, std::string_view key) {
        return "metadata key " + std::to_string(i) + " " + quoted_name(key);
    }
    [[nodiscard]] static std::string tensor_place(const gguf_tensor& tensor) {
        return "tensor " + quoted_name(tensor.name);
    }

    [[nodiscard]] result<void> read_header() {
        constexpr std::size_t header_bytes = 24; // magic, version, two counts
        if (bytes_.size() < header_bytes) {
            return fail(errc::truncated, "the file has " + std::to_string(bytes_.size()) +
                                             " bytes, a GGUF header needs " + std::to_string(header_bytes));
        }
        const auto magic = *reader_.read_bytes(4);
        if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
            const std::string_view found(reinterpret_cast<const char*>(magic.data()), 4);
            return fail(errc::bad_magic, "starts with " + quoted_name(found) + " instead of 'GGUF'");
        }
        file_.version_ = *reader_.read<std::uint32_t>();
        if (auto known = check_version(); !known) {
            return known;
        }
        tensor_count_ = *reader_.read<std::uint64_t>();
        key_count_ = *reader_.read<std::uint64_t>();
        return check_counts();
    }

    [[nodiscard]] result<void> check_version() const {
        const std::uint32_t version = file_.version_;
        if (version == 2 || version == 3) {
            return {};
        }
        if (version != 0 && (version & 0xffffu) == 0) {
            return fail(errc::bad_version, "the version field is " + std::to_string(version) +
                                               ": a byte-swapped (big-endian) GGUF file, only little-endian is read");
        }
        return fail(errc::bad_version, "GGUF version " + std::to_string(version) + ", only 2 and 3 are read");
    }

    [[nodiscard]] result<void> check_counts() const {
        // The least that an entry takes: key length 8, key 1, type 4, value 1; name length 8, name 1, rank 4, one
        // dimension 8, type 4, offset 8.
        constexpr std::uint64_t least_key_bytes = 14;
        constexpr std::uint64_t least_tensor_bytes = 33;
        const std::uint64_t left = reader_.remaining();
        if (key_count_ > left / least_key_bytes) {
            return fail(errc::bad_count, "announces " + std::to_string(key_count_) + " metadata keys, but only " +
                                             std::to_string(left) + " bytes follow");
        }
        if (tensor_count_ > (left - key_count_ * least_key_bytes) / least_tensor_bytes) {
            return fail(errc::bad_count, "announces " + std::to_string(tensor_count_) + " tensors, but only " +
                                             std::to_string(left) + " bytes follow");
        }
        return {};
    }

    [[nodiscard]] result<void> read_metadata() {
        auto values = buffer<gguf_value>::allocate(key_count_, file_.name_ + ": metadata");
        if (!values) {
            return std::move(values).error();
        }
        file_.values_ = *std::move(values);
        for (std::size_t i = 0; i < file_.values_.size(); ++i) {
            if (auto done = read_entry(i, file_.values_[i]); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_entry(std::size_t i, gguf_value& value) {
        const auto key = reader_.read_string();
        if (!key) {
            return ends("metadata key " + std::to_string(i) + " of " + std::to_string(key_count_));
        }
        if (key->empty() || key->size() > gguf_file::longest_key) {
            return fail(errc::bad_key, "metadata key " + std::to_string(i) + " has " + std::to_string(key->size()) +
                                           " bytes, 1 to " + std::to_string(gguf_file::longest_key) + " are allowed");
        }
        if (const auto nul = key->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_key, key_place(i, *key) + " holds a NUL byte at " + std::to_string(nul));
        }
        value.key = *key;
        const auto type = reader_.read<std::uint32_t>();
        if (!type) {
            return ends("the type of " + key_place(i, *key));
        }
        value.type = value.element_type = static_cast<gguf_type>(*type);
        return value.type == gguf_type::array ? read_array(i, value) : read_single(i, value);
    }

    [[nodiscard]] result<void> read_single(std::size_t i, gguf_value& value) {
        if (value.type == gguf_type::string) {
            const auto text = reader_.read_string();
            if (!text) {
                return ends("the string of " + key_place(i, value.key));
            }
            value.bytes = std::as_bytes(std::span(*text));
            return {};
        }
        const std::uint64_t size = size_of(value.type);
        if (size == 0) {
            return unknown_type(i, value, value.type);
        }
        const auto bytes = reader_.read_bytes(size);
        if (!bytes) {
            return ends("the value of " + key_place(i, value.key));
        }
        value.bytes = *bytes;
        return check_bools(i, value);
    }

    [[nodiscard]] result<void> read_array(std::size_t i, gguf_value& value) {
        const auto element = reader_.read<std::uint32_t>();
        const auto count = reader_.read<std::uint64_t>();
        if (!element || !count) {
            return ends("the array header of " + key_place(i, value.key));
        }
        value.element_type = static_cast<gguf_type>(*element);
        value.count = *count;
        if (value.element_type == gguf_type::array) {
            return fail(errc::bad_value, key_place(i, value.key) + " is an array of arrays, which is not read");
        }
        if (value.element_type == gguf_type::string) {
            return read_strings(i, value);
        }
        const std::uint64_t size = size_of(value.element_type);
        if (size == 0) {
            return unknown_type(i, value, value.element_type);
        }
        const auto total = checked_multiply(value.count, size);
        const auto bytes = total ? reader_.read_bytes(*total) : std::nullopt;
        if (!bytes) {
            return bad_array_count(i, value);
        }
        value.bytes = *bytes;
        return check_bools(i, value);
    }

    [[nodiscard]] result<void> read_strings(std::size_t i, gguf_value& value) {
        if (value.count > reader_.remaining() / sizeof(std::uint64_t)) {
            return bad_array_count(i, value);
        }
        const std::size_t start = reader_.offset();
        for (std::uint64_t n = 0; n < value.count; ++n) {
            if (!reader_.read_string()) {
                return ends("string " + std::to_string(n) + " of the " + std::to_string(value.count) + " of " +
                            key_place(i, value.key));
            }
        }
        value.bytes = bytes_.subspan(start, reader_.offset() - start);
        return {};
    }

    [[nodiscard]] error unknown_type(std::size_t i, const gguf_value& value, gguf_type type) const {
        return fail(errc::bad_value, key_place(i, value.key) + " has the unknown value type " +
                                         std::to_string(static_cast<std::uint32_t>(type)) + ", 0 to 12 are known");
    }
    [[nodiscard]] error bad_array_count(std::size_t i, const gguf_value& value) const {
        return fail(errc::bad_count, key_place(i, value.key) + " announces an array of " + std::to_string(value.count) +
                                         " " + std::string(name_of(value.element_type)) + ", but only " +
                                         std::to_string(reader_.remaining()) + " bytes are left");
    }

    [[nodiscard]] result<void> check_bools(std::size_t i, const gguf_value& value) const {
        if (value.element_type != gguf_type::boolean) {
            return {};
        }
        const auto bad =
            std::find_if(value.bytes.begin(), value.bytes.end(), [](std::byte b) { return b > std::byte{1}; });
        if (bad == value.bytes.end()) {
            return {};
        }
        return fail(errc::bad_value, key_place(i, value.key) + " holds the bool " +
                                         std::to_string(static_cast<unsigned>(*bad)) + ", only 0 and 1 are bools");
    }

    /// The indices of `all`, sorted by key: they find duplicates now and names later.
    template <class Element, class Key>
    [[nodiscard]] result<buffer<std::size_t>> sorted_indices(const buffer<Element>& all, Key key_of) const {
        auto order = buffer<std::size_t>::allocate(all.size(), file_.name_ + ": an index of names");
        if (order) {
            for (std::size_t i = 0; i < all.size(); ++i) {
                (*order)[i] = i;
            }
            const auto less = [&](std::size_t a, std::size_t b) {
                const auto key_a = key_of(all[a]);
                const auto key_b = key_of(all[b]);
                return key_a != key_b ? key_a < key_b : a < b;
            };
            std::sort(order->data(), order->data() + order->size(), less);
        }
        return order;
    }

    [[nodiscard]] result<void> sort_keys() {
        auto order = sorted_indices(file_.values_, [](const gguf_value& v) { return v.key; });
        if (!order) {
            return std::move(order).error();
        }
        file_.keys_sorted_ = *std::move(order);
        for (std::size_t i = 1; i < file_.keys_sorted_.size(); ++i) {
            const std::size_t first = file_.keys_sorted_[i - 1];
            const std::size_t second = file_.keys_sorted_[i];
            if (file_.values_[first].key == file_.values_[second].key) {
                return fail(errc::duplicate_key, "metadata key " + quoted_name(file_.values_[first].key) +
                                                     " stands twice, as entry " + std::to_string(first) + " and " +
                                                     std::to_string(second));
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_alignment() {
        // The format asks for a multiple of 8; below that, floats could not be read in place.
        constexpr std::uint32_t least = 8;
        constexpr std::uint32_t largest = 65536;
        const gguf_value* value = file_.find("general.alignment");
        if (value == nullptr) {
            return {};
        }
        if (value->type != gguf_type::u32) {
            return fail(errc::bad_alignment,
                        "general.alignment is of type " + std::string(name_of(value->type)) + ", it must be u32");
        }
        file_.alignment_ = value->element<std::uint32_t>(0);
        if (file_.alignment_ < least || file_.alignment_ > largest || !std::has_single_bit(file_.alignment_)) {
            return fail(errc::bad_alignment, "general.alignment is " + std::to_string(file_.alignment_) +
                                                 ", it must be a power of two from " + std::to_string(least) + " to " +
                                                 std::to_string(largest));
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensors() {
        auto tensors = buffer<gguf_tensor>::allocate(tensor_count_, file_.name_ + ": tensor list");
        if (!tensors) {
            return std::move(tensors).error();
        }
        file_.tensors_ = *std::move(tensors);
        for (std::size_t i = 0; i < file_.tensors_.size(); ++i) {
            if (auto done = read_tensor(i, file_.tensors_[i]); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_tensor(std::size_t i, gguf_tensor& tensor) {
        const auto name = reader_.read_string();
        if (!name) {
            return ends("the name of tensor " + std::to_string(i) + " of " + std::to_string(tensor_count_));
        }
        if (name->empty() || name->size() > gguf_file::longest_tensor_name) {
            return fail(errc::bad_tensor_name, "the name of tensor " + std::to_string(i) + " has " +
                                                   std::to_string(name->size()) + " bytes, 1 to " +
                                                   std::to_string(gguf_file::longest_tensor_name) + " are allowed");
        }
        tensor.name = *name;
        if (const auto nul = name->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_tensor_name, tensor_place(tensor) + " holds a NUL byte at " + std::to_string(nul));
        }
        if (auto done = read_dims(tensor); !done) {
            return done;
        }
        const auto type = reader_.read<std::uint32_t>();
        const auto offset = reader_.read<std::uint64_t>();
        if (!type || !offset) {
            return ends("the type and offset of " + tensor_place(tensor));
        }
        tensor.type = static_cast<tensor_type>(*type);
        tensor.offset = *offset; // from the data section, until place_tensors
        return {};
    }

    [[nodiscard]] result<void> read_dims(gguf_tensor& tensor) {
        const auto rank = reader_.read<std::uint32_t>();
        if (!rank) {
            return ends("the number of dimensions of " + tensor_place(tensor));
        }
        // The converter of microsoft/BitNet writes the scales of TL1 and TL2 as tensors without dimensions: one
        // element.
        const bool single = *rank == 0 && tensor.name.ends_with(".weight_scale");
        if ((*rank == 0 && !single) || *rank > tensor.dims.size()) {
            return fail(errc::bad_shape,
                        tensor_place(tensor) + " has " + std::to_string(*rank) + " dimensions, 1 to 4 are allowed");
        }
        tensor.rank = *rank;
        for (std::uint32_t d = 0; d < *rank; ++d) {
            const auto dim = reader_.read<std::uint64_t>();
            if (!dim) {
                return ends("dimension " + std::to_string(d) + " of " + tensor_place(tensor));
            }
            tensor.dims[d] = *dim;
            if (*dim == 0 || *dim > static_cast<std::uint64_t>(INT64_MAX)) {
                return fail(errc::bad_shape, tensor_place(tensor) + ": dimension " + std::to_string(d) + " is " +
                                                 (*dim == 0 ? "0" : "negative") + ", it must be at least 1");
            }
        }
        return {};
    }

    [[nodiscard]] result<void> sort_names() {
        auto order = sorted_indices(file_.tensors_, [](const gguf_tensor& t) { return t.name; });
        if (!order) {
            return std::move(order).error();
        }
        file_.names_sorted_ = *std::move(order);
        for (std::size_t i = 1; i < file_.names_sorted_.size(); ++i) {
            const std::size_t first = file_.names_sorted_[i - 1];
            const std::size_t second = file_.names_sorted_[i];
            if (file_.tensors_[first].name == file_.tensors_[second].name) {
                return fail(errc::duplicate_tensor, tensor_place(file_.tensors_[first]) + " stands twice, as tensor " +
                                                        std::to_string(first) + " and " + std::to_string(second));
            }
        }
        return {};
    }

    [[nodiscard]] result<void> place_tensors() {
        const auto start = checked_align(reader_.offset(), file_.alignment_);
        if (!start) {
            return fail(errc::bad_offset, "the padding behind the tensor list overflows");
        }
        file_.data_offset_ = *start;
        for (gguf_tensor& tensor : file_.tensors_.span()) {
            const auto bytes = byte_size(tensor);
            if (!bytes) {
                return std::move(bytes).error();
            }
            if (auto done = place(tensor, *bytes); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<std::uint64_t> byte_size(const gguf_tensor& tensor) const {
        const auto* format = format_of(tensor.type);
        if (format == nullptr || tensor.type == tensor_type::hf_packed) {
            return fail(errc::unsupported_type, tensor_place(tensor) + " has the unknown tensor type " +
                                                    std::to_string(static_cast<std::uint32_t>(tensor.type)));
        }
        const std::string shape = " of shape " + dims_text(tensor);
        const auto elements = element_count(tensor.dims);
        if (!elements || *elements > static_cast<std::uint64_t>(INT64_MAX)) {
            return fail(errc::bad_shape,
                        tensor_place(tensor) + shape + " has more elements than 64 bits with a sign can count");
        }
        if (!fits_blocks(tensor.type, tensor.dims)) {
            return fail(errc::bad_shape, tensor_place(tensor) + shape + " does not fit the blocks of " +
                                             std::string(format->name) + ": " + block_rule(*format));
        }
        const auto bytes = tensor_bytes(tensor.type, tensor.dims);
        if (!bytes) {
            return fail(errc::bad_shape, tensor_place(tensor) + shape + " has more bytes as " +
                                             std::string(format->name) + " than 64 bits can count");
        }
        return *bytes;
    }

    [[nodiscard]] static std::string block_rule(const tensor_format& format) {
        if (format.type == tensor_type::tl2) {
            return "its rows must have at least 256 elements";
        }
        std::string rule = format.flat ? "the number of its elements" : "the first dimension";
        rule += " must be a multiple of " + std::to_string(format.block_elements);
        return format.row_group == 1 ? rule
                                     : rule + " and the second a multiple of " + std::to_string(format.row_group);
    }

    [[nodiscard]] result<void> place(gguf_tensor& tensor, std::uint64_t bytes) {
        if (tensor.offset % file_.alignment_ != 0) {
            return fail(errc::bad_offset, tensor_place(tensor) + " starts at offset " + std::to_string(tensor.offset) +
                                              ", which is no multiple of the alignment " +
                                              std::to_string(file_.alignment_));
        }
        const auto first = checked_add(file_.data_offset_, tensor.offset);
        const auto last = first ? checked_add(*first, bytes) : first;
        if (!last || *last > bytes_.size()) {
            return fail(errc::bad_offset, tensor_place(tensor) + " takes " + std::to_string(bytes) +
                                              " bytes at offset " + std::to_string(tensor.offset) +
                                              " of the data, which starts at " + std::to_string(file_.data_offset_) +
                                              ", but the file has " + std::to_string(bytes_.size()) + " bytes");
        }
        tensor.offset = *first;
        tensor.bytes = bytes_.subspan(static_cast<std::size_t>(*first), static_cast<std::size_t>(bytes));
        return {};
    }

    [[nodiscard]] result<void> check_overlaps() {
        auto order = buffer<std::size_t>::allocate(file_.tensors_.size(), file_.name_ + ": an index of offsets");
        if (!order) {
            return std::move(order).error();
        }
        for (std::size_t i = 0; i < order->size(); ++i) {
            (*order)[i] = i;
        }
        std::sort(order->data(), order->data() + order->size(),
                  [&](std::size_t a, std::size_t b) { return file_.tensors_[a].offset < file_.tensors_[b].offset; });
        for (std::size_t i = 1; i < order->size(); ++i) {
            if (auto done = check_neighbours(file_.tensors_[(*order)[i - 1]], file_.tensors_[(*order)[i]]); !done) {
                return done;
            }
        }
        return order->empty()
                   ? result<void>()
                   : check_space(file_.tensors_[(*order)[order->size() - 1]], bytes_.size(), "the end of the file");
    }

    [[nodiscard]] result<void> check_neighbours(const gguf_tensor& lower, const gguf_tensor& upper) const {
        const std::uint64_t space = upper.offset - lower.offset;
        const std::uint64_t bytes = lower.bytes.size();
        if (space < bytes) {
            return fail(errc::bad_offset, tensor_place(lower) + " (bytes " + std::to_string(lower.offset) + " to " +
                                              std::to_string(lower.offset + bytes) + ") and " + tensor_place(upper) +
                                              " (from " + std::to_string(upper.offset) + ") overlap");
        }
        return check_space(lower, upper.offset, "the next tensor");
    }

    /// Upstream ggml gave ids 36 to 39 to types of 4.25 bits and more per element: twice the bytes of ours.
    [[nodiscard]] result<void> check_space(const gguf_tensor& tensor, std::uint64_t end, std::string_view what) const {
        const std::uint64_t space = end - tensor.offset;
        const bool claimed_twice = tensor.type >= tensor_type::i2_s && tensor.type <= tensor_type::tl2;
        if (claimed_twice && space / 2 >= tensor.bytes.size() + file_.alignment_) {
            return fail(errc::unsupported_type, tensor_place(tensor) + " would take " +
                                                    std::to_string(tensor.bytes.size()) + " bytes as " +
                                                    std::string(name_of(tensor.type)) + ", but " +
                                                    std::to_string(space) + " bytes lie before " + std::string(what) +
                                                    ": its type id means another type to whoever wrote it");
        }
        return {};
    }

    std::span<const std::byte> bytes_;
    byte_reader reader_;
    gguf_file file_;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t key_count_ = 0;
};

inline result<gguf_file> gguf_file::parse(std::span<const std::byte> bytes, std::string_view name) {
    return gguf_parser(bytes, name).run();
}

inline result<gguf_file> gguf_file::extend(gguf_file file, std::span<const gguf_tensor> more) {
    return gguf_parser(std::move(file)).extend(more);
}

} // namespace bitnet::inline BITNET_ABI
