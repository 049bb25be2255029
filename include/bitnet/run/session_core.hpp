// SPDX-License-Identifier: MIT
// session_core: what any_session and session<P> hold, compiled once for all engines.
#ifndef BITNET_RUN_SESSION_CORE_HPP
#define BITNET_RUN_SESSION_CORE_HPP

#include <bitnet/checkpoint/hyper_parameters.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screened_search.hpp>
#include <bitnet/model/sequence_row.hpp>
#include <bitnet/model/transformer.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/complete_options.hpp>
#include <bitnet/run/fed_embeddings.hpp>
#include <bitnet/run/guess_pass.hpp>
#include <bitnet/run/last_logits.hpp>
#include <bitnet/run/last_state.hpp>
#include <bitnet/run/logits_rows.hpp>
#include <bitnet/run/logprobs.hpp>
#include <bitnet/run/logprobs_of_all.hpp>
#include <bitnet/run/model_parts.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/sequence_feed.hpp>
#include <bitnet/run/sequence_pass.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/session_save.hpp>
#include <bitnet/run/session_steps.hpp>
#include <bitnet/run/token_choice.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/token_sequence.hpp>
#include <bitnet/run/workspace.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/thread/pool.hpp>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// The parts of a session, each with a header of its own, and the order in which calls take them: tokens come in
/// (sequence_feed) and wait (token_sequence), guesses that came true are taken over (guess_pass), what waits runs
/// (sequence_pass, in session_steps) and leaves a state (last_state), of which the head says what comes next
/// (last_logits), and a chooser takes that (token_choice).
class session_core final : public session_base {
public:
    [[nodiscard]] static result<std::unique_ptr<session_base>> open(const model_parts& model, session_options options,
                                                                    const pool_ref* borrowed) {
        auto pool = session_pool::open(model.tables, options.threads, options.spin, borrowed);
        if (!pool) {
            return failed(pool);
        }
        options.threads = pool->ref().threads();
        if (auto completed = complete_options(model.parameters, options); !completed) {
            return failed(completed);
        }
        auto space = workspace_share::open(model, options, *std::move(pool));
        if (!space) {
            return failed(space);
        }
        auto made = make(model, options, *std::move(space));
        return made ? result<std::unique_ptr<session_base>>(*std::move(made)) : failed(made);
    }

    // What any_session promises.

    result<void> feed(std::span<const token> tokens, const logits_visitor* visitor) override {
        return guarded([&] {
            auto headed = visitor != nullptr ? check_head() : result<void>{};
            return headed ? feed_.run(tokens, visitor) : std::move(headed);
        });
    }
    result<void> feed_embeddings(std::span<const float> rows) override {
        return guarded([&] { return feed_.run(rows); });
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
            guesses_.begin_forced(choose);
            if (auto ready = ready_for_logits(); !ready) {
                return failed(ready);
            }
            return choose_token(logits_, choose);
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
        return guarded([&] { return feed_.queue(tokens); });
    }
    result<step_state> step(std::chrono::nanoseconds budget, const any_chooser* choose) override {
        steps_.start(budget);
        return guarded([&] { return run_step(choose); });
    }
    result<void> reserve_ahead() override {
        return guarded([&] { return guesses_.reserve(model_, options_.memory); });
    }
    std::size_t queue_ahead(std::span<const token> guesses) override {
        const auto begun = guarded([&] { return guesses_.begin(guesses); });
        return begun ? *begun : 0;
    }
    std::size_t run_ahead(std::span<const token> guesses) override {
        const std::size_t count = queue_ahead(guesses);
        return count != 0 && guarded([&] { return guesses_.run(); }) ? count : 0;
    }
    void set_cancel_flag(const std::atomic<bool>* flag) noexcept override { steps_.set_cancel_flag(flag); }

    const screen_statistics& screening() const noexcept override { return space_->search.statistics(); }

    std::span<const token> tokens() const noexcept override { return sequence_.tokens(); }
    std::size_t position() const noexcept override { return sequence_.position(); }
    std::size_t dropped() const noexcept override { return sequence_.dropped(); }
    std::size_t sinks() const noexcept override { return sequence_.sinks(); }
    std::size_t queued() const noexcept override { return sequence_.queued(); }
    std::size_t context() const noexcept override { return sequence_.context(); }
    std::size_t threads() const noexcept override { return options_.threads.value_or(1); }
    const std::optional<token>& pending() const noexcept override { return sequence_.pending(); }
    stop_reason stopped_by() const noexcept override { return stopped_by_; }
    const error& last_error() const noexcept override { return last_error_; }

    result<void> rewind(std::size_t position) override {
        return guarded([&] { return go_back(position); });
    }
    bool can_rewind(std::size_t to) const noexcept override { return sequence_.can_go_back(to); }
    std::uint64_t saved_bytes(const save_options& options) const noexcept override {
        return session_save(model_, sequence_, state_).bytes(options);
    }
    result<void> save(byte_sink sink, const save_options& options) const override {
        return guarded([&] { return session_save(model_, sequence_, state_).write(sink, options); });
    }
    result<void> restore(std::span<const std::byte> saved, std::string_view name) override {
        return guarded([&] { return take_saved(saved, name); });
    }
    result<std::unique_ptr<session_base>> fork() override {
        return guarded([&] { return make_fork(); });
    }
    void reset() noexcept override {
        state_.clear();
        sequence_.clear();
        stopped_by_ = stop_reason::none;
    }

    // For batches, which run a row of each of several sessions.

    [[nodiscard]] bool is_of(const hyper_parameters& parameters) const noexcept { return &parameters_ == &parameters; }
    [[nodiscard]] std::size_t cached() const noexcept { return sequence_.cached(); }
    [[nodiscard]] bool has_place() const noexcept { return sequence_.has_place(); }
    /// Before a step: room for one position. \return errc::kv_pool_full.
    [[nodiscard]] result<void> reserve_step() {
        guesses_.drop();
        auto room = sequence_.make_room();
        return room ? sequence_.reserve_single() : std::move(room);
    }
    /// The row of a pass that appends `id`, or `embedding` unless that is null. \pre room in the context, and nothing
    /// queued.
    [[nodiscard]] sequence_row begin_step(token id, const float* embedding) noexcept {
        pass_.drop();
        pass_.drop_head();
        return sequence_.single_row(id, embedding);
    }
    /// After that pass: takes over the state of its row `index` and the logits that were made of it.
    void end_step(transformer& pass, std::size_t index, logits_row& logits) noexcept {
        end_rows(pass, index, 1);
        state_.logits().hold(logits);
    }

    // For schedulers, which run the rows of several sessions in passes of their own.

    [[nodiscard]] std::uint64_t revision() const noexcept { return sequence_.revision(); }
    [[nodiscard]] bool is_cancelled() const noexcept { return steps_.is_flagged(); }
    [[nodiscard]] bool is_full() const noexcept { return sequence_.is_full(); }
    [[nodiscard]] std::size_t next_room() const noexcept { return sequence_.next_room(); }
    /// Tokens that have not run, from cached() on: the one that next() gave, and the queue.
    [[nodiscard]] std::size_t waiting() const noexcept { return sequence_.waiting(); }
    /// Gives up what a step of its own has begun. \param wants_state whether the last token waits again if nothing does
    /// and its state is gone. \return errc::nothing_fed, errc::invalid_argument.
    [[nodiscard]] result<void> prepare_for_pass(bool wants_state) {
        pass_.drop();
        pass_.drop_head();
        guesses_.drop();
        if (sequence_.end() == 0) {
            return nothing_fed();
        }
        return wants_state ? wait_for_state() : result<void>{};
    }
    /// Room for the first `count` of waiting(). \return errc::kv_pool_full.
    [[nodiscard]] result<void> reserve_rows(std::size_t count) {
        auto room = count != 0 ? sequence_.make_room() : result<void>{};
        return room ? sequence_.reserve_to(cached() + count) : std::move(room);
    }
    /// The first rows.size() of waiting(). \pre there is room for them
    void write_rows(std::span<sequence_row> rows) noexcept { sequence_.write_waiting(rows); }
    [[nodiscard]] std::size_t usable(std::span<const token> guesses) const noexcept { return guesses_.usable(guesses); }
    /// Rows of guesses behind the one of the token that waits. \pre they are usable(), and there is room
    void write_ahead(std::span<const token> guesses, std::span<sequence_row> rows) noexcept {
        sequence_.write_ahead(guesses, rows);
    }
    /// Gives up the room of those that were wrong.
    void drop_rows_ahead() noexcept {
        if (!pass_.is_under_way()) {
            sequence_.give_up_rest();
        }
    }
    /// After a pass of them: takes over the state of the last one. \param first of its rows. \pre count > 0
    void end_rows(transformer& pass, std::size_t first, std::size_t count) noexcept {
        pass_.end_rows(pass, first, count);
    }
    /// The state [hidden] of the last token as the layers left it. \pre nothing waits after prepare_for_pass(true)
    [[nodiscard]] const float* state() noexcept { return state_.aside(); }
    /// What next() does with the token that `choose` chose.
    std::optional<token> take(any_chooser choose, token chosen) noexcept {
        if (!is_token_of(parameters_.vocabulary, chosen)) {
            return stopped(
                failed(guarded([&]() -> result<void> { return not_a_token(parameters_.vocabulary, chosen); })));
        }
        choose.accept(chosen);
        sequence_.give(chosen);
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

private:
    session_core(const model_parts& model, const session_options& options, workspace_share space,
                 token_sequence sequence, state_memory memory) noexcept
        : model_(model), parameters_(model.parameters), options_(options), space_(std::move(space)),
          steps_(space_->steps), sequence_(std::move(sequence)), state_(*space_, std::move(memory)),
          pass_(*space_, steps_, sequence_, state_), guesses_(*space_, parameters_, sequence_, state_, pass_),
          logits_(*space_, steps_, state_, model_), feed_(parameters_, sequence_, state_, pass_, guesses_, logits_) {}

    /// \return errc::out_of_memory, errc::invalid_argument for a KV pool of another model
    [[nodiscard]] static result<std::unique_ptr<session_core>>
    make(const model_parts& model, const session_options& options, workspace_share space) {
        auto sequence = token_sequence::open(model, options);
        if (!sequence) {
            return failed(sequence);
        }
        auto memory =
            state_memory::open(model.parameters.hidden, has_mean(model.parameters, options), session_scratch(options));
        if (!memory) {
            return failed(memory);
        }
        std::unique_ptr<session_core> made(new (std::nothrow) session_core(model, options, std::move(space),
                                                                           *std::move(sequence), *std::move(memory)));
        if (made == nullptr) {
            return error{errc::out_of_memory,
                         sentence({"session: ", sizeof(session_core), " bytes could not be allocated"})};
        }
        return made;
    }

    // Running what waits.

    [[nodiscard]] result<step_state> run_step(const any_chooser* choose) {
        if (auto headed = choose != nullptr ? check_head() : result<void>{}; !headed) {
            return failed(headed);
        }
        if (choose != nullptr && sequence_.end() == 0) {
            return nothing_fed();
        }
        const bool is_asked = choose != nullptr && !is_full();
        if (!is_asked && waiting() == 0) {
            return step_state::ready;
        }
        if (is_asked) {
            guesses_.begin_forced(*choose);
        }
        if (auto prepared = prepare(is_asked); !prepared) {
            return failed(prepared);
        }
        const auto ran = pass_.run_waiting_in_step();
        if (!ran) {
            return failed(ran);
        }
        // A chooser that allows some needs little of the head, if any, and that is known in next() only.
        const bool is_done = *ran && (!is_asked || choose->is_constrained() || logits_.run_in_step(choose->needs()));
        return is_done ? step_state::ready : steps_.stopped();
    }

    /// Runs all that waits. \return errc::nothing_fed before the first token.
    [[nodiscard]] result<void> ready() {
        if (sequence_.end() == 0) {
            return nothing_fed();
        }
        auto prepared = prepare(true);
        return prepared ? pass_.run_waiting() : std::move(prepared);
    }
    [[nodiscard]] result<void> ready_for_logits() {
        auto headed = check_head();
        return headed ? ready() : std::move(headed);
    }
    /// Before what waits runs. \param wants_state whether the last token waits again if its state is gone.
    [[nodiscard]] result<void> prepare(bool wants_state) {
        if (auto waits = wants_state ? wait_for_state() : result<void>{}; !waits) {
            return waits;
        }
        guesses_.settle();
        if (auto reserved = sequence_.reserve_to(sequence_.end()); !reserved) {
            return reserved;
        }
        state_.take_workspace();
        return {};
    }
    /// If nothing waits and the state of the last token is gone, as after a rewind, that token waits.
    /// \return errc::invalid_argument.
    [[nodiscard]] result<void> wait_for_state() {
        return waiting() == 0 && !state_.is_there() ? sequence_.wait_again() : result<void>{};
    }

    // What is asked of the last token.

    [[nodiscard]] result<std::span<const float>> logits_of_last() {
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        if (auto computed = logits_.run(0); !computed) {
            return failed(computed);
        }
        return logits_.all();
    }

    [[nodiscard]] result<std::span<const scored_token>> largest_of_last(std::size_t k) {
        if (k == 0 || k > screened_search::most) {
            return error{errc::invalid_argument, sentence({"session: the ", k, " largest logits were asked for, 1 to ",
                                                           screened_search::most, " are possible"})};
        }
        if (auto ready = ready_for_logits(); !ready) {
            return failed(ready);
        }
        if (auto computed = logits_.run(k); !computed) {
            return failed(computed);
        }
        return logits_.largest(k);
    }

    [[nodiscard]] result<token_logprob> logprobs_of_pending(std::span<token_logprob> largest) {
        if (auto headed = check_head(); !headed) {
            return failed(headed);
        }
        if (!pending() || !state_.is_there()) {
            return error{errc::invalid_argument, "session: logprobs are those of the token that next() gave last, and "
                                                 "there is none, or it has run already"};
        }
        const std::size_t most = (std::min)(screened_search::most, parameters_.vocabulary);
        if (largest.size() > most) {
            return error{errc::invalid_argument,
                         sentence({"session: the ", largest.size(), " largest logprobs were asked for, up to ", most,
                                   " are possible"})};
        }
        pass_.drop();
        state_.take_workspace();
        if (auto computed = logits_.run(0); !computed) {
            return failed(computed);
        }
        const log_normalizer normalizer = normalizer_of(*model_.tables.loops, logits_.all());
        if (!largest.empty()) {
            const auto found = logits_.largest_of_all(largest.size());
            for (std::size_t i = 0; i < found.size(); ++i) {
                largest[i] = {found[i].id, normalizer.logprob(found[i].logit)};
            }
        }
        return token_logprob{*pending(), normalizer.logprob(logits_.all()[static_cast<std::size_t>(*pending())])};
    }

    [[nodiscard]] result<std::span<const float>> unit_state() {
        if (auto done = ready(); !done) {
            return failed(done);
        }
        pass_.drop_head();
        return space_->forward->normalized(state_.pooled());
    }

    // Going back, forks and saves.

    [[nodiscard]] result<void> go_back(std::size_t to) {
        if (to == 0) {
            reset();
            return {};
        }
        if (to < position() && state_.has_mean()) {
            return error{errc::invalid_argument, "session: the embedding is a mean of states, of which none can be "
                                                 "taken out; reset() starts anew"};
        }
        if (auto checked = sequence_.check_position(to); !checked) {
            return checked;
        }
        if (queued() != 0) {
            feed_.drop_queue();
        }
        if (to == position()) {
            return {};
        }
        pass_.drop();
        pass_.drop_head();
        guesses_.drop();
        stopped_by_ = stop_reason::none;
        if (to != dropped() + cached()) { // not the pending token alone
            state_.lose();
        }
        sequence_.go_back(to);
        return {};
    }

    [[nodiscard]] result<std::unique_ptr<session_base>> make_fork() {
        auto made = make(model_, options_, space_.again());
        if (!made) {
            return failed(made);
        }
        session_core& copy = **made;
        if (auto copied = copy.sequence_.copy(sequence_); !copied) {
            return failed(copied);
        }
        state_.take_workspace();
        pass_.drop();
        copy.state_.copy(state_);
        return std::unique_ptr<session_base>(*std::move(made));
    }

    [[nodiscard]] result<void> take_saved(std::span<const std::byte> bytes, std::string_view name) {
        const auto saved = session_save(model_, sequence_, state_).read(bytes, name);
        if (!saved) {
            return failed(saved);
        }
        if (auto renewed = sequence_.renew(*saved); !renewed) {
            return renewed;
        }
        state_.load(*saved);
        sequence_.load(*saved);
        stopped_by_ = stop_reason::none;
        return {};
    }

    // Checks.

    [[nodiscard]] result<void> check_head() const {
        if (parameters_.is_embedder) {
            return error{errc::no_lm_head,
                         "session: the model is a text embedding model and has no head, so there are no "
                         "logits and no next token; embed() is what it does"};
        }
        return {};
    }
    [[nodiscard]] static error nothing_fed() {
        return {errc::nothing_fed, "session: no token was fed, so there is nothing to continue"};
    }

    model_parts model_;
    const hyper_parameters& parameters_;
    session_options options_; ///< complete
    workspace_share space_;   ///< the parts below borrow of it
    session_steps steps_;
    token_sequence sequence_;
    last_state state_;
    sequence_pass pass_;
    guess_pass guesses_;
    last_logits logits_;
    sequence_feed feed_;
    stop_reason stopped_by_ = stop_reason::none;
    error last_error_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
