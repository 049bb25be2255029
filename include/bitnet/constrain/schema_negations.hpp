// SPDX-License-Identifier: MIT
// schema_negations: what values have in common that are not valid.
#ifndef BITNET_CONSTRAIN_SCHEMA_NEGATIONS_HPP
#define BITNET_CONSTRAIN_SCHEMA_NEGATIONS_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/schema_draft.hpp>
#include <bitnet/constrain/schema_languages.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A value that is not valid breaks one keyword at least.
class schema_negations {
public:
    /// Borrows both.
    schema_negations(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    /// Lists of demands: a value is not valid by the schema at `place` where it meets one list.
    [[nodiscard]] bool negate(schema_draft& of, std::uint32_t place) {
        const json_value schema = in_.value(place);
        if (const auto all = schema.as_bool()) {
            of.shape.values = *all ? 0 : of.shape.values;
            return true;
        }
        if (!schema.is_object()) {
            return in_.malformed(
                place, {"a schema is an object, true or false, not of type ", bitnet::name_of(schema.type())});
        }
        std::vector<demands> lists;
        for (const auto [key, member] : schema.members()) {
            if (!negate_keyword(place, key, *in_.document().child(place, key), lists)) {
                return false;
            }
        }
        if (lists.empty()) {
            of.shape.values = 0;
        }
        of.want_one(std::move(lists));
        return true;
    }
    /// What a value is that breaks one keyword.
    [[nodiscard]] bool break_keyword(schema_shape& shape, std::uint32_t at, std::string_view key) {
        if (key == "pattern") {
            shape.values &= set_string;
            return languages_.add_pattern(shape.strings, at, true);
        }
        if (key == "multipleOf") {
            shape.values &= set_whole | set_fraction;
            return languages_.add_numbers(shape, at, true, {}, true);
        }
        if (key.find("imum") != std::string_view::npos) {
            number_relation wanted;
            wanted.less = key == "minimum" || key == "exclusiveMinimum";
            wanted.greater = !wanted.less;
            wanted.equal = key.substr(0, 9) == "exclusive" || languages_.is_strict(in_.document().at(at).parent, key);
            shape.values &= set_whole | set_fraction;
            return languages_.add_numbers(shape, at, false, wanted, false);
        }
        std::uint32_t count = 0;
        if (!in_.read_count(at, count)) {
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

private:
    [[nodiscard]] bool negate_keyword(std::uint32_t place, std::string_view key, std::uint32_t at,
                                      std::vector<demands>& lists) {
        constexpr std::string_view plain[] = {"minLength",     "maxLength",        "minItems",         "maxItems",
                                              "minProperties", "maxProperties",    "pattern",          "minimum",
                                              "maximum",       "exclusiveMinimum", "exclusiveMaximum", "multipleOf"};
        const bool is_of_draft_4 = key.substr(0, 9) == "exclusive" && in_.value(at).as_bool(); // see break_keyword()
        if (is_annotation(key) || key == "then" || key == "else" || is_of_draft_4) {
            return true;
        }
        if (std::find(std::begin(plain), std::end(plain), key) != std::end(plain)) {
            lists.push_back({{demand_kind::breaks, at, in_.name(key)}});
        } else if (key == "type") {
            lists.push_back({{demand_kind::not_type, at}});
        } else if (key == "const") {
            lists.push_back({{demand_kind::not_value, at}});
        } else if (key == "enum" && in_.value(at).is_array() && in_.value(at).size() != 0) {
            lists.push_back({{demand_kind::not_values, at}});
        } else if (key == "required" && in_.value(at).is_array()) {
            for (const json_value one : in_.value(at).elements()) {
                lists.push_back(
                    {{demand_kind::object}, {demand_kind::lacks, 0, in_.name(one.as_string().value_or(""))}});
            }
        } else if (key == "properties" && in_.value(at).is_object()) {
            for (const auto [one, member] : in_.value(at).members()) {
                lists.push_back({{demand_kind::breaks_key, *in_.document().child(at, one), in_.name(one)}});
            }
        } else {
            return negate_combination(place, key, at, lists);
        }
        return true;
    }
    /// Keywords that are known and cannot be enforced the other way round.
    static constexpr std::string_view not_negated[] = {"$ref",
                                                       "$dynamicRef",
                                                       "$dynamicAnchor",
                                                       "$recursiveRef",
                                                       "$recursiveAnchor",
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
            for (const std::uint32_t part : in_.document().children(at)) {
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
        if (key == "items" && !in_.value(at).is_array() && !in_.value(place).find("prefixItems")) {
            lists.push_back({{demand_kind::bad_item, at}});
            return true;
        }
        if (key == "contains" && !in_.value(place).find("minContains") && !in_.value(place).find("maxContains")) {
            lists.push_back({{demand_kind::no_item, at}});
            return true;
        }
        if (key == "$ref") {
            const auto target = in_.document().referred(at, in_.value(at).as_string().value_or(""));
            if (target && *target != place) {
                lists.push_back({{demand_kind::negated, *target}});
                return true;
            }
        }
        if (std::find(std::begin(not_negated), std::end(not_negated), key) == std::end(not_negated)) {
            in_.note_unknown(at);
            return true;
        }
        return in_.refuse(at, {"it stands in a schema that must not hold (not, if, oneOf), and there ", quoted{key},
                               " cannot be enforced"});
    }

    schema_source& in_;
    schema_languages& languages_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
