// SPDX-License-Identifier: MIT
// stream_decoder: the text of one token after another, in whole code points.
#ifndef BITNET_TEXT_STREAM_DECODER_HPP
#define BITNET_TEXT_STREAM_DECODER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <array>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

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
/// Holds back three bytes at most. Borrows the tokenizer, which must outlive it. Allocates in the constructor only, if
/// the vocabulary has tokens of more than 253 bytes; where that memory is refused, bytes that are held back before such
/// a token are lost.
class stream_decoder {
public:
    explicit stream_decoder(const tokenizer& t, stream_decoder_options options = {}) noexcept
        : tokenizer_(&t), show_special_(options.show_special),
          drop_space_(t.adds_space_prefix() && !options.follows_text) {
        const std::size_t most = held_.size() + t.longest_token();
        if (most > short_.size() && !detail::has_memory_for([&] { long_.resize(most); })) {
            long_.clear();
        }
    }
    explicit stream_decoder(tokenizer&&, stream_decoder_options = {}) = delete; // would dangle

    /// The text that became complete with `id`; may be empty. A token outside the vocabulary has no text.
    /// Valid until the next call.
    [[nodiscard]] std::string_view feed(token id) noexcept {
        std::string_view bytes = shows(id) ? tokenizer_->bytes_of(id) : std::string_view{};
        if (drop_space_ && !bytes.empty()) {
            bytes.remove_prefix(bytes.starts_with(' ') ? 1 : 0);
            drop_space_ = false;
        }
        const std::string_view text = after_held(bytes);
        held_size_ = detail::unfinished_tail(text);
        const std::string_view complete = text.substr(0, text.size() - held_size_);
        if (held_size_ != 0) {
            std::memcpy(held_.data(), complete.data() + complete.size(), held_size_);
        }
        return complete;
    }

    /// What is still held back: the start of a code point that was never completed. Valid until the next call.
    [[nodiscard]] std::string_view flush() noexcept { return {held_.data(), std::exchange(held_size_, 0)}; }

private:
    [[nodiscard]] bool shows(token id) const noexcept {
        return show_special_ ||
               !(tokenizer_->is_special(id) || tokenizer_->is_stop(id) || tokenizer_->bos() == std::optional(id));
    }
    /// The bytes that are held back, and `bytes` after them.
    [[nodiscard]] std::string_view after_held(std::string_view bytes) noexcept {
        const std::span<char> room = long_.empty() ? std::span<char>(short_) : std::span<char>(long_);
        if (held_size_ == 0 || held_size_ + bytes.size() > room.size()) {
            return bytes;
        }
        std::memcpy(room.data(), held_.data(), held_size_);
        if (!bytes.empty()) {
            std::memcpy(room.data() + held_size_, bytes.data(), bytes.size());
        }
        return {room.data(), held_size_ + bytes.size()};
    }

    const tokenizer* tokenizer_;
    std::array<char, 3> held_{};
    std::size_t held_size_ = 0;
    std::array<char, 256> short_{}; ///< for what is held back and the next token, one after the other
    std::string long_;              ///< the same for a vocabulary with longer tokens
    bool show_special_;
    bool drop_space_; ///< the first byte is still to come, and is dropped if it is a space
};

} // namespace bitnet::inline BITNET_ABI

#endif
