// SPDX-License-Identifier: MIT
// level_links: adds links to frames of the last level of a match_store, each way back once.
#ifndef BITNET_CONSTRAIN_LEVEL_LINKS_HPP
#define BITNET_CONSTRAIN_LEVEL_LINKS_HPP

#include <bitnet/constrain/match_store.hpp>
#include <bitnet/constrain/stamp_table.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds links as level_items finds items. Its functions take the same store each time.
class level_links {
public:
    level_links() = default;
    /// \param found with room for the links of a level
    explicit level_links(stamp_table found) noexcept : found_(std::move(found)) {}

    /// The last level is a new one.
    void begin() noexcept { found_.forget(); }

    /// A text of the frame's rule goes on at `back`, too.
    void add(match_store& of, std::uint32_t frame, match_item back) noexcept {
        const std::uint32_t number = find(of, frame, back);
        if (of.has_overflowed || of.links_used == of.links.size()) {
            of.has_overflowed = true;
            return;
        }
        if (number != match_store::none) {
            match_item& found = of.links[number].back;
            if (back.low <= found.high + 1 && found.low <= back.high + 1) {
                found.low = (std::min)(back.low, found.low);
                found.high = (std::max)(back.high, found.high);
                return;
            }
        }
        of.links[of.links_used] = {back, of.frames[frame].first_link, frame};
        of.frames[frame].first_link = of.links_used++;
        const std::uint32_t first = of.last().first_link;
        if (of.links_used - first <= few) {
            return;
        }
        const bool is_first_of_many = of.links_used - first == few + 1;
        for (std::uint32_t i = is_first_of_many ? first : of.links_used - 1; i < of.links_used; ++i) {
            put_in_table(of, i);
        }
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return found_.size_bytes(); }

private:
    static constexpr std::uint32_t few = 8; ///< sought one after the other

    [[nodiscard]] std::uint32_t find(match_store& of, std::uint32_t frame, const match_item& back) noexcept {
        if (of.links_used - of.last().first_link > few) {
            const std::uint32_t* const slot = found_.at(frame, back.state, back.frame);
            of.has_overflowed = of.has_overflowed || slot == nullptr;
            return slot == nullptr ? match_store::none : *slot;
        }
        std::uint32_t i = of.frames[frame].first_link;
        while (i != match_store::none &&
               (of.links[i].back.state != back.state || of.links[i].back.frame != back.frame)) {
            i = of.links[i].next;
        }
        return i;
    }
    void put_in_table(match_store& of, std::uint32_t number) noexcept {
        const match_link& link = of.links[number];
        std::uint32_t* const slot = found_.at(link.frame, link.back.state, link.back.frame);
        of.has_overflowed = of.has_overflowed || slot == nullptr;
        if (slot != nullptr) {
            *slot = number;
        }
    }

    stamp_table found_; ///< (frame, state, caller's frame) to a link
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
