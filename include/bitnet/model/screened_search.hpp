// SPDX-License-Identifier: MIT
// screened_search: the k largest logits, bit for bit, by way of a screen and the few rows that matter.
#ifndef BITNET_MODEL_SCREENED_SEARCH_HPP
#define BITNET_MODEL_SCREENED_SEARCH_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screen_statistics.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Finds the largest logits of one state after the other. Working memory of a session; allocates in open() only, what
/// working_bytes() says.
///
/// 1. Every row's bound from above, out of the screen (screen_input has the proof).
/// 2. The exact logits of the rows whose bounds are the largest: the k-th largest of them is a floor, which the k-th
///    largest of all logits cannot be below.
/// 3. The exact logits of every row whose bound reaches the floor: the k largest of all are among them.
///
/// The exact logits come from dot_rows over the head as stored, so they are the full head's bit for bit, and the result
/// depends on nothing else: not on the instruction set, nor on the threads. Where logits are products divided by
/// logit_scale, the bounds are divided, too: a rounded quotient never falls when its dividend rises.
class screened_search {
public:
    static constexpr std::size_t most = 256; ///< logits that can be asked for

    screened_search() noexcept = default;

    /// What open() allocates for a head [rows, cols].
    [[nodiscard]] static constexpr std::uint64_t working_bytes(std::size_t rows, std::size_t cols) noexcept {
        const std::uint64_t columns = screen_layout::blocks(cols) * screen_layout::block_columns;
        const std::uint64_t found = rows / 8 + 1 + most_candidates;
        return 2 * columns + columns / 8 * sizeof(std::int32_t) + rows * sizeof(float) +
               2 * groups_of(rows) * sizeof(peak) + found * sizeof(scored_token);
    }

    /// Borrows all but the number, and reads the screen in largest() only. \param logit_scale above 0
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<screened_search> open(const loop_table& loops, const float_matrix& lm_head,
                                                      const lm_head_screen& screen, float logit_scale,
                                                      const memory_source* memory = nullptr) {
        const memory_from from{memory, {memory_use::scratch, false}};
        screened_search made;
        made.loops_ = &loops;
        made.lm_head_ = &lm_head;
        made.screen_ = &screen;
        made.logit_scale_ = logit_scale;
        made.group_ = group_of(lm_head.rows);
        const std::size_t groups = groups_of(lm_head.rows);
        const std::size_t cols = screen_layout::blocks(lm_head.cols) * screen_layout::block_columns;
        error failure;
        allocate(made.high_, cols, "screened head, working memory", failure, from);
        allocate(made.low_, cols, "screened head, working memory", failure, from);
        allocate(made.offset_, cols / 8, "screened head, working memory", failure, from);
        allocate(made.upper_, lm_head.rows, "screened head, working memory", failure, from);
        allocate(made.peaks_, groups, "screened head, working memory", failure, from);
        allocate(made.order_, groups, "screened head, working memory", failure, from);
        allocate(made.found_, made.limit() + most_candidates, "screened head, working memory", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }

    /// The k largest logits of head * x / logit_scale in descending order (see precedes), fewer where the head has
    /// fewer rows. Valid until the next call. nullopt if the whole matrix has to be read: x is not finite, or the
    /// bounds leave more than an eighth of the rows. x [lm_head.cols]. \pre 1 <= k <= most; opened with a head
    [[nodiscard]] std::optional<std::span<const scored_token>> largest(pool_ref pool, const float* x,
                                                                       std::size_t k) noexcept {
        return largest(pool, x, k, {}, false);
    }
    /// The same among the rows whose bits are set, bit row % 64 of word row / 64; among all if there are no words.
    /// \param is_again see begin_again() \pre these are k at least
    [[nodiscard]] std::optional<std::span<const scored_token>> largest(pool_ref pool, const float* x, std::size_t k,
                                                                       std::span<const std::uint64_t> allowed,
                                                                       bool is_again) noexcept {
        is_again ? begin_again(k) : begin(x, k);
        allowed_ = allowed;
        while (!is_over()) {
            run_stage(pool, x);
            end_stage();
        }
        allowed_ = {};
        return found();
    }

    /// The same in stages, each a loop that can stop and go on (see stepped_pool) and what one thread does behind it:
    /// begin(), then run_stage() and end_stage() in turn until it is_over(). x is the same all the time.
    void begin(const float* x, std::size_t k) noexcept {
        prepare(x);
        ask(k);
    }
    /// begin() without a k: for the bounds of x alone, behind which begin_again() tells it.
    void prepare(const float* x) noexcept {
        has_bounds_ = false;
        is_bounded_ = make_screen_input(x, lm_head_->cols, high_.data(), low_.data(), offset_.data(), input_);
        stage_ = is_bounded_ ? stage::bounds : stage::given_up;
    }
    /// begin() with the x of the last one, whose bounds are there: the screen is not read again.
    /// \pre bound() has run for every task since
    void begin_again(std::size_t k) noexcept {
        has_bounds_ = true;
        ask(k);
    }
    [[nodiscard]] bool is_over() const noexcept { return stage_ >= stage::found; }

    // For several searches that read the screen once, see joint_searches: after begin() of each, bound() of each for
    // every task below bound_tasks(), and then finish() of each; different tasks and searches on any threads.

    [[nodiscard]] std::size_t bound_tasks() const noexcept {
        return (peaks_.size() + groups_per_task() - 1) / groups_per_task();
    }
    /// \param are_taken whether take_bounds() had those of the task's rows
    void bound(std::size_t task, bool are_taken = false) noexcept {
        if (!is_over()) {
            bound_groups(first_group(task), first_group(task + 1), are_taken);
        }
    }
    struct row_range {
        std::size_t first;
        std::size_t count;
    };
    [[nodiscard]] row_range rows_of(std::size_t task) const noexcept {
        const std::size_t first = first_group(task) * group_;
        return {first, end_of(first_group(task + 1) - 1) - first};
    }
    /// The state, for the bounds of several. \pre prepare(), and not over
    [[nodiscard]] const screen_input& input() const noexcept { return input_; }
    /// Bounds of products that were made elsewhere: of row first + r, upper[r * stride].
    void take_bounds(std::size_t first, std::size_t count, const float* upper, std::size_t stride) noexcept {
        if (!is_over()) {
            for (std::size_t r = 0; r < count; ++r) {
                upper_[first + r] = upper[r * stride];
            }
            divide(upper_.data() + first, count);
        }
    }
    /// All that follows, on the calling thread.
    void finish(const float* x) noexcept {
        inline_pool here;
        while (!is_over()) {
            end_stage();
            if (!is_over()) {
                run_stage(here, x);
            }
        }
    }

    /// 0, 1 or 2. \pre not over
    [[nodiscard]] std::size_t stage_index() const noexcept { return static_cast<std::size_t>(stage_); }
    void run_stage(pool_ref pool, const float* x) noexcept {
        switch (stage_) {
        case stage::bounds:
            return bound_rows(pool);
        case stage::floor:
            return score_candidates(pool, x);
        default:
            return rescore(pool, x);
        }
    }
    /// \pre all of run_stage()'s loop has run
    void end_stage() noexcept {
        switch (stage_) {
        case stage::bounds:
            choose_candidates();
            stage_ = stage::floor;
            return;
        case stage::floor:
            find_floor();
            rescored_ = 0;
            stage_ = stage::rescoring;
            return;
        default:
            return rescored_ > limit() ? give_up() : sort_found();
        }
    }
    /// What largest() returns. \pre is_over()
    [[nodiscard]] std::optional<std::span<const scored_token>> found() const noexcept {
        return stage_ == stage::found ? std::optional(std::span<const scored_token>(found_.data(), k_)) : std::nullopt;
    }
    /// The k of begin().
    [[nodiscard]] std::size_t asked() const noexcept { return asked_; }

    [[nodiscard]] const screen_statistics& statistics() const noexcept { return statistics_; }
    /// Takes over what another one has counted.
    void take_statistics(screened_search& other) noexcept {
        const screen_statistics more = std::exchange(other.statistics_, {});
        statistics_.steps += more.steps;
        statistics_.full_passes += more.full_passes;
        statistics_.rescored_rows += more.rescored_rows;
        statistics_.bytes_read += more.bytes_read;
    }
    /// A reading of the screen for several searches.
    void count_reading() noexcept { statistics_.bytes_read += screen_->bytes(); }

private:
    static constexpr std::size_t most_groups = 8192; ///< whose peaks are ordered by one thread, in under 0.1 ms
    static constexpr std::size_t most_candidates = 2 * most;
    static constexpr std::size_t rows_per_task = 256;
    static constexpr std::size_t rows_per_list = 64;

    [[nodiscard]] static constexpr std::size_t group_of(std::size_t rows) noexcept {
        return (rows + most_groups - 1) / most_groups;
    }
    [[nodiscard]] static constexpr std::size_t groups_of(std::size_t rows) noexcept {
        return rows != 0 ? (rows + group_of(rows) - 1) / group_of(rows) : 0;
    }

    enum class stage { bounds, floor, rescoring, found, given_up };

    /// The largest bound of a group of rows.
    struct peak {
        std::int32_t rank;
        std::uint32_t row;
    };

    [[nodiscard]] static bool by_logit(const scored_token& a, const scored_token& b) noexcept { return precedes(a, b); }

    /// Rows that are rescored at most.
    [[nodiscard]] std::size_t limit() const noexcept { return lm_head_->rows / 8 + 1; }

    /// \pre prepare()
    void ask(std::size_t k) noexcept {
        assert(k >= 1 && k <= most);
        asked_ = k;
        k_ = (std::min)(k, lm_head_->rows);
        ++statistics_.steps;
        if (is_bounded_) {
            stage_ = stage::bounds;
        } else {
            give_up();
        }
    }
    void give_up() noexcept {
        ++statistics_.full_passes;
        statistics_.bytes_read += lm_head_->rows * lm_head_->row_bytes();
        stage_ = stage::given_up;
    }
    /// The k largest of those that were rescored to the front.
    void sort_found() noexcept {
        statistics_.rescored_rows += rescored_;
        statistics_.bytes_read +=
            (has_bounds_ ? 0 : screen_->bytes()) + (rescored_ + candidates_) * lm_head_->row_bytes();
        scored_token* first = found_.data();
        std::nth_element(first, first + (k_ - 1), first + rescored_, by_logit);
        std::sort(first, first + k_, by_logit);
        stage_ = stage::found;
    }

    [[nodiscard]] std::size_t groups_per_task() const noexcept {
        return std::max<std::size_t>(1, rows_per_task / group_);
    }
    /// Of a task, or the number of groups.
    [[nodiscard]] std::size_t first_group(std::size_t task) const noexcept {
        return (std::min)(peaks_.size(), task * groups_per_task());
    }
    template <class F> void for_groups(pool_ref pool, F&& f) noexcept {
        parallel_for(pool, bound_tasks(),
                     [&](std::size_t task) noexcept { f(first_group(task), first_group(task + 1)); });
    }
    [[nodiscard]] std::size_t end_of(std::size_t group) const noexcept {
        return (std::min)(lm_head_->rows, (group + 1) * group_);
    }

    [[nodiscard]] bool is_allowed(std::size_t row) const noexcept {
        return allowed_.empty() || (row / 64 < allowed_.size() && (allowed_[row / 64] >> row % 64 & 1) != 0);
    }

    [[nodiscard]] peak peak_of(std::size_t group) const noexcept {
        peak highest{INT32_MIN, 0};
        for (std::size_t r = group * group_; r < end_of(group); ++r) {
            const std::int32_t rank = rank_of(upper_[r]);
            if (rank > highest.rank && is_allowed(r)) {
                highest = {rank, static_cast<std::uint32_t>(r)};
            }
        }
        return highest;
    }

    /// upper_ and peaks_.
    void bound_rows(pool_ref pool) noexcept {
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept { bound_groups(begin, end, has_bounds_); });
    }
    void bound_groups(std::size_t begin, std::size_t end, bool are_there) noexcept {
        const std::size_t first = begin * group_;
        const std::size_t count = end_of(end - 1) - first;
        if (!are_there) {
            loops_->screen_rows(screen_->row(first), count, input_, upper_.data() + first);
            divide(upper_.data() + first, count);
        }
        for (std::size_t g = begin; g < end; ++g) {
            peaks_[g] = peak_of(g);
        }
    }

    /// The rows of the highest peaks to the front of order_: candidates_ of them, none if there are fewer than k.
    void choose_candidates() noexcept {
        const auto has_row = [](const peak& one) noexcept { return one.rank != INT32_MIN; };
        const auto groups = static_cast<std::size_t>( // those without a row that is allowed say nothing
            std::count_if(peaks_.data(), peaks_.data() + peaks_.size(), has_row));
        candidates_ = (std::min)({std::max<std::size_t>(16, 2 * k_), most_candidates, groups});
        if (candidates_ < k_) {
            candidates_ = 0;
            return;
        }
        std::copy_n(peaks_.data(), peaks_.size(), order_.data());
        std::nth_element(
            order_.data(), order_.data() + (candidates_ - 1), order_.data() + order_.size(),
            [](const peak& a, const peak& b) noexcept { return a.rank != b.rank ? a.rank > b.rank : a.row < b.row; });
    }
    /// Their exact logits, to found_.
    void score_candidates(pool_ref pool, const float* x) noexcept {
        constexpr std::size_t chunk = 8;
        parallel_for(pool, (candidates_ + chunk - 1) / chunk, [&](std::size_t task) noexcept {
            std::array<std::uint32_t, chunk> rows;
            const std::size_t first = task * chunk;
            const std::size_t count = (std::min)(chunk, candidates_ - first);
            for (std::size_t i = 0; i < count; ++i) {
                rows[i] = order_[first + i].row;
            }
            score({rows.data(), count}, x, found_.data() + first);
        });
    }
    /// floor_: the rank of a logit that k rows reach, the lowest rank without candidates.
    void find_floor() noexcept {
        floor_ = INT32_MIN;
        if (candidates_ != 0) {
            std::nth_element(found_.data(), found_.data() + (k_ - 1), found_.data() + candidates_, by_logit);
            floor_ = rank_of(found_[k_ - 1].logit);
        }
    }

    /// Calls visit(row) for the rows of groups [begin, end) whose bound reaches the floor.
    template <class F> void for_rows_reaching_floor(std::size_t begin, std::size_t end, F&& visit) const noexcept {
        for (std::size_t g = begin; g < end; ++g) {
            if (peaks_[g].rank < floor_) {
                continue;
            }
            for (std::size_t r = g * group_; r < end_of(g); ++r) {
                if (rank_of(upper_[r]) >= floor_ && is_allowed(r)) {
                    visit(r);
                }
            }
        }
    }

    /// Exact logits of all rows whose bound reaches the floor, to found_; rescored_ is their number, and where it
    /// exceeds limit(), not all have been computed.
    void rescore(pool_ref pool, const float* x) noexcept {
        std::atomic<std::size_t> count{rescored_};
        for_groups(pool, [&](std::size_t begin, std::size_t end) noexcept {
            std::array<std::uint32_t, rows_per_list> rows;
            std::size_t listed = 0;
            const auto flush = [&]() noexcept {
                const std::size_t at = count.fetch_add(listed, std::memory_order_relaxed);
                if (at + listed <= limit()) {
                    score({rows.data(), listed}, x, found_.data() + at);
                }
                listed = 0;
            };
            for_rows_reaching_floor(begin, end, [&](std::size_t row) noexcept {
                rows[listed++] = static_cast<std::uint32_t>(row);
                if (listed == rows.size()) {
                    flush();
                }
            });
            flush();
        });
        rescored_ = count.load(std::memory_order_relaxed);
    }

    /// out[i] = row rows[i] and its exact logit. \pre rows.size() <= rows_per_list
    void score(std::span<const std::uint32_t> rows, const float* x, scored_token* out) const noexcept {
        std::array<float, rows_per_list> logits;
        const element_loops& loops = loops_->of(lm_head_->element);
        loops.dot_listed(lm_head_->data, lm_head_->row_bytes(), rows, x, lm_head_->cols, logits.data());
        divide(logits.data(), rows.size());
        for (std::size_t i = 0; i < rows.size(); ++i) {
            out[i] = {static_cast<token>(rows[i]), logits[i]};
        }
    }

    /// Products to logits.
    void divide(float* products, std::size_t count) const noexcept {
        if (logit_scale_ != 1.0f) {
            loops_->divide(products, logit_scale_, count);
        }
    }

    const loop_table* loops_ = nullptr;
    const float_matrix* lm_head_ = nullptr;
    const lm_head_screen* screen_ = nullptr;
    float logit_scale_ = 1;
    std::size_t group_ = 1; ///< rows to a peak
    std::size_t asked_ = 0;
    std::size_t k_ = 0;
    std::size_t candidates_ = 0;
    std::size_t rescored_ = 0;
    std::int32_t floor_ = INT32_MIN;
    stage stage_ = stage::given_up;
    bool is_bounded_ = false; ///< x admits bounds
    bool has_bounds_ = false; ///< upper_ is there
    buffer<std::int8_t> high_;
    buffer<std::int8_t> low_;
    buffer<std::int32_t> offset_;
    screen_input input_;
    std::span<const std::uint64_t> allowed_; ///< of the present search; empty: all rows
    buffer<float> upper_;                    ///< [rows] bounds
    buffer<peak> peaks_;                     ///< [groups]
    buffer<peak> order_;                     ///< [groups] the highest first
    buffer<scored_token> found_;             ///< [limit + candidates]
    screen_statistics statistics_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
