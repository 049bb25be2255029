// SPDX-License-Identifier: MIT
// automaton: states with edges over bytes, and with calls and counts where the language of a rule is not regular.
#ifndef BITNET_CONSTRAIN_AUTOMATON_HPP
#define BITNET_CONSTRAIN_AUTOMATON_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Bytes low to high lead to the state `target`.
struct byte_edge {
    std::uint8_t low;
    std::uint8_t high;
    std::uint32_t target;
};

/// Edges that no byte goes along.
enum class special_kind : std::uint8_t {
    call,      ///< a text of rule `value`, then `target`
    tail_call, ///< the same where nothing follows in the caller
    count,     ///< adds one to the counter of the rule, if it is below `value`
    skip,      ///< no condition: left where a rule was too large to be made deterministic
};

struct special_edge {
    special_kind kind;
    std::uint32_t value;
    std::uint32_t target;
};

/// States 0 (the start) to size() - 1; none at all is the language without a text. Built state by state: add_state(),
/// then its edges. Edges over bytes of one state are sorted; they overlap only where a rule stayed nondeterministic.
class automaton {
public:
    [[nodiscard]] std::size_t size() const noexcept { return states_.size(); }
    [[nodiscard]] bool is_final(std::size_t state) const noexcept { return states_[state].is_final; }
    [[nodiscard]] BITNET_ALWAYS_INLINE std::span<const byte_edge> byte_edges(std::size_t state) const noexcept {
        const std::size_t first = states_[state].first_byte;
        const std::size_t last = state + 1 < size() ? states_[state + 1].first_byte : bytes_.size();
        return {bytes_.data() + first, last - first};
    }
    [[nodiscard]] BITNET_ALWAYS_INLINE std::span<const special_edge> special_edges(std::size_t state) const noexcept {
        const std::size_t first = states_[state].first_special;
        const std::size_t last = state + 1 < size() ? states_[state + 1].first_special : specials_.size();
        return {specials_.data() + first, last - first};
    }
    /// Edges of all states together.
    [[nodiscard]] std::size_t edges() const noexcept { return bytes_.size() + specials_.size(); }

    void add_state(bool is_final) {
        states_.push_back(
            {static_cast<std::uint32_t>(bytes_.size()), static_cast<std::uint32_t>(specials_.size()), is_final});
    }
    void add(byte_edge edge) { bytes_.push_back(edge); }
    void add(special_edge edge) { specials_.push_back(edge); }

    /// The state after `byte` in a deterministic automaton; no_state where there is none.
    [[nodiscard]] std::uint32_t next(std::size_t state, std::uint8_t byte) const noexcept {
        for (const byte_edge edge : byte_edges(state)) {
            if (byte <= edge.high) {
                return byte >= edge.low ? edge.target : no_state;
            }
        }
        return no_state;
    }
    /// Whether a deterministic automaton accepts `text`.
    [[nodiscard]] bool accepts(std::string_view text) const noexcept {
        std::uint32_t state = size() == 0 ? no_state : 0;
        for (std::size_t i = 0; i < text.size() && state != no_state; ++i) {
            state = next(state, static_cast<std::uint8_t>(text[i]));
        }
        return state != no_state && is_final(state);
    }

    static constexpr std::uint32_t no_state = 0xffffffffu;

private:
    struct state_row {
        std::uint32_t first_byte;
        std::uint32_t first_special;
        bool is_final;
    };

    std::vector<state_row> states_;
    std::vector<byte_edge> bytes_;
    std::vector<special_edge> specials_;
};

/// Work and size that a compilation may cost; what is spent is counted down.
struct compile_budget {
    std::uint64_t steps = 50'000'000; ///< edges looked at: about a quarter of a second
    std::uint32_t states = 65'536;    ///< of one deterministic automaton
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
