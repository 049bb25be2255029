// SPDX-License-Identifier: MIT
// speaker: what a scheduler works for, a session and how its next token is chosen.
#ifndef BITNET_RUN_SPEAKER_HPP
#define BITNET_RUN_SPEAKER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <optional>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// One of the many that a scheduler serves: a conversation, or a class of the program's own. The scheduler calls it on
/// the thread of its step() only.
class speaker {
public:
    /// The session that is run. The same one as long as a scheduler serves the speaker.
    [[nodiscard]] virtual any_session& session() noexcept = 0;
    /// How to choose the token after what was queued; nullopt if none is wanted now.
    [[nodiscard]] virtual std::optional<any_chooser> chooser() noexcept = 0;
    /// What session().next(chooser()) gave; nullopt: session().stopped_by() says why.
    virtual void take(std::optional<token> id) noexcept = 0;

    /// Guesses for the tokens behind the last one of the session, at most so many, which is no more than a pass has
    /// room for: see token_draft, which they may come from. They run in the pass of that token, and the scheduler goes
    /// on through them as long as take() is given these. Any guesses give the same tokens; how many are asked for
    /// follows how many came true and what rows cost. Counts into the time of the step. Read before the next call.
    [[nodiscard]] virtual std::span<const token> guess(std::size_t at_most) noexcept {
        static_cast<void>(at_most);
        return {};
    }

    /// Before take() of a token: what it adds to the speaker's statistics.
    virtual void add_statistics(const speculation_statistics& more) noexcept { static_cast<void>(more); }

    speaker(const speaker&) = default;
    speaker& operator=(const speaker&) = default;

protected:
    speaker() noexcept = default;
    ~speaker() = default;
};

} // namespace bitnet::inline BITNET_ABI

#endif
