// SPDX-License-Identifier: MIT
// session_core: what any_session and session<P> hold, compiled once for all engines.
#ifndef BITNET_RUN_SESSION_CORE_HPP
#define BITNET_RUN_SESSION_CORE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/lm_head_screen.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/simd/rotary.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// What sessions and batches borrow of a model.
struct model_parts {
    const engine& tables;
    const hyper_parameters& parameters;
    const weights& tensors;
    const lm_head_screen& screen; ///< empty without one
    const rotary_frequencies& frequencies;
    const tokenizer* text; ///< null without one
};

/// A pool of one's own or a borrowed one.
class session_pool {
public:
    [[nodiscard]] static result<session_pool> open(const engine& tables, std::size_t threads,
                                                   std::chrono::microseconds spin, const pool_ref* borrowed) {
        if (borrowed != nullptr) {
            return session_pool(*borrowed, std::nullopt);
        }
        auto opened = tables.open_pool(threads, spin);
        if (!opened) {
            return failed(opened);
        }
        const pool_ref ref = opened->ref();
        return session_pool(ref, *std::move(opened));
    }

    [[nodiscard]] pool_ref ref() const noexcept { return ref_; }

private:
    session_pool(pool_ref ref, std::optional<owned_pool> owned) noexcept : ref_(ref), owned_(std::move(owned)) {}

    pool_ref ref_;
    std::optional<owned_pool> owned_;
};

class session_core final : public session_base {
public:
    [[nodiscard]] static result<std::unique_ptr<session_base>> open(const model_parts& model, session_options options,
                                                                    const pool_ref* borrowed) {
        auto pool = session_pool::open(model.tables, options.threads, options.spin, borrowed);
        if (!pool) {
            return failed(pool);
        }
        options.threads = pool->ref().threads();
        if (options.context == 0) {
            options.context = (std::min)(model.parameters.context, session_options::default_context);
        }
        if (auto checked = check_options(model.parameters, options); !checked) {
            return failed(checked);
        }
        options.prompt_chunk = (std::min)(options.prompt_chunk, options.context);
        std::unique_ptr<session_core> made(new (std::nothrow) session_core(model, options, *std::move(pool)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"session: ", sizeof(session_core), " bytes could not be allocated"})};
        }
        if (auto allocated = made->allocate_all(model); !allocated) {
            return failed(allocated);
        }
        return std::unique_ptr<session_base>(std::move(made));
    }

    result<void> feed(std::span<const token> tokens, const logits_visitor* visitor) override {
        return guarded([&] { return append(tokens, visitor); });
    }
    result<std::span<const float>> logits() override {
        return guarded([&] { return logits_of_last(); });
    }
    result<std::span<const scored_token>> largest_logits(std::size_t k) override {
        return guarded([&] { return largest_of_last(k); });
    }
    result<std::span<const float>> embedding() override {
        return guarded([&] { return unit_state(); });
    }

    std::optional<token> next(sampler& choose) override { return next(any_chooser(choose)); }

    std::optional<token> next(any_chooser choose) override {
        if (position() != 0 && position() == context()) {
            return stopped(stop_reason::context_full);
        }
        if (auto ready = guarded([&] { return ready_for_logits(); }); !ready) {
            last_error_ = failed(ready);
            return stopped(stop_reason::error);
        }
        const default_float_environment environment;
        const auto few = screened_logits(choose.needs());
        const token chosen = few ? choose.choose(*few) : choose.choose(all_logits());
        choose.accept(chosen);
        pending_ = chosen;
        if (options_.stop_at_stop_tokens && text_ != nullptr && text_->is_stop(chosen)) {
            return stopped(stop_reason::stop_token);
        }
        stopped_by_ = stop_reason::none;
        return chosen;
    }

    const screen_statistics& screening() const noexcept override { return search_.statistics(); }

    void reset() noexcept override {
        cached_ = 0;
        summed_states_ = 0;
        pending_.reset();
        logits_valid_ = false;
        stopped_by_ = stop_reason::none;
    }

    /// For batches: the row of a pass that appends `id`, whose logits go to logits_row(). \pre room in the context.
    [[nodiscard]] sequence_row begin_step(token id) noexcept {
        cache_.extend(cached_, 1);
        return {&cache_, cached_, id};
    }
    [[nodiscard]] float* logits_row() noexcept { return logits_.data(); }
    void end_step() noexcept {
        ++cached_;
        pending_.reset();
        state_of_ = last_state::in_a_batch;
        logits_valid_ = true;
    }
    [[nodiscard]] std::size_t cached() const noexcept { return cached_; }
    [[nodiscard]] bool is_of(const hyper_parameters& parameters) const noexcept { return &parameters_ == &parameters; }

private:
    static constexpr std::size_t logits_rows = 8; ///< that feed_each() computes together

    /// Which scratch the hidden state of the last token is in.
    enum class last_state { here, in_a_batch };

    session_core(const model_parts& model, const session_options& options, session_pool pool) noexcept
        : session_base(options), parameters_(model.parameters), text_(model.text), pool_(std::move(pool)),
          is_screened_(!model.screen.empty()) {}

    [[nodiscard]] result<void> append(std::span<const token> tokens, const logits_visitor* visitor) {
        if (auto headed = visitor != nullptr ? check_head() : result<void>{}; !headed) {
            return headed;
        }
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        if (pending_ && !tokens.empty()) {
            run_pending();
        }
        for (std::size_t begin = 0; begin < tokens.size(); begin += options_.prompt_chunk) {
            const auto part = tokens.subspan(begin, (std::min)(options_.prompt_chunk, tokens.size() - begin));
            run(part);
            if (visitor != nullptr) {
                visit_each(begin, part.size(), *visitor);
            }
        }
        return {};
    }

    [[nodiscard]] result<std::span<const float>> logits_of_last() {
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        return all_logits();
    }

    [[nodiscard]] result<std::span<const scored_token>> largest_of_last(std::size_t k) {
        if (k == 0 || k > largest_.size()) {
            return error{errc::invalid_argument, sentence({"session: the ", k, " largest logits were asked for, 1 to ",
                                                           largest_.size(), " are possible"})};
        }
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        const auto few = screened_logits(k);
        return few ? *few : largest_of(all_logits(), k);
    }

    [[nodiscard]] result<std::span<const float>> unit_state() {
        if (auto done = ready(); !done) {
            return failed(done);
        }
        if (state_of_ == last_state::in_a_batch) {
            return error{errc::invalid_argument,
                         "session: the last token ran in a batch, so that its state is not here"};
        }
        if (has_mean() && summed_states_ != cached_) {
            return error{errc::invalid_argument,
                         sentence({"session: of ", cached_, " tokens ", cached_ - summed_states_,
                                   " ran in a batch, so that their states are missing in the mean"})};
        }
        return transformer_->normalized(has_mean() ? state_sum_.data() : transformer_->final_state(last_row_));
    }

    [[nodiscard]] static result<void> check_options(const hyper_parameters& parameters,
                                                    const session_options& options) {
        if (options.context > parameters.context) {
            return error{errc::invalid_argument, sentence({"session: a context of ", options.context,
                                                           " was asked for, the model has ", parameters.context})};
        }
        if (options.prompt_chunk == 0 || options.prompt_chunk > session_options::largest_prompt_chunk) {
            return error{errc::invalid_argument,
                         sentence({"session: a prompt chunk of ", options.prompt_chunk, " was asked for, 1 to ",
                                   session_options::largest_prompt_chunk, " are possible"})};
        }
        if (options.pooling && *options.pooling != pooling_type::mean && *options.pooling != pooling_type::last) {
            return error{errc::invalid_argument,
                         sentence({"session: pooling ", static_cast<unsigned>(*options.pooling), " (",
                                   name_of(*options.pooling), ") was asked for, 1 (mean) and 3 (last) are possible"})};
        }
        return {};
    }

    [[nodiscard]] result<void> allocate_all(const model_parts& model) {
        auto cache = kv_cache::open(parameters_, *model.tables.kv, options_.context);
        if (!cache) {
            return failed(cache);
        }
        cache_ = *std::move(cache);
        auto forward =
            transformer::open(model.tables, parameters_, model.tensors, model.frequencies, options_.prompt_chunk);
        if (!forward) {
            return failed(forward);
        }
        transformer_.emplace(*std::move(forward));
        error failure;
        allocate(rows_, options_.prompt_chunk, "prompt rows", failure);
        allocate(state_sum_, has_mean() ? parameters_.hidden : 0, "sum of states", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto logits =
            buffer<float>::allocate_uninitialized(std::uint64_t{parameters_.vocabulary} * logits_rows, "logits");
        if (!logits) {
            return failed(logits);
        }
        logits_ = *std::move(logits);
        if (!is_screened_) {
            return {};
        }
        auto search =
            screened_search::open(*model.tables.loops, model.tensors.lm_head(), model.screen, parameters_.logit_scale);
        if (!search) {
            return failed(search);
        }
        search_ = *std::move(search);
        return {};
    }

    std::optional<token> stopped(stop_reason why) noexcept {
        stopped_by_ = why;
        return std::nullopt;
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the output matrix.
    void visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        std::array<std::size_t, logits_rows> rows;
        std::array<float*, logits_rows> out;
        for (std::size_t first = 0; first < count; first += logits_rows) {
            const std::size_t together = (std::min)(logits_rows, count - first);
            for (std::size_t i = 0; i < together; ++i) {
                rows[i] = first + i;
                out[i] = logits_row(together - 1 - i); // the last one to row 0, where logits() looks
            }
            transformer_->logits(pool_.ref(), std::span(rows).first(together),
                                 std::span<float* const>(out).first(together));
            for (std::size_t i = 0; i < together; ++i) {
                visitor(begin + first + i, {out[i], parameters_.vocabulary});
            }
        }
        logits_valid_ = true;
    }

    [[nodiscard]] float* logits_row(std::size_t i) noexcept { return logits_.data() + i * parameters_.vocabulary; }

    [[nodiscard]] result<void> check_tokens(std::span<const token> tokens) const {
        if (tokens.size() > context() - position()) {
            return error{errc::context_full,
                         sentence({"session: ", tokens.size(), " tokens do not fit, the context has ", context(),
                                   " positions and ", position(), " are taken"})};
        }
        const std::size_t vocabulary = parameters_.vocabulary;
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            if (tokens[i] < 0 || static_cast<std::size_t>(tokens[i]) >= vocabulary) {
                return error{errc::invalid_token,
                             sentence({"session: token ", i, " is ", tokens[i], ", the vocabulary has ", vocabulary})};
            }
        }
        return {};
    }

    [[nodiscard]] result<void> check_head() const {
        if (parameters_.is_embedder) {
            return error{errc::no_lm_head,
                         "session: the model is a text embedding model and has no head, so there are no "
                         "logits and no next token; embed() is what it does"};
        }
        return {};
    }

    [[nodiscard]] result<void> ready_for_logits() {
        auto headed = check_head();
        return headed ? ready() : std::move(headed);
    }

    /// Runs the token that next() gave last. \return errc::nothing_fed before the first token.
    [[nodiscard]] result<void> ready() {
        if (position() == 0) {
            return error{errc::nothing_fed, "session: no token was fed, so there is nothing to continue"};
        }
        if (pending_) {
            run_pending();
        }
        return {};
    }
    void run_pending() noexcept {
        const token last = *std::exchange(pending_, std::nullopt);
        run({&last, 1});
    }

    [[nodiscard]] std::span<const float> all_logits() noexcept {
        const std::span<float> out(logits_row(0), parameters_.vocabulary);
        if (!logits_valid_) {
            transformer_->logits(pool_.ref(), last_row_, out);
            logits_valid_ = true;
        }
        return out;
    }

    /// The k largest through the screen; nullopt without one, if k is out of range, or if all logits are already
    /// computed.
    [[nodiscard]] std::optional<std::span<const scored_token>> screened_logits(std::size_t k) noexcept {
        if (!is_screened_ || logits_valid_ || k == 0 || k > largest_.size()) {
            return std::nullopt;
        }
        return search_.largest(pool_.ref(), transformer_->final_state(last_row_), k);
    }

    [[nodiscard]] std::span<const scored_token> largest_of(std::span<const float> logits, std::size_t k) noexcept {
        std::size_t count = 0;
        for (std::size_t i = 0; i < logits.size(); ++i) {
            const scored_token here{static_cast<token>(i), logits[i]};
            if (count == k && !precedes(here, largest_[k - 1])) {
                continue;
            }
            count = (std::min)(count + 1, k);
            std::size_t at = count - 1; // one drops out at the end if there are k already
            for (; at != 0 && precedes(here, largest_[at - 1]); --at) {
                largest_[at] = largest_[at - 1];
            }
            largest_[at] = here;
        }
        return std::span<const scored_token>(largest_).first(count);
    }

    /// Whether embedding() is a mean.
    [[nodiscard]] bool has_mean() const noexcept {
        return options_.pooling.value_or(parameters_.pooling) == pooling_type::mean;
    }

    /// Adds the states of the first `count` rows of the last pass, in the order of their positions: the same bits
    /// whatever the chunks. The sum stands for the mean, because only its direction matters.
    void add_states(std::size_t count) noexcept {
        if (summed_states_ == 0) {
            std::fill(state_sum_.span().begin(), state_sum_.span().end(), 0.0f);
        }
        for (std::size_t row = 0; row < count; ++row) {
            transformer_->add_final_state(row, state_sum_.span());
        }
        summed_states_ += count;
    }

    /// One pass. \pre 1 <= tokens.size() <= prompt_chunk, checked tokens, room in the context.
    void run(std::span<const token> tokens) noexcept {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            rows_[i] = {&cache_, cached_ + i, tokens[i]};
        }
        cache_.extend(cached_, tokens.size());
        transformer_->run(pool_.ref(), rows_.span().first(tokens.size()));
        cached_ += tokens.size();
        last_row_ = tokens.size() - 1;
        state_of_ = last_state::here;
        logits_valid_ = false;
        if (has_mean()) {
            add_states(tokens.size());
        }
    }

    const hyper_parameters& parameters_;
    const tokenizer* text_; ///< null without one
    session_pool pool_;
    kv_cache cache_;
    std::optional<transformer> transformer_;
    buffer<sequence_row> rows_;
    buffer<float> logits_; ///< [logits_rows, vocabulary]; those of the last token come first
    screened_search search_;
    bool is_screened_;
    std::array<scored_token, screened_search::most> largest_;
    std::size_t last_row_ = 0; ///< of the last pass
    buffer<float> state_sum_;  ///< [hidden] if embedding() is a mean
    std::size_t summed_states_ = 0;
    last_state state_of_ = last_state::here;
    bool logits_valid_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
