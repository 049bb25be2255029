// SPDX-License-Identifier: MIT
// Building blocks of splitters: characters with their class, runs of a class, isolated patterns, and nesting.
#ifndef BITNET_TEXT_SPLITTER_HPP
#define BITNET_TEXT_SPLITTER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/unicode_classes.hpp>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Cuts the text that it was made from into pieces, front to back: next() gives them one by one, and an empty one only
/// at the end. The pieces, in order, are the text, which must outlive it.
template <class S>
concept splitter = std::constructible_from<S, std::string_view> && requires(S& s) {
    { s.next() } -> std::same_as<std::string_view>;
};

namespace pre_tokenizing {
/// char_class of the ASCII characters: most text never leaves this table.
inline constexpr std::array<char_class, 128> ascii_classes = [] {
    std::array<char_class, 128> classes{};
    for (std::size_t c = 0; c < classes.size(); ++c) {
        classes[c] = class_of(static_cast<char32_t>(c));
    }
    return classes;
}();

[[nodiscard]] constexpr bool is_line_end(char c) noexcept { return c == '\r' || c == '\n'; }
[[nodiscard]] constexpr bool is_ascii_digit(char c) noexcept { return c >= '0' && c <= '9'; }

struct character {
    char_class kind;
    std::uint32_t size; ///< bytes; 0 at the end of the text
};

/// The character of `text` that starts at `i`. A byte that is not UTF-8 is a character of no class.
[[nodiscard]] constexpr character character_at(std::string_view text, std::size_t i) noexcept {
    if (i >= text.size()) {
        return {char_class::other, 0};
    }
    const auto byte = static_cast<unsigned char>(text[i]);
    if (byte < 0x80) {
        return {ascii_classes[byte], 1};
    }
    const decoded_code_point decoded = first_code_point(text.substr(i));
    return {class_of(decoded.value), decoded.size};
}

/// Where the run of characters of class `kind` that starts at `i` ends; at most `most` of them.
[[nodiscard]] constexpr std::size_t run_end(std::string_view text, std::size_t i, char_class kind,
                                            std::size_t most = SIZE_MAX) noexcept {
    for (std::size_t n = 0; n < most; ++n) {
        const character c = character_at(text, i);
        if (c.size == 0 || c.kind != kind) {
            break;
        }
        i += c.size;
    }
    return i;
}

/// Where the run of characters ends that starts at `i` and for which `in(code point)` is true.
template <class In> [[nodiscard]] constexpr std::size_t run_end(std::string_view text, std::size_t i, In in) noexcept {
    while (i < text.size()) {
        const decoded_code_point c = first_code_point(text.substr(i));
        if (!in(c.value)) {
            break;
        }
        i += c.size;
    }
    return i;
}

/// `\s+(?!\S) | \s+`: all of the white space at the end of the text; else all but the last character, which is left to
/// the next piece; else that one character. With LineEnds `\s*[\r\n]+` takes precedence: up to the last line end.
template <bool LineEnds>
[[nodiscard]] constexpr std::size_t white_space_end(std::string_view text, std::size_t begin) noexcept {
    std::size_t end = begin;
    std::size_t last = begin;
    std::size_t after_line_end = begin;
    for (character c = character_at(text, end); c.size != 0 && c.kind == char_class::space;
         c = character_at(text, end)) {
        last = end;
        end += c.size;
        if (LineEnds && is_line_end(text[last])) {
            after_line_end = end;
        }
    }
    if (after_line_end != begin) {
        return after_line_end;
    }
    return end == text.size() || last == begin ? end : last;
}
} // namespace pre_tokenizing

/// Cuts text into matches of a pattern that takes at least one character wherever it starts: Pattern::end(text, i) is
/// where the match that starts at i ends.
template <class Pattern> class consecutive_splitter {
public:
    explicit constexpr consecutive_splitter(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        if (position_ == text_.size()) {
            return {};
        }
        const std::size_t begin = std::exchange(position_, Pattern::end(text_, position_));
        return text_.substr(begin, position_ - begin);
    }

private:
    std::string_view text_;
    std::size_t position_ = 0;
};

/// Cuts text so that every match of a pattern is a piece of its own, and the text between two matches another.
/// Pattern::end(text, i) is where the match that starts at i ends; i if none does. Cost: linear if end() takes
/// constant time if it finds none.
template <class Pattern> class isolating_splitter {
public:
    explicit constexpr isolating_splitter(std::string_view text) noexcept : text_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        if (match_size_ == 0) {
            std::size_t end = position_;
            while (end < text_.size() && (match_size_ = Pattern::end(text_, end) - end) == 0) {
                end += pre_tokenizing::character_at(text_, end).size;
            }
            if (end != position_) {
                return take(end - position_);
            }
        }
        return take(std::exchange(match_size_, std::size_t{0}));
    }

private:
    constexpr std::string_view take(std::size_t size) noexcept {
        const std::size_t begin = std::exchange(position_, position_ + size);
        return text_.substr(begin, size);
    }

    std::string_view text_;
    std::size_t position_ = 0;
    std::size_t match_size_ = 0; ///< of the match that the next piece is; 0 if none is known
};

/// Cuts each piece of `Outer` with `Inner`, which does not see beyond that piece.
template <splitter Outer, splitter Inner> class nested_splitter {
public:
    explicit constexpr nested_splitter(std::string_view text) noexcept : outer_(text) {}

    [[nodiscard]] constexpr std::string_view next() noexcept {
        std::string_view piece = inner_.next();
        if (piece.empty()) {
            inner_ = Inner(outer_.next());
            piece = inner_.next();
        }
        return piece;
    }

private:
    Outer outer_;
    Inner inner_{std::string_view{}};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
