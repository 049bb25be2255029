// SPDX-License-Identifier: MIT
// rows_ahead: rows of a session's last pass that stand behind its last token, in case next() gives their tokens.
#ifndef BITNET_RUN_ROWS_AHEAD_HPP
#define BITNET_RUN_ROWS_AHEAD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/model/joint_searches.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/draft_length.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The tokens for which they ran, and what was asked of the head for all of them in one reading. The session's last
/// token has a row of its own before them, `last`. Belongs to the workspace whose transformer holds their states.
class rows_ahead {
public:
    static constexpr std::size_t most = draft_length::most;

    /// For a pass of a row and those of `guesses` behind it. \pre guesses.size() <= most
    void plan(std::span<const token> guesses) noexcept {
        clear();
        std::copy(guesses.begin(), guesses.end(), tokens_.begin());
        planned_ = guesses.size();
    }
    /// Rows of the pass that is under way.
    [[nodiscard]] std::size_t planned() const noexcept { return planned_; }
    /// After that pass: they are there.
    void begin() noexcept { end_ = std::exchange(planned_, 0); }
    /// Forgets all, also what was computed for the row before them.
    void clear() noexcept {
        drop();
        first_logits_ = end_of_logits_ = 0;
        has_bounds_ = false;
    }
    /// Forgets the rows.
    void drop() noexcept {
        next_ = end_ = planned_ = 0;
        has_begun_bounds_ = false;
    }

    [[nodiscard]] std::size_t count() const noexcept { return end_ - next_; }
    /// Whether the first of them is of token `id`.
    [[nodiscard]] bool is_next(token id) const noexcept { return next_ != end_ && tokens_[next_] == id; }
    /// The first one is the session's now. \pre there is one
    void take() noexcept { ++next_; }

    /// Searches for the row before them and each of them; none: the rows read the screen one by one.
    joint_searches searches; ///< [most + 1]

    /// Makes the bounds of all logits of row `last` and the rows behind it, in one reading of the screen.
    /// \param pool_for of a progress and a number of rows: the pool, which may stop; to be called again then
    /// \pre wants_bounds()
    template <class PoolFor> void bound(std::size_t last, transformer& forward, PoolFor&& pool_for) noexcept {
        const std::size_t rows = count() + 1;
        if (!has_begun_bounds_) {
            for (std::size_t i = last; i < last + rows; ++i) {
                searches[i].prepare(forward.final_state(i));
            }
            searches.begin_bounds(last, rows);
            searches[last].count_reading();
            progress_ = {};
            has_begun_bounds_ = true;
        }
        parallel_for(pool_for(progress_, rows), searches.bound_tasks(),
                     [&](std::size_t task) noexcept { searches.bound(task); });
    }
    /// Whether bound() would save something.
    [[nodiscard]] bool wants_bounds() const noexcept { return !has_bounds_ && count() != 0 && !searches.empty(); }
    /// All loops of bound() have run.
    void end_bounds() noexcept { has_bounds_ = true; }
    /// Whether searches[last] has its bounds.
    [[nodiscard]] bool has_bounds() const noexcept { return has_bounds_; }

    /// Logits of the rows from `first` on were computed.
    void hold_logits(std::size_t first, std::size_t count) noexcept {
        first_logits_ = first;
        end_of_logits_ = first + count;
    }
    [[nodiscard]] bool has_logits(std::size_t row) const noexcept {
        return first_logits_ <= row && row < end_of_logits_;
    }
    [[nodiscard]] std::size_t first_logits() const noexcept { return first_logits_; }

private:
    std::array<token, most> tokens_{};
    std::size_t planned_ = 0; ///< of tokens_
    std::size_t next_ = 0;
    std::size_t end_ = 0;
    bool has_begun_bounds_ = false;
    bool has_bounds_ = false;
    loop_progress progress_; ///< of bound()
    std::size_t first_logits_ = 0;
    std::size_t end_of_logits_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
