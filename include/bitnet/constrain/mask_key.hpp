// SPDX-License-Identifier: MIT
// mask_key: what of a matcher's state a mask can depend on, as numbers that are equal where masks are.
#ifndef BITNET_CONSTRAIN_MASK_KEY_HPP
#define BITNET_CONSTRAIN_MASK_KEY_HPP

#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/frame_watch.hpp>
#include <bitnet/constrain/match_compaction.hpp>
#include <bitnet/constrain/match_readings.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// The items that a byte can follow, and the links of their frames, and of the frames of these, depth by depth: a mask
/// depends on as many depths as frames were left while it was made. Counters matter only near their bounds.
class mask_key {
public:
    static constexpr std::size_t most_words = 128;
    static constexpr std::size_t most_depths = 8;

    /// \param longest_token bytes. \return errc::out_of_memory.
    [[nodiscard]] static result<mask_key> open(const compiled_grammar& tables, std::size_t longest_token) {
        mask_key made;
        made.longest_ = static_cast<std::uint32_t>(longest_token);
        error failure;
        allocate(made.most_, tables.rules.size(), "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::uint32_t state = 0; state < tables.states.size(); ++state) {
            for (const special_edge& edge : tables.states.special_edges(state)) {
                if (edge.kind == special_kind::count) {
                    made.most_[tables.rule_of[state]] = edge.value;
                }
            }
        }
        return made;
    }

    /// Reads the place where the matcher is, and makes it watch which frames are left from now on.
    /// \pre at level 0
    void read(match_readings& of) noexcept {
        match_store& store = of.store();
        make_room(store);
        size_ = 0;
        depths_ = 0;
        known_ = 0;
        is_whole_ = true;
        of.watch().forget(store.frames.span());
        put(of.can_end() ? 1 : 0);
        for (std::uint32_t i = store.levels[0].first_item; i < store.items_used; ++i) {
            const match_item& item = store.items[i];
            if (item.state != match_store::none && !of.tables().states.byte_edges(item.state).empty()) {
                put_item(of, item);
            }
        }
        std::size_t expanded = 0;
        while (is_whole_ && depths_ < most_depths) {
            ends_[depths_] = size_;
            frames_at_[depths_++] = known_;
            for (const std::size_t end = known_; expanded < end; ++expanded) {
                put_links(of, frames_[expanded]);
            }
        }
        of.watch().start(store.frames_used);
    }

    /// How many depths there are keys for: at least one, if the items are not too many.
    [[nodiscard]] std::size_t depths() const noexcept { return depths_; }
    /// The key of a mask that depends on the links of frames up to `depth`. \pre depth < depths()
    [[nodiscard]] std::span<const std::uint32_t> key(std::size_t depth) const noexcept {
        return std::span(words_).first(ends_[depth]);
    }

    /// The depth of what was looked at since read(), which ends; depths() where it is beyond all keys.
    [[nodiscard]] std::size_t looked_at(match_readings& of) const noexcept {
        const std::uint32_t frames = of.watch().stop();
        if (frames == 0) {
            return 0;
        }
        std::size_t depth = 0;
        while (depth < depths_ && frames > frames_at_[depth]) {
            ++depth;
        }
        return (std::min)(depth + 1, depths_);
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept { return most_.size_bytes(); }

private:
    static constexpr std::uint32_t most_frames = frame_watch::most;
    static constexpr std::uint32_t root = 0xffffffffu;

    void put(std::uint32_t word) noexcept {
        is_whole_ = is_whole_ && size_ < words_.size();
        if (is_whole_) {
            words_[size_++] = word;
        }
    }
    void put_item(match_readings& of, const match_item& item) noexcept {
        put(item.state);
        if (item.state == root) {
            return;
        }
        put(number_of(of, item.frame));
        const std::uint32_t rule = of.tables().rule_of[item.state];
        if (most_[rule] != 0) {
            put(clamped(item.low, of.tables().rules[rule].least, most_[rule]));
            put(clamped(item.high, of.tables().rules[rule].least, most_[rule]));
        }
    }
    void put_links(match_readings& of, std::uint32_t frame) noexcept {
        const match_store& store = of.store();
        put(store.frames[frame].rule);
        for (std::uint32_t i = store.frames[frame].first_link; i != match_store::none && is_whole_;
             i = store.links[i].next) {
            put_item(of, store.links[i].back);
        }
        put(root - 1); // no state has that number
    }
    /// What a frame is called: a number in the order in which they are met.
    [[nodiscard]] std::uint32_t number_of(match_readings& of, std::uint32_t frame) noexcept {
        match_frame& met = of.store().frames[frame];
        if (const std::uint32_t number = of.watch().number(met); number != frame_watch::unknown) {
            return number;
        }
        is_whole_ = is_whole_ && known_ < most_frames;
        if (!is_whole_) {
            return 0;
        }
        frames_[known_] = frame;
        of.watch().set_number(met, known_);
        return known_++;
    }
    /// A count, the same for all from which one token cannot tell the bounds apart.
    [[nodiscard]] std::uint32_t clamped(std::uint32_t count, std::uint32_t least, std::uint32_t most) const noexcept {
        const bool is_free = most == 0xffffffffu || (count <= most && most - count > longest_ + 1);
        if (is_free && count >= least) {
            return 0xffffffffu;
        }
        return is_free && least - count > longest_ + 1 ? 0xfffffffeu : count;
    }

    buffer<std::uint32_t> most_; ///< [rules]: the highest count; 0 where nothing is counted
    std::uint32_t longest_ = 0;
    std::array<std::uint32_t, most_words> words_;
    std::array<std::uint32_t, most_frames> frames_;
    std::array<std::size_t, most_depths> ends_;        ///< of the key of each depth
    std::array<std::uint32_t, most_depths> frames_at_; ///< how many frames are known there
    std::size_t size_ = 0;
    std::size_t depths_ = 0;
    std::uint32_t known_ = 0;
    bool is_whole_ = true;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
