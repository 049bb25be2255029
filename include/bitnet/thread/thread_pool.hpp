// SPDX-License-Identifier: MIT
// thread_pool: persistent workers that spin briefly between loops, then park. Empty where there are no threads.
#ifndef BITNET_THREAD_THREAD_POOL_HPP
#define BITNET_THREAD_THREAD_POOL_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/thread/native_thread.hpp>
#include <bitnet/thread/parking_number.hpp>
#include <bitnet/thread/pool.hpp>

#if BITNET_X86_64
#include <emmintrin.h> // _mm_pause
#endif

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>

#if BITNET_THREADS
namespace bitnet::inline BITNET_ABI {

/// threads() - 1 workers beside the thread that calls run(). One loop at a time; run() is not reentrant.
///
/// Indices are handed out one by one from a single atomic word (loop number, indices left), by the caller too, and
/// run() returns when all *claimed* indices are done. A worker that the operating system has not scheduled
/// delays nobody, so more threads than cores cost little: run() waits only for work that was taken, never for a thread
/// to arrive. A thread without work spins for as long as the caller asked, yielding its core to threads that have some,
/// and then sleeps: an idle pool uses no CPU.
class thread_pool {
public:
    static constexpr std::size_t max_threads = most_threads;

    /// \param threads 1 to max_threads, the calling thread included.
    /// \param spin how long a thread waits for work before it sleeps. Zero sleeps at once: the least CPU, at some ten
    /// microseconds for each wake-up. Between the loops of one token pass a few microseconds.
    /// \return errc::invalid_argument, errc::thread_error when the operating system refuses a thread.
    [[nodiscard]] static result<std::unique_ptr<thread_pool>> open(std::size_t threads,
                                                                   std::chrono::microseconds spin = default_spin) {
        if (threads == 0 || threads > max_threads) {
            return detail::error_saying(errc::invalid_argument, {"thread_pool: ", threads, " threads asked for, 1 to ",
                                                                 max_threads, " are possible"});
        }
        std::unique_ptr<thread_pool> pool(new (std::nothrow) thread_pool);
        if (pool == nullptr) {
            return detail::error_saying(errc::out_of_memory,
                                        {"thread_pool: ", sizeof(thread_pool), " bytes could not be allocated"});
        }
        pool->spin_ = spin;
        pool->workers_.reset(new (std::nothrow) detail::native_thread[threads - 1]);
        if (pool->workers_ == nullptr) {
            return detail::error_saying(
                errc::out_of_memory,
                {"thread_pool: ", (threads - 1) * sizeof(detail::native_thread), " bytes could not be allocated"});
        }
        for (std::size_t i = 0; i + 1 < threads; ++i) {
            if (!pool->workers_[i].start(&thread_pool::work, pool.get())) {
                return detail::error_saying(
                    errc::thread_error, {"thread_pool: the operating system refused thread ", i + 2, " of ", threads});
            }
            ++pool->started_;
        }
        return pool;
    }

    thread_pool(const thread_pool&) = delete;
    thread_pool& operator=(const thread_pool&) = delete;
    ~thread_pool() {
        stopping_.store(true, std::memory_order_relaxed);
        announce();
        for (std::size_t i = 0; i < started_; ++i) {
            workers_[i].join();
        }
    }

    [[nodiscard]] std::size_t threads() const noexcept { return started_ + 1; }

    /// \pre count < 2^32; called by one thread at a time.
    void run(std::size_t count, loop_body body) noexcept {
        if (count == 0) {
            return;
        }
        if (started_ == 0 || count == 1) {
            for (std::size_t i = 0; i < count; ++i) {
                body(i);
            }
            return;
        }
        body_ = body;
        count_ = count;
        finished_.value.store(0, std::memory_order_relaxed);
        ++loop_;
        ticket_.store((std::uint64_t{loop_} << 32) | count, std::memory_order_release);
        announce();
        while (claim_one()) {
        }
        wait_until_finished(count);
    }

private:
    thread_pool() noexcept = default;

    /// Runs one index of the current loop. \return whether there was one left.
    bool claim_one() noexcept {
        std::uint64_t ticket = ticket_.load(std::memory_order_relaxed);
        do {
            if ((ticket & 0xffffffffu) == 0) {
                return false;
            }
        } while (
            !ticket_.compare_exchange_weak(ticket, ticket - 1, std::memory_order_acquire, std::memory_order_relaxed));
        // The loop cannot end before this index is done: body_ and count_ stay what they are.
        const std::size_t count = count_;
        body_(count - detail::to_size(ticket & 0xffffffffu));
        if (finished_.value.fetch_add(1, std::memory_order_acq_rel) + 1 == count) {
            finished_.notify_all();
        }
        return true;
    }

    void announce() noexcept {
        generation_.value.fetch_add(1, std::memory_order_seq_cst);
        if (sleepers_.load(std::memory_order_seq_cst) != 0) {
            generation_.notify_all();
        }
    }

    void wait_until_finished(std::size_t count) noexcept {
        if (spin_until([&] { return finished_.value.load(std::memory_order_acquire) == count; })) {
            return;
        }
        for (auto done = finished_.value.load(std::memory_order_acquire); done != count;
             done = finished_.value.load(std::memory_order_acquire)) {
            finished_.wait(done);
        }
    }

    static void work(void* self) noexcept {
        auto& pool = *static_cast<thread_pool*>(self);
        std::uint32_t seen = 0;
        for (;;) {
            seen = pool.next_generation(seen);
            if (pool.stopping_.load(std::memory_order_relaxed)) {
                return;
            }
            while (pool.claim_one()) {
            }
        }
    }

    /// Waits until the generation is not `seen`. \return the new one.
    std::uint32_t next_generation(std::uint32_t seen) noexcept {
        std::uint32_t now = seen;
        const auto is_new = [&] {
            now = generation_.value.load(std::memory_order_acquire);
            return now != seen;
        };
        if (spin_until(is_new)) {
            return now;
        }
        sleepers_.fetch_add(1, std::memory_order_seq_cst);
        now = generation_.value.load(std::memory_order_seq_cst);
        while (now == seen) {
            generation_.wait(seen);
            now = generation_.value.load(std::memory_order_seq_cst);
        }
        sleepers_.fetch_sub(1, std::memory_order_relaxed);
        return now;
    }

    /// Waits for `is_true` for up to spin_: pauses at first, then yields between them, so that a thread which
    /// has work but lost its core gets one. \return whether it became true.
    template <class Condition> [[nodiscard]] bool spin_until(Condition&& is_true) const noexcept {
        constexpr unsigned pauses = 64; // 1 to 4 microseconds, by CPU
        if (is_true()) {
            return true;
        }
        if (spin_.count() == 0) {
            return false;
        }
        const auto start = std::chrono::steady_clock::now();
        do {
            for (unsigned i = 0; i < pauses; ++i) {
                if (is_true()) {
                    return true;
                }
                pause();
            }
            detail::native_thread::yield();
        } while (std::chrono::steady_clock::now() - start < spin_);
        return is_true();
    }

    static void pause() noexcept {
#if BITNET_X86_64
        _mm_pause();
#elif defined(__aarch64__) && !defined(_MSC_VER)
        __asm__ volatile("yield");
#endif
    }

    alignas(64) std::atomic<std::uint64_t> ticket_{0}; ///< loop number << 32 | indices not yet claimed
    alignas(64) detail::parking_number finished_;      ///< indices done in this loop; what the caller waits on
    alignas(64) detail::parking_number generation_;    ///< rises with every loop; what sleepers wait on
    std::atomic<std::uint32_t> sleepers_{0};
    std::uint32_t loop_ = 0;
    std::atomic<bool> stopping_{false};
    loop_body body_{};
    std::size_t count_ = 0;
    std::chrono::microseconds spin_{};
    std::unique_ptr<detail::native_thread[]> workers_;
    std::size_t started_ = 0;
};

} // namespace bitnet::inline BITNET_ABI
#endif

#endif
