// SPDX-License-Identifier: MIT
// schema_evaluation: unevaluatedProperties and unevaluatedItems beside keywords that combine schemas.
#ifndef BITNET_CONSTRAIN_SCHEMA_EVALUATION_HPP
#define BITNET_CONSTRAIN_SCHEMA_EVALUATION_HPP

#include <bitnet/constrain/schema_draft.hpp>
#include <bitnet/constrain/schema_languages.hpp>
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
#include <set>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A draft without open choices says of each schema that applies to its value whether it holds. The parts that those
/// evaluate which do are therefore known, and what is left for an unevaluated* keyword is what additional* would be
/// left by one schema that has all these parts. Where a schema may hold unasked, and evaluate something, that is not
/// so: the keyword is refused.
class schema_evaluation {
public:
    /// Borrows both.
    schema_evaluation(schema_source& in, schema_languages& languages) : in_(in), languages_(languages) {}

    /// Whether drafts have to say of every schema of this anyOf whether it holds: see subsets().
    [[nodiscard]] bool needs_subsets(std::uint32_t place, std::uint32_t any_of) {
        const std::vector<std::uint32_t> parts = in_.document().children(any_of);
        const bool is_needed = in_.has_unevaluated() && parts.size() > 1 && parts.size() <= most_parts &&
                               std::any_of(parts.begin(), parts.end(), [&](std::uint32_t part) {
                                   return may_evaluate(part, of_objects) || may_evaluate(part, of_arrays);
                               });
        if (is_needed) {
            subsets_of_.insert(place);
        }
        return is_needed;
    }
    /// Demands for all sets of some schemas of an anyOf.
    [[nodiscard]] static std::vector<demands> subsets(const std::vector<std::uint32_t>& parts) {
        std::vector<demands> lists;
        for (std::size_t set = 1; set >> parts.size() == 0; ++set) {
            demands list;
            for (std::size_t i = 0; i < parts.size(); ++i) {
                if ((set >> i & 1) != 0) {
                    list.push_back({demand_kind::schema, parts[i]});
                }
            }
            lists.push_back(std::move(list));
        }
        return lists;
    }

    /// Adds to the draft's shape what its unevaluated* keywords ask for. \pre it has no choices left
    [[nodiscard]] bool meet(schema_draft& of) {
        for (const std::uint32_t place : of.shape.unevaluated_properties) {
            evaluated found;
            if (!collect(of, place, of_objects, found)) {
                return false;
            }
            if (!found.is_all) {
                found.members.additional = demand{demand_kind::schema, keyword_of(place, of_objects)};
                of.shape.objects.push_back(std::move(found.members));
            }
        }
        for (const std::uint32_t place : of.shape.unevaluated_items) {
            evaluated found;
            if (!collect(of, place, of_arrays, found)) {
                return false;
            }
            if (!found.is_all) {
                of.shape.arrays.push_back(
                    {std::move(found.prefix), demand{demand_kind::schema, keyword_of(place, of_arrays)}});
            }
        }
        return true;
    }

private:
    static constexpr std::size_t most_parts = 4; ///< of an anyOf

    enum parts_of : std::uint8_t { of_objects, of_arrays };
    struct evaluated {
        object_part members; ///< their demands are those that hold anyhow
        demands prefix;
        bool is_all = false;
    };

    [[nodiscard]] std::uint32_t keyword_of(std::uint32_t place, parts_of kind) {
        return *in_.document().child(place, kind == of_objects ? "unevaluatedProperties" : "unevaluatedItems");
    }
    [[nodiscard]] bool refuse(std::uint32_t place, parts_of kind, evaluated& found, std::string_view key) {
        found.is_all = true; // as far as this goes on, nothing more is asked for
        return in_.refuse(keyword_of(place, kind), {"beside ", quoted{key}, " it cannot be enforced here"});
    }

    /// What the schemas evaluate that hold and apply to the same value as the one at `place`, itself included.
    [[nodiscard]] bool collect(const schema_draft& of, std::uint32_t place, parts_of kind, evaluated& found) {
        std::set<std::uint32_t> met{place};
        std::vector<std::uint32_t> todo{place};
        while (!todo.empty() && !found.is_all) {
            const std::uint32_t at = todo.back();
            todo.pop_back();
            in_.count_steps(1);
            if (!add_own(at, place, kind, found)) {
                return false;
            }
            std::vector<std::uint32_t> applied;
            std::string_view unsure;
            for (const auto [key, member] : in_.value(at).members()) {
                if (!add_applied(of, at, key, kind, applied)) {
                    unsure = key;
                }
            }
            if (!unsure.empty() && !found.is_all) {
                return refuse(place, kind, found, unsure);
            }
            for (const std::uint32_t one : applied) {
                if (met.insert(one).second) {
                    todo.push_back(one);
                }
            }
        }
        return true;
    }

    /// What one schema evaluates by itself. \param place whose keyword it is for, and which is no part of that
    [[nodiscard]] bool add_own(std::uint32_t at, std::uint32_t place, parts_of kind, evaluated& found) {
        const json_value schema = in_.value(at);
        if (kind == of_objects) {
            found.is_all = found.is_all || schema.find("additionalProperties") ||
                           (at != place && schema.find("unevaluatedProperties"));
            return found.is_all || add_members(at, found.members);
        }
        const auto items = schema.find("items");
        const bool is_old = items && items->is_array();
        found.is_all = found.is_all || (items && !is_old) || (is_old && schema.find("additionalItems")) ||
                       (at != place && schema.find("unevaluatedItems"));
        const auto prefix = in_.document().child(at, is_old ? "items" : "prefixItems");
        const std::vector<std::uint32_t> first =
            prefix ? in_.document().children(*prefix) : std::vector<std::uint32_t>();
        for (std::size_t i = found.prefix.size(); i < first.size(); ++i) {
            found.prefix.push_back({demand_kind::schema, first[i]});
        }
        return true;
    }
    [[nodiscard]] bool add_members(std::uint32_t at, object_part& members) {
        if (const auto list = in_.document().child(at, "properties")) {
            for (const auto [key, member] : in_.value(*list).members()) {
                members.properties.emplace_back(key, demand{demand_kind::schema, *in_.document().child(*list, key)});
            }
        }
        if (const auto list = in_.document().child(at, "patternProperties")) {
            for (const auto [pattern, member] : in_.value(*list).members()) {
                const std::uint32_t schema = *in_.document().child(*list, pattern);
                std::vector<shared_language> made;
                if (!languages_.add_pattern_text(made, schema, pattern, false)) {
                    return false;
                }
                if (!made.empty()) {
                    members.patterns.emplace_back(made[0], demand{demand_kind::schema, schema});
                }
            }
        }
        return true;
    }

    /// The schemas of a keyword that apply to the same value and hold. \return false where one that is not known to
    /// hold may, and may evaluate something
    [[nodiscard]] bool add_applied(const schema_draft& of, std::uint32_t at, std::string_view key, parts_of kind,
                                   std::vector<std::uint32_t>& applied) {
        const auto evaluates = [&](std::uint32_t part) { return may_evaluate(part, kind); };
        const std::vector<std::uint32_t> parts = applied_by(at, key);
        if (key == "allOf" || key == "$ref") {
            applied.insert(applied.end(), parts.begin(), parts.end());
            return true;
        }
        if (key == "if") {
            return add_conditional(of, at, applied) || std::none_of(parts.begin(), parts.end(), evaluates);
        }
        if (key == "anyOf" || key == "oneOf") {
            std::copy_if(parts.begin(), parts.end(), std::back_inserter(applied), [&](std::uint32_t part) {
                return of.has_seen({demand_kind::schema, part});
            });
            const bool is_known =
                key == "oneOf" ? !in_.options().one_of_is_any_of : parts.size() == 1 || subsets_of_.count(at) != 0;
            return is_known || std::none_of(parts.begin(), parts.end(), evaluates);
        }
        if (key == "dependentSchemas" || key == "dependencies") {
            return add_dependent(of, at, key, kind, applied);
        }
        // Items are evaluated one by one by `contains`, and whatever dynamic references lead to is not known.
        return key != "$dynamicRef" && key != "$recursiveRef" && (key != "contains" || kind == of_objects);
    }
    /// \return whether the draft says if the condition holds
    [[nodiscard]] bool add_conditional(const schema_draft& of, std::uint32_t at, std::vector<std::uint32_t>& applied) {
        const std::uint32_t condition = *in_.document().child(at, "if");
        const bool holds = of.has_seen({demand_kind::schema, condition});
        if (!holds && !of.has_seen({demand_kind::negated, condition})) {
            return false;
        }
        if (holds) {
            applied.push_back(condition);
        }
        if (const auto next = in_.document().child(at, holds ? "then" : "else")) {
            applied.push_back(*next);
        }
        return true;
    }

    /// A schema that depends on a key: applies where the draft asks for the key. \return whether the draft says so, or
    /// that the key is not there
    [[nodiscard]] bool add_dependent(const schema_draft& of, std::uint32_t at, std::string_view key, parts_of kind,
                                     std::vector<std::uint32_t>& applied) {
        const std::uint32_t list = *in_.document().child(at, key);
        for (const auto [name, member] : in_.value(list).members()) {
            const std::uint32_t part = *in_.document().child(list, name);
            const bool is_there = of.has_seen({demand_kind::has, 0, in_.name(name)});
            if (is_there && of.has_seen({demand_kind::schema, part})) {
                applied.push_back(part);
            } else if (!of.has_seen({demand_kind::lacks, 0, in_.name(name)}) && may_evaluate(part, kind)) {
                return false;
            }
        }
        return true;
    }

    /// The schemas of a keyword that may apply to the same value.
    [[nodiscard]] std::vector<std::uint32_t> applied_by(std::uint32_t at, std::string_view key) {
        const std::uint32_t member = *in_.document().child(at, key);
        if (key == "allOf" || key == "anyOf" || key == "oneOf" || key == "dependentSchemas" || key == "dependencies") {
            return in_.document().children(member);
        }
        if (key == "$ref") {
            const auto target = in_.document().referred(member, in_.value(member).as_string().value_or(""));
            return target ? std::vector{*target} : std::vector<std::uint32_t>();
        }
        return key == "if" || key == "then" || key == "else" ? std::vector{member} : std::vector<std::uint32_t>();
    }
    /// Whether there are values of whose parts a schema evaluates some, as far as its keywords tell.
    [[nodiscard]] bool may_evaluate(std::uint32_t place, parts_of kind) {
        constexpr std::string_view members[] = {"properties", "patternProperties", "additionalProperties",
                                                "unevaluatedProperties"};
        constexpr std::string_view items[] = {"prefixItems", "items", "contains", "unevaluatedItems"};
        std::set<std::uint32_t> met{place};
        std::vector<std::uint32_t> todo{place};
        while (!todo.empty()) {
            const std::uint32_t at = todo.back();
            todo.pop_back();
            in_.count_steps(1);
            for (const auto [key, member] : in_.value(at).members()) {
                const auto& list = kind == of_objects ? members : items;
                if (std::find(std::begin(list), std::end(list), key) != std::end(list) || key == "$dynamicRef" ||
                    key == "$recursiveRef") {
                    return true;
                }
                for (const std::uint32_t one : applied_by(at, key)) {
                    if (met.insert(one).second) {
                        todo.push_back(one);
                    }
                }
            }
        }
        return false;
    }

    schema_source& in_;
    schema_languages& languages_;
    std::set<std::uint32_t> subsets_of_; ///< schemas whose anyOf became subsets()
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
