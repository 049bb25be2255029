// SPDX-License-Identifier: MIT
// Runs a session on the program's own job system: here a queue and two workers, which other work may share.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <deque>
#include <functional>
#include <iostream>
#include <latch>
#include <mutex>
#include <thread>

class job_system {
public:
    ~job_system() {
        add(nullptr), add(nullptr); // each ends a worker
        one_.join(), two_.join();
    }

    void add(std::function<void()> job) {
        const std::lock_guard lock(mutex_);
        jobs_.push_back(std::move(job));
        more_.notify_one();
    }

    // The two functions that a session needs: see bitnet::loop_runner. This one calls body(0) to body(count - 1).
    void run(std::size_t count, bitnet::loop_body body) noexcept {
        std::atomic<std::size_t> next{0};
        std::latch at_work(2);
        const auto take_some = [&] {
            for (std::size_t i = next++; i < count; i = next++) {
                body(i);
            }
        };
        for (std::size_t i = 0; i < 2; ++i) {
            add([&] { take_some(), at_work.count_down(); });
        }
        take_some();
        at_work.wait();
    }
    std::size_t threads() const noexcept { return 3; }

private:
    std::function<void()> next() {
        std::unique_lock lock(mutex_);
        more_.wait(lock, [this] { return !jobs_.empty(); });
        auto job = std::move(jobs_.front());
        jobs_.pop_front();
        return job;
    }
    void work() {
        while (const auto job = next()) {
            job();
        }
    }

    std::mutex mutex_;
    std::condition_variable more_;
    std::deque<std::function<void()>> jobs_;
    std::thread one_{[this] { work(); }}; // after what they use
    std::thread two_{[this] { work(); }};
};

int main(int argc, char** argv) {
    job_system jobs; // outlives the sessions
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf", {.pool = jobs}));
    auto session = value(bitnet::any_session::open(model, jobs, {.context = 30}));
    auto choose = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    value(session.feed(value(model.text().encode("Once upon a time"))));
    std::cout << "Once upon a time";
    while (const auto token = session.next(choose)) {
        std::cout << model.text().bytes_of(*token);
    }
    std::cout << "\n(" << session.threads() << " threads)\n";
}
