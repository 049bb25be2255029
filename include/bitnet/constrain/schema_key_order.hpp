// SPDX-License-Identifier: MIT
// schema_key_order: the order in which schemas name the keys of an object.
#ifndef BITNET_CONSTRAIN_SCHEMA_KEY_ORDER_HPP
#define BITNET_CONSTRAIN_SCHEMA_KEY_ORDER_HPP

#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_source.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/io/json.hpp>

#include <cstdint>
#include <set>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The order in which schemas name the keys of an object.
class schema_key_order {
public:
    /// Borrows the source.
    explicit schema_key_order(schema_source& in) : in_(in) {}

    /// The keys that schemas of `all` name, in the order of the text: of `properties`, through what applies to the same
    /// value, and then those of `required`.
    [[nodiscard]] std::vector<std::string> of(const demands& all) {
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
            in_.count_steps(1);
            if (lists_of_keys_.count(place) != 0) {
                for (const auto [key, member] : in_.value(place).members()) {
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

private:
    /// What applies to the same value as a schema, the first on top; of `properties`, the list of keys itself.
    void add_applied(std::uint32_t place, std::vector<std::uint32_t>& todo, std::vector<std::string>& required) {
        std::vector<std::uint32_t> made;
        for (const auto [key, member] : in_.value(place).members()) {
            const std::uint32_t at = *in_.document().child(place, key);
            if (key == "properties") {
                lists_of_keys_.insert(at);
                made.push_back(at);
            } else if (key == "$ref") {
                const auto target = in_.document().referred(at, member.as_string().value_or(""));
                made.insert(made.end(), target ? 1 : 0, target.value_or(0));
            } else if (key == "allOf" || key == "anyOf" || key == "oneOf" || key == "dependentSchemas") {
                const auto parts = in_.document().children(at);
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

    schema_source& in_;
    std::set<std::uint32_t> lists_of_keys_; ///< values of `properties`
    bool has_listed_keys_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
