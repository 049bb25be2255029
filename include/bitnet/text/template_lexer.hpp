// SPDX-License-Identifier: MIT
// template_lexer: a chat template (Jinja) as texts, expressions and statements.
#ifndef BITNET_TEXT_TEMPLATE_LEXER_HPP
#define BITNET_TEXT_TEMPLATE_LEXER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A word, a number, an operator, or a text in quotes.
struct template_token {
    bool is_text; ///< in quotes: `text` is what it means
    std::string text;

    [[nodiscard]] bool is(std::string_view spelling) const noexcept { return !is_text && text == spelling; }
};
using template_tokens = std::vector<template_token>;

[[nodiscard]] constexpr bool is_word_character(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/// Tokens as one text that does not depend on how a template is laid out: spaces between words only, texts in single
/// quotes.
[[nodiscard]] inline std::string spelled(std::span<const template_token> tokens) {
    std::string made;
    bool after_word = false;
    for (const template_token& each : tokens) {
        const bool is_word = !each.is_text && !each.text.empty() && is_word_character(each.text[0]);
        made.append(after_word && is_word ? " " : "");
        made.append(each.is_text ? "'" : "").append(each.text).append(each.is_text ? "'" : "");
        after_word = is_word;
    }
    return made;
}

/// How many of the tokens the bracket takes that they begin with; all, if it is never closed.
[[nodiscard]] inline std::size_t end_of_bracket(std::span<const template_token> tokens) noexcept {
    std::size_t depth = 0;
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const template_token& here = tokens[i];
        if (here.is("(") || here.is("[") || here.is("{")) {
            ++depth;
        } else if (depth != 0 && (here.is(")") || here.is("]") || here.is("}"))) {
            --depth;
        }
        if (depth == 0) {
            return i + 1;
        }
    }
    return tokens.size();
}

/// The first token of that spelling, or the other, that is in no bracket; tokens.size() if there is none.
[[nodiscard]] inline std::size_t find_outside(std::span<const template_token> tokens, std::string_view spelling,
                                              std::string_view other = "") noexcept {
    std::size_t i = 0;
    while (i < tokens.size() && !tokens[i].is(spelling) && !tokens[i].is(other)) {
        i += end_of_bracket(tokens.subspan(i));
    }
    return (std::min)(i, tokens.size());
}

enum class template_tag_kind : unsigned char { text, value, statement };

struct template_tag {
    template_tag_kind kind = template_tag_kind::text;
    std::string text;       ///< of a text
    template_tokens tokens; ///< of the others; message['role'] is message.role
};

/// Reads one tag after the other, comments left out. White space is kept and removed as transformers and llama.cpp do
/// it:
/// "-" removes all of it, a line end after a statement goes, and so do blanks before one that begins a line.
class template_lexer {
public:
    explicit template_lexer(std::string_view text) noexcept : rest_(text) {
        rest_.remove_suffix(rest_.ends_with('\n') ? 1 : 0); // as Jinja does
    }

    /// Reads the next tag. \return false at the end and where there is trouble()
    [[nodiscard]] bool next() {
        while (trouble_.empty() && !rest_.empty()) {
            if (read_text() || read_tag()) {
                return true;
            }
        }
        return false;
    }
    [[nodiscard]] const template_tag& tag() const noexcept { return tag_; }
    /// What cannot be read; empty if all can.
    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }

private:
    static constexpr std::string_view blanks = " \t";
    static constexpr std::string_view spaces = " \t\r\n\f\v";

    /// The text in front of the next tag, if it is not empty.
    [[nodiscard]] bool read_text() {
        std::size_t end = rest_.find('{');
        while (end < rest_.size() && (end + 1 == rest_.size() || !is_one_of("{%#", rest_[end + 1]))) {
            end = rest_.find('{', end + 1);
        }
        end = (std::min)(end, rest_.size());
        std::string_view text = rest_.substr(0, end);
        rest_.remove_prefix(end);
        const char sign = rest_.size() > 2 ? rest_[2] : ' ';
        if (sign == '-') {
            text = text.substr(0, text.find_last_not_of(spaces) + 1);
        } else if (rest_.size() > 2 && rest_[1] != '{' && sign != '+') {
            const std::size_t kept = text.find_last_not_of(blanks) + 1;
            text = kept == 0 ? text.substr(0, is_line_begun_ ? text.size() : 0)
                             : text.substr(0, text[kept - 1] == '\n' ? kept : text.size());
        }
        is_line_begun_ = true; // a tag follows
        tag_ = {template_tag_kind::text, std::string(text), {}};
        return !text.empty();
    }

    /// The tag that the rest begins with; false for a comment, and at the end.
    [[nodiscard]] bool read_tag() {
        if (rest_.empty()) {
            return false;
        }
        const char kind = rest_[1];
        rest_.remove_prefix(2);
        rest_.remove_prefix(!rest_.empty() && (rest_[0] == '-' || rest_[0] == '+') ? 1 : 0);
        if (kind == '#') {
            const std::size_t end = rest_.find("#}");
            trouble_ = end == std::string_view::npos ? "a comment has no end" : "";
            const bool trims = end != 0 && end < rest_.size() && rest_[end - 1] == '-';
            rest_.remove_prefix((std::min)(end, rest_.size() - 2) + 2);
            skip_after(trims, true);
            return false;
        }
        tag_ = {kind == '{' ? template_tag_kind::value : template_tag_kind::statement, {}, {}};
        read_tokens(kind == '{' ? "}}" : "%}");
        return trouble_.empty();
    }

    void read_tokens(std::string_view end) {
        std::size_t depth = 0;
        while (true) {
            rest_.remove_prefix((std::min)(rest_.find_first_not_of(spaces), rest_.size()));
            const bool trims = rest_.starts_with('-') && rest_.substr(1).starts_with(end);
            if (depth == 0 && (trims || rest_.starts_with(end))) {
                rest_.remove_prefix(end.size() + (trims ? 1 : 0));
                skip_after(trims, end != "}}");
                return;
            }
            if (rest_.empty() || !read_token()) {
                trouble_ = rest_.empty() ? "a tag has no end" : "a text has no end";
                return;
            }
            const template_token& last = tag_.tokens.back();
            if (last.is("{")) {
                ++depth;
            } else if (last.is("}") && depth != 0) {
                --depth;
            }
            join_member();
        }
    }

    /// White space after a tag.
    void skip_after(bool trims, bool is_statement) noexcept {
        if (trims) {
            rest_.remove_prefix((std::min)(rest_.find_first_not_of(spaces), rest_.size()));
        } else if (is_statement && rest_.starts_with('\n')) {
            rest_.remove_prefix(1);
            is_line_begun_ = false;
        }
    }

    /// One token. \pre the rest is not empty. \return false if it has no end
    [[nodiscard]] bool read_token() {
        const char first = rest_[0];
        if (first == '\'' || first == '"') {
            return read_quoted(first);
        }
        std::size_t size = 1;
        if (is_word_character(first)) {
            size = static_cast<std::size_t>(
                std::find_if_not(rest_.begin(), rest_.end(), [](char c) { return is_word_character(c); }) -
                rest_.begin());
        } else if (rest_.size() > 1 && rest_[1] == '=' && is_one_of("=!<>", first)) {
            size = 2;
        }
        std::string text(rest_.substr(0, size));
        if (text == "True" || text == "False" || text == "None") {
            text[0] = static_cast<char>(text[0] | 0x20); // Jinja knows both
        }
        tag_.tokens.push_back({false, std::move(text)});
        rest_.remove_prefix(size);
        return true;
    }

    [[nodiscard]] bool read_quoted(char quote) {
        std::string text;
        for (std::size_t i = 1; i < rest_.size(); ++i) {
            if (rest_[i] == quote) {
                rest_.remove_prefix(i + 1);
                tag_.tokens.push_back({true, std::move(text)});
                return true;
            }
            if (rest_[i] == '\\' && i + 1 < rest_.size()) {
                i += append_escape(text, rest_.substr(i + 1));
            } else {
                text += rest_[i];
            }
        }
        return false;
    }

    /// What a backslash and the characters of `rest` mean. \return how many of these it takes
    [[nodiscard]] static std::size_t append_escape(std::string& out, std::string_view rest) {
        constexpr std::string_view written = "ntr0\\'\"";
        constexpr std::string_view meant("\n\t\r\0\\'\"", 7);
        if (const std::size_t named = written.find(rest[0]); named != std::string_view::npos) {
            out += meant[named];
            return 1;
        }
        const std::size_t digits = rest[0] == 'x' ? 2 : rest[0] == 'u' ? 4 : 0;
        if (digits == 0 || rest.size() <= digits) {
            out += '\\'; // as Python keeps escapes that it does not know
            return 0;
        }
        char32_t code = 0;
        for (const char c : rest.substr(1, digits)) {
            const std::size_t digit = std::string_view("0123456789abcdef").find(static_cast<char>(c | 0x20));
            code = code << 4 | static_cast<char32_t>(digit & 15);
        }
        append_utf8(out, code);
        return digits + 1;
    }

    /// Makes x['name'] at the end of the tokens x.name.
    void join_member() {
        template_tokens& all = tag_.tokens;
        const std::size_t n = all.size();
        const bool is_member = n >= 4 && all[n - 1].is("]") && all[n - 2].is_text && all[n - 3].is("[") &&
                               !all[n - 4].is_text && is_object_end(all[n - 4].text) &&
                               std::all_of(all[n - 2].text.begin(), all[n - 2].text.end(), is_word_character);
        if (is_member) {
            template_token name{false, std::move(all[n - 2].text)};
            all.resize(n - 3, {false, {}});
            all.push_back({false, "."});
            all.push_back(std::move(name));
        }
    }
    [[nodiscard]] static bool is_object_end(std::string_view token) noexcept {
        return token == "]" || token == ")" || is_word_character(token.back());
    }

    [[nodiscard]] static bool is_one_of(std::string_view set, char c) noexcept {
        return set.find(c) != std::string_view::npos;
    }

    std::string_view rest_;
    template_tag tag_;
    std::string trouble_;
    bool is_line_begun_ = false; ///< something stands on the line before what is read next
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
