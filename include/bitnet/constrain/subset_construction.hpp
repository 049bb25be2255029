// SPDX-License-Identifier: MIT
// nondeterministic_automaton, determinised(): from expressions to automata that hold one state per text.
#ifndef BITNET_CONSTRAIN_SUBSET_CONSTRUCTION_HPP
#define BITNET_CONSTRAIN_SUBSET_CONSTRUCTION_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// An automaton under construction: edges in any order, several for one byte. State 0 is the start.
class nondeterministic_automaton {
public:
    struct arc {
        bool is_byte;
        byte_edge byte;
        special_edge special;
        std::uint32_t next; ///< arc of the same state, or none
    };
    static constexpr std::uint32_t none = 0xffffffffu;

    std::uint32_t add_state() {
        heads_.push_back(none);
        finals_.push_back(false);
        return static_cast<std::uint32_t>(heads_.size() - 1);
    }
    void set_final(std::uint32_t state) { finals_[state] = true; }
    void add(std::uint32_t from, byte_edge edge) {
        arcs_.push_back({true, edge, {}, heads_[from]});
        heads_[from] = static_cast<std::uint32_t>(arcs_.size() - 1);
    }
    void add(std::uint32_t from, special_edge edge) {
        arcs_.push_back({false, {}, edge, heads_[from]});
        heads_[from] = static_cast<std::uint32_t>(arcs_.size() - 1);
    }
    void skip(std::uint32_t from, std::uint32_t to) { add(from, special_edge{special_kind::skip, 0, to}); }

    /// Copies `part` so that its texts lead from `from` to `to`.
    void embed(const automaton& part, std::uint32_t from, std::uint32_t to) {
        const auto first = static_cast<std::uint32_t>(heads_.size());
        for (std::size_t state = 0; state < part.size(); ++state) {
            add_state();
        }
        if (part.size() != 0) {
            skip(from, first);
        }
        for (std::uint32_t state = 0; state < part.size(); ++state) {
            for (const byte_edge edge : part.byte_edges(state)) {
                add(first + state, byte_edge{edge.low, edge.high, first + edge.target});
            }
            for (const special_edge edge : part.special_edges(state)) {
                add(first + state, special_edge{edge.kind, edge.value, first + edge.target});
            }
            if (part.is_final(state)) {
                skip(first + state, to);
            }
        }
    }

    [[nodiscard]] std::size_t size() const noexcept { return heads_.size(); }
    [[nodiscard]] bool is_final(std::uint32_t state) const noexcept { return finals_[state]; }
    [[nodiscard]] std::uint32_t first_arc(std::uint32_t state) const noexcept { return heads_[state]; }
    [[nodiscard]] const arc& at(std::uint32_t index) const noexcept { return arcs_[index]; }

    /// The same states and edges, sorted as an automaton has them.
    [[nodiscard]] automaton as_it_is() const {
        automaton made;
        std::vector<byte_edge> sorted;
        for (std::uint32_t state = 0; state < size(); ++state) {
            made.add_state(finals_[state]);
            sorted.clear();
            for (std::uint32_t i = heads_[state]; i != none; i = arcs_[i].next) {
                if (arcs_[i].is_byte) {
                    sorted.push_back(arcs_[i].byte);
                } else {
                    made.add(arcs_[i].special);
                }
            }
            std::sort(sorted.begin(), sorted.end(), [](byte_edge a, byte_edge b) { return a.low < b.low; });
            for (const byte_edge edge : sorted) {
                made.add(edge);
            }
        }
        return made;
    }

private:
    std::vector<std::uint32_t> heads_;
    std::vector<bool> finals_;
    std::vector<arc> arcs_;
};

/// The subset construction; calls and counts are symbols like bytes. Use determinised().
class subset_construction {
public:
    subset_construction(const nondeterministic_automaton& source, compile_budget& budget)
        : source_(source), budget_(budget), stamps_(source.size(), 0) {}

    [[nodiscard]] std::optional<automaton> run() {
        close_and_intern({0});
        for (std::size_t at = 0; at < subsets_.size(); ++at) {
            if (!expand(*subsets_[at])) {
                return std::nullopt;
            }
        }
        return std::move(made_);
    }

private:
    using subset = std::vector<std::uint32_t>;
    struct subset_hash {
        std::size_t operator()(const subset& states) const noexcept {
            std::uint64_t hash = 0x9e3779b97f4a7c15u;
            for (const std::uint32_t state : states) {
                hash = (hash ^ state) * 0xff51afd7ed558ccdu;
                hash ^= hash >> 29;
            }
            return to_size(hash);
        }
    };

    /// The number of the subset that `states` lead to without a byte.
    std::uint32_t close_and_intern(subset states) {
        ++stamp_;
        subset closed;
        while (!states.empty()) {
            const std::uint32_t state = states.back();
            states.pop_back();
            if (std::exchange(stamps_[state], stamp_) == stamp_) {
                continue;
            }
            bool matters = source_.is_final(state);
            for (std::uint32_t i = source_.first_arc(state); i != source_.none; i = source_.at(i).next) {
                const auto& arc = source_.at(i);
                spent_ += 1;
                if (!arc.is_byte && arc.special.kind == special_kind::skip) {
                    states.push_back(arc.special.target);
                } else {
                    matters = true;
                }
            }
            if (matters) {
                closed.push_back(state);
            }
        }
        std::sort(closed.begin(), closed.end());
        kept_ += closed.size();
        const auto [found, is_new] =
            numbers_.try_emplace(std::move(closed), static_cast<std::uint32_t>(numbers_.size()));
        if (is_new) {
            subsets_.push_back(&found->first);
        }
        return found->second;
    }

    /// Adds the state of a subset with its edges. \return false where the budget is spent
    [[nodiscard]] bool expand(const subset& states) {
        const bool is_final =
            std::any_of(states.begin(), states.end(), [&](std::uint32_t s) { return source_.is_final(s); });
        made_.add_state(is_final);
        gather(states);
        for (std::size_t low = 0; low < 256;) {
            std::size_t high = low;
            while (high < 255 && !borders_[high + 1]) {
                ++high;
            }
            add_byte_edge(low, high);
            low = high + 1;
        }
        add_specials();
        constexpr std::uint64_t most_kept = 8'000'000; // 32 MB of subsets
        if (spent_ > budget_.steps || subsets_.size() > budget_.states || kept_ > most_kept) {
            return false;
        }
        budget_.steps -= spent_;
        spent_ = 0;
        return true;
    }

    /// Sorts the arcs of all states of a subset: by the byte at which their range begins, or into specials_.
    void gather(const subset& states) {
        borders_.fill(false);
        bytes_.clear();
        specials_.clear();
        for (const std::uint32_t state : states) {
            for (std::uint32_t i = source_.first_arc(state); i != source_.none; i = source_.at(i).next) {
                const auto& arc = source_.at(i);
                if (arc.is_byte) {
                    borders_[arc.byte.low] = true;
                    borders_[std::size_t{arc.byte.high} + 1] = true;
                    bytes_.push_back(arc.byte);
                } else if (arc.special.kind != special_kind::skip) {
                    specials_.push_back(arc.special);
                }
            }
        }
        for (auto& targets : targets_) {
            targets.clear();
        }
        for (const byte_edge edge : bytes_) {
            for (std::size_t byte = edge.low; byte <= edge.high; ++byte) {
                if (byte == edge.low || borders_[byte]) {
                    targets_[byte].push_back(edge.target);
                    ++spent_;
                }
            }
        }
    }

    void add_byte_edge(std::size_t low, std::size_t high) {
        if (targets_[low].empty()) {
            return;
        }
        const std::uint32_t target = close_and_intern(targets_[low]);
        made_.add(byte_edge{static_cast<std::uint8_t>(low), static_cast<std::uint8_t>(high), target});
    }

    void add_specials() {
        const auto key = [](const special_edge& edge) { return std::pair{edge.kind, edge.value}; };
        std::sort(specials_.begin(), specials_.end(),
                  [&](const special_edge& a, const special_edge& b) { return key(a) < key(b); });
        for (std::size_t i = 0; i < specials_.size();) {
            subset targets;
            const special_edge first = specials_[i];
            for (; i < specials_.size() && key(specials_[i]) == key(first); ++i) {
                targets.push_back(specials_[i].target);
            }
            made_.add(special_edge{first.kind, first.value, close_and_intern(std::move(targets))});
        }
    }

    const nondeterministic_automaton& source_;
    compile_budget& budget_;
    automaton made_;
    std::unordered_map<subset, std::uint32_t, subset_hash> numbers_;
    std::vector<const subset*> subsets_; // in the order of their numbers
    std::vector<std::uint32_t> stamps_;  // of states, in which closure they were met last
    std::uint32_t stamp_ = 0;
    std::uint64_t spent_ = 0;
    std::uint64_t kept_ = 0;
    std::array<bool, 257> borders_{};
    std::array<subset, 256> targets_;
    std::vector<byte_edge> bytes_;
    std::vector<special_edge> specials_;
};

/// The deterministic automaton of the same language; nullopt where that exceeds the budget.
[[nodiscard]] inline std::optional<automaton> determinised(const nondeterministic_automaton& source,
                                                           compile_budget& budget) {
    return subset_construction(source, budget).run();
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
