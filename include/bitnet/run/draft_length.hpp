// SPDX-License-Identifier: MIT
// draft_length: how many tokens to guess, from what guesses have cost and how many came true.
#ifndef BITNET_RUN_DRAFT_LENGTH_HPP
#define BITNET_RUN_DRAFT_LENGTH_HPP

#include <bitnet/core/config.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// A round is a pass and the tokens that it gives: one, and one more for each guess in a row that comes true. The
/// length is the one with the most tokens for the time: (1 + a + a b + a b^2 ...) / cost(guesses), where a is the share
/// of first guesses that came true, and b that of those behind one that did. Costs and shares are moving averages. 0
/// where guesses do not pay.
class draft_length {
public:
    static constexpr std::size_t most = 15; ///< with the row before them the 16 of a tile

    /// How many to guess for the next round, `limit` at most; none before a round without guesses was measured, and now
    /// and then to measure one again.
    [[nodiscard]] std::size_t choose(std::size_t limit) const noexcept {
        constexpr double margin = 1.03; // what guesses gain at least: what was measured is not exact
        if (costs_[0] == 0.0 || with_ >= often) {
            return 0;
        }
        const std::size_t end = (std::min)(limit, most);
        std::size_t best = 0;
        double best_rate = margin / costs_[0];
        double tokens = 1.0;
        double reached = first_;
        for (std::size_t count = 1; count <= end; ++count, reached *= later_) {
            tokens += reached;
            if (const double rate = tokens / cost(count); rate > best_rate) {
                best = count;
                best_rate = rate;
            }
        }
        return best;
    }

    /// Of a round: how many guesses ran, and how long it took, in any unit.
    void learn_cost(std::size_t count, std::uint64_t time) noexcept {
        double& known = costs_[(std::min)(count, most)];
        const double now = static_cast<double>((std::max)(time, std::uint64_t{1}));
        // Slow rounds count less: the system may have taken a core away.
        known = known == 0.0  ? now
                : now < known ? (known + now) / 2.0
                              : known + ((std::min)(now, 2.0 * known) - known) / 8.0;
        without_ = count == 0 ? without_ + 1 : 0;
        with_ = count == 0 ? 0 : with_ + 1;
        if (without_ == often) {
            forget();
        }
    }
    /// Whether so long a time is little beside a round without guesses.
    [[nodiscard]] bool is_little(std::uint64_t time) const noexcept {
        return static_cast<double>(time) * 64.0 < costs_[0];
    }
    /// Whether a guess came true, the first of its round or a later one, all before which did.
    void learn(bool is_first, bool is_true) noexcept {
        double& share = is_first ? first_ : later_;
        share += ((is_true ? 1.0 : 0.0) - share) / 16.0;
    }

private:
    /// What guesses cost long ago, perhaps while something else ran, is believed less and less, so that it is measured
    /// again.
    void forget() noexcept {
        for (double& each : costs_) {
            each = each > costs_[0] ? each - (each - costs_[0]) / 4.0 : each;
        }
        without_ = 0;
    }

    static constexpr unsigned often = 64; ///< rounds

    static constexpr double slope = 0.15; ///< of a row beside the first one, before any was measured

    /// Of a round with so many guesses: as measured, or else in line with the nearest that were. \pre costs_[0] is
    /// known
    [[nodiscard]] double cost(std::size_t count) const noexcept {
        if (costs_[count] != 0.0) {
            return costs_[count];
        }
        std::size_t fewer = count;
        while (costs_[fewer] == 0.0) {
            --fewer;
        }
        std::size_t more = count;
        while (more < most && costs_[more] == 0.0) {
            ++more;
        }
        double each = slope * costs_[0]; // for each more
        if (costs_[more] != 0.0) {
            each = (costs_[more] - costs_[fewer]) / static_cast<double>(more - fewer);
        } else if (fewer != 0) {
            each = (costs_[fewer] - costs_[0]) / static_cast<double>(fewer);
        }
        return costs_[fewer] + (std::max)(each, 0.0) * static_cast<double>(count - fewer);
    }

    std::array<double, most + 1> costs_{}; ///< 0: not known
    double first_ = 0.5;
    double later_ = 0.7;
    unsigned without_ = 0; ///< guesses: rounds in a row
    unsigned with_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
