// SPDX-License-Identifier: MIT
// matcher: follows a text byte by byte through a grammar.
#ifndef BITNET_CONSTRAIN_MATCHER_HPP
#define BITNET_CONSTRAIN_MATCHER_HPP

#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/match_compaction.hpp>
#include <bitnet/constrain/match_distances.hpp>
#include <bitnet/constrain/match_lookahead.hpp>
#include <bitnet/constrain/match_readings.hpp>
#include <bitnet/constrain/match_store.hpp>
#include <bitnet/constrain/matcher_options.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

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
        detail::match_lookahead ahead(readings_);
        return ahead.take_forced(out);
    }

    /// Whether the text may end here.
    [[nodiscard]] bool can_end() const noexcept { return readings_.can_end(); }
    /// Whether it has to: no byte is allowed.
    [[nodiscard]] bool is_done() const noexcept;
    /// Bytes with which the text can be completed from here: the fewest, or, where a length is counted within a string,
    /// an upper bound. 0 where it may end. Cost: linear in the frames.
    [[nodiscard]] std::uint32_t shortest_end() noexcept;

    /// The same after `text`, all bytes of which are taken as by allows(). \pre allows(text)
    [[nodiscard]] std::uint32_t shortest_end_after(std::string_view text) noexcept;

    /// Whether the last byte was refused because the ways of reading exceeded the options, not because of the grammar.
    [[nodiscard]] bool out_of_budget() const noexcept { return readings_.out_of_budget(); }
    /// Begins another text, and forgets the checkpoint.
    void restart() noexcept { readings_.restart(); }

    /// Remembers this place, instead of the one remembered before.
    void checkpoint() noexcept { readings_.store().set_mark(); }
    /// Goes back to the place that checkpoint() remembered, any number of times. \pre it did, after the last restart()
    void rewind() noexcept;
    /// Bytes that open() allocated.
    [[nodiscard]] std::size_t memory_bytes() const noexcept { return readings_.memory_bytes(); }

private:
    friend class token_constraint; // which makes masks of the readings

    [[nodiscard]] static result<void> check_options(const matcher_options& options);

    detail::match_readings readings_;
};

inline result<matcher> matcher::open(const grammar& texts, matcher_options options) {
    return detail::guarded([&]() -> result<matcher> {
        if (auto checked = check_options(options); !checked) {
            return failed(checked);
        }
        auto opened = detail::match_readings::open(detail::grammar_access::tables(texts), options);
        if (!opened) {
            return failed(opened);
        }
        matcher made;
        made.readings_ = *std::move(opened);
        made.restart();
        if (made.readings_.store().has_overflowed) {
            return detail::error_saying(errc::grammar_budget,
                                        {"a text of the grammar can begin in more ways than a matcher holds (",
                                         options.items_at_once, " items at once, ", options.frames, " frames)"});
        }
        return made;
    });
}

inline result<void> matcher::check_options(const matcher_options& options) {
    if (options.items_at_once == 0 || options.frames == 0 || options.links == 0 || options.longest_lookahead == 0 ||
        options.items < options.items_at_once) {
        return detail::error_saying(errc::invalid_argument,
                                    {"matcher_options: ", options.items, " items, ", options.items_at_once,
                                     " at once: none of the options may be 0, and the first not below the second"});
    }
    return {};
}

inline std::size_t matcher::accept(std::string_view text) noexcept {
    std::size_t taken = 0;
    while (taken < text.size()) {
        detail::make_room(readings_.store());
        if (!readings_.step(static_cast<std::uint8_t>(text[taken]))) {
            break;
        }
        readings_.store().forget_levels();
        ++taken;
    }
    return taken;
}

inline bool matcher::allows(std::string_view text) noexcept {
    if (text.size() + 2 > readings_.store().levels.size()) {
        return false;
    }
    detail::make_room(readings_.store());
    std::size_t taken = 0;
    while (taken < text.size() && readings_.step(static_cast<std::uint8_t>(text[taken]))) {
        ++taken;
    }
    readings_.store().go_back_to(0);
    return taken == text.size();
}

inline bool matcher::is_done() const noexcept {
    const detail::match_store& store = readings_.store();
    for (std::uint32_t i = store.last().first_item; i < store.items_used; ++i) {
        const std::uint32_t state = store.items[i].state;
        if (state != detail::match_store::none && !readings_.tables().states.byte_edges(state).empty()) {
            return false;
        }
    }
    return true;
}

inline std::uint32_t matcher::shortest_end() noexcept {
    if (can_end()) {
        return 0;
    }
    detail::match_distances distances = readings_.distances();
    distances.measure_all();
    return distances.from_level();
}

inline std::uint32_t matcher::shortest_end_after(std::string_view text) noexcept {
    for (const char byte : text) {
        static_cast<void>(readings_.step(static_cast<std::uint8_t>(byte)));
    }
    const std::uint32_t fewest = shortest_end();
    readings_.store().go_back_to(0);
    return fewest;
}

inline void matcher::rewind() noexcept {
    readings_.go_back();
    readings_.store().go_back_to_mark();
}

} // namespace bitnet::inline BITNET_ABI

#endif
