// SPDX-License-Identifier: MIT
// Where the time of a pass goes: a policy whose kernels, loops and pool count the ticks they take.
#pragma once

#include <bitnet/policy.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>

#if BITNET_X86_64
#include <immintrin.h>
#endif

namespace bench {

enum class phase : std::size_t { ternary, head, attention, task, loop };
inline constexpr std::size_t phases = 5;

/// A clock that costs some ten nanoseconds at most; its unit is found out by comparing it with another.
[[nodiscard]] inline std::uint64_t ticks() noexcept {
#if BITNET_X86_64
    return __rdtsc();
#else
    return static_cast<std::uint64_t>(std::chrono::steady_clock::now().time_since_epoch().count());
#endif
}

/// Ticks of each phase, counted by every thread for itself. Read and cleared between two passes, when nobody counts.
class phase_counters {
public:
    struct alignas(64) slot {
        std::array<std::uint64_t, phases> spent{};
    };

    /// The calling thread's counters. Threads beyond the 1024th share the last ones and count wrongly.
    static slot& mine() noexcept {
        static std::atomic<std::size_t> used{0};
        thread_local slot& own = all()[std::min<std::size_t>(used.fetch_add(1), most - 1)];
        return own;
    }
    static void clear() noexcept {
        for (slot& each : all()) {
            each.spent.fill(0);
        }
    }
    [[nodiscard]] static std::array<std::uint64_t, phases> sum() noexcept {
        std::array<std::uint64_t, phases> total{};
        for (const slot& each : all()) {
            for (std::size_t i = 0; i < phases; ++i) {
                total[i] += each.spent[i];
            }
        }
        return total;
    }

private:
    static constexpr std::size_t most = 1024;
    static std::array<slot, most>& all() noexcept {
        static std::array<slot, most> slots;
        return slots;
    }
};

/// Adds its lifetime to a phase of the calling thread.
class phase_timer {
public:
    explicit phase_timer(phase of) noexcept
        : spent_(phase_counters::mine().spent[static_cast<std::size_t>(of)]), start_(ticks()) {}
    phase_timer(const phase_timer&) = delete;
    phase_timer& operator=(const phase_timer&) = delete;
    ~phase_timer() { spent_ += ticks() - start_; }

private:
    std::uint64_t& spent_;
    std::uint64_t start_;
};

/// A pool that counts what its tasks take (phase::task, on their threads) and how long its loops last (phase::loop, on
/// the caller's).
template <class Pool> class timed_pool {
public:
    template <class... A> [[nodiscard]] static bitnet::result<std::unique_ptr<timed_pool>> open(A... arguments) {
        auto pool = Pool::open(std::forward<A>(arguments)...);
        if (!pool) {
            return std::move(pool).error();
        }
        return std::make_unique<timed_pool>(*std::move(pool));
    }
    explicit timed_pool(std::unique_ptr<Pool> pool) noexcept : pool_(std::move(pool)) {}

    void run(std::size_t count, bitnet::loop_body body) noexcept {
        const phase_timer loop(phase::loop);
        bitnet::parallel_for(*pool_, count, [&](std::size_t index) noexcept {
            const phase_timer task(phase::task);
            body(index);
        });
    }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_->threads(); }

private:
    std::unique_ptr<Pool> pool_;
};

template <class Kernel> struct timed_kernel : Kernel {
    template <class... A> static void rows(A&&... arguments) noexcept {
        const phase_timer timer(phase::ternary);
        Kernel::rows(std::forward<A>(arguments)...);
    }
};

/// `Policy` with counters. They cost two readings of the clock for each call of a kernel or an attention loop.
template <class Policy> struct timed_loops : Policy::loops {
    using loops = typename Policy::loops;

    template <class E, class... A> static void dot_rows(A&&... arguments) noexcept {
        const phase_timer timer(phase::head);
        loops::template dot_rows<E>(std::forward<A>(arguments)...);
    }
    template <class E, class... A> static void dot_listed(A&&... arguments) noexcept {
        const phase_timer timer(phase::head);
        loops::template dot_listed<E>(std::forward<A>(arguments)...);
    }
    template <class... A> static void screen_rows(A&&... arguments) noexcept {
        const phase_timer timer(phase::head);
        loops::screen_rows(std::forward<A>(arguments)...);
    }
    template <class... A> static void scores(A&&... arguments) noexcept {
        const phase_timer timer(phase::attention);
        loops::scores(std::forward<A>(arguments)...);
    }
    template <class... A> static auto exponentials(A&&... arguments) noexcept {
        const phase_timer timer(phase::attention);
        return loops::exponentials(std::forward<A>(arguments)...);
    }
    template <class... A> static void weighted_values(A&&... arguments) noexcept {
        const phase_timer timer(phase::attention);
        loops::weighted_values(std::forward<A>(arguments)...);
    }
    template <class... A> static auto merge(A&&... arguments) noexcept {
        const phase_timer timer(phase::attention);
        return loops::merge(std::forward<A>(arguments)...);
    }
};

template <class Policy> struct timed : Policy {
    using ternary = timed_kernel<typename Policy::ternary>;
    using loops = timed_loops<Policy>;
    using pool = timed_pool<typename Policy::pool>;
};

/// Shares of the time that the threads of a pass had together; they add up to 1.
struct phase_shares {
    double ternary = 0;
    double head = 0;
    double attention = 0;
    double rest = 0; ///< norms, quantising, rotating, activations, sampling
    double waiting = 0;
};

/// \param pass_ticks how long the passes took by ticks()
[[nodiscard]] inline phase_shares shares_of(std::uint64_t pass_ticks, std::size_t threads) noexcept {
    const auto spent = phase_counters::sum();
    const auto share = [&](std::uint64_t part) {
        return static_cast<double>(part) / (static_cast<double>(pass_ticks) * static_cast<double>(threads));
    };
    const auto of = [&](phase which) { return spent[static_cast<std::size_t>(which)]; };
    const std::uint64_t serial = pass_ticks - std::min(pass_ticks, of(phase::loop)); // the caller's, between loops
    const double busy = share(of(phase::task) + serial);
    phase_shares shares{share(of(phase::ternary)), share(of(phase::head)), share(of(phase::attention)), 0, 0};
    shares.rest = std::max(0.0, busy - shares.ternary - shares.head - shares.attention);
    shares.waiting = std::max(0.0, 1.0 - busy);
    return shares;
}

} // namespace bench
