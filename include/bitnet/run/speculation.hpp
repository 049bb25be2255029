// SPDX-License-Identifier: MIT
// speculation: the tokens of a session from fewer passes, where a draft guesses them.
#ifndef BITNET_RUN_SPECULATION_HPP
#define BITNET_RUN_SPECULATION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/draft_length.hpp>
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

struct speculation_options {
    /// Guesses that a pass verifies at most, up to 15.
    std::size_t most = 15;
    /// Whether fewer are verified, down to none, where they cost more time than they save, as measured. Times decide
    /// how long a token takes then, and never which one it is.
    bool is_adaptive = true;
};

struct speculation_statistics {
    std::uint64_t tokens = 0;   ///< that next() gave
    std::uint64_t passes = 0;   ///< through the model for these, that of the prompt included
    std::uint64_t drafted = 0;  ///< guesses that ran
    std::uint64_t accepted = 0; ///< of these, those that next() gave

    [[nodiscard]] double tokens_per_pass() const noexcept {
        return passes != 0 ? static_cast<double>(tokens) / static_cast<double>(passes) : 0.0;
    }
};

/// Gives what session.next() would give: the same tokens with the same logits, from the same calls of the chooser, so
/// that its random state, penalties and grammar are the same too. Guesses run in the pass of the token before them, and
/// next() goes on through them as long as it gives them. Where the draft guesses well, that saves passes.
///
///     auto lookup = bitnet::prompt_lookup::open(session.context());
///     auto faster = bitnet::speculation<bitnet::prompt_lookup>::open(session, *lookup);
///     while (const auto id = faster->next(choose)) ...                 // as session.next(choose)
///
/// Borrows session and draft, which must outlive it. The session can be used between two calls in any way. Belongs to
/// the session's thread. Allocates in open() only, see any_session::reserve_ahead().
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
        if (left_ == 0) {
            begin_round(any_chooser(choose).forced());
        }
        const auto given = session_->next(choose);
        take(given);
        time_ += clock::now() - start;
        return given;
    }

    /// For a session whose next() is called elsewhere, as a conversation's is by its step(): to be called before that,
    /// each time. Runs guesses, in a pass that no budget ends, where the token that waits needs one.
    void guess() {
        const auto now = clock::now();
        time_ += now - std::exchange(last_guess_, now);
        const std::span<const token> all = session_->tokens();
        for (; left_ != 0 && seen_ < all.size(); ++seen_) {
            take(all[seen_]);
        }
        if (seen_ != all.size()) { // it was fed, rewound or both
            take(std::nullopt);
        }
        if (left_ == 0 && session_->queued() == 0) {
            begin_round({});
        }
        seen_ = all.size();
    }

    [[nodiscard]] const speculation_statistics& statistics() const noexcept { return statistics_; }

private:
    using clock = std::chrono::steady_clock;

    speculation(any_session& session, D& draft, const speculation_options& options) noexcept
        : session_(&session), draft_(&draft), options_(options) {}

    /// Before the pass of a token: guesses for those behind it. \param forced what the chooser knows to be these
    void begin_round(std::span<const token> forced) {
        if (is_measured_) {
            length_.learn_cost(ran_, nanoseconds(time_));
        }
        time_ = {};
        is_measured_ = session_->pending().has_value() && session_->queued() == 0;
        guessed_ = ran_ = at_ = 0;
        left_ = 1;
        has_passed_ = false;
        is_forced_ = is_measured_ && !forced.empty();
        if (is_forced_) {
            is_measured_ = false;
            guessed_ = (std::min)(forced.size(), guesses_.size());
            std::copy_n(forced.begin(), guessed_, guesses_.begin());
            return run_guesses();
        }
        const std::size_t kept = session_->tokens().size(); // with a window, one more than the context at times
        const std::size_t room = session_->context() - (std::min)(kept, session_->context());
        if (!is_measured_ || room == 0) {
            return;
        }
        const std::size_t limit = (std::min)(options_.most, room);
        const std::size_t wanted = options_.is_adaptive ? length_.choose(limit) : limit;
        if (wanted == 0 && (limit == 0 || ++unasked_ < pause_)) {
            return;
        }
        ask(wanted != 0 ? wanted : 1);
        if (wanted != 0) {
            run_guesses();
        }
    }
    void run_guesses() {
        ran_ = session_->run_ahead({guesses_.data(), guessed_});
        statistics_.drafted += ran_;
        left_ += ran_;
    }
    /// Where no guess is to run one is asked for, too, to see whether it comes true: each time if that takes no time.
    void ask(std::size_t count) {
        const auto start = clock::now();
        const std::span<const token> all = draft_->propose(session_->tokens(), count);
        guessed_ = (std::min)(all.size(), count);
        std::copy_n(all.begin(), guessed_, guesses_.begin());
        unasked_ = 0;
        pause_ = length_.is_little(nanoseconds(clock::now() - start)) ? 1 : 32;
    }

    void take(const std::optional<token>& given) noexcept {
        if (!given) {
            left_ = 0;
            is_measured_ = false;
            return;
        }
        ++statistics_.tokens;
        statistics_.passes += std::exchange(has_passed_, true) ? 0u : 1u;
        --left_;
        if (at_ == guessed_ || at_ > ran_) {
            return;
        }
        const bool is_true = guesses_[at_] == *given;
        if (!is_forced_) {
            length_.learn(at_ == 0, is_true);
        }
        statistics_.accepted += is_true && at_ < ran_ ? 1u : 0u;
        left_ = is_true ? left_ : 0;
        ++at_;
    }

    [[nodiscard]] static std::uint64_t nanoseconds(clock::duration time) noexcept {
        return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(time).count());
    }

    any_session* session_;
    D* draft_;
    speculation_options options_;
    speculation_statistics statistics_;
    detail::draft_length length_;
    std::array<token, detail::draft_length::most> guesses_{};
    std::size_t guessed_ = 0;
    std::size_t ran_ = 0;     ///< of these
    std::size_t at_ = 0;      ///< the one that next() gives or not
    std::size_t left_ = 0;    ///< tokens of this round, as long as guesses come true
    bool has_passed_ = false; ///< the pass of this round is counted
    bool is_measured_ = false;
    bool is_forced_ = false; ///< the chooser said what comes
    clock::duration time_{}; ///< of this round
    clock::time_point last_guess_{};
    std::size_t seen_ = 0; ///< tokens of the session, by the last guess()
    unsigned unasked_ = 0; ///< rounds in a row
    unsigned pause_ = 1;
};

} // namespace bitnet::inline BITNET_ABI

#endif
