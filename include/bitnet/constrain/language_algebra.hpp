// SPDX-License-Identifier: MIT
// Operations on the languages of deterministic automata without calls: intersection, difference, word lists, machines.
#ifndef BITNET_CONSTRAIN_LANGUAGE_ALGEBRA_HPP
#define BITNET_CONSTRAIN_LANGUAGE_ALGEBRA_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/code_point_class.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/expression_task.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Of each state, whether an end can be reached from it.
[[nodiscard]] inline std::vector<bool> live_states(const automaton& whole) {
    std::vector<std::vector<std::uint32_t>> ways_in(whole.size());
    std::vector<std::uint32_t> todo;
    std::vector<bool> is_live(whole.size());
    for (std::uint32_t state = 0; state < whole.size(); ++state) {
        for (const byte_edge edge : whole.byte_edges(state)) {
            ways_in[edge.target].push_back(state);
        }
        for (const special_edge& edge : whole.special_edges(state)) {
            ways_in[edge.target].push_back(state);
        }
        if (whole.is_final(state)) {
            is_live[state] = true;
            todo.push_back(state);
        }
    }
    while (!todo.empty()) {
        const std::uint32_t state = todo.back();
        todo.pop_back();
        for (const std::uint32_t from : ways_in[state]) {
            if (!is_live[from]) {
                is_live[from] = true;
                todo.push_back(from);
            }
        }
    }
    return is_live;
}

/// The states of an automaton from which an end can be reached, renumbered; none where the start is not.
[[nodiscard]] inline automaton trimmed(const automaton& whole) {
    const std::vector<bool> is_live = live_states(whole);
    automaton made;
    if (whole.size() == 0 || !is_live[0]) {
        return made;
    }
    std::vector<std::uint32_t> number(whole.size(), 0);
    for (std::uint32_t state = 0, next = 0; state < whole.size(); ++state) {
        number[state] = is_live[state] ? next++ : automaton::no_state;
    }
    for (std::uint32_t state = 0; state < whole.size(); ++state) {
        if (!is_live[state]) {
            continue;
        }
        made.add_state(whole.is_final(state));
        for (const byte_edge edge : whole.byte_edges(state)) {
            if (is_live[edge.target]) {
                made.add(byte_edge{edge.low, edge.high, number[edge.target]});
            }
        }
        for (const special_edge& edge : whole.special_edges(state)) {
            if (is_live[edge.target]) {
                made.add(special_edge{edge.kind, edge.value, number[edge.target]});
            }
        }
    }
    return made;
}

/// Moore's partition refinement.
class state_merging {
public:
    explicit state_merging(const automaton& whole) : whole_(whole), block_(whole.size()) {}

    /// The smallest automaton of the language, or the same one where that would take long to find.
    [[nodiscard]] automaton run() {
        constexpr std::size_t most_states = 8192;
        constexpr int most_rounds = 100;
        if (whole_.size() > most_states) {
            return whole_;
        }
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            block_[state] = whole_.is_final(state) == whole_.is_final(0) ? 0 : 1;
        }
        std::size_t blocks = 0;
        for (int round = 0; round < most_rounds; ++round) {
            const std::size_t refined = refine();
            if (refined == blocks) {
                return merged(blocks);
            }
            blocks = refined;
        }
        return whole_;
    }

private:
    using signature = std::vector<std::uint64_t>;

    /// Splits the blocks by where their states lead. \return their number
    std::size_t refine() {
        std::map<signature, std::uint32_t> numbers;
        std::vector<std::uint32_t> next(whole_.size());
        signature seen;
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            seen.assign(1, block_[state]);
            for (const byte_edge edge : whole_.byte_edges(state)) {
                const std::uint64_t target = block_[edge.target];
                const bool continues = seen.size() > 1 && (seen.back() & 0xffffffffu) == target &&
                                       ((seen.back() >> 32) & 0xff) + 1 == edge.low;
                if (continues) {
                    seen.back() = (seen.back() & ~(std::uint64_t{0xff} << 32)) | std::uint64_t{edge.high} << 32;
                } else {
                    seen.push_back(std::uint64_t{edge.low} << 40 | std::uint64_t{edge.high} << 32 | target);
                }
            }
            next[state] = numbers.try_emplace(seen, static_cast<std::uint32_t>(numbers.size())).first->second;
        }
        block_ = std::move(next); // numbered in the order of their first states: that of the start is 0
        return numbers.size();
    }
    [[nodiscard]] automaton merged(std::size_t blocks) const {
        automaton made;
        for (std::uint32_t state = 0; state < whole_.size(); ++state) {
            if (block_[state] != made.size() || made.size() == blocks) {
                continue; // not the first of its block
            }
            made.add_state(whole_.is_final(state));
            std::optional<byte_edge> open;
            for (const byte_edge edge : whole_.byte_edges(state)) {
                const byte_edge moved{edge.low, edge.high, block_[edge.target]};
                if (open && open->target == moved.target && open->high + 1 == moved.low) {
                    open->high = moved.high;
                    continue;
                }
                if (open) {
                    made.add(*open);
                }
                open = moved;
            }
            if (open) {
                made.add(*open);
            }
        }
        return made;
    }

    const automaton& whole_;
    std::vector<std::uint32_t> block_; // per state
};

[[nodiscard]] inline automaton minimised(const automaton& whole) { return state_merging(trimmed(whole)).run(); }

/// Texts of both automata, or of the first and not the second.
enum class product_kind : std::uint8_t { both, without };

/// Builds pairs of states as they are met. Use intersection() and difference().
class language_product {
public:
    language_product(const automaton& a, const automaton& b, product_kind kind) : a_(a), b_(b), kind_(kind) {}

    [[nodiscard]] std::optional<automaton> run(std::size_t most_states) {
        if (a_.size() == 0 || (b_.size() == 0 && kind_ == product_kind::both)) {
            return automaton();
        }
        (void)number_of(0, b_.size() == 0 ? automaton::no_state : 0);
        for (std::size_t at = 0; at < pairs_.size(); ++at) {
            if (pairs_.size() > most_states) {
                return std::nullopt;
            }
            expand(pairs_[at]);
        }
        return minimised(made_);
    }

private:
    using pair = std::pair<std::uint32_t, std::uint32_t>;

    std::uint32_t number_of(std::uint32_t a, std::uint32_t b) {
        const auto [found, is_new] =
            numbers_.try_emplace(std::uint64_t{a} << 32 | b, static_cast<std::uint32_t>(pairs_.size()));
        if (is_new) {
            pairs_.push_back({a, b});
        }
        return found->second;
    }

    void expand(pair at) {
        const bool has_b = at.second != automaton::no_state;
        const bool ends_b = has_b && b_.is_final(at.second);
        made_.add_state(a_.is_final(at.first) && ends_b == (kind_ == product_kind::both));
        const auto others = has_b ? b_.byte_edges(at.second) : std::span<const byte_edge>();
        std::size_t next = 0;
        for (const byte_edge edge : a_.byte_edges(at.first)) {
            unsigned low = edge.low;
            while (low <= edge.high) {
                while (next < others.size() && others[next].high < low) {
                    ++next;
                }
                const bool is_met = next < others.size() && others[next].low <= low;
                const unsigned border = next == others.size() ? 256u
                                        : is_met              ? others[next].high + 1u
                                                              : others[next].low;
                const unsigned high = (std::min)(unsigned{edge.high}, border - 1);
                add(low, high, edge.target, is_met ? others[next].target : automaton::no_state);
                low = high + 1;
            }
        }
    }
    void add(unsigned low, unsigned high, std::uint32_t a, std::uint32_t b) {
        if (b != automaton::no_state || kind_ == product_kind::without) {
            made_.add(byte_edge{static_cast<std::uint8_t>(low), static_cast<std::uint8_t>(high), number_of(a, b)});
        }
    }

    const automaton& a_;
    const automaton& b_;
    product_kind kind_;
    automaton made_;
    std::unordered_map<std::uint64_t, std::uint32_t> numbers_;
    std::vector<pair> pairs_;
};

/// How many states a language may have here; what exceeds it is refused.
inline constexpr std::size_t most_language_states = 65'536;

/// nullopt where the result has more than most_language_states.
[[nodiscard]] inline std::optional<automaton> intersection(const automaton& a, const automaton& b) {
    return language_product(a, b, product_kind::both).run(most_language_states);
}
[[nodiscard]] inline std::optional<automaton> difference(const automaton& a, const automaton& b) {
    return language_product(a, b, product_kind::without).run(most_language_states);
}

/// The automaton of a machine that is given by its steps: `start()`, `next(state, byte)` (nullopt: refused) and
/// `is_final(state)` for a `state` that can be ordered, over the bytes of `alphabet`, sorted.
template <class Machine>
[[nodiscard]] std::optional<automaton> explored(const Machine& machine, std::string_view alphabet) {
    using state = typename Machine::state;
    std::map<state, std::uint32_t> numbers;
    std::vector<state> states{machine.start()};
    numbers.emplace(states[0], 0);
    automaton made;
    for (std::size_t at = 0; at < states.size(); ++at) {
        if (states.size() > most_language_states) {
            return std::nullopt;
        }
        const state from = states[at];
        made.add_state(machine.is_final(from));
        for (const char c : alphabet) {
            const auto byte = static_cast<std::uint8_t>(c);
            const std::optional<state> to = machine.next(from, c);
            if (!to) {
                continue;
            }
            const auto [found, is_new] = numbers.try_emplace(*to, static_cast<std::uint32_t>(states.size()));
            if (is_new) {
                states.push_back(*to);
            }
            made.add(byte_edge{byte, byte, found->second});
        }
    }
    return minimised(made);
}

/// The smallest automaton of a list of words, built word by word (Daciuk et al., 2000).
class word_automaton {
public:
    /// \pre words are added in ascending order of their bytes, none twice
    void add(std::string_view word) {
        std::size_t common = 0;
        while (common < (std::min)(word.size(), last_.size()) && word[common] == last_[common]) {
            ++common;
        }
        freeze(common);
        for (std::size_t i = common; i < word.size(); ++i) {
            open_.back().edges.push_back({static_cast<std::uint8_t>(word[i]), static_cast<std::uint8_t>(word[i]), 0});
            open_.emplace_back();
        }
        open_.back().is_final = true;
        last_ = word;
    }
    [[nodiscard]] automaton finish() {
        freeze(0);
        const std::uint32_t start = number_of(std::move(open_[0]));
        automaton made; // nodes are numbered from the ends to the start
        for (std::uint32_t i = start + 1; i-- > 0;) {
            made.add_state(nodes_[i]->is_final);
            for (const byte_edge edge : nodes_[i]->edges) {
                made.add(byte_edge{edge.low, edge.high, start - edge.target});
            }
        }
        return made;
    }

private:
    struct node {
        bool is_final = false;
        std::vector<byte_edge> edges;

        [[nodiscard]] bool operator==(const node& other) const noexcept {
            return is_final == other.is_final &&
                   std::equal(edges.begin(), edges.end(), other.edges.begin(), other.edges.end(),
                              [](byte_edge a, byte_edge b) { return a.low == b.low && a.target == b.target; });
        }
    };
    struct node_hash {
        std::size_t operator()(const node& of) const noexcept {
            std::uint64_t hash = of.is_final ? 0x9e3779b97f4a7c15u : 0x517cc1b727220a95u;
            for (const byte_edge edge : of.edges) {
                hash = (hash ^ (std::uint64_t{edge.target} << 8 | edge.low)) * 0xff51afd7ed558ccdu;
                hash ^= hash >> 31;
            }
            return to_size(hash);
        }
    };

    /// Ends all nodes of the last word below the first `depth` characters.
    void freeze(std::size_t depth) {
        while (open_.size() > depth + 1) {
            const std::uint32_t number = number_of(std::move(open_.back()));
            open_.pop_back();
            open_.back().edges.back().target = number;
        }
    }
    std::uint32_t number_of(node made) {
        const auto [found, is_new] = numbers_.try_emplace(std::move(made), static_cast<std::uint32_t>(nodes_.size()));
        if (is_new) {
            nodes_.push_back(&found->first);
        }
        return found->second;
    }

    std::vector<node> open_ = std::vector<node>(1); // along the last word
    std::string last_;
    std::unordered_map<node, std::uint32_t, node_hash> numbers_;
    std::vector<const node*> nodes_;
};

/// The automaton of some words, in any order.
[[nodiscard]] inline automaton words_automaton(std::vector<std::string_view> words) {
    std::sort(words.begin(), words.end());
    words.erase(std::unique(words.begin(), words.end()), words.end());
    word_automaton made;
    for (const std::string_view word : words) {
        made.add(word);
    }
    return words.empty() ? automaton() : made.finish();
}

/// The states of an expression without rules, as one deterministic automaton; nullopt beyond the budget.
[[nodiscard]] inline std::optional<automaton> language_of(const expression_pool& pool, expression whole,
                                                          compile_budget budget = {}) {
    constexpr std::size_t most_parts = 400'000;
    nondeterministic_automaton states;
    const std::uint32_t from = states.add_state();
    const std::uint32_t to = states.add_state();
    states.set_final(to);
    std::vector<expression_task> todo{{whole, from, to}};
    while (!todo.empty()) {
        const expression_task task = todo.back();
        todo.pop_back();
        const expression_node& at = pool.at(task.part);
        if (states.size() > most_parts ||
            (at.kind == expression_kind::repeat && (at.high == unlimited ? at.low : at.high) > most_parts)) {
            return std::nullopt;
        }
        if (at.kind == expression_kind::literal) {
            connect_literal(states, pool.text(at), task);
        } else if (at.kind == expression_kind::language) {
            states.embed(pool.texts(at), task.from, task.to);
        } else if (at.kind == expression_kind::sequence) {
            connect_sequence(states, pool.parts(at), task, todo);
        } else if (at.kind == expression_kind::repeat) {
            connect_copies(states, pool.parts(at)[0], at, task, todo);
        } else {
            for (const expression part : pool.parts(at)) {
                todo.push_back({part, task.from, task.to});
            }
        }
    }
    const auto made = determinised(states, budget);
    return made ? std::optional{minimised(*made)} : std::nullopt;
}

/// All texts that are UTF-8.
[[nodiscard]] inline automaton any_utf8() {
    expression_pool pool;
    code_point_class any;
    any.add(0, last_code_point);
    const expression all = pool.repeat(pool.one_of(std::move(any)), 0, unlimited);
    return language_of(pool, all).value_or(automaton());
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
