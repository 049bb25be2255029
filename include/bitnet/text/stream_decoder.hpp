// SPDX-License-Identifier: MIT
// stream_decoder: the text of one token after another, in whole code points.
#ifndef BITNET_TEXT_STREAM_DECODER_HPP
#define BITNET_TEXT_STREAM_DECODER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

struct stream_decoder_options {
    /// As in decode_options.
    bool follows_text = false;
    /// Whether control tokens are returned as they are spelled. If false they are left out, as people who read an
    /// answer expect: tokens that tokenizer::is_special() or is_stop() knows, and bos. tokenizer::decode() has them
    /// always.
    bool show_special = false;
};

/// Turns tokens into text that can be shown at once: a code point whose bytes are spread over several tokens is
/// returned with the last of them. No byte is replaced: those that are not UTF-8 are returned as they are, so that all
/// the text that feed() and flush() return is, byte for byte, tokenizer::decode() of all the tokens that are shown.
/// Holds back three bytes at most. Borrows the tokenizer, which must outlive it. Allocates in the constructor only.
class stream_decoder {
public:
    explicit stream_decoder(const tokenizer& t, stream_decoder_options options = {})
        : tokenizer_(&t), show_special_(options.show_special),
          drop_space_(t.adds_space_prefix() && !options.follows_text) {
        text_.reserve(t.longest_token() + 3);
    }
    explicit stream_decoder(tokenizer&&, stream_decoder_options = {}) = delete; // would dangle

    /// The text that became complete with `id`; may be empty. A token outside the vocabulary has no text.
    /// Valid until the next call.
    [[nodiscard]] std::string_view feed(token id) {
        drop_returned();
        std::string_view bytes = shows(id) ? tokenizer_->bytes_of(id) : std::string_view{};
        if (drop_space_ && !bytes.empty()) {
            bytes.remove_prefix(bytes.starts_with(' ') ? 1 : 0);
            drop_space_ = false;
        }
        text_.append(bytes);
        returned_ = text_.size() - detail::unfinished_tail(text_);
        return std::string_view(text_).substr(0, returned_);
    }

    /// What is still held back: the start of a code point that was never completed. Valid until the next call.
    [[nodiscard]] std::string_view flush() {
        drop_returned();
        returned_ = text_.size();
        return text_;
    }

private:
    [[nodiscard]] bool shows(token id) const noexcept {
        return show_special_ ||
               !(tokenizer_->is_special(id) || tokenizer_->is_stop(id) || tokenizer_->bos() == std::optional(id));
    }
    void drop_returned() {
        text_.erase(0, returned_);
        returned_ = 0;
    }

    const tokenizer* tokenizer_;
    std::string text_;                    ///< what was returned last, then what is held back
    std::string::size_type returned_ = 0; ///< bytes of `text_` that were returned
    bool show_special_;
    bool drop_space_; ///< the first byte is still to come, and is dropped if it is a space
};

} // namespace bitnet::inline BITNET_ABI

#endif
