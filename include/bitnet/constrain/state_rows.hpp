// SPDX-License-Identifier: MIT
// state_rows: where each byte leads from a state, as rows of 256, of the states that are in use.
#ifndef BITNET_CONSTRAIN_STATE_ROWS_HPP
#define BITNET_CONSTRAIN_STATE_ROWS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether any plain text (see plain_characters) can follow a state.
enum class plain_kind : std::uint8_t {
    unknown,
    none,
    limited,      ///< each character is counted, up to a count of `most`
    fixed,        ///< `most` characters
    endless_text, ///< as much as there is
};
struct plain_text {
    plain_kind kind = plain_kind::unknown;
    std::uint32_t most = 0;
    std::uint32_t to_end = 0; ///< the most bytes from behind a character to the end of the rule
    bool may_leave = false;   ///< whether the rule may end behind a character
};

/// Rows are made when they are asked for and kept until another state needs their place. 256 KiB.
class state_rows {
public:
    static constexpr std::uint32_t dead = 0xffffffffu;        ///< no edge
    static constexpr std::uint32_t needs_level = 0x80000000u; ///< in a target: not a single state with edges alone

    /// Borrows the tables. \return errc::out_of_memory.
    [[nodiscard]] static result<state_rows> open(const compiled_grammar& tables) {
        state_rows made;
        made.tables_ = &tables;
        error failure;
        allocate_uninitialized(made.rows_, std::uint64_t{most} * 256, "grammar mask", failure);
        allocate_uninitialized(made.held_, most, "grammar mask", failure);
        allocate(made.plain_, tables.states.size(), "grammar mask", failure);
        allocate(made.visited_, tables.states.size(), "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        std::fill_n(made.held_.data(), most, none);
        return made;
    }

    /// Where each byte leads from a state. Valid until the next call.
    [[nodiscard]] const std::uint32_t* of(std::uint32_t state) noexcept {
        const std::uint32_t at = state % most;
        std::uint32_t* const row = rows_.data() + std::size_t{at} * 256;
        if (held_[at] != state) {
            fill(state, row);
            held_[at] = state;
        }
        return row;
    }
    /// Whether more than bytes leads on from a state: a call, a count or the end of its rule.
    [[nodiscard]] bool needs_closing(std::uint32_t state) const noexcept {
        return tables_->states.is_final(state) || !tables_->states.special_edges(state).empty();
    }
    /// Whether a byte leads on that plain text begins with.
    [[nodiscard]] bool begins_plain(std::uint32_t state) noexcept {
        const std::uint32_t* const row = of(state);
        return std::any_of(std::begin(edges), std::end(edges), [&](const plain_edge& edge) {
            return edge.from == 0 && std::any_of(row + edge.low, row + edge.high + 1u,
                                                 [](std::uint32_t target) { return target != dead; });
        });
    }
    [[nodiscard]] plain_text plain(std::uint32_t state) noexcept {
        if (plain_[state].kind == plain_kind::unknown) {
            plain_[state] = plain_search(*this).run(state);
            if (plain_[state].kind == plain_kind::none) {
                plain_[state] = plain_search(*this).run_layers(state);
            }
        }
        return plain_[state];
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return rows_.size_bytes() + held_.size_bytes() + plain_.size_bytes() + visited_.size_bytes();
    }

private:
    static constexpr std::uint32_t most = 256;
    static constexpr std::uint32_t none = 0xffffffffu;

    /// The automaton of one plain character: states 0, and what is expected after the first byte.
    struct plain_edge {
        std::uint8_t from;
        std::uint8_t low;
        std::uint8_t high;
        std::uint8_t to;
    };
    static constexpr plain_edge edges[] = {
        {0, 0x20, 0x21, 0}, {0, 0x23, 0x5b, 0}, {0, 0x5d, 0x7f, 0}, {0, 0xc2, 0xdf, 1}, {0, 0xe0, 0xe0, 4},
        {0, 0xe1, 0xec, 2}, {0, 0xed, 0xed, 5}, {0, 0xee, 0xef, 2}, {0, 0xf0, 0xf0, 6}, {0, 0xf1, 0xf3, 3},
        {0, 0xf4, 0xf4, 7}, {1, 0x80, 0xbf, 0}, {2, 0x80, 0xbf, 1}, {3, 0x80, 0xbf, 2}, {4, 0xa0, 0xbf, 1},
        {5, 0x80, 0x9f, 1}, {6, 0x90, 0xbf, 2}, {7, 0x80, 0x8f, 2},
    };

    void fill(std::uint32_t state, std::uint32_t* row) const noexcept {
        std::fill_n(row, 256, dead);
        for (const byte_edge edge : tables_->states.byte_edges(state)) {
            const std::uint32_t target = needs_closing(edge.target) ? edge.target | needs_level : edge.target;
            for (std::size_t byte = edge.low; byte <= edge.high; ++byte) {
                row[byte] = row[byte] == dead || row[byte] == target ? target : needs_level; // several: the matcher
            }
        }
    }

    /// Follows plain text from a state of a rule on, through all pairs of a state of `edges` and one of the rule.
    class plain_search {
    public:
        explicit plain_search(state_rows& all) noexcept : all_(all), states_(all.tables_->states) {}

        [[nodiscard]] plain_text run(std::uint32_t state) noexcept {
            bool is_plain = add(0, state);
            for (std::size_t at = 0; is_plain && at < static_cast<std::size_t>(size_); ++at) {
                for (const plain_edge& edge : edges) {
                    is_plain = is_plain && (edge.from != pairs_[at].plain || follow(edge, pairs_[at].state));
                }
            }
            clear_visited();
            for (std::size_t i = 0; i < static_cast<std::size_t>(size_); ++i) {
                if (is_plain && found_.kind == plain_kind::endless_text && pairs_[i].plain == 0) {
                    all_.plain_[pairs_[i].state] = found_; // any text from there is one from here
                }
            }
            return is_plain ? found_ : plain_text{plain_kind::none, 0, 0, false};
        }

        /// The same where plain text ends after some characters, whichever they are: layer by layer, each of them the
        /// states after one character more.
        [[nodiscard]] plain_text run_layers(std::uint32_t state) noexcept {
            is_layered_ = true;
            bool is_plain = add(0, state);
            for (found_.most = 0; is_plain && found_.most <= most_layers; ++found_.most) {
                const auto begins = [this](const pair& one) { return all_.begins_plain(one.state); };
                if (std::none_of(pairs_.begin(), pairs_.begin() + size_, begins)) {
                    clear_visited();
                    found_.kind = found_.most == 0 ? plain_kind::none : plain_kind::fixed;
                    return found_;
                }
                next_size_ = 0;
                for (std::size_t at = 0; is_plain && at < static_cast<std::size_t>(size_); ++at) {
                    for (const plain_edge& edge : edges) {
                        is_plain = is_plain && (edge.from != pairs_[at].plain || follow(edge, pairs_[at].state));
                    }
                }
                clear_visited();
                size_ = 0;
                for (std::size_t i = 0; i < next_size_; ++i) {
                    is_plain = is_plain && add(0, next_[i]);
                }
            }
            clear_visited();
            return {plain_kind::none, 0, 0, false};
        }

    private:
        static constexpr std::size_t most_pairs = 2048;
        static constexpr std::uint32_t most_layers = 1024; ///< no token is longer
        struct pair {
            std::uint32_t state;
            std::uint32_t plain;
        };

        [[nodiscard]] bool add(std::uint32_t plain, std::uint32_t state) noexcept {
            std::uint8_t& visited = all_.visited_[state];
            const auto bit = static_cast<std::uint8_t>(1u << plain);
            if ((visited & bit) != 0) {
                return true;
            }
            if (size_ == std::ptrdiff_t{most_pairs}) {
                return false;
            }
            visited = static_cast<std::uint8_t>(visited | bit);
            pairs_[static_cast<std::size_t>(size_++)] = {state, plain};
            return true;
        }
        /// All bytes of an edge of plain text, each by one edge of the rule.
        [[nodiscard]] bool follow(const plain_edge& edge, std::uint32_t state) noexcept {
            unsigned next = edge.low;
            for (const byte_edge& way : states_.byte_edges(state)) {
                if (way.high < edge.low || way.low > edge.high) {
                    continue;
                }
                if (way.low > next || (way.low < next && next != edge.low) || !arrive(edge.to, way.target)) {
                    return false;
                }
                next = way.high + 1u;
            }
            return next > edge.high;
        }
        [[nodiscard]] bool arrive(std::uint32_t plain, std::uint32_t target) noexcept {
            const std::span<const special_edge> special = states_.special_edges(target);
            found_.may_leave = found_.may_leave || states_.is_final(target);
            if (plain != 0) {
                return special.empty() && add(plain, target);
            }
            if (is_layered_) {
                return special.empty() && add_next(target);
            }
            found_.to_end = (std::max)(found_.to_end, all_.tables_->to_end[target]);
            if (!states_.byte_edges(target).empty()) {
                return special.empty() && is_now(plain_kind::endless_text, none) && add(0, target);
            }
            if (special.size() != 1 || special[0].kind != special_kind::count) {
                return false;
            }
            const plain_kind kind = special[0].value == none ? plain_kind::endless_text : plain_kind::limited;
            return is_now(kind, special[0].value) && add(0, special[0].target);
        }
        [[nodiscard]] bool add_next(std::uint32_t state) noexcept {
            found_.to_end = (std::max)(found_.to_end, all_.tables_->to_end[state]);
            if (std::find(next_.begin(), next_.begin() + static_cast<std::ptrdiff_t>(next_size_), state) !=
                next_.begin() + static_cast<std::ptrdiff_t>(next_size_)) {
                return true;
            }
            if (next_size_ == next_.size()) {
                return false;
            }
            next_[next_size_++] = state;
            return true;
        }
        void clear_visited() noexcept {
            for (std::size_t i = 0; i < static_cast<std::size_t>(size_); ++i) {
                all_.visited_[pairs_[i].state] = 0;
            }
        }
        [[nodiscard]] bool is_now(plain_kind kind, std::uint32_t highest) noexcept {
            const bool is_same = found_.kind == plain_kind::unknown || (found_.kind == kind && found_.most == highest);
            found_.kind = kind;
            found_.most = highest;
            return is_same;
        }

        state_rows& all_;
        const automaton& states_;
        plain_text found_;
        std::array<pair, most_pairs> pairs_; ///< 16 KiB of stack
        std::ptrdiff_t size_ = 0;
        std::array<std::uint32_t, 16> next_; ///< states of the next layer
        std::size_t next_size_ = 0;
        bool is_layered_ = false;
    };

    const compiled_grammar* tables_ = nullptr;
    buffer<std::uint32_t> rows_;
    buffer<std::uint32_t> held_; ///< whose rows these are
    buffer<plain_text> plain_;   ///< [states]
    buffer<std::uint8_t> visited_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
