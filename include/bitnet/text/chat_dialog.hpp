// SPDX-License-Identifier: MIT
// chat_dialog: the turns of a dialog as tokens, piece by piece as a session needs them.
#ifndef BITNET_TEXT_CHAT_DIALOG_HPP
#define BITNET_TEXT_CHAT_DIALOG_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Text with control tokens in it. Text between two of them is one run, which is encoded as a whole.
class chat_pieces {
public:
    explicit chat_pieces(const tokenizer& text) noexcept : tokenizer_(&text) {}

    /// Appends text. Control tokens spelled in it are text, too.
    void write(std::string_view plain) { text_.append(plain); }
    /// Appends a control token. no_token is ignored.
    void mark(token id) {
        if (id != no_token) {
            marks_.push_back({text_.size(), id});
            text_.append(tokenizer_->bytes_of(id));
        }
    }
    /// Appends the control token of that spelling, or the spelling as text if the vocabulary has no such token.
    void mark(std::string_view spelling) {
        if (const auto id = tokenizer_->find_special(spelling)) {
            mark(*id);
        } else {
            write(spelling);
        }
    }
    void clear() noexcept {
        text_.clear();
        marks_.clear();
    }
    /// Calls append(), which writes and marks. \return false, and all is as before, if memory did not suffice.
    template <class Append> [[nodiscard]] bool try_to(Append&& append) {
        const std::size_t text_before = text_.size();
        const std::size_t marks_before = marks_.size();
        const bool done = has_memory_for(append);
        if (!done) {
            text_.resize(text_before);
            marks_.resize(marks_before);
        }
        return done;
    }

    /// Appends all tokens to `out`, or leaves it as it is. \return what tokenizer::encode returns.
    [[nodiscard]] result<void> encode(std::vector<token>& out) const {
        const std::size_t before = out.size();
        std::size_t from = 0;
        for (std::size_t i = 0; i <= marks_.size(); ++i) {
            const std::size_t end = i < marks_.size() ? marks_[i].position : text_.size();
            if (auto done = tokenizer_->encode(std::string_view(text_).substr(from, end - from), out); !done) {
                out.resize(before);
                return done;
            }
            if (i < marks_.size()) {
                if (!has_memory_for([&] { out.push_back(marks_[i].id); })) {
                    out.resize(before);
                    return out_of_memory();
                }
                from = end + tokenizer_->bytes_of(marks_[i].id).size();
            }
        }
        return {};
    }
    /// All as text, control tokens as they are spelled.
    [[nodiscard]] const std::string& text() const& noexcept { return text_; }
    [[nodiscard]] std::string&& text() && noexcept { return std::move(text_); }

private:
    struct control_token {
        std::size_t position = 0; ///< of its spelling in `text_`
        token id = no_token;
    };

    const tokenizer* tokenizer_;
    std::string text_;
    std::vector<control_token> marks_;
};

} // namespace detail

/// A dialog that grows turn by turn while a session follows it. What take() returns, call after call, are the tokens of
/// the whole dialog: no token has to be fed to the session again.
///
///     dialog.add({"user", question});
///     dialog.add_prompt();
///     session.feed(*dialog.take());
///     ... the session's answer, up to a stop token or until it is interrupted ...
///     dialog.end_answer(stopped);      // and the next question
///
/// The model's answers remain the tokens that it generated; encoding their text again may give others.
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

    /// Appends a whole turn. \return errc::invalid_argument for a role that the format does not have.
    [[nodiscard]] result<void> add(const chat_message& message) {
        if (!detail::has_role(rule_->format, message.role)) {
            return detail::error_saying(errc::invalid_argument,
                                        {"chat format ", rule_->name, " has no role ", detail::quoted{message.role}});
        }
        const bool text_was_due = text_due_;
        if (!is_complete_ || !pieces_.try_to([&] { write_turn(message); })) {
            text_due_ = text_was_due;
            return detail::out_of_memory();
        }
        return {};
    }

    /// Appends the beginning of the assistant's turn, which the model is to continue.
    void add_prompt() noexcept {
        append([&] { write_header("assistant"); });
    }

    /// Ends a turn that the model wrote. `stopped`: its last token is a stop token, which serves as the mark that
    /// ends a turn; otherwise that mark is appended.
    void end_answer(bool stopped) noexcept {
        append([&] { end_turn(!stopped); });
    }

    /// The tokens since the last call. \return what tokenizer::encode returns; the dialog is as before then.
    [[nodiscard]] result<std::vector<token>> take() {
        std::vector<token> tokens;
        if (auto done = is_complete_ ? pieces_.encode(tokens) : detail::out_of_memory(); !done) {
            return failed(done);
        }
        pieces_.clear();
        return tokens;
    }

    /// Whether no part is missing for want of memory.
    [[nodiscard]] bool is_complete() const noexcept { return is_complete_; }

    /// What take() would return, for display: control tokens as they are spelled.
    [[nodiscard]] const std::string& text() const& noexcept { return pieces_.text(); }
    [[nodiscard]] std::string text() && noexcept { return std::move(pieces_).text(); }

private:
    template <class Work> void append(Work&& work) noexcept { is_complete_ = is_complete_ && pieces_.try_to(work); }

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
    bool text_due_ = false; ///< `after_turn` of an answer, if another turn follows
    bool is_complete_ = true;
};

} // namespace bitnet::inline BITNET_ABI

#endif
