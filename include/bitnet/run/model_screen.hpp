// SPDX-License-Identifier: MIT
// model_screen: the screen of a model's head, there from the start, made in the background, or none.
#ifndef BITNET_RUN_MODEL_SCREEN_HPP
#define BITNET_RUN_MODEL_SCREEN_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/run/open_options.hpp>
#include <bitnet/run/tensors_part.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/native_thread.hpp>
#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Part of a model, read by its sessions. One thread calls hold() or make_in_background(), once, before any session is
/// opened; all others may be called by any thread. Destroying it ends the making of the screen within 64 rows.
class model_screen {
public:
    model_screen() noexcept = default;
    model_screen(const model_screen&) = delete;
    model_screen& operator=(const model_screen&) = delete;
    ~model_screen() {
        stopping_.store(true, std::memory_order_relaxed);
#if BITNET_THREADS
        maker_.join();
#endif
    }

    /// A screen that is complete.
    void hold(lm_head_screen complete) noexcept {
        screen_ = std::move(complete);
        state_.store(screen_state::ready, std::memory_order_release);
    }

    /// Writes `allocated` on a thread of its own, which begins a second from now: what is asked at once of a model that
    /// was just opened has the cores for itself. Borrows the others. \return whether the system gave a thread; if not,
    /// there is no screen.
    [[nodiscard]] bool make_in_background([[maybe_unused]] lm_head_screen allocated,
                                          [[maybe_unused]] const loop_table& loops,
                                          [[maybe_unused]] const float_matrix& lm_head) noexcept {
#if BITNET_THREADS
        screen_ = std::move(allocated);
        loops_ = &loops;
        lm_head_ = &lm_head;
        state_.store(screen_state::being_made, std::memory_order_relaxed);
        if (maker_.start(&model_screen::make, this)) {
            return true;
        }
        screen_ = {};
        state_.store(screen_state::none, std::memory_order_relaxed);
#endif
        return false;
    }

    [[nodiscard]] screen_state state() const noexcept { return state_.load(std::memory_order_acquire); }
    /// Whether it may be searched through: what it holds was written before.
    [[nodiscard]] bool is_ready() const noexcept { return state() == screen_state::ready; }
    /// Whether it is ready or will be.
    [[nodiscard]] bool is_expected() const noexcept { return state() != screen_state::none; }
    /// Memory of its own; 0 if the file holds it.
    [[nodiscard]] std::uint64_t own_bytes() const noexcept { return screen_.own_bytes(); }

    /// The screen itself, which has its size and its place from the start. To be read once it is_ready().
    [[nodiscard]] const lm_head_screen& get() const noexcept { return screen_; }

private:
#if BITNET_THREADS
    static void make(void* self) noexcept {
        auto& made = *static_cast<model_screen*>(self);
        for (int i = 0; i < 100 && !made.stopping_.load(std::memory_order_relaxed); ++i) {
            native_thread::sleep_10_ms(); // the first token goes first
        }
        inline_pool here;
        if (tensors_part<>::fill_screen(here, *made.loops_, *made.lm_head_, made.screen_, made.stopping_)) {
            made.state_.store(screen_state::ready, std::memory_order_release);
        }
    }

    native_thread maker_;
    const loop_table* loops_ = nullptr;
    const float_matrix* lm_head_ = nullptr;
#endif
    lm_head_screen screen_;
    std::atomic<screen_state> state_{screen_state::none};
    std::atomic<bool> stopping_{false};
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
