// SPDX-License-Identifier: MIT
// matcher: follows a text byte by byte through a grammar.
#ifndef BITNET_CONSTRAIN_MATCHER_HPP
#define BITNET_CONSTRAIN_MATCHER_HPP

#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/stamp_table.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/fwd.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// How much a matcher may hold. Its memory is 16 bytes an item, 24 a frame and 24 a link, 140 for each item at once (to
/// find them again) and 4 for each rule: 10 MiB by default. open() allocates it, and touches next to none: pages that
/// no text needs are never written.
struct matcher_options {
    std::uint32_t items = 65'536;            ///< of all positions that can be gone back to
    std::uint32_t items_at_once = 8'192;     ///< ways in which one text can be read so far
    std::uint32_t frames = 65'536;           ///< rules that are open, in all ways of reading
    std::uint32_t links = 262'144;           ///< ways back out of them
    std::uint32_t longest_lookahead = 1'024; ///< bytes that allows() looks at, such as those of the longest token
};

namespace detail {

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
    std::uint32_t bytes_to_end; ///< scratch of shortest_end()
    std::uint32_t moved_to;     ///< scratch of compaction
    std::uint32_t seen;         ///< scratch of mask_key

    static constexpr std::uint32_t most_seen = 64; ///< that are told apart, in the lower bits
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

class forced_tokens;
class mask_key;
class mask_walk;

} // namespace detail

/// Where a text stands in a grammar: which bytes may come next, and whether it may end. One matcher belongs to one
/// thread at a time; it shares the grammar's tables. Allocates in open() alone.
///
/// Every way of reading the text is followed at once, byte by byte (as generalised LL parsers do: calls of one rule at
/// one position share a frame), so that ambiguity and left recursion cost no more than items. What is allowed can
/// always be completed. Cost of a byte: linear in the items, one to three for JSON.
class matcher {
public:
    /// At the start of a text.
    /// \return errc::out_of_memory with the bytes asked for; errc::grammar_budget where the grammar can begin in more
    /// ways than `options` have room for; errc::invalid_argument where an option is 0.
    [[nodiscard]] static result<matcher> open(const grammar& texts, matcher_options options = {});

    /// Takes as many bytes of `text` as the grammar allows. \return how many these are; fewer than all: the next one is
    /// not allowed, or out_of_budget() says that the matcher cannot tell.
    std::size_t accept(std::string_view text) noexcept;

    /// Whether all bytes of `text` are allowed next, one after the other; takes none. False where they are more than
    /// longest_lookahead. Cost: that of accept(), and going back.
    [[nodiscard]] bool allows(std::string_view text) noexcept;

    /// Writes the bytes that have to come next, because there is no other one and the text may not end, as many as have
    /// room and no more than longest_lookahead; takes none. \return how many. Cost: that of allows().
    [[nodiscard]] std::size_t forced(std::span<char> out) noexcept {
        const std::size_t count = go_forced(out);
        go_back();
        return count;
    }

    /// Whether the text may end here.
    [[nodiscard]] bool can_end() const noexcept { return levels_[level_].can_end; }
    /// Whether it has to: no byte is allowed.
    [[nodiscard]] bool is_done() const noexcept;
    /// Bytes with which the text can be completed from here: the fewest, or, where a length is counted within a string,
    /// an upper bound. 0 where it may end. Cost: linear in the frames.
    [[nodiscard]] std::uint32_t shortest_end() noexcept;

    /// The same after `text`, all bytes of which are taken as by allows(). \pre allows(text)
    [[nodiscard]] std::uint32_t shortest_end_after(std::string_view text) noexcept;

    /// Whether the last byte was refused because the ways of reading exceeded the options, not because of the grammar.
    [[nodiscard]] bool out_of_budget() const noexcept { return out_of_budget_; }
    /// Begins another text, and forgets the checkpoint.
    void restart() noexcept;

    /// Remembers this place, instead of the one remembered before.
    void checkpoint() noexcept {
        mark_ = {levels_[0], items_used_, frames_used_, links_used_};
        is_marked_ = true;
    }
    /// Goes back to the place that checkpoint() remembered, any number of times. \pre it did, after the last restart()
    void rewind() noexcept;
    /// Bytes that open() allocated.
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return memory_bytes_; }

private:
    friend class detail::forced_tokens;
    friend class detail::mask_key;
    friend class detail::mask_walk;
    friend class token_constraint;

    static constexpr std::uint32_t none = 0xffffffffu;
    static constexpr std::uint32_t few = 8; ///< items or links of a level: sought one after the other

    /// As forced(), and stays behind these bytes until go_back().
    [[nodiscard]] std::size_t go_forced(std::span<char> out) noexcept;
    void go_back() noexcept {
        if (level_ != 0) {
            go_back_to(0);
        }
        out_of_budget_ = false;
    }
    /// The byte that has to come next; below 0 where there are others, or the text may end.
    [[nodiscard]] int only_byte() const noexcept;
    enum class ahead : unsigned char { allowed, refused, unknown };
    /// Takes `byte` as the one at `depth`, from 1 on, behind the place where go_forced() stays, after those at lesser
    /// depths. \return unknown: it cannot tell
    [[nodiscard]] ahead try_ahead(std::size_t depth, std::uint8_t byte) noexcept {
        const auto before = static_cast<std::uint32_t>(forced_level_ + depth - 1);
        if (level_ != before) {
            go_back_to(before);
        }
        if (level_ + 2 > levels_.size()) {
            return ahead::unknown;
        }
        return step(byte) ? ahead::allowed : out_of_budget_ ? ahead::unknown : ahead::refused;
    }
    void drop_ahead() noexcept {
        if (level_ != forced_level_) {
            go_back_to(forced_level_);
        }
    }

    [[nodiscard]] result<void> allocate(const matcher_options& options);
    [[nodiscard]] bool step(std::uint8_t byte) noexcept;
    [[nodiscard]] bool try_step(std::uint8_t byte) noexcept;
    void open_level() noexcept;
    void close_level() noexcept;
    void go_back_to(std::uint32_t level) noexcept;
    void forget_levels() noexcept;
    void compact() noexcept;
    void mark_frames() noexcept;
    void move_frames() noexcept;

    void add_item(detail::match_item item) noexcept;
    void put_item(detail::match_item item) noexcept;
    [[nodiscard]] std::uint32_t find_item(const detail::match_item& item) noexcept;
    [[nodiscard]] std::uint32_t find_link(std::uint32_t frame, const detail::match_item& back) noexcept;
    void index_item(std::uint32_t number) noexcept;
    void index_link(std::uint32_t number) noexcept;
    void follow(const detail::match_item& item, const detail::special_edge& edge) noexcept;
    void call(const detail::match_item& item, const detail::special_edge& edge) noexcept;
    void add_link(std::uint32_t frame, detail::match_item back) noexcept;
    void end_rule(const detail::match_item& item) noexcept;
    [[nodiscard]] std::uint32_t frame_of(std::uint32_t rule) noexcept;
    /// Sets bytes_to_end of the frames from `first` on, given those of the frames before it.
    void measure_frames(std::uint32_t first) noexcept;
    /// Sets bytes_to_end of all frames. \return the most of them.
    std::uint32_t longest_frame() noexcept;
    /// What can be completed from the items of the last level, given the same of all frames.
    [[nodiscard]] std::uint32_t bytes_from_level() const noexcept;
    [[nodiscard]] bool shorten(detail::match_frame& frame) noexcept;
    /// The links of a frame are looked at.
    void look(std::uint32_t frame) noexcept {
        if (frame < watched_) {
            looked_at(frame);
        }
    }
    void looked_at(std::uint32_t frame) noexcept;
    [[nodiscard]] std::uint32_t bytes_from(const detail::match_item& item) const noexcept;
    /// Of these, what does not depend on the state within the rule.
    [[nodiscard]] std::uint32_t bytes_behind(const detail::match_item& item) const noexcept;
    [[nodiscard]] bool is_room() const noexcept {
        return items_used_ + items_at_once_ < items_.size() && frames_used_ + frames_.size() / 8 < frames_.size() &&
               links_used_ + links_.size() / 8 < links_.size();
    }

    std::shared_ptr<const detail::compiled_grammar> tables_;
    buffer<detail::match_item> items_;
    buffer<detail::match_frame> frames_;
    buffer<detail::match_link> links_;
    buffer<detail::match_level> levels_;
    buffer<std::uint32_t> frame_of_rule_; // the last frame of each rule
    detail::stamp_table found_items_;     // of the level that is being made: (state, frame, 0) to an item
    detail::stamp_table found_links_;     // (frame, state, caller's frame) to a link
    std::uint32_t items_used_ = 0;
    std::uint32_t frames_used_ = 0;
    std::uint32_t links_used_ = 0;
    std::uint32_t level_ = 0;
    std::uint32_t forced_level_ = 0; // where go_forced() stays
    std::uint32_t items_at_once_ = 0;
    std::uint32_t at_ = 0; // the item that is being followed
    std::uint32_t pass_ = 0;
    std::size_t memory_bytes_ = 0;
    bool overflowed_ = false;
    bool out_of_budget_ = false;
    bool is_marked_ = false;
    detail::match_mark mark_{};
    std::uint32_t watched_ = 0;   // frames below are those of mask_key, while a mask is made
    std::uint32_t watch_ = 0;     // what `seen` has of its frames, in the upper bits
    std::uint32_t last_seen_ = 0; // the largest `seen` of those that were looked at; none: one that it does not know
};

inline result<matcher> matcher::open(const grammar& texts, matcher_options options) {
    return detail::guarded([&]() -> result<matcher> {
        matcher made;
        made.tables_ = detail::grammar_access::tables(texts);
        if (auto allocated = made.allocate(options); !allocated) {
            return failed(allocated);
        }
        made.restart();
        if (made.overflowed_) {
            return detail::error_saying(errc::grammar_budget,
                                        {"a text of the grammar can begin in more ways than a matcher holds (",
                                         options.items_at_once, " items at once, ", options.frames, " frames)"});
        }
        return made;
    });
}

inline result<void> matcher::allocate(const matcher_options& options) {
    if (options.items_at_once == 0 || options.frames == 0 || options.links == 0 || options.longest_lookahead == 0 ||
        options.items < options.items_at_once) {
        return detail::error_saying(errc::invalid_argument,
                                    {"matcher_options: ", options.items, " items, ", options.items_at_once,
                                     " at once: none of the options may be 0, and the first not below the second"});
    }
    items_at_once_ = options.items_at_once;
    error failure;
    detail::allocate_uninitialized(items_, options.items, "matcher", failure);
    detail::allocate_uninitialized(frames_, options.frames, "matcher", failure);
    detail::allocate_uninitialized(links_, options.links, "matcher", failure);
    detail::allocate_uninitialized(levels_, std::uint64_t{options.longest_lookahead} + 2, "matcher", failure);
    detail::allocate(frame_of_rule_, tables_->rules.size(), "matcher", failure);
    if (failure.code != errc{}) {
        return failure;
    }
    auto found_items = detail::stamp_table::open(options.items_at_once);
    auto found_links = detail::stamp_table::open(options.items_at_once * 4);
    if (!found_items || !found_links) {
        return found_items ? failed(found_links) : failed(found_items);
    }
    found_items_ = *std::move(found_items);
    found_links_ = *std::move(found_links);
    memory_bytes_ = items_.size_bytes() + frames_.size_bytes() + links_.size_bytes() + levels_.size_bytes() +
                    frame_of_rule_.size_bytes() + found_items_.size_bytes() + found_links_.size_bytes();
    return {};
}

inline void matcher::restart() noexcept {
    items_used_ = frames_used_ = links_used_ = level_ = 0;
    levels_[0] = {0, 0, 0, false};
    overflowed_ = out_of_budget_ = is_marked_ = false;
    ++pass_;
    found_items_.forget();
    found_links_.forget();
    add_link(frame_of(tables_->root), {none, none, 0, 0});
    close_level();
    levels_[0].can_end = tables_->rules[tables_->root].is_nullable;
}

inline void matcher::open_level() noexcept {
    ++level_;
    levels_[level_] = {items_used_, frames_used_, links_used_, false};
    overflowed_ = false;
    ++pass_;
    found_items_.forget();
    found_links_.forget();
}

/// Follows what needs no byte, from every item of the new level.
inline void matcher::close_level() noexcept {
    const detail::automaton& states = tables_->states;
    for (at_ = levels_[level_].first_item; at_ < items_used_ && !overflowed_; ++at_) {
        const detail::match_item item = items_[at_];
        if (item.state == none) {
            continue;
        }
        if (states.is_final(item.state)) {
            end_rule(item);
        }
        for (const detail::special_edge& edge : states.special_edges(item.state)) {
            follow(item, edge);
        }
    }
}

inline bool matcher::try_step(std::uint8_t byte) noexcept {
    const detail::match_level before = levels_[level_];
    const std::uint32_t last = items_used_;
    open_level();
    for (std::uint32_t i = before.first_item; i < last && !overflowed_; ++i) {
        const detail::match_item item = items_[i];
        if (item.state == none) {
            continue;
        }
        for (const detail::byte_edge edge : tables_->states.byte_edges(item.state)) {
            if (byte < edge.low) {
                break;
            }
            if (byte <= edge.high) {
                add_item({edge.target, item.frame, item.low, item.high});
            }
        }
    }
    close_level();
    if (overflowed_ || (items_used_ == last && !levels_[level_].can_end)) {
        go_back_to(level_ - 1);
        return false;
    }
    return true;
}

inline bool matcher::step(std::uint8_t byte) noexcept {
    out_of_budget_ = false;
    const bool is_taken = try_step(byte);
    out_of_budget_ = overflowed_;
    return is_taken;
}

inline void matcher::go_back_to(std::uint32_t level) noexcept {
    items_used_ = levels_[level + 1].first_item;
    frames_used_ = levels_[level + 1].first_frame;
    links_used_ = levels_[level + 1].first_link;
    level_ = level;
}

inline std::size_t matcher::accept(std::string_view text) noexcept {
    std::size_t taken = 0;
    while (taken < text.size()) {
        if (!is_room()) {
            compact();
        }
        if (!step(static_cast<std::uint8_t>(text[taken]))) {
            break;
        }
        forget_levels();
        ++taken;
    }
    return taken;
}

inline bool matcher::allows(std::string_view text) noexcept {
    if (text.size() + 2 > levels_.size()) {
        return false;
    }
    if (!is_room()) {
        compact();
    }
    std::size_t taken = 0;
    while (taken < text.size() && step(static_cast<std::uint8_t>(text[taken]))) {
        ++taken;
    }
    if (taken != 0) {
        go_back_to(0);
    }
    return taken == text.size();
}

inline int matcher::only_byte() const noexcept {
    int found = -1;
    for (std::uint32_t i = levels_[level_].first_item; i < items_used_ && !can_end(); ++i) {
        if (items_[i].state == none) {
            continue;
        }
        for (const detail::byte_edge edge : tables_->states.byte_edges(items_[i].state)) {
            if (edge.low != edge.high || (found >= 0 && found != edge.low)) {
                return -1;
            }
            found = edge.low;
        }
    }
    return found;
}

inline std::size_t matcher::go_forced(std::span<char> out) noexcept {
    if (!is_room()) {
        compact();
    }
    std::size_t count = 0;
    for (int byte = only_byte(); byte >= 0 && count < out.size() && count + 2 < levels_.size(); byte = only_byte()) {
        if (!step(static_cast<std::uint8_t>(byte))) {
            break;
        }
        out[count++] = static_cast<char>(byte);
    }
    forced_level_ = level_;
    return count;
}

/// The level after the last byte becomes the first: nothing goes back behind it.
inline void matcher::forget_levels() noexcept {
    levels_[0] = levels_[level_];
    level_ = 0;
}

inline bool matcher::is_done() const noexcept {
    for (std::uint32_t i = levels_[level_].first_item; i < items_used_; ++i) {
        if (items_[i].state != none && !tables_->states.byte_edges(items_[i].state).empty()) {
            return false;
        }
    }
    return true;
}

/// The newest item of the last level with this state and frame; none where there is none.
inline std::uint32_t matcher::find_item(const detail::match_item& item) noexcept {
    const std::uint32_t first = levels_[level_].first_item;
    if (items_used_ - first > few) {
        const std::uint32_t* const slot = found_items_.at(item.state, item.frame, 0);
        overflowed_ = overflowed_ || slot == nullptr;
        return slot == nullptr ? none : *slot;
    }
    for (std::uint32_t i = items_used_; i-- > first;) {
        if (items_[i].state == item.state && items_[i].frame == item.frame) {
            return i;
        }
    }
    return none;
}

inline void matcher::index_item(std::uint32_t number) noexcept {
    std::uint32_t* const slot = found_items_.at(items_[number].state, items_[number].frame, 0);
    overflowed_ = overflowed_ || slot == nullptr;
    if (slot != nullptr) {
        *slot = number;
    }
}

inline void matcher::add_item(detail::match_item item) noexcept {
    const std::uint32_t number = find_item(item);
    if (overflowed_ || number == none) {
        return overflowed_ ? void() : put_item(item);
    }
    detail::match_item& found = items_[number];
    if (item.low >= found.low && item.high <= found.high) {
        return;
    }
    const bool is_apart = item.low > found.high + 1 || found.low > item.high + 1;
    if (is_apart) {
        return put_item(item);
    }
    item.low = (std::min)(item.low, found.low);
    item.high = (std::max)(item.high, found.high);
    if (number > at_) { // not followed yet
        found = item;
        return;
    }
    found.state = none;
    put_item(item);
}

inline void matcher::put_item(detail::match_item item) noexcept {
    const std::uint32_t first = levels_[level_].first_item;
    if (items_used_ == items_.size() || items_used_ - first == items_at_once_) {
        overflowed_ = true;
        return;
    }
    items_[items_used_++] = item;
    const bool is_first_of_many = items_used_ - first == few + 1;
    for (std::uint32_t i = is_first_of_many ? first : items_used_ - 1; items_used_ - first > few && i < items_used_;
         ++i) {
        if (items_[i].state != none) {
            index_item(i);
        }
    }
}

inline void matcher::follow(const detail::match_item& item, const detail::special_edge& edge) noexcept {
    const std::uint32_t least = tables_->rules[tables_->rule_of[item.state]].least;
    switch (edge.kind) {
    case detail::special_kind::skip:
        return add_item({edge.target, item.frame, item.low, item.high});
    case detail::special_kind::count:
        if (edge.value == 0xffffffffu) { // no limit: what exceeds the least count is the same
            add_item({edge.target, item.frame, (std::min)(item.low + 1, least), (std::min)(item.high + 1, least)});
        } else if (item.low < edge.value) {
            add_item({edge.target, item.frame, item.low + 1, (std::min)(item.high, edge.value - 1) + 1});
        }
        return;
    case detail::special_kind::call:
    case detail::special_kind::tail_call:
        return call(item, edge);
    }
}

inline void matcher::call(const detail::match_item& item, const detail::special_edge& edge) noexcept {
    const std::uint32_t called = frame_of(edge.value);
    if (called == none) {
        return;
    }
    const detail::match_frame& caller = frames_[item.frame];
    // Nothing is left to do in the caller: the called rule goes back to where that would have gone. (The links of a
    // frame of this level may still become more.)
    if (edge.kind == detail::special_kind::tail_call && item.frame < levels_[level_].first_frame) {
        look(item.frame);
        for (std::uint32_t i = caller.first_link; i != none && !overflowed_; i = links_[i].next) {
            add_link(called, links_[i].back);
        }
        return;
    }
    add_link(called, {edge.target, item.frame, item.low, item.high});
}

/// The frame of a rule that is called here, made where it is the first call; none where there is no room.
inline std::uint32_t matcher::frame_of(std::uint32_t rule) noexcept {
    const std::uint32_t known = frame_of_rule_[rule];
    if (known >= levels_[level_].first_frame && known < frames_used_ && frames_[known].rule == rule) {
        return known;
    }
    if (frames_used_ == frames_.size()) {
        overflowed_ = true;
        return none;
    }
    const std::uint32_t made = frames_used_++;
    frames_[made] = {rule, none, 0, detail::endless, 0, 0};
    frame_of_rule_[rule] = made;
    add_item({tables_->rules[rule].start, made, 0, 0});
    return made;
}

/// The same of the links.
inline std::uint32_t matcher::find_link(std::uint32_t frame, const detail::match_item& back) noexcept {
    if (links_used_ - levels_[level_].first_link > few) {
        const std::uint32_t* const slot = found_links_.at(frame, back.state, back.frame);
        overflowed_ = overflowed_ || slot == nullptr;
        return slot == nullptr ? none : *slot;
    }
    std::uint32_t i = frames_[frame].first_link;
    while (i != none && (links_[i].back.state != back.state || links_[i].back.frame != back.frame)) {
        i = links_[i].next;
    }
    return i;
}

inline void matcher::index_link(std::uint32_t number) noexcept {
    const detail::match_link& link = links_[number];
    std::uint32_t* const slot = found_links_.at(link.frame, link.back.state, link.back.frame);
    overflowed_ = overflowed_ || slot == nullptr;
    if (slot != nullptr) {
        *slot = number;
    }
}

inline void matcher::add_link(std::uint32_t frame, detail::match_item back) noexcept {
    const std::uint32_t number = find_link(frame, back);
    if (overflowed_ || links_used_ == links_.size()) {
        overflowed_ = true;
        return;
    }
    if (number != none) {
        detail::match_item& found = links_[number].back;
        if (back.low <= found.high + 1 && found.low <= back.high + 1) {
            found.low = (std::min)(back.low, found.low);
            found.high = (std::max)(back.high, found.high);
            return;
        }
    }
    links_[links_used_] = {back, frames_[frame].first_link, frame};
    frames_[frame].first_link = links_used_++;
    const std::uint32_t first = levels_[level_].first_link;
    const bool is_first_of_many = links_used_ - first == few + 1;
    for (std::uint32_t i = is_first_of_many ? first : links_used_ - 1; links_used_ - first > few && i < links_used_;
         ++i) {
        index_link(i);
    }
}

inline void matcher::looked_at(std::uint32_t frame) noexcept {
    const std::uint32_t seen = frames_[frame].seen;
    last_seen_ = (seen ^ watch_) < detail::match_frame::most_seen ? (std::max)(last_seen_, seen) : none;
}

/// A text of the item's rule is complete. One that was called here has taken no byte: its callers skip it.
inline void matcher::end_rule(const detail::match_item& item) noexcept {
    detail::match_frame& frame = frames_[item.frame];
    if (item.high < tables_->rules[frame.rule].least || item.frame >= levels_[level_].first_frame ||
        std::exchange(frame.popped_at, pass_) == pass_) {
        return;
    }
    look(item.frame);
    for (std::uint32_t i = frame.first_link; i != none && !overflowed_; i = links_[i].next) {
        if (links_[i].back.state == none) {
            levels_[level_].can_end = true;
        } else {
            add_item(links_[i].back);
        }
    }
}

inline std::uint32_t matcher::bytes_behind(const detail::match_item& item) const noexcept {
    const detail::compiled_rule& rule = tables_->rules[tables_->rule_of[item.state]];
    const std::uint64_t missing = item.high < rule.least ? rule.least - item.high : 0;
    return detail::bytes_together(missing * rule.step_bytes, frames_[item.frame].bytes_to_end);
}

inline std::uint32_t matcher::bytes_from(const detail::match_item& item) const noexcept {
    return detail::bytes_together(tables_->to_end[item.state], bytes_behind(item));
}

inline bool matcher::shorten(detail::match_frame& frame) noexcept {
    std::uint32_t fewest = frame.bytes_to_end;
    for (std::uint32_t i = frame.first_link; i != none; i = links_[i].next) {
        fewest = (std::min)(fewest, links_[i].back.state == none ? 0 : bytes_from(links_[i].back));
    }
    return std::exchange(frame.bytes_to_end, fewest) != fewest;
}

inline void matcher::measure_frames(std::uint32_t first) noexcept {
    for (std::uint32_t i = first; i < frames_used_; ++i) {
        frames_[i].bytes_to_end = detail::endless;
    }
    for (bool is_shorter = first < frames_used_; is_shorter;) { // links go to older frames, but for left recursion
        is_shorter = false;
        for (std::uint32_t i = first; i < frames_used_; ++i) {
            is_shorter = shorten(frames_[i]) || is_shorter;
        }
    }
}

inline std::uint32_t matcher::bytes_from_level() const noexcept {
    std::uint32_t fewest = can_end() ? 0 : detail::endless;
    for (std::uint32_t i = levels_[level_].first_item; i < items_used_; ++i) {
        fewest = items_[i].state == none ? fewest : (std::min)(fewest, bytes_from(items_[i]));
    }
    return fewest;
}

inline std::uint32_t matcher::shortest_end() noexcept {
    if (can_end()) {
        return 0;
    }
    measure_frames(0);
    return bytes_from_level();
}

inline std::uint32_t matcher::longest_frame() noexcept {
    measure_frames(0);
    std::uint32_t most = 0;
    for (std::uint32_t i = 0; i < frames_used_; ++i) {
        most = (std::max)(most, frames_[i].bytes_to_end);
    }
    return most;
}

inline std::uint32_t matcher::shortest_end_after(std::string_view text) noexcept {
    for (const char byte : text) {
        static_cast<void>(step(static_cast<std::uint8_t>(byte)));
    }
    const std::uint32_t fewest = shortest_end();
    if (level_ != 0) {
        go_back_to(0);
    }
    return fewest;
}

inline void matcher::rewind() noexcept {
    levels_[0] = mark_.level;
    items_used_ = mark_.items;
    frames_used_ = mark_.frames;
    links_used_ = mark_.links;
    out_of_budget_ = false;
}

/// Gives back what the present items, and those of the checkpoint, cannot reach. \pre level 0
inline void matcher::compact() noexcept {
    const std::uint32_t first = levels_[0].first_item;
    const bool is_apart = is_marked_ && mark_.level.first_item != first;
    const std::uint32_t marked = is_apart ? mark_.items - mark_.level.first_item : 0;
    if (is_apart) {
        std::copy_n(items_.data() + mark_.level.first_item, marked, items_.data());
    }
    std::copy(items_.data() + first, items_.data() + items_used_, items_.data() + marked);
    items_used_ -= first - marked;
    mark_frames();
    move_frames();
    levels_[0] = {marked, frames_used_, links_used_, levels_[0].can_end};
    mark_.level.first_item = 0;
    mark_.items = is_apart ? marked : items_used_;
}

/// Sets moved_to of the frames that are needed to their new numbers, of the others to none.
inline void matcher::mark_frames() noexcept {
    for (std::uint32_t i = 0; i < frames_used_; ++i) {
        frames_[i].moved_to = none;
    }
    std::uint32_t todo = none; // a list through bytes_to_end
    const auto need = [&](std::uint32_t frame) {
        if (frame != none && frames_[frame].moved_to == none) {
            frames_[frame].moved_to = 0;
            frames_[frame].bytes_to_end = std::exchange(todo, frame);
        }
    };
    for (std::uint32_t i = 0; i < items_used_; ++i) {
        need(items_[i].state == none ? none : items_[i].frame);
    }
    while (todo != none) {
        const detail::match_frame& frame = frames_[todo];
        todo = frame.bytes_to_end;
        for (std::uint32_t i = frame.first_link; i != none; i = links_[i].next) {
            need(links_[i].back.frame);
        }
    }
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < frames_used_; ++i) {
        frames_[i].moved_to = frames_[i].moved_to == none ? none : kept++;
    }
}

/// Moves what is needed to the front. Older links come first, so that each chain is made anew in its order.
inline void matcher::move_frames() noexcept {
    for (std::uint32_t i = 0; i < items_used_; ++i) {
        if (items_[i].state != none) {
            items_[i].frame = frames_[items_[i].frame].moved_to;
        }
    }
    for (std::uint32_t i = 0; i < frames_used_; ++i) {
        frames_[i].first_link = none;
    }
    std::uint32_t links = 0;
    std::uint32_t marked_links = 0;
    for (std::uint32_t i = 0; i < links_used_; ++i) {
        marked_links = i == mark_.links ? links : marked_links;
        detail::match_link link = links_[i];
        detail::match_frame& owner = frames_[link.frame];
        if (owner.moved_to == none) {
            continue;
        }
        link.back.frame = link.back.frame == none ? none : frames_[link.back.frame].moved_to;
        link.frame = owner.moved_to;
        link.next = std::exchange(owner.first_link, links);
        links_[links++] = link;
    }
    mark_.links = mark_.links < links_used_ ? marked_links : links;
    std::uint32_t frames = 0;
    std::uint32_t marked_frames = 0;
    for (std::uint32_t i = 0; i < frames_used_; ++i) {
        marked_frames = i == mark_.frames ? frames : marked_frames;
        if (frames_[i].moved_to != none) {
            frames_[frames++] = frames_[i];
        }
    }
    mark_.frames = mark_.frames < frames_used_ ? marked_frames : frames;
    links_used_ = links;
    frames_used_ = frames;
}

} // namespace bitnet::inline BITNET_ABI

#endif
