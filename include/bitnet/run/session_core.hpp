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
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/forward_pass.hpp>
#include <bitnet/run/logits_rows.hpp>
#include <bitnet/run/logprobs.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/rows_ahead.hpp>
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
#include <bitnet/thread/stepped_pool.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <bit>
#include <chrono>
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
        if (auto completed = complete(model.parameters, options); !completed) {
            return failed(completed);
        }
        auto space = workspace_share::open(model, options, *std::move(pool));
        if (!space) {
            return failed(space);
        }
        auto made = make(model, options, *std::move(space));
        return made ? result<std::unique_ptr<session_base>>(*std::move(made)) : failed(made);
    }

    /// Puts the model's own numbers in place of those that were left to it. \return errc::invalid_argument
    [[nodiscard]] static result<void> complete(const hyper_parameters& parameters, session_options& options) {
        if (options.context == 0) {
            options.context = (std::min)(parameters.context, session_options::default_context);
            options.context -= options.window ? options.context % attention_block : 0;
        }
        if (auto checked = check_options(parameters, options); !checked) {
            return checked;
        }
        options.prompt_chunk = (std::min)(options.prompt_chunk, options.context);
        options.sinks = (options.sinks + attention_block - 1) / attention_block * attention_block;
        return {};
    }

    /// How many tokens a session keeps, queued ones included. With a window as many can be queued as are there.
    [[nodiscard]] static std::size_t token_places(const session_options& options) noexcept {
        return options.window ? 2 * options.context : options.context;
    }

    ~session_core() override {
        if (space_->owner == this) {
            space_->pass.drop();
            space_->ahead.clear();
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
    result<token_logprob> logprobs(std::span<token_logprob> largest) override {
        return guarded([&] { return logprobs_of_pending(largest); });
    }
    result<std::span<const float>> embedding() override {
        return guarded([&] { return unit_state(); });
    }

    std::optional<token> next(sampler& choose) override { return next(any_chooser(choose)); }

    std::optional<token> next(any_chooser choose) override {
        if (is_full()) {
            return stopped(stop_reason::context_full);
        }
        const default_float_environment environment;
        auto computed = guarded([&]() -> result<token> {
            begin_forced(choose);
            if (auto ready = ready_for_logits(); !ready) {
                return failed(ready);
            }
            return choose.is_constrained() ? choose_allowed(choose) : choose_any(choose);
        });
        if (!computed) {
            if (computed.error().code == errc::cancelled) {
                return stopped(stop_reason::cancelled);
            }
            return stopped(failed(computed));
        }
        return take(choose, *computed);
    }

    result<void> queue(std::span<const token> tokens) override {
        return guarded([&] { return accept(tokens); });
    }
    result<step_state> step(std::chrono::nanoseconds budget, const any_chooser* choose) override {
        space_->steps.start(budget, cancel_);
        return guarded([&] { return run_step(choose); });
    }
    result<void> reserve_ahead() override {
        return guarded([&] { return open_searches(); });
    }
    std::size_t queue_ahead(std::span<const token> guesses) override {
        const auto begun = guarded([&] { return begin_guesses(guesses); });
        return begun ? *begun : 0;
    }
    std::size_t run_ahead(std::span<const token> guesses) override {
        const std::size_t count = queue_ahead(guesses);
        return count != 0 && guarded([&] { return run_guesses(); }) ? count : 0;
    }
    void set_cancel_flag(const std::atomic<bool>* flag) noexcept override { cancel_ = flag; }

    const screen_statistics& screening() const noexcept override { return space_->search.statistics(); }

    std::span<const token> tokens() const noexcept override { return tokens_.span().first(kept()); }

    result<void> rewind(std::size_t position) override {
        return guarded([&] { return go_back(position); });
    }
    bool can_rewind(std::size_t to) const noexcept override {
        // A page is dropped for the first position of the last one, whose own state is that of a full window.
        return to <= position() && (dropped_ == 0 || to <= options_.sinks || to == position() ||
                                    to > dropped_ + context() - attention_block);
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
        if (space_->owner == this) {
            space_->pass.drop();
            space_->ahead.clear();
        }
        cache_.keep(0);
        cached_ = 0;
        dropped_ = 0;
        queued_ = 0;
        ++revision_;
        state_after_ = 0;
        summed_states_ = 0;
        pending_.reset();
        logits_.release();
        stopped_by_ = stop_reason::none;
    }

    /// For batches: the row of a pass that appends `id`, or `embedding` unless that is null. \pre room in the
    /// context, and nothing queued.
    [[nodiscard]] sequence_row begin_step(token id, const float* embedding) noexcept {
        drop_pass();
        drop_head();
        tokens_[cached_] = embedding == nullptr ? id : no_token;
        cache_.extend(cached_, 1);
        return {&cache_, &frequencies_, cached_, id, embedding, view()};
    }
    /// Before that: room for one position. \return errc::kv_pool_full.
    [[nodiscard]] result<void> reserve_step() {
        drop_ahead();
        auto room = make_room();
        return room ? cache_.reserve(cached_, cached_ + 1) : std::move(room);
    }
    [[nodiscard]] bool has_place() const noexcept { return options_.window ? !is_full() : cached_ != context(); }
    /// After that pass: takes over the state of its row `index` and the logits that were made of it.
    void end_step(transformer& pass, std::size_t index, logits_row& logits) noexcept {
        end_rows(pass, index, 1);
        logits_.hold(logits);
    }
    [[nodiscard]] std::size_t cached() const noexcept { return cached_; }

    // For schedulers, which run the rows of several sessions in passes of their own.

    /// Counts up with whatever makes rows that were written earlier wrong.
    [[nodiscard]] std::uint64_t revision() const noexcept { return revision_; }
    [[nodiscard]] bool is_cancelled() const noexcept {
        return cancel_ != nullptr && cancel_->load(std::memory_order_relaxed);
    }
    /// Whether no position is left, with a window because they would be too many to be counted.
    [[nodiscard]] bool is_full() const noexcept {
        return options_.window ? dropped_ > most_dropped : end() != 0 && end() == context();
    }
    /// How many rows the next pass can have: one that makes room does so before its first row.
    [[nodiscard]] std::size_t next_room() const noexcept {
        return options_.window && cached_ == context() ? attention_block : context() - cached_;
    }
    /// Tokens that have not run, from cached_ on: the one that next() gave, and the queue.
    [[nodiscard]] std::size_t waiting() const noexcept { return (pending_ ? 1 : 0) + queued_; }
    /// Gives up what a step of its own has begun. \param wants_state whether the last token waits again if nothing does
    /// and its state is gone. \return errc::nothing_fed, errc::invalid_argument.
    [[nodiscard]] result<void> prepare_for_pass(bool wants_state) {
        drop_pass();
        drop_head();
        drop_ahead();
        if (end() == 0) {
            return nothing_fed();
        }
        return wants_state ? wait_again() : result<void>{};
    }
    /// Room for the first `count` of waiting(). \return errc::kv_pool_full.
    [[nodiscard]] result<void> reserve_rows(std::size_t count) {
        auto room = count != 0 ? make_room() : result<void>{};
        return room ? cache_.reserve_to_copy(cached_, cached_ + count) : std::move(room);
    }
    /// The first rows.size() of waiting(). \pre there is room for them
    void write_rows(std::span<sequence_row> rows) noexcept {
        for (std::size_t i = 0; i < rows.size(); ++i) {
            rows[i] = {&cache_, &frequencies_, cached_ + i, tokens_[cached_ + i], nullptr, view()};
        }
    }
    /// How many of `guesses` can run behind the token that waits.
    [[nodiscard]] std::size_t usable(std::span<const token> guesses) const noexcept {
        if (!pending_ || queued_ != 0 || has_mean() || parameters_.is_embedder || is_under_way()) {
            return 0;
        }
        const std::size_t most =
            (std::min)({guesses.size(), rows_ahead::most, options_.prompt_chunk - 1, next_room() - 1});
        std::size_t count = 0;
        while (count < most && guesses[count] >= 0 &&
               static_cast<std::size_t>(guesses[count]) < parameters_.vocabulary) {
            ++count;
        }
        return count;
    }
    /// Rows of guesses behind the one of the token that waits. \pre they are usable(), and there is room
    void write_ahead(std::span<const token> guesses, std::span<sequence_row> rows) noexcept {
        for (std::size_t i = 0; i < guesses.size(); ++i) {
            rows[i] = {&cache_, &frequencies_, cached_ + 1 + i, guesses[i], nullptr, view()};
        }
    }
    /// Gives up the room of those that were wrong.
    void drop_rows_ahead() noexcept {
        if (!is_under_way()) {
            cache_.keep(end());
        }
    }
    /// After a pass of them: takes over the state of the last one. \param first of its rows. \pre count > 0
    void end_rows(transformer& pass, std::size_t first, std::size_t count) noexcept {
        drop_pass();
        drop_head();
        if (has_mean()) {
            add_states(pass, first, count);
        }
        end_waiting(count);
        take_state(pass, first + count - 1);
    }
    /// The state [hidden] of the last token as the layers left it. \pre nothing waits after prepare_for_pass(true)
    [[nodiscard]] const float* state() noexcept {
        if (space_->owner == this) {
            keep_state();
        }
        return state_.data();
    }
    /// What next() does with the token that `choose` chose.
    std::optional<token> take(any_chooser choose, token chosen) noexcept {
        if (chosen < 0 || static_cast<std::size_t>(chosen) >= parameters_.vocabulary) {
            return stopped(failed(guarded([&] { return check_choice(chosen); })));
        }
        choose.accept(chosen);
        pending_ = chosen;
        tokens_[cached_] = chosen;
        ++revision_;
        if (options_.stop_at_stop_tokens && model_.text != nullptr && model_.text->is_stop(chosen)) {
            return stopped(stop_reason::stop_token);
        }
        stopped_by_ = stop_reason::none;
        return chosen;
    }
    std::optional<token> stopped(stop_reason why) noexcept {
        stopped_by_ = why;
        return std::nullopt;
    }
    std::optional<token> stopped(error why) noexcept {
        last_error_ = std::move(why);
        return stopped(stop_reason::error);
    }

    [[nodiscard]] bool is_of(const hyper_parameters& parameters) const noexcept { return &parameters_ == &parameters; }

private:
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
        settle_ahead();
        if (auto reserved = reserve_to(end() + tokens.size()); !reserved) {
            return reserved;
        }
        if (tokens.empty()) {
            return {};
        }
        take_workspace();
        if (auto ran = run_waiting(); !ran) {
            return ran;
        }
        std::span<const token> part; // of one pass
        for (std::size_t begin = 0; begin < tokens.size(); begin += part.size()) {
            part = tokens.subspan(begin, (std::min)({options_.prompt_chunk, tokens.size() - begin, next_room()}));
            add_to_queue(part);
            auto ran = run_waiting();
            if (ran && visitor != nullptr) {
                ran = visit_each(begin, part.size(), *visitor);
            }
            if (!ran) {
                drop_queue();
                return ran;
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
        settle_ahead();
        if (auto reserved = reserve_to(end() + count); !reserved || count == 0) {
            return reserved;
        }
        take_workspace();
        if (auto ran = run_waiting(); !ran) {
            return ran;
        }
        std::size_t together = 0;
        for (std::size_t begin = 0; begin < count; begin += together) {
            if (auto room = make_room(); !room) {
                return room;
            }
            together = (std::min)({options_.prompt_chunk, count - begin, next_room()});
            if (auto ran = run_embeddings(rows.subspan(begin * hidden, together * hidden)); !ran) {
                drop_queue();
                return ran;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> accept(std::span<const token> tokens) {
        if (auto checked = check_tokens(tokens); !checked) {
            return checked;
        }
        settle_ahead();
        drop_ahead();
        if (tokens.size() > tokens_.size() - end()) {
            return error{errc::context_full,
                         sentence({"session: ", tokens.size(), " tokens do not fit the queue, which has room for ",
                                   tokens_.size() - end(), " more"})};
        }
        if (auto reserved = reserve_to(end() + tokens.size()); !reserved) {
            return reserved;
        }
        add_to_queue(tokens);
        return {};
    }

    [[nodiscard]] result<step_state> run_step(const any_chooser* choose) {
        if (auto headed = choose != nullptr ? check_head() : result<void>{}; !headed) {
            return failed(headed);
        }
        if (choose != nullptr && end() == 0) {
            return nothing_fed();
        }
        const bool is_asked = choose != nullptr && !is_full();
        if (!is_asked && waiting() == 0) {
            return step_state::ready;
        }
        if (is_asked) {
            begin_forced(*choose);
        }
        if (auto prepared = prepare(is_asked); !prepared) {
            return failed(prepared);
        }
        while (waiting() != 0) {
            if (!is_under_way()) {
                if (auto room = make_room(); !room) {
                    return failed(room);
                }
                const std::size_t most = (std::min)({waiting(), options_.prompt_chunk, next_room()});
                begin_waiting(space_->steps.rows_for(forward_pass::layer_stage, most));
            }
            if (!run_pass()) {
                return stopped_step();
            }
        }
        // A chooser that allows some needs little of the head, if any, and that is known in next() only.
        return !is_asked || choose->is_constrained() || is_head_done(choose->needs()) ? step_state::ready
                                                                                      : stopped_step();
    }
    [[nodiscard]] result<step_state> stopped_step() const {
        return space_->steps.is_cancelled() ? result<step_state>(was_cancelled()) : step_state::working;
    }

    [[nodiscard]] result<std::span<const float>> logits_of_last() {
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        if (auto computed = run_head(0); !computed) {
            return failed(computed);
        }
        return all_logits();
    }

    [[nodiscard]] result<std::span<const scored_token>> largest_of_last(std::size_t k) {
        if (k == 0 || k > screened_search::most) {
            return error{errc::invalid_argument, sentence({"session: the ", k, " largest logits were asked for, 1 to ",
                                                           screened_search::most, " are possible"})};
        }
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        if (auto computed = run_head(k); !computed) {
            return failed(computed);
        }
        const auto few = found(k);
        return few ? *few : largest_of(all_logits(), k);
    }

    [[nodiscard]] result<token_logprob> logprobs_of_pending(std::span<token_logprob> largest) {
        if (auto headed = check_head(); !headed) {
            return failed(headed);
        }
        if (!pending_ || state_after_ != cached_) {
            return error{errc::invalid_argument, "session: logprobs are those of the token that next() gave last, and "
                                                 "there is none, or it has run already"};
        }
        const std::size_t most = (std::min)(screened_search::most, parameters_.vocabulary);
        if (largest.size() > most) {
            return error{errc::invalid_argument,
                         sentence({"session: the ", largest.size(), " largest logprobs were asked for, up to ", most,
                                   " are possible"})};
        }
        drop_pass();
        take_workspace();
        if (auto computed = run_head(0); !computed) {
            return failed(computed);
        }
        const std::span<const float> logits = all_logits();
        const log_normalizer normalizer = normalizer_of(logits);
        if (!largest.empty()) {
            const auto found = largest_of(logits, largest.size());
            for (std::size_t i = 0; i < found.size(); ++i) {
                largest[i] = {found[i].id, normalizer.logprob(found[i].logit)};
            }
        }
        return token_logprob{*pending_, normalizer.logprob(logits[static_cast<std::size_t>(*pending_)])};
    }

    /// Blocks of 256 logits, each in the order of its 16 lanes, are added in double from the first to the last, all
    /// relative to the largest logit.
    [[nodiscard]] log_normalizer normalizer_of(std::span<const float> logits) const noexcept {
        std::array<float, attention_block> block;
        exponential_sum sum(*std::max_element(logits.begin(), logits.end()));
        for (std::size_t begin = 0; begin < logits.size(); begin += block.size()) {
            const std::size_t count = (std::min)(block.size(), logits.size() - begin);
            std::copy_n(logits.data() + begin, count, block.data());
            const softmax_state part = model_.tables.loops->exponentials(block.data(), count);
            sum.add(part.max, part.sum);
        }
        return log_normalizer(sum);
    }

    [[nodiscard]] result<std::span<const float>> unit_state() {
        if (auto done = ready(); !done) {
            return failed(done);
        }
        drop_head();
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
        if (auto checked = check_window(options); !checked) {
            return checked;
        }
        if (options.pooling && *options.pooling != pooling_type::mean && *options.pooling != pooling_type::last) {
            return error{errc::invalid_argument,
                         sentence({"session: pooling ", static_cast<unsigned>(*options.pooling), " (",
                                   name_of(*options.pooling), ") was asked for, 1 (mean) and 3 (last) are possible"})};
        }
        return {};
    }

    [[nodiscard]] static result<void> check_window(const session_options& options) {
        const std::size_t pages = options.context / attention_block;
        if (!options.window) {
            return {};
        }
        if (options.context % attention_block != 0 || pages < 2) {
            return error{errc::invalid_argument,
                         sentence({"session: a window takes a context of whole pages of ", attention_block,
                                   " positions, two at least, and ", options.context, " positions were asked for"})};
        }
        if (options.sinks == 0 || options.sinks > options.context - attention_block) {
            return error{
                errc::invalid_argument,
                sentence({"session: ", options.sinks, " positions were asked for as the sinks of a window, 1 ", "to ",
                          options.context - attention_block, " are possible in a context of ", options.context})};
        }
        return {};
    }

    [[nodiscard]] result<void> allocate_all() {
        auto store = page_store();
        if (!store) {
            return failed(store);
        }
        auto cache = kv_cache::open(parameters_, *model_.tables.kv, options_.context, *store, options_.memory);
        if (!cache) {
            return failed(cache);
        }
        cache_ = *std::move(cache);
        const memory_from from = session_scratch(options_);
        error failure;
        allocate(state_, parameters_.hidden, "hidden state", failure, from);
        allocate(state_sum_, has_mean() ? parameters_.hidden : 0, "sum of states", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        auto tokens = buffer<token>::allocate_uninitialized(token_places(options_), "session, its tokens", from);
        if (!tokens) {
            return failed(tokens);
        }
        tokens_ = *std::move(tokens);
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
        if (space_->owner != nullptr && !space_->pass.is_under_way()) { // a pass keeps it when it begins
            space_->owner->keep_state();
        }
        space_->pass.drop();
        space_->ahead.clear();
        space_->owner = this;
        restore_state();
    }
    /// The state of a row that somebody else's pass has run.
    void take_state(transformer& pass, std::size_t row) noexcept {
        if (space_->owner == this) {
            space_->owner = nullptr;
        }
        pass.copy_state(row, state_.data());
        has_state_ = true;
    }
    void keep_state() noexcept {
        has_state_ = cached_ != 0 && state_after_ == cached_;
        if (has_state_) {
            space_->forward->copy_state(last_row_, state_.data());
        }
    }
    void restore_state() noexcept {
        if (has_state_) {
            space_->forward->set_state(state_.data());
            last_row_ = 0;
        }
    }

    /// Whether a pass of this session has begun and not ended.
    [[nodiscard]] bool is_under_way() const noexcept { return space_->owner == this && space_->pass.is_under_way(); }
    /// Undoes the beginning of a pass; its tokens wait as before.
    void drop_pass() noexcept {
        if (!is_under_way()) {
            return;
        }
        space_->pass.drop();
        if (space_->ahead.planned() != 0) {
            space_->ahead.drop();
            cache_.keep(end());
        }
        restore_state();
    }
    void drop_head() noexcept {
        if (space_->owner == this) {
            space_->pass.drop_head();
        }
    }
    void drop_queue() noexcept {
        drop_pass();
        ++revision_;
        queued_ = 0;
        cache_.keep(kept());
    }

    [[nodiscard]] result<void> go_back(std::size_t to) {
        if (to > position()) {
            return error{errc::invalid_argument,
                         sentence({"session: position ", to, " was asked for, ", position(), " are taken"})};
        }
        if (to == 0) {
            reset();
            return {};
        }
        if (to != position() && has_mean()) {
            return error{errc::invalid_argument, "session: the embedding is a mean of states, of which none can be "
                                                 "taken out; reset() starts anew"};
        }
        if (!can_rewind(to)) {
            return was_dropped(to);
        }
        if (queued_ != 0) {
            drop_queue();
        }
        if (to == position()) {
            return {};
        }
        drop_pass();
        drop_head();
        drop_ahead();
        ++revision_;
        stopped_by_ = stop_reason::none;
        pending_.reset();
        if (dropped_ != 0 && to <= options_.sinks) {
            dropped_ = 0;
            state_after_ = 0;
        }
        const std::size_t left = to - dropped_;
        if (left != state_after_) {
            logits_.release();
        }
        cached_ = left;
        cache_.keep(left);
        return {};
    }
    [[nodiscard]] error was_dropped(std::size_t to) const {
        return {errc::invalid_argument,
                sentence({"session: position ", to, " was asked for, the window has dropped positions ", options_.sinks,
                          " to ", options_.sinks + dropped_ - 1, "; up to ", options_.sinks, " and from ",
                          dropped_ + context() - attention_block + 1, " on are possible"})};
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
    /// All of another session but its cache and its logits, which the kept state gives again.
    void take_tokens(session_core& from) noexcept {
        from.take_workspace();
        from.drop_pass();
        from.keep_state();
        std::copy_n(from.tokens_.data(), from.kept(), tokens_.data());
        std::copy_n(from.state_.data(), state_.size(), state_.data());
        std::copy_n(from.state_sum_.data(), state_sum_.size(), state_sum_.data());
        cached_ = from.cached_;
        dropped_ = from.dropped_;
        state_after_ = from.state_after_;
        pending_ = from.pending_;
        summed_states_ = from.summed_states_;
        has_state_ = from.has_state_;
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
    /// What a save has. Without keys and values all tokens wait.
    [[nodiscard]] saved_session record(const save_options& options) const noexcept {
        saved_session made;
        made.terms = terms();
        made.window = window_terms();
        made.tokens = tokens_.span().first(end());
        made.queued = options.keys_and_values ? queued_ : end();
        made.has_pending = options.keys_and_values && pending_.has_value();
        if (made.cached() == 0) {
            return made;
        }
        made.sum = state_sum_.span();
        made.summed_states = summed_states_;
        if (state_after_ == cached_ && space_->owner == this && !space_->pass.is_under_way()) {
            made.state = {space_->forward->state(last_row_), parameters_.hidden};
        } else if (state_after_ == cached_ && has_state_) {
            made.state = state_.span();
        }
        return made;
    }
    [[nodiscard]] save_window window_terms() const noexcept {
        return {options_.window ? context() : 0, sinks(), dropped_};
    }
    [[nodiscard]] result<void> write_to(byte_sink sink, const save_options& options) const {
        if (!options.keys_and_values && dropped_ != 0) {
            return error{errc::invalid_argument,
                         sentence({"session: the window has dropped ", dropped_,
                                   " positions, without which nothing can run again, so that a save needs keys and "
                                   "values"})};
        }
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
        const auto saved =
            session_bytes::read(bytes, name, terms(), {context(), tokens_.size(), window_terms()}, cache_);
        if (!saved) {
            return failed(saved);
        }
        if (auto renewed = cache_.renew((std::min)(saved->token_count, context())); !renewed) {
            return renewed;
        }
        if (space_->owner == this) { // what is in the workspace is forgotten
            space_->pass.drop();
            space_->ahead.clear();
            space_->owner = nullptr;
        }
        logits_.release();
        stopped_by_ = stop_reason::none;
        const auto load = [](auto& to, std::span<const std::byte> part) {
            if (!part.empty()) {
                std::memcpy(to.data(), part.data(), part.size());
            }
        };
        load(tokens_, saved->tokens);
        load(state_, saved->state);
        load(state_sum_, saved->sum);
        cached_ = saved->cached();
        dropped_ = saved->dropped;
        queued_ = saved->queued;
        pending_ = saved->has_pending ? std::optional(tokens_[cached_]) : std::nullopt;
        summed_states_ = saved->summed_states;
        has_state_ = !saved->state.empty();
        state_after_ = has_state_ ? cached_ : 0;
        load_pages(*saved);
        return {};
    }
    void load_pages(const session_bytes& saved) noexcept {
        const std::byte* from = saved.pages.data();
        for (std::size_t page = 0; page < pages_of(cached_); ++page) {
            const std::size_t count = positions_of_page(cached_, page);
            cache_.load_page(page, count, from);
            from += to_size(cache_.saved_bytes(count)) + sizeof(std::uint64_t);
        }
    }

    /// Shows the logits of the `count` rows of the last pass, several from one reading of the output matrix.
    [[nodiscard]] result<void> visit_each(std::size_t begin, std::size_t count, const logits_visitor& visitor) {
        constexpr std::size_t most = workspace::rows_of_logits;
        std::array<std::size_t, most> rows;
        std::array<float*, most> out;
        for (std::size_t first = 0; first < count; first += most) {
            const std::size_t together = (std::min)(most, count - first);
            for (std::size_t i = 0; i < together; ++i) {
                rows[i] = first + i;
                out[i] = space_->logits.overwrite(together - 1 - i); // the last one to row 0, which is held
            }
            const auto compute = [&]() noexcept {
                return space_->pass.run_logits(space_->steps, *space_->forward, std::span(rows).first(together),
                                               std::span<float* const>(out).first(together));
            };
            if (auto computed = run_whole(compute); !computed) {
                drop_head();
                return computed;
            }
            for (std::size_t i = 0; i < together; ++i) {
                visitor(begin + first + i, {out[i], parameters_.vocabulary});
            }
        }
        logits_.hold(space_->logits[0]);
        return {};
    }

    [[nodiscard]] result<void> check_room(std::size_t count, std::string_view of_what) const {
        if (options_.window ? is_full() : count > context() - end()) {
            return error{errc::context_full,
                         sentence({"session: ", count, " ", of_what, " do not fit, the context has ", context(),
                                   " positions and ", end(), " are taken"})};
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

    /// Of a token that is none of the vocabulary.
    [[nodiscard]] result<void> check_choice(token chosen) const {
        if (chosen == no_token) {
            return error{errc::no_token_left, "session: the chooser chose no token"};
        }
        return error{errc::invalid_token, sentence({"session: the chooser chose token ", chosen,
                                                    ", the vocabulary has ", parameters_.vocabulary})};
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

    [[nodiscard]] static error nothing_fed() {
        return {errc::nothing_fed, "session: no token was fed, so there is nothing to continue"};
    }
    [[nodiscard]] static error was_cancelled() { return {errc::cancelled, "cancelled"}; } // needs no memory

    /// Runs all that waits. \return errc::nothing_fed before the first token.
    [[nodiscard]] result<void> ready() {
        if (end() == 0) {
            return nothing_fed();
        }
        auto prepared = prepare(true);
        return prepared ? run_waiting() : std::move(prepared);
    }

    /// Positions that are taken, those of the queue included.
    [[nodiscard]] std::size_t end() const noexcept { return cached_ + waiting(); }
    void add_to_queue(std::span<const token> tokens) noexcept {
        std::copy(tokens.begin(), tokens.end(), tokens_.data() + end());
        queued_ += tokens.size();
    }

    /// If nothing waits and the state of the last token is gone, that token waits. \return errc::invalid_argument.
    [[nodiscard]] result<void> wait_again() {
        if (waiting() == 0 && state_after_ != cached_) {
            if (tokens_[cached_ - 1] == no_token) {
                return error{errc::invalid_argument,
                             sentence({"session: what stands at position ", cached_ - 1,
                                       " was fed as an embedding and cannot run again; feed something behind it"})};
            }
            pending_ = tokens_[--cached_]; // after a rewind its state is gone
            ++revision_;
        }
        return {};
    }

    /// Before what waits runs. \param wants_state whether the last token waits again if its state is gone.
    [[nodiscard]] result<void> prepare(bool wants_state) {
        if (auto waits = wants_state ? wait_again() : result<void>{}; !waits) {
            return waits;
        }
        settle_ahead();
        if (auto reserved = reserve_to(end()); !reserved) {
            return reserved;
        }
        take_workspace();
        return {};
    }
    /// Room for the positions up to `last`, which with a window may be more than there will ever be.
    [[nodiscard]] result<void> reserve_to(std::size_t last) {
        return cache_.reserve_to_copy(cached_, (std::min)(last, context()));
    }
    /// Before a pass: a window that is full drops its oldest page. \pre none is under way \return errc::kv_pool_full
    [[nodiscard]] result<void> make_room() {
        if (!options_.window || cached_ != context()) {
            return {};
        }
        if (auto dropped = cache_.drop_page(options_.sinks / attention_block); !dropped) {
            return dropped;
        }
        const auto all = tokens_.span().first(end());
        const auto first = all.begin() + static_cast<std::ptrdiff_t>(options_.sinks);
        std::copy(first + static_cast<std::ptrdiff_t>(attention_block), all.end(), first);
        state_after_ = state_after_ == cached_ ? cached_ - attention_block : 0;
        cached_ -= attention_block;
        dropped_ += attention_block;
        ++revision_;
        return {};
    }
    [[nodiscard]] window_view view() const noexcept { return {sinks() / attention_block, dropped_}; }

    /// Calls work() until it is true. \return errc::cancelled.
    template <class Work> [[nodiscard]] result<void> run_whole(Work&& work) {
        space_->steps.start(cancel_);
        while (!work()) {
            if (space_->steps.is_cancelled()) {
                return was_cancelled();
            }
            space_->steps.start(cancel_); // the flag was true for a moment
        }
        return {};
    }
    [[nodiscard]] result<void> run_waiting() {
        while (waiting() != 0) {
            if (!is_under_way()) {
                if (auto room = make_room(); !room) {
                    return room;
                }
                begin_waiting((std::min)({waiting(), options_.prompt_chunk, next_room()}));
            }
            if (auto ran = run_whole([&]() noexcept { return run_pass(); }); !ran) {
                return ran;
            }
        }
        return {};
    }
    [[nodiscard]] result<token> choose_any(const any_chooser& choose) {
        const std::size_t k = choose.needs();
        if (auto ran = run_head(k); !ran) {
            return failed(ran);
        }
        const auto few = found(k);
        return few ? choose.choose(*few) : choose.choose(all_logits());
    }
    /// The token of a chooser that allows some, by way of as little of the output matrix as is enough.
    [[nodiscard]] result<token> choose_allowed(const any_chooser& choose) {
        const auto allowed = choose.allowed();
        if (!allowed) {
            return failed(allowed);
        }
        if (allowed->count == 0) {
            return error{errc::no_token_left, "session: no token is allowed"};
        }
        if (allowed->count == 1 && !allowed->few.empty()) {
            const scored_token only{static_cast<token>(allowed->few[0]), 0.0f};
            return choose.choose(std::span(&only, 1));
        }
        if (const auto few = logits_among(*allowed, choose.needs())) {
            return choose.choose(*few);
        }
        if (auto ran = run_head(0); !ran) {
            return failed(ran);
        }
        return choose.choose(all_logits());
    }
    /// Logits of tokens that are allowed, the `needed` largest at least; nullopt where all logits have to do.
    [[nodiscard]] std::optional<std::span<const scored_token>> logits_among(const allowed_tokens& allowed,
                                                                            std::size_t needed) noexcept {
        if (logits_.has()) {
            return std::nullopt;
        }
        workspace& space = *space_;
        space.pass.drop_head();
        if (!allowed.few.empty() && space.forward->has_listed_logits()) {
            space.forward->listed_logits(space.pool.ref(), last_row_, allowed.few, space.listed_values.data());
            for (std::size_t i = 0; i < allowed.few.size(); ++i) {
                space.listed[i] = {static_cast<token>(allowed.few[i]), space.listed_values[i]};
            }
            return space.listed.span().first(allowed.few.size());
        }
        if (!is_screened(needed) || needed > allowed.count) {
            return std::nullopt;
        }
        if (space.ahead.wants_bounds()) {
            space.ahead.bound(last_row_, *space.forward,
                              [&](loop_progress&, std::size_t) noexcept { return space.pool.ref(); });
            space.ahead.end_bounds();
        }
        screened_search& search = search_of_last();
        const auto found = search.largest(space.pool.ref(), space.forward->final_state(last_row_), needed, allowed.bits,
                                          space.ahead.has_bounds());
        count(search);
        return found;
    }
    [[nodiscard]] result<void> run_head(std::size_t k) {
        return run_whole([&]() noexcept { return is_head_done(k); });
    }

    /// Goes on with the head for the k largest logits, all of them for 0, until the step ends. \return whether they are
    /// there: found(k), or logits_.
    [[nodiscard]] bool is_head_done(std::size_t k) noexcept {
        workspace& space = *space_;
        if (is_screened(k) && !space.pass.has_begun_logits()) {
            if (!is_search_done(k)) {
                return false;
            }
            if (search_of_last().found()) {
                return true;
            }
        }
        return logits_.has() || are_logits_done();
    }
    /// Goes on with the search for k logits, and before it with the bounds of all rows ahead.
    [[nodiscard]] bool is_search_done(std::size_t k) noexcept {
        workspace& space = *space_;
        if (space.ahead.wants_bounds()) {
            space.ahead.bound(last_row_, *space.forward, [&](loop_progress& progress, std::size_t rows) noexcept {
                return space.steps.resume(progress, {forward_pass::search_stage, rows});
            });
            if (space.steps.is_stopped()) {
                return false;
            }
            space.ahead.end_bounds();
        }
        screened_search& search = search_of_last();
        if (!space.pass.run_search(space.steps, search, space.forward->final_state(last_row_), k,
                                   space.ahead.has_bounds())) {
            return false;
        }
        count(search);
        return true;
    }
    /// Goes on with all logits, and those of rows ahead from the same reading of the output matrix.
    [[nodiscard]] bool are_logits_done() noexcept {
        constexpr std::size_t most = workspace::rows_of_logits;
        workspace& space = *space_;
        const std::size_t together = (std::min)(most, 1 + space.ahead.count());
        std::array<std::size_t, most> rows;
        std::array<float*, most> out;
        for (std::size_t i = 0; i < together; ++i) {
            rows[i] = last_row_ + i;
            out[i] = space.logits.overwrite(i);
        }
        if (!space.pass.run_logits(space.steps, *space.forward, std::span(rows).first(together),
                                   std::span<float* const>(out).first(together))) {
            return false;
        }
        space.ahead.hold_logits(last_row_, together);
        logits_.hold(space.logits[0]);
        return true;
    }
    /// \pre the workspace is this session's
    [[nodiscard]] screened_search& search_of_last() const noexcept {
        return space_->ahead.has_bounds() ? space_->ahead.searches[last_row_] : space_->search;
    }
    void count(screened_search& search) noexcept {
        if (&search != &space_->search) {
            space_->search.take_statistics(search);
        }
    }
    /// Whether the screen is to be searched: not without one, while it is being made, if k is out of range, or if all
    /// logits are already computed.
    [[nodiscard]] bool is_screened(std::size_t k) const noexcept {
        return model_.screen.is_ready() && !logits_.has() && k != 0 && k <= screened_search::most;
    }
    /// The k largest if the screen has them. \pre the workspace is this session's
    [[nodiscard]] std::optional<std::span<const scored_token>> found(std::size_t k) const noexcept {
        return logits_.has() ? std::nullopt : space_->pass.found(search_of_last(), k);
    }
    [[nodiscard]] std::span<const float> all_logits() const noexcept {
        return {logits_.values(), parameters_.vocabulary};
    }

    [[nodiscard]] std::span<const scored_token> largest_of(std::span<const float> logits, std::size_t k) noexcept {
        const std::span<scored_token> all(space_->largest);
        return all.first(take_largest(logits, all.first(k)));
    }

    /// Whether embedding() is a mean.
    [[nodiscard]] bool has_mean() const noexcept {
        return options_.pooling.value_or(parameters_.pooling) == pooling_type::mean;
    }

    /// Adds the states of `count` rows of a pass, in the order of their positions: the same bits whatever the chunks.
    /// The sum stands for the mean, because only its direction matters.
    void add_states(transformer& pass, std::size_t first, std::size_t count) noexcept {
        if (summed_states_ == 0) {
            std::fill(state_sum_.span().begin(), state_sum_.span().end(), 0.0f);
        }
        for (std::size_t row = first; row < first + count; ++row) {
            pass.add_final_state(row, state_sum_.span());
        }
        summed_states_ += count;
    }

    /// Begins a pass of the first `count` tokens that wait. \pre 1 <= count <= prompt_chunk, and prepare()
    void begin_waiting(std::size_t count) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            space_->rows[i] = {&cache_, &frequencies_, cached_ + i, tokens_[cached_ + i], nullptr, view()};
        }
        begin_pass(count);
    }
    /// A pass of embeddings [rows, hidden]. \pre as above, and nothing waits. \return errc::cancelled
    [[nodiscard]] result<void> run_embeddings(std::span<const float> embeddings) {
        const std::size_t count = embeddings.size() / parameters_.hidden;
        for (std::size_t i = 0; i < count; ++i) {
            space_->rows[i] = {&cache_, &frequencies_, cached_ + i, 0, embeddings.data() + i * parameters_.hidden,
                               view()};
            tokens_[cached_ + i] = no_token;
        }
        begin_pass(count);
        return run_whole([&]() noexcept { return run_pass(); });
    }
    void begin_pass(std::size_t count) noexcept {
        keep_state(); // in case the pass is dropped
        space_->ahead.clear();
        space_->pass.begin(space_->rows.span().first(count));
    }

    /// Goes on with the pass that is under way until the step ends. \return whether it is over.
    [[nodiscard]] bool run_pass() noexcept {
        const std::size_t count = space_->pass.rows() - space_->ahead.planned();
        if (!space_->pass.run(space_->steps, *space_->forward)) {
            return false;
        }
        end_waiting(count);
        last_row_ = count - 1;
        space_->ahead.begin();
        if (has_mean()) {
            add_states(*space_->forward, 0, count);
        }
        return true;
    }
    /// A pass of `count` rows is over: tokens that waited, or else embeddings.
    void end_waiting(std::size_t count) noexcept {
        if (waiting() != 0) {
            queued_ -= count - (pending_ ? 1 : 0);
            pending_.reset();
        }
        cached_ += count;
        state_after_ = cached_;
        logits_.release();
        ++revision_;
    }

    static constexpr std::size_t most_dropped = SIZE_MAX / 2; ///< so that position() does not overflow

    /// Searches for rows ahead, where the model has a screen, or will.
    [[nodiscard]] result<void> open_searches() {
        std::unique_ptr<screened_search[]>& searches = space_->ahead.searches;
        if (!model_.screen.is_expected() || searches != nullptr) {
            return {};
        }
        constexpr std::size_t count = rows_ahead::most + 1;
        std::unique_ptr<screened_search[]> made(new (std::nothrow) screened_search[count]);
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"session: ", count, " searches of the head could not be allocated"})};
        }
        for (std::size_t i = 0; i < count; ++i) {
            auto search = screened_search::open(*model_.tables.loops, model_.tensors.lm_head(), model_.screen.get(),
                                                parameters_.logit_scale, options_.memory);
            if (!search) {
                return failed(search);
            }
            made[i] = *std::move(search);
        }
        searches = std::move(made);
        return {};
    }

    /// Begins the pass of the token that waits with those that the chooser knows to follow it, unless they have run.
    /// Where that fails the token still waits, and what runs it says why.
    void begin_forced(const any_chooser& choose) {
        settle_ahead();
        if (const std::span<const token> next = pending_ ? choose.forced() : std::span<const token>(); !next.empty()) {
            static_cast<void>(begin_guesses(next));
        }
    }
    /// Begins a pass of the token that waits, and `guesses` behind it. \return how many of these it has;
    /// errc::kv_pool_full: all is as it was then
    [[nodiscard]] result<std::size_t> begin_guesses(std::span<const token> guesses) {
        settle_ahead();
        const std::size_t count = usable(guesses);
        if (count == 0) {
            return std::size_t{0};
        }
        if (auto room = make_room(); !room) {
            return failed(room);
        }
        if (auto reserved = cache_.reserve_to_copy(cached_, cached_ + 1 + count); !reserved) {
            return failed(reserved);
        }
        take_workspace();
        workspace& space = *space_;
        for (std::size_t i = 0; i <= count; ++i) {
            space.rows[i] = {&cache_, &frequencies_, cached_ + i, i == 0 ? *pending_ : guesses[i - 1], nullptr, view()};
        }
        begin_pass(1 + count);
        space.ahead.plan(guesses.first(count));
        return count;
    }
    /// \return errc::cancelled: all is as it was before begin_guesses() then
    [[nodiscard]] result<void> run_guesses() {
        auto ran = run_whole([&]() noexcept { return run_pass(); });
        if (!ran) {
            drop_pass();
        }
        return ran;
    }

    /// Before anything that waits runs: where its first token is the one that a row ahead is of, that row has run, and
    /// otherwise the rows ahead are none any more. Comes before what reserves positions, which are taken here.
    void settle_ahead() noexcept {
        if (space_->owner != this || space_->ahead.count() == 0 || waiting() == 0) {
            return;
        }
        if (!pending_ || !space_->ahead.is_next(*pending_)) {
            return drop_ahead();
        }
        space_->pass.drop_head();
        space_->ahead.take();
        end_waiting(1);
        ++last_row_;
        if (space_->ahead.has_logits(last_row_)) {
            logits_.hold(space_->logits[last_row_ - space_->ahead.first_logits()]);
        }
    }
    void drop_ahead() noexcept {
        if (space_->owner == this && space_->ahead.count() != 0) {
            space_->pass.drop_head();
            space_->ahead.drop();
            cache_.keep(end());
        }
    }

    model_parts model_;
    const hyper_parameters& parameters_;
    const rotary_frequencies& frequencies_;
    workspace_share space_;
    kv_cache cache_;
    buffer<token> tokens_; ///< [token_places()]: kept() that are part of the sequence, then the queue
    buffer<float> state_;  ///< [hidden]: of the last token, while a pass or another session has the workspace
    bool has_state_ = false;
    held_logits logits_; ///< those of the last token
    const std::atomic<bool>* cancel_ = nullptr;
    std::size_t last_row_ = 0; ///< of the last pass
    std::uint64_t revision_ = 0;
    std::size_t state_after_ = 0; ///< how many positions the last state has seen
    buffer<float> state_sum_;     ///< [hidden] if embedding() is a mean
    std::size_t summed_states_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
