// SPDX-License-Identifier: MIT
// transcript: the turns of a conversation and the tokens that they are.
#ifndef BITNET_RUN_TRANSCRIPT_HPP
#define BITNET_RUN_TRANSCRIPT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/run/answer_text.hpp>
#include <bitnet/run/conversation_turn.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// What a session is to have in its sequence, whatever it has. A change is made on a copy, which takes the place of the
/// one before when all of it has worked: so nothing is changed by halves. The last turn stays open if it is an answer:
/// it may grow or be written anew. Functions throw std::bad_alloc as std::vector does.
class transcript {
public:
    /// \param empty a dialog without turns
    transcript(chat_dialog empty, const tokenizer& text) : text_(&text), empty_(empty), dialog_(std::move(empty)) {}

    [[nodiscard]] const std::vector<conversation_turn>& turns() const noexcept { return turns_; }
    [[nodiscard]] const tokenizer& text_of_tokens() const noexcept { return *text_; }
    /// All tokens, those of an open answer included.
    [[nodiscard]] const std::vector<token>& tokens() const noexcept { return tokens_; }
    /// Whether the last turn is an answer that the model writes or wrote.
    [[nodiscard]] bool is_open() const noexcept { return is_open_; }
    /// How many tokens are in front of the open answer.
    [[nodiscard]] std::size_t answer_begin() const noexcept { return answer_begin_; }
    /// How many tokens of the open answer the model wrote.
    [[nodiscard]] std::size_t written() const noexcept {
        return is_open_ ? turns_.back().tokens.size() - turns_.back().begun_tokens : 0;
    }

    /// Whether all tokens of a turn are in the vocabulary.
    [[nodiscard]] bool has_tokens_of(const conversation_turn& turn) const noexcept {
        const auto is_one = [this](token id) {
            return id >= 0 && static_cast<std::size_t>(id) < text_->vocabulary_size();
        };
        return (turn.stop == no_token || is_one(turn.stop)) &&
               std::all_of(turn.tokens.begin(), turn.tokens.end(), is_one);
    }

    /// Appends a turn; an open answer ends. \return what chat_dialog::add and take return
    [[nodiscard]] result<void> add(conversation_turn turn) {
        close();
        std::vector<chat_tool_call> calls;
        for (const conversation_turn::call& call : turn.calls) {
            calls.push_back({call.name, call.arguments});
        }
        if (auto added = dialog_.add({turn.role, turn.text, calls}); !added) {
            return added;
        }
        turns_.push_back(std::move(turn));
        return take();
    }

    /// Begins an answer with `text`, which may be empty. \param healer null: the model goes on behind all of it
    [[nodiscard]] result<void> begin_answer(std::string_view text, const answer_healer* healer = nullptr) {
        conversation_turn turn{.role = "assistant", .text = std::string(text), .is_answer = true};
        if (auto encoded = text_->encode(text, turn.tokens, {.follows_text = true}); !encoded) {
            return encoded;
        }
        turn.begun_bytes = text.size();
        const std::size_t back = healer != nullptr ? healer->taken_back(turn.tokens) : 0;
        turn.begun_tokens = turn.tokens.size() - back;
        if (back != 0 && !is_healable(missing_in(turn))) {
            turn.begun_tokens = turn.tokens.size();
        }
        turn.tokens.resize(turn.begun_tokens);
        return open(std::move(turn));
    }

    /// What of the text with which the host began the open answer the model has to write, too. \pre is_open()
    [[nodiscard]] std::string_view missing() const noexcept { return missing_in(turns_.back()); }
    /// What of that it has not written yet. \pre is_open()
    [[nodiscard]] std::string_view missing_yet() const noexcept {
        const conversation_turn& last = turns_.back();
        std::string_view left = missing();
        for (std::size_t i = last.begun_tokens; !left.empty() && i < last.tokens.size(); ++i) {
            left.remove_prefix((std::min)(left.size(), text_->bytes_of(last.tokens[i]).size()));
        }
        return left;
    }

    /// Room for so many more tokens of the open answer and their text, so that these allocate nothing.
    void reserve(std::size_t tokens) {
        constexpr std::size_t bytes = 8; // of a token; 4 to 5 is what texts have
        tokens_.reserve(tokens_.size() + tokens);
        turns_.back().tokens.reserve(turns_.back().tokens.size() + tokens);
        turns_.back().text.reserve(turns_.back().text.size() + tokens * bytes);
    }

    /// The model's next token. \pre is_open()
    void append(token id) {
        turns_.back().tokens.push_back(id);
        tokens_.push_back(id);
    }
    /// The stop token that ends the answer. \pre is_open()
    void stop(token id) {
        tokens_.push_back(id);
        turns_.back().stop = id;
    }
    /// The text of the open answer, to which append() adds nothing. \pre is_open()
    [[nodiscard]] std::string& text() noexcept { return turns_.back().text; }
    /// A call that the open answer has. \pre is_open()
    void add_call(conversation_turn::call call) { turns_.back().calls.push_back(std::move(call)); }
    /// The text of the open answer ends before its tokens do: the tokens become those of the text.
    /// \param decoder as that text was decoded \return what tokenizer::encode returns; the tokens are as before then
    [[nodiscard]] result<void> cut(answer_decoder decoder) {
        conversation_turn& last = turns_.back();
        const std::span<const token> written = std::span(last.tokens).subspan(last.begun_tokens);
        const std::size_t begin = last.begun_bytes - missing().size(); // of what they are
        const auto kept = decoder.share_of(written, last.text.size() - begin);
        const std::string_view rest = std::string_view(last.text).substr(begin + kept.bytes);
        std::vector<token> end;
        if (auto encoded = text_->encode(rest, end, {.follows_text = true}); !encoded) {
            return encoded;
        }
        last.tokens.resize(last.begun_tokens + kept.tokens);
        last.tokens.insert(last.tokens.end(), end.begin(), end.end());
        tokens_.resize(answer_begin_ + last.begun_tokens + kept.tokens);
        tokens_.insert(tokens_.end(), end.begin(), end.end());
        return {};
    }

    /// Takes away what the model wrote of the last answer; one that the host added goes as a whole.
    /// \pre the last turn is the assistant's
    [[nodiscard]] result<void> answer_again() {
        if (!is_open_) {
            std::vector<conversation_turn> kept = turns_;
            kept.pop_back();
            auto done = become(std::move(kept));
            return done ? begin_answer({}) : std::move(done);
        }
        conversation_turn& last = turns_.back();
        last.tokens.resize(last.begun_tokens);
        last.text.resize(last.begun_bytes);
        last.stop = no_token;
        last.calls.clear();
        tokens_.resize(answer_begin_ + last.begun_tokens);
        return {};
    }

    /// Becomes what these turns are. An answer at their end is open.
    [[nodiscard]] result<void> become(std::vector<conversation_turn> turns) {
        transcript made(empty_, *text_);
        for (conversation_turn& turn : turns) {
            if (auto done = turn.is_answer ? made.open(std::move(turn)) : made.add(std::move(turn)); !done) {
                return done;
            }
        }
        *this = std::move(made);
        return {};
    }

    /// The oldest question goes, with all that followed it up to the next one; what stands in front of all, such as
    /// the system's turn, stays. \return how many turns that were; 0 if there is only one question
    [[nodiscard]] result<std::size_t> drop_oldest() {
        std::size_t first = 0;
        while (first < turns_.size() && turns_[first].role == "system") {
            ++first;
        }
        std::size_t next = first + 1;
        while (next < turns_.size() && !begins_anew(next)) {
            ++next;
        }
        if (next >= turns_.size()) {
            return std::size_t{0};
        }
        std::vector<conversation_turn> kept(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(first));
        kept.insert(kept.end(), turns_.begin() + static_cast<std::ptrdiff_t>(next), turns_.end());
        if (auto done = become(std::move(kept)); !done) {
            return failed(done);
        }
        return next - first;
    }

private:
    /// The end of the text that an answer was begun with, behind the tokens that it was begun with; empty if these are
    /// not the bytes in front of it.
    [[nodiscard]] std::string_view missing_in(const conversation_turn& turn) const noexcept {
        std::string_view rest = std::string_view(turn.text).substr(0, turn.begun_bytes);
        for (std::size_t i = 0; i < turn.begun_tokens; ++i) {
            const std::string_view bytes = text_->bytes_of(turn.tokens[i]);
            if (!rest.starts_with(bytes)) {
                return {};
            }
            rest.remove_prefix(bytes.size());
        }
        return rest;
    }
    /// Whether it is characters: what comes again is decoded by itself.
    [[nodiscard]] static bool is_healable(std::string_view missing) noexcept {
        bool is_text = !missing.empty();
        while (is_text && !missing.empty()) {
            const decoded_code_point first = first_code_point(missing);
            is_text = first.value != invalid_code_point;
            missing.remove_prefix(first.size);
        }
        return is_text;
    }

    [[nodiscard]] static bool answers(const conversation_turn& turn) noexcept {
        return turn.role == "assistant" || turn.role == "tool";
    }
    [[nodiscard]] bool begins_anew(std::size_t turn) const noexcept {
        return !answers(turns_[turn]) && answers(turns_[turn - 1]);
    }

    /// Appends an answer as the tokens that it is.
    [[nodiscard]] result<void> open(conversation_turn turn) {
        close();
        dialog_.add_prompt();
        if (auto taken = take(); !taken) {
            return taken;
        }
        answer_begin_ = tokens_.size();
        tokens_.insert(tokens_.end(), turn.tokens.begin(), turn.tokens.end());
        if (turn.stop != no_token) {
            tokens_.push_back(turn.stop);
        }
        turns_.push_back(std::move(turn));
        is_open_ = true;
        return {};
    }

    void close() noexcept {
        if (is_open_) {
            dialog_.end_answer(turns_.back().tokens, turns_.back().stop != no_token);
            is_open_ = false;
        }
    }

    /// Takes what the dialog has for the session.
    [[nodiscard]] result<void> take() {
        const std::size_t kept = dialog_.kept();
        auto more = dialog_.take();
        if (!more) {
            return failed(more);
        }
        tokens_.resize(kept);
        tokens_.insert(tokens_.end(), more->begin(), more->end());
        return {};
    }

    const tokenizer* text_;
    chat_dialog empty_;
    chat_dialog dialog_; ///< in front of an open answer
    std::vector<conversation_turn> turns_;
    std::vector<token> tokens_;
    std::size_t answer_begin_ = 0;
    bool is_open_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
