// SPDX-License-Identifier: MIT
// session<P>: one conversation with a model: its position, its KV cache and its working memory.
#pragma once

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/screened_head.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/policy.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/text/token.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace bitnet::inline BITNET_ABI {

struct session_options {
    /// Positions that the session has room for; 0 takes the model's own, but not more than 4096.
    std::size_t context = 0;
    /// Threads that a step uses, the calling one included. One by default: the host decides.
    std::size_t threads = 1;
    /// How long a thread without work spins before it sleeps; more saves wake-ups between tokens, zero saves power.
    std::chrono::microseconds spin = default_spin;
    /// Tokens that run through the layers together while a prompt is fed. More are faster until the caches are full.
    std::size_t batch = 128;
    /// Whether next() ends at the tokenizer's stop tokens. A model without tokenizer has none.
    bool stop_at_stop_tokens = true;
};

/// Why next() gave no token.
enum class stop_reason {
    none,         ///< it gave one, or was not called
    stop_token,   ///< the model ended its turn; the stop token is part of the sequence
    context_full, ///< position() is context()
    error,        ///< see error()
};

/// What a session does with the logits of each token of feed_each(): `function(context, index, logits)`.
struct logits_visitor {
    void (*function)(void* context, std::size_t index, std::span<const float> logits);
    void* context;

    void operator()(std::size_t index, std::span<const float> logits) const { function(context, index, logits); }
};

/// Erases visit(index, logits), which must outlive the visitor.
template <class Visit> [[nodiscard]] logits_visitor visitor_of(Visit& visit) noexcept {
    const auto call = [](void* context, std::size_t index, std::span<const float> logits) {
        (*static_cast<Visit*>(context))(index, logits);
    };
    return {call, const_cast<void*>(static_cast<const void*>(std::addressof(visit)))};
}

template <policy_type P> class batch;

/// Borrows the model, which must outlive it. Belongs to one thread at a time. Allocates in open() only:
/// 2 * layers * context * kv_heads * head_size elements of `P::kv_element`, scratch for `batch` rows (under 150 KiB a
/// row for the 2B model), and the logits.
template <policy_type P> class session {
public:
    static constexpr std::size_t default_context = 4096;
    static constexpr std::size_t largest_batch = 4096;

    /// \return errc::invalid_argument (a context beyond the model's, no threads, no batch), errc::out_of_memory with
    /// the bytes asked for, errc::thread_error.
    [[nodiscard]] static result<session> open(const model<P>& opened, session_options options = {}) {
        auto pool = P::pool::open(options.threads, options.spin);
        if (!pool) {
            return std::move(pool).error();
        }
        typename P::pool& runs = **pool;
        return make(opened, runs, *std::move(pool), options);
    }
    /// The same on the caller's pool, which must outlive the session; options.threads is not used. Sessions that share
    /// a pool take turns: a pool runs one loop at a time.
    [[nodiscard]] static result<session> open(const model<P>& opened, typename P::pool& pool,
                                              session_options options = {}) {
        return make(opened, pool, nullptr, options);
    }
    static result<session> open(model<P>&&, session_options = {}) = delete;                    // would dangle
    static result<session> open(model<P>&&, typename P::pool&, session_options = {}) = delete; // would dangle

    /// Appends tokens to the sequence and runs them through the model, `batch` at a time.
    /// \return errc::invalid_token, errc::context_full if position() + tokens.size() exceeds the context; nothing is
    /// fed then, and the session goes on as it was.
    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return feed_rows(tokens, nullptr); }

    /// The same, and visits the logits [vocabulary] after each of `tokens`: visit(index, span<const float>). Reads the
    /// head once for eight tokens.
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        if (auto headed = check_head(); !headed) {
            return headed;
        }
        const logits_visitor visitor = visitor_of(visit);
        return feed_rows(tokens, &visitor);
    }

    /// The next token; empty at a stop token, at the end of the context and after an error. stop_reason() tells which,
    /// error() carries the sentence. The token is part of the sequence from here on; it runs through the model with the
    /// following call. After an empty answer the session can be fed and asked again.
    /// \pre `choose` was opened for this model's vocabulary size.
    [[nodiscard]] std::optional<token> next(sampler& choose) {
        if (position() != 0 && position() == context()) {
            return stopped(bitnet::stop_reason::context_full);
        }
        if (const auto ready = ready_for_logits(); !ready) {
            error_ = ready.error();
            return stopped(bitnet::stop_reason::error);
        }
        const default_float_environment environment;
        const auto few = screened_logits(choose.needs());
        const token chosen = few ? choose.choose(*few) : choose.choose(all_logits());
        choose.accept(chosen);
        pending_ = chosen;
        if (options_.stop_at_stop_tokens && text_ != nullptr && text_->is_stop(chosen)) {
            return stopped(bitnet::stop_reason::stop_token);
        }
        stop_reason_ = bitnet::stop_reason::none;
        return chosen;
    }

    /// The logits [vocabulary] after the last token. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::no_head from a text embedding model.
    [[nodiscard]] result<std::span<const float>> logits() {
        if (auto ready = ready_for_logits(); !ready) {
            return std::move(ready).error();
        }
        const default_float_environment environment;
        return all_logits();
    }

    /// The k largest logits after the last token, the largest first, the lower id on ties; all where the vocabulary is
    /// smaller. The same bits as in logits(), and where the model has a screened head mostly without reading the whole
    /// one. Valid until the next call that is not const.
    /// \return errc::nothing_fed, errc::no_head, errc::invalid_argument unless 1 <= k <= 256.
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        if (k == 0 || k > largest_.size()) {
            return bitnet::error{errc::invalid_argument, "session: the " + std::to_string(k) +
                                                             " largest logits were asked for, 1 to " +
                                                             std::to_string(largest_.size()) + " are possible"};
        }
        if (auto ready = ready_for_logits(); !ready) {
            return std::move(ready).error();
        }
        const default_float_environment environment;
        const auto few = screened_logits(k);
        return few ? *few : largest_of(all_logits(), k);
    }

    /// The hidden state [hidden] after the last token behind the last norm, scaled to length one: the embedding of the
    /// sequence, for which text embedding models are trained. The dot product of two is their cosine. Valid until the
    /// next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::invalid_argument where a batch ran the last token.
    [[nodiscard]] result<std::span<const float>> embedding() {
        if (auto ready = run_pending(); !ready) {
            return std::move(ready).error();
        }
        if (last_row_ == no_row) {
            return bitnet::error{errc::invalid_argument,
                                 "session: the last token ran in a batch, so that its state is not here"};
        }
        const default_float_environment environment;
        return std::span<const float>(transformer_.embedding(last_row_), parameters_->hidden);
    }

    /// The embedding [hidden] of a sequence of its own: reset(), feed(tokens), embedding(). Of a text, see
    /// tokens_to_embed(). \return what these return.
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        reset();
        if (auto fed = feed(tokens); !fed) {
            return std::move(fed).error();
        }
        return embedding();
    }

    /// What finding the largest logits has cost so far; all zero without a screened head.
    [[nodiscard]] const bitnet::head_statistics& head_statistics() const noexcept { return screening_.statistics(); }

    /// Tokens in the sequence: those fed and those that next() gave.
    [[nodiscard]] std::size_t position() const noexcept { return cached_ + (pending_ ? 1 : 0); }
    [[nodiscard]] std::size_t context() const noexcept { return options_.context; }
    [[nodiscard]] std::size_t threads() const noexcept { return pool_->threads(); }

    [[nodiscard]] bitnet::stop_reason stop_reason() const noexcept { return stop_reason_; }
    /// \pre stop_reason() == stop_reason::error
    [[nodiscard]] const bitnet::error& error() const noexcept { return error_; }

    /// Starts an empty sequence. Frees and allocates nothing.
    void reset() noexcept {
        cached_ = 0;
        pending_.reset();
        logits_valid_ = false;
        stop_reason_ = bitnet::stop_reason::none;
    }

private:
    friend class batch<P>;
    using row = sequence_row<typename P::kv_element>;
    static constexpr std::size_t logits_rows = 8; ///< that feed_each() computes together
    static constexpr std::size_t no_row = ~std::size_t{0};

    [[nodiscard]] static result<session> make(const model<P>& opened, typename P::pool& pool,
                                              std::unique_ptr<typename P::pool> owned, session_options options) {
        const hyper_parameters& parameters = opened.parameters();
        if (options.context == 0) {
            options.context = std::min(parameters.context, default_context);
        }
        if (auto checked = check(parameters, options); !checked) {
            return std::move(checked).error();
        }
        options.batch = std::min(options.batch, options.context);
        auto cache = kv_cache<typename P::kv_element>::open(parameters, options.context);
        if (!cache) {
            return std::move(cache).error();
        }
        auto forward = transformer<P>::open(parameters, opened.tensors(), opened.frequencies(), options.batch);
        if (!forward) {
            return std::move(forward).error();
        }
        auto rows = buffer<row>::allocate(options.batch, "batch rows");
        if (!rows) {
            return std::move(rows).error();
        }
        auto logits =
            buffer<float>::allocate_uninitialized(std::uint64_t{parameters.vocabulary} * logits_rows, "logits");
        if (!logits) {
            return std::move(logits).error();
        }
        head_screening<P> screening;
        if (!opened.screen().empty()) {
            auto screened = head_screening<P>::open(opened.tensors().head(), opened.screen());
            if (!screened) {
                return std::move(screened).error();
            }
            screening = *std::move(screened);
        }
        session made(opened, pool, std::move(owned), options, *std::move(cache), *std::move(forward));
        made.rows_ = *std::move(rows);
        made.logits_ = *std::move(logits);
        made.screening_ = std::move(screening);
        made.is_screened_ = !opened.screen().empty();
        return made;
    }

    [[nodiscard]] static result<void> check(const hyper_parameters& parameters, const session_options& options) {
        if (options.context > parameters.context) {
            return bitnet::error{errc::invalid_argument, "session: a context of " + std::to_string(options.context) +
                                                             " was asked for, the model has " +
                                                             std::to_string(parameters.context)};
        }
        if (options.batch == 0 || options.batch > largest_batch) {
            return bitnet::error{errc::invalid_argument, "session: a batch of " + std::to_string(options.batch) +
                                                             " was asked for, 1 to " + std::to_string(largest_batch) +
                                                             " are possible"};
        }
        return {};
    }

    session(const model<P>& opened, typename P::pool& pool, std::unique_ptr<typename P::pool> owned,
            const session_options& options, kv_cache<typename P::kv_element> cache, transformer<P> forward)
        : parameters_(&opened.parameters()), text_(opened.has_text() ? &opened.text() : nullptr), pool_(&pool),
          owned_pool_(std::move(owned)), options_(options), cache_(std::move(cache)), transformer_(std::move(forward)) {
    }

    std::optional<token> stopped(bitnet::stop_reason why) noexcept {
        stop_reason_ = why;
        return std::nullopt;
    }

    [[nodiscard]] result<void> feed_rows(std::span<const token> tokens, const logits_visitor* visitor) {
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        const default_float_environment environment;
        if (pending_ && !tokens.empty()) {
            const token last = *std::exchange(pending_, std::nullopt);
            run({&last, 1});
        }
        for (std::size_t begin = 0; begin < tokens.size(); begin += options_.batch) {
            const auto part = tokens.subspan(begin, std::min(options_.batch, tokens.size() - begin));
            run(part);
            if (visitor != nullptr) {
                visit_each(begin, part.size(), *visitor);
            }
        }
        return {};
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the head.
    void visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        std::array<std::size_t, logits_rows> rows;
        std::array<float*, logits_rows> out;
        for (std::size_t first = 0; first < count; first += logits_rows) {
            const std::size_t some = std::min(logits_rows, count - first);
            for (std::size_t i = 0; i < some; ++i) {
                rows[i] = first + i;
                out[i] = logits_row(some - 1 - i); // the last one to row 0, where logits() looks
            }
            transformer_.logits(*pool_, std::span(rows).first(some), std::span<float* const>(out).first(some));
            for (std::size_t i = 0; i < some; ++i) {
                visitor(begin + first + i, {out[i], parameters_->vocabulary});
            }
        }
        logits_valid_ = true;
    }

    [[nodiscard]] float* logits_row(std::size_t i) noexcept { return logits_.data() + i * parameters_->vocabulary; }

    [[nodiscard]] result<void> check_tokens(std::span<const token> tokens) const {
        if (tokens.size() > context() - position()) {
            return bitnet::error{errc::context_full, "session: " + std::to_string(tokens.size()) +
                                                         " tokens do not fit, the context has " +
                                                         std::to_string(context()) + " positions and " +
                                                         std::to_string(position()) + " are taken"};
        }
        const std::size_t vocabulary = parameters_->vocabulary;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= vocabulary) {
                return bitnet::error{errc::invalid_token, "session: token " + std::to_string(i) + " is " +
                                                              std::to_string(tokens[i]) + ", the vocabulary has " +
                                                              std::to_string(vocabulary)};
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check_head() const {
        if (parameters_->is_embedder) {
            return bitnet::error{errc::no_head, "session: the model is a text embedding model and has no head, so "
                                                "there are no logits and no next token; embed() is what it does"};
        }
        return {};
    }

    [[nodiscard]] result<void> ready_for_logits() {
        auto headed = check_head();
        return headed ? run_pending() : std::move(headed);
    }

    /// Runs the token that next() gave last. \return errc::nothing_fed before the first token.
    [[nodiscard]] result<void> run_pending() {
        if (position() == 0) {
            return bitnet::error{errc::nothing_fed, "session: no token was fed, so there is nothing to continue"};
        }
        if (pending_) {
            const default_float_environment environment;
            const token last = *std::exchange(pending_, std::nullopt);
            run({&last, 1});
        }
        return {};
    }

    [[nodiscard]] std::span<const float> all_logits() noexcept {
        const std::span<float> out(logits_row(0), parameters_->vocabulary);
        if (!logits_valid_) {
            transformer_.logits(*pool_, last_row_, out);
            logits_valid_ = true;
        }
        return out;
    }

    /// The k largest by the screened head, where there is one, k is in its range and all logits are not at hand anyway.
    [[nodiscard]] std::optional<std::span<const scored_token>> screened_logits(std::size_t k) noexcept {
        if (!is_screened_ || logits_valid_ || k == 0 || k > largest_.size()) {
            return std::nullopt;
        }
        return screening_.largest(*pool_, transformer_.final_state(last_row_), k);
    }

    [[nodiscard]] std::span<const scored_token> largest_of(std::span<const float> logits, std::size_t k) noexcept {
        std::size_t count = 0;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            const scored_token here{static_cast<token>(i), logits[i]};
            if (count == k && !precedes(here, largest_[k - 1])) {
                continue;
            }
            count = std::min(count + 1, k);
            std::size_t at = count - 1; // one drops out at the end where there are k already
            for (; at != 0 && precedes(here, largest_[at - 1]); --at) {
                largest_[at] = largest_[at - 1];
            }
            largest_[at] = here;
        }
        return std::span<const scored_token>(largest_).first(count);
    }

    /// One pass. \pre 1 <= tokens.size() <= batch, checked tokens, room in the context.
    void run(std::span<const token> tokens) noexcept {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            rows_[i] = {&cache_, cached_ + i, tokens[i]};
        }
        cache_.extend(cached_, tokens.size());
        transformer_.embed(*pool_, rows_.span().first(tokens.size()));
        for (std::size_t layer = 0; layer < parameters_->layers; ++layer) {
            transformer_.layer(*pool_, layer);
        }
        cached_ += tokens.size();
        last_row_ = tokens.size() - 1;
        logits_valid_ = false;
    }

    const hyper_parameters* parameters_;
    const tokenizer* text_; ///< null without one
    typename P::pool* pool_;
    std::unique_ptr<typename P::pool> owned_pool_;
    session_options options_;
    kv_cache<typename P::kv_element> cache_;
    transformer<P> transformer_;
    buffer<row> rows_;
    buffer<float> logits_; ///< [logits_rows, vocabulary]; those of the last token come first
    head_screening<P> screening_;
    bool is_screened_ = false;
    std::array<scored_token, head_screening<P>::most> largest_;
    std::size_t cached_ = 0;   ///< positions in the cache
    std::size_t last_row_ = 0; ///< of the last pass, or no_row
    bool logits_valid_ = false;
    std::optional<token> pending_; ///< given by next(), not yet run
    bitnet::stop_reason stop_reason_ = bitnet::stop_reason::none;
    bitnet::error error_;
};

} // namespace bitnet::inline BITNET_ABI
