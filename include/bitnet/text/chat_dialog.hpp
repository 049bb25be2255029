// SPDX-License-Identifier: MIT
// chat_dialog: the turns of a dialog as tokens, piece by piece as a session needs them.
#ifndef BITNET_TEXT_CHAT_DIALOG_HPP
#define BITNET_TEXT_CHAT_DIALOG_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_pieces.hpp>
#include <bitnet/text/chatml_facts.hpp>
#include <bitnet/text/chatml_turns.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tool_form.hpp>

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// A dialog that grows turn by turn while a session follows it. What take() returns, call after call, are the tokens of
/// the whole dialog: no token has to be fed to the session again.
///
///     dialog.add({"user", question});
///     dialog.add_prompt();
///     session.feed(*dialog.take());
///     ... the session's answer, up to a stop token or until it is interrupted ...
///     dialog.end_answer(stopped);      // and the next question
///
/// Templates of models that think leave thoughts out once another question follows. With end_answer(answer, stopped) a
/// dialog does so, too, and before it is fed again the session has to forget what is no longer part of it:
///
///     session.rewind(dialog.kept());
///     session.feed(*dialog.take());
///
/// All else of an answer remains the tokens that the model generated; encoding its text again may give others.
/// Where memory ends, add() and take() return errc::out_of_memory and the dialog is as before. If it ends in one of the
/// functions that return nothing, they do so from then on, because a part is missing: assign a copy or a new dialog.
/// Borrows the tokenizer, which must outlive it. Copyable: assigning a copy takes turns back. Usually made by
/// chat_template::dialog.
class chat_dialog {
public:
    chat_dialog(chat_format format, const tokenizer& text, bool begin_with_bos) noexcept
        : rule_(&detail::rule_of(format)), tokenizer_(&text), pieces_(text) {
        if (begin_with_bos && text.bos()) {
            append([&] { pieces_.mark(*text.bos()); });
        }
    }
    chat_dialog(chat_format, tokenizer&&, bool) = delete; // would dangle

    /// Appends a whole turn. Results of calls, of the role "tool", may share one with those before them.
    /// \return errc::invalid_argument for a role that the format does not have, and for calls that it cannot write.
    [[nodiscard]] result<void> add(const chat_message& message) {
        return form_ != nullptr ? detail::guarded([&] { return add_with_tools(message); }) : add_one(message);
    }

    /// Appends the beginning of the assistant's turn, which the model is to continue.
    void add_prompt() noexcept {
        if (!tools_.empty() && is_complete_) {
            is_complete_ = detail::guarded([&] { return declare({"assistant", {}}); }).has_value();
        }
        append([&] {
            if (own_) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.add_prompt(settled);
                    return true;
                });
            } else {
                write_header("assistant");
            }
        });
    }

    /// Ends a turn that the model wrote. `stopped`: its last token is a stop token, which serves as the mark that
    /// ends a turn; otherwise that mark is appended. The answer stays in the dialog as it is, its thoughts too, and
    /// kept() counts no more.
    void end_answer(bool stopped) noexcept {
        append([&] {
            if (own_) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.freeze(settled);
                    return true;
                });
            }
            end_turn(!stopped);
        });
    }
    /// The same with the answer's tokens, the stop token not among them, so that its thoughts can be left out later. An
    /// answer that ends in the midst of a thought has no other content.
    /// \pre the prompt was taken
    void end_answer(std::span<const token> answer, bool stopped) noexcept {
        append([&] {
            const std::string text = tokenizer_->decode(answer, {.follows_text = true});
            bool is_kept = false;
            if (own_) {
                change([&](detail::chatml_turns& next, detail::chat_pieces&) {
                    return is_kept = next.end_answer(text, stopped);
                });
            }
            if (own_ && !is_kept) {
                change([](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    next.freeze(settled);
                    return true;
                });
            }
            if (!is_kept) {
                end_turn(!stopped);
            }
            position_ += answer.size() + (stopped ? 1 : 0);
        });
    }

    /// How many of the session's tokens, those taken and those of the answers, are part of the dialog still. The
    /// session is to forget the others before it is fed what take() returns: any_session::rewind().
    [[nodiscard]] std::size_t kept() const noexcept { return own_ ? own_->kept(position_) : position_; }

    /// The tokens since the last call. \return what tokenizer::encode returns; the dialog is as before then.
    [[nodiscard]] result<std::vector<token>> take() {
        return detail::guarded([&]() -> result<std::vector<token>> {
            std::vector<token> tokens;
            auto done = is_complete_ ? pieces_.encode(tokens) : detail::out_of_memory();
            const std::size_t begin = kept();
            if (done && own_) {
                done = own_->take(begin, tokens);
            }
            if (!done) {
                return failed(done);
            }
            position_ = begin + tokens.size();
            pieces_.clear();
            return tokens;
        });
    }

    /// Whether no part is missing for want of memory.
    [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }

    /// What take() would return, for display: control tokens as they are spelled. Throws std::bad_alloc as a
    /// std::string does.
    [[nodiscard]] std::string text() const { return pieces_.text() + (own_ ? own_->text() : std::string()); }

private:
    friend class chat_template;

    [[nodiscard]] result<void> add_one(const chat_message& message) {
        if (auto known = accepts(message); !known) {
            return known;
        }
        const bool text_was_due = text_due_;
        result<void> added;
        const bool written = is_complete_ && pieces_.try_to([&] {
            if (own_) {
                change([&](detail::chatml_turns& next, detail::chat_pieces& settled) {
                    added = next.add(message, settled);
                    return added.has_value();
                });
            } else {
                write_turn(message);
            }
        });
        if (!written) {
            text_due_ = text_was_due;
            return detail::out_of_memory();
        }
        return added;
    }

    /// What add() does where `form_` is how calls are written.
    [[nodiscard]] result<void> add_with_tools(const chat_message& message) {
        if (!tools_.empty()) {
            chat_dialog next = *this; // so that nothing is declared if the message cannot follow
            const auto is_part = next.declare(message);
            auto done = !is_part ? failed(is_part) : *is_part ? result<void>() : next.add_with_tools(message);
            if (done) {
                *this = std::move(next);
            }
            return done;
        }
        if (message.role == "tool") {
            return add_result(message.content);
        }
        if (message.calls.empty() || message.role != "assistant") {
            return add_one(message);
        }
        return add_calls(message);
    }
    [[nodiscard]] result<void> add_result(std::string_view text) {
        switch (form_->syntax) {
        case tool_syntax::llama3:
            return add_one({"ipython", words_->outcome(text, form_->syntax)});
        case tool_syntax::falcon3:
            return add_unended("assistant", words_->outcome(text, form_->syntax));
        default:
            return add_one({"user", detail::as_tool_response(text)});
        }
    }
    [[nodiscard]] result<void> add_calls(const chat_message& message) {
        if (form_->has_one_call() && message.calls.size() != 1) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name, ": a message has ", message.calls.size(),
                                         " calls of tools, the model's template writes one"});
        }
        std::vector<std::string> texts;
        std::vector<chat_tool_call> calls(message.calls.begin(), message.calls.end());
        texts.reserve(calls.size());
        for (chat_tool_call& call : calls) {
            const bool is_respelled = form_->syntax != tool_syntax::marked;
            auto written = is_respelled ? words_->arguments(call.arguments) : std::string(call.arguments);
            if (!written && written.error().code == errc::out_of_memory) {
                return failed(written);
            }
            call.arguments = written ? std::string_view(texts.emplace_back(*std::move(written))) : call.arguments;
        }
        std::string content(form_->has_one_call() ? std::string_view{} : message.content);
        detail::append_calls(content, {message.role, message.content, calls}, *form_);
        return add_one({message.role, content});
    }

    /// Declares the functions in front of the first message, or in it. \return whether it is part of that
    [[nodiscard]] result<bool> declare(const chat_message& first) {
        if (form_->syntax == tool_syntax::llama3) {
            return declare_in_question(first);
        }
        const bool is_led = first.role == "system";
        const std::string_view content = is_led ? first.content : std::string_view{};
        auto added = add_one({"system", form_->syntax == tool_syntax::falcon3
                                            ? words_->declaration(content, tools_, form_->syntax)
                                            : detail::declared_tools(content, tools_)});
        return declared(added, is_led);
    }
    /// The same in the first question, which a turn of the system's precedes that says so.
    [[nodiscard]] result<bool> declare_in_question(const chat_message& first) {
        const bool is_led = first.role == "system";
        if (!is_led_) {
            const std::string_view content = is_led ? detail::stripped(first.content) : std::string_view{};
            auto added = add_unstripped("system", std::string("Environment: ipython\n\n").append(content));
            is_led_ = added.has_value();
            if (!added || is_led) {
                return added ? result<bool>(true) : failed(added);
            }
        }
        const bool is_question = first.role == "user";
        if (is_led) {
            auto added = add_one(first);
            return added ? result<bool>(true) : failed(added);
        }
        const std::string_view content = is_question ? detail::stripped(first.content) : std::string_view{};
        return declared(add_unstripped("user", words_->declaration(content, tools_, form_->syntax)), is_question);
    }
    [[nodiscard]] result<bool> declared(const result<void>& added, bool is_part) {
        if (!added) {
            return failed(added);
        }
        tools_.clear();
        return is_part;
    }

    /// A turn whose content is written as it is.
    [[nodiscard]] result<void> add_unstripped(std::string_view role, std::string_view content) {
        return add_written([&] {
            write_header(role);
            pieces_.write(content);
            end_turn(true);
        });
    }
    /// A turn of Falcon3's assistant without the mark that ends its answers.
    [[nodiscard]] result<void> add_unended(std::string_view role, std::string_view content) {
        return add_written([&] {
            if (std::exchange(text_due_, false)) {
                pieces_.write(rule_->after_turn);
            }
            write_header(role);
            pieces_.write(content);
            pieces_.write(rule_->after_turn);
        });
    }
    template <class Work> [[nodiscard]] result<void> add_written(Work&& work) {
        const bool text_was_due = text_due_;
        if (is_complete_ && pieces_.try_to(work)) {
            return {};
        }
        text_due_ = text_was_due;
        return detail::out_of_memory();
    }

    template <class Work> void append(Work&& work) noexcept { is_complete_ = is_complete_ && pieces_.try_to(work); }

    /// Calls work(turns, settled) on copies, and takes them if it returns true. \pre own_
    template <class Work> void change(Work&& work) {
        detail::chatml_turns next = *own_;
        detail::chat_pieces settled(*tokenizer_);
        if (work(next, settled)) {
            pieces_.append(settled);
            *own_ = std::move(next);
        }
    }

    [[nodiscard]] result<void> accepts(const chat_message& message) const {
        const bool has_calls = own_ && own_->facts().has_calls;
        if (!detail::has_role(rule_->format, message.role) || (own_ && !own_->has_role(message.role))) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name, " has no role ", detail::quoted{message.role}});
        }
        if (!message.calls.empty() && (!has_calls || message.role != "assistant")) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name,
                                         has_calls ? "" : ", as the model's template has it,",
                                         " has no calls of tools in messages of ", detail::quoted{message.role}});
        }
        return {};
    }

    void write_turn(const chat_message& message) {
        if (std::exchange(text_due_, false)) {
            pieces_.write(rule_->after_turn);
        }
        write_header(message.role);
        pieces_.write(rule_->strips_content ? detail::stripped(message.content) : message.content);
        if (rule_->ends_answers_only && message.role != "assistant") {
            pieces_.write(rule_->after_turn);
        } else {
            end_turn(true);
        }
    }

    void write_header(std::string_view role) {
        if (!rule_->header_begin.empty()) {
            pieces_.mark(rule_->header_begin);
        }
        switch (rule_->role) {
        case detail::role_spelling::as_given:
            pieces_.write(role);
            break;
        case detail::role_spelling::capitalized:
            pieces_.write(detail::capitalized(role));
            break;
        case detail::role_spelling::mark:
            pieces_.mark(detail::sentence({"<|", role, "|>"}));
            break;
        }
        if (!rule_->header_end.empty()) {
            pieces_.mark(rule_->header_end);
        }
        pieces_.write(rule_->after_header);
    }

    void end_turn(bool with_mark) {
        if (with_mark && rule_->turn_end.empty()) {
            pieces_.mark(tokenizer_->eos().value_or(no_token));
        } else if (with_mark) {
            pieces_.mark(rule_->turn_end);
        }
        text_due_ = rule_->ends_answers_only;
        if (!text_due_) {
            pieces_.write(rule_->after_turn);
        }
    }

    const detail::chat_format_rule* rule_;
    const tokenizer* tokenizer_;
    detail::chat_pieces pieces_;
    std::optional<detail::chatml_turns> own_;   ///< of the file's own template, if it says more than the format
    const tool_form* form_ = nullptr;           ///< how calls are written, if `own_` does not see to it; null: not
    const detail::tool_words* words_ = nullptr; ///< for all forms but `marked`
    std::string tools_;                         ///< to be declared as `form_` has it, unless that was done
    bool is_led_ = false;                       ///< llama3: the system's turn that precedes the declaration is written
    std::size_t position_ = 0;                  ///< tokens taken, and those of answers
    bool text_due_ = false;                     ///< `after_turn` of an answer, if another turn follows
    bool is_complete_ = true;
};

} // namespace bitnet::inline BITNET_ABI

#endif
