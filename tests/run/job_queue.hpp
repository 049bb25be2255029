// SPDX-License-Identifier: MIT
// A host's own job system for tests: a queue and its workers, which do other work, too.
#pragma once

#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

namespace bitnet_tests {

/// A loop_runner. run() puts as many jobs into the queue as there are workers, each of which takes indices until none
/// are left, and so does who calls it.
class job_queue {
public:
    explicit job_queue(std::size_t workers) {
        for (std::size_t i = 0; i < workers; ++i) {
            workers_.emplace_back([this] { work(); });
        }
    }
    job_queue(const job_queue&) = delete;
    job_queue& operator=(const job_queue&) = delete;
    ~job_queue() {
        {
            const std::lock_guard lock(mutex_);
            is_ending_ = true;
        }
        more_.notify_all();
        for (std::thread& each : workers_) {
            each.join();
        }
    }

    void add(std::function<void()> job) {
        {
            const std::lock_guard lock(mutex_);
            jobs_.push_back(std::move(job));
        }
        more_.notify_one();
    }

    void run(std::size_t count, bitnet::loop_body body) noexcept {
        std::atomic<std::size_t> next{0};
        const auto take_all = [&] {
            for (std::size_t i = next++; i < count; i = next++) {
                body(i);
            }
        };
        std::size_t at_work = workers_.size(); // under mutex_
        for (std::size_t i = 0; i < workers_.size(); ++i) {
            add([&] {
                take_all();
                const std::lock_guard lock(mutex_);
                if (--at_work == 0) {
                    done_.notify_all();
                }
            });
        }
        take_all();
        std::unique_lock lock(mutex_);
        done_.wait(lock, [&] { return at_work == 0; });
        ++loops_;
    }
    [[nodiscard]] std::size_t threads() const noexcept { return workers_.size() + 1; }

    /// How many loops have run. \pre none runs
    [[nodiscard]] std::size_t loops() const noexcept { return loops_; }

private:
    void work() {
        std::unique_lock lock(mutex_);
        for (;;) {
            more_.wait(lock, [this] { return is_ending_ || !jobs_.empty(); });
            if (jobs_.empty()) {
                return;
            }
            const std::function<void()> job = std::move(jobs_.front());
            jobs_.pop_front();
            lock.unlock();
            job();
            lock.lock();
        }
    }

    std::mutex mutex_;
    std::condition_variable more_;
    std::condition_variable done_;
    std::deque<std::function<void()>> jobs_;
    std::vector<std::thread> workers_;
    std::size_t loops_ = 0;
    bool is_ending_ = false;
};

} // namespace bitnet_tests
