// SPDX-License-Identifier: MIT
// stepped_pool: runs the loops of a long computation in steps that end before a given time.
#ifndef BITNET_THREAD_STEPPED_POOL_HPP
#define BITNET_THREAD_STEPPED_POOL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <limits>

namespace bitnet::inline BITNET_ABI::detail {

/// How far a stage of a computation is: a sequence of loops, the same each time the stage's code runs.
struct loop_progress {
    std::size_t loops = 0;   ///< that are done
    std::size_t indices = 0; ///< of the loop after them

    [[nodiscard]] bool has_begun() const noexcept { return loops != 0 || indices != 0; }
};

/// Which of a computation's stages a loop belongs to, and for how many rows it works.
struct loop_kind {
    std::size_t stage;
    std::size_t rows;
};

/// How long one index of a loop takes, by stage, by the loop's place in it and by rows: learnt from what was measured.
/// A longer time counts at once, but no more than twice what was known, because the system may have taken the thread's
/// core away; a shorter one by an eighth. Any thread may call any function.
class loop_times {
public:
    static constexpr std::size_t stages = 8;
    static constexpr std::size_t loops = 16; ///< in a stage; later ones share the last place

    /// In nanoseconds; 0: not known.
    [[nodiscard]] std::uint32_t of(loop_kind kind, std::size_t loop) const noexcept {
        const std::size_t own = group_of(kind.rows);
        if (const std::uint32_t known = place(own, kind.stage, loop)) {
            return known;
        }
        for (std::size_t fewer = own; fewer-- != 0;) { // no slower than in proportion
            if (const std::uint32_t known = place(fewer, kind.stage, loop)) {
                return static_cast<std::uint32_t>((std::min)(std::uint64_t{known} << (own - fewer), most));
            }
        }
        return 0;
    }
    void learn(loop_kind kind, std::size_t loop, std::uint64_t nanoseconds) noexcept {
        std::atomic<std::uint32_t>& known = place(group_of(kind.rows), kind.stage, loop);
        const std::uint64_t old = known.load(std::memory_order_relaxed);
        const std::uint64_t now = std::clamp<std::uint64_t>(nanoseconds, 1, most);
        const std::uint64_t next = old == 0 ? now : now < old ? old - (old - now) / 8 : (std::min)(now, 2 * old);
        known.store(static_cast<std::uint32_t>((std::min)(next, most)), std::memory_order_relaxed);
    }
    /// Of the slowest loop of a stage.
    [[nodiscard]] std::uint32_t longest(loop_kind kind) const noexcept {
        std::uint32_t longest = 0;
        for (std::size_t loop = 0; loop < loops; ++loop) {
            longest = (std::max)(longest, place(group_of(kind.rows), kind.stage, loop).load(std::memory_order_relaxed));
        }
        return longest;
    }

private:
    static constexpr std::uint64_t most = 1u << 31; // two seconds
    static constexpr std::size_t groups = 14;       // 1 row, 2 to 3, 4 to 7, ... and 8192 and more

    [[nodiscard]] static std::size_t group_of(std::size_t rows) noexcept {
        constexpr int top = std::numeric_limits<std::size_t>::digits - 1;
        return (std::min)(static_cast<std::size_t>(top - std::countl_zero(rows | 1)), groups - 1);
    }
    [[nodiscard]] static std::size_t index_of(std::size_t group, std::size_t stage, std::size_t loop) noexcept {
        return (group * stages + (std::min)(stage, stages - 1)) * loops + (std::min)(loop, loops - 1);
    }
    [[nodiscard]] std::atomic<std::uint32_t>& place(std::size_t group, std::size_t stage, std::size_t loop) noexcept {
        return known_[index_of(group, stage, loop)];
    }
    [[nodiscard]] const std::atomic<std::uint32_t>& place(std::size_t group, std::size_t stage,
                                                          std::size_t loop) const noexcept {
        return known_[index_of(group, stage, loop)];
    }

    std::array<std::atomic<std::uint32_t>, groups * stages * loops> known_{};
};

/// A pool for code that is a sequence of loops and little between them. Within a step it runs, on the threads of
/// another pool, what fits: a thread takes indices in ascending order, as many as are sure to be done before the step's
/// end, and none that is not. Where time is up, the present loop stops between two indices, all further loops do
/// nothing, and is_stopped() says so. The next step calls the code again: loops that are done are passed over, and the
/// one that was stopped goes on. What stands between the loops must do no harm when it runs again, also behind a
/// stopped loop.
///
/// Every step runs at least one index, however little time it has. Not copyable: loops refer to it.
class stepped_pool {
public:
    explicit stepped_pool(pool_ref pool) noexcept : pool_(pool) {}
    stepped_pool(const stepped_pool&) = delete;
    stepped_pool& operator=(const stepped_pool&) = delete;

    /// Begins a step that ends `budget` from now. \param cancel null: none; otherwise the step also ends once it is
    /// true, within a quarter of a millisecond if indices are shorter.
    void start(std::chrono::nanoseconds budget, const std::atomic<bool>* cancel) noexcept {
        const auto now = clock::now();
        budget_ = (std::clamp)(budget, std::chrono::nanoseconds(0), std::chrono::nanoseconds(std::chrono::hours(24)));
        end_ = now + std::chrono::duration_cast<clock::duration>(budget_);
        begin(true, cancel);
    }
    /// Begins a step without end.
    void start(const std::atomic<bool>* cancel) noexcept { begin(false, cancel); }

    /// The pool for a stage's code, of which `progress` is done; both live until the next resume(). In a step without
    /// end and flag, a stage that has not begun gets the plain pool, at no cost.
    [[nodiscard]] pool_ref resume(loop_progress& progress, loop_kind kind) noexcept {
        progress_ = &progress;
        kind_ = kind;
        loop_ = 0;
        if (!is_timed_ && cancel_ == nullptr && !progress.has_begun()) {
            return pool_;
        }
        return {this,
                [](void* self, std::size_t count, loop_body body) noexcept {
                    static_cast<stepped_pool*>(self)->run(count, body);
                },
                pool_.threads()};
    }

    /// Whether the time of this step is used up.
    [[nodiscard]] bool is_over() const noexcept { return is_timed_ && clock::now() >= end_; }
    /// Whether a loop of this step was not finished.
    [[nodiscard]] bool is_stopped() const noexcept { return is_stopped_; }
    /// Whether the flag stopped it.
    [[nodiscard]] bool is_cancelled() const noexcept { return is_cancelled_; }

    /// How many rows to take for a stage, 1 to `most`, so that an index takes about a sixteenth of the step: what a
    /// thread cannot use at the end is half of that. Starts with 16 and goes on from what took how long.
    [[nodiscard]] std::size_t rows_for(std::size_t stage, std::size_t most) noexcept {
        constexpr std::size_t first = 16; // of AMX tiles and of arranged groups
        std::size_t rows = first;
        const std::uint64_t longest = times_.longest({stage, rows_});
        if (!is_timed_) {
            rows = most;
        } else if (rows_ != 0 && longest != 0) {
            const std::uint64_t wanted = static_cast<std::uint64_t>(budget_.count()) / 16;
            rows = static_cast<std::size_t>((std::min)(std::uint64_t{rows_} * wanted / longest, std::uint64_t{most}));
            rows = (std::clamp)(rows, std::size_t{1}, (std::max)(first, 4 * rows_));
        }
        rows = (std::min)(rows > first ? rows - rows % first : rows, most);
        if (rows < most || rows >= first) { // not the rest of a prompt
            rows_ = rows;
        }
        return rows;
    }

private:
    using clock = std::chrono::steady_clock;

    /// A loop that threads take indices from.
    struct shared_loop {
        stepped_pool& pool;
        loop_body body;
        std::size_t count;
        std::size_t first;
        bool is_owed; ///< whether index `first` runs whatever the time: the step has run none
        std::atomic<std::size_t> next;
    };

    void begin(bool is_timed, const std::atomic<bool>* cancel) noexcept {
        is_timed_ = is_timed;
        cancel_ = cancel;
        has_run_ = false;
        is_stopped_ = false;
        is_cancelled_ = false;
    }

    void run(std::size_t count, loop_body body) noexcept {
        const std::size_t loop = loop_++;
        if (is_stopped_ || loop < progress_->loops) {
            return;
        }
        if (progress_->indices < count) {
            run_some(count, body);
        }
        if (progress_->indices >= count) {
            *progress_ = {progress_->loops + 1, 0};
        } else {
            is_stopped_ = true;
            is_cancelled_ = is_flagged();
        }
    }

    void run_some(std::size_t count, loop_body body) noexcept {
        const std::size_t first = progress_->indices;
        shared_loop all{*this, body, count, first, !has_run_, {first}};
        const std::size_t threads = (std::min)(count - first, pool_.threads());
        if (threads == 1) {
            take(all);
        } else {
            const auto call = [](void* loop, std::size_t) noexcept {
                auto& shared = *static_cast<shared_loop*>(loop);
                shared.pool.take(shared);
            };
            pool_.run(threads, loop_body{call, &all});
        }
        progress_->indices = all.next.load(std::memory_order_relaxed);
        has_run_ = has_run_ || progress_->indices != first;
    }

    /// Runs indices until there are none or none fits.
    void take(shared_loop& loop) noexcept {
        for (auto now = clock::now();;) {
            std::size_t begin = loop.next.load(std::memory_order_relaxed);
            std::size_t size = 0;
            do {
                size = begin < loop.count ? share(loop, begin, now) : 0;
                if (size == 0) {
                    return;
                }
            } while (!loop.next.compare_exchange_weak(begin, begin + size, std::memory_order_relaxed));
            for (std::size_t i = begin; i < begin + size; ++i) {
                loop.body(i);
            }
            const auto then = clock::now();
            const auto took = std::chrono::duration_cast<std::chrono::nanoseconds>(then - now);
            times_.learn(kind_, progress_->loops, static_cast<std::uint64_t>(took.count()) / size);
            now = then;
        }
    }

    /// How many indices from `begin` on a thread takes at `now`; 0 if no time is left. Half of its share of those left,
    /// as in guided_runs, and of the time; with time or a flag to look at, a quarter of a millisecond at most.
    [[nodiscard]] std::size_t share(const shared_loop& loop, std::size_t begin, clock::time_point now) const noexcept {
        constexpr std::int64_t longest = 250'000; // nanoseconds
        if (is_flagged()) {
            return 0;
        }
        const std::int64_t each = times_.of(kind_, progress_->loops);
        std::int64_t left = longest;
        if (is_timed_) {
            const auto rest = std::chrono::duration_cast<std::chrono::nanoseconds>(end_ - now).count();
            if (rest <= each) {
                return loop.is_owed && begin == loop.first ? 1 : 0;
            }
            left = (std::min)(left, static_cast<std::int64_t>(rest) / 2);
        }
        const std::size_t half_a_share = (loop.count - begin) / (2 * pool_.threads());
        const auto in_time = each == 0 ? std::size_t{1} : static_cast<std::size_t>(left / each);
        return (std::max)((std::min)(half_a_share, in_time), std::size_t{1});
    }

    [[nodiscard]] bool is_flagged() const noexcept {
        return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
    }

    pool_ref pool_;
    loop_times times_;
    std::size_t rows_ = 0; ///< that rows_for() said last
    clock::time_point end_{};
    std::chrono::nanoseconds budget_{};
    const std::atomic<bool>* cancel_ = nullptr;
    loop_progress* progress_ = nullptr;
    loop_kind kind_{};
    std::size_t loop_ = 0; ///< of the stage's code that runs
    bool is_timed_ = false;
    bool has_run_ = false; ///< whether this step ran an index
    bool is_stopped_ = false;
    bool is_cancelled_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
