// SPDX-License-Identifier: MIT
// schema_reader: from demands on a value to the shapes that meet them: references, combinations and negations resolved.
#ifndef BITNET_CONSTRAIN_SCHEMA_READER_HPP
#define BITNET_CONSTRAIN_SCHEMA_READER_HPP

#include <bitnet/constrain/schema_document.hpp>
#include <bitnet/constrain/schema_draft.hpp>
#include <bitnet/constrain/schema_evaluation.hpp>
#include <bitnet/constrain/schema_key_order.hpp>
#include <bitnet/constrain/schema_languages.hpp>
#include <bitnet/constrain/schema_negations.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_outlines.hpp>
#include <bitnet/constrain/schema_parts.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads a schema's keywords. Steps return whether to go on; if not, the error is in failure().
class schema_reader {
public:
    schema_reader(const json_document& text, std::string_view name, const schema_options& options)
        : in_(text, name, options), languages_(in_), parts_(in_, languages_), outlines_(in_),
          negations_(in_, languages_), evaluation_(in_, languages_), keys_(in_) {}
    schema_reader(schema_reader&&) = delete; // its parts borrow the source

    /// All shapes of values that meet `all`: alternatives that may overlap. Empty: no value does.
    [[nodiscard]] bool read(const demands& all, std::vector<schema_shape>& shapes) {
        schema_draft next;
        next.begin(all);
        std::vector<schema_draft> open; // whose first choices have lists left
        for (std::size_t made = 0;;) {
            if (!settle(next)) {
                return false;
            }
            if (next.shape.values != 0 && next.choices().empty()) {
                if (!evaluation_.meet(next)) {
                    return false;
                }
                shapes.push_back(std::move(next.shape));
            } else if (next.shape.values != 0) {
                made += next.choices().front().lists->size();
                if ((std::max)(made, next.choices().size()) > most_drafts) {
                    return too_many_drafts();
                }
                open.push_back(std::move(next));
            }
            if (open.empty()) {
                return true;
            }
            const bool is_last = open.back().is_at_last_fork();
            next = open.back().fork();
            if (is_last) {
                open.pop_back();
            }
        }
    }

    /// The keys that schemas of `all` name, in the order of the text: of `properties`, through what applies to the same
    /// value, and then those of `required`.
    [[nodiscard]] std::vector<std::string> key_order(const demands& all) { return keys_.of(all); }
    /// Whether some of them are named by `properties`.
    [[nodiscard]] bool has_listed_keys() const noexcept { return keys_.has_listed_keys(); }

    [[nodiscard]] error& failure() noexcept { return in_.failure(); }
    [[nodiscard]] std::vector<std::string>& notes() noexcept { return in_.notes(); }
    [[nodiscard]] schema_document& document() noexcept { return in_.document(); }
    [[nodiscard]] bool refuse(std::uint32_t place, sentence_parts why) { return in_.refuse(place, why); }

private:
    static constexpr std::size_t most_drafts = 4096;

    [[nodiscard]] bool too_many_drafts() {
        return set_error(in_.failure(), errc::grammar_budget, {in_.source_name(), ": "},
                         {"anyOf, oneOf and what becomes of them have more than ", most_drafts, " combinations"});
    }

    // -- demands --
    [[nodiscard]] bool settle(schema_draft& of) {
        while (const auto what = of.next()) {
            if ((what->kind == demand_kind::schema || what->kind == demand_kind::negated) && of.is_cycle()) {
                return in_.malformed(what->place,
                                     {"it refers to itself: whether a value is valid by it depends on whether it is"});
            }
            if (of.see(*what) && !meet(of, *what)) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] bool meet(schema_draft& of, demand what) {
        schema_shape& shape = of.shape;
        switch (what.kind) {
        case demand_kind::nothing_fits:
            shape.values = 0;
            return true;
        case demand_kind::schema:
            return meet_schema(of, what.place);
        case demand_kind::negated:
            return negations_.negate(of, what.place);
        case demand_kind::value:
            return meet_value(of, what.place);
        case demand_kind::scalars:
            return languages_.meet_scalars(of.shape, in_.document().children(what.place));
        case demand_kind::not_values:
            return languages_.avoid_values(of.shape, in_.document().children(what.place));
        case demand_kind::not_value:
            return languages_.avoid_values(of.shape, {what.place});
        case demand_kind::not_type: {
            std::uint32_t values = 0;
            const bool is_read = in_.read_types(what.place, values);
            shape.values &= ~values;
            return is_read;
        }
        case demand_kind::lacks: {
            object_part part;
            part.properties.emplace_back(in_.name_of(what), demand{demand_kind::nothing_fits});
            shape.objects.push_back(std::move(part));
            return true;
        }
        case demand_kind::has_all:
            return parts_.add_required(shape, what.place);
        case demand_kind::has:
            shape.required.push_back(in_.name_of(what));
            return true;
        case demand_kind::object:
            shape.values &= set_object;
            return true;
        case demand_kind::breaks_key: {
            object_part part;
            part.properties.emplace_back(in_.name_of(what), demand{demand_kind::negated, what.place});
            shape.objects.push_back(std::move(part));
            shape.required.push_back(in_.name_of(what));
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
            return negations_.break_keyword(shape, what.place, in_.name_of(what));
        }
        return true;
    }

    // -- keywords --
    [[nodiscard]] bool meet_schema(schema_draft& of, std::uint32_t place) {
        const json_value schema = in_.value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? of.shape.values : 0;
            return true;
        }
        if (!schema.is_object()) {
            return in_.malformed(
                place, {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        if (!parts_.meet_object_keywords(of.shape, place) || !parts_.meet_array_keywords(of.shape, place)) {
            return false;
        }
        for (const auto [key, member] : schema.members()) {
            const std::uint32_t at = *in_.document().child(place, key);
            if (!meet_keyword(of, place, key, at)) {
                return false;
            }
        }
        return true;
    }

    [[nodiscard]] bool meet_keyword(schema_draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        schema_shape& shape = of.shape;
        if (key == "type") {
            std::uint32_t values = 0;
            const bool is_read = in_.read_types(at, values);
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
            return in_.raise(at, least);
        }
        if (key == "maxLength" || key == "maxItems" || key == "maxProperties") {
            std::uint32_t& most = key == "maxLength"  ? shape.most_length
                                  : key == "maxItems" ? shape.most_items
                                                      : shape.most_properties;
            return in_.lower(at, most);
        }
        if (key == "pattern") {
            return languages_.add_counted_class(shape, at) || languages_.add_pattern(shape.strings, at, false);
        }
        if (key == "format") {
            return languages_.add_format(shape, at);
        }
        if (key == "minimum" || key == "maximum" || key == "exclusiveMinimum" || key == "exclusiveMaximum" ||
            key == "multipleOf") {
            return languages_.add_number_keyword(shape, place, key, at);
        }
        return meet_combination(of, place, key, at);
    }

    [[nodiscard]] bool meet_combination(schema_draft& of, std::uint32_t place, std::string_view key, std::uint32_t at) {
        if (key == "$ref") {
            return refer(of, at);
        }
        if (key == "allOf" || key == "anyOf" || key == "oneOf") {
            if (!in_.value(at).is_array() || in_.value(at).size() == 0) {
                return in_.malformed(at, {"a list of at least one schema is expected"});
            }
        }
        if (key == "allOf") {
            for (const std::uint32_t part : in_.document().children(at)) {
                of.want({demand_kind::schema, part});
            }
            return true;
        }
        if (key == "anyOf" || key == "oneOf") {
            std::vector<demands> lists;
            const std::vector<std::uint32_t> parts = in_.document().children(at);
            if (parts.size() > most_drafts) { // before oneOf compares each with all others
                return too_many_drafts();
            }
            for (const std::uint32_t part : parts) {
                lists.push_back({{demand_kind::schema, part}});
            }
            if (key == "anyOf" && evaluation_.needs_subsets(place, at)) {
                lists = evaluation_.subsets(parts);
            } else if (key == "oneOf") {
                exclude_others(at, lists);
            }
            of.want_one(std::move(lists));
            return true;
        }
        if (key == "not") {
            of.want({demand_kind::negated, at});
            return true;
        }
        if (key == "if") {
            return meet_if(of, place, at);
        }
        if (key == "dependentRequired" || key == "dependentSchemas" || key == "dependencies") {
            return meet_dependencies(of, at);
        }
        return meet_other(key, at);
    }

    /// Keywords that mean nothing by themselves, or that nobody knows.
    [[nodiscard]] bool meet_other(std::string_view key, std::uint32_t at) {
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
        if (key == "$dynamicRef" || key == "$recursiveRef") {
            return in_.refuse(at, {"dynamic references are not supported"});
        }
        if (key == "$dynamicAnchor" || key == "$recursiveAnchor") {
            return in_.refuse(at, {"dynamic anchors are not supported"});
        }
        const bool is_known =
            std::find(std::begin(read_elsewhere), std::end(read_elsewhere), key) != std::end(read_elsewhere) ||
            is_annotation(key);
        if (!is_known) {
            in_.note_unknown(at);
        }
        return true;
    }

    // -- values --
    [[nodiscard]] bool meet_enum(schema_draft& of, std::uint32_t at) {
        if (!in_.value(at).is_array()) {
            return in_.malformed(at, {"a list of values is expected"});
        }
        const std::vector<std::uint32_t> all = in_.document().children(at);
        std::vector<demands> lists{{{demand_kind::scalars, at}}};
        for (const std::uint32_t one : all) {
            if (in_.value(one).is_array() || in_.value(one).is_object()) {
                lists.push_back({{demand_kind::value, one}});
            }
        }
        if (lists.size() == 1) {
            return languages_.meet_scalars(of.shape, all);
        }
        of.want_one(std::move(lists));
        return true;
    }
    /// Arrays and objects that are one value: all parts are, and there are no others.
    [[nodiscard]] bool meet_value(schema_draft& of, std::uint32_t at) {
        const json_value whole = in_.value(at);
        if (whole.is_array()) {
            array_part part;
            for (const std::uint32_t element : in_.document().children(at)) {
                part.prefix.push_back({demand_kind::value, element});
            }
            of.shape.values &= set_array;
            of.shape.least_items = (std::max)(of.shape.least_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.most_items = (std::min)(of.shape.most_items, static_cast<std::uint32_t>(part.prefix.size()));
            of.shape.arrays.push_back(std::move(part));
            return true;
        }
        if (!whole.is_object()) {
            return languages_.meet_scalars(of.shape, {at});
        }
        object_part part;
        for (const auto [key, member] : whole.members()) {
            part.properties.emplace_back(key, demand{demand_kind::value, *in_.document().child(at, key)});
            of.shape.required.emplace_back(key);
        }
        part.additional = demand{demand_kind::nothing_fits};
        of.shape.values &= set_object;
        of.shape.is_one_value = true;
        of.shape.objects.push_back(std::move(part));
        return true;
    }

    // -- combinations --
    [[nodiscard]] bool refer(schema_draft& of, std::uint32_t at) {
        const auto reference = in_.value(at).as_string();
        if (!reference) {
            return in_.malformed(at, {"a reference is a string"});
        }
        const auto target = in_.document().referred(at, *reference);
        if (!target) {
            return set_error(
                in_.failure(), errc::unsupported_schema,
                {in_.source_name(), ": ", quoted{in_.document().pointer(at)}, ": "},
                {"the reference ", quoted{*reference}, " leads to nothing in this schema, and nothing else is read"});
        }
        of.want({demand_kind::schema, *target});
        return true;
    }
    [[nodiscard]] bool meet_if(schema_draft& of, std::uint32_t place, std::uint32_t at) {
        const auto yes = in_.document().child(place, "then");
        const auto no = in_.document().child(place, "else");
        if (!yes && !no && !in_.has_unevaluated()) {
            return true;
        }
        std::vector<demands> lists{{{demand_kind::schema, at}}, {{demand_kind::negated, at}}};
        if (yes) {
            lists[0].push_back({demand_kind::schema, *yes});
        }
        if (no) {
            lists[1].push_back({demand_kind::schema, *no});
        }
        of.want_one(std::move(lists));
        return true;
    }
    [[nodiscard]] bool meet_dependencies(schema_draft& of, std::uint32_t at) {
        if (!in_.value(at).is_object()) {
            return in_.malformed(at, {"an object is expected"});
        }
        for (const auto [key, member] : in_.value(at).members()) {
            const std::uint32_t then = *in_.document().child(at, key);
            const demand with{member.is_array() ? demand_kind::has_all : demand_kind::schema, then};
            demands list{with};
            if (in_.has_unevaluated()) { // which depends on whether the schema applies, not only on whether it holds
                list.insert(list.begin(), {{demand_kind::object}, {demand_kind::has, 0, in_.name(key)}});
            }
            of.want_one({{{demand_kind::lacks, 0, in_.name(key)}}, std::move(list)});
        }
        return true;
    }
    /// Of oneOf: each alternative excludes the others, but those that cannot be valid together with it anyhow.
    void exclude_others(std::uint32_t at, std::vector<demands>& lists) {
        if (in_.options().one_of_is_any_of) {
            return in_.note(sentence({quoted{in_.document().pointer(at)}, ": oneOf is taken as anyOf"}));
        }
        const std::vector<std::uint32_t> parts = in_.document().children(at);
        for (std::size_t i = 0; i < parts.size(); ++i) {
            for (std::size_t j = i + 1; j < parts.size(); ++j) {
                if (!outlines_.are_disjoint(parts[i], parts[j])) {
                    lists[i].push_back({demand_kind::negated, parts[j]});
                    lists[j].push_back({demand_kind::negated, parts[i]});
                }
            }
        }
    }

    schema_source in_;
    schema_languages languages_;
    schema_parts parts_;
    schema_outlines outlines_;
    schema_negations negations_;
    schema_evaluation evaluation_;
    schema_key_order keys_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
