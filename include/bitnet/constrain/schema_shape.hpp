// SPDX-License-Identifier: MIT
// schema_shape: what several schemas together ask of a JSON value, by its type, without alternatives.
#ifndef BITNET_CONSTRAIN_SCHEMA_SHAPE_HPP
#define BITNET_CONSTRAIN_SCHEMA_SHAPE_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <compare>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets of JSON values, as bits: the booleans one by one, numbers by whether they are whole.
enum value_set : std::uint32_t {
    set_null = 1,
    set_true = 2,
    set_false = 4,
    set_whole = 8,
    set_fraction = 16,
    set_string = 32,
    set_array = 64,
    set_object = 128,
    set_all = 255,
};

/// The values that are one word of JSON.
inline constexpr std::pair<std::uint32_t, std::string_view> value_words[] = {
    {set_null, "null"}, {set_true, "true"}, {set_false, "false"}};

/// The values of a type's name, 0 for a name that is none.
[[nodiscard]] inline std::uint32_t values_of_type(std::string_view name) noexcept {
    constexpr std::pair<std::string_view, std::uint32_t> types[] = {
        {"null", set_null},     {"boolean", set_true | set_false},
        {"integer", set_whole}, {"number", set_whole | set_fraction},
        {"string", set_string}, {"array", set_array},
        {"object", set_object}};
    for (const auto& [type, values] : types) {
        if (type == name) {
            return values;
        }
    }
    return 0;
}

/// One demand on a value, or on its parts.
enum class demand_kind : std::uint8_t {
    nothing_fits, ///< false
    schema,       ///< valid by the schema at `place`
    negated,      ///< not valid by it
    value,        ///< equal to the value at `place`
    scalars,      ///< one of the values at `place`, those that are no arrays and objects
    not_values,   ///< none of the values of the array at `place`
    not_value,    ///< not the value at `place`
    not_type,     ///< not of the type or types at `place`
    lacks,        ///< if an object, without the key `name`
    has_all,      ///< if an object, with the keys at `place`
    has,          ///< if an object, with the key `name`
    object,       ///< an object
    breaks_key,   ///< an object with the key `name`, whose value is not valid by the schema at `place`
    bad_item,     ///< an array with an item that is not valid by the schema at `place`
    no_item,      ///< an array without an item that is valid by it
    breaks,       ///< not what the keyword `name` at `place` says
};

struct demand {
    demand_kind kind;
    std::uint32_t place = 0;
    std::uint32_t name = 0; ///< of a list of names

    [[nodiscard]] auto operator<=>(const demand&) const noexcept = default;
};

using demands = std::vector<demand>;
using shared_language = std::shared_ptr<const automaton>;

/// properties, patternProperties and additionalProperties of one schema.
struct object_part {
    std::vector<std::pair<std::string, demand>> properties;
    std::vector<std::pair<shared_language, demand>> patterns;
    std::optional<demand> additional; ///< of keys that are not among those
};

/// prefixItems and items of one schema.
struct array_part {
    demands prefix;
    std::optional<demand> rest;
};

/// contains: so many elements meet the demand.
struct contained_part {
    demand what;
    std::uint32_t least;
    std::uint32_t most;
};

struct schema_shape {
    std::uint32_t values = set_all;
    std::vector<shared_language> strings; ///< all of them hold
    std::uint32_t least_length = 0;
    std::uint32_t most_length = unlimited;
    std::vector<shared_language> numbers;
    std::vector<object_part> objects;
    std::vector<std::string> required;
    std::uint32_t least_properties = 0;
    std::uint32_t most_properties = unlimited;
    demands property_names;
    bool is_one_value = false; ///< of objects, those that equal one: in its order
    std::vector<array_part> arrays;
    std::uint32_t least_items = 0;
    std::uint32_t most_items = unlimited;
    std::vector<contained_part> contained;
    std::optional<std::uint32_t> unique_place; ///< where uniqueItems is asked for
    /// Schemas whose keywords are yet to be met: what they ask for depends on which others hold.
    std::vector<std::uint32_t> unevaluated_properties;
    std::vector<std::uint32_t> unevaluated_items;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
