// SPDX-License-Identifier: MIT
// schema_arrays: expressions of the arrays that a shape allows.
#ifndef BITNET_CONSTRAIN_SCHEMA_ARRAYS_HPP
#define BITNET_CONSTRAIN_SCHEMA_ARRAYS_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/schema_contained_items.hpp>
#include <bitnet/constrain/schema_items.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_strings.hpp>
#include <bitnet/constrain/schema_unique_items.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules and the strings.
class schema_arrays {
public:
    schema_arrays(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), unique_(rules, strings), contained_(rules) {}

    /// Adds the arrays of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.least_items > shape.most_items) {
            return true;
        }
        std::optional<expression> items;
        if (shape.unique_place && shape.most_items > 1 && !unique_.make(shape, items)) {
            return false;
        }
        if (!items && !shape.contained.empty() && !contained_.make(shape, items)) {
            return false;
        }
        const expression inside = items ? *items : plain_items(shape);
        parts.push_back(pool_.sequence({pool_.literal("["), inside, pool_.literal("]")}));
        return true;
    }

private:
    /// Items that nothing but their place tells apart.
    [[nodiscard]] expression plain_items(const schema_shape& shape) {
        const auto prefix = static_cast<std::uint32_t>((std::min)(prefix_of(shape), std::size_t{shape.most_items}));
        const std::uint32_t least = shape.least_items > prefix ? shape.least_items - prefix : 0;
        const std::uint32_t most = shape.most_items == unlimited ? unlimited : shape.most_items - prefix;
        expression next = rules_.list_of(rules_.value_of(demands_of_item(shape, prefix)), prefix == 0, least, most);
        for (std::uint32_t index = prefix; index-- > 0;) {
            const expression item = rules_.value_of(demands_of_item(shape, index));
            next = index == 0 ? pool_.sequence({item, next}) : pool_.sequence({rules_.comma(), item, next});
            if (index >= shape.least_items) {
                next = pool_.choice({pool_.empty(), next});
            }
        }
        return next;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    schema_unique_items unique_;
    schema_contained_items contained_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
