// SPDX-License-Identifier: MIT
// regex_reader: regular expressions in the dialect of JSON Schema's `pattern`. Defines grammar::regex.
#ifndef BITNET_CONSTRAIN_REGEX_READER_HPP
#define BITNET_CONSTRAIN_REGEX_READER_HPP

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/group_stack.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/source_reader.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What differs between a regular expression that a whole text has to match, and a `pattern` within a text.
struct regex_dialect {
    bool unicode_space = false; ///< \s takes the white space of Unicode, as ECMA-262 says
    bool outer_anchors = true;  ///< ^ and $ at the ends of an alternative stay as marks; otherwise they mean nothing
};

/// Bytes that UTF-8 never has: they stand for ^ and $ in expressions.
inline constexpr char start_mark = '\xfe';
inline constexpr char end_mark = '\xff';

/// One reading of a regular expression. Every step returns whether to go on; if not, the error is in failure_.
class regex_reader {
public:
    regex_reader(std::string_view text, std::string_view name, expression_pool& pool, regex_dialect dialect)
        : in_(text), bytes_(text.size()), name_(name), pool_(pool), groups_(pool), dialect_(dialect) {}

    [[nodiscard]] result<expression> run() {
        if (bytes_ > most_source_bytes) {
            return error_saying(errc::bad_grammar,
                                {name_, ": ", bytes_, " bytes, and at most ", most_source_bytes, " are read"});
        }
        while (!in_.at_end()) {
            if (!read_next()) {
                return std::move(failure_);
            }
        }
        if (groups_.depth() != 1) {
            (void)fail({"a parenthesis does not close"});
            return std::move(failure_);
        }
        return groups_.close();
    }
    /// Whether marks stand in the expression.
    [[nodiscard]] bool has_marks() const noexcept { return has_marks_; }

private:
    [[nodiscard]] bool fail(sentence_parts what) {
        return set_error(failure_, errc::bad_grammar, {name_, ": column ", in_.place() + 1, ": "}, what);
    }

    [[nodiscard]] bool read_next() {
        switch (in_.peek()) {
        case '|':
            in_.advance();
            groups_.alternate();
            return true;
        case '(':
            return open_group();
        case ')':
            if (groups_.depth() == 1) {
                return fail({"a parenthesis closes that has not been opened"});
            }
            in_.advance();
            groups_.add(close_group());
            return read_quantifier();
        case '^':
            return read_anchor(start_mark);
        case '$':
            return read_anchor(end_mark);
        case '*':
        case '+':
        case '?':
            return fail({"there is nothing to repeat here"});
        case '{':
            if (is_bounds_next()) {
                return fail({"there is nothing to repeat here"});
            }
            break;
        default:
            break;
        }
        return read_atom() && read_quantifier();
    }
    [[nodiscard]] expression close_group() { return groups_.close(); }

    [[nodiscard]] bool open_group() {
        if (in_.is_next("(?=") || in_.is_next("(?!") || in_.is_next("(?<=") || in_.is_next("(?<!")) {
            return fail({"look-around cannot be enforced"});
        }
        if (groups_.depth() > most_nested_groups) {
            return fail({"groups are nested more than ", most_nested_groups, " deep"});
        }
        in_.advance();
        if (in_.skip("?<")) { // a name
            while (!in_.at_end() && !in_.is_next('>')) {
                in_.advance();
            }
            if (!in_.skip(">")) {
                return fail({"the name of a group does not end"});
            }
        } else if (in_.is_next('?') && !in_.skip("?:")) {
            return fail({"an unknown kind of group: (?: and (?<name> are known"});
        }
        groups_.open();
        return true;
    }

    [[nodiscard]] bool read_anchor(char mark) {
        const bool is_start = mark == start_mark;
        const bool opens = is_start && groups_.is_empty();
        in_.advance();
        const bool closes = !is_start && (in_.at_end() || in_.is_next('|'));
        if (!dialect_.outer_anchors && groups_.depth() == 1 && (opens || closes)) {
            return true;
        }
        has_marks_ = true;
        groups_.add(pool_.literal({&mark, 1}));
        return in_.is_next('*') || in_.is_next('+') || in_.is_next('?') || is_bounds_next()
                   ? fail({"an anchor cannot be repeated"})
                   : true;
    }

    [[nodiscard]] bool read_atom() {
        code_point_class set;
        if (in_.is_next('[')) {
            if (!read_class(set)) {
                return false;
            }
        } else if (in_.skip(".")) {
            for (const char32_t line_end : {U'\n', U'\r', U'\u2028', U'\u2029'}) {
                set.add(line_end, line_end);
            }
            set = set.complement();
        } else {
            char32_t c = 0;
            if (!read_character(c, set, false)) {
                return false;
            }
            if (set.ranges().empty()) {
                std::string text;
                append_utf8(text, c);
                groups_.add(pool_.literal(text));
                return true;
            }
        }
        groups_.add(set.ranges().empty() ? pool_.nothing() : pool_.one_of(std::move(set)));
        return true;
    }

    [[nodiscard]] bool read_class(code_point_class& set) {
        in_.advance();
        const bool is_negated = in_.skip("^");
        while (!in_.is_next(']')) {
            if (in_.at_end()) {
                return fail({"the class does not end: ']' is missing"});
            }
            code_point_class named;
            char32_t low = 0;
            if (!read_character(low, named, true)) {
                return false;
            }
            const bool is_range = named.ranges().empty() && in_.is_next('-') && !in_.is_next("-]");
            char32_t high = low;
            if (is_range) {
                in_.advance();
                if (in_.at_end()) {
                    return fail({"the class does not end: ']' is missing"});
                }
                if (!read_character(high, named, true)) {
                    return false;
                }
            }
            if (is_range && !named.ranges().empty()) {
                return fail({"a range of the class ends in another class"});
            }
            if (high < low) {
                return fail(
                    {"a range of the class is the wrong way round: ", std::uint32_t{low}, " to ", std::uint32_t{high}});
            }
            if (named.ranges().empty()) {
                set.add(low, high);
            } else {
                set.add(named);
            }
        }
        in_.advance();
        if (is_negated) {
            set = set.complement();
        }
        return true;
    }

    /// One character, or what an escape stands for: a character, or a class, which then is not empty.
    [[nodiscard]] bool read_character(char32_t& c, code_point_class& named, bool in_class) {
        if (!in_.is_next('\\')) {
            const auto found = in_.character();
            c = found.value_or(0);
            return found || fail({"the expression is not UTF-8 here"});
        }
        in_.advance();
        if (in_.at_end()) {
            return fail({"an escape has no end"});
        }
        const char kind = in_.peek();
        switch (kind) {
        case 'd':
        case 'D':
        case 'w':
        case 'W':
        case 's':
        case 'S':
            in_.advance();
            named = class_named(kind);
            return true;
        case 'b':
            if (in_class) {
                in_.advance();
                c = '\b';
                return true;
            }
            [[fallthrough]];
        case 'B':
            return fail({"word borders cannot be enforced"});
        case 'p':
        case 'P':
            return fail({"classes of Unicode properties (\\p) are not supported"});
        case 'k':
            return fail({"back-references cannot be enforced"});
        default:
            break;
        }
        if (kind >= '1' && kind <= '9') {
            return fail({"back-references cannot be enforced"});
        }
        return read_escape(c, kind);
    }

    [[nodiscard]] bool read_escape(char32_t& c, char kind) {
        constexpr std::string_view letters = "tnvfr0";
        constexpr std::string_view meant("\t\n\v\f\r\0", 6);
        const std::size_t found = letters.find(kind);
        const bool is_letter = (kind >= 'a' && kind <= 'z') || (kind >= 'A' && kind <= 'Z') || kind == '_';
        if (found != std::string_view::npos) {
            in_.advance();
            c = static_cast<char32_t>(meant[found]);
            return kind != '0' || !(in_.peek() >= '0' && in_.peek() <= '9') ||
                   fail({"octal escapes are not supported"});
        }
        if (kind == 'x' || kind == 'u') {
            in_.advance();
            return read_code_point(c, kind == 'x' ? 2 : 4);
        }
        if (kind == 'c') {
            in_.advance();
            const char control = in_.peek();
            c = static_cast<char32_t>(control & 31);
            in_.advance(in_.at_end() ? 0 : 1);
            return (control >= 'a' && control <= 'z') || (control >= 'A' && control <= 'Z') ||
                   fail({"a letter is expected behind \\c"});
        }
        if (is_letter) {
            return fail({"an unknown escape"});
        }
        const auto character = in_.character();
        c = character.value_or(0);
        return character || fail({"the expression is not UTF-8 here"});
    }
    [[nodiscard]] bool read_code_point(char32_t& c, std::size_t digits) {
        if (digits == 4 && in_.skip("{")) {
            const std::size_t first = in_.place();
            c = 0;
            while (source_reader::hexadecimal_digit(in_.peek()) >= 0 && in_.place() < first + 6) {
                c = c * 16 + *in_.hexadecimal(1);
            }
            if (in_.place() == first || !in_.skip("}")) {
                return fail({"1 to 6 hexadecimal digits and '}' are expected here"});
            }
        } else {
            const auto first = in_.hexadecimal(digits);
            if (!first) {
                return fail({digits, " hexadecimal digits are expected here"});
            }
            c = *first;
            if (is_high_surrogate(c) && in_.skip("\\u")) {
                const auto second = in_.hexadecimal(4);
                c = second && is_low_surrogate(*second) ? of_surrogates(c, *second) : c;
            }
        }
        return (c <= last_code_point && (c < 0xd800 || c > 0xdfff)) ||
               fail({"an escape that is no character: code point ", std::uint32_t{c}});
    }

    [[nodiscard]] code_point_class class_named(char kind) const {
        code_point_class set;
        if (kind == 'd' || kind == 'D') {
            set.add('0', '9');
        } else if (kind == 'w' || kind == 'W') {
            set.add('0', '9');
            set.add('A', 'Z');
            set.add('_', '_');
            set.add('a', 'z');
        } else {
            set.add('\t', '\r');
            set.add(' ', ' ');
            if (dialect_.unicode_space) {
                for (const char32_t c : {0xa0u, 0x1680u, 0x2028u, 0x2029u, 0x202fu, 0x205fu, 0x3000u, 0xfeffu}) {
                    set.add(c, c);
                }
                set.add(0x2000, 0x200a);
            }
        }
        return kind >= 'A' && kind <= 'Z' ? set.complement() : set;
    }

    [[nodiscard]] bool is_bounds_next() {
        const std::size_t before = in_.place();
        bool found = in_.skip("{") && in_.number().has_value();
        if (found && in_.skip(",")) {
            (void)in_.number();
        }
        found = found && in_.is_next('}');
        in_.go_to(before);
        return found;
    }

    /// *, +, ? or {...} behind a part, and whether it is lazy, which does not change the language.
    [[nodiscard]] bool read_quantifier() {
        std::uint32_t low = 0;
        std::uint32_t high = unlimited;
        if (in_.skip("+")) {
            low = 1;
        } else if (in_.skip("?")) {
            high = 1;
        } else if (is_bounds_next()) {
            in_.advance();
            low = in_.number().value_or(0);
            high = low;
            if (in_.skip(",")) {
                high = in_.number().value_or(unlimited);
            }
            if (low > largest_count || (high != unlimited && high > largest_count)) {
                return fail({"a repetition is of at most ", largest_count, " times"});
            }
            if (high < low) {
                return fail({"at most ", high, " times is fewer than at least ", low});
            }
            in_.advance();
        } else if (!in_.skip("*")) {
            return true;
        }
        (void)in_.skip("?");
        groups_.repeat(low, high);
        return true;
    }

    source_reader in_;
    std::size_t bytes_;
    std::string_view name_;
    expression_pool& pool_;
    group_stack groups_;
    regex_dialect dialect_;
    bool has_marks_ = false;
    error failure_;
};

/// Texts w of which start_mark* w end_mark* has a text in `marked`: what an expression means whose ^ and $ are marks.
[[nodiscard]] inline std::optional<automaton> without_marks(const automaton& marked) {
    constexpr auto start = static_cast<std::uint8_t>(start_mark);
    constexpr auto end = static_cast<std::uint8_t>(end_mark);
    nondeterministic_automaton states;
    const std::uint32_t from = states.add_state();
    for (std::size_t state = 0; state < marked.size(); ++state) {
        states.add_state();
    }
    std::vector<bool> is_met(marked.size());
    for (std::uint32_t at = marked.size() == 0 ? automaton::no_state : 0; at != automaton::no_state && !is_met[at];
         at = marked.next(at, start)) {
        is_met[at] = true;
        states.skip(from, at + 1);
    }
    for (std::uint32_t state = 0; state < marked.size(); ++state) {
        for (const byte_edge edge : marked.byte_edges(state)) {
            if (edge.low < start) {
                states.add(state + 1,
                           byte_edge{edge.low, (std::min)(edge.high, std::uint8_t{start - 1}), edge.target + 1});
            }
        }
        std::uint32_t last = state;
        for (std::size_t steps = 0; steps <= marked.size() && last != automaton::no_state; ++steps) {
            if (marked.is_final(last)) {
                states.set_final(state + 1);
                break;
            }
            last = marked.next(last, end);
        }
    }
    compile_budget budget;
    const auto made = determinised(states, budget);
    return made ? std::optional{minimised(*made)} : std::nullopt;
}

/// The texts in which `pattern` matches somewhere, over the UTF-8 of the text itself.
/// \return errc::bad_grammar as regex_reader has it, errc::grammar_budget.
[[nodiscard]] inline result<automaton> pattern_language(std::string_view pattern, std::string_view name) {
    expression_pool pool;
    auto read = regex_reader(pattern, name, pool, {.unicode_space = true, .outer_anchors = true}).run();
    if (!read) {
        return failed(read);
    }
    const expression any = pool.language(any_utf8());
    const expression before = pool.sequence({pool.repeat(pool.literal({&start_mark, 1}), 0, unlimited), any});
    const expression after = pool.sequence({any, pool.repeat(pool.literal({&end_mark, 1}), 0, unlimited)});
    const auto marked = language_of(pool, pool.sequence({before, *read, after}));
    auto made = marked ? without_marks(*marked) : std::nullopt;
    if (!made) {
        return error_saying(errc::grammar_budget,
                            {name, ": the pattern has more than ", most_language_states, " states"});
    }
    return *std::move(made);
}

} // namespace detail

inline result<grammar> grammar::regex(std::string_view pattern, std::string_view name) {
    return detail::guarded([&]() -> result<grammar> {
        detail::grammar_source source;
        detail::regex_reader reader(pattern, name, source.pool, {.unicode_space = false, .outer_anchors = false});
        auto read = reader.run();
        if (!read) {
            return failed(read);
        }
        if (reader.has_marks()) {
            const auto marked = detail::language_of(source.pool, *read);
            auto made = marked ? detail::without_marks(*marked) : std::nullopt;
            if (!made) {
                return detail::error_saying(errc::grammar_budget,
                                            {name, ": an expression with anchors inside has more than ",
                                             detail::most_language_states, " states"});
            }
            source.rules.push_back({"root", source.pool.language(*std::move(made))});
        } else {
            source.rules.push_back({"root", *read});
        }
        return detail::compiled(source, name);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
