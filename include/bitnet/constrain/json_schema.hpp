// SPDX-License-Identifier: MIT
// schema_compiler: JSON Schemas as grammars of JSON texts. Defines grammar::json_schema.
#ifndef BITNET_CONSTRAIN_JSON_SCHEMA_HPP
#define BITNET_CONSTRAIN_JSON_SCHEMA_HPP

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/finite_values.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/json_string.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_reader.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <bit>
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

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Makes a rule for every set of demands that some value has to meet. Steps return whether to go on; if not, the error
/// is in the reader's failure().
class schema_compiler {
public:
    schema_compiler(const json_document& text, std::string_view name, const schema_options& options)
        : reader_(text, name, options), name_(name), options_(options), any_text_(any_utf8()) {}

    /// \param before a text in front of the JSON text \param after and one behind it
    [[nodiscard]] result<grammar> run(std::string_view before = {}, std::string_view after = {}) {
        if (reader_.document().longest_key() > most_key_bytes) {
            return error_saying(errc::grammar_budget, {name_, ": a key of ", reader_.document().longest_key(),
                                                       " bytes, and at most ", most_key_bytes, " are supported"});
        }
        source_.root = rule_of({{demand_kind::schema, 0}});
        comma_ = separator(",");
        colon_ = separator(":");
        for (std::size_t at = 0; at < wanted_.size(); ++at) {
            constexpr std::size_t most_rules = 20'000;
            if (at == most_rules) {
                return error_saying(errc::grammar_budget,
                                    {name_, ": combinations of its schemas need more than ", most_rules, " rules"});
            }
            if (wanted_[at] != nullptr && !compile(*wanted_[at], static_cast<std::uint32_t>(at))) {
                return std::move(reader_.failure());
            }
        }
        if (!before.empty() || !after.empty()) {
            const expression json = source_.pool.rule(source_.root);
            source_.root = static_cast<std::uint32_t>(source_.rules.size());
            source_.rules.push_back(
                {"text", source_.pool.sequence({source_.pool.literal(before), json, source_.pool.literal(after)})});
        }
        return compiled(source_, name_, std::move(reader_.notes()));
    }

private:
    [[nodiscard]] expression separator(std::string_view mark) {
        const expression made = source_.pool.literal(mark);
        return options_.spaces ? source_.pool.sequence({made, source_.pool.repeat(source_.pool.literal(" "), 0, 1)})
                               : made;
    }
    [[nodiscard]] std::uint32_t rule_of(demands all) {
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        const auto [found, is_new] = rules_.try_emplace(std::move(all), static_cast<std::uint32_t>(wanted_.size()));
        if (is_new) { // rules and what is wanted of them have the same numbers
            wanted_.push_back(&found->first);
            const demands& made = found->first;
            const bool is_place = !made.empty() && made[0].kind == demand_kind::schema;
            source_.rules.push_back({is_place ? reader_.document().at(made[0].place).pointer : "value", 0});
        }
        return found->second;
    }
    [[nodiscard]] expression value_of(demands all) { return source_.pool.rule(rule_of(std::move(all))); }

    [[nodiscard]] bool compile(const demands& all, std::uint32_t rule) {
        at_fault_ = all.empty() ? 0 : all[0].place;
        key_order_ = reader_.key_order(all);
        std::vector<schema_shape> shapes;
        if (!reader_.read(all, shapes)) {
            return false;
        }
        std::vector<expression> parts;
        for (const schema_shape& shape : shapes) {
            if (!add_shape(shape, parts)) {
                return false;
            }
        }
        source_.rules[rule].body = source_.pool.choice(parts);
        return true;
    }
    static constexpr std::pair<std::uint32_t, std::string_view> value_words[] = {
        {set_null, "null"}, {set_true, "true"}, {set_false, "false"}};
    [[nodiscard]] bool add_shape(const schema_shape& shape, std::vector<expression>& parts) {
        for (const auto& [value, word] : value_words) {
            if ((shape.values & value) != 0) {
                parts.push_back(source_.pool.literal(word));
            }
        }
        return ((shape.values & (set_whole | set_fraction)) == 0 || add_number(shape, parts)) &&
               ((shape.values & set_string) == 0 || add_string(shape, parts)) &&
               ((shape.values & set_array) == 0 || add_array(shape, parts)) &&
               ((shape.values & set_object) == 0 || add_object(shape, parts));
    }
    /// The place to name where a whole shape is at fault: that of the rule's first schema.
    [[nodiscard]] bool refuse(sentence_parts why) { return reader_.refuse(at_fault_, why); }
    [[nodiscard]] bool too_large() {
        return refuse({"its combination has more than ", most_language_states, " states"});
    }

    // -- numbers --
    [[nodiscard]] static std::string_view number_pattern(const schema_shape& shape) noexcept {
        const bool has_whole = (shape.values & set_whole) != 0;
        const bool has_fraction = (shape.values & set_fraction) != 0;
        return !has_fraction           ? "-?(0|[1-9][0-9]*)"
               : !has_whole            ? "-?(0|[1-9][0-9]*)\\.[0-9]*[1-9][0-9]*"
               : shape.numbers.empty() ? "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?"
                                       : "-?(0|[1-9][0-9]*)(\\.[0-9]+)?";
    }
    [[nodiscard]] static std::optional<automaton> numbers_of(const schema_shape& shape) {
        std::optional<automaton> numbers = regular(number_pattern(shape));
        for (const shared_language& language : shape.numbers) {
            numbers = numbers ? intersection(*numbers, *language) : std::nullopt;
        }
        return numbers;
    }
    [[nodiscard]] bool add_number(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.numbers.empty()) {
            const std::string_view pattern = number_pattern(shape);
            const auto [found, is_new] = plain_numbers_.try_emplace(pattern, 0);
            if (is_new) {
                found->second = source_.pool.language(regular(pattern).value_or(automaton()));
            }
            parts.push_back(found->second);
            return true;
        }
        auto numbers = numbers_of(shape);
        if (!numbers) {
            return too_large();
        }
        parts.push_back(source_.pool.language(*std::move(numbers)));
        return true;
    }
    /// \pre it is small and has no mistake
    [[nodiscard]] static std::optional<automaton> regular(std::string_view pattern) {
        expression_pool pool;
        const auto read = regex_reader(pattern, "number", pool, {}).run();
        return read ? language_of(pool, *read) : std::nullopt;
    }

    // -- strings --
    [[nodiscard]] std::optional<automaton> content_of(const schema_shape& shape) const {
        std::optional<automaton> made = any_text_;
        for (const shared_language& language : shape.strings) {
            made = made ? intersection(*made, *language) : std::nullopt;
        }
        return made;
    }
    [[nodiscard]] expression quoted_text(expression body) {
        return source_.pool.sequence({source_.pool.literal("\""), body, source_.pool.literal("\"")});
    }
    [[nodiscard]] bool add_string(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.strings.empty() && shape.least_length == 0 && shape.most_length == unlimited) {
            any_string_ = any_string_ ? any_string_ : quoted_text(source_.pool.language(json_string_body(any_text_)));
            parts.push_back(*any_string_);
            return true;
        }
        auto content = content_of(shape);
        if (!content) {
            return too_large();
        }
        if (shape.least_length > shape.most_length || content->size() == 0) {
            return true;
        }
        if (shape.least_length == 0 && shape.most_length == unlimited) {
            parts.push_back(quoted_text(source_.pool.language(json_string_body(*content))));
            return true;
        }
        const character_counts counts(*content);
        const bool is_small = shape.most_length <= 64 && content->size() <= 64;
        if (!is_small && counts.is_open_everywhere()) {
            if (counts.fewest(0) <= shape.most_length) {
                automaton body = counting_string_body(*content, counts, shape.most_length);
                const std::uint32_t least = shape.least_length;
                parts.push_back(quoted_text(
                    source_.pool.counted(std::move(body), least, shape.most_length, counts.is_plain() ? 1 : 6)));
            }
            return true;
        }
        const auto bounded = of_length(*content, shape.least_length, shape.most_length);
        if (!bounded) {
            return too_large();
        }
        parts.push_back(quoted_text(source_.pool.language(json_string_body(*bounded))));
        return true;
    }

    // -- objects --
    struct declared_key {
        std::string name;
        expression member; ///< key, colon and value
        bool is_required;
    };

    [[nodiscard]] bool add_object(const schema_shape& shape, std::vector<expression>& parts) {
        const std::set<std::string, std::less<>> required(shape.required.begin(), shape.required.end());
        std::optional<automaton> names;
        if (!name_language(shape, names)) {
            return false;
        }
        std::vector<declared_key> keys;
        std::set<std::string, std::less<>> known;
        const auto declare = [&](const std::string& key) {
            if (known.insert(key).second) {
                const bool is_named = !names || names->accepts(key);
                const expression text = source_.pool.literal("\"" + json_string_text(key) + "\"");
                const expression value = is_named ? value_of(demands_of_key(shape, key)) : source_.pool.nothing();
                keys.push_back({key, source_.pool.sequence({text, colon_, value}), required.count(key) != 0});
            }
        };
        for (const std::string& key : key_order_) {
            declare(key);
        }
        for (const object_part& part : shape.objects) { // what only negations and constants name
            for (const auto& [key, what] : part.properties) {
                declare(key);
            }
        }
        for (const std::string& key : shape.required) {
            declare(key);
        }
        std::optional<expression> others;
        if (!other_members(shape, known, names, others)) {
            return false;
        }
        // Where no schema lists properties, no order of keys is meant.
        constexpr std::size_t most_unordered = 6;
        const bool is_unordered = !reader_.has_listed_keys() && keys.size() <= most_unordered &&
                                  shape.least_properties == 0 && shape.most_properties == unlimited &&
                                  !shape.is_one_value;
        const auto members = is_unordered ? unordered_members(keys, others) : members_of(shape, keys, others);
        if (!members) {
            return refuse({"minProperties or maxProperties beside ", keys.size(), " keys need too many states"});
        }
        parts.push_back(source_.pool.sequence({source_.pool.literal("{"), *members, source_.pool.literal("}")}));
        return true;
    }
    [[nodiscard]] static demands demands_of_key(const schema_shape& shape, std::string_view key) {
        demands made;
        for (const object_part& part : shape.objects) {
            bool is_met = false;
            for (const auto& [name, what] : part.properties) {
                if (name == key) {
                    is_met = true;
                    made.push_back(what);
                }
            }
            for (const auto& [pattern, what] : part.patterns) {
                if (pattern->accepts(key)) {
                    is_met = true;
                    made.push_back(what);
                }
            }
            if (!is_met && part.additional) {
                made.push_back(*part.additional);
            }
        }
        return made;
    }

    /// The language of propertyNames; nullopt where it asks for nothing.
    [[nodiscard]] bool name_language(const schema_shape& shape, std::optional<automaton>& names) {
        if (shape.property_names.empty()) {
            return true;
        }
        std::vector<schema_shape> shapes;
        if (!reader_.read(shape.property_names, shapes)) {
            return false;
        }
        automaton rest = any_text_; // what no shape takes
        for (const schema_shape& one : shapes) {
            auto content = (one.values & set_string) != 0 ? content_of(one) : automaton();
            if (content && (one.least_length != 0 || one.most_length != unlimited)) {
                content = of_length(*content, one.least_length, one.most_length);
            }
            auto left = content ? difference(rest, *content) : std::nullopt;
            if (!left) {
                return too_large();
            }
            rest = *std::move(left);
        }
        names = difference(any_text_, rest);
        return names || too_large();
    }

    /// A member whose key is not declared; nullopt where there is none.
    [[nodiscard]] bool other_members(const schema_shape& shape, const std::set<std::string, std::less<>>& known,
                                     const std::optional<automaton>& names, std::optional<expression>& others) {
        const auto words = words_automaton({known.begin(), known.end()});
        auto keys = difference(names ? *names : any_text_, words);
        if (!keys) {
            return too_large();
        }
        std::vector<key_class> classes;
        classes.push_back({*std::move(keys), {}});
        for (const object_part& part : shape.objects) {
            for (const auto& [pattern, what] : part.patterns) {
                if (!split(classes, *pattern)) {
                    return too_large();
                }
            }
        }
        std::vector<expression> parts;
        for (const key_class& one : classes) {
            const demands all = demands_of_class(shape, one.is_met);
            const bool is_none = std::any_of(all.begin(), all.end(), [&](demand what) { return never_fits(what); });
            if (!is_none) {
                const expression text = quoted_text(source_.pool.language(json_string_body(one.keys)));
                parts.push_back(source_.pool.sequence({text, colon_, value_of(all)}));
            }
        }
        if (!parts.empty()) {
            others = source_.pool.choice(parts);
        }
        return true;
    }
    struct key_class {
        automaton keys;
        std::vector<bool> is_met; ///< which of all patterns, in order
    };
    [[nodiscard]] static bool split(std::vector<key_class>& classes, const automaton& pattern) {
        constexpr std::size_t most_classes = 64;
        std::vector<key_class> made;
        for (key_class& one : classes) {
            auto in = intersection(one.keys, pattern);
            auto out = difference(one.keys, pattern);
            if (!in || !out) {
                return false;
            }
            for (auto* const keys : {&*in, &*out}) {
                if (keys->size() != 0) {
                    made.push_back({std::move(*keys), one.is_met});
                    made.back().is_met.push_back(keys == &*in);
                }
            }
        }
        classes = std::move(made);
        return classes.size() <= most_classes;
    }
    [[nodiscard]] static demands demands_of_class(const schema_shape& shape, const std::vector<bool>& is_met) {
        demands made;
        std::size_t at = 0;
        for (const object_part& part : shape.objects) {
            bool is_any_met = false;
            for (const auto& [pattern, what] : part.patterns) {
                if (is_met[at++]) {
                    is_any_met = true;
                    made.push_back(what);
                }
            }
            if (!is_any_met && part.additional) {
                made.push_back(*part.additional);
            }
        }
        return made;
    }
    [[nodiscard]] bool never_fits(demand what) {
        return what.kind == demand_kind::nothing_fits ||
               (what.kind == demand_kind::schema && !reader_.document().at(what.place).value.as_bool().value_or(true));
    }

    /// Declared members in order, then others, as many as the shape allows; nullopt where that takes too many states.
    [[nodiscard]] std::optional<expression> members_of(const schema_shape& shape, const std::vector<declared_key>& keys,
                                                       std::optional<expression> others) {
        constexpr std::size_t most_states = 200'000;
        const bool is_limited = shape.most_properties != unlimited;
        const std::size_t counted = // above which the number of members does not matter
            is_limited ? keys.size() : (std::min)(keys.size(), std::size_t{(std::max)(shape.least_properties, 1u)});
        if ((keys.size() + 1) * (counted + 1) > most_states) {
            return std::nullopt;
        }
        std::vector<expression> next(counted + 1);
        for (std::uint32_t count = 0; count <= counted; ++count) {
            next[count] = other_list(shape, count, others);
        }
        for (std::size_t key = keys.size(); key-- > 0;) {
            std::vector<expression> made(counted + 1);
            for (std::size_t count = 0; count <= (std::min)(counted, key); ++count) {
                std::vector<expression> ways;
                if (count < shape.most_properties) {
                    const expression after = next[(std::min)(count + 1, counted)];
                    ways.push_back(count == 0 ? source_.pool.sequence({keys[key].member, after})
                                              : source_.pool.sequence({comma_, keys[key].member, after}));
                }
                if (!keys[key].is_required) {
                    ways.push_back(next[count]);
                }
                made[count] = source_.pool.choice(ways);
            }
            next = std::move(made);
        }
        return next[0];
    }
    /// Members in any order, others among them: by which of the keys have come.
    [[nodiscard]] expression unordered_members(const std::vector<declared_key>& keys,
                                               std::optional<expression> others) {
        const expression other = others.value_or(source_.pool.nothing());
        const expression further = source_.pool.repeat(source_.pool.sequence({comma_, other}), 0, unlimited);
        std::vector<expression> behind(std::size_t{1} << keys.size()); // per set of keys that have come
        std::vector<expression> ways;
        for (std::size_t come = behind.size(); come-- > 0;) {
            ways.clear();
            bool can_end = true;
            for (std::size_t key = 0; key < keys.size(); ++key) {
                const std::size_t bit = std::size_t{1} << key;
                can_end = can_end && ((come & bit) != 0 || !keys[key].is_required);
                if ((come & bit) == 0) {
                    ways.push_back(source_.pool.sequence({comma_, keys[key].member, behind[come | bit]}));
                }
            }
            if (can_end) {
                ways.push_back(source_.pool.empty());
            }
            behind[come] = source_.pool.sequence({further, source_.pool.choice(ways)});
        }
        std::vector<expression> first{source_.pool.sequence({other, behind[0]})};
        bool can_end = true;
        for (std::size_t key = 0; key < keys.size(); ++key) {
            can_end = can_end && !keys[key].is_required;
            first.push_back(source_.pool.sequence({keys[key].member, behind[std::size_t{1} << key]}));
        }
        if (can_end) {
            first.push_back(source_.pool.empty());
        }
        return source_.pool.choice(first);
    }
    /// Members with keys that are not declared, behind `count` others.
    [[nodiscard]] expression other_list(const schema_shape& shape, std::uint32_t count,
                                        std::optional<expression> others) {
        if (count > shape.most_properties) {
            return source_.pool.nothing();
        }
        const std::uint32_t least = shape.least_properties > count ? shape.least_properties - count : 0;
        const std::uint32_t most = shape.most_properties == unlimited ? unlimited : shape.most_properties - count;
        return list_of(others.value_or(source_.pool.nothing()), count == 0, least, most);
    }
    /// least to most parts with commas between them, and before the first unless it is first of all.
    [[nodiscard]] expression list_of(expression part, bool is_first, std::uint32_t least, std::uint32_t most) {
        if (least > most) {
            return source_.pool.nothing();
        }
        const expression further = source_.pool.sequence({comma_, part});
        if (!is_first || most == 0) {
            return source_.pool.repeat(further, least, most);
        }
        const std::uint32_t rest = most == unlimited ? unlimited : most - 1;
        const expression some =
            source_.pool.sequence({part, source_.pool.repeat(further, least == 0 ? 0 : least - 1, rest)});
        return least == 0 ? source_.pool.choice({source_.pool.empty(), some}) : some;
    }

    // -- arrays --
    [[nodiscard]] bool add_array(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.least_items > shape.most_items) {
            return true;
        }
        std::optional<expression> items;
        if (shape.unique_place && shape.most_items > 1 && !unique_items(shape, items)) {
            return false;
        }
        if (!items && shape.contained.empty()) {
            items = plain_items(shape);
        } else if (!items && !containing_items(shape, items)) {
            return false;
        }
        if (!items) {
            return refuse({"prefixItems, contains or the number of items need too many states"});
        }
        parts.push_back(source_.pool.sequence({source_.pool.literal("["), *items, source_.pool.literal("]")}));
        return true;
    }
    [[nodiscard]] static std::size_t prefix_of(const schema_shape& shape) {
        std::size_t made = 0;
        for (const array_part& part : shape.arrays) {
            made = (std::max)(made, part.prefix.size());
        }
        return made;
    }
    [[nodiscard]] static demands demands_of_item(const schema_shape& shape, std::size_t index) {
        demands made;
        for (const array_part& part : shape.arrays) {
            if (index < part.prefix.size()) {
                made.push_back(part.prefix[index]);
            } else if (part.rest) {
                made.push_back(*part.rest);
            }
        }
        return made;
    }
    [[nodiscard]] expression plain_items(const schema_shape& shape) {
        const auto prefix = static_cast<std::uint32_t>((std::min)(prefix_of(shape), std::size_t{shape.most_items}));
        const std::uint32_t least = shape.least_items > prefix ? shape.least_items - prefix : 0;
        const std::uint32_t most = shape.most_items == unlimited ? unlimited : shape.most_items - prefix;
        expression next = list_of(value_of(demands_of_item(shape, prefix)), prefix == 0, least, most);
        for (std::uint32_t index = prefix; index-- > 0;) {
            const expression item = value_of(demands_of_item(shape, index));
            next = index == 0 ? source_.pool.sequence({item, next}) : source_.pool.sequence({comma_, item, next});
            if (index >= shape.least_items) {
                next = source_.pool.choice({source_.pool.empty(), next});
            }
        }
        return next;
    }
    /// Items that are told apart by which values have come: a rule for every set of these.
    [[nodiscard]] bool unique_items(const schema_shape& shape, std::optional<expression>& items) {
        finite_values all;
        std::vector<std::vector<std::size_t>> at_place; // the values that may stand there; the last one: and behind
        const std::size_t places = (std::min)(prefix_of(shape) + 1, std::size_t{shape.most_items});
        bool is_finite = shape.contained.empty();
        for (std::size_t place = 0; place < places && is_finite; ++place) {
            at_place.emplace_back();
            if (!add_values(demands_of_item(shape, place), all, at_place.back(), is_finite)) {
                return false;
            }
        }
        if (is_finite && unique_rules(shape, all, at_place, items)) {
            return true;
        }
        return reader_.refuse(*shape.unique_place,
                              {"that items are unique can be enforced where they are some of a few (up to ",
                               most_unique, ") strings, numbers, booleans and null, or one item at most"});
    }
    /// Adds the values that meet `wanted`, if they are few and have no parts.
    [[nodiscard]] bool add_values(const demands& wanted, finite_values& all, std::vector<std::size_t>& which,
                                  bool& is_finite) {
        std::vector<schema_shape> shapes;
        if (!reader_.read(wanted, shapes)) {
            return false;
        }
        const auto add = [&](finite_values::kind is, const std::optional<automaton>& language) {
            const auto texts = language ? texts_of(*language, std::size_t{2} * most_unique) : std::nullopt;
            is_finite = is_finite && texts;
            for (std::size_t i = 0; is_finite && i < texts->size(); ++i) {
                which.push_back(all.add(is, (*texts)[i]));
            }
        };
        for (const schema_shape& shape : shapes) {
            is_finite = is_finite && (shape.values & (set_array | set_object)) == 0;
            for (const auto& [value, word] : value_words) {
                if ((shape.values & value) != 0) {
                    which.push_back(all.add(finite_values::kind::word, word));
                }
            }
            if ((shape.values & (set_whole | set_fraction)) != 0) {
                add(finite_values::kind::number, shape.numbers.empty() ? std::nullopt : numbers_of(shape));
            }
            if ((shape.values & set_string) != 0) {
                const bool is_any_length = shape.least_length == 0 && shape.most_length == unlimited;
                auto content = shape.strings.empty() ? std::nullopt : content_of(shape);
                add(finite_values::kind::string,
                    content && !is_any_length ? of_length(*content, shape.least_length, shape.most_length) : content);
            }
        }
        return true;
    }
    /// \return whether there are not too many sets
    [[nodiscard]] bool unique_rules(const schema_shape& shape, const finite_values& all,
                                    const std::vector<std::vector<std::size_t>>& at_place,
                                    std::optional<expression>& items) {
        if (all.size() > most_unique) {
            return false;
        }
        std::vector<expression> texts;
        for (std::size_t i = 0; i < all.size(); ++i) {
            texts.push_back(text_of(all[i]));
        }
        std::vector<std::uint32_t> sets{0}; // each with a rule
        std::map<std::uint32_t, std::uint32_t> rules{{0u, own_rule()}};
        for (std::size_t at = 0; at < sets.size(); ++at) {
            const std::uint32_t come = sets[at];
            const auto count = static_cast<std::size_t>(std::popcount(come));
            std::vector<expression> ways;
            if (count >= shape.least_items) {
                ways.push_back(source_.pool.empty());
            }
            std::uint32_t tried = count < shape.most_items ? come : ~0u;
            for (const std::size_t value : at_place[(std::min)(count, at_place.size() - 1)]) {
                const std::uint32_t bit = 1u << value;
                if ((tried & bit) != 0) {
                    continue;
                }
                tried |= bit;
                const auto [found, is_new] = rules.try_emplace(come | bit, 0);
                if (is_new) {
                    found->second = own_rule();
                    sets.push_back(come | bit);
                }
                const expression rest = source_.pool.rule(found->second);
                ways.push_back(count == 0 ? source_.pool.sequence({texts[value], rest})
                                          : source_.pool.sequence({comma_, texts[value], rest}));
            }
            if (sets.size() > most_sets) {
                return false;
            }
            source_.rules[rules.at(come)].body = source_.pool.choice(ways);
        }
        items = source_.pool.rule(rules.at(0));
        return true;
    }
    [[nodiscard]] expression text_of(const finite_values::value& one) {
        if (one.is == finite_values::kind::string) {
            return quoted_text(source_.pool.language(json_string_body(words_automaton({one.texts.front()}))));
        }
        std::vector<expression> ways;
        for (const std::string& text : one.texts) {
            ways.push_back(source_.pool.literal(text));
        }
        return source_.pool.choice(ways);
    }
    static constexpr std::size_t most_unique = 24; ///< values, of which
    static constexpr std::size_t most_sets = 2048; ///< so many sets may come together

    /// Items of which some meet `contains`: a rule for every number of items and of those. Items that may be too many
    /// must not meet it.
    [[nodiscard]] bool containing_items(const schema_shape& shape, std::optional<expression>& items) {
        constexpr std::uint64_t most_states = 4096;
        if (shape.contained.size() != 1) {
            return refuse({"contains in more than one of the schemas that hold together is not supported"});
        }
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        if (wanted.least > wanted.most) {
            items = source_.pool.nothing();
            return true;
        }
        const std::uint64_t met = is_limited ? wanted.most : wanted.least;
        const std::uint64_t places = shape.most_items != unlimited ? std::uint64_t{shape.most_items}
                                                                   : (std::max)(std::uint64_t{shape.least_items},
                                                                                std::uint64_t{prefix_of(shape)} + 1);
        if ((places + 1) * (met + 1) > most_states) {
            return true;
        }
        return containing_rules(shape, static_cast<std::uint32_t>(places), static_cast<std::uint32_t>(met), items);
    }
    [[nodiscard]] bool containing_rules(const schema_shape& shape, std::uint32_t places, std::uint32_t met,
                                        std::optional<expression>& items) {
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        const bool is_endless = shape.most_items == unlimited;
        // Rules that the reader does not ask for have no demands: they are kept apart from the others.
        std::vector<std::uint32_t> rules;
        for (std::uint64_t i = 0; i < (std::uint64_t{places} + 1) * (met + 1); ++i) {
            rules.push_back(own_rule());
        }
        const auto rule_at = [&](std::uint32_t place, std::uint32_t count) {
            return rules[std::size_t{place} * (met + 1) + count];
        };
        for (std::uint32_t place = 0; place <= places; ++place) {
            demands plain = demands_of_item(shape, place);
            demands hit = plain;
            hit.push_back(wanted.what);
            if (is_limited) {
                const bool is_negated = wanted.what.kind == demand_kind::negated;
                plain.push_back({is_negated ? demand_kind::schema : demand_kind::negated, wanted.what.place});
            }
            const std::uint32_t next = place < places ? place + 1 : place;
            for (std::uint32_t count = 0; count <= met; ++count) {
                std::vector<expression> ways;
                if (place >= shape.least_items && count >= wanted.least) {
                    ways.push_back(source_.pool.empty());
                }
                const bool has_more = is_endless || place < shape.most_items;
                const auto add = [&](const demands& all, std::uint32_t then) {
                    const expression item = value_of(all);
                    const expression rest = source_.pool.rule(rule_at(next, then));
                    ways.push_back(place == 0 ? source_.pool.sequence({item, rest})
                                              : source_.pool.sequence({comma_, item, rest}));
                };
                if (has_more) {
                    add(plain, count);
                }
                if (has_more && (count < met || !is_limited)) {
                    add(hit, (std::min)(count + 1, met));
                }
                source_.rules[rule_at(place, count)].body = source_.pool.choice(ways);
            }
        }
        items = source_.pool.rule(rule_at(0, 0));
        return true;
    }
    /// A rule whose body is made at once. It takes a number among those that are wanted, for which nothing is to be
    /// done.
    [[nodiscard]] std::uint32_t own_rule() {
        wanted_.push_back(nullptr);
        source_.rules.push_back({"items", 0});
        return static_cast<std::uint32_t>(source_.rules.size() - 1);
    }

    schema_reader reader_;
    std::string_view name_;
    const schema_options& options_;
    automaton any_text_;
    grammar_source source_;
    std::optional<expression> any_string_;
    std::map<std::string_view, expression> plain_numbers_; // without bounds, by their pattern
    expression comma_ = 0;
    expression colon_ = 0;
    std::uint32_t at_fault_ = 0;
    std::vector<std::string> key_order_; // of the rule that is compiled
    std::map<demands, std::uint32_t> rules_;
    std::vector<const demands*> wanted_; // per rule: what its values have to meet
};

} // namespace detail

namespace detail {

/// grammar::json_schema with a text in front and one behind.
[[nodiscard]] inline result<grammar> json_schema_between(std::string_view before, std::string_view after,
                                                         std::string_view schema, const schema_options& options,
                                                         std::string_view name) {
    return guarded([&]() -> result<grammar> {
        if (schema.size() > most_source_bytes) {
            return error_saying(errc::bad_schema,
                                {name, ": ", schema.size(), " bytes, and at most ", most_source_bytes, " are read"});
        }
        constexpr std::uint32_t most_nested = 512;
        auto text = json_document::parse(schema, name, {.depth = most_nested});
        return text ? schema_compiler(*text, name, options).run(before, after) : failed(text);
    });
}

} // namespace detail

inline result<grammar> grammar::json_schema(std::string_view schema, const schema_options& options,
                                            std::string_view name) {
    return detail::json_schema_between({}, {}, schema, options, name);
}
inline result<grammar> grammar::json_schema(std::string_view schema) {
    return grammar::json_schema(schema, schema_options{});
}

} // namespace bitnet::inline BITNET_ABI

#endif
