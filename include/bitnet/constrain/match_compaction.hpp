// SPDX-License-Identifier: MIT
// Compaction of a match_store: what no way of reading can come back to gives up its place.
#ifndef BITNET_CONSTRAIN_MATCH_COMPACTION_HPP
#define BITNET_CONSTRAIN_MATCH_COMPACTION_HPP

#include <bitnet/constrain/match_store.hpp>
#include <bitnet/core/config.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets moved_to of the frames that items need to their new numbers, of the others to none.
inline void number_needed_frames(match_store& of) noexcept {
    constexpr std::uint32_t none = match_store::none;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].moved_to = none;
    }
    std::uint32_t todo = none; // a list through bytes_to_end
    const auto need = [&](std::uint32_t frame) {
        if (frame != none && of.frames[frame].moved_to == none) {
            of.frames[frame].moved_to = 0;
            of.frames[frame].bytes_to_end = std::exchange(todo, frame);
        }
    };
    for (std::uint32_t i = 0; i < of.items_used; ++i) {
        need(of.items[i].state == none ? none : of.items[i].frame);
    }
    while (todo != none) {
        const match_frame& frame = of.frames[todo];
        todo = frame.bytes_to_end;
        for (std::uint32_t i = frame.first_link; i != none; i = of.links[i].next) {
            need(of.links[i].back.frame);
        }
    }
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].moved_to = of.frames[i].moved_to == none ? none : kept++;
    }
}

/// Moves the links of numbered frames to the front, and drops the others. Older ones come first, so that each chain is
/// made anew in its order.
inline void move_needed_links(match_store& of) noexcept {
    constexpr std::uint32_t none = match_store::none;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        of.frames[i].first_link = none;
    }
    std::uint32_t links = 0;
    std::uint32_t marked = 0;
    for (std::uint32_t i = 0; i < of.links_used; ++i) {
        marked = i == of.mark.links ? links : marked;
        match_link link = of.links[i];
        match_frame& owner = of.frames[link.frame];
        if (owner.moved_to == none) {
            continue;
        }
        link.back.frame = link.back.frame == none ? none : of.frames[link.back.frame].moved_to;
        link.frame = owner.moved_to;
        link.next = std::exchange(owner.first_link, links);
        of.links[links++] = link;
    }
    of.mark.links = of.mark.links < of.links_used ? marked : links;
    of.links_used = links;
}

/// The same of the frames.
inline void move_needed_frames(match_store& of) noexcept {
    std::uint32_t frames = 0;
    std::uint32_t marked = 0;
    for (std::uint32_t i = 0; i < of.frames_used; ++i) {
        marked = i == of.mark.frames ? frames : marked;
        if (of.frames[i].moved_to != match_store::none) {
            of.frames[frames++] = of.frames[i];
        }
    }
    of.mark.frames = of.mark.frames < of.frames_used ? marked : frames;
    of.frames_used = frames;
}

/// Gives back what the present items, and those of the mark, cannot reach. \pre level 0
inline void compact(match_store& of) noexcept {
    const std::uint32_t first = of.levels[0].first_item;
    const bool is_apart = of.is_marked && of.mark.level.first_item != first;
    const std::uint32_t marked = is_apart ? of.mark.items - of.mark.level.first_item : 0;
    if (is_apart) {
        std::copy_n(of.items.data() + of.mark.level.first_item, marked, of.items.data());
    }
    std::copy(of.items.data() + first, of.items.data() + of.items_used, of.items.data() + marked);
    of.items_used -= first - marked;
    number_needed_frames(of);
    for (std::uint32_t i = 0; i < of.items_used; ++i) {
        if (of.items[i].state != match_store::none) {
            of.items[i].frame = of.frames[of.items[i].frame].moved_to;
        }
    }
    move_needed_links(of);
    move_needed_frames(of);
    of.levels[0] = {marked, of.frames_used, of.links_used, of.levels[0].can_end};
    of.mark.level.first_item = 0;
    of.mark.items = is_apart ? marked : of.items_used;
}

/// The same where little room is left. \pre level 0
inline void make_room(match_store& of) noexcept {
    if (!of.is_room()) {
        compact(of);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
