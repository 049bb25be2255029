// SPDX-License-Identifier: MIT
// schema_numbers: expressions of the numbers that a shape allows.
#ifndef BITNET_CONSTRAIN_SCHEMA_NUMBERS_HPP
#define BITNET_CONSTRAIN_SCHEMA_NUMBERS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <map>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules.
class schema_numbers {
public:
    explicit schema_numbers(schema_rules& rules) noexcept : rules_(rules), pool_(rules.pool()) {}

    /// Adds the numbers of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.numbers.empty()) {
            return add_plain(shape, parts);
        }
        auto numbers = numbers_of(shape);
        if (!numbers) {
            return rules_.too_large() && add_plain(shape, parts);
        }
        parts.push_back(pool_.language(*std::move(numbers)));
        return true;
    }
    /// Their language; nullopt where it has too many states.
    [[nodiscard]] static std::optional<automaton> numbers_of(const schema_shape& shape) {
        std::optional<automaton> numbers = regular(number_pattern(shape));
        for (const shared_language& language : shape.numbers) {
            numbers = numbers ? intersection(*numbers, *language) : std::nullopt;
        }
        return numbers;
    }

private:
    /// Numbers of the shape's types, whatever else it asks for.
    [[nodiscard]] bool add_plain(const schema_shape& shape, std::vector<expression>& parts) {
        const std::string_view pattern = number_pattern(shape);
        const auto [found, is_new] = plain_.try_emplace(pattern, 0);
        if (is_new) {
            found->second = pool_.language(regular(pattern).value_or(automaton()));
        }
        parts.push_back(found->second);
        return true;
    }
    [[nodiscard]] static std::string_view number_pattern(const schema_shape& shape) noexcept {
        const bool has_whole = (shape.values & set_whole) != 0;
        const bool has_fraction = (shape.values & set_fraction) != 0;
        return !has_fraction           ? "-?(0|[1-9][0-9]*)"
               : !has_whole            ? "-?(0|[1-9][0-9]*)\\.[0-9]*[1-9][0-9]*"
               : shape.numbers.empty() ? "-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?"
                                       : "-?(0|[1-9][0-9]*)(\\.[0-9]+)?";
    }
    /// \pre it is small and has no mistake
    [[nodiscard]] static std::optional<automaton> regular(std::string_view pattern) {
        expression_pool pool;
        const auto read = regex_reader(pattern, "number", pool, {}).run();
        return read ? language_of(pool, *read) : std::nullopt;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    std::map<std::string_view, expression> plain_; // without bounds, by their pattern
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
