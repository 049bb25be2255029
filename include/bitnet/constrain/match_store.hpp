// SPDX-License-Identifier: MIT
// match_store: the items, frames and links of a matcher, level by level.
#ifndef BITNET_CONSTRAIN_MATCH_STORE_HPP
#define BITNET_CONSTRAIN_MATCH_STORE_HPP

#include <bitnet/constrain/matcher_options.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// One way of reading the text so far: a state of a rule, the call it belongs to, and from how much to how much the
/// rule's counter may have come.
struct match_item {
    std::uint32_t state;
    std::uint32_t frame;
    std::uint32_t low;
    std::uint32_t high;
};

/// Where a rule goes on when a text of it is complete: an item of the caller.
struct match_link {
    match_item back;
    std::uint32_t next;  ///< link of the same frame, an older one, or none
    std::uint32_t frame; ///< whose link it is
};

/// A rule that was called at one position, once for all its callers there.
struct match_frame {
    std::uint32_t rule;
    std::uint32_t first_link;
    std::uint32_t popped_at;    ///< the last pass in which it ended
    std::uint32_t bytes_to_end; ///< scratch of match_distances
    std::uint32_t moved_to;     ///< scratch of compact()
    std::uint32_t seen;         ///< scratch of frame_watch
};

/// All that is known after one byte: the items from `first_item` on.
struct match_level {
    std::uint32_t first_item;
    std::uint32_t first_frame;
    std::uint32_t first_link;
    bool can_end;
};

/// A place that a matcher can go back to.
struct match_mark {
    match_level level;
    std::uint32_t items;
    std::uint32_t frames;
    std::uint32_t links;
};

/// Three stacks. Each byte begins a level on top of them, and going back takes the levels behind it off again.
/// Allocates in open() alone.
struct match_store {
    static constexpr std::uint32_t none = 0xffffffffu; ///< of states: an item that is none any more, the end of a text

    /// \return errc::out_of_memory
    [[nodiscard]] static result<match_store> open(const matcher_options& options) {
        match_store made;
        error failure;
        allocate_uninitialized(made.items, options.items, "matcher", failure);
        allocate_uninitialized(made.frames, options.frames, "matcher", failure);
        allocate_uninitialized(made.links, options.links, "matcher", failure);
        allocate_uninitialized(made.levels, std::uint64_t{options.longest_lookahead} + 2, "matcher", failure);
        made.items_at_once = options.items_at_once;
        return failure.code == errc{} ? result<match_store>(std::move(made)) : failure;
    }

    [[nodiscard]] match_level& last() noexcept { return levels[level]; }
    [[nodiscard]] const match_level& last() const noexcept { return levels[level]; }

    /// Begins level 0.
    void clear() noexcept {
        items_used = frames_used = links_used = level = 0;
        levels[0] = {0, 0, 0, false};
        has_overflowed = is_marked = false;
    }
    /// Begins another one. \pre level + 1 < levels.size()
    void open_level() noexcept {
        levels[++level] = {items_used, frames_used, links_used, false};
        has_overflowed = false;
    }
    /// \pre to <= level
    void go_back_to(std::uint32_t to) noexcept {
        if (level == to) {
            return;
        }
        items_used = levels[to + 1].first_item;
        frames_used = levels[to + 1].first_frame;
        links_used = levels[to + 1].first_link;
        level = to;
    }
    /// The last level becomes the first: nothing goes back behind it.
    void forget_levels() noexcept {
        levels[0] = levels[level];
        level = 0;
    }

    /// \pre level 0
    void set_mark() noexcept {
        mark = {levels[0], items_used, frames_used, links_used};
        is_marked = true;
    }
    /// \pre is_marked, level 0
    void go_back_to_mark() noexcept {
        levels[0] = mark.level;
        items_used = mark.items;
        frames_used = mark.frames;
        links_used = mark.links;
    }

    /// Whether a text can go on for a while without compact().
    [[nodiscard]] bool is_room() const noexcept {
        return items_used + items_at_once < items.size() && frames_used + frames.size() / 8 < frames.size() &&
               links_used + links.size() / 8 < links.size();
    }
    [[nodiscard]] std::size_t size_bytes() const noexcept {
        return items.size_bytes() + frames.size_bytes() + links.size_bytes() + levels.size_bytes();
    }

    buffer<match_item> items;
    buffer<match_frame> frames;
    buffer<match_link> links;
    buffer<match_level> levels;
    std::uint32_t items_used = 0;
    std::uint32_t frames_used = 0;
    std::uint32_t links_used = 0;
    std::uint32_t level = 0;
    std::uint32_t items_at_once = 0; ///< of one level
    bool has_overflowed = false;     ///< the last level needs more than there is room for
    bool is_marked = false;
    match_mark mark{};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
