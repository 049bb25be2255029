// SPDX-License-Identifier: MIT
// template_outline: what a chat template (Jinja) may write, part by part, and under which conditions.
#ifndef BITNET_TEXT_TEMPLATE_OUTLINE_HPP
#define BITNET_TEXT_TEMPLATE_OUTLINE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/template_lexer.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A condition that has to hold, or not to hold, where a part is written.
struct template_guard {
    std::size_t condition; ///< which of template_outline::conditions()
    bool holds;
    [[nodiscard]] bool operator==(const template_guard&) const = default;
};

/// Something that a template writes.
struct template_part {
    bool is_literal;
    std::string text;                   ///< what is written, or the expression as spelled() has it
    std::vector<template_guard> guards; ///< all of them apply
    std::vector<std::size_t> loops;     ///< which of template_outline::loops() are around it, the outermost first
};

/// A name that a template gives to an expression.
struct template_alias {
    std::string name;
    template_tokens value;
    std::vector<template_guard> guards; ///< where it is given
    bool is_in_loop;
};

/// The parts of a template in their order. A template is never run: this is its text, taken apart, without a meaning
/// for anything but literals, +, ~, inline and other ifs, and for.
class template_outline {
public:
    /// Cost: linear in the text, times what is around a part, of which there is at most 32.
    /// \post if trouble() is not empty, the template cannot be taken apart, and nothing else is of use
    [[nodiscard]] static template_outline of(std::string_view text) {
        template_outline made;
        made.trouble_ = text.size() > longest ? "it is longer than any that is known" : "";
        template_lexer lexer(text);
        while (made.trouble_.empty() && lexer.next()) {
            made.read(lexer.tag());
        }
        made.trouble_ = made.trouble_.empty() ? lexer.trouble() : made.trouble_;
        if (made.trouble_.empty() && (!made.open_.empty() || made.is_in_macro_)) {
            made.trouble_ = "a block is never closed";
        }
        return made;
    }

    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
    [[nodiscard]] const std::vector<template_part>& parts() const noexcept { return parts_; }
    [[nodiscard]] const std::vector<template_tokens>& conditions() const noexcept { return conditions_; }
    /// What loops run over, as spelled() has it.
    [[nodiscard]] const std::vector<std::string>& loops() const noexcept { return loops_; }
    [[nodiscard]] const std::vector<template_alias>& aliases() const noexcept { return aliases_; }
    /// Whether it defines macros; what is in these is no part, and where one is called is an expression.
    [[nodiscard]] bool has_macros() const noexcept { return has_macros_; }
    /// Whether these characters are in a statement or an expression, as spelled() has it.
    [[nodiscard]] bool mentions(std::string_view code) const noexcept { return code_.find(code) != std::string::npos; }

private:
    static constexpr std::size_t longest = std::size_t{1} << 17; ///< published templates have less than 32 KiB
    static constexpr std::size_t most_around = 32;               ///< conditions, loops, brackets

    static constexpr const char* too_deep = "more than 32 conditions are around one part";

    /// A block that is not closed yet.
    struct block {
        bool is_loop;
        std::size_t guards; ///< of those around the block
    };

    void read(const template_tag& tag) {
        if (tag.kind == template_tag_kind::text && !is_in_macro_) {
            add({true, tag.text, guards_, around_});
            return;
        }
        const std::string_view word = tag.tokens.empty() ? std::string_view{} : tag.tokens[0].text;
        if (tag.kind == template_tag_kind::statement && (word == "macro" || word == "endmacro")) {
            is_in_macro_ = word == "macro";
            has_macros_ = true;
        }
        if (is_in_macro_ || word == "endmacro") {
            return;
        }
        code_.append(spelled(tag.tokens)).append("\n");
        if (tag.kind == template_tag_kind::value) {
            write(tag.tokens, guards_);
        } else if (!tag.tokens.empty()) {
            state(word, std::span(tag.tokens).subspan(1));
        }
        if (guards_.size() > most_around || open_.size() > most_around) {
            trouble_ = too_deep;
        }
    }

    /// A statement, by its first word.
    void state(std::string_view word, std::span<const template_token> rest) {
        if (word == "if") {
            open_.push_back({false, guards_.size()});
            guards_.push_back(condition(rest, true));
        } else if (word == "for") {
            begin_loop(rest);
        } else if (word == "elif" || word == "else") {
            turn_over(word == "elif", rest);
        } else if (word == "endif" || word == "endfor") {
            close(word == "endfor");
        } else if (word == "set") {
            name_value(rest);
        } else if (word != "generation" && word != "endgeneration") { // these two mark answers for training
            trouble_ = sentence({"it has a statement ", quoted{word}});
        }
    }

    void begin_loop(std::span<const template_token> rest) {
        const auto in = std::find_if(rest.begin(), rest.end(), [](const template_token& t) { return t.is("in"); });
        if (in == rest.end()) {
            trouble_ = "a loop runs over nothing";
            return;
        }
        open_.push_back({true, guards_.size()});
        around_.push_back(loops_.size());
        loops_.push_back(spelled({in + 1, rest.end()}));
    }

    /// An elif or an else: the condition before does not hold.
    void turn_over(bool has_condition, std::span<const template_token> rest) {
        if (open_.empty() || open_.back().is_loop || !guards_.back().holds) {
            trouble_ = "an else is where none can be";
            return;
        }
        guards_.back().holds = false;
        if (has_condition) {
            guards_.push_back(condition(rest, true));
        } else {
            guards_.push_back(condition({}, true)); // so that no second else follows
            guards_.back().holds = false;
        }
    }

    void close(bool is_loop) {
        if (open_.empty() || open_.back().is_loop != is_loop) {
            trouble_ = "a block is closed that is not open";
            return;
        }
        guards_.resize(open_.back().guards, {0, true});
        open_.pop_back();
        if (is_loop) {
            around_.pop_back();
        }
    }

    void name_value(std::span<const template_token> rest) {
        const auto equals = std::find_if(rest.begin(), rest.end(), [](const template_token& t) { return t.is("="); });
        if (equals == rest.end()) {
            trouble_ = "it names a block of text";
            return;
        }
        aliases_.push_back({spelled({rest.begin(), equals}), {equals + 1, rest.end()}, guards_, !around_.empty()});
    }

    [[nodiscard]] template_guard condition(std::span<const template_token> tokens, bool holds) {
        conditions_.emplace_back(tokens.begin(), tokens.end());
        return {conditions_.size() - 1, holds};
    }

    /// What an expression writes.
    void write(std::span<const template_token> tokens, const std::vector<template_guard>& guards,
               std::size_t depth = 0) {
        tokens = unwrapped(tokens);
        if (depth + guards.size() > most_around) {
            trouble_ = too_deep;
            return;
        }
        const std::size_t asked = find_outside(tokens, "if");
        if (asked != tokens.size()) {
            write_if(tokens, asked, guards, depth);
            return;
        }
        while (!tokens.empty() && trouble_.empty()) {
            const std::size_t end = find_outside(tokens, "+", "~");
            write_term(tokens.first(end), guards, depth);
            tokens = tokens.subspan((std::min)(end + 1, tokens.size()));
        }
    }

    /// VALUE if CONDITION else OTHER.
    void write_if(std::span<const template_token> tokens, std::size_t asked, const std::vector<template_guard>& guards,
                  std::size_t depth) {
        const std::span<const template_token> rest = tokens.subspan(asked + 1);
        const std::size_t otherwise = find_outside(rest, "else");
        std::vector<template_guard> inner = guards;
        inner.push_back(condition(rest.first(otherwise), true));
        write(tokens.first(asked), inner, depth + 1);
        inner.back().holds = false;
        write(rest.subspan((std::min)(otherwise + 1, rest.size())), inner, depth + 1);
    }

    void write_term(std::span<const template_token> term, const std::vector<template_guard>& guards,
                    std::size_t depth) {
        const bool is_wrapped = unwrapped(term).size() != term.size();
        if (is_wrapped) {
            write(term, guards, depth + 1);
        } else if (term.size() == 1 && term[0].is_text) {
            add({true, term[0].text, guards, around_});
        } else {
            add({false, spelled(term), guards, around_});
        }
    }

    /// Literals side by side under the same conditions become one.
    void add(template_part part) {
        const bool joins = part.is_literal && !parts_.empty() && parts_.back().is_literal &&
                           parts_.back().guards == part.guards && parts_.back().loops == part.loops;
        if (joins) {
            parts_.back().text += part.text;
        } else if (!part.is_literal || !part.text.empty()) {
            parts_.push_back(std::move(part));
        }
    }

    /// Without parentheses that are around all of it.
    [[nodiscard]] static std::span<const template_token> unwrapped(std::span<const template_token> tokens) {
        for (std::size_t n = 0; n < most_around; ++n) {
            if (tokens.size() < 2 || !tokens[0].is("(") || end_of_bracket(tokens) != tokens.size()) {
                break;
            }
            tokens = tokens.subspan(1, tokens.size() - 2);
        }
        return tokens;
    }

    std::string trouble_;
    std::vector<template_part> parts_;
    std::vector<template_tokens> conditions_;
    std::vector<std::string> loops_;
    std::vector<template_alias> aliases_;
    std::string code_;
    std::vector<block> open_;
    std::vector<template_guard> guards_;
    std::vector<std::size_t> around_;
    bool is_in_macro_ = false;
    bool has_macros_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
