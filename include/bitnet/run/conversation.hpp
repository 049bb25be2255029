// SPDX-License-Identifier: MIT
// conversation: a dialog with a model: what is said, what it answers, and what becomes of both.
#ifndef BITNET_RUN_CONVERSATION_HPP
#define BITNET_RUN_CONVERSATION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/byte_sink.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/any_session.hpp>
#include <bitnet/run/conversation_options.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/save_options.hpp>
#include <bitnet/run/speaker.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/thread/pool.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// What conversation holds. See there for what the functions promise.
class conversation_base : public speaker {
public:
    conversation_base(const conversation_base&) = delete;
    conversation_base& operator=(const conversation_base&) = delete;
    virtual ~conversation_base() = default;

    [[nodiscard]] virtual result<void> say(std::string_view text, std::string_view begun) = 0;
    [[nodiscard]] virtual result<void> add(const chat_message& message) = 0;
    [[nodiscard]] virtual result<void> say_results(std::span<const std::string> results) = 0;
    [[nodiscard]] virtual result<void> choose_calls(const tool_choice& choice) = 0;
    [[nodiscard]] virtual result<void> begin_answer(std::string_view begun) = 0;
    [[nodiscard]] virtual result<void> regenerate() = 0;
    [[nodiscard]] virtual result<void> edit(std::size_t turn, std::string_view text) = 0;
    [[nodiscard]] virtual result<void> rewind(std::size_t turns) = 0;
    [[nodiscard]] virtual result<void> reset() = 0;
    [[nodiscard]] virtual result<conversation_state> step(std::chrono::nanoseconds budget) = 0;
    [[nodiscard]] virtual result<answer_end> answer(text_visitor on_text) = 0;
    [[nodiscard]] virtual std::string_view take_text() noexcept = 0;
    virtual void cancel() noexcept = 0;
    [[nodiscard]] virtual result<void> retry() = 0;
    [[nodiscard]] virtual result<std::unique_ptr<conversation_base>> fork(std::optional<std::uint64_t> seed) = 0;
    [[nodiscard]] virtual result<void> save(byte_sink sink, const save_options& options) = 0;
    [[nodiscard]] virtual result<void> restore(std::span<const std::byte> saved, std::string_view name) = 0;
    virtual void choose_with(std::optional<any_chooser> chooser) noexcept = 0;
    [[nodiscard]] virtual conversation_state state() const noexcept = 0;
    [[nodiscard]] virtual answer_end ended_by() const noexcept = 0;
    [[nodiscard]] virtual const error& last_error() const noexcept = 0;
    [[nodiscard]] virtual bool is_in_thought() const noexcept = 0;
    [[nodiscard]] virtual std::span<const conversation_turn> history() const noexcept = 0;
    [[nodiscard]] virtual std::size_t dropped() const noexcept = 0;
    [[nodiscard]] virtual std::span<const token> tokens() const noexcept = 0;
    [[nodiscard]] virtual std::size_t prompt_tokens() const noexcept = 0;
    [[nodiscard]] virtual std::size_t answer_tokens() const noexcept = 0;
    [[nodiscard]] virtual const chat_template& format() const noexcept = 0;
    [[nodiscard]] virtual const sampler& chooses() const noexcept = 0;
    [[nodiscard]] virtual speculation_statistics speculated() const noexcept = 0;

    [[nodiscard]] std::span<const conversation_turn::call> calls() const noexcept {
        const std::span<const conversation_turn> turns = history();
        return turns.empty() ? std::span<const conversation_turn::call>() : turns.back().calls;
    }

protected:
    conversation_base() noexcept = default;
};

} // namespace detail

/// A dialog with a model, and all that it takes: a session, a sampler, the chat format. What a user says is never a
/// control token, only what is new is computed, and what the model writes comes as text.
///
///     auto talk = conversation::open(model, {.system = "You tell fairy tales."});
///     talk->say("Who lived in the castle?");
///     talk->answer([](std::string_view text) { std::cout << text; });
///
/// or, in a loop that cannot wait:
///
///     talk->step(std::chrono::milliseconds(2));
///     label += talk->take_text();
///
/// The tokens are those of a session that was fed the dialog by hand, whatever the steps, and whatever was said, taken
/// back or changed before. What fails changes nothing. Borrows the model, which must outlive it; move-only. Belongs to
/// one thread at a time, but for cancel(). step(), take() and take_text() allocate nothing once an answer was begun,
/// but where a stop text is cut off, where turns are dropped, for text of more than 8 bytes a token, and with a window
/// for an answer that is longer than the context; the other functions allocate what the texts of the dialog need.
class conversation final : public speaker {
public:
    /// Reads nothing yet: the system's turn is run by the first step(), or with what is said first. \tparam Ladder of
    /// the compiled_for that the program has; the model may be of another
    /// \return errc::no_lm_head from a text embedding model, errc::invalid_argument for a model without tokenizer; what
    /// any_model::chat, any_session::open, sampler::open, chat_template::open_dialog and stop_texts::open return;
    /// errc::context_full if the context has no room for the system's turn; with a window errc::invalid_argument if it
    /// leaves no page of 256 positions behind it.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<conversation> open(const any_model& model, const conversation_options& options = {}) {
        return made(compiled_for<Ladder>::open_conversation(model, options, nullptr));
    }
    /// The same on the caller's pool, which must outlive the conversation. See any_session::open.
    template <class Ladder = any_cpu>
    [[nodiscard]] static result<conversation> open(const any_model& model, pool_ref pool,
                                                   const conversation_options& options = {}) {
        return made(compiled_for<Ladder>::open_conversation(model, options, &pool));
    }
    static result<conversation> open(any_model&&, const conversation_options& = {}) = delete;           // would dangle
    static result<conversation> open(any_model&&, pool_ref, const conversation_options& = {}) = delete; // would dangle

    /// Adds a turn of the user's, which the model is to answer. Nothing is computed. An answer that is being given ends
    /// here. \param begun what the answer is to begin with: take_text() does not have it, the history has. It is text,
    /// and best ends where a word does, but with conversation_options::heal. \return errc::context_full, and what
    /// chat_dialog::add and tokenizer::encode return.
    [[nodiscard]] result<void> say(std::string_view text, std::string_view begun = {}) {
        return base_->say(text, begun);
    }

    /// Adds a turn of any role, such as the result of a tool or a part of an earlier dialog; no answer is wanted. An
    /// answer that is being given ends here. \return as say()
    [[nodiscard]] result<void> add(const chat_message& message) { return base_->add(message); }

    /// Adds the results of the last answer's calls, in their order, and the model is to go on: an answer begins.
    /// \return errc::invalid_argument where the last turn has other than so many calls; and as say()
    [[nodiscard]] result<void> say_results(std::span<const std::string> results) { return base_->say_results(results); }
    /// The same for an answer with one call.
    [[nodiscard]] result<void> say_result(std::string text) { return say_results(std::span(&text, 1)); }

    /// Whether the model may or has to call functions in its next answers; the one that is being given goes on as it
    /// was begun. \return errc::invalid_argument for a function that is not among conversation_options::tools
    [[nodiscard]] result<void> choose_calls(const tool_choice& choice) { return base_->choose_calls(choice); }

    /// The model is to answer what was added. \param begun as in say() \return as say()
    [[nodiscard]] result<void> begin_answer(std::string_view begun = {}) { return base_->begin_answer(begun); }

    /// The last answer is written anew, with the same beginning if the host gave one. The sampler goes on where it is,
    /// so that the answer is another one unless it is greedy.
    /// \return errc::invalid_argument if the last turn is no answer
    [[nodiscard]] result<void> regenerate() { return base_->regenerate(); }

    /// Puts `text` in place of the one of a turn of the history. Turns after it stay; an answer that is being given
    /// goes on, unless it is the one that was changed. Only what follows the change is computed again. \return
    /// errc::invalid_argument if there is no such turn, errc::context_full, what tokenizer::encode returns
    [[nodiscard]] result<void> edit(std::size_t turn, std::string_view text) { return base_->edit(turn, text); }

    /// Forgets the turns from `turns` on: rewind(0) is all of them, the system's turn too.
    /// \return errc::invalid_argument if there are fewer
    [[nodiscard]] result<void> rewind(std::size_t turns) { return base_->rewind(turns); }

    /// Starts anew, with the system's turn alone and the sampler as it was opened.
    [[nodiscard]] result<void> reset() { return base_->reset(); }

    /// Works on what is to be read or written, and returns before the budget is used up, or when nothing is left to do:
    /// see any_session::step. An answer can end in it: ended_by(). Where forks take turns, a step has to be long enough
    /// for a pass of at most prompt_chunk tokens, which the next fork drops otherwise; a scheduler has no such limit.
    /// \return what any_session::step and next return; the answer has ended with answer_end::error then, and retry()
    /// goes on.
    [[nodiscard]] result<conversation_state> step(std::chrono::nanoseconds budget) { return base_->step(budget); }

    /// Works until the answer has ended, and calls on_text(std::string_view) with its text as it comes. The call
    /// returns nothing, or false to end the answer there. \return why the answer ended, or what step() returns
    template <class OnText> [[nodiscard]] result<answer_end> answer(OnText&& on_text) {
        return base_->answer(detail::text_visitor(on_text));
    }

    /// The text that the answer got since the last call: whole characters, but for bytes at its end that are none. What
    /// may become a stop text or a thought is held back. What is not taken before another answer begins is lost. Valid
    /// until the next call of a function that is not const.
    [[nodiscard]] std::string_view take_text() noexcept { return base_->take_text(); }

    /// The answer that is being given ends as it stands, and what was not read of the question is not. Any thread may
    /// call it; a step() that runs meanwhile returns soon.
    void cancel() noexcept { base_->cancel(); }

    /// After answer_end::error: the answer goes on, for example because another conversation has given back pages.
    /// \return what say() returns
    [[nodiscard]] result<void> retry() { return base_->retry(); }

    /// A conversation that has the same past and goes its own way. It shares threads and working memory with this one,
    /// so that both belong to one thread at a time; in a kv_pool it shares the pages, too: a hundred characters have
    /// one description of their world. \param seed of the sampler's random numbers from here on; nullopt: they go on as
    /// this one's \return errc::out_of_memory, errc::kv_pool_full
    [[nodiscard]] result<conversation> fork(std::optional<std::uint64_t> seed = {}) { return made(base_->fork(seed)); }

    /// Writes the conversation as it is, an answer that is being given included: its turns, its sampler and its
    /// session. See any_session::save, whose options and errors it has. What choose_with() was given is not saved.
    [[nodiscard]] result<void> save(byte_sink sink, const save_options& options = {}) {
        return base_->save(sink, options);
    }
    /// Becomes the conversation that was saved; what follows is what would have followed there. Settings, such as stop
    /// texts and the system's text for reset(), stay those that this one was opened with.
    /// \param saved all bytes of one save, which do not change meanwhile \param name what error messages call them
    /// \return what any_session::restore and sampler::restore return, errc::wrong_model also if the dialog is other
    /// tokens here. The conversation goes on as it was then.
    [[nodiscard]] result<void> restore(std::span<const std::byte> saved, std::string_view name = "saved conversation") {
        return base_->restore(saved, name);
    }

    /// What chooses tokens from here on in place of the sampler, such as one that keeps to a grammar; nullopt: the
    /// sampler. It is not told of tokens that it did not choose. Borrowed: it must outlive its use.
    void choose_with(std::optional<any_chooser> chooser) noexcept { base_->choose_with(chooser); }

    [[nodiscard]] conversation_state state() const noexcept { return base_->state(); }
    /// Why the last answer ended.
    [[nodiscard]] answer_end ended_by() const noexcept { return base_->ended_by(); }
    /// \pre ended_by() == answer_end::error
    [[nodiscard]] const error& last_error() const noexcept { return base_->last_error(); }
    /// The calls of the last turn, if it is the assistant's: those that the model has written so far, each of them
    /// whole, and those of a turn that was added. Valid until the next call of a function that is not const.
    [[nodiscard]] std::span<const conversation_turn::call> calls() const noexcept { return base_->calls(); }
    /// Whether the answer is still in its thought, or ended in it.
    [[nodiscard]] bool is_in_thought() const noexcept { return base_->is_in_thought(); }

    /// The turns that are in the context, or have been in it with a window, an answer that is being given included.
    /// Valid until the next call of a function that is not const.
    [[nodiscard]] std::span<const conversation_turn> history() const noexcept { return base_->history(); }
    /// How many turns were dropped so far to make room.
    [[nodiscard]] std::size_t dropped() const noexcept { return base_->dropped(); }
    /// How many of tokens() a window has dropped, behind the first session().sinks().
    [[nodiscard]] std::size_t dropped_tokens() const noexcept { return base_->session().dropped(); }

    /// The tokens of the dialog, those that are not computed yet and those that a window has dropped included.
    [[nodiscard]] std::span<const token> tokens() const noexcept { return base_->tokens(); }
    [[nodiscard]] std::size_t position() const noexcept { return tokens().size(); } ///< how many
    [[nodiscard]] std::size_t context() const noexcept { return base_->session().context(); }
    /// Tokens in front of the last answer.
    [[nodiscard]] std::size_t prompt_tokens() const noexcept { return base_->prompt_tokens(); }
    /// Tokens that the model wrote of the last answer, without a stop token.
    [[nodiscard]] std::size_t answer_tokens() const noexcept { return base_->answer_tokens(); }

    /// How dialogs are written.
    [[nodiscard]] const chat_template& format() const noexcept { return base_->format(); }
    [[nodiscard]] const sampler& chooses() const noexcept { return base_->chooses(); }
    /// What guesses have saved, see conversation_options::lookup, on its own and in schedulers. All zero without.
    [[nodiscard]] speculation_statistics speculated() const noexcept { return base_->speculated(); }

    // What a scheduler uses.

    [[nodiscard]] any_session& session() noexcept override { return base_->session(); }
    [[nodiscard]] std::optional<any_chooser> chooser() noexcept override { return base_->chooser(); }
    void take(std::optional<token> id) noexcept override { base_->take(id); }
    void add_statistics(const speculation_statistics& more) noexcept override { base_->add_statistics(more); }
    [[nodiscard]] std::span<const token> guess(std::size_t at_most) noexcept override { return base_->guess(at_most); }

private:
    explicit conversation(std::unique_ptr<detail::conversation_base> base) noexcept : base_(std::move(base)) {}

    [[nodiscard]] static result<conversation> made(result<std::unique_ptr<detail::conversation_base>> opened) {
        return opened ? result<conversation>(conversation(*std::move(opened))) : failed(opened);
    }

    std::unique_ptr<detail::conversation_base> base_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
