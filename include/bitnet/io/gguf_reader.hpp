// SPDX-License-Identifier: MIT
// gguf_file: reads GGUF versions 2 and 3 in place and refuses what does not hold together.
#ifndef BITNET_IO_GGUF_READER_HPP
#define BITNET_IO_GGUF_READER_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/byte_reader.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/foreign_contents.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/name_index.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {
class gguf_parser;
} // namespace detail

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

/// The metadata and tensors of one GGUF file, in place and checked. Borrows the file's bytes, which must outlive it;
/// immutable, so reading is thread-safe. Move-only; pointers and spans that it gave stay valid when it moves.
class gguf_file {
public:
    static constexpr std::uint64_t longest_key = 65536;
    static constexpr std::uint64_t longest_tensor_name = 128;

    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file.
    /// Cost: O(n log n) in the number of keys and of tensors, one pass over the metadata; memory for 64 bytes per key
    /// and 96 per tensor, allocated after the counts are known to fit the file.
    /// \param memory what it and the tokenizer and weights that are read from it have their memory from; null: operator
    /// new
    /// \return one of errc's "bytes of a file" codes, with a sentence naming the key or tensor and both numbers, or
    /// errc::out_of_memory. Proven by tests/io/gguf_malformed_test.cpp.
    [[nodiscard]] static result<gguf_file> parse(std::span<const std::byte> bytes, std::string_view name,
                                                 const memory_source* memory = nullptr);

    /// `file` with `more` tensors after its own. Their names and bytes may be anywhere and must outlive the result;
    /// their offsets count from the start of their own files. For checkpoints whose tensors stay in files of other
    /// formats. \pre every tensor of `more` has the bytes that its type and dims need \return errc::duplicate_tensor or
    /// out_of_memory.
    [[nodiscard]] static result<gguf_file> extend(gguf_file file, std::span<const gguf_tensor> more);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// What parse() was given.
    [[nodiscard]] const memory_source* memory() const noexcept { return memory_; }
    /// For the library: what is read from now on has its memory from there.
    void use(const memory_source* memory) noexcept { memory_ = memory; }
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::uint32_t alignment() const noexcept { return alignment_; } ///< bytes
    [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
    /// In the order of the file.
    /// Bytes of memory for the lists of keys and tensors.
    [[nodiscard]] std::uint64_t table_bytes() const noexcept {
        return values_.size_bytes() + tensors_.size_bytes() + (values_.size() + tensors_.size()) * sizeof(std::size_t);
    }
    [[nodiscard]] std::span<const gguf_value> metadata() const noexcept { return values_.span(); }
    /// In the order of the file.
    [[nodiscard]] std::span<const gguf_tensor> tensors() const noexcept { return tensors_.span(); }

    /// The entry called `key`, or null. O(log n).
    [[nodiscard]] const gguf_value* find(std::string_view key) const noexcept {
        const std::size_t found = keys_sorted_.find(detail::list_of_names<&gguf_value::key>(values_), key);
        return found != detail::name_index::none ? &values_[found] : nullptr;
    }
    /// The tensor called `tensor_name`, or null. O(log n).
    [[nodiscard]] const gguf_tensor* find_tensor(std::string_view tensor_name) const noexcept {
        const std::size_t found = names_sorted_.find(detail::list_of_names<&gguf_tensor::name>(tensors_), tensor_name);
        return found != detail::name_index::none ? &tensors_[found] : nullptr;
    }

    /// The value of `key` as bool, an integer, float, double or std::string_view (into the file's bytes). An integer is
    /// taken from any integer type if its value fits T, a double from f32 too; nothing else is converted.
    /// \return errc::missing_key, wrong_type (names both types) or out_of_range (names the value).
    template <class T> [[nodiscard]] result<T> get(std::string_view key) const {
        const gguf_value* value = find(key);
        if (value == nullptr) {
            return missing_key(key, wanted<T>());
        }
        return convert<T>(*value);
    }

    /// Like get(), but `fallback` if the key is missing. A value of a wrong type is still an error.
    template <class T> [[nodiscard]] result<T> get_or(std::string_view key, T fallback) const {
        const gguf_value* value = find(key);
        return value != nullptr ? convert<T>(*value) : result<T>(std::move(fallback));
    }

private:
    friend class detail::gguf_parser;

    /// The numbers that a type of C++ holds.
    struct integer_range {
        std::int64_t least;
        std::uint64_t most;
        gguf_type type;
    };

    template <class T> [[nodiscard]] static constexpr gguf_type wanted() noexcept {
        if constexpr (std::is_arithmetic_v<T>) {
            return detail::gguf_type_of<T>();
        } else {
            static_assert(std::is_same_v<T, std::string_view>, "metadata is read as a number, bool or string_view");
            return gguf_type::string;
        }
    }

    [[nodiscard]] error missing_key(std::string_view key, gguf_type wanted) const {
        return detail::error_saying(errc::missing_key, {name_, ": the metadata has no key ", detail::quoted{key}, " (",
                                                        name_of(wanted), " is needed)"});
    }
    [[nodiscard]] error wrong_type(const gguf_value& value, gguf_type wanted) const {
        const std::string_view element = name_of(value.element_type);
        const bool is_array = value.type == gguf_type::array;
        const detail::sentence_part count = is_array ? detail::sentence_part(value.count) : detail::sentence_part("");
        return detail::error_saying(errc::wrong_type,
                                    {name_, ": metadata key ", detail::quoted{value.key}, " is of type ",
                                     is_array ? "array of " : "", count, is_array ? " " : "", element, ", ",
                                     name_of(wanted), " is needed"});
    }

    template <class T> [[nodiscard]] result<T> convert(const gguf_value& value) const {
        if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
            constexpr integer_range range{static_cast<std::int64_t>((std::numeric_limits<T>::min)()),
                                          static_cast<std::uint64_t>((std::numeric_limits<T>::max)()), wanted<T>()};
            auto number = integer(value, range);
            return number ? result<T>(static_cast<T>(*number)) : failed(number);
        } else {
            if (value.type == wanted<T>()) {
                if constexpr (std::is_same_v<T, std::string_view>) {
                    return value.string();
                } else {
                    return value.element<T>(0);
                }
            }
            if constexpr (std::is_same_v<T, double>) { // widening is exact; narrowing a double is not offered
                if (value.type == gguf_type::f32) {
                    const detail::default_float_environment environment; // for denormals and signalling NaNs
                    return static_cast<double>(value.element<float>(0));
                }
            }
            return wrong_type(value, wanted<T>());
        }
    }

    /// The bits of an integer in `range`; of a negative one in two's complement.
    [[nodiscard]] result<std::uint64_t> integer(const gguf_value& value, integer_range range) const {
        const auto number = value.type != gguf_type::array ? detail::wide_element(value, 0) : std::nullopt;
        if (!number) {
            return wrong_type(value, range.type);
        }
        const auto as_signed = static_cast<std::int64_t>(number->bits);
        if (number->negative ? as_signed >= range.least : number->bits <= range.most) {
            return number->bits;
        }
        return detail::error_saying(
            errc::out_of_range,
            {name_, ": metadata key ", detail::quoted{value.key}, " is ",
             number->negative ? detail::sentence_part(as_signed) : detail::sentence_part(number->bits),
             ", which does not fit the ", name_of(range.type), " that is needed"});
    }

    std::string name_;
    const memory_source* memory_ = nullptr;
    std::uint32_t version_ = 0;
    std::uint32_t alignment_ = 32;
    std::uint64_t data_offset_ = 0;
    buffer<gguf_value> values_;
    buffer<gguf_tensor> tensors_;
    detail::name_index keys_sorted_;
    detail::name_index names_sorted_;
};

namespace detail {

/// One reading of a GGUF file: fills a gguf_file from front to back. Use gguf_file::parse.
class gguf_parser {
public:
    gguf_parser(std::span<const std::byte> bytes, std::string_view name, const memory_source* memory)
        : bytes_(bytes), reader_(bytes) {
        file_.name_ = name;
        file_.memory_ = memory;
    }
    explicit gguf_parser(gguf_file file) : reader_({}), file_(std::move(file)) {}

    [[nodiscard]] result<gguf_file> extend(std::span<const gguf_tensor> more) {
        const auto own = file_.tensors_.span();
        buffer<gguf_tensor> all;
        allocate(all, own.size() + more.size(), sentence({file_.name_, ": tensor list"}), failure_, tables());
        if (failure_.code != errc{}) {
            return std::move(failure_);
        }
        for (std::size_t i = 0; i < all.size(); ++i) {
            all[i] = i < own.size() ? own[i] : more[i - own.size()];
        }
        file_.tensors_ = std::move(all);
        return finish(sort_names());
    }

    [[nodiscard]] result<gguf_file> run() {
        const bool complete = read_header() && read_metadata() && sort_keys() && read_alignment() && read_tensors() &&
                              sort_names() && find_data() && name_q2_0() && place_tensors() && check_overlaps();
        if (!complete && failure_.code != errc::out_of_memory) {
            explain_failure();
        }
        return finish(complete);
    }

private:
    [[nodiscard]] result<gguf_file> finish(bool complete) {
        if (!complete) {
            return std::move(failure_);
        }
        return std::move(file_);
    }

    [[nodiscard]] memory_from tables() const noexcept { return {file_.memory_, {memory_use::tables, false}}; }

    /// Where a mark says that the tensors are not what they seem, that is what is wrong, whatever else is.
    void explain_failure() {
        if (auto marks = refuse_foreign_marks(file_.values_.span(), file_.name_); !marks) {
            failure_ = failed(marks);
        }
    }

    // Every step returns whether to go on; if not, the error is in failure_.
    [[nodiscard]] bool fail(errc code, sentence_parts what) {
        return set_error(failure_, code, {file_.name_, ": "}, what);
    }
    [[nodiscard]] bool fail(errc code, const gguf_value& entry, sentence_parts what) {
        return set_error(failure_, code, {file_.name_, ": metadata key ", index_of(entry), " ", quoted{entry.key}},
                         what);
    }
    [[nodiscard]] bool fail(errc code, const gguf_tensor& tensor, sentence_parts what) {
        return set_error(failure_, code, {file_.name_, ": tensor ", quoted{tensor.name}}, what);
    }
    [[nodiscard]] bool ends(sentence_parts where) {
        return fail(errc::truncated, {"the file ends inside ", sentence(where), " (", reader_.remaining(), " of its ",
                                      bytes_.size(), " bytes are left there)"});
    }
    [[nodiscard]] bool ends(std::string_view part, const gguf_value& entry) {
        return ends({part, " of metadata key ", index_of(entry), " ", quoted{entry.key}});
    }
    [[nodiscard]] bool ends(std::string_view part, const gguf_tensor& tensor) {
        return ends({part, " of tensor ", quoted{tensor.name}});
    }
    [[nodiscard]] std::size_t index_of(const gguf_value& entry) const noexcept {
        return static_cast<std::size_t>(&entry - file_.values_.data());
    }
    template <class T> [[nodiscard]] bool allocate_list(buffer<T>& list, std::uint64_t size, std::string_view what) {
        allocate(list, size, sentence({file_.name_, ": ", what}), failure_, tables());
        return failure_.code == errc{};
    }

    [[nodiscard]] bool read_header() {
        constexpr std::size_t header_bytes = 24; // magic, version, two counts
        if (bytes_.size() < header_bytes) {
            return fail(errc::truncated,
                        {"the file has ", bytes_.size(), " bytes, a GGUF header needs ", header_bytes});
        }
        const auto magic = *reader_.read_bytes(4);
        if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
            const std::string_view found(reinterpret_cast<const char*>(magic.data()), 4);
            return fail(errc::bad_magic, {"starts with ", quoted{found}, " instead of 'GGUF'"});
        }
        file_.version_ = *reader_.read<std::uint32_t>();
        if (!check_version()) {
            return false;
        }
        tensor_count_ = *reader_.read<std::uint64_t>();
        key_count_ = *reader_.read<std::uint64_t>();
        return check_counts();
    }

    [[nodiscard]] bool check_version() {
        const std::uint32_t version = file_.version_;
        if (version == 2 || version == 3) {
            return true;
        }
        if (version != 0 && (version & 0xffffu) == 0) {
            return fail(errc::bad_version, {"the version field is ", version,
                                            ": a byte-swapped (big-endian) GGUF file, only little-endian is read"});
        }
        return fail(errc::bad_version, {"GGUF version ", version, ", only 2 and 3 are read"});
    }

    [[nodiscard]] bool check_counts() {
        // The least that an entry takes: key length 8, key 1, type 4, value 1; name length 8, name 1, rank 4, one
        // dimension 8, type 4, offset 8.
        constexpr std::uint64_t least_key_bytes = 14;
        constexpr std::uint64_t least_tensor_bytes = 33;
        const std::uint64_t left = reader_.remaining();
        if (key_count_ > left / least_key_bytes) {
            return fail(errc::bad_count,
                        {"announces ", key_count_, " metadata keys, but only ", left, " bytes follow"});
        }
        if (tensor_count_ > (left - key_count_ * least_key_bytes) / least_tensor_bytes) {
            return fail(errc::bad_count, {"announces ", tensor_count_, " tensors, but only ", left, " bytes follow"});
        }
        return true;
    }

    [[nodiscard]] bool read_metadata() {
        if (!allocate_list(file_.values_, key_count_, "metadata")) {
            return false;
        }
        for (gguf_value& value : file_.values_.span()) {
            if (!read_entry(value)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool read_entry(gguf_value& value) {
        const auto key = reader_.read_string();
        if (!key) {
            return ends({"metadata key ", index_of(value), " of ", key_count_});
        }
        if (key->empty() || key->size() > gguf_file::longest_key) {
            return fail(errc::bad_key, {"metadata key ", index_of(value), " has ", key->size(), " bytes, 1 to ",
                                        gguf_file::longest_key, " are allowed"});
        }
        value.key = *key;
        if (const auto nul = key->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_key, value, {" holds a NUL byte at ", nul});
        }
        const auto type = reader_.read<std::uint32_t>();
        if (!type) {
            return ends("the type", value);
        }
        value.type = value.element_type = static_cast<gguf_type>(*type);
        return value.type == gguf_type::array ? read_array(value) : read_single(value);
    }

    [[nodiscard]] bool read_single(gguf_value& value) {
        if (value.type == gguf_type::string) {
            const auto text = reader_.read_string();
            if (!text) {
                return ends("the string", value);
            }
            value.bytes = std::as_bytes(std::span(*text));
            return true;
        }
        const std::uint64_t size = size_of(value.type);
        if (size == 0) {
            return unknown_type(value, value.type);
        }
        const auto bytes = reader_.read_bytes(size);
        if (!bytes) {
            return ends("the value", value);
        }
        value.bytes = *bytes;
        return check_bools(value);
    }

    [[nodiscard]] bool read_array(gguf_value& value) {
        const auto element = reader_.read<std::uint32_t>();
        const auto count = reader_.read<std::uint64_t>();
        if (!element || !count) {
            return ends("the array header", value);
        }
        value.element_type = static_cast<gguf_type>(*element);
        value.count = *count;
        if (value.element_type == gguf_type::array) {
            return fail(errc::bad_value, value, {" is an array of arrays, which is not read"});
        }
        if (value.element_type == gguf_type::string) {
            return read_strings(value);
        }
        const std::uint64_t size = size_of(value.element_type);
        if (size == 0) {
            return unknown_type(value, value.element_type);
        }
        const auto total = checked_multiply(value.count, size);
        const auto bytes = total ? reader_.read_bytes(*total) : std::nullopt;
        if (!bytes) {
            return bad_array_count(value);
        }
        value.bytes = *bytes;
        return check_bools(value);
    }

    [[nodiscard]] bool read_strings(gguf_value& value) {
        if (value.count > reader_.remaining() / sizeof(std::uint64_t)) {
            return bad_array_count(value);
        }
        const std::size_t start = reader_.offset();
        for (std::uint64_t n = 0; n < value.count; ++n) {
            if (!reader_.read_string()) {
                return ends(sentence({"string ", n, " of the ", value.count}), value);
            }
        }
        value.bytes = bytes_.subspan(start, reader_.offset() - start);
        return true;
    }

    [[nodiscard]] bool unknown_type(const gguf_value& value, gguf_type type) {
        return fail(errc::bad_value, value,
                    {" has the unknown value type ", static_cast<std::uint32_t>(type), ", 0 to 12 are known"});
    }
    [[nodiscard]] bool bad_array_count(const gguf_value& value) {
        return fail(errc::bad_count, value,
                    {" announces an array of ", value.count, " ", name_of(value.element_type), ", but only ",
                     reader_.remaining(), " bytes are left"});
    }

    [[nodiscard]] bool check_bools(const gguf_value& value) {
        if (value.element_type != gguf_type::boolean) {
            return true;
        }
        for (const std::byte b : value.bytes) {
            if (b > std::byte{1}) {
                return fail(errc::bad_value, value,
                            {" holds the bool ", std::to_integer<unsigned>(b), ", only 0 and 1 are bools"});
            }
        }
        return true;
    }

    [[nodiscard]] bool sort_keys() {
        const name_list keys = list_of_names<&gguf_value::key>(file_.values_);
        if (!file_.keys_sorted_.build(keys, sentence({file_.name_, ": an index of names"}), failure_, tables())) {
            return false;
        }
        const auto [first, second] = file_.keys_sorted_.duplicates(keys);
        return first == name_index::none ||
               fail(errc::duplicate_key,
                    {"metadata key ", quoted{keys[first]}, " appears twice, as entries ", first, " and ", second});
    }

    [[nodiscard]] bool read_alignment() {
        const gguf_value* value = file_.find("general.alignment");
        if (value == nullptr) {
            return true;
        }
        if (value->type != gguf_type::u32) {
            return fail(errc::bad_alignment,
                        {"general.alignment is of type ", name_of(value->type), ", it must be u32"});
        }
        file_.alignment_ = value->element<std::uint32_t>(0);
        if (file_.alignment_ < least_gguf_alignment || file_.alignment_ > largest_gguf_alignment ||
            !std::has_single_bit(file_.alignment_)) {
            return fail(errc::bad_alignment,
                        {"general.alignment is ", file_.alignment_, ", it must be a power of two from ",
                         least_gguf_alignment, " to ", largest_gguf_alignment});
        }
        return true;
    }

    [[nodiscard]] bool read_tensors() {
        if (!allocate_list(file_.tensors_, tensor_count_, "tensor list")) {
            return false;
        }
        for (std::size_t i = 0; i < file_.tensors_.size(); ++i) {
            if (!read_tensor(i, file_.tensors_[i])) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool read_tensor(std::size_t i, gguf_tensor& tensor) {
        const auto name = reader_.read_string();
        if (!name) {
            return ends({"the name of tensor ", i, " of ", tensor_count_});
        }
        if (name->empty() || name->size() > gguf_file::longest_tensor_name) {
            return fail(errc::bad_tensor_name, {"the name of tensor ", i, " has ", name->size(), " bytes, 1 to ",
                                                gguf_file::longest_tensor_name, " are allowed"});
        }
        tensor.name = *name;
        if (const auto nul = name->find('\0'); nul != std::string_view::npos) {
            return fail(errc::bad_tensor_name, tensor, {" holds a NUL byte at ", nul});
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
            return fail(errc::unsupported_type, tensor, {" has the unknown tensor type ", *type});
        }
        tensor.offset = *offset; // from the data section, until place_tensors
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
            return fail(errc::bad_shape, tensor, {" has ", *rank, " dimensions, 1 to 4 are allowed"});
        }
        tensor.rank = *rank;
        for (std::uint32_t d = 0; d < *rank; ++d) {
            const auto dim = reader_.read<std::uint64_t>();
            if (!dim) {
                return ends(sentence({"dimension ", d}), tensor);
            }
            tensor.dims[d] = *dim;
            if (*dim == 0 || *dim > static_cast<std::uint64_t>(INT64_MAX)) {
                return fail(errc::bad_shape, tensor,
                            {": dimension ", d, " is ", (*dim == 0 ? "0" : "negative"), ", it must be at least 1"});
            }
        }
        return true;
    }

    [[nodiscard]] bool sort_names() {
        const name_list names = list_of_names<&gguf_tensor::name>(file_.tensors_);
        if (!file_.names_sorted_.build(names, sentence({file_.name_, ": an index of names"}), failure_, tables())) {
            return false;
        }
        const auto [first, second] = file_.names_sorted_.duplicates(names);
        return first == name_index::none ||
               fail(errc::duplicate_tensor,
                    {"tensor ", quoted{names[first]}, " appears twice, as tensors ", first, " and ", second});
    }

    /// Type 42 has blocks of 128 columns in 34 bytes, or of 64 in 18, and no file says which. Tensors follow one
    /// another without gaps, so that one of the two meets every offset and the end of the file. Those of 64 become
    /// q2_0_g64.
    [[nodiscard]] bool name_q2_0() {
        const auto tensors = file_.tensors_.span();
        const auto is_q2_0 = [](const gguf_tensor& tensor) { return tensor.type == tensor_type::q2_0; };
        if (std::none_of(tensors.begin(), tensors.end(), is_q2_0)) {
            return true;
        }
        for (const gguf_tensor& tensor : tensors) {
            if (!is_q2_0(tensor) && !check_shape(tensor)) {
                return false;
            }
        }
        buffer<std::size_t> order;
        if (!sort_offsets(order)) {
            return false;
        }
        const std::string no_128 = misfit(tensor_type::q2_0, order.span());
        const std::string no_64 = misfit(tensor_type::q2_0_g64, order.span());
        if (no_128.empty() == no_64.empty()) {
            return refuse_q2_0(no_128, no_64);
        }
        for (gguf_tensor& tensor : tensors) {
            tensor.type = is_q2_0(tensor) && no_64.empty() ? tensor_type::q2_0_g64 : tensor.type;
        }
        return true;
    }

    /// \param no_128, no_64 what misfit() gave: both empty or neither
    [[nodiscard]] bool refuse_q2_0(std::string_view no_128, std::string_view no_64) {
        for (const gguf_tensor& tensor : file_.tensors_.span()) {
            if (tensor.type == tensor_type::q2_0 && !no_64.empty() && !meaning_of_type(tensor).empty()) {
                return refuse_type(tensor);
            }
        }
        return fail(errc::wrong_layout,
                    {"tensors of type 42 (Q2_0) have blocks of 128 or of 64 columns, and ",
                     no_64.empty() ? std::string("the offsets of this file fit both")
                                   : sentence({"this file fits neither: with 128, ", no_128, "; with 64, ", no_64})});
    }

    /// The first place where the file would differ if type 42 were `type`; empty if there is none.
    [[nodiscard]] std::string misfit(tensor_type type, std::span<const std::size_t> order) const {
        std::uint64_t expected = 0;
        std::uint64_t end = 0;
        for (const std::size_t i : order) {
            const gguf_tensor& tensor = file_.tensors_[i];
            const tensor_type own = tensor.type == tensor_type::q2_0 ? type : tensor.type;
            const auto bytes = fits_blocks(own, tensor.dims) ? tensor_bytes(own, tensor.dims) : std::nullopt;
            const auto last = bytes ? checked_add(expected, *bytes) : bytes;
            const auto next = last ? checked_align(*last, file_.alignment_) : last;
            if (!next) {
                return sentence(
                    {"tensor ", quoted{tensor.name}, " of shape ", dims_text(tensor), " has rows of no whole blocks"});
            }
            if (tensor.offset != expected) {
                return sentence({"tensor ", quoted{tensor.name}, " would start at offset ", expected,
                                 ", but it does at ", tensor.offset});
            }
            end = *last;
            expected = *next;
        }
        const std::uint64_t start = file_.data_offset_;
        const std::uint64_t present = bytes_.size() < start ? 0 : bytes_.size() - start;
        return present >= end && present <= expected
                   ? std::string()
                   : sentence({"the data would take ", end, " bytes, but it has ", present});
    }

    [[nodiscard]] bool find_data() {
        const auto start = checked_align(reader_.offset(), file_.alignment_);
        file_.data_offset_ = start.value_or(0);
        return start || fail(errc::bad_offset, {"the padding after the tensor list overflows"});
    }

    [[nodiscard]] bool place_tensors() {
        for (gguf_tensor& tensor : file_.tensors_.span()) {
            if (!check_shape(tensor) || !place(tensor, *tensor_bytes(tensor.type, tensor.dims))) {
                return false;
            }
        }
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
        return what.empty() ? fail(errc::unsupported_type, tensor, {" has the unknown tensor type ", id})
                            : fail(errc::unsupported_type, tensor, {" has type ", id, ", ", what});
    }
    [[nodiscard]] std::string_view meaning_of_type(const gguf_tensor& tensor) const noexcept {
        const bool is_last = &tensor == &file_.tensors_[file_.tensors_.size() - 1];
        const std::uint64_t end = is_last ? bytes_.size() - file_.data_offset_ : (&tensor + 1)->offset;
        return what_is_type(static_cast<std::uint32_t>(tensor.type), element_count(tensor.dims).value_or(0),
                            end - tensor.offset, file_.alignment_);
    }
    [[nodiscard]] bool bad_shape(const gguf_tensor& tensor, sentence_parts what) {
        return fail(errc::bad_shape, tensor, {" of shape ", dims_text(tensor), sentence(what)});
    }

    [[nodiscard]] static std::string block_rule(const tensor_format& format) {
        if (format.type == tensor_type::tl2) {
            return "its rows must have at least 256 elements";
        }
        const std::string first = sentence({format.flat ? "the number of its elements" : "the first dimension",
                                            " must be a multiple of ", format.block_elements});
        return format.row_group == 1 ? first : sentence({first, " and the second a multiple of ", format.row_group});
    }

    [[nodiscard]] bool place(gguf_tensor& tensor, std::uint64_t bytes) {
        if (tensor.offset % file_.alignment_ != 0) {
            return fail(
                errc::bad_offset, tensor,
                {" starts at offset ", tensor.offset, ", which is not a multiple of the alignment ", file_.alignment_});
        }
        const auto first = checked_add(file_.data_offset_, tensor.offset);
        const auto last = first ? checked_add(*first, bytes) : first;
        if (!last || *last > bytes_.size()) {
            return fail(errc::bad_offset, tensor,
                        {" takes ", bytes, " bytes at offset ", tensor.offset, " of the data, which starts at ",
                         file_.data_offset_, ", but the file has ", bytes_.size(), " bytes"});
        }
        tensor.offset = *first;
        tensor.bytes = bytes_.subspan(to_size(*first), to_size(bytes));
        return true;
    }

    /// order = the indices of all tensors by ascending offset.
    [[nodiscard]] bool sort_offsets(buffer<std::size_t>& order) {
        if (!allocate_list(order, file_.tensors_.size(), "an index of offsets")) {
            return false;
        }
        sort_indices(order.span(), file_.tensors_.data(), [](const void* first, std::size_t a, std::size_t b) noexcept {
            const auto* list = static_cast<const gguf_tensor*>(first);
            return (list[a].offset > list[b].offset ? 1 : 0) - (list[a].offset < list[b].offset ? 1 : 0);
        });
        return true;
    }

    [[nodiscard]] bool check_overlaps() {
        buffer<std::size_t> order;
        if (!sort_offsets(order)) {
            return false;
        }
        const auto tensors = file_.tensors_.span();
        for (std::size_t i = 1; i < order.size(); ++i) {
            if (!check_neighbours(tensors[order[i - 1]], tensors[order[i]])) {
                return false;
            }
        }
        return order.empty() || check_space(tensors[order[order.size() - 1]], bytes_.size(), "the end of the file");
    }

    [[nodiscard]] bool check_neighbours(const gguf_tensor& lower, const gguf_tensor& upper) {
        const std::uint64_t space = upper.offset - lower.offset;
        const std::uint64_t bytes = lower.bytes.size();
        if (space < bytes) {
            return fail(errc::bad_offset,
                        {"tensor ", quoted{lower.name}, " (bytes ", lower.offset, " to ", lower.offset + bytes,
                         ") and tensor ", quoted{upper.name}, " (from ", upper.offset, ") overlap"});
        }
        return check_space(lower, upper.offset, "the next tensor");
    }

    /// Upstream ggml gave ids 36 to 39 to types of 4.25 bits and more per element: twice the bytes of ours.
    [[nodiscard]] bool check_space(const gguf_tensor& tensor, std::uint64_t end, std::string_view what) {
        const std::uint64_t space = end - tensor.offset;
        const bool claimed_twice = tensor.type >= tensor_type::i2_s && tensor.type <= tensor_type::tl2;
        if (claimed_twice && space / 2 >= tensor.bytes.size() + file_.alignment_) {
            return fail(errc::unsupported_type, tensor,
                        {" would take ", tensor.bytes.size(), " bytes as ", name_of(tensor.type), ", but ", space,
                         " bytes lie before ", what, ": its type id means another type to whoever wrote it"});
        }
        return true;
    }

    std::span<const std::byte> bytes_;
    byte_reader reader_;
    gguf_file file_;
    std::uint64_t tensor_count_ = 0;
    std::uint64_t key_count_ = 0;
    error failure_;
};

} // namespace detail

inline result<gguf_file> gguf_file::parse(std::span<const std::byte> bytes, std::string_view name,
                                          const memory_source* memory) {
    return detail::guarded([&] { return detail::gguf_parser(bytes, name, memory).run(); });
}

inline result<gguf_file> gguf_file::extend(gguf_file file, std::span<const gguf_tensor> more) {
    return detail::guarded([&] { return detail::gguf_parser(std::move(file)).extend(more); });
}

} // namespace bitnet::inline BITNET_ABI

#endif
