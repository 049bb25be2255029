// SPDX-License-Identifier: MIT
// schema_contained_items: expressions of the items of arrays of which some meet contains.
#ifndef BITNET_CONSTRAIN_SCHEMA_CONTAINED_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_CONTAINED_ITEMS_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/schema_items.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A rule for every number of items and of those that meet `contains`. Borrows the rules.
class schema_contained_items {
public:
    explicit schema_contained_items(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Items of which some meet `contains`; those that may be too many must not meet it. `items` stays empty where that
    /// is not enforced. \return whether to go on
    [[nodiscard]] bool make(const schema_shape& shape, std::optional<expression>& items) {
        constexpr std::uint64_t most_states = 4096;
        if (shape.contained.size() != 1) {
            return rules_.refuse({"contains in more than one of the schemas that hold together is not supported"});
        }
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        if (wanted.least > wanted.most) {
            items = pool_.nothing();
            return true;
        }
        const std::uint64_t met = is_limited ? wanted.most : wanted.least;
        const std::uint64_t places = shape.most_items != unlimited ? std::uint64_t{shape.most_items}
                                                                   : (std::max)(std::uint64_t{shape.least_items},
                                                                                std::uint64_t{prefix_of(shape)} + 1);
        if ((places + 1) * (met + 1) > most_states) {
            return rules_.refuse({"contains beside prefixItems or a number of items needs too many states"});
        }
        return rules_for(shape, static_cast<std::uint32_t>(places), static_cast<std::uint32_t>(met), items);
    }

private:
    [[nodiscard]] bool rules_for(const schema_shape& shape, std::uint32_t places, std::uint32_t met,
                                 std::optional<expression>& items) {
        const contained_part& wanted = shape.contained[0];
        const bool is_limited = wanted.most != unlimited;
        const bool is_endless = shape.most_items == unlimited;
        std::vector<std::uint32_t> rules;
        for (std::uint64_t i = 0; i < (std::uint64_t{places} + 1) * (met + 1); ++i) {
            rules.push_back(rules_.own_rule());
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
                    ways.push_back(pool_.empty());
                }
                const bool has_more = is_endless || place < shape.most_items;
                const auto add = [&](const demands& all, std::uint32_t then) {
                    const expression item = rules_.value_of(all);
                    const expression rest = pool_.rule(rule_at(next, then));
                    ways.push_back(place == 0 ? pool_.sequence({item, rest})
                                              : pool_.sequence({rules_.comma(), item, rest}));
                };
                if (has_more) {
                    add(plain, count);
                }
                if (has_more && (count < met || !is_limited)) {
                    add(hit, (std::min)(count + 1, met));
                }
                rules_.set_body(rule_at(place, count), pool_.choice(ways));
            }
        }
        items = pool_.rule(rule_at(0, 0));
        return true;
    }

    schema_rules& rules_;
    expression_pool& pool_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
