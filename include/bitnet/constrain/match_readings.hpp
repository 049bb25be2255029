// SPDX-License-Identifier: MIT
// match_readings: all ways in which a grammar can read a text, byte by byte.
#ifndef BITNET_CONSTRAIN_MATCH_READINGS_HPP
#define BITNET_CONSTRAIN_MATCH_READINGS_HPP

#include <bitnet/constrain/automaton.hpp>
#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/frame_watch.hpp>
#include <bitnet/constrain/level_items.hpp>
#include <bitnet/constrain/level_links.hpp>
#include <bitnet/constrain/match_distances.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/constrain/matcher_options.hpp>
#include <bitnet/constrain/stamp_table.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Every way is followed at once (as generalised LL parsers do: calls of one rule at one position share a frame). A
/// byte makes a level: the targets of its edges, and all that is reached from there without a byte, by calls, counts
/// and ends of rules. Allocates in open() alone.
class match_readings {
public:
    match_readings() = default; ///< of nothing: see open()

    /// \pre restart() comes next \return errc::out_of_memory
    [[nodiscard]] static result<match_readings> open(std::shared_ptr<const compiled_grammar> tables,
                                                     const matcher_options& options) {
        match_readings made;
        auto store = match_store::open(options);
        if (!store) {
            return failed(store);
        }
        made.store_ = *std::move(store);
        error failure;
        allocate(made.frame_of_rule_, tables->rules.size(), "matcher", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto items = stamp_table::open(options.items_at_once);
        auto links = stamp_table::open(options.items_at_once * 4);
        if (!items || !links) {
            return items ? failed(links) : failed(items);
        }
        made.items_ = level_items(*std::move(items));
        made.links_ = level_links(*std::move(links));
        made.tables_ = std::move(tables);
        return made;
    }

    [[nodiscard]] const compiled_grammar& tables() const noexcept { return *tables_; }
    [[nodiscard]] match_store& store() noexcept { return store_; }
    [[nodiscard]] const match_store& store() const noexcept { return store_; }
    [[nodiscard]] match_distances distances() noexcept { return {*tables_, store_}; }
    [[nodiscard]] frame_watch& watch() noexcept { return watch_; }
    [[nodiscard]] bool can_end() const noexcept { return store_.last().can_end; }
    /// Whether the last step() was refused for lack of room.
    [[nodiscard]] bool out_of_budget() const noexcept { return out_of_budget_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return store_.size_bytes() + frame_of_rule_.size_bytes() + items_.size_bytes() + links_.size_bytes();
    }

    /// Begins another text, at level 0.
    void restart() noexcept {
        store_.clear();
        out_of_budget_ = false;
        begin_level();
        links_.add(store_, frame_of(tables_->root), {none, none, 0, 0});
        close_level();
        store_.last().can_end = tables_->rules[tables_->root].is_nullable;
    }

    /// Takes a byte, on a level of its own. \return whether it is allowed; all is as it was where it is not
    [[nodiscard]] bool step(std::uint8_t byte) noexcept {
        const std::uint32_t first = store_.last().first_item;
        const std::uint32_t last = store_.items_used;
        open_level();
        for (std::uint32_t i = first; i < last && !store_.has_overflowed; ++i) {
            add_targets(store_.items[i], byte);
        }
        close_level();
        out_of_budget_ = store_.has_overflowed;
        return keep_level();
    }
    /// Back to level 0, as if no step() had been tried from there.
    void go_back() noexcept {
        store_.go_back_to(0);
        out_of_budget_ = false;
    }

    // Of a step: open_level(), add_targets() of what was there, close_level(), keep_level().

    void open_level() noexcept {
        store_.open_level();
        begin_level();
    }
    /// Adds what an item, perhaps one that is none any more, becomes by a byte.
    void add_targets(const match_item item, std::uint8_t byte) noexcept {
        if (item.state == none) {
            return;
        }
        for (const byte_edge edge : tables_->states.byte_edges(item.state)) {
            if (byte < edge.low) {
                break;
            }
            if (byte <= edge.high) {
                items_.add(store_, {edge.target, item.frame, item.low, item.high});
            }
        }
    }
    /// Follows what needs no byte, from every item of the new level.
    void close_level() noexcept {
        const automaton& states = tables_->states;
        items_.for_each(store_, [&](const match_item& item) noexcept {
            if (states.is_final(item.state)) {
                end_rule(item);
            }
            for (const special_edge& edge : states.special_edges(item.state)) {
                follow(item, edge);
            }
        });
    }
    /// Goes back where the new level has too many ways of reading, or none. \return whether it did not
    [[nodiscard]] bool keep_level() noexcept {
        const bool is_empty = store_.items_used == store_.last().first_item && !can_end();
        if (store_.has_overflowed || is_empty) {
            store_.go_back_to(store_.level - 1);
            return false;
        }
        return true;
    }

    /// The item behind an edge that counts; state none where the count is reached.
    [[nodiscard]] BITNET_ALWAYS_INLINE match_item counted(const match_item& at,
                                                          const special_edge& edge) const noexcept {
        if (edge.value == no_limit) { // what exceeds the least count is the same
            const std::uint32_t least = tables_->rules[tables_->rule_of[at.state]].least;
            return {edge.target, at.frame, (std::min)(at.low + 1, least), (std::min)(at.high + 1, least)};
        }
        if (at.low >= edge.value) {
            return {none, 0, 0, 0};
        }
        return {edge.target, at.frame, at.low + 1, (std::min)(at.high, edge.value - 1) + 1};
    }

private:
    static constexpr std::uint32_t none = match_store::none;
    static constexpr std::uint32_t no_limit = 0xffffffffu;

    void begin_level() noexcept {
        ++pass_;
        items_.begin();
        links_.begin();
    }

    void follow(const match_item& item, const special_edge& edge) noexcept {
        switch (edge.kind) {
        case special_kind::skip:
            return items_.add(store_, {edge.target, item.frame, item.low, item.high});
        case special_kind::count:
            if (const match_item next = counted(item, edge); next.state != none) {
                items_.add(store_, next);
            }
            return;
        case special_kind::call:
        case special_kind::tail_call:
            return call(item, edge);
        }
    }

    void call(const match_item& item, const special_edge& edge) noexcept {
        const std::uint32_t called = frame_of(edge.value);
        if (called == none) {
            return;
        }
        // Nothing is left to do in the caller: the called rule goes back to where that would have gone. (The links of a
        // frame of this level may still become more.)
        if (edge.kind == special_kind::tail_call && item.frame < store_.last().first_frame) {
            watch_.look(store_, item.frame);
            for (std::uint32_t i = store_.frames[item.frame].first_link; i != none && !store_.has_overflowed;
                 i = store_.links[i].next) {
                links_.add(store_, called, store_.links[i].back);
            }
            return;
        }
        links_.add(store_, called, {edge.target, item.frame, item.low, item.high});
    }

    /// The frame of a rule that is called here, made where it is the first call; none where there is no room.
    [[nodiscard]] std::uint32_t frame_of(std::uint32_t rule) noexcept {
        const std::uint32_t known = frame_of_rule_[rule];
        if (known >= store_.last().first_frame && known < store_.frames_used && store_.frames[known].rule == rule) {
            return known;
        }
        if (store_.frames_used == store_.frames.size()) {
            store_.has_overflowed = true;
            return none;
        }
        const std::uint32_t made = store_.frames_used++;
        store_.frames[made] = {rule, none, 0, endless, 0, 0};
        frame_of_rule_[rule] = made;
        items_.add(store_, {tables_->rules[rule].start, made, 0, 0});
        return made;
    }

    /// A text of the item's rule is complete. One that was called here has taken no byte: its callers skip it.
    void end_rule(const match_item& item) noexcept {
        match_frame& frame = store_.frames[item.frame];
        if (item.high < tables_->rules[frame.rule].least || item.frame >= store_.last().first_frame ||
            std::exchange(frame.popped_at, pass_) == pass_) {
            return;
        }
        watch_.look(store_, item.frame);
        for (std::uint32_t i = frame.first_link; i != none && !store_.has_overflowed; i = store_.links[i].next) {
            if (store_.links[i].back.state == none) {
                store_.last().can_end = true;
            } else {
                items_.add(store_, store_.links[i].back);
            }
        }
    }

    std::shared_ptr<const compiled_grammar> tables_;
    match_store store_;
    level_items items_;
    level_links links_;
    buffer<std::uint32_t> frame_of_rule_; ///< [rules]: the last frame of each
    frame_watch watch_;
    std::uint32_t pass_ = 0; ///< counts levels, also those that were gone back from
    bool out_of_budget_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
