// SPDX-License-Identifier: MIT
// gbnf_reader: the grammar language of llama.cpp's GBNF guide. Defines grammar::gbnf.
#ifndef BITNET_CONSTRAIN_GBNF_READER_HPP
#define BITNET_CONSTRAIN_GBNF_READER_HPP

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/group_stack.hpp>
#include <bitnet/constrain/source_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// One reading of a GBNF text. Every step returns whether to go on; if not, the error is in failure_.
class gbnf_reader {
public:
    gbnf_reader(std::string_view text, std::string_view name) : in_(text), bytes_(text.size()), name_(name) {}

    [[nodiscard]] result<grammar_source> run() {
        if (bytes_ > most_source_bytes) {
            return error_saying(errc::bad_grammar,
                                {name_, ": ", bytes_, " bytes, and at most ", most_source_bytes, " are read"});
        }
        skip_space(true);
        while (!in_.at_end()) {
            if (!read_rule()) {
                return std::move(failure_);
            }
            skip_space(true);
        }
        return is_complete() ? result<grammar_source>(std::move(source_)) : std::move(failure_);
    }

private:
    struct rule_place {
        std::size_t first_use = 0;
        bool is_defined = false;
    };

    [[nodiscard]] bool fail(sentence_parts what) {
        return set_error(failure_, errc::bad_grammar,
                         {name_, ": rule ", quoted{rule_}, ", line ", in_.line(), ", column ", in_.column(), ": "},
                         what);
    }

    /// Spaces, tabs and comments; line ends, too, where they mean nothing.
    void skip_space(bool with_lines) {
        while (!in_.at_end()) {
            const char c = in_.peek();
            if (c == '#') {
                while (!in_.at_end() && in_.peek() != '\n') {
                    in_.advance();
                }
            } else if (c == ' ' || c == '\t' || (with_lines && (c == '\n' || c == '\r'))) {
                in_.advance();
            } else {
                return;
            }
        }
    }

    [[nodiscard]] std::string_view read_name() {
        const std::size_t first = in_.place();
        const auto is_of_name = [](char c) {
            return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
        };
        while (!in_.at_end() && is_of_name(in_.peek())) {
            in_.advance();
        }
        return in_.since(first);
    }
    [[nodiscard]] std::uint32_t number_of(std::string_view name) {
        const auto [found, is_new] = numbers_.try_emplace(name, static_cast<std::uint32_t>(places_.size()));
        if (is_new) {
            places_.push_back({in_.place(), false});
            source_.rules.push_back({std::string(name.substr(0, 100)), 0});
        }
        return found->second;
    }

    [[nodiscard]] bool read_rule() {
        const std::string_view name = read_name();
        rule_ = name;
        if (name.empty()) {
            return fail({"the name of a rule is expected here"});
        }
        const std::uint32_t rule = number_of(name);
        if (std::exchange(places_[rule].is_defined, true)) {
            return fail({"a rule of this name has been defined above"});
        }
        skip_space(false);
        if (!in_.skip("::=")) {
            return fail({"'::=' is expected behind the name of a rule"});
        }
        skip_space(true);
        group_stack groups(source_.pool);
        if (!read_alternatives(groups)) {
            return false;
        }
        source_.rules[rule].body = groups.close();
        return true;
    }

    /// All to the end of the rule.
    [[nodiscard]] bool read_alternatives(group_stack& groups) {
        while (true) {
            skip_space(groups.depth() > 1);
            if (in_.at_end() || in_.is_next('\n') || in_.is_next("\r\n")) {
                return groups.depth() == 1 || fail({"a parenthesis does not close"});
            }
            if (in_.skip("|")) {
                groups.alternate();
                skip_space(true);
                if (groups.depth() == 1 && is_rule_next()) {
                    return true; // an empty alternative at the end of the rule
                }
            } else if (!read_element(groups)) {
                return false;
            }
        }
    }
    [[nodiscard]] bool is_rule_next() {
        const std::size_t before = in_.place();
        const bool is_name = !read_name().empty();
        skip_space(false);
        const bool found = is_name && in_.is_next("::=");
        in_.go_to(before);
        return found;
    }

    [[nodiscard]] bool read_element(group_stack& groups) {
        switch (in_.peek()) {
        case '(':
            if (groups.depth() > most_nested_groups) {
                return fail({"parentheses are nested more than ", most_nested_groups, " deep"});
            }
            in_.advance();
            groups.open();
            return true;
        case ')':
            if (groups.depth() == 1) {
                return fail({"a parenthesis closes that has not been opened"});
            }
            in_.advance();
            groups.add(close(groups));
            return read_repetitions(groups);
        case '*':
        case '+':
        case '?':
        case '{':
            return fail({"there is nothing to repeat here"});
        case '<':
        case '!':
            return fail({"terminals that are tokens (<name>, <[id]>, !<name>) need a vocabulary, and none is at hand"});
        default:
            return read_terminal(groups) && read_repetitions(groups);
        }
    }
    [[nodiscard]] static expression close(group_stack& groups) { return groups.close(); }

    [[nodiscard]] bool read_terminal(group_stack& groups) {
        if (in_.is_next('"')) {
            return read_literal(groups);
        }
        if (in_.is_next('[')) {
            return read_class(groups);
        }
        if (in_.skip(".")) {
            code_point_class any;
            any.add(0, last_code_point);
            groups.add(source_.pool.one_of(std::move(any)));
            return true;
        }
        const std::string_view name = read_name();
        if (name.empty()) {
            return fail({"a text, a class, a group or the name of a rule is expected here"});
        }
        groups.add(source_.pool.rule(number_of(name)));
        return true;
    }

    [[nodiscard]] bool read_literal(group_stack& groups) {
        in_.advance();
        std::string text;
        while (!in_.is_next('"')) {
            if (in_.at_end() || in_.is_next('\n')) {
                return fail({"the text does not end: '\"' is missing"});
            }
            char32_t c = 0;
            if (!read_character(c)) {
                return false;
            }
            append_utf8(text, c);
        }
        in_.advance();
        groups.add(source_.pool.literal(text));
        return true;
    }

    [[nodiscard]] bool read_class(group_stack& groups) {
        in_.advance();
        const bool is_negated = in_.skip("^");
        code_point_class set;
        while (!in_.is_next(']')) {
            if (in_.at_end() || in_.is_next('\n')) {
                return fail({"the class does not end: ']' is missing"});
            }
            char32_t low = 0;
            if (!read_character(low)) {
                return false;
            }
            char32_t high = low;
            if (in_.is_next('-') && !in_.is_next("-]")) {
                in_.advance();
                if (in_.at_end() || !read_character(high)) {
                    return failure_.code != errc{} ? false : fail({"the class does not end: ']' is missing"});
                }
            }
            if (high < low) {
                return fail(
                    {"a range of the class is the wrong way round: ", std::uint32_t{low}, " to ", std::uint32_t{high}});
            }
            set.add(low, high);
        }
        in_.advance();
        if (!is_negated && set.ranges().empty()) {
            return fail({"the class is empty"});
        }
        groups.add(source_.pool.one_of(is_negated ? set.complement() : std::move(set)));
        return true;
    }

    /// A character of a text or a class, or an escape.
    [[nodiscard]] bool read_character(char32_t& c) {
        if (!in_.is_next('\\')) {
            const auto found = in_.character();
            c = found.value_or(0);
            return found || fail({"the grammar is not UTF-8 here"});
        }
        in_.advance();
        const char kind = in_.peek();
        in_.advance(in_.at_end() ? 0 : 1);
        switch (kind) {
        case 'x':
            return read_code_point(c, 2);
        case 'u':
            return read_code_point(c, 4);
        case 'U':
            return read_code_point(c, 8);
        case 't':
            c = '\t';
            return true;
        case 'r':
            c = '\r';
            return true;
        case 'n':
            c = '\n';
            return true;
        case '\\':
        case '"':
        case '[':
        case ']':
        case '-':
        case '^':
            c = static_cast<char32_t>(kind);
            return true;
        default:
            return fail(
                {"an unknown escape: \\n \\r \\t \\\\ \\\" \\[ \\] \\- \\^ \\xHH \\uHHHH \\UHHHHHHHH are known"});
        }
    }
    [[nodiscard]] bool read_code_point(char32_t& c, std::size_t digits) {
        const auto first = in_.hexadecimal(digits);
        if (!first) {
            return fail({digits, " hexadecimal digits are expected here"});
        }
        c = *first;
        if (is_high_surrogate(c) && in_.skip("\\u")) {
            const auto second = in_.hexadecimal(4);
            if (second && is_low_surrogate(*second)) {
                c = of_surrogates(c, *second);
            }
        }
        return (c <= last_code_point && (c < 0xd800 || c > 0xdfff)) ||
               fail({"an escape that is no character: code point ", std::uint32_t{c}});
    }

    /// Every *, +, ? and {...} behind an element.
    [[nodiscard]] bool read_repetitions(group_stack& groups) {
        while (true) {
            skip_space(groups.depth() > 1);
            if (in_.skip("*")) {
                groups.repeat(0, unlimited);
            } else if (in_.skip("+")) {
                groups.repeat(1, unlimited);
            } else if (in_.skip("?")) {
                groups.repeat(0, 1);
            } else if (in_.is_next('{')) {
                if (!read_bounds(groups)) {
                    return false;
                }
            } else {
                return true;
            }
        }
    }
    [[nodiscard]] bool read_bounds(group_stack& groups) {
        in_.advance();
        skip_space(true);
        const auto low = in_.number();
        if (!low) {
            return fail({"a number is expected in braces"});
        }
        skip_space(true);
        std::uint32_t high = *low;
        if (in_.skip(",")) {
            skip_space(true);
            high = in_.is_next('}') ? unlimited : in_.number().value_or(0);
            skip_space(true);
        }
        if (!in_.is_next('}')) {
            return fail({"'}' is expected here"});
        }
        if (*low > largest_count || (high != unlimited && high > largest_count)) {
            return fail({"a repetition is of at most ", largest_count, " times"});
        }
        if (high < *low) {
            return fail({"at most ", high, " times is fewer than at least ", *low});
        }
        in_.advance();
        groups.repeat(*low, high);
        return true;
    }

    /// Every rule that is used has to be defined, and one of them is the root.
    [[nodiscard]] bool is_complete() {
        for (const auto& [name, rule] : numbers_) {
            if (!places_[rule].is_defined) {
                rule_ = name;
                in_.go_to(places_[rule].first_use);
                return fail({"it is used up to here and defined nowhere"});
            }
        }
        const auto root = numbers_.find("root");
        if (root == numbers_.end()) {
            return set_error(failure_, errc::bad_grammar, {name_, ": "}, {"there is no rule called 'root'"});
        }
        source_.root = root->second;
        return true;
    }

    source_reader in_;
    std::size_t bytes_;
    std::string_view name_;
    std::string_view rule_;
    grammar_source source_;
    std::unordered_map<std::string_view, std::uint32_t> numbers_;
    std::vector<rule_place> places_;
    error failure_;
};

} // namespace detail

inline result<grammar> grammar::gbnf(std::string_view source, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        auto read = detail::gbnf_reader(source, name).run();
        return read ? detail::compiled(*read, name) : failed(read);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
