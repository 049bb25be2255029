// SPDX-License-Identifier: MIT
// chat_dialog: the turns of a dialog as tokens, piece by piece as a session needs them.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Text with control tokens in it. Text between two of them is one run, which is encoded as a whole.
class chat_pieces {
public:
    explicit chat_pieces(const tokenizer& text) noexcept : tokenizer_(&text) {}

    /// Appends text in which nothing is a control token.
    void write(std::string_view plain) {
        if (all_.empty() || all_.back().id != no_token) {
            all_.push_back({no_token, {}});
        }
        all_.back().text.append(plain);
    }
    void mark(token id) { all_.push_back({id, std::string(tokenizer_->bytes_of(id))}); }
    /// Appends the control token of that spelling, or the spelling as text where the vocabulary has no such token.
    void mark(std::string_view spelling) {
        if (const auto id = tokenizer_->find_special(spelling)) {
            mark(*id);
        } else {
            write(spelling);
        }
    }
    void clear() noexcept { all_.clear(); }

    /// Appends all tokens to `out`, or leaves it as it is. \return what tokenizer::encode returns.
    [[nodiscard]] result<void> encode(std::vector<token>& out) const {
        const auto before = static_cast<std::ptrdiff_t>(out.size());
        for (const piece& each : all_) {
            if (each.id != no_token) {
                out.push_back(each.id);
            } else if (auto done = tokenizer_->encode(each.text, out); !done) {
                out.erase(out.begin() + before, out.end());
                return done;
            }
        }
        return {};
    }
    /// All as text, control tokens as they are spelled.
    [[nodiscard]] std::string text() const {
        std::string all;
        for (const piece& each : all_) {
            all.append(each.text);
        }
        return all;
    }

private:
    struct piece {
        token id; ///< no_token: text
        std::string text;
    };

    const tokenizer* tokenizer_;
    std::vector<piece> all_;
};

/// A dialog that grows turn by turn while a session follows it. What take() returns, in order, are the tokens of the
/// whole dialog: nothing that a session has been fed has to be fed again.
///
///     dialog.add({"user", question});
///     dialog.add_prompt();
///     session.feed(*dialog.take());
///     ... the session's answer, up to a stop token or until it is interrupted ...
///     dialog.end_answer(stopped);      // and the next question
///
/// The model's answer stays the tokens that it generated; encoding its text again may give others.
/// Borrows the tokenizer, which must outlive it. Copyable: a copy is a way back. Usually made by chat_template::dialog.
class chat_dialog {
public:
    chat_dialog(chat_format format, const tokenizer& text, bool begin_with_bos)
        : format_(format), tokenizer_(&text), pieces_(text) {
        if (begin_with_bos && text.bos()) {
            pieces_.mark(*text.bos());
        }
    }
    chat_dialog(chat_format, tokenizer&&, bool) = delete; // would dangle

    /// Appends a whole turn. \return errc::invalid_argument for a role that the format does not have.
    [[nodiscard]] result<void> add(const chat_message& message) {
        if (!has_role(format_, message.role)) {
            return error{errc::invalid_argument,
                         "chat format " + std::string(name_of(format_)) + " has no role " + quoted_name(message.role)};
        }
        separate();
        write_header(message.role);
        pieces_.write(strips_content(format_) ? stripped(message.content) : message.content);
        if (format_ == chat_format::falcon3 && message.role != "assistant") {
            pieces_.write("\n");
        } else {
            end_turn(true);
        }
        return {};
    }

    /// Appends the beginning of the assistant's turn, which the model is to continue.
    void add_prompt() { write_header("assistant"); }

    /// Ends a turn that the model wrote. `stopped`: its last token is a stop token, so that the mark that ends a turn
    /// is there; else it is appended.
    void end_answer(bool stopped) { end_turn(!stopped); }

    /// The tokens since the last call. \return what tokenizer::encode returns; the dialog is as before then.
    [[nodiscard]] result<std::vector<token>> take() {
        std::vector<token> tokens;
        if (auto done = pieces_.encode(tokens); !done) {
            return std::move(done).error();
        }
        pieces_.clear();
        return tokens;
    }

    /// What take() would return, for showing: control tokens as they are spelled.
    [[nodiscard]] std::string text() const { return pieces_.text(); }

private:
    /// falcon3's line end behind an answer, which stands only where another turn follows.
    void separate() {
        if (std::exchange(separator_due_, false)) {
            pieces_.write("\n");
        }
    }

    void write_header(std::string_view role) {
        switch (format_) {
        case chat_format::bitnet:
            return pieces_.write(capitalized(role) + ": ");
        case chat_format::llama3:
            pieces_.mark("<|start_header_id|>");
            pieces_.write(role);
            pieces_.mark("<|end_header_id|>");
            return pieces_.write("\n\n");
        case chat_format::falcon3:
            pieces_.mark("<|" + std::string(role) + "|>");
            return pieces_.write("\n");
        case chat_format::chatml:
            pieces_.mark("<|im_start|>");
            return pieces_.write(std::string(role) + "\n");
        }
    }

    void end_turn(bool with_mark) {
        if (with_mark && end_of_turn(format_).empty()) {
            pieces_.mark(tokenizer_->eos().value_or(no_token));
        } else if (with_mark) {
            pieces_.mark(end_of_turn(format_));
        }
        if (format_ == chat_format::chatml) {
            pieces_.write("\n");
        }
        separator_due_ = format_ == chat_format::falcon3;
    }

    chat_format format_;
    const tokenizer* tokenizer_;
    chat_pieces pieces_;
    bool separator_due_ = false;
};

} // namespace bitnet::inline BITNET_ABI
