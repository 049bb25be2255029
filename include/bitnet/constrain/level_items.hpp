// SPDX-License-Identifier: MIT
// level_items: adds items to the last level of a match_store, each state of a frame once.
#ifndef BITNET_CONSTRAIN_LEVEL_ITEMS_HPP
#define BITNET_CONSTRAIN_LEVEL_ITEMS_HPP

#include <bitnet/constrain/match_store.hpp>
#include <bitnet/constrain/stamp_table.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds the item of a state and a frame: one after the other where they are few, by a table where they are many. Its
/// functions take the same store each time.
class level_items {
public:
    level_items() = default;
    /// \param found with room for the items of a level
    explicit level_items(stamp_table found) noexcept : found_(std::move(found)) {}

    /// The last level is a new one.
    void begin() noexcept { found_.forget(); }

    /// Adds an item, or its counts to those of an item that is there, where no count is missing between them.
    void add(match_store& of, match_item item) noexcept {
        const std::uint32_t number = find(of, item);
        if (of.has_overflowed || number == match_store::none) {
            return of.has_overflowed ? void() : put(of, item);
        }
        match_item& found = of.items[number];
        if (item.low >= found.low && item.high <= found.high) {
            return;
        }
        const bool is_apart = item.low > found.high + 1 || found.low > item.high + 1;
        if (is_apart) {
            return put(of, item);
        }
        item.low = (std::min)(item.low, found.low);
        item.high = (std::max)(item.high, found.high);
        if (number > at_) { // not followed yet
            found = item;
            return;
        }
        found.state = match_store::none;
        put(of, item);
    }

    /// Calls follow() of each item, and of those that it adds.
    template <class Follow> void for_each(match_store& of, Follow&& follow) noexcept {
        for (at_ = of.last().first_item; at_ < of.items_used && !of.has_overflowed; ++at_) {
            const match_item item = of.items[at_]; // a copy: it may end while it is followed
            if (item.state != match_store::none) {
                follow(item);
            }
        }
    }

    [[nodiscard]] std::size_t size_bytes() const noexcept { return found_.size_bytes(); }

private:
    static constexpr std::uint32_t few = 8; ///< sought one after the other

    /// The newest item with this state and frame; none where there is none.
    [[nodiscard]] std::uint32_t find(match_store& of, const match_item& item) noexcept {
        const std::uint32_t first = of.last().first_item;
        if (of.items_used - first > few) {
            const std::uint32_t* const slot = found_.at(item.state, item.frame, 0);
            of.has_overflowed = of.has_overflowed || slot == nullptr;
            return slot == nullptr ? match_store::none : *slot;
        }
        for (std::uint32_t i = of.items_used; i-- > first;) {
            if (of.items[i].state == item.state && of.items[i].frame == item.frame) {
                return i;
            }
        }
        return match_store::none;
    }
    void put(match_store& of, const match_item& item) noexcept {
        const std::uint32_t first = of.last().first_item;
        if (of.items_used == of.items.size() || of.items_used - first == of.items_at_once) {
            of.has_overflowed = true;
            return;
        }
        of.items[of.items_used++] = item;
        if (of.items_used - first <= few) {
            return;
        }
        const bool is_first_of_many = of.items_used - first == few + 1;
        for (std::uint32_t i = is_first_of_many ? first : of.items_used - 1; i < of.items_used; ++i) {
            if (of.items[i].state != match_store::none) {
                put_in_table(of, i);
            }
        }
    }
    void put_in_table(match_store& of, std::uint32_t number) noexcept {
        std::uint32_t* const slot = found_.at(of.items[number].state, of.items[number].frame, 0);
        of.has_overflowed = of.has_overflowed || slot == nullptr;
        if (slot != nullptr) {
            *slot = number;
        }
    }

    stamp_table found_;    ///< (state, frame, 0) to an item
    std::uint32_t at_ = 0; ///< the item that is being followed
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
