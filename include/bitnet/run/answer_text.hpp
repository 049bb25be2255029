// SPDX-License-Identifier: MIT
// answer_text: the text of an answer while it is written: what is shown of it, and where it ends.
#ifndef BITNET_RUN_ANSWER_TEXT_HPP
#define BITNET_RUN_ANSWER_TEXT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/run/tool_source.hpp>
#include <bitnet/text/stop_texts.hpp>
#include <bitnet/text/stream_decoder.hpp>
#include <bitnet/text/thought_filter.hpp>
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

/// Tokens to text as histories have it: control tokens are left out unless they are shown, but for the marks around a
/// thought or a call.
class answer_decoder {
public:
    answer_decoder(const tokenizer& text, stream_decoder_options options) noexcept
        : text_(&text), decoder_(text, options) {}

    /// As stream_decoder::feed() and flush().
    [[nodiscard]] std::string_view feed(token id) noexcept {
        const std::string_view decoded = decoder_.feed(id);
        return decoded.empty() && is_mark(id) ? text_->bytes_of(id) : decoded;
    }
    [[nodiscard]] std::string_view flush() noexcept { return decoder_.flush(); }

    /// How many of `tokens` have no more than `bytes` bytes of text together, and how many they have.
    struct share {
        std::size_t tokens;
        std::size_t bytes;
    };
    [[nodiscard]] share share_of(std::span<const token> tokens, std::size_t bytes) noexcept {
        share best{0, 0};
        std::size_t complete = 0;
        for (std::size_t i = 0; i < tokens.size() && complete <= bytes; ++i) {
            complete += feed(tokens[i]).size();
            stream_decoder copy = decoder_;
            const std::size_t all = complete + copy.flush().size(); // with those of a character that is not complete
            best = all <= bytes ? share{i + 1, all} : best;
        }
        return best;
    }

private:
    [[nodiscard]] bool is_mark(token id) const noexcept {
        constexpr tool_form form;
        const std::string_view spelling = text_->is_special(id) ? text_->bytes_of(id) : std::string_view{};
        return !spelling.empty() && (spelling == thought_filter::begin_mark || spelling == thought_filter::end_mark ||
                                     spelling == form.begin || spelling == form.end);
    }

    const tokenizer* text_;
    stream_decoder decoder_;
};

/// Borrows the tokenizer. Its functions throw std::bad_alloc as a std::string does, if its buffers have to grow.
class answer_text {
public:
    struct options {
        bool show_thoughts = false; ///< if the format has any
        bool show_special = false;
        std::string_view prompt = {}; ///< of every answer, such as "<think>\n"; lives as long as this
    };

    answer_text(const tokenizer& text, const options& chosen, stop_texts stops) noexcept
        : text_(&text), options_(chosen), stops_(std::move(stops)), decoder_(made_decoder(false)),
          filter_(begins_in_thought()) {}

    /// The decoder of an answer. \param follows_text the host began it
    [[nodiscard]] answer_decoder made_decoder(bool follows_text) const noexcept {
        return {*text_, {.follows_text = follows_text, .show_special = options_.show_special}};
    }

    /// Another answer, which the host began with `begun`; what was not taken of the one before is gone.
    /// \param missing bytes at the end of that with which the tokens begin
    void begin(std::string_view begun, std::size_t missing) {
        missing_ = missing;
        decoder_ = made_decoder(!begun.empty());
        filter_.reset(begins_in_thought());
        stops_.reset();
        fed_ = shown_ = 0;
        held_.clear();
        follows_call_ = false;
        out_.clear();
        if (options_.show_thoughts && begins_in_thought()) {
            out_ += options_.prompt;
        }
        static_cast<void>(filter_.feed(begun));
    }

    /// The next token, whose text is appended to `whole`, too. \return whether a stop text was hit: `whole` ends before
    /// it then.
    [[nodiscard]] bool put(token id, std::string& whole) {
        std::string_view decoded = decoder_.feed(id);
        if (missing_ != 0) {
            const std::size_t known = (std::min)(missing_, decoded.size());
            decoded.remove_prefix(known);
            missing_ -= known;
        }
        whole += decoded;
        return show(decoded, whole);
    }
    /// The same in a conversation with tools: text that may become a call is held back, calls are left out.
    [[nodiscard]] bool put(token id, std::string& whole, const answer_part& part) {
        const std::string_view decoded = decoder_.feed(id);
        whole += decoded;
        held_ += decoded;
        const std::size_t tail = (std::min)(part.tail, held_.size());
        const bool is_call = part.kind != answer_part::part_kind::text;
        const bool has_stopped = show_held(held_.size() - tail, whole);
        return has_stopped || (is_call && leave_out(whole));
    }
    /// The answer ends without a stop text: what was held back is shown. \return whether that ended with one after all
    [[nodiscard]] bool end(std::string& whole) {
        const std::string_view rest = decoder_.flush();
        whole += rest;
        if (!held_.empty() && show_held(held_.size(), whole)) {
            return true;
        }
        if (show(rest, whole) || (!options_.show_thoughts && show_further(filter_.flush(), whole))) {
            return true;
        }
        out_ += stops_.flush();
        return false;
    }

    /// What became showable since the last call. Valid until the next call of this or of a function that adds text.
    [[nodiscard]] std::string_view take() noexcept {
        std::swap(out_, taken_);
        out_.clear();
        return taken_;
    }
    [[nodiscard]] std::string_view untaken() const noexcept { return out_; }
    void set_untaken(std::string_view text) { out_ = text; }
    [[nodiscard]] bool is_in_thought() const noexcept { return filter_.is_in_thought(); }

    /// The same in the same place of the answer. \param stops the same texts, anew
    [[nodiscard]] answer_text copy(stop_texts stops) const {
        answer_text made(*text_, options_, std::move(stops));
        made.decoder_ = decoder_;
        made.filter_ = filter_;
        static_cast<void>(made.stops_.feed(stops_.held()));
        made.fed_ = fed_;
        made.shown_ = shown_;
        made.held_ = held_;
        made.follows_call_ = follows_call_;
        made.missing_ = missing_;
        made.out_ = out_;
        return made;
    }

    /// So that begin() allocates nothing, nor put() and take() as long as text is taken in time.
    /// \param begun bytes of what the host begins the answer with
    void reserve(std::size_t begun) {
        const std::size_t piece = text_->longest_token() + 16;
        filter_.reserve(begun + piece);
        held_.reserve(2 * piece);
        out_.reserve(options_.prompt.size() + stops_.longest + 4 * piece);
        taken_.reserve(out_.capacity());
    }

private:
    [[nodiscard]] bool begins_in_thought() const noexcept {
        return options_.prompt.find(thought_filter::begin_mark) != std::string_view::npos &&
               options_.prompt.find(thought_filter::end_mark) == std::string_view::npos;
    }

    /// Shows the first `size` bytes of what is held back, without line ends that follow a call.
    [[nodiscard]] bool show_held(std::size_t size, std::string& whole) {
        const std::string_view some = std::string_view(held_).substr(0, size);
        const std::size_t first = follows_call_ ? (std::min)(some.find_first_not_of("\r\n"), size) : 0;
        follows_call_ = follows_call_ && first == size;
        const std::size_t behind = held_.size() - size;
        const bool has_stopped = show(some.substr(first), whole, behind);
        held_.erase(0, size);
        return has_stopped;
    }
    /// A call: what is held back is of it, and no text in front of it becomes a stop text with what follows.
    [[nodiscard]] bool leave_out(std::string& whole) {
        const std::string_view before = filter_.settle();
        if (!options_.show_thoughts && show_further(before, whole, held_.size())) {
            return true;
        }
        out_ += stops_.flush();
        shown_ = fed_;
        held_.clear();
        follows_call_ = true;
        return false;
    }

    [[nodiscard]] bool show(std::string_view decoded, std::string& whole, std::size_t behind = 0) {
        const std::string_view answer = filter_.feed(decoded); // which follows thoughts that are shown, too
        return show_further(options_.show_thoughts ? decoded : answer, whole, behind);
    }
    /// \param behind bytes of the whole that follow `text`
    [[nodiscard]] bool show_further(std::string_view text, std::string& whole, std::size_t behind = 0) {
        fed_ += text.size();
        const stop_texts::step step = stops_.feed(text);
        for (const std::string_view part : step.shown) {
            out_ += part;
            shown_ += part.size();
        }
        if (step.stop) {
            whole.resize(whole.size() - behind - (fed_ - shown_)); // what is fed is the end of the whole
        }
        return step.stop.has_value();
    }

    const tokenizer* text_;
    options options_;
    stop_texts stops_;
    answer_decoder decoder_;
    thought_filter filter_;
    std::string held_;          ///< what may become a call, and was not fed to the filters
    bool follows_call_ = false; ///< and nothing but line ends since
    std::size_t missing_ = 0;   ///< bytes of the host's beginning that come again
    std::size_t fed_ = 0;       ///< bytes of the answer that went to stops_
    std::size_t shown_ = 0;     ///< and that came back
    std::string out_;
    std::string taken_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
