// SPDX-License-Identifier: MIT
// schema_rules: the rules of the grammar that a JSON Schema becomes, and the pieces that they share.
#ifndef BITNET_CONSTRAIN_SCHEMA_RULES_HPP
#define BITNET_CONSTRAIN_SCHEMA_RULES_HPP

#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/language_algebra.hpp>
#include <bitnet/constrain/schema_options.hpp>
#include <bitnet/constrain/schema_reader.hpp>
#include <bitnet/constrain/schema_shape.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets of demands get a rule each when they are first asked for, and its body later: wanted() says which is next.
/// Steps of those who make the bodies return whether to go on; if not, the error is in the reader's failure().
class schema_rules {
public:
    schema_rules(schema_reader& reader, const schema_options& options) noexcept : reader_(reader), options_(options) {}

    /// The first rule is that of the schema itself. \pre called once, before all others
    void begin() {
        source_.root = rule_of({{demand_kind::schema, 0}});
        comma_ = separator(",");
        colon_ = separator(":");
    }
    /// The grammar has `before` in front of what its first rule allows, and `after` behind it.
    void surround(std::string_view before, std::string_view after) {
        const expression json = source_.pool.rule(source_.root);
        source_.root = static_cast<std::uint32_t>(source_.rules.size());
        source_.rules.push_back(
            {"text", source_.pool.sequence({source_.pool.literal(before), json, source_.pool.literal(after)})});
    }
    [[nodiscard]] const grammar_source& source() const noexcept { return source_; }
    [[nodiscard]] schema_reader& reader() noexcept { return reader_; }
    [[nodiscard]] expression_pool& pool() noexcept { return source_.pool; }

    [[nodiscard]] std::size_t size() const noexcept { return wanted_.size(); }
    /// What the values of a rule have to meet; null for an own_rule().
    [[nodiscard]] const demands* wanted(std::size_t rule) const noexcept { return wanted_[rule]; }
    /// That its body is about to be made: which place to name where it is at fault as a whole.
    void begin_body(const demands& all) noexcept { at_fault_ = all.empty() ? 0 : all[0].place; }
    void set_body(std::uint32_t rule, expression body) noexcept { source_.rules[rule].body = body; }

    /// A value that meets all of them.
    [[nodiscard]] expression value_of(demands all) { return source_.pool.rule(rule_of(std::move(all))); }
    /// A rule whose body is made at once. It takes a number among those that are wanted, for which nothing is to be
    /// done, and is kept apart from the others.
    [[nodiscard]] std::uint32_t own_rule() {
        wanted_.push_back(nullptr);
        source_.rules.push_back({"items", 0});
        return static_cast<std::uint32_t>(source_.rules.size() - 1);
    }

    // Pieces that all share.

    [[nodiscard]] expression comma() const noexcept { return comma_; }
    [[nodiscard]] expression colon() const noexcept { return colon_; }
    [[nodiscard]] expression quoted_text(expression body) {
        return source_.pool.sequence({source_.pool.literal("\""), body, source_.pool.literal("\"")});
    }
    /// least to most parts with commas between them, and before the first unless it is first of all.
    [[nodiscard]] expression list_of(expression part, bool is_first, std::uint32_t least, std::uint32_t most) {
        if (least > most) {
            return source_.pool.nothing();
        }
        const expression further = source_.pool.sequence({comma_, part});
        if (!is_first || most == 0) {
            return source_.pool.repeat(further, least, most);
        }
        const std::uint32_t rest = most == unlimited ? unlimited : most - 1;
        const expression some =
            source_.pool.sequence({part, source_.pool.repeat(further, least == 0 ? 0 : least - 1, rest)});
        return least == 0 ? source_.pool.choice({source_.pool.empty(), some}) : some;
    }

    /// The place to name where a whole shape is at fault: that of the rule's first schema.
    [[nodiscard]] bool refuse(sentence_parts why) { return reader_.refuse(at_fault_, why); }
    [[nodiscard]] bool too_large() {
        return refuse({"its combination has more than ", most_language_states, " states"});
    }

private:
    [[nodiscard]] expression separator(std::string_view mark) {
        const expression made = source_.pool.literal(mark);
        return options_.spaces ? source_.pool.sequence({made, source_.pool.repeat(source_.pool.literal(" "), 0, 1)})
                               : made;
    }
    [[nodiscard]] std::uint32_t rule_of(demands all) {
        std::sort(all.begin(), all.end());
        all.erase(std::unique(all.begin(), all.end()), all.end());
        const auto [found, is_new] = rules_.try_emplace(std::move(all), static_cast<std::uint32_t>(wanted_.size()));
        if (is_new) { // rules and what is wanted of them have the same numbers
            wanted_.push_back(&found->first);
            source_.rules.push_back({"value", 0});
        }
        return found->second;
    }

    schema_reader& reader_;
    const schema_options& options_;
    grammar_source source_;
    expression comma_ = 0;
    expression colon_ = 0;
    std::uint32_t at_fault_ = 0;
    std::map<demands, std::uint32_t> rules_;
    std::vector<const demands*> wanted_; // per rule
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
