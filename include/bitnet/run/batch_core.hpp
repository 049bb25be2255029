// SPDX-License-Identifier: MIT
// batch_core: what any_batch and batch<P> hold, compiled once for all engines.
#ifndef BITNET_RUN_BATCH_CORE_HPP
#define BITNET_RUN_BATCH_CORE_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/any_batch.hpp>
#include <bitnet/run/logits_rows.hpp>
#include <bitnet/run/session_core.hpp>

#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

class batch_core final : public batch_base {
public:
    [[nodiscard]] static result<std::unique_ptr<batch_base>>
    open(const model_parts& model, const batch_options& options, const pool_ref* borrowed) {
        auto pool = session_pool::open(model.tables, options.threads, options.spin, borrowed);
        if (!pool) {
            return failed(pool);
        }
        if (options.sessions == 0 || options.sessions > batch_options::most_sessions) {
            return error{errc::invalid_argument,
                         sentence({"batch: ", options.sessions, " sessions were asked for, 1 to ",
                                   batch_options::most_sessions, " are possible"})};
        }
        if (model.parameters.is_embedder) {
            return error{errc::no_lm_head, "batch: the model is a text embedding model and has no head; see "
                                           "session::embed()"};
        }
        std::unique_ptr<batch_core> made(new (std::nothrow) batch_core(model.parameters, *std::move(pool)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"batch: ", sizeof(batch_core), " bytes could not be allocated"})};
        }
        if (auto allocated =
                made->allocate_all(model, options.sessions, {options.memory, {memory_use::scratch, false}});
            !allocated) {
            return failed(allocated);
        }
        return std::unique_ptr<batch_base>(std::move(made));
    }

    result<void> step(std::span<const batch_entry> entries) override {
        return guarded([&] { return run_step(entries); });
    }

    std::span<batch_entry> entries() noexcept override { return entries_.span(); }
    std::size_t threads() const noexcept override { return pool_.ref().threads(); }
    error too_many(std::size_t sessions) const override {
        return error_saying(errc::invalid_argument,
                            {"batch: ", sessions, " sessions in a step of ", entries_.size(), " sessions"});
    }

private:
    batch_core(const hyper_parameters& parameters, session_pool pool) noexcept
        : parameters_(parameters), pool_(std::move(pool)) {}

    /// Every session_base is a session_core.
    [[nodiscard]] static session_core& core_of(const batch_entry& entry) noexcept {
        return static_cast<session_core&>(entry.of->base());
    }

    [[nodiscard]] result<void> run_step(std::span<const batch_entry> entries) {
        if (auto checked = check_entries(entries); !checked || entries.empty()) {
            return checked;
        }
        for (std::size_t i = 0; i < entries.size(); ++i) {
            session_core& of = core_of(entries[i]);
            const std::span<const float> embedding = entries[i].embedding;
            rows_[i] = of.begin_step(entries[i].id, embedding.empty() ? nullptr : embedding.data());
            row_indices_[i] = i;
            logits_[i] = rows_of_logits_.overwrite(i);
        }
        transformer_->run(pool_.ref(), rows_.span().first(entries.size()));
        transformer_->logits(pool_.ref(), row_indices_.span().first(entries.size()),
                             logits_.span().first(entries.size()));
        for (std::size_t i = 0; i < entries.size(); ++i) {
            core_of(entries[i]).end_step(*transformer_, i, rows_of_logits_[i]);
        }
        return {};
    }

    [[nodiscard]] result<void> allocate_all(const model_parts& model, std::size_t sessions, const memory_from& from) {
        auto forward = transformer::open(model.tables, parameters_, model.tensors, sessions, from.source);
        if (!forward) {
            return failed(forward);
        }
        transformer_.emplace(*std::move(forward));
        auto logits = logits_rows::open(sessions, parameters_.vocabulary, from);
        if (!logits) {
            return failed(logits);
        }
        rows_of_logits_ = *std::move(logits);
        error failure;
        allocate(entries_, sessions, "batch rows", failure, from);
        allocate(rows_, sessions, "batch rows", failure, from);
        allocate(row_indices_, sessions, "batch rows", failure, from);
        allocate(logits_, sessions, "batch rows", failure, from);
        return failure.code == errc{} ? result<void>{} : failure;
    }

    [[nodiscard]] result<void> check_entries(std::span<const batch_entry> entries) const {
        if (entries.size() > entries_.size()) {
            return too_many(entries.size());
        }
        for (std::size_t i = 0; i < entries.size(); ++i) {
            for (std::size_t earlier = 0; earlier < i; ++earlier) {
                if (entries[earlier].of == entries[i].of) {
                    return error{errc::invalid_argument,
                                 sentence({"batch: entries ", earlier, " and ", i, " are the same session"})};
                }
            }
            if (auto checked = check_entry(i, entries[i]); !checked) {
                return checked;
            }
        }
        for (const batch_entry& each : entries) { // windows drop pages here
            if (auto reserved = core_of(each).reserve_step(); !reserved) {
                return reserved;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check_entry(std::size_t i, const batch_entry& entry) const {
        const session_core& of = core_of(entry);
        if (!of.is_of(parameters_)) {
            return error{errc::invalid_argument, sentence({"batch: entry ", i, " is a session of another model"})};
        }
        if (!of.has_place()) {
            return error{errc::context_full, sentence({"batch: entry ", i, ": the context has ", of.context(),
                                                       " positions and ", of.cached(), " are taken"})};
        }
        if (of.queued() != 0) {
            return error{errc::invalid_argument, sentence({"batch: entry ", i, " is a session in whose queue ",
                                                           of.queued(), " tokens come first"})};
        }
        return entry.embedding.empty() ? check_token(i, entry) : check_embedding(i, entry);
    }

    [[nodiscard]] result<void> check_embedding(std::size_t i, const batch_entry& entry) const {
        if (const auto& pending = entry.of->pending()) {
            return error{errc::invalid_argument, sentence({"batch: entry ", i, " has an embedding, but next() of its ",
                                                           "session gave ", *pending, ", which comes first"})};
        }
        if (entry.embedding.size() != parameters_.hidden) {
            return error{errc::invalid_argument,
                         sentence({"batch: entry ", i, " has an embedding of ", entry.embedding.size(),
                                   " floats, the model's have ", parameters_.hidden})};
        }
        return check_finite(entry.embedding, parameters_.hidden, {"batch: entry ", i, ": "});
    }

    [[nodiscard]] result<void> check_token(std::size_t i, const batch_entry& entry) const {
        const session_core& of = core_of(entry);
        if (of.pending() && *of.pending() != entry.id) {
            return error{errc::invalid_argument, sentence({"batch: entry ", i, " has token ", entry.id,
                                                           ", but next() of its session gave ", *of.pending()})};
        }
        if (entry.id < 0 || static_cast<std::size_t>(entry.id) >= parameters_.vocabulary) {
            return error{errc::invalid_token, sentence({"batch: entry ", i, " has token ", entry.id,
                                                        ", the vocabulary has ", parameters_.vocabulary})};
        }
        return {};
    }

    const hyper_parameters& parameters_; ///< of the model, and so of each of its sessions
    session_pool pool_;
    std::optional<transformer> transformer_;
    buffer<batch_entry> entries_;
    buffer<sequence_row> rows_;
    buffer<std::size_t> row_indices_;
    buffer<float*> logits_;
    logits_rows rows_of_logits_; ///< [sessions]
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
