// SPDX-License-Identifier: MIT
// gguf_file: the metadata and tensors of one GGUF file, found by name.
#ifndef BITNET_IO_GGUF_FILE_HPP
#define BITNET_IO_GGUF_FILE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_tensor.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/name_index.hpp>

#include <cstddef>
#include <cstdint>
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

/// The metadata and tensors of one GGUF file, in place and checked. Borrows the file's bytes, which must outlive it;
/// immutable, so reading is thread-safe. Move-only; pointers and spans that it gave stay valid when it moves.
class gguf_file {
public:
    static constexpr std::uint64_t longest_key = 65536;
    static constexpr std::uint64_t longest_tensor_name = 128;

    /// Include <bitnet/io/gguf_reader.hpp> to call it or extend().
    /// Reads the header of `bytes`; touches no tensor data. `name` is what error messages call the file.
    /// Cost: O(n log n) in the number of keys and of tensors, one pass over the metadata; memory for 64 bytes per key
    /// and 96 per tensor, allocated after the counts are known to fit the file.
    /// \param memory what it and the tokenizer and weights that are read from it have their memory from; null: operator
    /// new
    /// \return one of errc's "bytes of a file" codes, with a sentence naming the key or tensor and both numbers, or
    /// errc::out_of_memory. Proven by tests/io/gguf_malformed_test.cpp.
    [[nodiscard]] static inline result<gguf_file> parse(std::span<const std::byte> bytes, std::string_view name,
                                                        const memory_source* memory = nullptr);

    /// `file` with `more` tensors after its own. Their names and bytes may be anywhere and must outlive the result;
    /// their offsets count from the start of their own files. For checkpoints whose tensors stay in files of other
    /// formats. \pre every tensor of `more` has the bytes that its type and dims need \return errc::duplicate_tensor or
    /// out_of_memory.
    [[nodiscard]] static inline result<gguf_file> extend(gguf_file file, std::span<const gguf_tensor> more);

    [[nodiscard]] const std::string& name() const noexcept { return name_; }
    /// What parse() was given.
    [[nodiscard]] const memory_source* memory() const noexcept { return memory_; }
    /// For the library: what is read from now on has its memory from there.
    void use(const memory_source* memory) noexcept { memory_ = memory; }
    [[nodiscard]] std::uint32_t version() const noexcept { return version_; }
    [[nodiscard]] std::uint32_t alignment() const noexcept { return alignment_; } ///< bytes
    [[nodiscard]] std::uint64_t data_offset() const noexcept { return data_offset_; }
    /// Bytes of memory for the lists of keys and tensors.
    [[nodiscard]] std::uint64_t table_bytes() const noexcept {
        return values_.size_bytes() + tensors_.size_bytes() + (values_.size() + tensors_.size()) * sizeof(std::size_t);
    }
    /// In the order of the file.
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

} // namespace bitnet::inline BITNET_ABI

#endif
