// SPDX-License-Identifier: MIT
// speculation: the tokens of a session from fewer passes, where a draft guesses them.
#ifndef BITNET_RUN_SPECULATION_HPP
#define BITNET_RUN_SPECULATION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/run/guess_round.hpp>
#include <bitnet/run/pass_times.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/token_draft.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// Gives what session.next() would give: the same tokens with the same logits, from the same calls of the chooser, so
/// that its random state, penalties and grammar are the same too. Guesses run in the pass of the token before them, and
/// next() goes on through them as long as it gives them. Where the draft guesses well, that saves passes.
///
///     auto lookup = bitnet::prompt_lookup::open(session.context());
///     auto faster = bitnet::speculation<bitnet::prompt_lookup>::open(session, *lookup);
///     while (const auto id = faster->next(choose)) ...                 // as session.next(choose)
///
/// Borrows session and draft, which must outlive it. The session can be used between two calls in any way. Belongs to
/// the session's thread. Allocates in open() only, see any_session::reserve_ahead(). A conversation has one of its own,
/// see conversation_options::lookup; for speakers of a scheduler, see speaker::guess.
template <token_draft D> class speculation {
public:
    /// \return errc::invalid_argument, errc::out_of_memory.
    [[nodiscard]] static result<speculation> open(any_session& session, D& draft,
                                                  const speculation_options& options = {}) {
        if (options.most > detail::draft_length::most) {
            return detail::error_saying(errc::invalid_argument,
                                        {"speculation: ", options.most, " guesses to a pass were asked for, up to ",
                                         detail::draft_length::most, " are possible"});
        }
        if (auto reserved = session.reserve_ahead(); !reserved) {
            return failed(reserved);
        }
        return speculation(session, draft, options);
    }

    /// See any_session::next(); stopped_by() and last_error() are the session's.
    template <token_chooser Chooser> [[nodiscard]] std::optional<token> next(Chooser& choose) {
        const auto start = clock::now();
        prepare_round(any_chooser(choose).forced());
        const auto given = session_->next(choose);
        take(given);
        time_ += clock::now() - start;
        return given;
    }

    /// See any_session::step(): the rows of guesses run within the budget, too. The draft is asked for guesses once
    /// before each round, and is not divided: a prompt_lookup takes microseconds, and a draft_model up to as many
    /// passes of its own as there are guesses, after one that reads what is new to it.
    template <token_chooser Chooser>
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget, Chooser& choose) {
        const auto start = clock::now();
        prepare_round(any_chooser(choose).forced());
        const auto asking = std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - start);
        auto stepped = session_->step(budget - (std::min)(budget, asking), choose);
        time_ += clock::now() - start;
        return stepped;
    }

    [[nodiscard]] const speculation_statistics& statistics() const noexcept { return statistics_; }

private:
    using clock = std::chrono::steady_clock;

    speculation(any_session& session, D& draft, const speculation_options& options) noexcept
        : session_(&session), draft_(&draft), options_(options) {}

    /// Before the pass of a token, once.
    void prepare_round(std::span<const token> forced) {
        if (is_open_ && session_->position() != position_) { // it was fed, rewound or both
            is_open_ = is_measured_ = false;
        }
        if (!is_open_) {
            end_round();
            begin_round(forced);
        }
    }
    void end_round() noexcept {
        if (is_measured_) {
            times_.learn(1 + round_.ran(), nanoseconds(time_));
        }
        if (has_begun_) {
            round_.end(times_, 1);
        }
        time_ = {};
    }
    /// Guesses for the tokens behind the one that waits. \param forced those that the chooser knows, which run where
    /// the draft does not guess them and more
    void begin_round(std::span<const token> forced) {
        is_measured_ = has_begun_ = session_->pending().has_value() && session_->queued() == 0;
        is_open_ = true;
        has_passed_ = false;
        position_ = session_->position();
        const std::size_t kept = session_->tokens().size(); // with a window, one more than the context at times
        const std::size_t room = session_->context() - (std::min)(kept, session_->context());
        if (!is_measured_ || room == 0) {
            return round_.begin_without();
        }
        auto guesses = round_.begin((std::min)(options_.most, room), times_, 1, options_.is_adaptive,
                                    [&](std::size_t count) { return draft_->propose(session_->tokens(), count); });
        if (!forced.empty() &&
            (guesses.size() < forced.size() || !std::equal(forced.begin(), forced.end(), guesses.begin()))) {
            guesses = round_.begin_known(forced);
            is_measured_ = false;
        }
        if (!guesses.empty()) {
            round_.run(session_->queue_ahead(guesses));
            statistics_.drafted += round_.ran();
        }
    }

    void take(const std::optional<token>& given) noexcept {
        if (!given) {
            is_open_ = is_measured_ = false;
            return;
        }
        position_ = session_->position();
        ++statistics_.tokens;
        statistics_.passes += std::exchange(has_passed_, true) ? 0u : 1u;
        is_open_ = round_.take(*given);
        statistics_.accepted += is_open_ ? 1u : 0u;
    }

    [[nodiscard]] static std::uint64_t nanoseconds(clock::duration time) noexcept {
        return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
    }

    any_session* session_;
    D* draft_;
    speculation_options options_;
    speculation_statistics statistics_;
    detail::guess_round round_;
    detail::pass_times times_;
    bool is_open_ = false;     ///< the round gives more tokens
    bool has_passed_ = false;  ///< the pass of this round is counted
    bool has_begun_ = false;   ///< a round of one pass
    bool is_measured_ = false; ///< and nothing came between
    clock::duration time_{};   ///< of this round
    std::size_t position_ = 0; ///< of the session, after the last token
};

} // namespace bitnet::inline BITNET_ABI

#endif
