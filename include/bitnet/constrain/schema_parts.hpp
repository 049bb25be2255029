// SPDX-License-Identifier: MIT
// schema_parts: what keywords say about the parts of objects and arrays.
#ifndef BITNET_CONSTRAIN_SCHEMA_PARTS_HPP
#define BITNET_CONSTRAIN_SCHEMA_PARTS_HPP

#include <bitnet/constrain/schema_languages.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/json.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Adds to shapes what keywords of one schema say about the members of objects and the items of arrays.
class schema_parts {
public:
    /// Borrows both.
    schema_parts(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    [[nodiscard]] bool add_required(schema_shape& shape, std::uint32_t at) {
        if (!in_.value(at).is_array()) {
            return in_.malformed(at, {"a list of keys is expected"});
        }
        for (const json_value key : in_.value(at).elements()) {
            if (!key.as_string()) {
                return in_.malformed(at, {"the list holds something else than strings"});
            }
            shape.required.emplace_back(*key.as_string());
        }
        return true;
    }
    [[nodiscard]] bool meet_object_keywords(schema_shape& shape, std::uint32_t place) {
        object_part part;
        if (const auto at = in_.document().child(place, "properties")) {
            if (!in_.value(*at).is_object()) {
                return in_.malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : in_.value(*at).members()) {
                part.properties.emplace_back(key, demand{demand_kind::schema, *in_.document().child(*at, key)});
            }
        }
        if (const auto at = in_.document().child(place, "patternProperties")) {
            if (!in_.value(*at).is_object()) {
                return in_.malformed(*at, {"an object is expected"});
            }
            for (const auto [key, member] : in_.value(*at).members()) {
                const std::uint32_t schema = *in_.document().child(*at, key);
                std::vector<shared_language> made;
                if (!languages_.add_pattern_text(made, schema, key, false)) {
                    return false;
                }
                if (!made.empty()) {
                    part.patterns.emplace_back(made[0], demand{demand_kind::schema, schema});
                }
            }
        }
        const std::size_t unevaluated = shape.unevaluated_properties.size();
        if (const auto at = additional_properties(shape, place)) {
            part.additional = demand{demand_kind::schema, *at};
        } else if (in_.options().closed && !part.properties.empty() &&
                   unevaluated == shape.unevaluated_properties.size()) {
            part.additional = demand{demand_kind::nothing_fits};
        }
        if (const auto at = in_.document().child(place, "propertyNames")) {
            shape.property_names.push_back({demand_kind::schema, *at});
        }
        const auto required = in_.document().child(place, "required");
        if (required && !in_.value(*required).as_bool() && !add_required(shape, *required)) { // a boolean: of draft 3
            return false;
        }
        if (!part.properties.empty() || !part.patterns.empty() || part.additional) {
            shape.objects.push_back(std::move(part));
        }
        return true;
    }
    /// The schema of other keys; unevaluatedProperties where it means the same, which is kept for later otherwise.
    [[nodiscard]] std::optional<std::uint32_t> additional_properties(schema_shape& shape, std::uint32_t place) {
        const auto additional = in_.document().child(place, "additionalProperties");
        const auto unevaluated = in_.document().child(place, "unevaluatedProperties");
        if (!unevaluated || in_.value(*unevaluated).as_bool().value_or(false)) {
            return additional;
        }
        if (!additional && has_combinations(place)) {
            shape.unevaluated_properties.push_back(place);
            in_.set_unevaluated();
            return std::nullopt;
        }
        return additional ? additional : unevaluated;
    }
    [[nodiscard]] bool has_combinations(std::uint32_t place) const {
        const json_value schema = in_.value(place);
        for (const char* key : {"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas",
                                "dependencies", "contains"}) {
            if (schema.find(key)) {
                return true;
            }
        }
        return false;
    }

    [[nodiscard]] bool meet_array_keywords(schema_shape& shape, std::uint32_t place) {
        array_part part;
        auto prefix = in_.document().child(place, "prefixItems");
        auto rest = in_.document().child(place, "items");
        if (rest && in_.value(*rest).is_array()) { // of draft 2019 and before
            prefix = rest;
            rest = in_.document().child(place, "additionalItems");
        }
        if (prefix) {
            if (!in_.value(*prefix).is_array()) {
                return in_.malformed(*prefix, {"a list of schemas is expected"});
            }
            for (const std::uint32_t element : in_.document().children(*prefix)) {
                part.prefix.push_back({demand_kind::schema, element});
            }
        }
        const auto unevaluated = in_.document().child(place, "unevaluatedItems");
        if (unevaluated && !in_.value(*unevaluated).as_bool().value_or(false) && !rest) {
            if (has_combinations(place)) {
                shape.unevaluated_items.push_back(place);
                in_.set_unevaluated();
            } else {
                rest = unevaluated;
            }
        }
        if (rest) {
            part.rest = demand{demand_kind::schema, *rest};
        }
        if (!part.prefix.empty() || part.rest) {
            shape.arrays.push_back(std::move(part));
        }
        const auto unique = in_.document().child(place, "uniqueItems");
        if (unique && in_.value(*unique).as_bool().value_or(true)) {
            shape.unique_place = *unique;
        }
        return meet_contains(shape, place);
    }
    [[nodiscard]] bool meet_contains(schema_shape& shape, std::uint32_t place) {
        const auto what = in_.document().child(place, "contains");
        if (!what) {
            return true;
        }
        contained_part part{{demand_kind::schema, *what}, 1, unlimited};
        const auto least = in_.document().child(place, "minContains");
        const auto most = in_.document().child(place, "maxContains");
        if ((least && !in_.read_count(*least, part.least)) || (most && !in_.read_count(*most, part.most))) {
            return false;
        }
        shape.contained.push_back(part);
        return true;
    }

private:
    schema_source& in_;
    schema_languages& languages_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
