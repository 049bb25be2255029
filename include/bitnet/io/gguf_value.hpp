// SPDX-License-Identifier: MIT
// gguf_value: one metadata entry of a GGUF file, in place.
#ifndef BITNET_IO_GGUF_VALUE_HPP
#define BITNET_IO_GGUF_VALUE_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_types.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// The strings of a GGUF string array, one after the other (u64 length, bytes): a forward range of std::string_view.
/// Borrows bytes that gguf_file::parse has checked.
class gguf_strings {
public:
    class iterator {
    public:
        using value_type = std::string_view;
        using difference_type = std::ptrdiff_t;

        iterator() noexcept = default;
        explicit iterator(const std::byte* at) noexcept : at_(at) {}
        [[nodiscard]] std::string_view operator*() const noexcept {
            return {reinterpret_cast<const char*>(at_ + sizeof(std::uint64_t)), text_size()};
        }
        iterator& operator++() noexcept {
            at_ += sizeof(std::uint64_t) + text_size();
            return *this;
        }
        iterator operator++(int) noexcept {
            const iterator before = *this;
            ++*this;
            return before;
        }
        friend bool operator==(iterator, iterator) = default;

    private:
        [[nodiscard]] std::size_t text_size() const noexcept {
            std::uint64_t length = 0;
            std::memcpy(&length, at_, sizeof(length));
            return detail::to_size(length);
        }
        const std::byte* at_ = nullptr;
    };

    gguf_strings() noexcept = default;
    /// \pre `bytes` holds exactly `count` strings.
    gguf_strings(std::span<const std::byte> bytes, std::uint64_t count) noexcept
        : bytes_(bytes), count_(detail::to_size(count)) {}

    [[nodiscard]] iterator begin() const noexcept { return iterator{bytes_.data()}; }
    [[nodiscard]] iterator end() const noexcept { return iterator{bytes_.data() + bytes_.size()}; }
    [[nodiscard]] std::size_t size() const noexcept { return count_; }
    [[nodiscard]] bool empty() const noexcept { return count_ == 0; }

private:
    std::span<const std::byte> bytes_;
    std::size_t count_ = 0;
};

/// One metadata entry. Everything points into the file's bytes, which must outlive it.
struct gguf_value {
    std::string_view key;
    gguf_type type = gguf_type::u8;
    gguf_type element_type = gguf_type::u8; ///< of an array; otherwise equal to `type`
    std::uint64_t count = 1;                ///< elements of an array; otherwise 1
    /// A number's bytes, a string's characters, or all elements of an array (strings with their lengths).
    std::span<const std::byte> bytes;

    [[nodiscard]] bool is_array_of(gguf_type element) const noexcept {
        return type == gguf_type::array && element_type == element;
    }

    /// \pre type == gguf_type::string
    [[nodiscard]] std::string_view string() const noexcept {
        assert(type == gguf_type::string);
        return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
    }

    /// The elements of a string array.
    /// \pre is_array_of(gguf_type::string)
    [[nodiscard]] gguf_strings strings() const noexcept {
        assert(is_array_of(gguf_type::string));
        return {bytes, count};
    }

    /// Element `i` of a numeric array, or, for i = 0, a single number. Needs no alignment.
    /// \pre element_type == gguf_type_of<T>() and i < count
    template <class T>
    requires std::is_arithmetic_v<T>
    [[nodiscard]] T element(std::uint64_t i) const noexcept {
        assert(element_type == detail::gguf_type_of<T>() && i < count);
        T value;
        std::memcpy(&value, bytes.data() + detail::to_size(i) * sizeof(T), sizeof(T));
        return value;
    }
};

namespace detail {

/// An integer of any type in a file, in two's complement.
struct wide_integer {
    std::uint64_t bits;
    bool negative;
};

/// Element `i` of an array of integers of any type, or, for i = 0, a single integer; nullopt if `value` holds none.
/// \pre i < value.count
[[nodiscard]] inline std::optional<wide_integer> wide_element(const gguf_value& value, std::uint64_t i) noexcept {
    const auto widen = [](auto number) { return wide_integer{static_cast<std::uint64_t>(number), number < 0}; };
    switch (value.element_type) {
    case gguf_type::u8:
        return widen(value.element<std::uint8_t>(i));
    case gguf_type::i8:
        return widen(value.element<std::int8_t>(i));
    case gguf_type::u16:
        return widen(value.element<std::uint16_t>(i));
    case gguf_type::i16:
        return widen(value.element<std::int16_t>(i));
    case gguf_type::u32:
        return widen(value.element<std::uint32_t>(i));
    case gguf_type::i32:
        return widen(value.element<std::int32_t>(i));
    case gguf_type::u64:
        return widen(value.element<std::uint64_t>(i));
    case gguf_type::i64:
        return widen(value.element<std::int64_t>(i));
    default:
        return std::nullopt;
    }
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
