// SPDX-License-Identifier: MIT
// compiled_grammar: the tables that a matcher runs over, and how many bytes each state is from the end of its rule.
#ifndef BITNET_CONSTRAIN_COMPILED_GRAMMAR_HPP
#define BITNET_CONSTRAIN_COMPILED_GRAMMAR_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <queue>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// A rule as states. A text of it is complete in a final state where the counter has reached `least`.
struct compiled_rule {
    std::uint32_t start = 0;      ///< state
    std::uint32_t least = 0;      ///< count, 0 where nothing is counted
    std::uint32_t step_bytes = 0; ///< the most bytes that one more count takes
    bool counts_itself = false;   ///< an automaton that counts, not a repetition
    bool is_nullable = false;     ///< the empty text is one; callers skip the call then
    std::uint32_t bytes = 0;      ///< of a shortest text, saturated
};

/// All rules of a grammar; their states are numbered together.
struct compiled_grammar {
    automaton states;
    std::vector<std::uint32_t> rule_of; ///< per state
    std::vector<std::uint32_t> to_end;  ///< per state: bytes to the end of its rule, whatever is counted; saturated
    std::vector<compiled_rule> rules;
    std::uint32_t root = 0;
};

/// Bytes to an end, saturated at a number that sums of a few cannot overflow.
inline constexpr std::uint32_t endless = 0x3fffffffu;

[[nodiscard]] constexpr std::uint32_t bytes_together(std::uint64_t a, std::uint64_t b) noexcept {
    return static_cast<std::uint32_t>((std::min)(a + b, std::uint64_t{endless}));
}

/// Computes to_end and compiled_rule::bytes: shortest paths in which a call costs the shortest text of its rule
/// (Knuth's generalisation of Dijkstra's algorithm). Nodes are all states, then all rules.
class distance_search {
public:
    explicit distance_search(compiled_grammar& grammar)
        : grammar_(grammar), states_(static_cast<std::uint32_t>(grammar.states.size())),
          bytes_(states_ + grammar.rules.size(), endless), uses_(bytes_.size(), none) {}

    void run() {
        for (std::uint32_t state = 0; state < states_; ++state) {
            link_state(state);
        }
        for (std::uint32_t rule = 0; rule < grammar_.rules.size(); ++rule) {
            link_rule(rule);
        }
        while (!queue_.empty()) {
            const auto [bytes, node] = queue_.top();
            queue_.pop();
            if (bytes == bytes_[node] && !is_settled_[node]) {
                is_settled_[node] = true;
                settle(node);
            }
        }
        for (std::uint32_t number = 0; number < grammar_.rules.size(); ++number) {
            compiled_rule& rule = grammar_.rules[number];
            rule.bytes = bytes_[states_ + number];
            const special_edge* const step = count_edge(rule);
            rule.step_bytes = step == nullptr ? rule.step_bytes : bytes_[step->target];
        }
        bytes_.resize(states_);
        grammar_.to_end = std::move(bytes_);
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    /// `to` takes times * bytes of `first` + bytes of `second` + plus.
    struct way {
        std::uint32_t to;
        std::uint32_t first;
        std::uint32_t second; ///< or none
        std::uint32_t times;
        std::uint32_t plus;
    };
    struct use {
        std::uint32_t way;
        std::uint32_t next;
    };

    void link_state(std::uint32_t state) {
        if (grammar_.states.is_final(state)) {
            reach(state, 0);
        }
        for (const byte_edge edge : grammar_.states.byte_edges(state)) {
            add({state, edge.target, none, 1, 1});
        }
        for (const special_edge edge : grammar_.states.special_edges(state)) {
            const bool is_call = edge.kind == special_kind::call || edge.kind == special_kind::tail_call;
            add({state, edge.target, is_call ? states_ + edge.value : none, 1, 0});
        }
    }

    /// The edge by which a repetition begins another round, where rounds have to be counted and their bytes are not
    /// known.
    [[nodiscard]] const special_edge* count_edge(const compiled_rule& rule) const noexcept {
        for (const special_edge& edge : grammar_.states.special_edges(rule.start)) {
            if (edge.kind == special_kind::count && rule.least != 0 && !rule.counts_itself) {
                return &edge;
            }
        }
        return nullptr;
    }
    void link_rule(std::uint32_t number) {
        const compiled_rule& rule = grammar_.rules[number];
        const std::uint32_t node = states_ + number;
        if (const special_edge* const step = count_edge(rule)) {
            add({node, step->target, rule.start, rule.least, 0});
        } else {
            const std::uint64_t counted = std::uint64_t{rule.least} * rule.step_bytes;
            add({node, rule.start, none, 1, bytes_together(counted, 0)});
        }
    }

    void add(way made) {
        const auto number = static_cast<std::uint32_t>(ways_.size());
        ways_.push_back(made);
        for (const std::uint32_t node : {made.first, made.second}) {
            if (node != none) {
                list_.push_back({number, uses_[node]});
                uses_[node] = static_cast<std::uint32_t>(list_.size() - 1);
            }
        }
    }

    void reach(std::uint32_t node, std::uint32_t bytes) {
        if (bytes < bytes_[node]) {
            bytes_[node] = bytes;
            queue_.push({bytes, node});
        }
    }

    void settle(std::uint32_t node) {
        for (std::uint32_t i = uses_[node]; i != none; i = list_[i].next) {
            const way& made = ways_[list_[i].way];
            if (is_settled_[made.first] && (made.second == none || is_settled_[made.second])) {
                const std::uint64_t second = made.second == none ? 0 : bytes_[made.second];
                reach(made.to, bytes_together(std::uint64_t{made.times} * bytes_[made.first], second + made.plus));
            }
        }
    }

    compiled_grammar& grammar_;
    std::uint32_t states_;
    std::vector<std::uint32_t> bytes_;
    std::vector<std::uint32_t> uses_;
    std::vector<bool> is_settled_ = std::vector<bool>(bytes_.size());
    std::vector<way> ways_;
    std::vector<use> list_;
    using entry = std::pair<std::uint32_t, std::uint32_t>;
    std::priority_queue<entry, std::vector<entry>, std::greater<>> queue_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
