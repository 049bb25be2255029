// SPDX-License-Identifier: MIT
// schema_strings: expressions of the strings that a shape allows, by pattern and length.
#ifndef BITNET_CONSTRAIN_SCHEMA_STRINGS_HPP
#define BITNET_CONSTRAIN_SCHEMA_STRINGS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/json_string.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/schema_rules.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the rules.
class schema_strings {
public:
    explicit schema_strings(schema_rules& rules) : rules_(rules), pool_(rules.pool()), any_text_(any_utf8()) {}

    /// The language of all texts, without quotes and as they are before JSON escapes them.
    [[nodiscard]] const automaton& any_text() const noexcept { return any_text_; }
    /// Those of a shape of any length; nullopt where that has too many states.
    [[nodiscard]] std::optional<automaton> content_of(const schema_shape& shape) const {
        std::optional<automaton> made = any_text_;
        for (const shared_language& language : shape.strings) {
            made = made ? intersection(*made, *language) : std::nullopt;
        }
        return made;
    }

    /// Adds the strings of a shape to `parts`.
    [[nodiscard]] bool add(const schema_shape& shape, std::vector<expression>& parts) {
        if (shape.strings.empty() && shape.least_length == 0 && shape.most_length == unlimited) {
            return add_any(parts);
        }
        auto content = content_of(shape);
        if (!content) {
            return rules_.too_large() && add_any(parts);
        }
        if (shape.least_length > shape.most_length || content->size() == 0) {
            return true;
        }
        if (shape.least_length == 0 && shape.most_length == unlimited) {
            parts.push_back(rules_.quoted_text(pool_.language(json_string_body(*content))));
            return true;
        }
        return add_of_length(shape, *content, parts);
    }

private:
    [[nodiscard]] bool add_any(std::vector<expression>& parts) {
        any_string_ = any_string_ ? any_string_ : rules_.quoted_text(pool_.language(json_string_body(any_text_)));
        parts.push_back(*any_string_);
        return true;
    }
    /// \pre the length is limited, and something has it
    [[nodiscard]] bool add_of_length(const schema_shape& shape, const automaton& content,
                                     std::vector<expression>& parts) {
        const character_counts counts(content);
        const bool is_small = shape.most_length <= 64 && content.size() <= 64;
        if (!is_small && counts.is_open_everywhere()) {
            if (counts.fewest(0) <= shape.most_length) {
                automaton body = counting_string_body(content, counts, shape.most_length);
                const std::uint32_t least = shape.least_length;
                parts.push_back(rules_.quoted_text(
                    pool_.counted(std::move(body), least, shape.most_length, counts.is_plain() ? 1 : 6)));
            }
            return true;
        }
        const auto bounded = of_length(content, shape.least_length, shape.most_length);
        if (!bounded) {
            return rules_.too_large() && add_any(parts);
        }
        parts.push_back(rules_.quoted_text(pool_.language(json_string_body(*bounded))));
        return true;
    }

    schema_rules& rules_;
    expression_pool& pool_;
    automaton any_text_;
    std::optional<expression> any_string_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
