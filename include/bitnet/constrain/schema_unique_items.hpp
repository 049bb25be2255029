// SPDX-License-Identifier: MIT
// schema_unique_items: expressions of the items of arrays in which no value comes twice.
#ifndef BITNET_CONSTRAIN_SCHEMA_UNIQUE_ITEMS_HPP
#define BITNET_CONSTRAIN_SCHEMA_UNIQUE_ITEMS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/finite_values.hpp>
#include <bitnet/constrain/json_string.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/schema_items.hpp>
#include <bitnet/constrain/schema_numbers.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/constrain/schema_strings.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Items are told apart by which values have come: a rule for every set of these. Borrows the rules and the strings.
class schema_unique_items {
public:
    schema_unique_items(schema_rules& rules, const schema_strings& strings) noexcept
        : rules_(rules), pool_(rules.pool()), strings_(strings) {}

    /// Items of which no two are equal. \return whether to go on: not where the values are too many
    [[nodiscard]] bool make(const schema_shape& shape, std::optional<expression>& items) {
        finite_values all;
        std::vector<std::vector<std::size_t>> at_place; // the values that may stand there; the last one: and behind
        const std::size_t places = (std::min)(prefix_of(shape) + 1, std::size_t{shape.most_items});
        bool is_finite = shape.contained.empty();
        for (std::size_t place = 0; place < places && is_finite; ++place) {
            at_place.emplace_back();
            if (!add_values(demands_of_item(shape, place), all, at_place.back(), is_finite)) {
                return false;
            }
        }
        if (is_finite && unique_rules(shape, all, at_place, items)) {
            return true;
        }
        return rules_.reader().refuse(*shape.unique_place,
                                      {"that items are unique can be enforced where they are some of a few (up to ",
                                       most_unique, ") strings, numbers, booleans and null, or one item at most"});
    }

private:
    static constexpr std::size_t most_unique = 24; ///< values, of which
    static constexpr std::size_t most_sets = 2048; ///< so many sets may come together

    /// Adds the values that meet `wanted`, if they are few and have no parts.
    [[nodiscard]] bool add_values(const demands& wanted, finite_values& all, std::vector<std::size_t>& which,
                                  bool& is_finite) {
        std::vector<schema_shape> shapes;
        if (!rules_.reader().read(wanted, shapes)) {
            return false;
        }
        const auto add = [&](finite_values::kind is, const std::optional<automaton>& language) {
            const auto texts = language ? texts_of(*language, std::size_t{2} * most_unique) : std::nullopt;
            is_finite = is_finite && texts;
            for (std::size_t i = 0; is_finite && i < texts->size(); ++i) {
                which.push_back(all.add(is, (*texts)[i]));
            }
        };
        for (const schema_shape& shape : shapes) {
            is_finite = is_finite && (shape.values & (set_array | set_object)) == 0;
            for (const auto& [value, word] : value_words) {
                if ((shape.values & value) != 0) {
                    which.push_back(all.add(finite_values::kind::word, word));
                }
            }
            if ((shape.values & (set_whole | set_fraction)) != 0) {
                add(finite_values::kind::number,
                    shape.numbers.empty() ? std::nullopt : schema_numbers::numbers_of(shape));
            }
            if ((shape.values & set_string) != 0) {
                const bool is_any_length = shape.least_length == 0 && shape.most_length == unlimited;
                auto content = shape.strings.empty() ? std::nullopt : strings_.content_of(shape);
                add(finite_values::kind::string,
                    content && !is_any_length ? of_length(*content, shape.least_length, shape.most_length) : content);
            }
        }
        return true;
    }
    /// \return whether there are not too many sets
    [[nodiscard]] bool unique_rules(const schema_shape& shape, const finite_values& all,
                                    const std::vector<std::vector<std::size_t>>& at_place,
                                    std::optional<expression>& items) {
        if (all.size() > most_unique) {
            return false;
        }
        std::vector<expression> texts;
        for (std::size_t i = 0; i < all.size(); ++i) {
            texts.push_back(text_of(all[i]));
        }
        std::vector<std::uint32_t> sets{0}; // each with a rule
        std::map<std::uint32_t, std::uint32_t> rules{{0u, rules_.own_rule()}};
        for (std::size_t at = 0; at < sets.size(); ++at) {
            const std::uint32_t come = sets[at];
            const auto count = static_cast<std::size_t>(std::popcount(come));
            std::vector<expression> ways;
            if (count >= shape.least_items) {
                ways.push_back(pool_.empty());
            }
            std::uint32_t tried = count < shape.most_items ? come : ~0u;
            for (const std::size_t value : at_place[(std::min)(count, at_place.size() - 1)]) {
                const std::uint32_t bit = 1u << value;
                if ((tried & bit) != 0) {
                    continue;
                }
                tried |= bit;
                const auto [found, is_new] = rules.try_emplace(come | bit, 0);
                if (is_new) {
                    found->second = rules_.own_rule();
                    sets.push_back(come | bit);
                }
                const expression rest = pool_.rule(found->second);
                ways.push_back(count == 0 ? pool_.sequence({texts[value], rest})
                                          : pool_.sequence({rules_.comma(), texts[value], rest}));
            }
            if (sets.size() > most_sets) {
                return false;
            }
            rules_.set_body(rules.at(come), pool_.choice(ways));
        }
        items = pool_.rule(rules.at(0));
        return true;
    }
    [[nodiscard]] expression text_of(const finite_values::value& one) {
        if (one.is == finite_values::kind::string) {
            return rules_.quoted_text(pool_.language(json_string_body(words_automaton({one.texts.front()}))));
        }
        std::vector<expression> ways;
        for (const std::string& text : one.texts) {
            ways.push_back(pool_.literal(text));
        }
        return pool_.choice(ways);
    }

    schema_rules& rules_;
    expression_pool& pool_;
    const schema_strings& strings_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
