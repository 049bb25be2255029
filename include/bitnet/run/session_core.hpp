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
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/kv_cache.hpp>
#include <bitnet/model/kv_page.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/rotations.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/model/weights.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/saved_session.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/simd/rotary.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Whether all of `rows` [count, hidden] are finite, seen by their bits, because -ffast-math folds other tests.
/// \return errc::invalid_argument, naming the first place that is not
[[nodiscard]] inline result<void> check_finite(std::span<const float> rows, std::size_t hidden, sentence_parts place) {
    for (std::size_t i = 0; i < rows.size(); ++i) {
        if ((std::bit_cast<std::uint32_t>(rows[i]) & 0x7f800000u) == 0x7f800000u) {
            return error{errc::invalid_argument, sentence({sentence(place), "embedding ", i / hidden,
                                                           " is not finite in column ", i % hidden})};
        }
    }
    return {};
}

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
        auto space = workspace_share::open(model, options, *std::move(pool));
        if (!space) {
            return failed(space);
        }
        auto made = make(model, options, *std::move(space));
        return made ? result<std::unique_ptr<session_base>>(*std::move(made)) : failed(made);
    }

    ~session_core() override {
        if (space_->owner == this) {
            space_->owner = nullptr;
        }
    }

    result<void> feed(std::span<const token> tokens, const logits_visitor* visitor) override {
        return guarded([&] { return append(tokens, visitor); });
    }
    result<void> feed_embeddings(std::span<const float> rows) override {
        return guarded([&] { return append_embeddings(rows); });
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
        tokens_[cached_] = chosen;
        if (options_.stop_at_stop_tokens && model_.text != nullptr && model_.text->is_stop(chosen)) {
            return stopped(stop_reason::stop_token);
        }
        stopped_by_ = stop_reason::none;
        return chosen;
    }

    const screen_statistics& screening() const noexcept override { return space_->search.statistics(); }

    std::span<const token> tokens() const noexcept override { return tokens_.span().first(position()); }

    result<void> rewind(std::size_t position) override {
        return guarded([&] { return go_back(position); });
    }
    std::uint64_t saved_bytes(const save_options& options) const noexcept override {
        return record(options).bytes(cache_);
    }
    result<void> save(byte_sink sink, const save_options& options) const override {
        return guarded([&] { return write_to(sink, options); });
    }
    result<void> restore(std::span<const std::byte> saved, std::string_view name) override {
        return guarded([&] { return take_saved(saved, name); });
    }
    result<std::unique_ptr<session_base>> fork() override {
        return guarded([&] { return make_fork(); });
    }

    void reset() noexcept override {
        cache_.keep(0);
        cached_ = 0;
        state_after_ = 0;
        summed_states_ = 0;
        pending_.reset();
        logits_valid_ = false;
        stopped_by_ = stop_reason::none;
    }

    /// For batches: the row of a pass that appends `id`, or `embedding` unless that is null, whose logits go to
    /// logits_row(). \pre room in the context.
    [[nodiscard]] sequence_row begin_step(token id, const float* embedding) noexcept {
        tokens_[cached_] = embedding == nullptr ? id : no_token;
        cache_.extend(cached_, 1);
        return {&cache_, &frequencies_, cached_, id, embedding};
    }
    /// Before that: room for one position. \return errc::kv_pool_full.
    [[nodiscard]] result<void> reserve_step() { return cache_.reserve(cached_, cached_ + 1); }
    [[nodiscard]] float* logits_row() noexcept { return logits_.data(); }
    void end_step() noexcept {
        state_after_ = ++cached_;
        pending_.reset();
        state_of_ = last_state::in_a_batch;
        logits_valid_ = true;
    }
    [[nodiscard]] std::size_t cached() const noexcept { return cached_; }
    [[nodiscard]] bool is_of(const hyper_parameters& parameters) const noexcept { return &parameters_ == &parameters; }

private:
    /// Which scratch the hidden state of the last token is in.
    enum class last_state { here, in_a_batch };

    session_core(const model_parts& model, const session_options& options, workspace_share space) noexcept
        : session_base(options), model_(model), parameters_(model.parameters),
          frequencies_(model.turns.of(options.context)), space_(std::move(space)) {}

    [[nodiscard]] static result<std::unique_ptr<session_core>>
    make(const model_parts& model, const session_options& options, workspace_share space) {
        std::unique_ptr<session_core> made(new (std::nothrow) session_core(model, options, std::move(space)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"session: ", sizeof(session_core), " bytes could not be allocated"})};
        }
        if (auto allocated = made->allocate_all(); !allocated) {
            return failed(allocated);
        }
        return made;
    }

    [[nodiscard]] result<void> append(std::span<const token> tokens, const logits_visitor* visitor) {
        if (auto headed = visitor != nullptr ? check_head() : result<void>{}; !headed) {
            return headed;
        }
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        if (auto reserved = cache_.reserve(cached_, position() + tokens.size()); !reserved) {
            return reserved;
        }
        take_workspace();
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

    [[nodiscard]] result<void> append_embeddings(std::span<const float> rows) {
        const std::size_t hidden = parameters_.hidden;
        if (rows.size() % hidden != 0) {
            return error{errc::invalid_argument, sentence({"session: ", rows.size(), " floats are no whole number of ",
                                                           "embeddings, which have ", hidden, " each"})};
        }
        const std::size_t count = rows.size() / hidden;
        if (auto checked = check_room(count, "embeddings"); !checked) {
            return checked;
        }
        if (auto checked = check_finite(rows, hidden, {"session: "}); !checked) {
            return checked;
        }
        if (auto reserved = cache_.reserve(cached_, position() + count); !reserved) {
            return reserved;
        }
        take_workspace();
        if (pending_ && count != 0) {
            run_pending();
        }
        for (std::size_t begin = 0; begin < count; begin += options_.prompt_chunk) {
            const std::size_t together = (std::min)(options_.prompt_chunk, count - begin);
            run(rows.subspan(begin * hidden, together * hidden));
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
        return space_->forward->normalized(has_mean() ? state_sum_.data() : space_->forward->final_state(last_row_));
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

    [[nodiscard]] result<void> allocate_all() {
        auto store = page_store();
        if (!store) {
            return failed(store);
        }
        auto cache = kv_cache::open(parameters_, *model_.tables.kv, options_.context, *store);
        if (!cache) {
            return failed(cache);
        }
        cache_ = *std::move(cache);
        error failure;
        allocate(tokens_, options_.context, "session, its tokens", failure);
        allocate(state_, parameters_.hidden, "hidden state", failure);
        allocate(state_sum_, has_mean() ? parameters_.hidden : 0, "sum of states", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        auto logits = buffer<float>::allocate_uninitialized(parameters_.vocabulary, "logits");
        if (!logits) {
            return failed(logits);
        }
        logits_ = *std::move(logits);
        return {};
    }

    /// The pages of options_.kv; null without. \return errc::invalid_argument if they are of another model.
    [[nodiscard]] result<kv_page_store*> page_store() const {
        if (options_.kv == nullptr) {
            return static_cast<kv_page_store*>(nullptr);
        }
        auto& store = static_cast<kv_page_store&>(options_.kv->base()); // there is no other kv_pool_base
        const kv_shape own = kv_shape::of(parameters_, *model_.tables.kv);
        if (store.shape() != own) {
            return error{
                errc::invalid_argument,
                sentence({"session: the KV pool has pages of ", store.page_bytes(),
                          " bytes for another model or element, those of this one have ", own.bytes(attention_block)})};
        }
        return &store;
    }

    /// Makes the working memory this session's: who had it before keeps its hidden state.
    void take_workspace() noexcept {
        if (space_->owner == this) {
            return;
        }
        if (space_->owner != nullptr) {
            space_->owner->keep_state();
        }
        space_->owner = this;
        if (has_state_) {
            space_->forward->set_state(state_.data());
            last_row_ = 0;
        }
    }
    void keep_state() noexcept {
        has_state_ = cached_ != 0 && state_after_ == cached_ && state_of_ == last_state::here;
        if (has_state_) {
            space_->forward->copy_state(last_row_, state_.data());
        }
    }

    [[nodiscard]] result<void> go_back(std::size_t to) {
        if (to == position()) {
            return {};
        }
        if (to > position()) {
            return error{errc::invalid_argument,
                         sentence({"session: position ", to, " was asked for, ", position(), " are taken"})};
        }
        if (to == 0) {
            reset();
            return {};
        }
        if (has_mean()) {
            return error{errc::invalid_argument, "session: the embedding is a mean of states, of which none can be "
                                                 "taken out; reset() starts anew"};
        }
        stopped_by_ = stop_reason::none;
        pending_.reset();
        logits_valid_ = logits_valid_ && to == state_after_;
        cached_ = to;
        cache_.keep(to);
        return {};
    }

    [[nodiscard]] result<std::unique_ptr<session_base>> make_fork() {
        auto made = make(model_, options_, space_.again());
        if (!made) {
            return failed(made);
        }
        session_core& copy = **made;
        if (auto copied = copy.cache_.copy(cache_, cached_); !copied) {
            return failed(copied);
        }
        copy.take_tokens(*this);
        return std::unique_ptr<session_base>(*std::move(made));
    }
    /// All of another session but its cache.
    void take_tokens(session_core& from) noexcept {
        from.take_workspace();
        from.keep_state();
        std::copy_n(from.tokens_.data(), from.position(), tokens_.data());
        std::copy_n(from.state_.data(), state_.size(), state_.data());
        std::copy_n(from.state_sum_.data(), state_sum_.size(), state_sum_.data());
        cached_ = from.cached_;
        state_after_ = from.state_after_;
        pending_ = from.pending_;
        summed_states_ = from.summed_states_;
        has_state_ = from.has_state_;
        state_of_ = from.state_of_;
        logits_valid_ = from.logits_valid_;
        if (logits_valid_) {
            std::copy_n(from.logits_.data(), logits_.size(), logits_.data());
        }
    }

    [[nodiscard]] save_terms terms() const noexcept {
        return {model_.identity.value(),
                parameters_.layers,
                parameters_.kv_heads,
                parameters_.head_size,
                parameters_.hidden,
                parameters_.vocabulary,
                model_.tables.kv->element_bytes,
                static_cast<std::uint64_t>(model_.tensors.activations()),
                static_cast<std::uint64_t>(has_mean() ? pooling_type::mean : pooling_type::last),
                model_.turns.is_long(options_.context) ? std::uint64_t{1} : std::uint64_t{0}};
    }
    [[nodiscard]] saved_session record(const save_options& options) const noexcept {
        saved_session made{terms(), tokens(), options.keys_and_values, pending_.has_value(), summed_states_, {},
                           {},      {}};
        const std::size_t hidden = parameters_.hidden;
        const bool is_last = cached_ != 0 && state_after_ == cached_ && options.keys_and_values;
        if (is_last && state_of_ == last_state::here && space_->owner == this) {
            made.state = {space_->forward->state(last_row_), hidden};
        } else if (is_last && state_of_ == last_state::here && has_state_) {
            made.state = state_.span();
        } else if (is_last && logits_valid_ && tokens_[cached_ - 1] == no_token) { // which cannot run again
            made.logits = logits_.span();
        }
        made.sum = state_sum_.span().first(options.keys_and_values ? state_sum_.size() : 0);
        return made;
    }
    [[nodiscard]] result<void> write_to(byte_sink sink, const save_options& options) const {
        for (std::size_t i = 0; !options.keys_and_values && i < cached_; ++i) {
            if (tokens_[i] == no_token) {
                return error{errc::invalid_argument,
                             sentence({"session: what stands at position ", i,
                                       " was fed as an embedding and cannot run again, so that a save needs keys and "
                                       "values"})};
            }
        }
        return record(options).write(sink, cache_);
    }

    [[nodiscard]] result<void> take_saved(std::span<const std::byte> bytes, std::string_view name) {
        const auto saved = session_bytes::read(bytes, name, terms(), context(), cache_);
        if (!saved) {
            return failed(saved);
        }
        if (auto renewed = cache_.renew(saved->cached()); !renewed) {
            return renewed;
        }
        if (saved->token_count != 0) {
            std::memcpy(tokens_.data(), saved->tokens.data(), saved->tokens.size());
        }
        pending_.reset();
        stopped_by_ = stop_reason::none;
        cached_ = 0;
        state_after_ = 0;
        summed_states_ = 0;
        logits_valid_ = false;
        if (saved->has(session_bytes::flag_pages)) {
            load_pages(*saved);
        } else {
            take_workspace();
            for (const std::size_t end = saved->cached(); cached_ < end;) {
                run(tokens_.span().subspan(cached_, (std::min)(options_.prompt_chunk, end - cached_)));
            }
        }
        if (saved->has(session_bytes::flag_pending)) {
            pending_ = tokens_[cached_];
        }
        return {};
    }
    /// Keys, values and what is known of the last token.
    void load_pages(const session_bytes& saved) noexcept {
        cached_ = saved.cached();
        const std::byte* from = saved.pages.data();
        for (std::size_t page = 0; page < pages_of(cached_); ++page) {
            const std::size_t count = positions_of_page(cached_, page);
            cache_.load_page(page, count, from);
            from += to_size(cache_.saved_bytes(count)) + sizeof(std::uint64_t);
        }
        const auto load = [](buffer<float>& to, std::span<const std::byte> part) {
            if (!part.empty()) {
                std::memcpy(to.data(), part.data(), part.size());
            }
        };
        load(state_, saved.state);
        load(state_sum_, saved.sum);
        load(logits_, saved.logits);
        summed_states_ = to_size(saved.summed_states);
        has_state_ = saved.has(session_bytes::flag_state);
        logits_valid_ = saved.has(session_bytes::flag_logits);
        state_of_ = logits_valid_ ? last_state::in_a_batch : last_state::here;
        state_after_ = has_state_ || logits_valid_ ? cached_ : 0;
        if (space_->owner == this) {
            space_->owner = nullptr; // what is in the workspace is forgotten
        }
    }

    std::optional<token> stopped(stop_reason why) noexcept {
        stopped_by_ = why;
        return std::nullopt;
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the output matrix.
    void visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        constexpr std::size_t most = workspace::logits_rows;
        std::array<std::size_t, most> rows;
        std::array<float*, most> out;
        for (std::size_t first = 0; first < count; first += most) {
            const std::size_t together = (std::min)(most, count - first);
            for (std::size_t i = 0; i < together; ++i) {
                rows[i] = first + i;
                out[i] = logits_row(together - 1 - i); // the last one to row 0, where logits() looks
            }
            space_->forward->logits(space_->pool.ref(), std::span(rows).first(together),
                                    std::span<float* const>(out).first(together));
            for (std::size_t i = 0; i < together; ++i) {
                visitor(begin + first + i, {out[i], parameters_.vocabulary});
            }
        }
        logits_valid_ = true;
    }

    /// Row 0 is the session's own, the others are the workspace's.
    [[nodiscard]] float* logits_row(std::size_t i) noexcept {
        return i == 0 ? logits_.data() : space_->more_logits.data() + (i - 1) * parameters_.vocabulary;
    }

    [[nodiscard]] result<void> check_room(std::size_t count, std::string_view of_what) const {
        if (count > context() - position()) {
            return error{errc::context_full,
                         sentence({"session: ", count, " ", of_what, " do not fit, the context has ", context(),
                                   " positions and ", position(), " are taken"})};
        }
        return {};
    }

    [[nodiscard]] result<void> check_tokens(std::span<const token> tokens) const {
        if (auto checked = check_room(tokens.size(), "tokens"); !checked) {
            return checked;
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
        if (!pending_ && state_after_ != cached_) {
            if (tokens_[cached_ - 1] == no_token) {
                return error{errc::invalid_argument,
                             sentence({"session: what stands at position ", cached_ - 1,
                                       " was fed as an embedding and cannot run again; feed something behind it"})};
            }
            pending_ = tokens_[--cached_]; // after a rewind its state is gone
        }
        if (auto reserved = pending_ ? reserve_step() : result<void>{}; !reserved) {
            return reserved;
        }
        take_workspace();
        if (pending_) {
            run_pending();
        }
        return {};
    }
    void run_pending() noexcept {
        const token last = *std::exchange(pending_, std::nullopt);
        run(std::span(&last, 1));
    }

    [[nodiscard]] std::span<const float> all_logits() noexcept {
        const std::span<float> out(logits_row(0), parameters_.vocabulary);
        if (!logits_valid_) {
            space_->forward->logits(space_->pool.ref(), last_row_, out);
            logits_valid_ = true;
        }
        return out;
    }

    /// The k largest through the screen; nullopt without one, while it is being made, if k is out of range, or if all
    /// logits are already computed.
    [[nodiscard]] std::optional<std::span<const scored_token>> screened_logits(std::size_t k) noexcept {
        if (!model_.screen.is_ready() || logits_valid_ || k == 0 || k > largest_.size()) {
            return std::nullopt;
        }
        return space_->search.largest(space_->pool.ref(), space_->forward->final_state(last_row_), k);
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
            space_->forward->add_final_state(row, state_sum_.span());
        }
        summed_states_ += count;
    }

    /// One pass. \pre 1 <= tokens.size() <= prompt_chunk, checked tokens, room in the context.
    void run(std::span<const token> tokens) noexcept {
        for (std::size_t i = 0; i < tokens.size(); ++i) {
            space_->rows[i] = {&cache_, &frequencies_, cached_ + i, tokens[i]};
            tokens_[cached_ + i] = tokens[i];
        }
        run_rows(tokens.size());
    }
    /// The same of embeddings [rows, hidden].
    void run(std::span<const float> embeddings) noexcept {
        const std::size_t count = embeddings.size() / parameters_.hidden;
        for (std::size_t i = 0; i < count; ++i) {
            space_->rows[i] = {&cache_, &frequencies_, cached_ + i, 0, embeddings.data() + i * parameters_.hidden};
            tokens_[cached_ + i] = no_token;
        }
        run_rows(count);
    }
    void run_rows(std::size_t count) noexcept {
        cache_.extend(cached_, count);
        space_->forward->run(space_->pool.ref(), space_->rows.span().first(count));
        cached_ += count;
        state_after_ = cached_;
        last_row_ = count - 1;
        state_of_ = last_state::here;
        logits_valid_ = false;
        if (has_mean()) {
            add_states(count);
        }
    }

    model_parts model_;
    const hyper_parameters& parameters_;
    const rotary_frequencies& frequencies_;
    workspace_share space_;
    kv_cache cache_;
    buffer<token> tokens_; ///< [context]
    buffer<float> state_;  ///< [hidden]: of the last token, while another session has the workspace
    bool has_state_ = false;
    buffer<float> logits_; ///< [vocabulary]: those of the last token
    std::array<scored_token, screened_search::most> largest_;
    std::size_t last_row_ = 0;    ///< of the last pass
    std::size_t state_after_ = 0; ///< how many positions the last state has seen
    buffer<float> state_sum_;     ///< [hidden] if embedding() is a mean
    std::size_t summed_states_ = 0;
    last_state state_of_ = last_state::here;
    bool logits_valid_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
