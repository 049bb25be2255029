// SPDX-License-Identifier: MIT
// schema_members: expressions of the members of a JSON object, of which keys are declared and others may come.
#ifndef BITNET_CONSTRAIN_SCHEMA_MEMBERS_HPP
#define BITNET_CONSTRAIN_SCHEMA_MEMBERS_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A member whose key a schema names.
struct declared_key {
    std::string name;
    expression member; ///< key, colon and value
    bool is_required;
};

/// In which order, and how many of them, members of an object come. Borrows the rules.
class schema_members {
public:
    explicit schema_members(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Declared members in order, then others, as many as the shape allows; nullopt where that takes too many states.
    [[nodiscard]] std::optional<expression> in_order(const schema_shape& shape, const std::vector<declared_key>& keys,
                                                     std::optional<expression> others) {
        constexpr std::size_t most_states = 200'000;
        const bool is_limited = shape.most_properties != unlimited;
        const std::size_t counted = // above which the number of members does not matter, or cannot be
            (std::min)(keys.size(),
                       std::size_t{is_limited ? shape.most_properties : (std::max)(shape.least_properties, 1u)});
        if ((keys.size() + 1) * (counted + 1) > most_states) {
            return std::nullopt;
        }
        std::vector<expression> next(counted + 1);
        for (std::uint32_t count = 0; count <= counted; ++count) {
            next[count] = other_list(shape, count, others);
        }
        for (std::size_t key = keys.size(); key-- > 0;) {
            std::vector<expression> made(counted + 1);
            for (std::size_t count = 0; count <= (std::min)(counted, key); ++count) {
                std::vector<expression> ways;
                if (count < shape.most_properties) {
                    const expression after = next[(std::min)(count + 1, counted)];
                    ways.push_back(count == 0 ? pool_.sequence({keys[key].member, after})
                                              : pool_.sequence({rules_.comma(), keys[key].member, after}));
                }
                if (!keys[key].is_required) {
                    ways.push_back(next[count]);
                }
                made[count] = pool_.choice(ways);
            }
            next = std::move(made);
        }
        return next[0];
    }
    /// Members in any order, others among them: by which of the keys have come.
    [[nodiscard]] expression unordered(const std::vector<declared_key>& keys, std::optional<expression> others) {
        const expression other = others.value_or(pool_.nothing());
        const expression further = pool_.repeat(pool_.sequence({rules_.comma(), other}), 0, unlimited);
        std::vector<expression> behind(std::size_t{1} << keys.size()); // per set of keys that have come
        std::vector<expression> ways;
        for (std::size_t come = behind.size(); come-- > 0;) {
            ways.clear();
            bool can_end = true;
            for (std::size_t key = 0; key < keys.size(); ++key) {
                const std::size_t bit = std::size_t{1} << key;
                can_end = can_end && ((come & bit) != 0 || !keys[key].is_required);
                if ((come & bit) == 0) {
                    ways.push_back(pool_.sequence({rules_.comma(), keys[key].member, behind[come | bit]}));
                }
            }
            if (can_end) {
                ways.push_back(pool_.empty());
            }
            behind[come] = pool_.sequence({further, pool_.choice(ways)});
        }
        std::vector<expression> first{pool_.sequence({other, behind[0]})};
        bool can_end = true;
        for (std::size_t key = 0; key < keys.size(); ++key) {
            can_end = can_end && !keys[key].is_required;
            first.push_back(pool_.sequence({keys[key].member, behind[std::size_t{1} << key]}));
        }
        if (can_end) {
            first.push_back(pool_.empty());
        }
        return pool_.choice(first);
    }

private:
    /// Members with keys that are not declared, behind `count` others.
    [[nodiscard]] expression other_list(const schema_shape& shape, std::uint32_t count,
                                        std::optional<expression> others) {
        if (count > shape.most_properties) {
            return pool_.nothing();
        }
        const std::uint32_t least = shape.least_properties > count ? shape.least_properties - count : 0;
        const std::uint32_t most = shape.most_properties == unlimited ? unlimited : shape.most_properties - count;
        return rules_.list_of(others.value_or(pool_.nothing()), count == 0, least, most);
    }

    schema_rules& rules_;
    expression_pool& pool_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
