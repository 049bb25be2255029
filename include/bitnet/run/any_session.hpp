// SPDX-License-Identifier: MIT
// any_session: one conversation with a model: its position, its KV cache and its working memory.
#ifndef BITNET_RUN_ANY_SESSION_HPP
#define BITNET_RUN_ANY_SESSION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/model/screen_statistics.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/logprobs.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What any_session holds, compiled elsewhere. See any_session for what the functions promise.
class session_base {
public:
    session_base(const session_base&) = delete;
    session_base& operator=(const session_base&) = delete;
    virtual ~session_base() = default;

    /// \param visitor null: none
    [[nodiscard]] virtual result<void> feed(std::span<const token> tokens, const logits_visitor* visitor) = 0;
    [[nodiscard]] virtual result<void> feed_embeddings(std::span<const float> rows) = 0;
    [[nodiscard]] virtual std::optional<token> next(sampler& choose) = 0;
    [[nodiscard]] virtual std::optional<token> next(any_chooser choose) = 0;
    [[nodiscard]] virtual result<std::span<const float>> logits() = 0;
    [[nodiscard]] virtual result<std::span<const scored_token>> largest_logits(std::size_t k) = 0;
    [[nodiscard]] virtual result<token_logprob> logprobs(std::span<token_logprob> largest) = 0;
    [[nodiscard]] virtual result<std::span<const float>> embedding() = 0;
    [[nodiscard]] virtual const screen_statistics& screening() const noexcept = 0;
    [[nodiscard]] virtual result<void> queue(std::span<const token> tokens) = 0;
    /// \param choose null: nothing is asked of the head
    [[nodiscard]] virtual result<step_state> step(std::chrono::nanoseconds budget, const any_chooser* choose) = 0;
    [[nodiscard]] virtual result<void> reserve_ahead() = 0;
    virtual std::size_t queue_ahead(std::span<const token> guesses) = 0;
    virtual std::size_t run_ahead(std::span<const token> guesses) = 0;
    virtual void set_cancel_flag(const std::atomic<bool>* flag) noexcept = 0;
    virtual void reset() noexcept = 0;
    [[nodiscard]] virtual result<void> rewind(std::size_t position) = 0;
    [[nodiscard]] virtual bool can_rewind(std::size_t position) const noexcept = 0;
    [[nodiscard]] virtual result<std::unique_ptr<session_base>> fork() = 0;
    [[nodiscard]] virtual std::span<const token> tokens() const noexcept = 0;
    [[nodiscard]] virtual std::uint64_t saved_bytes(const save_options& options) const noexcept = 0;
    [[nodiscard]] virtual result<void> save(byte_sink sink, const save_options& options) const = 0;
    [[nodiscard]] virtual result<void> restore(std::span<const std::byte> saved, std::string_view name) = 0;
    [[nodiscard]] virtual std::size_t position() const noexcept = 0;
    [[nodiscard]] virtual std::size_t dropped() const noexcept = 0;
    [[nodiscard]] virtual std::size_t sinks() const noexcept = 0;
    [[nodiscard]] virtual std::size_t queued() const noexcept = 0;
    [[nodiscard]] virtual std::size_t context() const noexcept = 0;
    [[nodiscard]] virtual std::size_t threads() const noexcept = 0;
    [[nodiscard]] virtual const std::optional<token>& pending() const noexcept = 0;
    [[nodiscard]] virtual stop_reason stopped_by() const noexcept = 0;
    [[nodiscard]] virtual const error& last_error() const noexcept = 0;

protected:
    session_base() noexcept = default;
};

} // namespace detail

/// Borrows the model, which must outlive it. Move-only, and belongs to one thread at a time. Allocates in open() only:
/// 2 * layers * context * kv_heads * head_size elements of the policy's kv_element, scratch for `prompt_chunk` rows
/// (under 150 KiB a row for the 2B model), and eight rows of logits.
class any_session {
public:
    /// \return errc::invalid_argument (a context beyond the model's, no threads, no prompt chunk, a pooling other than
    /// mean and last), errc::out_of_memory with the bytes asked for, errc::thread_error.
    [[nodiscard]] static result<any_session> open(const any_model& opened, const session_options& options = {}) {
        return made(opened.base().open_session(options, nullptr));
    }
    /// The same on the caller's pool or job system, any loop_runner, which must outlive the session; options.threads is
    /// not used. Sessions that share a pool take turns: a pool runs one loop at a time.
    [[nodiscard]] static result<any_session> open(const any_model& opened, pool_ref pool,
                                                  const session_options& options = {}) {
        return made(opened.base().open_session(options, &pool));
    }
    static result<any_session> open(any_model&&, const session_options& = {}) = delete;           // would dangle
    static result<any_session> open(any_model&&, pool_ref, const session_options& = {}) = delete; // would dangle

    /// Appends tokens to the sequence and runs them through the model, `prompt_chunk` at a time.
    /// \return errc::invalid_token, errc::context_full if position() + tokens.size() exceeds the context; nothing is
    /// fed then, and the session goes on as it was. With a window there is always room, but pages that are shared with
    /// a fork are replaced as they are dropped: errc::kv_pool_full is as errc::cancelled then, see set_cancel_flag().
    [[nodiscard]] result<void> feed(std::span<const token> tokens) { return base_->feed(tokens, nullptr); }

    /// The same, and visits the logits [vocabulary] after each of `tokens`: visit(index, span<const float>). Reads the
    /// output matrix once for eight tokens.
    template <class Visit> [[nodiscard]] result<void> feed_each(std::span<const token> tokens, Visit&& visit) {
        const logits_visitor visitor = detail::visitor_of(visit);
        return base_->feed(tokens, &visitor);
    }

    /// Appends embeddings `rows` [n, hidden] in place of tokens, as front ends for speech and images make them, each as
    /// the first layer takes it: a token's would be its row of token_embd.weight times
    /// hyper_parameters::embedding_scale, and then the bits are those of feeding the token.
    /// \return errc::invalid_argument if rows.size() is no multiple of the hidden size or a number is not finite,
    /// errc::context_full; nothing is fed then, and the session goes on as it was.
    [[nodiscard]] result<void> feed_embeddings(std::span<const float> rows) { return base_->feed_embeddings(rows); }

    /// The next token; nullopt at a stop token, at the end of the context and after an error. stopped_by() says which,
    /// last_error() has the sentence. The token is part of the sequence from here on; it runs through the model with
    /// the following call. After nullopt the session can be fed and asked again.
    /// \pre `choose` was opened for this model's vocabulary size.
    [[nodiscard]] std::optional<token> next(sampler& choose) { return base_->next(choose); }
    /// The same by a chooser of the program's own: see token_chooser.
    template <token_chooser Chooser> [[nodiscard]] std::optional<token> next(Chooser& choose) {
        return base_->next(any_chooser(choose));
    }

    /// Accepts tokens as feed() does, and computes nothing: step() does, or else the next call that needs them. They
    /// are part of the sequence, and counted by position(), once they have run; rewind() and reset() drop those that
    /// have not. With a window there is room for at least `context` tokens in the queue. \return as feed(); nothing is
    /// queued then.
    [[nodiscard]] result<void> queue(std::span<const token> tokens) { return base_->queue(tokens); }
    /// Tokens in the queue.
    [[nodiscard]] std::size_t queued() const noexcept { return base_->queued(); }

    /// Runs the token that next() gave, then the queue, and returns before `budget` is used up: what goes on takes its
    /// time, measured before, into account, and where it is too long stops in a prompt, a layer or a product. It runs
    /// something each time, however small the budget, so that enough calls get to the end. The bits are those of calls
    /// that do not stop. Any other call finishes first what it needs. A fork that is used in between shares the
    /// working memory: what was begun of a pass, at most prompt_chunk tokens through the layers, starts again.
    /// \return working while there is more to do; errc::cancelled, errc::kv_pool_full; the queue stays as it is then.
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget) { return base_->step(budget, nullptr); }
    /// The same, and goes on with the logits that `choose` needs, so that next(choose) has no more to do than to
    /// choose. \return also errc::nothing_fed, errc::no_lm_head.
    template <token_chooser Chooser>
    [[nodiscard]] result<step_state> step(std::chrono::nanoseconds budget, Chooser& choose) {
        const any_chooser erased(choose);
        return base_->step(budget, &erased);
    }

    /// Runs the token that next() gave, and `guesses` for those that follow it, in one pass: as long as next() gives
    /// these, it has nothing to run. Changes no token and no logit, whatever the guesses are: what next() gives
    /// otherwise goes on in their place. Runs as many as have room in the context, in the kv_pool and in a pass of
    /// prompt_chunk and of 16 rows, and none from an id on that the vocabulary lacks. \return how many ran. 0 also if
    /// no token waits, or some do in the queue; if the last guesses are not used up; if embedding() is a mean; if
    /// cancelled.
    std::size_t run_ahead(std::span<const token> guesses) { return base_->run_ahead(guesses); }
    /// The same, and computes nothing: what needs the token that next() gave runs the guesses with it, step() within
    /// its budget. \return how many will run, unless what comes next takes the token back, or a fork, a batch or a
    /// scheduler works first. See speculation, which calls it.
    std::size_t queue_ahead(std::span<const token> guesses) { return base_->queue_ahead(guesses); }
    /// Allocates, once, what lets rows of guesses read the screen of the head together: where a model has one, some 6
    /// bytes for each of its rows and guess. Without it each reads the screen when next() comes to it. \return
    /// errc::out_of_memory.
    [[nodiscard]] result<void> reserve_ahead() { return base_->reserve_ahead(); }

    /// From here on `*flag`, which another thread may set, stops what computes, within milliseconds, until it is false
    /// again; null: no flag, as after opening, and in a fork. The flag outlives its use here.
    /// feed(), feed_each() and feed_embeddings() return errc::cancelled: the sequence has what ran of their tokens, all
    /// together prompt_chunk at a time, as position() says, and not the rest. next() returns nullopt, and stopped_by()
    /// is stop_reason::cancelled; logits() and the like and step() return errc::cancelled. Those lose nothing: the
    /// queue stays, and rewind(position()) drops it.
    void set_cancel_flag(const std::atomic<bool>* flag) noexcept { base_->set_cancel_flag(flag); }

    /// The logits [vocabulary] after the last token. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token, errc::no_lm_head from a text embedding model.
    [[nodiscard]] result<std::span<const float>> logits() { return base_->logits(); }

    /// The k largest logits after the last token, the largest first, the lower id on ties; all if the vocabulary is
    /// smaller. The same bits as in logits(), and if the model has a screen mostly without reading the whole output
    /// matrix. Valid until the next call that is not const.
    /// \return errc::nothing_fed, errc::no_lm_head, errc::invalid_argument unless 1 <= k <= 256.
    [[nodiscard]] result<std::span<const scored_token>> largest_logits(std::size_t k) {
        return base_->largest_logits(k);
    }

    /// The logprob of the token that next() gave last (a stop token, too), relative to all tokens: of what the model
    /// says, before biases, penalties and temperature. Writes the largest.size() largest logprobs at that place to
    /// `largest`, the largest first, the lower id on ties. To be asked before the token runs, which happens with the
    /// next call of next(), feed() or logits(). The same bits on every instruction set, with any number of threads; the
    /// error is below 4e-6 and a float's rounding. Cost: the whole output matrix is read, unless logits() was called
    /// before next() or next() read it because its chooser needed all; and one exponential for each token of the
    /// vocabulary. \return errc::invalid_argument if next() has given no token that is still to run, or if more than
    /// 256 or than the vocabulary has are asked for; errc::no_lm_head.
    [[nodiscard]] result<token_logprob> logprobs(std::span<token_logprob> largest = {}) {
        return base_->logprobs(largest);
    }

    /// The embedding [hidden] of the sequence, for which text embedding models are trained: the mean of the hidden
    /// states of all tokens after the last norm, or the last token's, as the file or session_options::pooling says,
    /// scaled to length one. The dot product of two is their cosine. Valid until the next call that is not const.
    /// \return errc::nothing_fed before the first token.
    [[nodiscard]] result<std::span<const float>> embedding() { return base_->embedding(); }

    /// The embedding [hidden] of a sequence of its own: reset(), feed(tokens), embedding(). Of a text, see
    /// tokens_to_embed(). \return what these return.
    [[nodiscard]] result<std::span<const float>> embed(std::span<const token> tokens) {
        reset();
        if (auto fed = feed(tokens); !fed) {
            return failed(fed);
        }
        return embedding();
    }

    /// What finding the largest logits has cost so far; all zero without a screen.
    [[nodiscard]] const screen_statistics& screening() const noexcept { return base_->screening(); }

    /// Tokens in the sequence: those fed, embeddings included, and those that next() gave; without the queue. With a
    /// window those that were dropped count, too, so that it passes the context.
    [[nodiscard]] std::size_t position() const noexcept { return base_->position(); }
    /// How many of these a window has dropped: positions [sinks(), sinks() + dropped()). A multiple of 256.
    [[nodiscard]] std::size_t dropped() const noexcept { return base_->dropped(); }
    /// Positions at the front that are never dropped; 0 without a window.
    [[nodiscard]] std::size_t sinks() const noexcept { return base_->sinks(); }
    [[nodiscard]] std::size_t context() const noexcept { return base_->context(); }
    [[nodiscard]] std::size_t threads() const noexcept { return base_->threads(); }
    /// The token that next() gave and that has not run yet; nullopt if there is none.
    [[nodiscard]] const std::optional<token>& pending() const noexcept { return base_->pending(); }

    [[nodiscard]] stop_reason stopped_by() const noexcept { return base_->stopped_by(); }
    /// \pre stopped_by() == stop_reason::error
    [[nodiscard]] const error& last_error() const noexcept { return base_->last_error(); }

    /// The tokens of the sequence, position() of them without dropped(): those of the sinks, then those of the window.
    /// no_token where something else than a token was fed.
    [[nodiscard]] std::span<const token> tokens() const noexcept { return base_->tokens(); }

    /// Forgets the tokens from `position` on, and the queue; what follows has the bits of a session that never had
    /// them. The last token that is kept runs once more if nothing is fed before the next one is asked for. \return
    /// errc::invalid_argument if there are fewer tokens, or if embedding() is a mean, which nothing can be taken out
    /// of, or if a window has dropped what was seen at `position`: see can_rewind(). Nothing is forgotten then.
    [[nodiscard]] result<void> rewind(std::size_t position) { return base_->rewind(position); }
    /// Whether rewind(position) finds what it needs: always, if there are as many tokens, until a window has dropped
    /// something. After that for positions up to sinks(), and for those behind the first one of the last page.
    [[nodiscard]] bool can_rewind(std::size_t position) const noexcept { return base_->can_rewind(position); }

    /// A session with the same tokens that goes its own way. It shares threads and working memory with this one, so
    /// that both belong to one thread at a time, and a call of one ends the life of what the other's logits() gave. In
    /// a kv_pool it shares the pages, too, and copies the last one when one of the two writes it: see kv_pool for a
    /// prefix that many share. Without a pool keys and values are copied. Beside them a fork takes 4 bytes a position
    /// of its context and 4 a value of its hidden state. The queue stays with this session. \return
    /// errc::out_of_memory, errc::kv_pool_full.
    [[nodiscard]] result<any_session> fork() { return made(base_->fork()); }

    /// Writes the session as it is: its tokens, those that are queued too, what it needs to go on with the same bits,
    /// and by default its keys and values, as they are. A save is the same on every machine and instruction set, and
    /// does not depend on the context or the kv_pool, until a window has dropped something; its layout is in
    /// run/saved_session.hpp. Allocates nothing itself. The session is not changed.
    /// \return what the sink returns, and errc::invalid_argument if keys and values are left out and embeddings were
    /// fed or a window has dropped something: they cannot be computed again then.
    [[nodiscard]] result<void> save(byte_sink sink, const save_options& options = {}) const {
        return base_->save(sink, options);
    }
    /// Bytes that save() writes.
    [[nodiscard]] std::uint64_t saved_bytes(const save_options& options = {}) const noexcept {
        return base_->saved_bytes(options);
    }

    /// Becomes the session that was saved and forgets its own tokens; what follows has the bits that would have
    /// followed there. Without keys and values all tokens are queued: step() runs them within a budget, and what needs
    /// them otherwise. stopped_by() is none afterwards. Reads `saved` twice: every checksum is compared before anything
    /// is changed. Allocates nothing. \param saved all bytes of one save, which do not change meanwhile \param name
    /// what error messages call them, the file's name for instance \return errc::truncated, bad_magic, bad_version,
    /// bad_checksum, inconsistent or invalid_token for what is no whole save; wrong_model for one of another model, or
    /// of other elements of keys and values, rounding of activations, pooling, rotation of longrope, or of
    /// another window that has dropped something; context_full, kv_pool_full. The session goes on as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> saved, std::string_view name = "saved session") {
        return base_->restore(saved, name);
    }

    /// Starts an empty sequence. Frees and allocates nothing.
    void reset() noexcept { base_->reset(); }

    /// The library's own: for any_batch.
    [[nodiscard]] detail::session_base& base() noexcept { return *base_; }

private:
    explicit any_session(std::unique_ptr<detail::session_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<any_session> made(result<std::unique_ptr<detail::session_base>> opened) {
        return opened ? result<any_session>(any_session(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::session_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
