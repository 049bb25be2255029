// SPDX-License-Identifier: MIT
// expression_pool: what all readers of grammars make: expressions over bytes, and rules that call each other.
#ifndef BITNET_CONSTRAIN_EXPRESSION_HPP
#define BITNET_CONSTRAIN_EXPRESSION_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/code_point_class.hpp>
#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// An expression of a pool; those it is made of have smaller numbers.
using expression = std::uint32_t;

enum class expression_kind : std::uint8_t {
    nothing,  ///< no text at all
    literal,  ///< one text, perhaps empty
    language, ///< the texts of an automaton
    counted,  ///< the texts of an automaton that count from `low` to `high`
    sequence, ///< its parts in order
    choice,   ///< one of its parts
    repeat,   ///< its part, `low` to `high` times
    rule,     ///< a text of rule `low`
};

/// How often repeat and counted may go on at most: no limit.
inline constexpr std::uint32_t unlimited = 0xffffffffu;
/// The largest number of a repetition.
inline constexpr std::uint32_t largest_count = 0x7fffffffu;

struct expression_node {
    expression_kind kind;
    std::uint32_t first; ///< of parts, characters or automata
    std::uint32_t size;  ///< parts or characters
    std::uint32_t low;
    std::uint32_t high;
};

/// The expressions of one grammar.
class expression_pool {
public:
    [[nodiscard]] expression nothing() { return add({expression_kind::nothing, 0, 0, 0, 0}); }
    [[nodiscard]] expression empty() { return literal({}); }
    [[nodiscard]] expression literal(std::string_view text) {
        const auto first = static_cast<std::uint32_t>(characters_.size());
        characters_ += text;
        return add({expression_kind::literal, first, static_cast<std::uint32_t>(text.size()), 0, 0});
    }
    [[nodiscard]] expression language(automaton texts) {
        automata_.push_back(std::move(texts));
        return add({expression_kind::language, static_cast<std::uint32_t>(automata_.size() - 1), 0, 0, 0});
    }
    [[nodiscard]] expression one_of(code_point_class set) { return language(utf8_automaton(std::move(set))); }
    /// `high` is in the count edges of `texts`. \param step_bytes the most bytes that one count takes
    [[nodiscard]] expression counted(automaton texts, std::uint32_t low, std::uint32_t high, std::uint32_t step_bytes) {
        automata_.push_back(std::move(texts));
        const auto number = static_cast<std::uint32_t>(automata_.size() - 1);
        return add({expression_kind::counted, number, step_bytes, low, high});
    }
    [[nodiscard]] expression sequence(std::span<const expression> parts) {
        return parts.size() == 1 ? parts[0] : list(expression_kind::sequence, parts);
    }
    [[nodiscard]] expression choice(std::span<const expression> parts) {
        return parts.size() == 1 ? parts[0] : list(expression_kind::choice, parts);
    }
    [[nodiscard]] expression sequence(std::initializer_list<expression> parts) {
        return sequence(std::span<const expression>(parts.begin(), parts.size()));
    }
    [[nodiscard]] expression choice(std::initializer_list<expression> parts) {
        return choice(std::span<const expression>(parts.begin(), parts.size()));
    }
    /// `part` low to high times. Of a repetition of a repetition, one, where that is the same.
    [[nodiscard]] expression repeat(expression part, std::uint32_t low, std::uint32_t high) {
        const expression_node inner = nodes_[part];
        if (inner.kind == expression_kind::repeat) {
            if (const auto joined = product(inner, low, high)) {
                return repeat(parts_[inner.first], joined->first, joined->second);
            }
        }
        if (high == 0) {
            return empty();
        }
        if (low == 1 && high == 1) {
            return part;
        }
        parts_.push_back(part);
        return add({expression_kind::repeat, static_cast<std::uint32_t>(parts_.size() - 1), 1, low, high});
    }
    [[nodiscard]] expression rule(std::uint32_t number) { return add({expression_kind::rule, 0, 0, number, 0}); }

    [[nodiscard]] std::size_t size() const noexcept { return nodes_.size(); }
    [[nodiscard]] const expression_node& at(expression number) const noexcept { return nodes_[number]; }
    [[nodiscard]] std::span<const expression> parts(const expression_node& node) const noexcept {
        return has_parts(node) ? std::span(parts_).subspan(node.first, node.size) : std::span<const expression>();
    }
    [[nodiscard]] std::string_view text(const expression_node& node) const noexcept {
        return std::string_view(characters_).substr(node.first, node.size);
    }
    [[nodiscard]] const automaton& texts(const expression_node& node) const noexcept { return automata_[node.first]; }

private:
    [[nodiscard]] static bool has_parts(const expression_node& node) noexcept {
        return node.kind == expression_kind::sequence || node.kind == expression_kind::choice ||
               node.kind == expression_kind::repeat;
    }
    [[nodiscard]] expression add(expression_node node) {
        nodes_.push_back(node);
        return static_cast<expression>(nodes_.size() - 1);
    }
    [[nodiscard]] expression list(expression_kind kind, std::span<const expression> parts) {
        if (parts.empty()) {
            return kind == expression_kind::sequence ? empty() : nothing();
        }
        const auto first = static_cast<std::uint32_t>(parts_.size());
        parts_.insert(parts_.end(), parts.begin(), parts.end());
        return add({kind, first, static_cast<std::uint32_t>(parts.size()), 0, 0});
    }
    /// The bounds of (x{a,b}){low,high} as one repetition of x; nullopt where its counts leave gaps, or are too large.
    [[nodiscard]] static std::optional<std::pair<std::uint32_t, std::uint32_t>>
    product(const expression_node& inner, std::uint64_t low, std::uint64_t high) {
        const std::uint64_t a = inner.low;
        const std::uint64_t b = inner.high;
        if (low == high && high == 0) {
            return std::pair{0u, 0u};
        }
        // k rounds give k*a to k*b. The gap above k rounds closes where k*b + 1 >= (k + 1)*a, first of all for k = low.
        const bool is_open = b == unlimited;
        if (low != high && low == 0 && a > 1) {
            return std::nullopt;
        }
        if (low != high && !is_open && low * b + 1 < (low + 1) * a) {
            return std::nullopt;
        }
        const bool is_endless = high == unlimited || is_open;
        if (low * a > largest_count || (!is_endless && high * b > largest_count)) {
            return std::nullopt;
        }
        return std::pair{static_cast<std::uint32_t>(low * a),
                         is_endless && b != 0 ? unlimited : static_cast<std::uint32_t>(b == 0 ? 0 : high * b)};
    }

    std::vector<expression_node> nodes_;
    std::vector<expression> parts_;
    std::string characters_;
    std::vector<automaton> automata_;
};

/// A rule: its name, for errors, and what it stands for.
struct grammar_rule {
    std::string name;
    expression body = 0;
};

/// A grammar as it was read, not compiled yet.
struct grammar_source {
    expression_pool pool;
    std::vector<grammar_rule> rules;
    std::uint32_t root = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
