// SPDX-License-Identifier: MIT
// guess_round: the guesses that a pass verifies for one sequence, and what is learned from them.
#ifndef BITNET_RUN_GUESS_ROUND_HPP
#define BITNET_RUN_GUESS_ROUND_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/run/pass_times.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

class guess_round {
public:
    /// Forgets the last round's guesses and asks for others, as many as pay, `limit` at most. Where none pays one is
    /// asked for all the same, to see whether it comes true: each time if asking takes no time. \param rows of the pass
    /// without guesses \param propose of a number: a span of guesses \return those that are to run
    template <class Propose>
    [[nodiscard]] std::span<const token> begin(std::size_t limit, const pass_times& times, std::size_t rows,
                                               bool is_adaptive, Propose&& propose) {
        begin_without();
        const std::size_t wanted = is_adaptive ? length_.choose(limit, times, rows) : limit;
        if (limit == 0 || (wanted == 0 && ++unasked_ < pause_)) {
            return {};
        }
        const auto start = std::chrono::steady_clock::now();
        const std::size_t count = (std::max)(wanted, std::size_t{1});
        const std::span<const token> all = propose(count);
        guessed_ = (std::min)(all.size(), count);
        std::copy_n(all.begin(), guessed_, guesses_.begin());
        const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - start;
        unasked_ = 0;
        pause_ = times.is_little(static_cast<std::uint64_t>(took.count())) ? 1 : 32;
        return {guesses_.data(), wanted != 0 ? guessed_ : 0};
    }
    /// Tokens that are known to come: nothing is learned of them.
    [[nodiscard]] std::span<const token> begin_known(std::span<const token> known) noexcept {
        begin_without();
        guessed_ = (std::min)(known.size(), guesses_.size());
        std::copy_n(known.begin(), guessed_, guesses_.begin());
        is_known_ = true;
        return {guesses_.data(), guessed_};
    }
    void begin_without() noexcept {
        guessed_ = ran_ = at_ = 0;
        is_known_ = false;
    }
    /// How many of them have rows.
    void run(std::size_t count) noexcept { ran_ = count; }
    [[nodiscard]] std::size_t ran() const noexcept { return ran_; }
    [[nodiscard]] std::span<const token> running() const noexcept { return {guesses_.data(), ran_}; }

    /// The next token of the sequence. \return whether the row of a guess stands for it
    [[nodiscard]] bool take(token given) noexcept {
        if (at_ == guessed_ || at_ > ran_) {
            return false;
        }
        const bool is_true = guesses_[at_] == given;
        const bool has_run = at_ < ran_;
        if (!is_known_) {
            length_.learn(at_ == 0, is_true, has_run);
        }
        ++at_;
        return is_true && has_run;
    }

    /// The round has cost what `times` say.
    void end(pass_times& times, std::size_t rows) noexcept {
        if (is_known_) {
            return;
        }
        length_.end_round(ran_, times, rows);
        if (length_.is_out_of_practice() && times.knows(rows)) {
            times.doubt_more_than(rows);
        }
    }

private:
    draft_length length_;
    std::array<token, draft_length::most> guesses_{};
    std::size_t guessed_ = 0;
    std::size_t ran_ = 0; ///< of these
    std::size_t at_ = 0;  ///< the one that comes true next or not
    bool is_known_ = false;
    unsigned unasked_ = 0; ///< rounds in a row
    unsigned pause_ = 1;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
