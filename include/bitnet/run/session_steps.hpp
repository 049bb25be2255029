// SPDX-License-Identifier: MIT
// session_steps: the steps in which a session computes: within a budget, or whole; a flag of the host ends each.
#ifndef BITNET_RUN_SESSION_STEPS_HPP
#define BITNET_RUN_SESSION_STEPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/thread/stepped_pool.hpp>

#include <atomic>
#include <chrono>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the pool of a workspace, whose other sessions have flags of their own.
class session_steps {
public:
    explicit session_steps(stepped_pool& pool) noexcept : pool_(&pool) {}

    /// \param flag null: none
    void set_cancel_flag(const std::atomic<bool>* flag) noexcept { cancel_ = flag; }
    [[nodiscard]] bool is_flagged() const noexcept {
        return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
    }

    /// What the loops of the present step run on.
    [[nodiscard]] stepped_pool& pool() const noexcept { return *pool_; }

    void start(std::chrono::nanoseconds budget) noexcept { pool_->start(budget, cancel_); }
    /// What a step says that ended before all was done. \return errc::cancelled
    [[nodiscard]] result<step_state> stopped() const {
        return pool_->is_cancelled() ? result<step_state>(was_cancelled()) : step_state::working;
    }

    /// Calls work() in steps without end until it is true. \return errc::cancelled.
    template <class Work> [[nodiscard]] result<void> run_whole(Work&& work) {
        pool_->start(cancel_);
        while (!work()) {
            if (pool_->is_cancelled()) {
                return was_cancelled();
            }
            pool_->start(cancel_); // the flag was true for a moment
        }
        return {};
    }

private:
    [[nodiscard]] static error was_cancelled() { return {errc::cancelled, "cancelled"}; } // needs no memory

    stepped_pool* pool_;
    const std::atomic<bool>* cancel_ = nullptr;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
