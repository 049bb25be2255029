// SPDX-License-Identifier: MIT
// schema_objects: expressions of the objects that a shape allows: which keys, and which value each may have.
#ifndef BITNET_CONSTRAIN_SCHEMA_OBJECTS_HPP
#define BITNET_CONSTRAIN_SCHEMA_OBJECTS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/json_string.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/schema_members.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_strings.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <cstddef>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules and the strings.
class schema_objects {
public:
    schema_objects(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), strings_(strings), members_(rules) {}

    /// Adds the objects of a shape to `parts`. \param key_order of the rule whose body this is for
    [[nodiscard]] bool add(const schema_shape& shape, std::span<const std::string> key_order,
                           std::vector<expression>& parts) {
        std::optional<automaton> names;
        if (!name_language(shape, names)) {
            return false;
        }
        key_set known;
        const std::vector<declared_key> keys = declared_keys(shape, key_order, names, known);
        std::optional<expression> others;
        if (!other_members(shape, known, names, others)) {
            return false;
        }
        // Where no schema lists properties, no order of keys is meant.
        constexpr std::size_t most_unordered = 6;
        const bool is_unordered = !rules_.reader().has_listed_keys() && keys.size() <= most_unordered &&
                                  shape.least_properties == 0 && shape.most_properties == unlimited &&
                                  !shape.is_one_value;
        auto members = is_unordered ? members_.unordered(keys, others) : members_.in_order(shape, keys, others);
        if (!members) {
            if (!rules_.refuse({"minProperties or maxProperties beside ", keys.size(), " keys need too many states"})) {
                return false;
            }
            schema_shape unlimited_shape = shape;
            unlimited_shape.least_properties = 0;
            unlimited_shape.most_properties = unlimited;
            members = members_.in_order(unlimited_shape, keys, others); // there are fewer keys than rules
        }
        parts.push_back(pool_.sequence({pool_.literal("{"), members.value_or(pool_.nothing()), pool_.literal("}")}));
        return true;
    }

private:
    using key_set = std::set<std::string, std::less<>>;

    /// Those that a schema names: in the order of the schema, then what only negations and constants name.
    [[nodiscard]] std::vector<declared_key> declared_keys(const schema_shape& shape,
                                                          std::span<const std::string> key_order,
                                                          const std::optional<automaton>& names, key_set& known) {
        const key_set required(shape.required.begin(), shape.required.end());
        const std::vector<listed_keys> listed = listed_keys_of(shape);
        std::vector<declared_key> keys;
        const auto declare = [&](const std::string& key) {
            if (known.insert(key).second) {
                const bool is_named = !names || names->accepts(key);
                const expression text = pool_.literal("\"" + json_string_text(key) + "\"");
                const expression value =
                    is_named ? rules_.value_of(demands_of_key(shape, listed, key)) : pool_.nothing();
                keys.push_back({key, pool_.sequence({text, rules_.colon(), value}), required.count(key) != 0});
            }
        };
        for (const std::string& key : key_order) {
            declare(key);
        }
        for (const object_part& part : shape.objects) {
            for (const auto& [key, what] : part.properties) {
                declare(key);
            }
        }
        for (const std::string& key : shape.required) {
            declare(key);
        }
        return keys;
    }
    /// What `properties` of one part ask for, by key: a list of them may be long.
    using listed_keys = std::multimap<std::string_view, demand>;

    [[nodiscard]] static std::vector<listed_keys> listed_keys_of(const schema_shape& shape) {
        std::vector<listed_keys> made;
        for (const object_part& part : shape.objects) {
            made.emplace_back(part.properties.begin(), part.properties.end());
        }
        return made;
    }
    [[nodiscard]] static demands demands_of_key(const schema_shape& shape, const std::vector<listed_keys>& listed,
                                                std::string_view key) {
        demands made;
        for (std::size_t i = 0; i < listed.size(); ++i) {
            const object_part& part = shape.objects[i];
            const auto [first, last] = listed[i].equal_range(key);
            bool is_met = first != last;
            for (auto at = first; at != last; ++at) {
                made.push_back(at->second);
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
        if (!rules_.reader().read(shape.property_names, shapes)) {
            return false;
        }
        automaton rest = strings_.any_text(); // what no shape takes
        for (const schema_shape& one : shapes) {
            auto content = (one.values & set_string) != 0 ? strings_.content_of(one) : automaton();
            if (content && (one.least_length != 0 || one.most_length != unlimited)) {
                content = of_length(*content, one.least_length, one.most_length);
            }
            auto left = content ? difference(rest, *content) : std::nullopt;
            if (!left) {
                return rules_.too_large();
            }
            rest = *std::move(left);
        }
        names = difference(strings_.any_text(), rest);
        return names || rules_.too_large();
    }

    /// A member whose key is not declared; nullopt where there is none.
    [[nodiscard]] bool other_members(const schema_shape& shape, const key_set& known,
                                     const std::optional<automaton>& names, std::optional<expression>& others) {
        const auto words = words_automaton({known.begin(), known.end()});
        auto keys = difference(names ? *names : strings_.any_text(), words);
        if (!keys) {
            return rules_.too_large();
        }
        std::vector<key_class> classes;
        classes.push_back({*std::move(keys), {}});
        for (const object_part& part : shape.objects) {
            for (const auto& [pattern, what] : part.patterns) {
                if (!split(classes, *pattern)) {
                    return rules_.too_large();
                }
            }
        }
        std::vector<expression> parts;
        for (const key_class& one : classes) {
            const demands all = demands_of_class(shape, one.is_met);
            const bool is_none = std::any_of(all.begin(), all.end(), [&](demand what) { return never_fits(what); });
            if (!is_none) {
                const expression text = rules_.quoted_text(pool_.language(json_string_body(one.keys)));
                parts.push_back(pool_.sequence({text, rules_.colon(), rules_.value_of(all)}));
            }
        }
        if (!parts.empty()) {
            others = pool_.choice(parts);
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
               (what.kind == demand_kind::schema &&
                !rules_.reader().document().at(what.place).value.as_bool().value_or(true));
    }

    schema_rules& rules_;
    expression_pool& pool_;
    const schema_strings& strings_;
    schema_members members_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
