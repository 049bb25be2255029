// SPDX-License-Identifier: MIT
// dialog_room: how a session follows the tokens of a dialog: what it keeps of them, and which turns make room.
#ifndef BITNET_RUN_DIALOG_ROOM_HPP
#define BITNET_RUN_DIALOG_ROOM_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/dialog_settings.hpp>
#include <bitnet/run/transcript.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// How many tokens two sequences begin with alike.
[[nodiscard]] inline std::size_t common_prefix_length(std::span<const token> a, std::span<const token> b) noexcept {
    const std::size_t most = (std::min)(a.size(), b.size());
    std::size_t count = 0;
    while (count < most && a[count] == b[count]) {
        ++count;
    }
    return count;
}

/// Of a conversation, whose session has the tokens of `now`, or as many of them as have run. Borrows all of it.
class dialog_room {
public:
    dialog_room(const dialog_settings& settings, any_session& session, const transcript& now) noexcept
        : settings_(settings), session_(session), now_(now) {}

    /// The session keeps what it has of these tokens and is to run the rest.
    [[nodiscard]] result<void> follow(std::span<const token> tokens) {
        const std::size_t kept = kept_of(tokens);
        if (auto rewound = session_.rewind(kept); !rewound) {
            return rewound;
        }
        return session_.queue(tokens.subspan(kept));
    }

    /// Drops turns until `need` positions are free, and if that takes any, as many more as the options say.
    /// \param dropped how many turns are added \return errc::context_full
    [[nodiscard]] result<void> make(transcript& next, std::size_t need, std::size_t& dropped) const {
        if (settings_.has_window) {
            return make_to_queue(next, dropped);
        }
        const std::size_t context = session_.context();
        const auto has_room = [&](std::size_t free) {
            return next.tokens().size() <= context && context - next.tokens().size() >= free;
        };
        const bool drops = settings_.room != 0;
        if (has_room(drops ? need : 0)) {
            return {};
        }
        while (drops && !has_room((std::max)(need, settings_.room))) {
            auto gone = next.drop_oldest();
            if (!gone) {
                return failed(gone);
            }
            if (*gone == 0) {
                break;
            }
            dropped += *gone;
        }
        return drops && has_room(need) ? result<void>() : does_not_fit(next.tokens());
    }

    /// Positions behind `taken` ones.
    [[nodiscard]] std::size_t behind(std::size_t taken) const noexcept {
        return session_.context() - (std::min)(session_.context(), taken);
    }
    /// Tokens that an answer can have, whatever is dropped meanwhile.
    [[nodiscard]] result<std::size_t> longest_answer(const transcript& next) const {
        transcript fewest = next;
        for (bool drops = settings_.room != 0; drops;) {
            auto gone = fewest.drop_oldest();
            if (!gone) {
                return failed(gone);
            }
            drops = *gone != 0;
        }
        const std::size_t room = behind(fewest.tokens().size() - fewest.written());
        return settings_.answer_limit != 0 ? (std::min)(room, settings_.answer_limit) : room;
    }

private:
    /// With a window: drops turns until the session can queue what it does not have.
    [[nodiscard]] result<void> make_to_queue(transcript& next, std::size_t& dropped) const {
        while (next.tokens().size() - kept_of(next.tokens()) > session_.context()) {
            auto gone = next.drop_oldest();
            if (!gone) {
                return failed(gone);
            }
            if (*gone == 0) {
                return does_not_fit(next.tokens());
            }
            dropped += *gone;
        }
        return {};
    }

    [[nodiscard]] result<void> does_not_fit(std::span<const token> tokens) const {
        const std::size_t taken = common_prefix_length(now_.tokens(), tokens);
        return error_saying(errc::context_full,
                            {"conversation: ", tokens.size() - taken, " tokens do not fit, the context has ",
                             session_.context(), " positions and ", taken, " are taken"});
    }

    /// How many of these tokens the session has and can keep.
    [[nodiscard]] std::size_t kept_of(std::span<const token> tokens) const noexcept {
        const std::size_t sinks = session_.sinks();
        const std::size_t dropped = session_.dropped();
        const std::span<const token> there = session_.tokens();
        std::size_t kept = common_prefix_length(there.first(dropped != 0 ? sinks : there.size()), tokens);
        // Of what a window has dropped, the dialog knows which tokens it was.
        if (dropped != 0 && kept == sinks && common_prefix_length(now_.tokens(), tokens) >= sinks + dropped) {
            kept += dropped + common_prefix_length(there.subspan(sinks), tokens.subspan(sinks + dropped));
        }
        return session_.can_rewind(kept) ? kept : (std::min)(kept, sinks);
    }

    const dialog_settings& settings_;
    any_session& session_;
    const transcript& now_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
