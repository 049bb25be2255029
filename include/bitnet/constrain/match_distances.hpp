// SPDX-License-Identifier: MIT
// match_distances: how many bytes a text needs to its end, from each way of reading it.
#ifndef BITNET_CONSTRAIN_MATCH_DISTANCES_HPP
#define BITNET_CONSTRAIN_MATCH_DISTANCES_HPP

#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Computes bytes_to_end of frames: to the end of the text from where the frame's rule is complete. What is said of
/// items holds once all frames of the store were measured.
class match_distances {
public:
    match_distances(const compiled_grammar& tables, match_store& of) noexcept : tables_(tables), of_(of) {}

    /// The frames from `first` on, given those before it.
    void measure(std::uint32_t first) noexcept {
        for (std::uint32_t i = first; i < of_.frames_used; ++i) {
            of_.frames[i].bytes_to_end = endless;
        }
        for (bool is_shorter = first < of_.frames_used;
             is_shorter;) { // links go to older frames, but for left recursion
            is_shorter = false;
            for (std::uint32_t i = first; i < of_.frames_used; ++i) {
                is_shorter = shorten(of_.frames[i]) || is_shorter;
            }
        }
    }
    /// All frames. \return the most that one of them has
    std::uint32_t measure_all() noexcept {
        measure(0);
        std::uint32_t most = 0;
        for (std::uint32_t i = 0; i < of_.frames_used; ++i) {
            most = (std::max)(most, of_.frames[i].bytes_to_end);
        }
        return most;
    }

    /// The fewest from an item of the last level.
    [[nodiscard]] std::uint32_t from_level() const noexcept {
        std::uint32_t fewest = of_.last().can_end ? 0 : endless;
        for (std::uint32_t i = of_.last().first_item; i < of_.items_used; ++i) {
            fewest = of_.items[i].state == match_store::none ? fewest : (std::min)(fewest, from(of_.items[i]));
        }
        return fewest;
    }
    [[nodiscard]] std::uint32_t from(const match_item& item) const noexcept {
        return bytes_together(tables_.to_end[item.state], behind(item));
    }
    /// Of these, what does not depend on the state within the rule.
    [[nodiscard]] std::uint32_t behind(const match_item& item) const noexcept {
        const compiled_rule& rule = tables_.rules[tables_.rule_of[item.state]];
        const std::uint64_t missing = item.high < rule.least ? rule.least - item.high : 0;
        return bytes_together(missing * rule.step_bytes, of_.frames[item.frame].bytes_to_end);
    }

private:
    [[nodiscard]] bool shorten(match_frame& frame) noexcept {
        std::uint32_t fewest = frame.bytes_to_end;
        for (std::uint32_t i = frame.first_link; i != match_store::none; i = of_.links[i].next) {
            const match_item& back = of_.links[i].back;
            fewest = (std::min)(fewest, back.state == match_store::none ? 0 : from(back));
        }
        return std::exchange(frame.bytes_to_end, fewest) != fewest;
    }

    const compiled_grammar& tables_;
    match_store& of_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
