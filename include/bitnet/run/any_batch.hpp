// SPDX-License-Identifier: MIT
// any_batch: one step of several sessions together, so that the weights are read once for all of them.
#ifndef BITNET_RUN_ANY_BATCH_HPP
#define BITNET_RUN_ANY_BATCH_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// What one session gets in a step: a token, or an embedding [hidden] as any_session::feed_embeddings takes it.
struct batch_entry {
    any_session* of;
    token id; ///< not used if there is an embedding
    std::span<const float> embedding = {};
};

namespace detail {

/// What any_batch holds. See there for what the functions promise.
class batch_base {
public:
    batch_base(const batch_base&) = delete;
    batch_base& operator=(const batch_base&) = delete;
    virtual ~batch_base() = default;

    [[nodiscard]] virtual result<void> step(std::span<const batch_entry> entries) = 0;
    /// Room for the entries of a step.
    [[nodiscard]] virtual std::span<batch_entry> entries() noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual error too_many(std::size_t sessions) const = 0;

protected:
    batch_base() noexcept = default;
};

} // namespace detail

/// Steps sessions of one model together: decoding is bound by reading the weights, and here one reading serves all.
/// The logits are the bits that each session would have computed alone. Borrows the model, which must outlive it, and
/// sessions only during a call; after it they read the logits out of the batch's memory until its next step, and
/// compute them again if they are asked for later. Belongs to one thread at a time, together with the sessions that it
/// stepped. Allocates in open() only: scratch and logits for `sessions` rows (under 150 KiB and 4 bytes a token of the
/// vocabulary for each; memory that is never written is never used). Verifies no guesses: those of
/// any_session::queue_ahead() are dropped, and a scheduler is what has them in a pass of several.
///
///     while (is_any_going_on) {
///         batch.run_pending(sessions);                   // one pass over the weights
///         for (auto* each : sessions) each->next(choose) // only samples
///     }
class any_batch {
public:
    /// \return errc::invalid_argument (no sessions, too many, no threads), errc::no_lm_head (a text embedding model),
    /// errc::out_of_memory, errc::thread_error. \tparam Ladder as in conversation::open
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_batch> open(const any_model& opened, const batch_options& options = {}) {
        return made(compiled_for<Ladder>::open_batch(opened, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the batch; options.threads and spin are not used.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<any_batch> open(const any_model& opened, pool_ref pool,
                                                const batch_options& options = {}) {
        return made(compiled_for<Ladder>::open_batch(opened, options, &pool));
    }
    static result<any_batch> open(any_model&&, const batch_options& = {}) = delete;           // would dangle
    static result<any_batch> open(any_model&&, pool_ref, const batch_options& = {}) = delete; // would dangle

    /// Appends one token or embedding to each session and runs them in one pass; then logits() of each gives what
    /// follows it. A session whose next() gave a token takes that token first, so the entry must name it. \pre no
    /// entry's session is null. \return errc::invalid_argument (more entries than sessions(), a session of another
    /// model, the same one twice, another token than next() gave, an embedding of another size or not finite),
    /// errc::invalid_token, errc::context_full, errc::kv_pool_full: every session is then as it was, but that after
    /// kv_pool_full a window may have dropped the page that it would have dropped for the next token.
    [[nodiscard]] result<void> step(std::span<const batch_entry> entries) { return base_->step(entries); }

    /// Steps those of `all` whose next() gave a token that has not run yet, so that their next() only samples.
    /// \param all a range of pointers to any_session or session<P>. \return what step() returns.
    template <class Sessions> [[nodiscard]] result<void> run_pending(const Sessions& all) {
        const std::span<batch_entry> entries = base_->entries();
        std::size_t count = 0;
        std::size_t pending = 0;
        for (any_session* each : all) {
            if (const auto& id = each->pending()) {
                ++pending;
                if (count != entries.size()) {
                    entries[count++] = {each, *id};
                }
            }
        }
        return pending > count ? base_->too_many(pending) : base_->step(entries.first(count));
    }

    [[nodiscard]] std::size_t sessions() const noexcept { return base_->entries().size(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }

private:
    explicit any_batch(std::unique_ptr<detail::batch_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<any_batch> made(result<std::unique_ptr<detail::batch_base>> opened) {
        return opened ? result<any_batch>(any_batch(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::batch_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
