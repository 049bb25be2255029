// SPDX-License-Identifier: MIT
// source_reader: characters of a grammar's source and their escapes, with places for errors.
#ifndef BITNET_CONSTRAIN_SOURCE_READER_HPP
#define BITNET_CONSTRAIN_SOURCE_READER_HPP

#include <bitnet/constrain/code_point_class.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// The largest source of a grammar: 16 MiB.
inline constexpr std::size_t most_source_bytes = std::size_t{16} << 20;
/// How deep groups of a grammar or a pattern may be nested.
inline constexpr std::size_t most_nested_groups = 1000;

/// A position in the source of a grammar.
class source_reader {
public:
    explicit source_reader(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] bool at_end() const noexcept { return at_ == text_.size(); }
    [[nodiscard]] bool is_next(char c) const noexcept { return !at_end() && text_[at_] == c; }
    [[nodiscard]] bool is_next(std::string_view word) const noexcept { return text_.substr(at_, word.size()) == word; }
    [[nodiscard]] char peek() const noexcept { return at_end() ? '\0' : text_[at_]; }
    [[nodiscard]] std::size_t place() const noexcept { return at_; }
    void go_to(std::size_t place) noexcept { at_ = place; }
    [[nodiscard]] std::string_view since(std::size_t place) const noexcept { return text_.substr(place, at_ - place); }
    void advance(std::size_t bytes = 1) noexcept { at_ += bytes; }
    bool skip(std::string_view word) noexcept {
        const bool found = is_next(word);
        at_ += found ? word.size() : 0;
        return found;
    }

    /// The next character; nullopt where the bytes are not UTF-8. \pre !at_end()
    [[nodiscard]] std::optional<char32_t> character() noexcept {
        const decoded_code_point found = first_code_point(text_.substr(at_));
        if (found.value == invalid_code_point) {
            return std::nullopt;
        }
        at_ += found.size;
        return found.value;
    }
    /// The value of exactly `digits` hexadecimal digits; nullopt where others stand here.
    [[nodiscard]] std::optional<char32_t> hexadecimal(std::size_t digits) noexcept {
        char32_t value = 0;
        for (std::size_t i = 0; i < digits; ++i) {
            const int digit = at_end() ? -1 : hexadecimal_digit(text_[at_]);
            if (digit < 0) {
                return std::nullopt;
            }
            value = value * 16 + static_cast<char32_t>(digit);
            ++at_;
        }
        return value;
    }
    /// A number in decimal digits, nullopt where there is none; above largest_count, largest_count + 1.
    [[nodiscard]] std::optional<std::uint32_t> number() noexcept {
        const std::size_t first = at_;
        std::uint32_t value = 0;
        for (; !at_end() && text_[at_] >= '0' && text_[at_] <= '9'; ++at_) {
            const auto digit = static_cast<std::uint32_t>(text_[at_] - '0');
            value = value > (largest_count - digit) / 10 ? largest_count + 1 : value * 10 + digit;
        }
        return at_ != first ? std::optional{value} : std::nullopt;
    }

    /// Line and column of here, both from 1; a column is a byte.
    [[nodiscard]] std::size_t line() const noexcept {
        std::size_t lines = 1;
        for (const char c : text_.substr(0, at_)) {
            lines += c == '\n' ? 1 : 0;
        }
        return lines;
    }
    [[nodiscard]] std::size_t column() const noexcept {
        const std::size_t start = text_.substr(0, at_).rfind('\n');
        return start == std::string_view::npos ? at_ + 1 : at_ - start;
    }

    [[nodiscard]] static constexpr int hexadecimal_digit(char c) noexcept {
        return c >= '0' && c <= '9'   ? c - '0'
               : c >= 'a' && c <= 'f' ? c - 'a' + 10
               : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                      : -1;
    }

private:
    std::string_view text_;
    std::size_t at_ = 0;
};

[[nodiscard]] constexpr bool is_high_surrogate(char32_t c) noexcept { return c >= 0xd800 && c <= 0xdbff; }
[[nodiscard]] constexpr bool is_low_surrogate(char32_t c) noexcept { return c >= 0xdc00 && c <= 0xdfff; }
[[nodiscard]] constexpr char32_t of_surrogates(char32_t high, char32_t low) noexcept {
    return 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
