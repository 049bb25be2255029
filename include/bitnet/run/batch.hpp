// SPDX-License-Identifier: MIT
// batch<P>: one step of several sessions together, so that the weights are read once for all of them.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/session.hpp>
#include <bitnet/text/token.hpp>

#include <chrono>
#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct batch_options {
    /// Sessions that one step can take.
    std::size_t rows = 8;
    /// As in session_options; the threads of the sessions themselves rest meanwhile.
    std::size_t threads = 1;
    std::chrono::microseconds spin = default_spin;
};

/// What one session gets in a step.
template <policy_type P> struct batch_entry {
    session<P>* of;
    token id;
};

/// Steps sessions of one model together: decoding is bound by reading the weights, and here one reading serves all.
/// The logits are the bits that each session would have computed alone. Borrows the model, which must outlive it, and
/// sessions only during a call. Belongs to one thread at a time, as do the sessions. Allocates in open() only: scratch
/// for `rows` rows (under 150 KiB a row for the 2B model).
///
///     while (is_any_going_on) {
///         batch.run_pending(sessions);                   // one pass over the weights
///         for (auto* each : sessions) each->next(choose) // only samples
///     }
template <policy_type P> class batch {
public:
    static constexpr std::size_t most_rows = 1024;

    /// \return errc::invalid_argument (no rows, too many, no threads), errc::no_head (a text embedding
    /// model), errc::out_of_memory, errc::thread_error.
    [[nodiscard]] static result<batch> open(const model<P>& opened, batch_options options = {}) {
        auto pool = P::pool::open(options.threads, options.spin);
        if (!pool) {
            return std::move(pool).error();
        }
        typename P::pool& runs = **pool;
        return make(opened, runs, *std::move(pool), options.rows);
    }
    /// The same on the caller's pool, which must outlive the batch; options.threads and spin are not used.
    [[nodiscard]] static result<batch> open(const model<P>& opened, typename P::pool& pool,
                                            batch_options options = {}) {
        return make(opened, pool, nullptr, options.rows);
    }
    static result<batch> open(model<P>&&, batch_options = {}) = delete;                    // would dangle
    static result<batch> open(model<P>&&, typename P::pool&, batch_options = {}) = delete; // would dangle

    /// Appends one token to each session and runs them in one pass; then logits() of each gives what follows it.
    /// A session whose next() gave a token takes that token first, so the entry must name it.
    /// \pre no entry's session is null.
    /// \return errc::invalid_argument (more entries than rows, a session of another model, the same one twice, another
    /// token than next() gave), errc::invalid_token, errc::context_full: every session is then as it was.
    [[nodiscard]] result<void> step(std::span<const batch_entry<P>> entries) {
        if (auto checked = check(entries); !checked || entries.empty()) {
            return checked;
        }
        const default_float_environment environment;
        for (std::size_t i = 0; i < entries.size(); ++i) {
            session<P>& of = *entries[i].of;
            rows_[i] = {&of.cache_, of.cached_, entries[i].id};
            of.cache_.extend(of.cached_, 1);
            row_indices_[i] = i;
            logits_[i] = of.logits_.data();
        }
        transformer_.embed(*pool_, rows_.span().first(entries.size()));
        for (std::size_t layer = 0; layer < parameters_->layers; ++layer) {
            transformer_.layer(*pool_, layer);
        }
        transformer_.logits(*pool_, row_indices_.span().first(entries.size()), logits_.span().first(entries.size()));
        for (const batch_entry<P>& each : entries) {
            ++each.of->cached_;
            each.of->pending_.reset();
            each.of->last_row_ = session<P>::no_row;
            each.of->logits_valid_ = true;
        }
        return {};
    }

    /// Steps those of `sessions` whose next() gave a token that has not run yet, so that their next() only samples.
    /// \return what step() returns.
    [[nodiscard]] result<void> run_pending(std::span<session<P>* const> sessions) {
        std::size_t count = 0;
        for (session<P>* each : sessions) {
            if (each->pending_) {
                if (count == entries_.size()) {
                    return too_many(sessions.size());
                }
                entries_[count++] = {each, *each->pending_};
            }
        }
        return step(entries_.span().first(count));
    }

    [[nodiscard]] std::size_t rows() const noexcept { return entries_.size(); }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_->threads(); }

private:
    using row = sequence_row<typename P::kv_element>;

    [[nodiscard]] static result<batch> make(const model<P>& opened, typename P::pool& pool,
                                            std::unique_ptr<typename P::pool> owned, std::size_t rows) {
        if (rows == 0 || rows > most_rows) {
            return error{errc::invalid_argument, "batch: " + std::to_string(rows) + " rows were asked for, 1 to " +
                                                     std::to_string(most_rows) + " are possible"};
        }
        if (opened.parameters().is_embedder) {
            return error{errc::no_head, "batch: the model is a text embedding model and has no head; see "
                                        "session::embed()"};
        }
        auto forward = transformer<P>::open(opened.parameters(), opened.tensors(), opened.frequencies(), rows);
        if (!forward) {
            return std::move(forward).error();
        }
        batch made(opened, pool, std::move(owned), *std::move(forward));
        error failure;
        allocate(made.entries_, rows, failure);
        allocate(made.rows_, rows, failure);
        allocate(made.row_indices_, rows, failure);
        allocate(made.logits_, rows, failure);
        if (failure.code != errc{}) {
            return failure;
        }
        return made;
    }
    template <class T> static void allocate(buffer<T>& into, std::size_t rows, error& failure) {
        auto made = buffer<T>::allocate(rows, "batch rows");
        if (made) {
            into = *std::move(made);
        } else if (failure.code == errc{}) {
            failure = std::move(made).error();
        }
    }

    batch(const model<P>& opened, typename P::pool& pool, std::unique_ptr<typename P::pool> owned,
          transformer<P> forward)
        : parameters_(&opened.parameters()), pool_(&pool), owned_pool_(std::move(owned)),
          transformer_(std::move(forward)) {}

    [[nodiscard]] error too_many(std::size_t count) const {
        return {errc::invalid_argument,
                "batch: " + std::to_string(count) + " sessions in a step of " + std::to_string(rows()) + " rows"};
    }

    [[nodiscard]] result<void> check(std::span<const batch_entry<P>> entries) const {
        if (entries.size() > rows()) {
            return too_many(entries.size());
        }
        for (std::size_t i = 0; i < entries.size(); ++i) {
            for (std::size_t earlier = 0; earlier < i; ++earlier) {
                if (entries[earlier].of == entries[i].of) {
                    return error{errc::invalid_argument, "batch: entries " + std::to_string(earlier) + " and " +
                                                             std::to_string(i) + " are the same session"};
                }
            }
            if (auto checked = check(i, entries[i]); !checked) {
                return checked;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check(std::size_t i, const batch_entry<P>& entry) const {
        const session<P>& of = *entry.of;
        const auto name = [i] { return "batch: entry " + std::to_string(i); };
        if (of.parameters_ != parameters_) {
            return error{errc::invalid_argument, name() + " is a session of another model"};
        }
        if (of.pending_ && *of.pending_ != entry.id) {
            return error{errc::invalid_argument, name() + " has token " + std::to_string(entry.id) +
                                                     ", but next() of its session gave " +
                                                     std::to_string(*of.pending_)};
        }
        if (entry.id < 0 || static_cast<std::size_t>(entry.id) >= parameters_->vocabulary) {
            return error{errc::invalid_token, name() + " has token " + std::to_string(entry.id) +
                                                  ", the vocabulary has " + std::to_string(parameters_->vocabulary)};
        }
        if (of.cached_ == of.context()) {
            return error{errc::context_full, name() + ": the context has " + std::to_string(of.context()) +
                                                 " positions and " + std::to_string(of.cached_) + " are taken"};
        }
        return {};
    }

    const hyper_parameters* parameters_; ///< of the model, and so of each of its sessions
    typename P::pool* pool_;
    std::unique_ptr<typename P::pool> owned_pool_;
    transformer<P> transformer_;
    buffer<batch_entry<P>> entries_; ///< of run_pending()
    buffer<row> rows_;
    buffer<std::size_t> row_indices_;
    buffer<float*> logits_;
};

} // namespace bitnet::inline BITNET_ABI
