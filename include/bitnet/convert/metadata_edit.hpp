// SPDX-License-Identifier: MIT
// metadata_edit: one metadata entry to be set while a file is written, spelled KEY=TYPE:VALUE.
#ifndef BITNET_CONVERT_METADATA_EDIT_HPP
#define BITNET_CONVERT_METADATA_EDIT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/decimal.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <charconv>
#include <concepts>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <variant>

namespace bitnet::inline BITNET_ABI {

/// A key and its new value. The text that it was read from must outlive it.
class metadata_edit {
public:
    /// Reads "KEY=TYPE:VALUE", where TYPE is u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool or str:
    /// "tokenizer.ggml.pre=str:llama-bpe". A string is everything after the colon.
    /// \return errc::invalid_argument, naming what is wrong with the text.
    [[nodiscard]] static result<metadata_edit> parse(std::string_view text) {
        return detail::guarded([&] { return read(text); });
    }

    [[nodiscard]] std::string_view key() const noexcept { return key_; }

    void add_to(gguf_writer& writer) const {
        std::visit([&](const auto& value) { writer.add(key_, value); }, value_);
    }

private:
    using value_type = std::variant<std::string_view, bool, std::uint8_t, std::int8_t, std::uint16_t, std::int16_t,
                                    std::uint32_t, std::int32_t, std::uint64_t, std::int64_t, float, double>;

    metadata_edit() = default;

    [[nodiscard]] static result<metadata_edit> read(std::string_view text) {
        const auto equals = text.find('=');
        const auto colon = text.find(':', equals == std::string_view::npos ? text.size() : equals);
        if (equals == 0 || colon == std::string_view::npos) {
            return error{errc::invalid_argument, "metadata " + detail::quoted_name(text) +
                                                     ": KEY=TYPE:VALUE is needed, with a type such as u32 or str"};
        }
        metadata_edit made;
        made.key_ = text.substr(0, equals);
        const auto type = text.substr(equals + 1, colon - equals - 1);
        if (!made.set(type, text.substr(colon + 1))) {
            return error{errc::invalid_argument, "metadata " + detail::quoted_name(text) + ": " +
                                                     detail::quoted_name(text.substr(colon + 1)) +
                                                     " is no value of type " + detail::quoted_name(type) +
                                                     " (u8, i8, u16, i16, u32, i32, u64, i64, f32, f64, bool, str)"};
        }
        return made;
    }

    [[nodiscard]] bool set(std::string_view type, std::string_view text) {
        if (type == "str" || type == "string") {
            value_ = text;
            return true;
        }
        if (type == "bool") {
            value_ = text == "true";
            return text == "true" || text == "false";
        }
        return set_number<std::uint8_t>(type, text) || set_number<std::int8_t>(type, text) ||
               set_number<std::uint16_t>(type, text) || set_number<std::int16_t>(type, text) ||
               set_number<std::uint32_t>(type, text) || set_number<std::int32_t>(type, text) ||
               set_number<std::uint64_t>(type, text) || set_number<std::int64_t>(type, text) ||
               set_number<float>(type, text) || set_number<double>(type, text);
    }
    template <class T> [[nodiscard]] bool set_number(std::string_view type, std::string_view text) {
        if (type != name_of(detail::gguf_type_of<T>())) {
            return false;
        }
        if constexpr (std::floating_point<T>) {
            const auto number = detail::parse_decimal(text);
            value_ = static_cast<T>(number.value_or(0.0));
            return number.has_value();
        } else {
            T number{};
            const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
            value_ = number;
            return !text.empty() && read.ec == std::errc{} && read.ptr == text.data() + text.size();
        }
    }

    std::string_view key_;
    value_type value_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
