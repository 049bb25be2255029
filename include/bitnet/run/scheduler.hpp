// SPDX-License-Identifier: MIT
// scheduler: many conversations on one model, all of them in one reading of its weights.
#ifndef BITNET_RUN_SCHEDULER_HPP
#define BITNET_RUN_SCHEDULER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speaker.hpp>
#include <bitnet/thread/pool.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <optional>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What scheduler holds. See there for what the functions promise.
class scheduler_base {
public:
    scheduler_base(const scheduler_base&) = delete;
    scheduler_base& operator=(const scheduler_base&) = delete;
    virtual ~scheduler_base() = default;

    [[nodiscard]] virtual result<void> add(speaker& who, int priority) = 0;
    virtual bool set_priority(const speaker& who, int priority) noexcept = 0;
    virtual bool remove(const speaker& who) noexcept = 0;
    /// \param budget nullopt: one pass, without end
    [[nodiscard]] virtual step_state step(std::optional<std::chrono::nanoseconds> budget) noexcept = 0;
    [[nodiscard]] virtual std::size_t speakers() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;

protected:
    scheduler_base() noexcept = default;
};

} // namespace detail

/// Serves many speakers with one model by continuous batching: each pass over the weights takes one token of all that
/// are speaking and a piece of the prompts of others, and speakers come and go between passes. Every one gets the bits,
/// and so the tokens, that it would have had alone.
///
/// In the order of priorities, the highest first, and of equal ones the one that waited longest; in every fourth pass
/// the waiting alone decides, so that among n speakers nobody waits for more than 4 n passes.
///
/// What fails, fails for one: a speaker whose context or KV pool is full, whose flag is set (see
/// any_session::set_cancel_flag) or that has nothing to continue gets take(nullopt), its session says why, and it is
/// left out until the next step() asks it again.
///
/// Borrows the model, which must outlive it, and speakers until they are removed. Sessions need no memory for the work
/// that is done here; those made by any_session::fork() have none of their own. Belongs to one thread at a time,
/// together with its speakers, their sessions and all that these share a working memory with. Between two calls
/// sessions may be used like any others; a pass that stopped halfway starts again if one of its sessions was run,
/// rewound or removed meanwhile. Allocates in open() only: scratch for the rows of a pass, and logits for `answers`
/// rows, of which what is never written is never used.
///
///     while (server_is_running()) {
///         add_and_remove_speakers();
///         if (all.step(2ms) == step_state::ready) { wait_for_requests(); }
///     }
class scheduler {
public:
    /// \return errc::invalid_argument (an option that is out of its range, no threads), errc::no_lm_head (a text
    /// embedding model), errc::out_of_memory, errc::thread_error. \tparam Ladder as in conversation::open
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<scheduler> open(const any_model& opened, const scheduler_options& options = {}) {
        return made(compiled_for<Ladder>::open_scheduler(opened, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the scheduler; options.threads and spin are not used.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<scheduler> open(const any_model& opened, pool_ref pool,
                                                const scheduler_options& options = {}) {
        return made(compiled_for<Ladder>::open_scheduler(opened, options, &pool));
    }
    static result<scheduler> open(any_model&&, const scheduler_options& = {}) = delete;           // would dangle
    static result<scheduler> open(any_model&&, pool_ref, const scheduler_options& = {}) = delete; // would dangle

    /// Serves `who` from the next step() on; it must outlive that, or be removed before. \return
    /// errc::invalid_argument (its session is another model's or already served, too many speakers).
    [[nodiscard]] result<void> add(speaker& who, int priority = 0) { return base_->add(who, priority); }
    /// \return whether `who` is served here
    bool set_priority(const speaker& who, int priority) noexcept { return base_->set_priority(who, priority); }
    /// Its session has all tokens that it was given, and what is left in its queue. \return whether `who` was served
    bool remove(const speaker& who) noexcept { return base_->remove(who); }

    /// Works, and returns before `budget` is used up, as any_session::step() does: it may stop within a pass, and the
    /// next call goes on there. Choosing a token is not divided; one speaker's is the most that a budget is missed by.
    /// \return ready if no speaker has anything to do
    [[nodiscard]] step_state step(std::chrono::nanoseconds budget) noexcept { return base_->step(budget); }
    /// One whole pass, or the rest of one: for servers, which look for new requests between two.
    [[nodiscard]] step_state step() noexcept { return base_->step(std::nullopt); }

    [[nodiscard]] std::size_t speakers() const noexcept { return base_->speakers(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }

private:
    explicit scheduler(std::unique_ptr<detail::scheduler_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<scheduler> made(result<std::unique_ptr<detail::scheduler_base>> opened) {
        return opened ? result<scheduler>(scheduler(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::scheduler_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
