// SPDX-License-Identifier: MIT
// conversation_options: how a conversation is opened; what it is doing; why an answer ended.
#ifndef BITNET_RUN_CONVERSATION_OPTIONS_HPP
#define BITNET_RUN_CONVERSATION_OPTIONS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/run/any_model.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/run/sampler.hpp>
#include <bitnet/run/session_options.hpp>
#include <bitnet/run/speculation_options.hpp>
#include <bitnet/run/tool_choice.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/text/chat_template.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// What a conversation does when its context has no room left.
enum class full_context : unsigned char {
    stop,        ///< an answer ends there, and what is said next is errc::context_full
    drop_oldest, ///< the oldest turns are forgotten, questions with their answers, and the rest is fed again
    /// The session goes on with a window, see session_options::window: nothing is fed again, and the answers are not
    /// those of drop_oldest. The system's turn is in the sinks, which are made as large as it needs. The history keeps
    /// all turns, those that the window has dropped, too. A change that goes back to what the window does not have any
    /// more, as regenerate() of a long answer may, feeds again all that follows the sinks; if that is more than the
    /// context, the oldest turns are forgotten.
    window
};

/// Texts are copied.
struct conversation_options {
    std::string_view system = {}; ///< what the model is told in front of all; empty: nothing
    /// Context, threads, pages. Its stop_at_stop_tokens is not used: the chat format says what ends an answer. Its
    /// `window` is the same as full_context::window.
    session_options session = {};
    std::optional<sampler_options> sampling = {}; ///< nullopt: as the file advises
    std::string_view chat_format = {};            ///< one of chat_format_names; empty: as the file says
    chat_options chat = {};                       ///< tools that are only declared, thinking
    /// Functions that the model may call, declared to it as its template has it, or in words: see tool_form. Borrowed:
    /// it must outlive the conversation and its forks. Null: none.
    const tool_source* tools = nullptr;
    tool_choice calls = {}; ///< whether it may or has to call them
    /// Whether what answers are begun with (say(text, begun)) may end in the middle of a word, as "Fra" of France: the
    /// model chooses the tokens of its end, whose bytes are the same. take_text() and the history are as without; what
    /// is written again counts for answer_limit. Not while choose_with() has a constrained chooser, for which there is
    /// token_constraint::restart_behind(), and not beside `tools`. Borrowed: it must outlive the conversation and its
    /// forks. Null: no.
    const prefix_source* heal = nullptr;
    full_context when_full = full_context::stop;
    /// drop_oldest: how many positions are to be free afterwards, if there are turns enough to drop: feeding the rest
    /// again takes time, and with more room happens less often. 0: a quarter of the context.
    std::size_t room = 0;
    /// An answer ends before the first of these that the text of take_text() would have. See stop_texts.
    std::span<const std::string_view> stop_texts = {};
    std::size_t answer_limit = 0; ///< tokens of an answer that the model writes; 0: no limit
    /// Whether tokens are guessed from what came before in the dialog, so that fewer passes give them where the model
    /// quotes, edits or repeats: the same answers, and no slower. See prompt_lookup and speculation. 12 to 16 bytes for
    /// each position of the context, and what any_session::reserve_ahead() takes. A fork has its own.
    bool lookup = false;
    /// A smaller model of the same vocabulary that guesses, where the lookup does not: see draft_model, which takes a
    /// session with the options of this one, without pages of a pool. A step can take longer than its budget by what
    /// the guesses of a pass take. Borrowed: it must outlive the conversation and its forks. Null: none.
    const any_model* draft = nullptr;
    speculation_options speculation = {}; ///< of both
    bool show_thoughts = false;           ///< whether take_text() has the thought in front of an answer
    bool show_special = false;            ///< whether take_text() has control tokens, as they are spelled
};

/// What the next step() of a conversation does.
enum class conversation_state : unsigned char {
    idle,    ///< nothing: all is read, and no answer is wanted or it has ended
    reading, ///< runs what was said
    speaking ///< writes the answer
};

/// Why an answer ended.
enum class answer_end : unsigned char {
    none,         ///< it did not, or there is none
    stop_token,   ///< the model ended its turn
    stop_text,    ///< it wrote one of conversation_options::stop_texts
    limit,        ///< it has conversation_options::answer_limit tokens
    cancelled,    ///< by cancel(), by a callback or by what was said next
    context_full, ///< there is no room, and there was nothing to drop
    error,        ///< see conversation::last_error()
    tool_calls    ///< it has calls, and ended its turn or may have no more of them: see conversation::calls()
};

namespace detail {

/// What gets the text of an answer: call(text), which returns false to stop it, or nothing. Borrowed.
class text_visitor {
public:
    template <class Call>
    explicit text_visitor(Call& call) noexcept
        : context_(const_cast<void*>(static_cast<const void*>(std::addressof(call)))),
          function_([](void* context, std::string_view text) -> bool {
              if constexpr (std::is_void_v<decltype((*static_cast<Call*>(context))(text))>) {
                  (*static_cast<Call*>(context))(text);
                  return true;
              } else {
                  return static_cast<bool>((*static_cast<Call*>(context))(text));
              }
          }) {}

    [[nodiscard]] bool operator()(std::string_view text) const { return function_(context_, text); }

private:
    void* context_;
    bool (*function_)(void*, std::string_view);
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
