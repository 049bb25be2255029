// SPDX-License-Identifier: MIT
// schema_languages: what keywords say about strings and numbers, as languages.
#ifndef BITNET_CONSTRAIN_SCHEMA_LANGUAGES_HPP
#define BITNET_CONSTRAIN_SCHEMA_LANGUAGES_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/constrain/string_format.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds to shapes what keywords of one schema say about strings and numbers.
class schema_languages {
public:
    /// Borrows the source.
    explicit schema_languages(schema_source& in) : in_(in) {}

    // -- strings --
    /// A long repetition of one class, as in ^.{1,5000}$, is a language and a length: that is counted, not copied.
    [[nodiscard]] bool add_counted_class(schema_shape& shape, std::uint32_t at) {
        constexpr std::uint32_t copied = 64;
        const std::string_view pattern = in_.value(at).as_string().value_or("");
        if (pattern.size() < 2 || pattern.front() != '^' || pattern.back() != '$') {
            return false;
        }
        expression_pool pool;
        regex_reader reader(pattern, "pattern", pool, {.unicode_space = true, .outer_anchors = false});
        const auto read = reader.run();
        const expression_node whole = read ? pool.at(*read) : expression_node{};
        if (!read || reader.has_marks() || whole.kind != expression_kind::repeat ||
            (whole.high == unlimited ? whole.low : whole.high) <= copied ||
            pool.at(pool.parts(whole)[0]).kind != expression_kind::language) {
            return false;
        }
        auto any_number = language_of(pool, pool.repeat(pool.parts(whole)[0], 0, unlimited));
        if (!any_number) {
            return false;
        }
        shape.strings.push_back(std::make_shared<const automaton>(*std::move(any_number)));
        shape.least_length = (std::max)(shape.least_length, whole.low);
        shape.most_length = (std::min)(shape.most_length, whole.high);
        return true;
    }
    [[nodiscard]] bool add_pattern(std::vector<shared_language>& to, std::uint32_t at, bool is_negated) {
        const auto pattern = in_.value(at).as_string();
        if (!pattern) {
            return in_.malformed(at, {"a pattern is a string"});
        }
        return add_pattern_text(to, at, *pattern, is_negated);
    }
    [[nodiscard]] bool add_pattern_text(std::vector<shared_language>& to, std::uint32_t at, std::string_view pattern,
                                        bool is_negated) {
        const auto known = patterns_.find(pattern);
        shared_language made = known == patterns_.end() ? nullptr : known->second;
        if (made == nullptr) {
            auto read = pattern_language(pattern, "pattern");
            if (!read) {
                return in_.refuse(at, {read.error().message});
            }
            made = std::make_shared<const automaton>(*std::move(read));
            patterns_.emplace(pattern, made);
        }
        return add_language(to, at, made, is_negated, any_text_);
    }
    /// Adds a language, or what is in `all` and not in it.
    [[nodiscard]] bool add_language(std::vector<shared_language>& to, std::uint32_t at, shared_language made,
                                    bool is_negated, const automaton& all) {
        if (is_negated) {
            auto others = difference(all, *made);
            if (!others) {
                return in_.refuse(at, {"it has more than ", most_language_states, " states"});
            }
            made = std::make_shared<const automaton>(*std::move(others));
        }
        to.push_back(std::move(made));
        return true;
    }
    [[nodiscard]] bool add_format(schema_shape& shape, std::uint32_t at) {
        const auto format = in_.value(at).as_string();
        if (!format) {
            return in_.malformed(at, {"a format is a string"});
        }
        const std::string pattern = pattern_of_format(*format);
        if (pattern.empty()) {
            if (in_.options().strict_formats) {
                return in_.refuse(at, {"the format ", quoted{*format}, " is not supported"});
            }
            in_.note(sentence(
                {quoted{in_.document().pointer(at)}, ": the format ", quoted{*format}, " is taken as an annotation"}));
            return true;
        }
        if (const unsigned most = longest_of_format(*format)) {
            shape.most_length =
                (shape.values & set_string) != 0 ? (std::min)(shape.most_length, most) : shape.most_length;
        }
        return add_pattern_text(shape.strings, at, pattern, false);
    }

    // -- numbers --
    [[nodiscard]] bool add_number_keyword(schema_shape& shape, std::uint32_t place, std::string_view key,
                                          std::uint32_t at) {
        if (in_.value(at).as_bool() && key.substr(0, 9) == "exclusive") { // of draft 4: read with minimum and maximum
            return true;
        }
        number_relation wanted;
        wanted.greater = key == "minimum" || key == "exclusiveMinimum";
        wanted.less = !wanted.greater;
        wanted.equal = (key == "minimum" || key == "maximum") && !is_strict(place, key);
        return add_numbers(shape, at, key == "multipleOf", wanted, false);
    }
    /// Whether `minimum` or `maximum` of a schema is exclusive in the way of draft 4.
    [[nodiscard]] bool is_strict(std::uint32_t place, std::string_view key) const {
        const auto strict = in_.value(place).find(key == "minimum" ? "exclusiveMinimum" : "exclusiveMaximum");
        return strict && strict->as_bool().value_or(false);
    }
    [[nodiscard]] bool add_numbers(schema_shape& shape, std::uint32_t at, bool is_step, number_relation wanted,
                                   bool is_negated) {
        const auto text = in_.value(at).as_number_text();
        if (!text) {
            return in_.malformed(at, {"a number is expected"});
        }
        const auto number = read_decimal(*text);
        if (!number) {
            return in_.refuse(at, {"a number of more than 4096 digits is not supported"});
        }
        if (is_step && (number->is_negative || number->is_zero())) {
            return in_.malformed(at, {"a number above 0 is expected"});
        }
        auto made = is_step ? multiples_of(*number) : numbers_by(*number, wanted);
        if (!made) {
            return in_.refuse(at, {"multiples of ", number->text(), " need more than 4096 remainders"});
        }
        return add_language(shape.numbers, at, std::make_shared<const automaton>(*std::move(made)), is_negated,
                            all_numbers());
    }
    [[nodiscard]] const automaton& all_numbers() {
        if (all_numbers_.size() == 0) {
            all_numbers_ = numbers_by({}, {true, true, true}).value_or(automaton());
        }
        return all_numbers_;
    }

    // -- values without parts --
    /// One of them.
    [[nodiscard]] bool meet_scalars(schema_shape& shape, const std::vector<std::uint32_t>& all) {
        std::uint32_t values = 0;
        std::vector<std::string_view> texts;
        std::vector<std::string> numbers;
        for (const std::uint32_t one : all) {
            const json_value scalar = in_.value(one);
            if (const auto text = scalar.as_string()) {
                values |= set_string;
                texts.push_back(*text);
            } else if (const auto written = scalar.as_number_text()) {
                const auto number = read_decimal(*written);
                if (!number) {
                    return in_.refuse(one, {"a number of more than 4096 digits is not supported"});
                }
                values |= number->fraction.empty() ? set_whole : set_fraction;
                numbers.push_back(number->text());
                if (written->find_first_of("eE") == std::string_view::npos &&
                    !(number->is_zero() && (*written)[0] == '-')) {
                    numbers.emplace_back(*written);
                }
            } else if (const auto truth = scalar.as_bool()) {
                values |= *truth ? set_true : set_false;
            } else if (scalar.is_null()) {
                values |= set_null;
            }
        }
        shape.values &= values;
        if (!texts.empty()) {
            shape.strings.push_back(std::make_shared<const automaton>(words_automaton(std::move(texts))));
        }
        if (!numbers.empty()) {
            auto words = words_automaton({numbers.begin(), numbers.end()});
            shape.numbers.push_back(std::make_shared<const automaton>(std::move(words)));
        }
        return true;
    }
    /// None of them.
    [[nodiscard]] bool avoid_values(schema_shape& shape, const std::vector<std::uint32_t>& all) {
        std::vector<std::string_view> texts;
        for (const std::uint32_t one : all) {
            const json_value avoided = in_.value(one);
            if (const auto text = avoided.as_string()) {
                texts.push_back(*text);
            } else if (avoided.as_number_text()) {
                if (!add_numbers(shape, one, false, {true, false, true}, false)) {
                    return false;
                }
            } else if (const auto truth = avoided.as_bool()) {
                shape.values &= ~std::uint32_t{*truth ? set_true : set_false};
            } else if (avoided.is_null()) {
                shape.values &= ~std::uint32_t{set_null};
            } else if (!in_.refuse(one, {"an array or object cannot be excluded"})) {
                return false;
            }
        }
        const auto words = std::make_shared<const automaton>(words_automaton(std::move(texts)));
        return words->size() == 0 || add_language(shape.strings, all[0], words, true, any_text_);
    }

private:
    schema_source& in_;
    automaton any_text_ = any_utf8();
    automaton all_numbers_;
    std::map<std::string, shared_language, std::less<>> patterns_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
