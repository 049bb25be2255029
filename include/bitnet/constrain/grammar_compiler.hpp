// SPDX-License-Identifier: MIT
// grammar_compiler: rules of expressions to states. Every state it keeps can reach an end.
#ifndef BITNET_CONSTRAIN_GRAMMAR_COMPILER_HPP
#define BITNET_CONSTRAIN_GRAMMAR_COMPILER_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/expression_task.hpp>
#include <bitnet/constrain/subset_construction.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Who is a part of whom among the expressions and rules of a grammar. Nodes: expressions, then rules, whose only part
/// is their body.
class part_graph {
public:
    explicit part_graph(const grammar_source& source)
        : source_(source), first_(source.pool.size() + source.rules.size() + 1, 0) {
        each_part([&](std::uint32_t part, std::uint32_t) { ++first_[part + 1]; });
        for (std::size_t i = 1; i < first_.size(); ++i) {
            first_[i] += first_[i - 1];
        }
        wholes_.resize(first_.back());
        std::vector<std::uint32_t> next(first_.begin(), first_.end() - 1);
        each_part([&](std::uint32_t part, std::uint32_t whole) { wholes_[next[part]++] = whole; });
    }

    [[nodiscard]] std::uint32_t nodes() const noexcept { return static_cast<std::uint32_t>(first_.size() - 1); }
    [[nodiscard]] std::uint32_t rule_node(std::uint32_t rule) const noexcept {
        return static_cast<std::uint32_t>(source_.pool.size()) + rule;
    }
    [[nodiscard]] std::span<const std::uint32_t> wholes_of(std::uint32_t node) const noexcept {
        return {wholes_.data() + first_[node], first_[node + 1] - first_[node]};
    }
    [[nodiscard]] std::uint32_t parts_of(std::uint32_t node) const noexcept {
        return node >= source_.pool.size() || source_.pool.at(node).kind == expression_kind::rule
                   ? 1
                   : static_cast<std::uint32_t>(source_.pool.parts(source_.pool.at(node)).size());
    }

    /// Which nodes hold, in the order in which that was found: those in `known`, and those of which `needed(node)`
    /// parts do.
    template <class Needed>
    [[nodiscard]] std::vector<bool> spread(std::vector<std::uint32_t> known, Needed&& needed,
                                           std::vector<std::uint32_t>* order = nullptr) const {
        std::vector<bool> holds(nodes());
        std::vector<std::uint32_t> met(nodes(), 0);
        for (const std::uint32_t node : known) {
            holds[node] = true;
        }
        for (std::size_t at = 0; at < known.size(); ++at) {
            for (const std::uint32_t whole : wholes_of(known[at])) {
                if (!holds[whole] && ++met[whole] >= needed(whole)) {
                    holds[whole] = true;
                    known.push_back(whole);
                }
            }
        }
        if (order != nullptr) {
            *order = std::move(known);
        }
        return holds;
    }

private:
    template <class Visit> void each_part(Visit&& visit) const {
        const auto expressions = static_cast<std::uint32_t>(source_.pool.size());
        for (std::uint32_t node = 0; node < expressions; ++node) {
            const expression_node& at = source_.pool.at(node);
            if (at.kind == expression_kind::rule) {
                visit(expressions + at.low, node);
            }
            for (const expression part : source_.pool.parts(at)) {
                visit(part, node);
            }
        }
        for (std::uint32_t rule = 0; rule < source_.rules.size(); ++rule) {
            visit(source_.rules[rule].body, expressions + rule);
        }
    }

    const grammar_source& source_;
    std::vector<std::uint32_t> first_;
    std::vector<std::uint32_t> wholes_;
};

/// One compilation. Use compiled().
class grammar_compiler {
public:
    grammar_compiler(const grammar_source& source, compile_budget budget)
        : source_(source), budget_(budget), graph_(source) {}

    [[nodiscard]] result<compiled_grammar> run() {
        find_productive();
        find_nullable();
        measure();
        const grammar_rule& root = source_.rules[source_.root];
        if (!is_productive_[root.body]) {
            return error_saying(errc::empty_language, {"rule ", quoted{root.name},
                                                       ": no text at all matches, so that nothing could be generated"});
        }
        made_.root = number_of({kind::whole, root.body, 1, 1});
        for (std::size_t at = 0; at < wanted_.size(); ++at) {
            if (!compile(static_cast<std::uint32_t>(at))) {
                return error_saying(errc::grammar_budget,
                                    {"the grammar has more than ", most_states, " states, the most that are compiled"});
            }
        }
        distance_search(made_).run();
        return std::move(made_);
    }

private:
    static constexpr std::uint32_t most_states = 2'000'000;
    static constexpr std::uint32_t inlined_states = 512;  ///< a rule of at most so many is copied into its callers
    static constexpr std::uint32_t unrolled_states = 256; ///< a repetition of at most so many is copied, not counted

    enum class kind : std::uint8_t { whole, repeat, counted };
    /// What becomes a rule with states of its own: an expression as it is, one that is repeated with a counter, or one
    /// that counts itself; and its bounds.
    using wanted = std::tuple<kind, std::uint32_t, std::uint32_t, std::uint32_t>;
    using task = expression_task;

    void find_productive() {
        std::vector<std::uint32_t> known;
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            const expression_node& at = source_.pool.at(node);
            const bool is_text =
                at.kind == expression_kind::literal || (at.kind == expression_kind::repeat && at.low == 0);
            const bool has_texts = at.kind == expression_kind::language || at.kind == expression_kind::counted;
            const bool is_empty_sequence = at.kind == expression_kind::sequence && at.size == 0;
            if (is_text || is_empty_sequence || (has_texts && source_.pool.texts(at).size() != 0)) {
                known.push_back(node);
            }
        }
        is_productive_ = graph_.spread(std::move(known), [this](std::uint32_t node) { return needed_parts(node); });
    }
    void find_nullable() {
        std::vector<std::uint32_t> known;
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            const expression_node& at = source_.pool.at(node);
            const bool has_texts =
                at.kind == expression_kind::language || (at.kind == expression_kind::counted && at.low == 0);
            if ((at.kind == expression_kind::literal && at.size == 0) ||
                (at.kind == expression_kind::repeat && at.low == 0) ||
                (has_texts && source_.pool.texts(at).size() != 0 && source_.pool.texts(at).is_final(0))) {
                known.push_back(node);
            }
        }
        is_nullable_ = graph_.spread(std::move(known), [this](std::uint32_t node) { return needed_parts(node); });
    }
    /// All parts of a sequence, one of a choice.
    [[nodiscard]] std::uint32_t needed_parts(std::uint32_t node) const {
        const bool is_sequence = node < source_.pool.size() && source_.pool.at(node).kind == expression_kind::sequence;
        return is_sequence ? graph_.parts_of(node) : 1;
    }

    /// Computes how many states each expression takes, and which rules are not recursive.
    void measure() {
        std::vector<std::uint32_t> order;
        for (std::uint32_t node = 0; node < graph_.nodes(); ++node) {
            if (graph_.parts_of(node) == 0) {
                order.push_back(node);
            }
        }
        states_.assign(graph_.nodes(), 1);
        is_finite_ = graph_.spread(
            std::move(order), [this](std::uint32_t node) { return graph_.parts_of(node); }, &order);
        for (const std::uint32_t node : order) {
            states_[node] = states_of(node);
        }
        for (std::uint32_t node = 0; node < source_.pool.size(); ++node) {
            if (!is_finite_[node]) {
                states_[node] = states_of(node);
            }
        }
    }
    [[nodiscard]] std::uint32_t states_of(std::uint32_t node) const {
        if (node >= source_.pool.size()) {
            return states_[source_.rules[node - source_.pool.size()].body];
        }
        const expression_node& at = source_.pool.at(node);
        std::uint64_t total = 1;
        switch (at.kind) {
        case expression_kind::literal:
            total += at.size;
            break;
        case expression_kind::language:
            total += source_.pool.texts(at).size();
            break;
        case expression_kind::sequence:
        case expression_kind::choice:
            for (const expression part : source_.pool.parts(at)) {
                total += states_[part];
            }
            break;
        case expression_kind::repeat:
            total += is_unrolled(at) ? copies(at) * states_[source_.pool.parts(at)[0]] : 0;
            break;
        case expression_kind::rule:
            total = is_inlined(at.low) ? states_[graph_.rule_node(at.low)] : 1;
            break;
        case expression_kind::nothing:
        case expression_kind::counted:
            break;
        }
        return static_cast<std::uint32_t>((std::min)(total, std::uint64_t{1} << 30));
    }
    [[nodiscard]] bool is_inlined(std::uint32_t rule) const {
        return is_finite_[graph_.rule_node(rule)] && states_[graph_.rule_node(rule)] <= inlined_states;
    }
    [[nodiscard]] static std::uint64_t copies(const expression_node& repeat) noexcept {
        return repeat.high == unlimited ? std::uint64_t{repeat.low} + 1 : repeat.high;
    }
    [[nodiscard]] bool is_unrolled(const expression_node& repeat) const {
        const std::uint64_t count = copies(repeat);
        return count <= 1 || count * states_[source_.pool.parts(repeat)[0]] <= unrolled_states;
    }

    [[nodiscard]] std::uint32_t number_of(wanted rule) {
        const auto [found, is_new] = numbers_.try_emplace(rule, static_cast<std::uint32_t>(wanted_.size()));
        if (is_new) {
            wanted_.push_back(rule);
            compiled_rule made;
            const auto [what, index, low, high] = rule;
            if (what == kind::whole) {
                made.is_nullable = is_nullable_[index];
            } else {
                made.least = what == kind::repeat && is_nullable_[index] ? 0 : low;
                made.is_nullable = made.least == 0 && (what == kind::repeat || is_nullable_[index]);
                made.counts_itself = what == kind::counted;
                made.step_bytes = what == kind::counted ? source_.pool.at(index).size : 0;
            }
            made_.rules.push_back(made);
        }
        return found->second;
    }

    /// Appends the states of a rule. \return false where they are too many
    [[nodiscard]] bool compile(std::uint32_t number) {
        nondeterministic_automaton parts;
        shared_.clear();
        const std::uint32_t from = parts.add_state();
        const auto [what, index, low, high] = wanted_[number];
        if (what == kind::repeat) {
            parts.set_final(from);
            const std::uint32_t counted = parts.add_state();
            parts.add(from, special_edge{special_kind::count, high, counted});
            if (is_nullable_[index]) { // a call takes at least one byte, so that no round is counted for nothing
                call(parts, {kind::whole, index, 1, 1}, counted, from);
            } else {
                connect(parts, {index, counted, from});
            }
        } else {
            const std::uint32_t to = parts.add_state();
            parts.set_final(to);
            if (what == kind::counted) {
                parts.embed(source_.pool.texts(source_.pool.at(index)), from, to);
            } else {
                connect(parts, {index, from, to});
            }
        }
        if (parts.size() > most_states) {
            return false;
        }
        compile_budget budget = budget_;
        budget.states = (std::min)(budget.states, static_cast<std::uint32_t>(4 * parts.size() + 256));
        auto states = determinised(parts, budget);
        budget_.steps = states ? budget.steps : budget_.steps - (std::min)(budget_.steps, budget_.steps / 4);
        return append(number, states ? *states : parts.as_it_is(), what != kind::whole);
    }

    [[nodiscard]] bool append(std::uint32_t number, const automaton& states, bool counts) {
        if (made_.states.size() + states.size() > most_states) {
            return false;
        }
        const auto first = static_cast<std::uint32_t>(made_.states.size());
        made_.rules[number].start = first;
        for (std::uint32_t state = 0; state < states.size(); ++state) {
            made_.states.add_state(states.is_final(state));
            made_.rule_of.push_back(number);
            for (const byte_edge edge : states.byte_edges(state)) {
                made_.states.add(byte_edge{edge.low, edge.high, first + edge.target});
            }
            for (special_edge edge : states.special_edges(state)) {
                const bool is_last = !counts && states.is_final(edge.target) &&
                                     states.byte_edges(edge.target).empty() &&
                                     states.special_edges(edge.target).empty();
                if (edge.kind == special_kind::call && is_last) {
                    edge.kind = special_kind::tail_call;
                }
                edge.target += first;
                made_.states.add(edge);
            }
        }
        return true;
    }

    void call(nondeterministic_automaton& parts, wanted rule, std::uint32_t from, std::uint32_t to) {
        parts.add(from, special_edge{special_kind::call, number_of(rule), to});
    }
    void call_or_skip(nondeterministic_automaton& parts, wanted rule, std::uint32_t from, std::uint32_t to) {
        call(parts, rule, from, to);
        if (made_.rules[number_of(rule)].is_nullable) {
            parts.skip(from, to);
        }
    }

    /// Makes the texts of an expression lead from one state to another.
    void connect(nondeterministic_automaton& parts, task whole) {
        todo_.assign(1, whole);
        while (!todo_.empty() && parts.size() <= most_states) {
            const task next = todo_.back();
            todo_.pop_back();
            if (is_productive_[next.part]) {
                connect_one(parts, next);
            }
        }
    }
    void connect_one(nondeterministic_automaton& parts, task next) {
        const expression_node& at = source_.pool.at(next.part);
        switch (at.kind) {
        case expression_kind::nothing:
            break;
        case expression_kind::literal:
            connect_literal(parts, source_.pool.text(at), next);
            break;
        case expression_kind::language:
            parts.embed(source_.pool.texts(at), next.from, next.to);
            break;
        case expression_kind::counted:
            call_or_skip(parts, {kind::counted, next.part, at.low, at.high}, next.from, next.to);
            break;
        case expression_kind::sequence:
            connect_sequence(parts, source_.pool.parts(at), next, todo_);
            break;
        case expression_kind::choice:
            connect_choice(parts, at, next);
            break;
        case expression_kind::repeat:
            connect_repeat(parts, at, next);
            break;
        case expression_kind::rule:
            if (is_inlined(at.low)) {
                todo_.push_back({source_.rules[at.low].body, next.from, next.to});
            } else {
                call_or_skip(parts, {kind::whole, source_.rules[at.low].body, 1, 1}, next.from, next.to);
            }
            break;
        }
    }
    /// A choice that is a part of several expressions is built once for each place that it leads to.
    void connect_choice(nondeterministic_automaton& parts, const expression_node& at, task next) {
        std::uint32_t from = next.from;
        if (graph_.wholes_of(next.part).size() > 1) {
            const auto [found, is_new] = shared_.try_emplace({next.part, next.to}, 0);
            if (is_new) {
                found->second = parts.add_state();
            }
            from = found->second;
            parts.skip(next.from, from);
            if (!is_new) {
                return;
            }
        }
        for (const expression part : source_.pool.parts(at)) {
            todo_.push_back({part, from, next.to});
        }
    }
    void connect_repeat(nondeterministic_automaton& parts, const expression_node& at, task next) {
        const expression part = source_.pool.parts(at)[0];
        if (!is_unrolled(at)) {
            return call_or_skip(parts, {kind::repeat, part, at.low, at.high}, next.from, next.to);
        }
        connect_copies(parts, part, at, next, todo_);
    }

    const grammar_source& source_;
    compile_budget budget_;
    part_graph graph_;
    std::vector<bool> is_productive_; // per node of the graph, as the next three
    std::vector<bool> is_nullable_;
    std::vector<bool> is_finite_; ///< not recursive, and nothing in it is
    std::vector<std::uint32_t> states_;
    std::map<wanted, std::uint32_t> numbers_;
    std::vector<wanted> wanted_;
    std::map<std::pair<expression, std::uint32_t>, std::uint32_t> shared_; // of the rule that is being compiled
    std::vector<task> todo_;
    compiled_grammar made_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
