// SPDX-License-Identifier: MIT
// forced_text: what a grammar leaves no choice about, as the tokens that a tokenizer makes of it.
#ifndef BITNET_CONSTRAIN_FORCED_TEXT_HPP
#define BITNET_CONSTRAIN_FORCED_TEXT_HPP

#include <bitnet/constrain/match_lookahead.hpp>
#include <bitnet/constrain/match_readings.hpp>
#include <bitnet/constrain/token_tree.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Who cuts the text into tokens where the grammar allows one only.
enum class forced_text : unsigned char {
    /// The tokenizer does, as it would a text that is read, which is what models are trained with. These tokens need no
    /// logits, and a session runs several of them together.
    canonical,
    /// The model does: every token is chosen among all that are allowed.
    off,
};

namespace detail {

/// Finds these tokens for one constraint. Allocates in open() only.
///
/// Text that is forced is encoded with the tokens before it, whose kind of characters decides where words begin. Of its
/// end as many tokens are left to the model as may be parts of longer ones: those from the first of the last
/// `most_open` on with which a token begins that goes on behind the forced text, as the grammar allows.
class forced_tokens {
public:
    /// Bytes that are looked at for one find(), and those of them that come before: no piece of a text of 64 bytes is
    /// so long that encoding it allocates.
    static constexpr std::size_t window = 64;
    static constexpr std::size_t most_before = 16;
    static constexpr std::size_t most_open = 4;

    /// Bytes that a matcher has to look ahead.
    [[nodiscard]] static std::uint32_t lookahead(const token_trie& trie) noexcept {
        return static_cast<std::uint32_t>(window + trie_access::all(trie).longest());
    }

    forced_tokens() = default;
    /// Throws std::bad_alloc.
    explicit forced_tokens(const token_trie& trie) : trie_(&trie) { tokens_.reserve(window); }

    /// At the start of a text.
    void restart() noexcept {
        forget();
        recent_.fill(no_token);
    }
    /// The text goes on with this token.
    void take(token id) noexcept {
        std::copy(recent_.begin() + 1, recent_.end(), recent_.begin());
        recent_.back() = id;
        if (at_ < tokens_.size() && tokens_[at_] == id) {
            ++at_;
        } else {
            at_ = tokens_.size();
        }
        is_found_ = at_ < tokens_.size();
    }
    /// The tokens that come next, as many as are certain. \pre no byte is to come that `of` does not know
    [[nodiscard]] std::span<const token> find(match_readings& of) noexcept {
        if (!is_found_) {
            forget();
            look(of);
            is_found_ = true;
        }
        return std::span(tokens_).subspan(at_);
    }

private:
    void forget() noexcept {
        tokens_.clear();
        at_ = 0;
        is_found_ = false;
    }

    void look(match_readings& of) noexcept {
        const std::size_t before = put_before();
        match_lookahead ahead(of);
        const std::size_t size = ahead.take_forced(std::span(text_).subspan(before));
        if (size != 0 && encode(before, size)) {
            const bool is_cut = before + size == window;
            tokens_.resize(certain({text_.data() + before, size}, is_cut, ahead));
        } else {
            tokens_.clear();
        }
    }

    /// Writes the bytes of the last tokens. \return how many
    std::size_t put_before() noexcept {
        std::size_t first = recent_.size();
        std::size_t size = 0;
        while (first != 0 && recent_[first - 1] != no_token) {
            const std::size_t more = trie_->text().bytes_of(recent_[first - 1]).size();
            if (size + more > most_before) {
                break;
            }
            size += more;
            --first;
        }
        char* to = text_.data();
        for (; first < recent_.size(); ++first) {
            const std::string_view bytes = trie_->text().bytes_of(recent_[first]);
            to = std::copy(bytes.begin(), bytes.end(), to);
        }
        return size;
    }

    /// The tokens of text_[before, before + size). \return false where they are not what can be chosen
    [[nodiscard]] bool encode(std::size_t before, std::size_t size) noexcept {
        if (!encode_from(0, before + size)) {
            return false;
        }
        std::size_t at = 0;
        std::size_t first = 0;
        while (at < before && first < tokens_.size()) {
            at += trie_->text().bytes_of(tokens_[first++]).size();
        }
        tokens_.erase(tokens_.begin(), tokens_.begin() + static_cast<std::ptrdiff_t>(first));
        return at == before || encode_from(before, size); // a token of both has been cut already
    }
    [[nodiscard]] bool encode_from(std::size_t first, std::size_t size) noexcept {
        const std::string_view text(text_.data() + first, size);
        const tokenizer& by = trie_->text();
        tokens_.clear();
        if (!by.encode(text, tokens_, {.follows_text = true})) {
            return false;
        }
        std::size_t at = 0;
        for (const token id : tokens_) {
            const std::string_view bytes = by.bytes_of(id);
            if (bytes.empty() || by.is_special(id) || by.is_stop(id) || text.substr(at, bytes.size()) != bytes) {
                return false;
            }
            at += bytes.size();
        }
        return at == size;
    }

    /// How many of the tokens of `text`, which is what `ahead` took, nothing that follows it can change.
    /// \param is_cut it is a part of what is forced
    [[nodiscard]] std::size_t certain(std::string_view text, bool is_cut, match_lookahead& ahead) const noexcept {
        const std::size_t count = tokens_.size();
        const std::size_t open = (std::min)(count, most_open);
        if (is_cut && open != count) {
            return count - open;
        }
        std::size_t at = text.size();
        for (std::size_t i = count - open; i < count; ++i) {
            at -= trie_->text().bytes_of(tokens_[i]).size();
        }
        for (std::size_t i = count - open; i < count; ++i) {
            if (goes_on(text.substr(at), ahead)) {
                return i;
            }
            at += trie_->text().bytes_of(tokens_[i]).size();
        }
        return count;
    }
    /// Whether a token begins with `bytes`, is longer and allowed behind them.
    [[nodiscard]] bool goes_on(std::string_view bytes, match_lookahead& ahead) const noexcept {
        const token_tree& tree = trie_access::all(*trie_);
        token_tree::place below = tree.root();
        for (const char byte : bytes) {
            if (!tree.enter(below, static_cast<std::uint8_t>(byte))) {
                return false;
            }
        }
        const token_node* const nodes = tree.nodes();
        for (std::uint32_t n = below.first; n < below.last;) {
            const auto tried = ahead.try_byte(nodes[n].depth - bytes.size(), nodes[n].byte);
            if (tried == match_lookahead::verdict::unknown ||
                (tried == match_lookahead::verdict::allowed && tree.ends(n))) {
                ahead.drop_tried();
                return true;
            }
            n = tried == match_lookahead::verdict::allowed ? n + 1 : nodes[n].next;
        }
        ahead.drop_tried();
        return false;
    }

    const token_trie* trie_ = nullptr;
    std::array<token, 4> recent_{no_token, no_token, no_token, no_token}; ///< the last ones, the latest at the end
    std::array<char, window> text_{};
    std::vector<token> tokens_;
    std::size_t at_ = 0; ///< of these were taken
    bool is_found_ = false;
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
