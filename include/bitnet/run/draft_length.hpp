// SPDX-License-Identifier: MIT
// draft_length: how many tokens to guess, from what guesses cost and how many came true.
#ifndef BITNET_RUN_DRAFT_LENGTH_HPP
#define BITNET_RUN_DRAFT_LENGTH_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/run/pass_times.hpp>

#include <algorithm>
#include <cstddef>

namespace bitnet::inline BITNET_ABI::detail {

/// A round is a pass and the tokens that it gives: one for each of its rows without guesses, and one more for each
/// guess in a row that comes true. The length is the one with the most tokens for the time, (rows + a + a b + a b^2
/// ...) / time(rows + guesses), where a is the share of first guesses that came true, and b that of those behind one
/// that did; 0 where guesses do not pay.
///
/// Shares are moving averages, which what is new deceives. So guesses are paid for out of a credit, too: what they cost
/// goes off it, in tokens that passes without them would have given in that time, each one that comes true is a token
/// more, and no length is chosen that would cost more than there is, even if all were wrong. The credit is one token
/// at first and grows by 1 for 100 rounds: whatever is guessed, n tokens take no longer than 1.01 n + 1 would, and what
/// one guess of unknown cost takes.
class draft_length {
public:
    static constexpr std::size_t most = pass_times::most_rows - 1;

    /// How many to guess for the next round, `limit` at most; none before a round without guesses was measured, and now
    /// and then to measure one again. \param rows of the pass without guesses, each of which gives a token \pre rows +
    /// limit <= pass_times::most_rows
    [[nodiscard]] std::size_t choose(std::size_t limit, const pass_times& times, std::size_t rows = 1) const noexcept {
        constexpr double margin = 1.03; // what guesses gain at least: what was measured is not exact
        if (!times.knows(rows) || with_ >= often) {
            return 0;
        }
        std::size_t best = 0;
        double best_rate = margin;
        double gained = 0.0;
        double reached = first_;
        for (std::size_t count = 1; count <= (std::min)(limit, most); ++count, reached *= later_) {
            gained += reached;
            const double cost = price(count, times, rows);
            const auto plain = static_cast<double>(rows);
            if (const double rate = (plain + gained) / (plain + cost); rate > best_rate && cost <= credit_) {
                best = count;
                best_rate = rate;
            }
        }
        return best;
    }

    /// A round is over that had so many guesses. \param times that know it, if it was measured
    void end_round(std::size_t count, const pass_times& times, std::size_t rows = 1) noexcept {
        constexpr double allowance = 0.01;
        if (times.knows(rows)) {
            add(allowance - (count != 0 ? price(count, times, rows) : 0.0), most_credit);
        }
        without_ = count == 0 ? without_ + 1 : 0;
        with_ = count == 0 ? 0 : with_ + 1;
    }
    /// Whether so many rounds in a row had no guesses that what they cost should be doubted. Says so once.
    [[nodiscard]] bool is_out_of_practice() noexcept {
        const bool is_long = without_ >= often;
        without_ = is_long ? 0 : without_;
        return is_long;
    }

    /// Whether a guess came true, the first of its round or a later one, all before which did. \param has_run whether
    /// it had a row: one that had none has cost nothing and gained nothing, but says whether it is worth a try.
    void learn(bool is_first, bool is_true, bool has_run) noexcept {
        double& share = is_first ? first_ : later_;
        share += ((is_true ? 1.0 : 0.0) - share) / 16.0;
        if (has_run) {
            add(is_true ? 1.0 : 0.0, most_credit);
        } else if (is_true) {
            add(0.5, first_credit);
        } else {
            credit_ = (std::min)(credit_, (std::max)(credit_ - 0.25, 0.0));
        }
    }

private:
    static constexpr unsigned often = 64;       ///< rounds
    static constexpr double first_credit = 1.0; ///< tokens
    static constexpr double most_credit = most; ///< so that what went well for long can be over soon

    /// In tokens that passes without guesses give.
    [[nodiscard]] static double price(std::size_t count, const pass_times& times, std::size_t rows) noexcept {
        return times.excess(rows, count) * static_cast<double>(rows);
    }
    /// \param end that this does not pass
    void add(double tokens, double end) noexcept {
        credit_ = (std::max)(credit_, (std::min)(credit_ + tokens, end));
        credit_ += (std::min)(tokens, 0.0);
    }

    double credit_ = first_credit;
    double first_ = 0.6;
    double later_ = 0.7;
    unsigned without_ = 0; ///< guesses: rounds in a row
    unsigned with_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
