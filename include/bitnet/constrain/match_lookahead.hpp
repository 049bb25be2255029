// SPDX-License-Identifier: MIT
// match_lookahead: goes on behind a place in a text, where the grammar leaves no choice and where it does, and back.
#ifndef BITNET_CONSTRAIN_MATCH_LOOKAHEAD_HPP
#define BITNET_CONSTRAIN_MATCH_LOOKAHEAD_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/match_compaction.hpp>
#include <bitnet/constrain/match_readings.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Begins at level 0, and goes back there when it ends.
class match_lookahead {
public:
    explicit match_lookahead(match_readings& of) noexcept : of_(of) { make_room(of.store()); }
    match_lookahead(const match_lookahead&) = delete;
    match_lookahead& operator=(const match_lookahead&) = delete;
    ~match_lookahead() { of_.go_back(); }

    /// Takes the bytes that have to come next, because there is no other one and the text may not end, and writes them,
    /// as many as have room. \return how many
    [[nodiscard]] std::size_t take_forced(std::span<char> out) noexcept {
        const std::size_t most = (std::min)(out.size(), of_.store().levels.size() - 2);
        std::size_t count = 0;
        for (int byte = only_byte(); byte >= 0 && count < most; byte = only_byte()) {
            if (!of_.step(static_cast<std::uint8_t>(byte))) {
                break;
            }
            out[count++] = static_cast<char>(byte);
        }
        forced_level_ = of_.store().level;
        return count;
    }

    enum class verdict : unsigned char { allowed, refused, unknown };
    /// Tries `byte` as the one at `depth`, from 1 on, behind those that were forced, after those at lesser depths.
    /// \return unknown: there is too little room to tell
    [[nodiscard]] verdict try_byte(std::size_t depth, std::uint8_t byte) noexcept {
        of_.store().go_back_to(static_cast<std::uint32_t>(forced_level_ + depth - 1));
        if (of_.store().level + 2 > of_.store().levels.size()) {
            return verdict::unknown;
        }
        return of_.step(byte) ? verdict::allowed : of_.out_of_budget() ? verdict::unknown : verdict::refused;
    }
    /// Goes back behind those that were forced.
    void drop_tried() noexcept { of_.store().go_back_to(forced_level_); }

private:
    /// The byte that has to come next; below 0 where there are others, or the text may end.
    [[nodiscard]] int only_byte() const noexcept {
        const match_store& store = of_.store();
        int found = -1;
        for (std::uint32_t i = store.last().first_item; i < store.items_used && !of_.can_end(); ++i) {
            if (store.items[i].state == match_store::none) {
                continue;
            }
            for (const byte_edge edge : of_.tables().states.byte_edges(store.items[i].state)) {
                if (edge.low != edge.high || (found >= 0 && found != edge.low)) {
                    return -1;
                }
                found = edge.low;
            }
        }
        return found;
    }

    match_readings& of_;
    std::uint32_t forced_level_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
