// SPDX-License-Identifier: MIT
// engine: one thread that owns the model and answers requests, some at a time and the others in order.
#pragma once

#include "chat_slot.hpp"
#include "job.hpp"
#include "served_model.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>
#include <vector>

namespace server {

struct engine_options {
    std::size_t parallel = 4; ///< requests that are answered at the same time
    std::size_t queue = 64;   ///< and that wait, at most
};

/// What has happened so far. Any thread may read it.
struct engine_counts {
    std::atomic<std::uint64_t> requests = 0;
    std::atomic<std::uint64_t> refused = 0; ///< because the queue was full
    std::atomic<std::uint64_t> cancelled = 0;
    std::atomic<std::uint64_t> prompt_tokens = 0;
    std::atomic<std::uint64_t> cached_tokens = 0;
    std::atomic<std::uint64_t> written_tokens = 0;
    std::atomic<std::size_t> active = 0;
    std::atomic<std::size_t> waiting = 0;
};

class engine {
public:
    /// \return what scheduler::open returns
    [[nodiscard]] static bitnet::result<std::unique_ptr<engine>> open(std::unique_ptr<served_model> model,
                                                                      const engine_options& options) {
        std::unique_ptr<engine> made(new engine(std::move(model), options));
        if (made->model_->is_chatting) {
            bitnet::scheduler_options of_scheduler;
            of_scheduler.speakers = of_scheduler.answers = options.parallel;
            auto opened = bitnet::scheduler::open(made->model_->model, *made->model_->threads, of_scheduler);
            if (!opened) {
                return std::move(opened).error();
            }
            made->scheduler_.emplace(*std::move(opened));
        }
        made->thread_ = std::thread([self = made.get()] { self->work(); });
        return made;
    }
    engine(const engine&) = delete;
    engine& operator=(const engine&) = delete;
    /// Requests that are not answered are cancelled.
    ~engine() {
        {
            const std::lock_guard lock(mutex_);
            is_ending_ = true;
        }
        wake_.notify_one();
        if (thread_.joinable()) {
            thread_.join();
        }
    }

    /// Takes a request, or tells its client that there are too many. Any thread may call it.
    void submit(std::unique_ptr<job> asked) {
        ++counts_.requests;
        {
            const std::lock_guard lock(mutex_);
            if (waiting_.size() < options_.queue) {
                waiting_.push_back(std::move(asked));
                counts_.waiting = waiting_.size();
            }
        }
        if (asked != nullptr) {
            ++counts_.refused;
            asked->sink().send(api_error{429, "all places are taken and the queue is full, try again later", {}, {}});
            return;
        }
        wake_.notify_one();
    }

    /// The model, as far as all threads may read it: name, created, model.
    [[nodiscard]] const served_model& served() const noexcept { return *model_; }
    [[nodiscard]] const engine_counts& counts() const noexcept { return counts_; }

private:
    /// Where a request is answered.
    struct place {
        chat_slot slot;
        std::unique_ptr<job> work;
        std::uint64_t used = 0; ///< when, in requests
    };

    engine(std::unique_ptr<served_model> model, const engine_options& options)
        : model_(std::move(model)), options_(options), places_(options.parallel) {}

    void work() {
        while (wait()) {
            drop_gone();
            while (begin_next()) {
            }
            if (scheduler_) { // a small budget, so that no text, nor a client that comes or goes, waits for a long pass
                static_cast<void>(scheduler_->step(std::chrono::milliseconds(2)));
            }
            for (place& each : places_) {
                if (each.work != nullptr && each.work->pump()) {
                    end(each);
                }
            }
        }
        for (place& each : places_) {
            if (each.work != nullptr) {
                each.work->cancel();
                end(each);
            }
        }
    }

    /// \return whether there is something to do; false: it ends
    [[nodiscard]] bool wait() {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [&] { return is_ending_ || !waiting_.empty() || counts_.active != 0; });
        return !is_ending_;
    }

    void drop_gone() {
        for (place& each : places_) {
            if (each.work != nullptr && each.work->sink().is_gone()) {
                each.work->cancel();
                ++counts_.cancelled;
                end(each);
            }
        }
        const std::lock_guard lock(mutex_);
        counts_.cancelled += std::erase_if(waiting_, [](const auto& each) { return each->sink().is_gone(); });
        counts_.waiting = waiting_.size();
    }

    /// \return whether one began, or was refused
    [[nodiscard]] bool begin_next() {
        std::unique_ptr<job> next;
        {
            const std::lock_guard lock(mutex_);
            if (waiting_.empty() || counts_.active == places_.size()) {
                return false;
            }
            next = std::move(waiting_.front());
            waiting_.pop_front();
            counts_.waiting = waiting_.size();
        }
        place& in = place_for(*next);
        in.used = ++used_;
        if (auto refused = next->begin(*model_, in.slot)) {
            next->sink().send(*refused);
            return true;
        }
        in.work = std::move(next);
        ++counts_.active;
        if (in.work->speaks()) {
            if (auto added = scheduler_->add(*in.work); !added) {
                in.work->cancel();
                in.work->fail(api_error_of(added.error()));
                end(in);
            }
        }
        return true;
    }

    /// The free place that has most of what it needs; of equal ones the one that was not used for longest.
    [[nodiscard]] place& place_for(const job& next) {
        place* best = nullptr;
        std::size_t most = 0;
        for (place& each : places_) {
            if (each.work != nullptr) {
                continue;
            }
            const std::size_t common = next.common(each.slot);
            if (best == nullptr || common > most || (common == most && each.used < best->used)) {
                best = &each;
                most = common;
            }
        }
        return *best;
    }

    void end(place& of) {
        if (of.work->speaks()) {
            scheduler_->remove(*of.work);
        }
        const token_usage& usage = of.work->usage();
        counts_.prompt_tokens += usage.prompt;
        counts_.cached_tokens += usage.cached;
        counts_.written_tokens += usage.written;
        of.work.reset();
        --counts_.active;
    }

    std::unique_ptr<served_model> model_;
    engine_options options_;
    std::optional<bitnet::scheduler> scheduler_;
    std::vector<place> places_;
    std::uint64_t used_ = 0;
    engine_counts counts_;

    std::mutex mutex_; ///< of the next two
    std::deque<std::unique_ptr<job>> waiting_;
    bool is_ending_ = false;
    std::condition_variable wake_;
    std::thread thread_;
};

} // namespace server
