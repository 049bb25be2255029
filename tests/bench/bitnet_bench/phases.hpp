// SPDX-License-Identifier: MIT
// Where the time of a pass goes: a policy whose kernels, loops and pool count the ticks they take.
#pragma once

#include "phase_shares.hpp"

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
class timed_pool {
public:
    explicit timed_pool(bitnet::detail::owned_pool pool) noexcept : pool_(std::move(pool)) {}

    [[nodiscard]] static bitnet::result<std::unique_ptr<timed_pool>> open(std::size_t threads,
                                                                          std::chrono::microseconds spin) {
        auto pool = bitnet::detail::open_owned_pool<bitnet::default_pool>(threads, spin);
        if (!pool) {
            return failed(pool);
        }
        return std::make_unique<timed_pool>(*std::move(pool));
    }

    void run(std::size_t count, bitnet::loop_body body) noexcept {
        const phase_timer loop(phase::loop);
        loops_ += count > 1 ? 1 : 0; // one task needs no other thread
        bitnet::detail::parallel_for(pool_.ref(), count, [&](std::size_t index) noexcept {
            const phase_timer task(phase::task);
            body(index);
        });
    }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_.ref().threads(); }
    [[nodiscard]] std::size_t loops() const noexcept { return loops_; }
    void clear() noexcept { loops_ = 0; }

private:
    bitnet::detail::owned_pool pool_;
    std::size_t loops_ = 0; ///< of several tasks, since clear()
};

/// An engine with counters, which cost two readings of the clock for each call of a kernel or an attention loop. One at
/// a time: its functions have nowhere to keep what they wrap but here.
class timed_engine {
public:
    [[nodiscard]] static const bitnet::engine& over(const bitnet::engine& plain) {
        plain_ = &plain;
        loops_ = *plain.loops;
        loops_.screen_rows = &timed<phase::head, &bitnet::loop_table::screen_rows>::call;
        if (loops_.screen_groups.bound != nullptr) {
            loops_.screen_groups.bound = [](auto... arguments) noexcept {
                const phase_timer timer(phase::head);
                plain_->loops->screen_groups.bound(arguments...);
            };
        }
        loops_.exponentials = &timed<phase::attention, &bitnet::loop_table::exponentials>::call;
        loops_.merge = &timed<phase::attention, &bitnet::loop_table::merge>::call;
        time_elements(std::make_index_sequence<bitnet::detail::float_elements>{});
        kv_ = *plain.kv;
        kv_.scores = [](auto... arguments) noexcept {
            const phase_timer timer(phase::attention);
            plain_->kv->scores(arguments...);
        };
        kv_.weighted_values = [](auto... arguments) noexcept {
            const phase_timer timer(phase::attention);
            plain_->kv->weighted_values(arguments...);
        };
        ternary_ = *plain.ternary;
        ternary_.multiply = [](const bitnet::detail::ternary_view& w, std::size_t first, std::size_t count,
                               const bitnet::detail::activation_view& x, std::int32_t* y,
                               std::size_t y_stride) noexcept {
            const phase_timer timer(phase::ternary);
            plain_->ternary->multiply(w, first, count, x, y, y_stride);
        };
        blocks_ = *plain.blocks;
        blocks_.multiply = [](const bitnet::detail::scaled_blocks& w, std::size_t first, std::size_t count,
                              const bitnet::detail::block_activations& x, float* y, std::size_t y_stride) noexcept {
            const phase_timer timer(phase::ternary);
            plain_->blocks->multiply(w, first, count, x, y, y_stride);
        };
        engine_ = {plain.isa,
                   &loops_,
                   &kv_,
                   &ternary_,
                   &blocks_,
                   plain.enable,
                   &bitnet::detail::open_owned_pool<timed_pool>,
                   plain.has_threads};
        return engine_;
    }

private:
    template <phase Of, auto Member> struct timed;
    template <phase Of, class R, class... A, R (*bitnet::loop_table::*Member)(A...) noexcept> struct timed<Of, Member> {
        static R call(A... arguments) noexcept {
            const phase_timer timer(Of);
            return (plain_->loops->*Member)(arguments...);
        }
    };

    template <std::size_t... I> static void time_elements(std::index_sequence<I...>) {
        (time_element<I>(loops_.elements[I]), ...);
    }
    template <std::size_t I> static void time_element(bitnet::detail::element_loops& loops) {
        loops.dot_rows = [](auto... arguments) noexcept {
            const phase_timer timer(phase::head);
            plain_->loops->elements[I].dot_rows(arguments...);
        };
        if (loops.dot_listed != nullptr) {
            loops.dot_listed = [](auto... arguments) noexcept {
                const phase_timer timer(phase::head);
                plain_->loops->elements[I].dot_listed(arguments...);
            };
        }
    }

    static inline const bitnet::engine* plain_ = nullptr;
    static inline bitnet::loop_table loops_{};
    static inline bitnet::kv_table kv_{};
    static inline bitnet::ternary_table ternary_{};
    static inline bitnet::block_table blocks_{};
    static inline bitnet::engine engine_{};
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
