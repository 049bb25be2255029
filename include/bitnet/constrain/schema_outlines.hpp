// SPDX-License-Identifier: MIT
// schema_outlines: what is easily known of the values of schemas, to tell them apart.
#ifndef BITNET_CONSTRAIN_SCHEMA_OUTLINES_HPP
#define BITNET_CONSTRAIN_SCHEMA_OUTLINES_HPP

#include <bitnet/constrain/number_language.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Tells which schemas have no value in common, as far as that is easily known.
class schema_outlines {
public:
    /// Borrows the source.
    explicit schema_outlines(schema_source& in) : in_(in) {}

    [[nodiscard]] bool are_disjoint(std::uint32_t a, std::uint32_t b, int depth = 0) {
        const outline& x = outline_of(a);
        const outline& y = outline_of(b);
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

private:
    /// What is easily known of a schema's values.
    struct outline {
        std::uint32_t values = set_all;
        std::optional<std::set<std::string>> scalars; ///< the only values, as JSON
        std::set<std::string> required;
        std::map<std::string, std::uint32_t> properties;
        bool is_closed = false;
    };
    /// Made once: oneOf compares each of its schemas with all others.
    [[nodiscard]] const outline& outline_of(std::uint32_t place) {
        const auto [found, is_new] = outlines_.try_emplace(place);
        if (is_new) {
            found->second = made_of(place);
        }
        return found->second;
    }
    [[nodiscard]] outline made_of(std::uint32_t place) {
        outline made;
        for (int depth = 0; depth < 16; ++depth) {
            if (const auto constant = in_.document().child(place, "const")) {
                made.scalars = scalars_of({*constant});
            } else if (const auto list = in_.document().child(place, "enum")) {
                made.scalars = scalars_of(in_.document().children(*list));
            }
            std::uint32_t values = 0;
            const auto type = in_.document().child(place, "type");
            const bool is_typed = type && in_.read_types_quietly(*type, values);
            made.values &= is_typed ? values : set_all;
            const auto required = in_.value(place).find("required");
            for (const json_value key : required ? required->elements() : in_.value(place).elements()) {
                made.required.emplace(key.as_string().value_or(""));
            }
            if (const auto properties = in_.document().child(place, "properties")) {
                for (const auto [key, member] : in_.value(*properties).members()) {
                    made.properties.emplace(key, *in_.document().child(*properties, key));
                }
            }
            const auto others = in_.value(place).find("additionalProperties");
            made.is_closed = made.is_closed || (others && !others->as_bool().value_or(true) &&
                                                !in_.value(place).find("patternProperties"));
            const auto reference = in_.value(place).find("$ref");
            const auto text = reference ? reference->as_string() : std::nullopt;
            const auto target = text ? in_.document().referred(place, *text) : std::nullopt;
            if (!target || made.is_closed) {
                break;
            }
            place = *target;
        }
        return made;
    }
    /// The values of a list as JSON texts; nullopt where one is an array or object.
    [[nodiscard]] std::optional<std::set<std::string>> scalars_of(const std::vector<std::uint32_t>& all) {
        std::set<std::string> made;
        for (const std::uint32_t one : all) {
            const json_value scalar = in_.value(one);
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

    schema_source& in_;
    std::map<std::uint32_t, outline> outlines_; ///< by place
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
