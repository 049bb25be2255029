// SPDX-License-Identifier: MIT
// served_speaker: a speaker of a scheduler, and what it has in the present pass.
#ifndef BITNET_RUN_SERVED_SPEAKER_HPP
#define BITNET_RUN_SERVED_SPEAKER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/guess_round.hpp>
#include <bitnet/run/session_core.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speaker.hpp>

#include <cstddef>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// A place for one, as long as it is served.
struct served_speaker {
    /// Whether there is something to do for it.
    [[nodiscard]] bool has_work() const noexcept {
        return who != nullptr && !is_refused && (session->queued() != 0 || who->chooser().has_value());
    }
    /// Whether its session is not as it was when the pass began.
    [[nodiscard]] bool has_changed() const noexcept { return revision != session->revision(); }

    /// It gets nothing more in this step.
    void refuse(stop_reason why) noexcept {
        is_refused = true;
        who->take(session->stopped(why));
    }
    void refuse(error why) noexcept {
        is_refused = true;
        who->take(session->stopped(std::move(why)));
    }

    /// It has no part in a pass yet.
    void leave_pass() noexcept {
        is_in_pass = is_answered = false;
        rows = ahead = 0;
        round.begin_without();
    }
    /// Before a pass. \return whether there is something to do for it, and that can be done
    [[nodiscard]] bool prepare() noexcept {
        if (who == nullptr || is_refused) {
            return false;
        }
        const bool is_asked = who->chooser().has_value();
        if (session->queued() == 0 && !is_asked) {
            return false;
        }
        if (session->is_cancelled()) {
            refuse(stop_reason::cancelled);
            return false;
        }
        is_speaking = session->queued() == 0;
        wants_answer = is_asked && !session->is_full();
        if (is_speaking && session->is_full()) {
            refuse(stop_reason::context_full);
            return false;
        }
        if (auto prepared = guarded([&] { return session->prepare_for_pass(wants_answer); }); !prepared) {
            refuse(failed(prepared));
            return false;
        }
        return true;
    }
    void drop_rows_ahead() noexcept {
        if (std::exchange(ahead, 0) != 0) {
            session->drop_rows_ahead();
        }
    }

    speaker* who = nullptr; ///< null: the place is free
    session_core* session = nullptr;
    int priority = 0;
    std::uint64_t last_turn = 0; ///< served_speakers::next_turn() when it had something, or was added
    std::uint64_t revision = 0;  ///< of the session, so that a change is seen
    std::size_t first_row = 0;
    std::size_t rows = 0;
    std::size_t ahead = 0; ///< rows of guesses behind these
    guess_round round;
    std::size_t rows_taken = 0; ///< of those ahead
    bool goes_on = false;       ///< its last token is that of the next row ahead
    bool is_refused = false;    ///< by this step
    bool is_in_pass = false;
    bool is_answered = false;  ///< by this pass
    bool wants_answer = false; ///< behind its queue
    bool is_speaking = false;  ///< wants an answer and has no queue
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
