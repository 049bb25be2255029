// SPDX-License-Identifier: MIT
// mask_walk: which tokens of a vocabulary a matcher allows, by one walk of the tree of their bytes.
#ifndef BITNET_CONSTRAIN_MASK_WALK_HPP
#define BITNET_CONSTRAIN_MASK_WALK_HPP

#include <bitnet/constrain/compiled_grammar.hpp>
#include <bitnet/constrain/match_distances.hpp>
#include <bitnet/constrain/match_readings.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/constrain/state_rows.hpp>
#include <bitnet/constrain/token_tree.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// What came of a walk.
struct walked_mask {
    std::uint32_t count = 0;     ///< tokens that are allowed, without those that end the text
    std::uint32_t most_left = 0; ///< the most bytes that one of them leaves to the end, or to that of an older frame
    bool is_whole = true;        ///< false: the ways of reading, or the work, exceeded their limits
};

/// Walks the trie with a matcher. As long as there is one way of reading, and no rule is called or left, a byte is one
/// look into a row of 256; otherwise the matcher takes it, on a level of its own. Tokens that are plain text are added
/// as a whole where plain text is allowed. Working memory of one constraint; allocates in open() only.
class mask_walk {
public:
    static constexpr std::uint32_t any_end = 0xffffffffu;
    /// Nodes and items that are looked at for one mask: some 50 ms.
    static constexpr std::uint64_t most_work = 8'000'000;

    /// \return errc::out_of_memory.
    [[nodiscard]] static result<mask_walk> open(const compiled_grammar& tables, const token_trie& trie) {
        mask_walk made;
        error failure;
        allocate_uninitialized(made.places_, trie_access::all(trie).longest() + 1, "grammar mask", failure);
        allocate_uninitialized(made.path_, trie_access::all(trie).longest() + 1, "grammar mask", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto rows = state_rows::open(tables);
        if (!rows) {
            return failed(rows);
        }
        made.rows_ = *std::move(rows);
        return made;
    }

    /// Sets the bits of all tokens that are allowed next and after which no more than `most_left` bytes are missing.
    /// \param most_left any_end: as many as there may be; bytes_to_end of the frames is set to 0 then, and otherwise
    /// has to be what the matcher measured. \param bits all 0, one for each token \pre the matcher is at level 0
    [[nodiscard]] walked_mask run(match_readings& of, const token_trie& trie, std::uint32_t most_left,
                                  std::span<std::uint64_t> bits) noexcept {
        begin(of, most_left, bits);
        if (add_plain(trie)) {
            walk(trie_access::special(trie));
        } else {
            walk(trie_access::all(trie));
        }
        store_->go_back_to(0);
        return made_;
    }

    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return places_.size_bytes() + path_.size_bytes() + rows_.memory_bytes();
    }

private:
    static constexpr std::uint32_t none = 0xffffffffu;
    static constexpr std::uint32_t unknown = 0xffffffffu;

    /// Where a text stands: at one or two items whose states have nothing but edges over bytes, or at those of a level.
    struct place {
        match_item first;    ///< state none: nothing can follow, or see is_level
        match_item second;   ///< state none: there is none
        std::uint32_t level; ///< whose frames there are
        std::uint32_t left;  ///< bytes to the end; unknown: those of the first item
        bool is_level;
        std::uint32_t behind = unknown; ///< of them, those behind the rule of the only item, and what that has to count
    };
    /// The same on the way through a tree.
    struct point {
        std::uint32_t state; ///< of the only item; none: see the place
        std::uint32_t
            origin; ///< the depth of the place that has the rest; nowhere: that of this depth, without an item
    };
    static constexpr std::uint32_t nowhere = 0xffffffffu;
    static constexpr match_item no_item{none, 0, 0, 0};

    void begin(match_readings& of, std::uint32_t most_left, std::span<std::uint64_t> bits) noexcept {
        of_ = &of;
        store_ = &of.store();
        bits_ = bits;
        most_left_ = most_left;
        made_ = {};
        work_ = 0;
        if (most_left == any_end) {
            for (std::uint32_t i = 0; i < store_->frames_used; ++i) {
                store_->frames[i].bytes_to_end = 0;
            }
        }
        places_[0] = place_of_level();
        put_point(0);
    }

    /// The last level of the matcher as a place.
    [[nodiscard]] place place_of_level() noexcept {
        place made{no_item, no_item, store_->level, of_->distances().from_level(), false};
        for (std::uint32_t i = store_->levels[store_->level].first_item; i < store_->items_used; ++i) {
            const match_item item = store_->items[i];
            if (item.state == none || of_->tables().states.byte_edges(item.state).empty()) {
                continue;
            }
            if (made.second.state != none) {
                return {no_item, no_item, made.level, made.left, true};
            }
            (made.first.state == none ? made.first : made.second) = item;
        }
        return made;
    }

    /// Nearly all nodes are reached by an edge to a state from which nothing is called, counted or left. Of those no
    /// more than the state is written: the rest is that of the last place above.
    void walk(const token_tree& tree) noexcept {
        const token_node* const nodes = tree.nodes();
        const std::uint32_t* const tokens = tree.tokens().data();
        const std::uint32_t size = tree.size();
        std::uint64_t visited = 0;
        for (std::uint32_t n = 0; n < size;) {
            const token_node& node = nodes[n];
            if (++visited + work_ > most_work) {
                made_.is_whole = false;
                return;
            }
            const point from = path_[node.depth - 1u];
            const std::uint32_t target = from.state != none ? rows_.of(from.state)[node.byte] : state_rows::needs_level;
            if (target == state_rows::dead || ((target & state_rows::needs_level) != 0 && !arrive(from, node))) {
                n = node.next;
                continue;
            }
            if ((target & state_rows::needs_level) == 0) {
                path_[node.depth] = {target, from.origin};
            }
            if (const std::uint32_t end = nodes[n + 1].first_token; node.first_token != end) {
                take(node.depth, {tokens + node.first_token, end - node.first_token});
            }
            n = path_[node.depth].origin != nowhere ? n + 1 : node.next;
        }
        work_ += visited;
    }
    /// Goes from a point to the one of `node`, whatever is called or left on the way. \return whether that is allowed
    [[nodiscard]] bool arrive(const point& from, const token_node& node) noexcept {
        if (from.origin == nowhere) { // the text is complete
            return false;
        }
        const place& origin = places_[from.origin];
        place& to = places_[node.depth];
        bool is_there = false;
        if (from.state == none || from.origin + 1 == node.depth) {
            is_there = step(origin, node.byte, to);
        } else {
            place before = origin;
            before.first.state = from.state;
            is_there = step(before, node.byte, to);
        }
        if (!is_there) {
            return false;
        }
        put_point(node.depth);
        return true;
    }
    /// The point of a place that is written.
    void put_point(std::uint32_t depth) noexcept {
        place& at = places_[depth];
        const bool is_alone = !at.is_level && at.first.state != none && at.second.state == none;
        const bool is_end = !at.is_level && at.first.state == none;
        path_[depth] = {is_alone ? at.first.state : none, is_end ? nowhere : depth};
        at.behind = unknown;
    }
    /// What a token that ends at a point leaves to be written.
    [[nodiscard]] std::uint32_t left_at(std::uint32_t depth) noexcept {
        const point at = path_[depth];
        if (at.origin == depth || at.origin == nowhere) {
            const place& here = places_[depth];
            return here.left != unknown ? here.left : of_->distances().from(here.first);
        }
        place& origin = places_[at.origin];
        origin.behind = origin.behind != unknown ? origin.behind : of_->distances().behind(origin.first);
        return bytes_together(of_->tables().to_end[at.state], origin.behind);
    }
    /// Takes the tokens that end at a point, unless they leave too much to be written.
    void take(std::uint32_t depth, std::span<const std::uint32_t> tokens) noexcept {
        const std::uint32_t left = left_at(depth);
        if (left > most_left_) {
            return;
        }
        made_.most_left = (std::max)(made_.most_left, left);
        made_.count += static_cast<std::uint32_t>(tokens.size());
        for (const std::uint32_t id : tokens) {
            bits_[id / 64] |= std::uint64_t{1} << id % 64;
        }
    }

    [[nodiscard]] bool step(const place& from, std::uint8_t byte, place& to) noexcept {
        if (from.is_level) {
            return step_level(from, byte, to);
        }
        const std::uint32_t target = from.first.state == none ? state_rows::dead : rows_.of(from.first.state)[byte];
        if (from.second.state == none) {
            return target != state_rows::dead && go(from, from.first, target, byte, to);
        }
        const std::uint32_t other = rows_.of(from.second.state)[byte];
        if (target != state_rows::dead && other != state_rows::dead) {
            return open_level(from, byte, to);
        }
        return target != state_rows::dead  ? go(from, from.first, target, byte, to)
               : other != state_rows::dead ? go(from, from.second, other, byte, to)
                                           : false;
    }
    /// Follows the only item that a byte leads on from.
    [[nodiscard]] bool go(const place& from, const match_item& item, std::uint32_t target, std::uint8_t byte,
                          place& to) noexcept {
        if ((target & state_rows::needs_level) == 0) {
            to = {{target, item.frame, item.low, item.high}, no_item, from.level, unknown, false};
            return true;
        }
        const match_item there{target & ~state_rows::needs_level, item.frame, item.low, item.high};
        return (target != state_rows::needs_level && close(from, there, to)) || open_level(from, byte, to);
    }
    /// What the matcher does at a state where a rule may end, or a count goes on, as long as that leads to no more than
    /// two items. \return whether it does
    [[nodiscard]] bool close(const place& from, const match_item& at, place& to) noexcept {
        const automaton& states = of_->tables().states;
        const std::span<const special_edge> special = states.special_edges(at.state);
        place made{no_item, no_item, from.level, of_->distances().from(at), false};
        if (!special.empty()) {
            if (special.size() != 1 || special[0].kind != special_kind::count || !states.byte_edges(at.state).empty() ||
                rows_.needs_closing(special[0].target)) {
                return false;
            }
            made.first = of_->counted(at, special[0]);
        } else if (!states.byte_edges(at.state).empty()) {
            made.first = at;
        }
        if (states.is_final(at.state) && !leave(at, made)) {
            return false;
        }
        for (const match_item& item : {made.first, made.second}) {
            made.left = item.state == none ? made.left : (std::min)(made.left, of_->distances().from(item));
        }
        to = made;
        return true;
    }
    /// Adds the item behind the rule of `at`, whose text is complete. \return whether there is but one, and a simple
    /// one
    [[nodiscard]] bool leave(const match_item& at, place& made) noexcept {
        const match_frame& frame = store_->frames[at.frame];
        if (at.high < of_->tables().rules[frame.rule].least) {
            return true;
        }
        of_->watch().look(*store_, at.frame);
        const match_link& link = store_->links[frame.first_link];
        if (link.next != none) {
            return false;
        }
        if (link.back.state == none) {
            made.left = 0;
            return true;
        }
        (made.first.state == none ? made.first : made.second) = link.back;
        return !rows_.needs_closing(link.back.state);
    }
    /// The same where there are more than two items: without a level if one of them alone goes on.
    [[nodiscard]] bool step_level(const place& from, std::uint8_t byte, place& to) noexcept {
        store_->go_back_to(from.level);
        const std::uint32_t last = store_->items_used;
        const std::uint32_t first = store_->levels[from.level].first_item;
        work_ += last - first;
        std::uint32_t going = none;
        std::uint32_t found = state_rows::dead;
        for (std::uint32_t i = first; i < last; ++i) {
            const std::uint32_t state = store_->items[i].state;
            const std::uint32_t target = state == none ? state_rows::dead : rows_.of(state)[byte];
            if (target == state_rows::dead) {
                continue;
            }
            if (going != none) {
                return open_level(from, byte, to);
            }
            going = i;
            found = target;
        }
        const match_item item = going == none ? no_item : store_->items[going];
        return going != none && go(from, item, found, byte, to);
    }

    [[nodiscard]] bool open_level(const place& from, std::uint8_t byte, place& to) noexcept {
        store_->go_back_to(from.level);
        const std::uint32_t first = store_->last().first_item;
        const std::uint32_t last = store_->items_used;
        of_->open_level();
        if (from.is_level) {
            for (std::uint32_t i = first; i < last; ++i) {
                of_->add_targets(store_->items[i], byte);
            }
        } else {
            of_->add_targets(from.first, byte);
            of_->add_targets(from.second, byte);
        }
        of_->close_level();
        work_ += store_->items_used - last;
        if (!of_->keep_level()) {
            made_.is_whole = made_.is_whole && !store_->has_overflowed;
            return false;
        }
        of_->distances().measure(store_->last().first_frame);
        to = place_of_level();
        return true;
    }

    /// Adds the tokens that are plain text where they are allowed whatever else is, by one item.
    /// \return whether it did, and all others of them are not
    [[nodiscard]] bool add_plain(const token_trie& trie) noexcept {
        const std::uint32_t first = store_->levels[0].first_item;
        for (std::uint32_t i = first; i < store_->items_used; ++i) {
            const match_item item = store_->items[i];
            if (item.state == none || of_->tables().states.byte_edges(item.state).empty()) {
                continue;
            }
            const plain_text fit = rows_.plain(item.state);
            if (fit.kind == plain_kind::none || left_of_plain(item, fit) > most_left_) {
                continue;
            }
            const std::size_t characters = fit.kind == plain_kind::endless_text ? any_end
                                           : fit.kind == plain_kind::fixed      ? fit.most
                                                                                : std::size_t{fit.most} - item.low + 1;
            if (characters >= trie_access::all(trie).longest()) {
                add_plain(trie, trie_access::most_characters + 1, left_of_plain(item, fit));
                return true;
            }
            if (is_alone(item, i, fit.may_leave)) {
                add_plain(trie, (std::min)(characters, trie_access::most_characters), left_of_plain(item, fit));
                if (characters > trie_access::most_characters) {
                    walk(trie_access::longer(trie));
                }
                return true;
            }
        }
        return false;
    }
    void add_plain(const token_trie& trie, std::size_t characters, std::uint32_t left) noexcept {
        const std::span<const std::uint64_t> plain = trie_access::plain(trie, characters);
        std::copy(plain.begin(), plain.end(), bits_.begin());
        made_.count = trie_access::plain_count(trie, characters);
        made_.most_left = left;
    }
    /// The most that plain text leaves to the end.
    [[nodiscard]] std::uint32_t left_of_plain(const match_item& item, const plain_text& fit) const noexcept {
        return bytes_together(fit.to_end, of_->distances().behind(item));
    }
    /// Whether plain text can be read in no other way than from one item on, not even behind its rule.
    [[nodiscard]] bool is_alone(const match_item& item, std::uint32_t number, bool may_leave) noexcept {
        for (std::uint32_t i = store_->levels[0].first_item; i < store_->items_used; ++i) {
            if (i != number && store_->items[i].state != none && rows_.begins_plain(store_->items[i].state)) {
                return false;
            }
        }
        if (!may_leave) {
            return true;
        }
        of_->watch().look(*store_, item.frame);
        for (std::uint32_t i = store_->frames[item.frame].first_link; i != none; i = store_->links[i].next) {
            const std::uint32_t back = store_->links[i].back.state;
            if (back != none && (rows_.needs_closing(back) || rows_.begins_plain(back))) {
                return false;
            }
        }
        return true;
    }

    match_readings* of_ = nullptr;
    match_store* store_ = nullptr; ///< of these
    std::span<std::uint64_t> bits_;
    std::uint32_t most_left_ = 0;
    walked_mask made_;
    std::uint64_t work_ = 0;
    buffer<place> places_; ///< [longest token + 1]: of the nodes from the root on
    buffer<point> path_;   ///< the same
    state_rows rows_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
