// SPDX-License-Identifier: MIT
// schema_reader: from demands on a value to the shapes that meet them: references, combinations and negations resolved.
#ifndef BITNET_CONSTRAIN_SCHEMA_READER_HPP
#define BITNET_CONSTRAIN_SCHEMA_READER_HPP

#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/schema_document.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/string_format.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads a schema's keywords. Steps return whether to go on; if not, the error is in failure().
class schema_reader {
public:
    schema_reader(const json_document& text, std::string_view name, const schema_options& options)
        : document_(text), name_(name), options_(options) {}

    /// All shapes of values that meet `all`: alternatives that may overlap. Empty: no value does.
    [[nodiscard]] bool read(const demands& all, std::vector<schema_shape>& shapes) {
        std::vector<draft> drafts(1);
        for (const demand one : all) {
            drafts[0].todo.push_back({one, none});
        }
        std::size_t made = 0;
        while (!drafts.empty()) {
            constexpr std::size_t most_drafts = 4096;
            draft next = std::move(drafts.back());
            drafts.pop_back();
            if (!settle(next)) {
                return false;
            }
            if (next.shape.values == 0) {
                continue;
            }
            if (next.choices.empty()) {
                shapes.push_back(std::move(next.shape));
                continue;
            }
            made += next.choices.front().lists.size();
            if (made > most_drafts) {
                return set_error(
                    failure_, errc::grammar_budget, {name_, ": "},
                    {"anyOf, oneOf and what becomes of them have more than ", most_drafts, " combinations"});
            }
            fork(std::move(next), drafts);
        }
        return true;
    }

    /// The keys that schemas of `all` name, in the order of the text: of `properties`, through what applies to the same
    /// value, and then those of `required`.
    [[nodiscard]] std::vector<std::string> key_order(const demands& all) {
        has_listed_keys_ = false;
        std::vector<std::string> properties;
        std::vector<std::string> required;
        std::set<std::uint32_t> met;
        std::vector<std::uint32_t> todo;
        for (auto what = all.rbegin(); what != all.rend(); ++what) {
            if (what->kind == demand_kind::schema || what->kind == demand_kind::value) {
                todo.push_back(what->place);
            }
        }
        while (!todo.empty()) {
            const std::uint32_t place = todo.back();
            todo.pop_back();
            if (lists_of_keys_.count(place) != 0) {
                for (const auto [key, member] : value(place).members()) {
                    properties.emplace_back(key);
                    has_listed_keys_ = true;
                }
            } else if (met.insert(place).second) {
                add_applied(place, todo, required);
            }
        }
        properties.insert(properties.end(), required.begin(), required.end());
        return properties;
    }

    /// Whether some of them are named by `properties`.
    [[nodiscard]] bool has_listed_keys() const noexcept { return has_listed_keys_; }

    [[nodiscard]] error& failure() noexcept { return failure_; }
    [[nodiscard]] std::vector<std::string>& notes() noexcept { return notes_; }
    [[nodiscard]] schema_document& document() noexcept { return document_; }
    [[nodiscard]] bool refuse(std::uint32_t place, sentence_parts why) {
        if (options_.unsupported == unsupported_keyword::note) {
            std::string text;
            for (const sentence_part& part : why) {
                part.append_to(text);
            }
            note(sentence({quoted{document_.at(place).pointer}, ": ", text, "; it is not enforced"}));
            return true;
        }
        return set_error(failure_, errc::unsupported_schema, {name_, ": ", quoted{document_.at(place).pointer}, ": "},
                         why);
    }
    [[nodiscard]] const std::string& name_of(demand of) const { return names_[of.name]; }

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    struct origin {
        demand what;
        std::uint32_t parent; ///< in the same list: which demand asked for it, or none
    };
    struct choice {
        std::uint32_t parent; ///< which demand asked for it
        std::vector<demands> lists;
    };
    struct draft {
        std::vector<origin> todo;
        std::size_t at = 0;
        std::set<demand> seen;
        schema_shape shape;
        std::vector<choice> choices; ///< of each, one list has to be met
    };

    // -- demands --
    [[nodiscard]] bool settle(draft& of) {
        for (; of.at < of.todo.size() && of.shape.values != 0; ++of.at) {
            const demand what = of.todo[of.at].what;
            if ((what.kind == demand_kind::schema || what.kind == demand_kind::negated) && is_cycle(of)) {
                return malformed(what.place, {"it refers to itself, and nothing else is said"});
            }
            if (of.seen.insert(what).second && !meet(of, what)) {
                return false;
            }
        }
        return true;
    }
    /// Whether the present demand asks for itself, perhaps by way of others on the same value.
    [[nodiscard]] static bool is_cycle(const draft& of) {
        const demand what = of.todo[of.at].what;
        for (std::uint32_t i = of.todo[of.at].parent; i != none; i = of.todo[i].parent) {
            if (of.todo[i].what == what) {
                return true;
            }
        }
        return false;
    }
    void fork(draft from, std::vector<draft>& drafts) {
        const choice made_of = std::move(from.choices.front());
        from.choices.erase(from.choices.begin());
        for (auto list = made_of.lists.rbegin(); list != made_of.lists.rend();
             ++list) { // the first is taken from the end
            draft made = from;
            for (const demand what : *list) {
                made.todo.push_back({what, made_of.parent});
            }
            drafts.push_back(std::move(made));
        }
    }
    void want_one(draft& of, std::vector<demands> lists) {
        of.choices.push_back({static_cast<std::uint32_t>(of.at), std::move(lists)});
    }
    void want(draft& of, demand what) { of.todo.push_back({what, static_cast<std::uint32_t>(of.at)}); }
    [[nodiscard]] std::uint32_t name(std::string_view text) {
        const auto [found, is_new] =
            name_numbers_.try_emplace(std::string(text), static_cast<std::uint32_t>(names_.size()));
        if (is_new) {
            names_.emplace_back(text);
        }
        return found->second;
    }

    [[nodiscard]] bool meet(draft& of, demand what) {
        schema_shape& shape = of.shape;
        switch (what.kind) {
        case demand_kind::nothing_fits:
            shape.values = 0;
            return true;
        case demand_kind::schema:
            return meet_schema(of, what.place);
        case demand_kind::negated:
            return negate(of, what.place);
        case demand_kind::value:
            return meet_value(of, what.place);
        case demand_kind::scalars:
            return meet_scalars(of, document_.children(what.place));
        case demand_kind::not_values:
            return avoid_values(of, document_.children(what.place));
        case demand_kind::not_value:
            return avoid_values(of, {what.place});
        case demand_kind::not_type: {
            std::uint32_t values = 0;
            const bool is_read = read_types(what.place, values);
            shape.values &= ~values;
            return is_read;
        }
        case demand_kind::lacks: {
            object_part part;
            part.properties.emplace_back(names_[what.name], demand{demand_kind::nothing_fits});
            shape.objects.push_back(std::move(part));
            return true;
        }
        case demand_kind::has_all:
            return add_required(shape, what.place);
        case demand_kind::object:
            shape.values &= set_object;
            return true;
        case demand_kind::breaks_key: {
            object_part part;
            part.properties.emplace_back(names_[what.name], demand{demand_kind::negated, what.place});
            shape.objects.push_back(std::move(part));
            shape.required.push_back(names_[what.name]);
            shape.values &= set_object;
            return true;
        }
        case demand_kind::bad_item:
            shape.values &= set_array;
            shape.contained.push_back({{demand_kind::negated, what.place}, 1, unlimited});
            return true;
        case demand_kind::no_item: {
            array_part part;
            part.rest = demand{demand_kind::negated, what.place};
            shape.values &= set_array;
            shape.arrays.push_back(std::move(part));
            return true;
        }
        case demand_kind::breaks:
            return break_keyword(shape, what.place, names_[what.name]);
        }
        return true;
    }

    /// What applies to the same value as a schema, the first on top; of `properties`, the list of keys itself.
    void add_applied(std::uint32_t place, std::vector<std::uint32_t>& todo, std::vector<std::string>& required) {
        std::vector<std::uint32_t> made;
        for (const auto [key, member] : value(place).members()) {
            const std::uint32_t at = *document_.child(place, key);
            if (key == "properties") {
                lists_of_keys_.insert(at);
                made.push_back(at);
            } else if (key == "$ref") {
                const auto target = document_.referred(at, member.as_string().value_or(""));
                made.insert(made.end(), target ? 1 : 0, target.value_or(0));
            } else if (key == "allOf" || key == "anyOf" || key == "oneOf" || key == "dependentSchemas") {
                const auto parts = document_.children(at);
                made.insert(made.end(), parts.begin(), parts.end());
            } else if (key == "if" || key == "then" || key == "else") {
                made.push_back(at);
            } else if (key == "dependentRequired" || key == "dependencies") {
                add_dependent(member, required);
            } else if (key == "required") {
                for (const json_value name : member.elements()) {
                    required.emplace_back(name.as_string().value_or(""));
                }
            }
        }
        todo.insert(todo.end(), made.rbegin(), made.rend());
    }

    static void add_dependent(json_value lists, std::vector<std::string>& required) {
        for (const auto [key, list] : lists.members()) {
            required.emplace_back(key);
            for (const json_value name : list.elements()) {
                required.emplace_back(name.as_string().value_or(""));
            }
        }
    }

    // -- errors and notes --
    [[nodiscard]] bool malformed(std::uint32_t place, sentence_parts why) {
        return set_error(failure_, errc::bad_schema, {name_, ": ", quoted{document_.at(place).pointer}, ": "}, why);
    }
    void note(std::string text) {
        constexpr std::size_t most_notes = 100;
        if (notes_.size() < most_notes && std::find(notes_.begin(), notes_.end(), text) == notes_.end()) {
            notes_.push_back(std::move(text));
        }
    }
    [[nodiscard]] json_value value(std::uint32_t place) const { return document_.at(place).value; }

    // -- keywords --
    [[nodiscard]] bool meet_schema(draft& of, std::uint32_t place) {
        const json_value schema = value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? of.shape.values : 0;
            return true;
        }
        if (!schema.is_object()) {
            return malformed(place,
                             {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        if (!meet_object_keywords(of, place) || !meet_array_keywords(of, place)) {
            return false;
        }
        for (const auto [key, member] : schema.members()) {
            const std::uint32_t at = *document_.child(place, key);
            if (!meet_keyword(of, place, key, at)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool meet_keyword(draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        schema_shape& shape = of.shape;
        if (key == "type") {
            std::uint32_t values = 0;
            const bool is_read = read_types(at, values);
            shape.values &= values;
            return is_read;
        }
        if (key == "enum") {
            return meet_enum(of, at);
        }
        if (key == "const") {
            return meet_value(of, at);
        }
        if (key == "minLength" || key == "minItems" || key == "minProperties") {
            std::uint32_t& least = key == "minLength"  ? shape.least_length
                                   : key == "minItems" ? shape.least_items
                                                       : shape.least_properties;
            return raise(at, least);
        }
        if (key == "maxLength" || key == "maxItems" || key == "maxProperties") {
            std::uint32_t& most = key == "maxLength"  ? shape.most_length
                                  : key == "maxItems" ? shape.most_items
                                                      : shape.most_properties;
            return lower(at, most);
        }
        if (key == "pattern") {
            return add_counted_class(shape, at) || add_pattern(shape.strings, at, false);
        }
        if (key == "format") {
            return add_format(shape, at);
        }
        if (key == "minimum" || key == "maximum" || key == "exclusiveMinimum" || key == "exclusiveMaximum" ||
            key == "multipleOf") {
            return add_number_keyword(shape, place, key, at);
        }
        return meet_combination(of, place, key, at);
    }

    [[nodiscard]] bool meet_combination(draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        if (key == "$ref") {
            return refer(of, at);
        }
        if (key == "allOf" || key == "anyOf" || key == "oneOf") {
            if (!value(at).is_array() || value(at).size() == 0) {
                return malformed(at, {"a list of at least one schema is expected"});
            }
        }
        if (key == "allOf") {
            for (const std::uint32_t part : document_.children(at)) {
                want(of, {demand_kind::schema, part});
            }
            return true;
        }
        if (key == "anyOf" || key == "oneOf") {
            std::vector<demands> lists;
            for (const std::uint32_t part : document_.children(at)) {
                lists.push_back({{demand_kind::schema, part}});
            }
            if (key == "oneOf") {
                exclude_others(at, lists);
            }
            want_one(of, std::move(lists));
            return true;
        }
        if (key == "not") {
            want(of, {demand_kind::negated, at});
            return true;
        }
        if (key == "if") {
            return meet_if(of, place, at);
        }
        if (key == "dependentRequired" || key == "dependentSchemas" || key == "dependencies") {
            return meet_dependencies(of, at);
        }
        return meet_other(of, key, at);
    }

    /// Keywords that mean nothing by themselves, or that nobody knows.
    [[nodiscard]] bool meet_other(draft& of, std::string_view key, std::uint32_t at) {
        constexpr std::string_view read_elsewhere[] = {"properties",
                                                       "patternProperties",
                                                       "additionalProperties",
                                                       "required",
                                                       "propertyNames",
                                                       "items",
                                                       "prefixItems",
                                                       "additionalItems",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "then",
                                                       "else"};
        constexpr std::string_view annotations[] = {
            "title",         "description", "default",   "examples", "$comment", "contentEncoding", "contentMediaType",
            "contentSchema", "$schema",     "$id",       "$anchor",  "$defs",    "definitions",     "$vocabulary",
            "deprecated",    "readOnly",    "writeOnly", "id"};
        const auto is_in = [&](const auto& list) {
            return std::find(std::begin(list), std::end(list), key) != std::end(list);
        };
        if (key == "$dynamicRef" || key == "$recursiveRef") {
            return refuse(at, {"dynamic references are not supported"});
        }
        if (key == "$dynamicAnchor" || key == "$recursiveAnchor") {
            return refuse(at, {"dynamic anchors are not supported"});
        }
        if (!is_in(read_elsewhere) && !is_in(annotations)) {
            note(sentence({quoted{document_.at(at).pointer}, ": no keyword of JSON Schema, taken as an annotation"}));
        }
        (void)of;
        return true;
    }

    [[nodiscard]] bool read_types(std::uint32_t at, std::uint32_t& values) {
        const json_value type = value(at);
        if (const auto one = type.as_string()) {
            values = values_of_type(*one);
            return values != 0 || malformed(at, {"no type is called ", quoted{*one}});
        }
        if (!type.is_array()) {
            return malformed(at, {"a type is a name or a list of names"});
        }
        for (const json_value element : type.elements()) {
            const std::uint32_t more = values_of_type(element.as_string().value_or(""));
            if (more == 0) {
                return malformed(at, {"the list holds something else than names of types"});
            }
            values |= more;
        }
        return true;
    }

    /// A count of a schema: a whole number that is not negative; what is larger than any count here, as unlimited.
    [[nodiscard]] bool read_count(std::uint32_t at, std::uint32_t& count) {
        const auto text = value(at).as_number_text();
        const auto number = text ? read_decimal(*text) : std::nullopt;
        if (!number || !number->fraction.empty() || (number->is_negative && !number->is_zero())) {
            return malformed(at, {"a whole number from 0 on is expected"});
        }
        std::uint64_t sum = 0;
        for (const char c : number->whole) {
            sum = (std::min)(sum * 10 + static_cast<std::uint64_t>(c - '0'), std::uint64_t{unlimited});
        }
        count = sum > largest_count ? unlimited : static_cast<std::uint32_t>(sum);
        return true;
    }
    [[nodiscard]] bool raise(std::uint32_t at, std::uint32_t& least) {
        std::uint32_t count = 0;
        if (!read_count(at, count)) {
            return false;
        }
        least = (std::max)(least, count);
        return count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"});
    }
    [[nodiscard]] bool lower(std::uint32_t at, std::uint32_t& most) {
        std::uint32_t count = 0;
        const bool is_read = read_count(at, count);
        most = (std::min)(most, count);
        return is_read && (count != unlimited || refuse(at, {"a count above ", largest_count, " is not supported"}));
    }

    // -- strings and numbers --
    /// A long repetition of one class, as in ^.{1,5000}$, is a language and a length: that is counted, not copied.
    [[nodiscard]] bool add_counted_class(schema_shape& shape, std::uint32_t at) {
        constexpr std::uint32_t copied = 64;
        const std::string_view pattern = value(at).as_string().value_or("");
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
        const auto pattern = value(at).as_string();
        if (!pattern) {
            return malformed(at, {"a pattern is a string"});
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
                return refuse(at, {read.error().message});
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
                return refuse(at, {"it has more than ", most_language_states, " states"});
            }
            made = std::make_shared<const automaton>(*std::move(others));
        }
        to.push_back(std::move(made));
        return true;
    }
    [[nodiscard]] bool add_format(schema_shape& shape, std::uint32_t at) {
        const auto format = value(at).as_string();
        if (!format) {
            return malformed(at, {"a format is a string"});
        }
        const std::string pattern = pattern_of_format(*format);
        if (pattern.empty()) {
            if (options_.strict_formats) {
                return refuse(at, {"the format ", quoted{*format}, " is not supported"});
            }
            note(sentence(
                {quoted{document_.at(at).pointer}, ": the format ", quoted{*format}, " is taken as an annotation"}));
            return true;
        }
        if (const unsigned most = longest_of_format(*format)) {
            shape.most_length =
                (shape.values & set_string) != 0 ? (std::min)(shape.most_length, most) : shape.most_length;
        }
        return add_pattern_text(shape.strings, at, pattern, false);
    }

    [[nodiscard]] bool add_number_keyword(schema_shape& shape, std::uint32_t place, std::string_view key,
                                          std::uint32_t at) {
        if (value(at).as_bool() && key.substr(0, 9) == "exclusive") { // of draft 4: read with minimum and maximum
            return true;
        }
        number_relation wanted;
        wanted.greater = key == "minimum" || key == "exclusiveMinimum";
        wanted.less = !wanted.greater;
        const auto strict = value(place).find(key == "minimum" ? "exclusiveMinimum" : "exclusiveMaximum");
        const bool is_strict = strict && strict->as_bool().value_or(false);
        wanted.equal = (key == "minimum" || key == "maximum") && !is_strict;
        return add_numbers(shape, at, key == "multipleOf", wanted, false);
    }
    [[nodiscard]] bool add_numbers(schema_shape& shape, std::uint32_t at, bool is_step, number_relation wanted,
                                   bool is_negated) {
        const auto text = value(at).as_number_text();
        if (!text) {
            return malformed(at, {"a number is expected"});
        }
        const auto number = read_decimal(*text);
        if (!number) {
            return refuse(at, {"a number of more than 4096 digits is not supported"});
        }
        if (is_step && (number->is_negative || number->is_zero())) {
            return malformed(at, {"a number above 0 is expected"});
        }
        auto made = is_step ? multiples_of(*number) : numbers_by(*number, wanted);
        if (!made) {
            return refuse(at, {"multiples of ", number->text(), " need more than 4096 remainders"});
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

    // -- values --
    [[nodiscard]] bool meet_enum(draft& of, std::uint32_t at) {
        if (!value(at).is_array()) {
            return malformed(at, {"a list of values is expected"});
        }
        const std::vector<std::uint32_t> all = document_.children(at);
        std::vector<demands> lists{{{demand_kind::scalars, at}}};
        for (const std::uint32_t one : all) {
            if (value(one).is_array() || value(one).is_object()) {
                lists.push_back({{demand_kind::value, one}});
            }
        }
        if (lists.size() == 1) {
            return meet_scalars(of, all);
        }
        want_one(of, std::move(lists));
        return true;
    }
    [[nodiscard]] bool meet_scalars(draft& of, const std::vector<std::uint32_t>& all) {
        std::uint32_t values = 0;
        std::vector<std::string_view> texts;
        std::vector<std::string> numbers;
        for (const std::uint32_t one : all) {
            const json_value scalar = value(one);
            if (const auto text = scalar.as_string()) {
                values |= set_string;
                texts.push_back(*text);
            } else if (const auto written = scalar.as_number_text()) {
                const auto number = read_decimal(*written);
                if (!number) {
                    return refuse(one, {"a number of more than 4096 digits is not supported"});
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
        of.shape.values &= values;
        if (!texts.empty()) {
            of.shape.strings.push_back(std::make_shared<const automaton>(words_automaton(std::move(texts))));
        }
        if (!numbers.empty()) {
            auto words = words_automaton({numbers.begin(), numbers.end()});
            of.shape.numbers.push_back(std::make_shared<const automaton>(std::move(words)));
        }
        return true;
    }
    /// Arrays and objects that are one value: all parts are, and there are no others.
    [[nodiscard]] bool meet_value(draft& of, std::uint32_t at) {
        const json_value whole = value(at);
        if (whole.is_array()) {
            array_part part;
            for (const std::uint32_t element : document_.children(at)) {
                part.prefix.push_back({demand_kind::value, element});
            }
            of.shape.values &= set_array;
            of.shape.least_items = (std::max)(of.shape.least_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.most_items = (std::min)(of.shape.most_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.arrays.push_back(std::move(part));
            return true;
        }
        if (!whole.is_object()) {
            return meet_scalars(of, {at});
        }
        object_part part;
        for (const auto [key, member] : whole.members()) {
            part.properties.emplace_back(key, demand{demand_kind::value, *document_.child(at, key)});
            of.shape.required.emplace_back(key);
        }
        part.additional = demand{demand_kind::nothing_fits};
        of.shape.values &= set_object;
        of.shape.is_one_value = true;
        of.shape.objects.push_back(std::move(part));
        return true;
    }
    [[nodiscard]] bool avoid_values(draft& of, const std::vector<std::uint32_t>& all) {
        std::vector<std::string_view> texts;
        for (const std::uint32_t one : all) {
            const json_value avoided = value(one);
            if (const auto text = avoided.as_string()) {
                texts.push_back(*text);
            } else if (avoided.as_number_text()) {
                if (!add_numbers(of.shape, one, false, {true, false, true}, false)) {
                    return false;
                }
            } else if (const auto truth = avoided.as_bool()) {
                of.shape.values &= ~std::uint32_t{*truth ? set_true : set_false};
            } else if (avoided.is_null()) {
                of.shape.values &= ~std::uint32_t{set_null};
            } else if (!refuse(one, {"an array or object cannot be excluded"})) {
                return false;
            }
        }
        const auto words = std::make_shared<const automaton>(words_automaton(std::move(texts)));
        return words->size() == 0 || add_language(of.shape.strings, all[0], words, true, any_text_);
    }

    // -- objects and arrays --
    [[nodiscard]] bool add_required(schema_shape& shape, std::uint32_t at) {
        if (!value(at).is_array()) {
            return malformed(at, {"a list of keys is expected"});
        }
        for (const json_value key : value(at).elements()) {
            if (!key.as_string()) {
                return malformed(at, {"the list holds something else than strings"});
            }
            shape.required.emplace_back(*key.as_string());
        }
        return true;
    }
    [[nodiscard]] bool meet_object_keywords(draft& of, std::uint32_t place) {
        object_part part;
        if (const auto at = document_.child(place, "properties")) {
            if (!value(*at).is_object()) {
                return malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : value(*at).members()) {
                part.properties.emplace_back(key, demand{demand_kind::schema, *document_.child(*at, key)});
            }
        }
        if (const auto at = document_.child(place, "patternProperties")) {
            if (!value(*at).is_object()) {
                return malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : value(*at).members()) {
                const std::uint32_t schema = *document_.child(*at, key);
                std::vector<shared_language> made;
                if (!add_pattern_text(made, schema, key, false)) {
                    return false;
                }
                if (!made.empty()) {
                    part.patterns.emplace_back(made[0], demand{demand_kind::schema, schema});
                }
            }
        }
        if (const auto at = additional_properties(place)) {
            part.additional = demand{demand_kind::schema, *at};
        } else if (failure_.code != errc{}) {
            return false;
        } else if (options_.closed && !part.properties.empty()) {
            part.additional = demand{demand_kind::nothing_fits};
        }
        if (const auto at = document_.child(place, "propertyNames")) {
            of.shape.property_names.push_back({demand_kind::schema, *at});
        }
        const auto required = document_.child(place, "required");
        if (required && !value(*required).as_bool() && !add_required(of.shape, *required)) { // a boolean: of draft 3
            return false;
        }
        if (!part.properties.empty() || !part.patterns.empty() || part.additional) {
            of.shape.objects.push_back(std::move(part));
        }
        return true;
    }
    /// The schema of other keys; unevaluatedProperties where it means the same.
    [[nodiscard]] std::optional<std::uint32_t> additional_properties(std::uint32_t place) {
        const auto additional = document_.child(place, "additionalProperties");
        const auto unevaluated = document_.child(place, "unevaluatedProperties");
        if (!unevaluated || value(*unevaluated).as_bool().value_or(false)) {
            return additional;
        }
        if (has_combinations(place)) {
            (void)refuse(*unevaluated, {"beside keywords that combine schemas it is not supported"});
            return additional;
        }
        return additional ? additional : unevaluated;
    }
    [[nodiscard]] bool has_combinations(std::uint32_t place) const {
        const json_value schema = value(place);
        for (const char* key :
             {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas", "contains"}) {
            if (schema.find(key)) {
                return true;
            }
        }
        return false;
    }

    [[nodiscard]] bool meet_array_keywords(draft& of, std::uint32_t place) {
        array_part part;
        auto prefix = document_.child(place, "prefixItems");
        auto rest = document_.child(place, "items");
        if (rest && value(*rest).is_array()) { // of draft 2019 and before
            prefix = rest;
            rest = document_.child(place, "additionalItems");
        }
        if (prefix) {
            if (!value(*prefix).is_array()) {
                return malformed(*prefix, {"a list of schemas is expected"});
            }
            for (const std::uint32_t element : document_.children(*prefix)) {
                part.prefix.push_back({demand_kind::schema, element});
            }
        }
        const auto unevaluated = document_.child(place, "unevaluatedItems");
        if (unevaluated && !value(*unevaluated).as_bool().value_or(false) && !rest) {
            if (has_combinations(place)) {
                return refuse(*unevaluated, {"beside keywords that combine schemas it is not supported"});
            }
            rest = unevaluated;
        }
        if (rest) {
            part.rest = demand{demand_kind::schema, *rest};
        }
        if (!part.prefix.empty() || part.rest) {
            of.shape.arrays.push_back(std::move(part));
        }
        const auto unique = document_.child(place, "uniqueItems");
        if (unique && value(*unique).as_bool().value_or(true)) {
            of.shape.unique_place = *unique;
        }
        return meet_contains(of, place);
    }
    [[nodiscard]] bool meet_contains(draft& of, std::uint32_t place) {
        const auto what = document_.child(place, "contains");
        if (!what) {
            return true;
        }
        contained_part part{{demand_kind::schema, *what}, 1, unlimited};
        const auto least = document_.child(place, "minContains");
        const auto most = document_.child(place, "maxContains");
        if ((least && !read_count(*least, part.least)) || (most && !read_count(*most, part.most))) {
            return false;
        }
        of.shape.contained.push_back(part);
        return true;
    }

    // -- combinations --
    [[nodiscard]] bool refer(draft& of, std::uint32_t at) {
        const auto reference = value(at).as_string();
        if (!reference) {
            return malformed(at, {"a reference is a string"});
        }
        const auto target = document_.referred(at, *reference);
        if (!target) {
            return set_error(
                failure_, errc::unsupported_schema, {name_, ": ", quoted{document_.at(at).pointer}, ": "},
                {"the reference ", quoted{*reference}, " leads to nothing in this schema, and nothing else is read"});
        }
        want(of, {demand_kind::schema, *target});
        return true;
    }
    [[nodiscard]] bool meet_if(draft& of, std::uint32_t place, std::uint32_t at) {
        const auto yes = document_.child(place, "then");
        const auto no = document_.child(place, "else");
        if (!yes && !no) {
            return true;
        }
        std::vector<demands> lists{{{demand_kind::schema, at}}, {{demand_kind::negated, at}}};
        if (yes) {
            lists[0].push_back({demand_kind::schema, *yes});
        }
        if (no) {
            lists[1].push_back({demand_kind::schema, *no});
        }
        want_one(of, std::move(lists));
        return true;
    }
    [[nodiscard]] bool meet_dependencies(draft& of, std::uint32_t at) {
        if (!value(at).is_object()) {
            return malformed(at, {"an object is expected"});
        }
        for (const auto [key, member] : value(at).members()) {
            const std::uint32_t then = *document_.child(at, key);
            const demand with{member.is_array() ? demand_kind::has_all : demand_kind::schema, then};
            want_one(of, {{{demand_kind::lacks, 0, name(key)}}, {with}});
        }
        return true;
    }
    /// Of oneOf: each alternative excludes the others, but those that cannot be valid together with it anyhow.
    void exclude_others(std::uint32_t at, std::vector<demands>& lists) {
        if (options_.one_of_is_any_of) {
            return note(sentence({quoted{document_.at(at).pointer}, ": oneOf is taken as anyOf"}));
        }
        const std::vector<std::uint32_t> parts = document_.children(at);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            for (std::size_t j = 0; j < parts.size(); ++j) {
                if (i != j && !are_disjoint(parts[i], parts[j])) {
                    lists[i].push_back({demand_kind::negated, parts[j]});
                }
            }
        }
    }

    /// What is easily known of a schema's values.
    struct outline {
        std::uint32_t values = set_all;
        std::optional<std::set<std::string>> scalars; ///< the only values, as JSON
        std::set<std::string> required;
        std::map<std::string, std::uint32_t> properties;
        bool is_closed = false;
    };
    [[nodiscard]] outline outline_of(std::uint32_t place) {
        outline made;
        for (int depth = 0; depth < 16; ++depth) {
            if (const auto constant = document_.child(place, "const")) {
                made.scalars = scalars_of({*constant});
            } else if (const auto list = document_.child(place, "enum")) {
                made.scalars = scalars_of(document_.children(*list));
            }
            std::uint32_t values = 0;
            const auto type = document_.child(place, "type");
            const bool is_typed = type && read_types_quietly(*type, values);
            made.values &= is_typed ? values : set_all;
            const auto required = value(place).find("required");
            for (const json_value key : required ? required->elements() : value(place).elements()) {
                made.required.emplace(key.as_string().value_or(""));
            }
            if (const auto properties = document_.child(place, "properties")) {
                for (const auto [key, member] : value(*properties).members()) {
                    made.properties.emplace(key, *document_.child(*properties, key));
                }
            }
            const auto others = value(place).find("additionalProperties");
            made.is_closed = made.is_closed ||
                             (others && !others->as_bool().value_or(true) && !value(place).find("patternProperties"));
            const auto reference = value(place).find("$ref");
            const auto text = reference ? reference->as_string() : std::nullopt;
            const auto target = text ? document_.referred(place, *text) : std::nullopt;
            if (!target || made.is_closed) {
                break;
            }
            place = *target;
        }
        return made;
    }
    [[nodiscard]] bool read_types_quietly(std::uint32_t at, std::uint32_t& values) {
        const error before = failure_;
        const bool is_read = read_types(at, values);
        failure_ = before;
        return is_read;
    }
    /// The values of a list as JSON texts; nullopt where one is an array or object.
    [[nodiscard]] std::optional<std::set<std::string>> scalars_of(const std::vector<std::uint32_t>& all) {
        std::set<std::string> made;
        for (const std::uint32_t one : all) {
            const json_value scalar = value(one);
            const auto text = scalar.as_string();
            const auto number = scalar.as_number_text() ? read_decimal(*scalar.as_number_text()) : std::nullopt;
            if (scalar.is_array() || scalar.is_object() || (scalar.as_number_text() && !number)) {
                return std::nullopt;
            }
            made.insert(text                ? "\"" + std::string(*text)
                        : number            ? number->text()
                        : scalar.is_null()  ? "null"
                        : *scalar.as_bool() ? "true"
                                            : "false");
        }
        return made;
    }
    [[nodiscard]] bool are_disjoint(std::uint32_t a, std::uint32_t b, int depth = 0) {
        const outline x = outline_of(a);
        const outline y = outline_of(b);
        if ((x.values & y.values) == 0) {
            return true;
        }
        if (x.scalars && y.scalars) {
            return std::none_of(x.scalars->begin(), x.scalars->end(),
                                [&](const std::string& one) { return y.scalars->count(one) != 0; });
        }
        if ((x.values & y.values) != set_object || depth == 4) {
            return false;
        }
        const auto lacks = [](const outline& has, const outline& other) {
            return other.is_closed &&
                   std::any_of(has.required.begin(), has.required.end(),
                               [&](const std::string& key) { return other.properties.count(key) == 0; });
        };
        if (lacks(x, y) || lacks(y, x)) {
            return true;
        }
        return std::any_of(x.required.begin(), x.required.end(), [&](const std::string& key) {
            const auto in_x = x.properties.find(key);
            const auto in_y = y.properties.find(key);
            return in_x != x.properties.end() && in_y != y.properties.end() &&
                   are_disjoint(in_x->second, in_y->second, depth + 1);
        });
    }

    // -- negations --
    /// A value that is not valid breaks one keyword at least.
    [[nodiscard]] bool negate(draft& of, std::uint32_t place) {
        const json_value schema = value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? 0 : of.shape.values;
            return true;
        }
        if (!schema.is_object()) {
            return malformed(place,
                             {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        std::vector<demands> lists;
        for (const auto [key, member] : schema.members()) {
            if (!negate_keyword(place, key, *document_.child(place, key), lists)) {
                return false;
            }
        }
        if (lists.empty()) {
            of.shape.values = 0;
        }
        want_one(of, std::move(lists));
        return true;
    }
    [[nodiscard]] bool negate_keyword(std::uint32_t place, std::string_view key, std::uint32_t at,
                                      std::vector<demands>& lists) {
        constexpr std::string_view plain[] = {"minLength",     "maxLength",        "minItems",         "maxItems",
                                              "minProperties", "maxProperties",    "pattern",          "minimum",
                                              "maximum",       "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};
        constexpr std::string_view silent[] = {"title",      "description", "default",   "examples", "$comment",
                                               "$schema",    "$id",         "$anchor",   "$defs",    "definitions",
                                               "deprecated", "readOnly",    "writeOnly", "then",     "else"};
        const auto is_in = [&](const auto& list) {
            return std::find(std::begin(list), std::end(list), key) != std::end(list);
        };
        if (is_in(silent)) {
            return true;
        }
        if (is_in(plain)) {
            lists.push_back({{demand_kind::breaks, at, name(key)}});
        } else if (key == "type") {
            lists.push_back({{demand_kind::not_type, at}});
        } else if (key == "const") {
            lists.push_back({{demand_kind::not_value, at}});
        } else if (key == "enum" && value(at).is_array() && value(at).size() != 0) {
            lists.push_back({{demand_kind::not_values, at}});
        } else if (key == "required" && value(at).is_array()) {
            for (const json_value one : value(at).elements()) {
                lists.push_back({{demand_kind::object}, {demand_kind::lacks, 0, name(one.as_string().value_or(""))}});
            }
        } else if (key == "properties" && value(at).is_object()) {
            for (const auto [one, member] : value(at).members()) {
                lists.push_back({{demand_kind::breaks_key, *document_.child(at, one), name(one)}});
            }
        } else {
            return negate_combination(place, key, at, lists);
        }
        return true;
    }
    /// Keywords that are known and cannot be enforced the other way round.
    static constexpr std::string_view not_negated[] = {"$ref",
                                                       "$dynamicRef",
                                                       "oneOf",
                                                       "if",
                                                       "items",
                                                       "prefixItems",
                                                       "additionalItems",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "uniqueItems",
                                                       "unevaluatedItems",
                                                       "unevaluatedProperties",
                                                       "patternProperties",
                                                       "additionalProperties",
                                                       "propertyNames",
                                                       "dependencies",
                                                       "dependentRequired",
                                                       "dependentSchemas",
                                                       "format",
                                                       "enum",
                                                       "required",
                                                       "properties"};
    [[nodiscard]] bool negate_combination(std::uint32_t place, std::string_view key, std::uint32_t at,
                                          std::vector<demands>& lists) {
        if (key == "not") {
            lists.push_back({{demand_kind::schema, at}});
            return true;
        }
        if (key == "anyOf" || key == "allOf") {
            demands all;
            for (const std::uint32_t part : document_.children(at)) {
                all.push_back({demand_kind::negated, part});
                if (key == "allOf") {
                    lists.push_back({{demand_kind::negated, part}});
                }
            }
            if (key == "anyOf") {
                lists.push_back(std::move(all));
            }
            return true;
        }
        if (key == "items" && !value(at).is_array() && !value(place).find("prefixItems")) {
            lists.push_back({{demand_kind::bad_item, at}});
            return true;
        }
        if (key == "contains" && !value(place).find("minContains") && !value(place).find("maxContains")) {
            lists.push_back({{demand_kind::no_item, at}});
            return true;
        }
        if (key == "$ref") {
            const auto target = document_.referred(at, value(at).as_string().value_or(""));
            if (target && *target != place) {
                lists.push_back({{demand_kind::negated, *target}});
                return true;
            }
        }
        if (std::find(std::begin(not_negated), std::end(not_negated), key) == std::end(not_negated)) {
            note(sentence({quoted{document_.at(at).pointer}, ": no keyword of JSON Schema, taken as an annotation"}));
            return true;
        }
        return refuse(at, {"it stands in a schema that must not hold (not, if, oneOf), and there ", quoted{key},
                           " cannot be enforced"});
    }
    [[nodiscard]] bool break_keyword(schema_shape& shape, std::uint32_t at, std::string_view key) {
        if (key == "pattern") {
            shape.values &= set_string;
            return add_pattern(shape.strings, at, true);
        }
        if (key == "multipleOf") {
            shape.values &= set_whole | set_fraction;
            return add_numbers(shape, at, true, {}, true);
        }
        if (key.find("imum") != std::string_view::npos) {
            number_relation wanted;
            wanted.less = key == "minimum" || key == "exclusiveMinimum";
            wanted.greater = !wanted.less;
            wanted.equal = key.substr(0, 9) == "exclusive";
            shape.values &= set_whole | set_fraction;
            return add_numbers(shape, at, false, wanted, false);
        }
        std::uint32_t count = 0;
        if (!read_count(at, count)) {
            return false;
        }
        const std::string_view of = key.substr(3);
        shape.values &= of == "Length" ? set_string : of == "Items" ? set_array : set_object;
        std::uint32_t& least = of == "Length"  ? shape.least_length
                               : of == "Items" ? shape.least_items
                                               : shape.least_properties;
        std::uint32_t& most = of == "Length"  ? shape.most_length
                              : of == "Items" ? shape.most_items
                                              : shape.most_properties;
        if (key.substr(0, 3) == "max") {
            shape.values = count >= largest_count ? 0 : shape.values;
            least = (std::max)(least, count >= largest_count ? 0 : count + 1);
        } else {
            shape.values = count == 0 ? 0 : shape.values;
            most = (std::min)(most, count == 0 ? 0 : count - 1);
        }
        return true;
    }

    schema_document document_;
    std::string_view name_;
    const schema_options& options_;
    automaton any_text_ = any_utf8();
    automaton all_numbers_;
    std::set<std::uint32_t> lists_of_keys_; // values of `properties`
    std::map<std::string, shared_language, std::less<>> patterns_;
    std::vector<std::string> names_;
    std::map<std::string, std::uint32_t> name_numbers_;
    std::vector<std::string> notes_;
    bool has_listed_keys_ = false;
    error failure_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
