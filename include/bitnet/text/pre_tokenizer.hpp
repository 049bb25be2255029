// SPDX-License-Identifier: MIT
// Splitters: how a tokenizer family cuts text into pieces before merging, each written by hand from its pattern.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/unicode_classes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

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
} // namespace pre_tokenizing

/// Cuts text as LLaMA-3 does. The pieces, in order, are the text. Borrows the text.
///
/// The pattern, first alternative first, each greedy, classes by Unicode 16.0:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,3} | ' '?[^\s\p{L}\p{N}]+[\r\n]*
///     | \s*[\r\n]+ | \s+(?!\S) | \s+
///
/// Case folding makes U+017F (long s) an s. A byte that is not UTF-8 is a character of no class.
/// Cost: linear, every byte is looked at no more than four times; allocates nothing.
/// Proven by the golden files in tests/text/tokenizer_test.cpp, among them every scalar value in context.
class llama3_splitter {
public:
    explicit constexpr llama3_splitter(std::string_view text) noexcept : text_(text) {}

    /// The next piece; empty only at the end of the text.
    [[nodiscard]] constexpr std::string_view next() noexcept {
        if (position_ == text_.size()) {
            return {};
        }
        const std::size_t begin = position_;
        position_ = piece_end(begin);
        return text_.substr(begin, position_ - begin);
    }

private:
    struct character {
        char_class kind;
        std::uint32_t size; ///< bytes; 0 at the end of the text
    };

    [[nodiscard]] constexpr character at(std::size_t i) const noexcept {
        if (i >= text_.size()) {
            return {char_class::other, 0};
        }
        const auto byte = static_cast<unsigned char>(text_[i]);
        if (byte < 0x80) {
            return {pre_tokenizing::ascii_classes[byte], 1};
        }
        const decoded_code_point decoded = first_code_point(text_.substr(i));
        return {class_of(decoded.value), decoded.size};
    }

    /// Where the run of characters of class `kind` that starts at `i` ends; at most `most` of them.
    [[nodiscard]] constexpr std::size_t run_end(std::size_t i, char_class kind,
                                                std::size_t most = SIZE_MAX) const noexcept {
        for (std::size_t n = 0; n < most; ++n) {
            const character c = at(i);
            if (c.size == 0 || c.kind != kind) {
                break;
            }
            i += c.size;
        }
        return i;
    }

    [[nodiscard]] constexpr std::size_t piece_end(std::size_t begin) const noexcept {
        if (text_[begin] == '\'') {
            if (const std::size_t size = contraction_size(text_.substr(begin + 1))) {
                return begin + 1 + size;
            }
        }
        const character first = at(begin);
        const std::size_t second = begin + first.size;
        if (first.kind == char_class::letter) {
            return run_end(second, char_class::letter);
        }
        if (first.kind == char_class::number) {
            return run_end(second, char_class::number, 2);
        }
        if (!pre_tokenizing::is_line_end(text_[begin])) {
            if (const std::size_t end = run_end(second, char_class::letter); end != second) {
                return end;
            }
        }
        const std::size_t symbols = text_[begin] == ' ' ? second : begin;
        if (const std::size_t end = run_end(symbols, char_class::other); end != symbols) {
            return line_ends_end(end);
        }
        return white_space_end(begin);
    }

    /// Bytes after the apostrophe that belong to an English contraction; 0 if it is none.
    [[nodiscard]] static constexpr std::size_t contraction_size(std::string_view rest) noexcept {
        const auto lower = [rest](std::size_t i) { return i < rest.size() ? rest[i] | 0x20 : 0; };
        const int first = lower(0);
        if (first == 's' || first == 't' || first == 'm' || first == 'd') {
            return 1;
        }
        const int second = lower(1);
        const bool two = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
        return two || rest.starts_with("\xc5\xbf") ? 2 : 0;
    }

    [[nodiscard]] constexpr std::size_t line_ends_end(std::size_t i) const noexcept {
        while (i < text_.size() && pre_tokenizing::is_line_end(text_[i])) {
            ++i;
        }
        return i;
    }

    /// White space: up to its last line end; else all of it at the end of the text; else all but the last character,
    /// which is left to the next piece; else that one character.
    [[nodiscard]] constexpr std::size_t white_space_end(std::size_t begin) const noexcept {
        std::size_t end = begin;
        std::size_t last = begin;
        std::size_t after_line_end = begin;
        for (character c = at(end); c.size != 0 && c.kind == char_class::space; c = at(end)) {
            last = end;
            end += c.size;
            after_line_end = pre_tokenizing::is_line_end(text_[last]) ? end : after_line_end;
        }
        if (after_line_end != begin) {
            return after_line_end;
        }
        return end == text_.size() || last == begin ? end : last;
    }

    std::string_view text_;
    std::size_t position_ = 0;
};

/// The names under which GGUF files ask for llama3_splitter, in tokenizer.ggml.pre. All of them take a piece that is
/// a token as it stands, before any merging ("ignore_merges").
inline constexpr std::array<std::string_view, 3> llama3_splitter_names{"llama-bpe", "llama3", "llama-v3"};

} // namespace bitnet::inline BITNET_ABI
