// SPDX-License-Identifier: MIT
// token_trie: what grammars need to know of a vocabulary: the bytes of all its tokens, and which ones end a text.
#ifndef BITNET_CONSTRAIN_TOKEN_TRIE_HPP
#define BITNET_CONSTRAIN_TOKEN_TRIE_HPP

#include <bitnet/constrain/token_tree.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/fwd.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

struct trie_access;

/// How many characters a text has of those that a JSON string holds as they are, which are all but quotes, backslashes
/// and control characters; 0 where it has others, or a part of one.
[[nodiscard]] inline std::size_t plain_characters(std::string_view text) noexcept {
    std::size_t count = 0;
    for (std::size_t at = 0; at < text.size(); ++count) {
        const decoded_code_point next = first_code_point(text.substr(at));
        if (next.value == invalid_code_point || next.value < 0x20 || next.value == U'"' || next.value == U'\\') {
            return 0;
        }
        at += next.size;
    }
    return count;
}

} // namespace detail

/// The tokens of one vocabulary, sorted out once for all grammars. Control and unknown tokens are no text; the stop
/// tokens end one. Immutable: any number of threads and of constraints may use it at a time. Borrows the tokenizer,
/// which must outlive it. About 5 MB and 20 ms for LLaMA-3's 128,256 tokens.
class token_trie {
public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<token_trie> open(const tokenizer& text) {
        return detail::guarded([&] { return make(text); });
    }
    static result<token_trie> open(tokenizer&&) = delete; // would dangle

    [[nodiscard]] const tokenizer& text() const noexcept { return *text_; }
    /// Tokens of the vocabulary, control tokens included.
    [[nodiscard]] std::size_t vocabulary() const noexcept { return vocabulary_; }
    [[nodiscard]] std::size_t memory_bytes() const noexcept {
        return all_.memory_bytes() + special_.memory_bytes() + long_.memory_bytes() + plain_bits_.size_bytes();
    }

private:
    friend struct detail::trie_access;

    /// Plain texts are told apart by their characters up to this many; longer ones have a tree of their own.
    static constexpr std::size_t most_characters = 32;

    [[nodiscard]] static result<token_trie> make(const tokenizer& text) {
        token_trie made;
        made.text_ = &text;
        made.vocabulary_ = text.vocabulary_size();
        made.words_ = (made.vocabulary_ + 63) / 64;
        error failure;
        detail::allocate(made.plain_bits_, (most_characters + 2) * std::uint64_t{made.words_}, "token trie", failure);
        if (failure.code != errc{}) {
            return failure;
        }
        const std::vector<kind> kinds = made.sort_out(text);
        const auto all_sorted = sorted_tokens(text);
        if (!all_sorted) {
            return failed(all_sorted);
        }
        const std::span<const detail::token_bytes> sorted = all_sorted->span();
        std::vector<detail::token_bytes> special;
        std::vector<detail::token_bytes> longer;
        for (const detail::token_bytes& one : sorted) {
            if (kinds[one.id] != kind::plain) {
                (kinds[one.id] == kind::special ? special : longer).push_back(one);
            }
        }
        made.add_shorter();
        for (const auto& [tree, tokens] :
             {tree_of{&made.all_, sorted}, tree_of{&made.special_, special}, tree_of{&made.long_, longer}}) {
            auto opened = detail::token_tree::open(tokens);
            if (!opened) {
                return failed(opened);
            }
            *tree = *std::move(opened);
        }
        return made;
    }
    struct tree_of {
        detail::token_tree* tree;
        std::span<const detail::token_bytes> tokens;
    };
    enum class kind : std::uint8_t { plain, longer, special };

    /// Calls use(bytes, id) of every token that is text.
    template <class Use> static void for_each_text(const tokenizer& text, Use&& use) {
        for (std::uint32_t id = 0; id < text.vocabulary_size(); ++id) {
            const std::string_view bytes = text.bytes_of(static_cast<token>(id));
            if (!bytes.empty() && !text.is_special(static_cast<token>(id)) && !text.is_stop(static_cast<token>(id))) {
                use(bytes, id);
            }
        }
    }
    /// Sets the bits of plain texts. \return the kind of each token
    [[nodiscard]] std::vector<kind> sort_out(const tokenizer& text) {
        std::vector<kind> kinds(vocabulary_, kind::special);
        for_each_text(text, [&](std::string_view bytes, std::uint32_t id) {
            const std::size_t characters = detail::plain_characters(bytes);
            if (characters == 0) {
                return;
            }
            kinds[id] = characters > most_characters ? kind::longer : kind::plain;
            const std::size_t row = (std::min)(characters, most_characters + 1);
            plain_bits_[row * words_ + id / 64] |= std::uint64_t{1} << id % 64;
            ++plain_counts_[row];
        });
        return kinds;
    }
    /// By their bytes: the first two of which leave little to be sorted.
    [[nodiscard]] static result<buffer<detail::token_bytes>> sorted_tokens(const tokenizer& text) {
        const auto start_of = [](std::string_view bytes) {
            return static_cast<std::uint8_t>(bytes[0]) * std::size_t{256} +
                   (bytes.size() > 1 ? static_cast<std::uint8_t>(bytes[1]) : 0u);
        };
        std::vector<std::uint32_t> places(std::size_t{65536} + 1); // of tokens with each start: where they begin
        for_each_text(text, [&](std::string_view bytes, std::uint32_t) { ++places[start_of(bytes) + 1]; });
        std::partial_sum(places.begin(), places.end(), places.begin());
        auto sorted = buffer<detail::token_bytes>::allocate_uninitialized(places.back(), "token trie",
                                                                          {nullptr, {memory_use::temporary, true}});
        if (!sorted) {
            return failed(sorted);
        }
        for_each_text(text, [&](std::string_view bytes, std::uint32_t id) {
            (*sorted)[places[start_of(bytes)]++] = detail::token_bytes::of(bytes, id);
        });
        auto first = sorted->span().begin();
        for (const std::uint32_t end : places) { // by now: where they end
            const auto last = sorted->span().begin() + static_cast<std::ptrdiff_t>(end);
            std::sort(first, last);
            first = last;
        }
        return sorted;
    }

    /// Row k of plain_bits_ has the tokens of k characters; from here on, of k or fewer.
    void add_shorter() noexcept {
        for (std::size_t row = 1; row < plain_counts_.size(); ++row) {
            plain_counts_[row] += plain_counts_[row - 1];
            for (std::size_t i = 0; i < words_; ++i) {
                plain_bits_[row * words_ + i] |= plain_bits_[(row - 1) * words_ + i];
            }
        }
    }

    const tokenizer* text_ = nullptr;
    std::size_t vocabulary_ = 0;
    std::size_t words_ = 0; ///< of 64 tokens
    detail::token_tree all_;
    detail::token_tree special_; ///< those that are no plain text
    detail::token_tree long_;    ///< those that are plain text of more than most_characters
    buffer<std::uint64_t> plain_bits_;
    std::array<std::uint32_t, most_characters + 2> plain_counts_{};
};

namespace detail {

/// How masks are made of a trie.
struct trie_access {
    static constexpr std::size_t most_characters = token_trie::most_characters;

    [[nodiscard]] static const token_tree& all(const token_trie& of) noexcept { return of.all_; }
    [[nodiscard]] static const token_tree& special(const token_trie& of) noexcept { return of.special_; }
    [[nodiscard]] static const token_tree& longer(const token_trie& of) noexcept { return of.long_; }
    [[nodiscard]] static std::size_t words(const token_trie& of) noexcept { return of.words_; }
    /// Calls use(id) of each token that `bytes` begin with, and then of each that begins with them and is longer.
    template <class Use> static void for_each_beginning(const token_trie& of, std::string_view bytes, Use&& use) {
        token_tree::place at = of.all_.root();
        for (const char byte : bytes) {
            if (!of.all_.enter(at, static_cast<std::uint8_t>(byte))) {
                return;
            }
            for (const std::uint32_t id : of.all_.tokens_at(at)) {
                use(id);
            }
        }
        for (const std::uint32_t id : of.all_.tokens_below(at)) {
            use(id);
        }
    }
    /// Plain texts of at most so many characters, all of them where these are more than most_characters: as bits, and
    /// how many.
    [[nodiscard]] static std::span<const std::uint64_t> plain(const token_trie& of, std::size_t characters) noexcept {
        const std::size_t row = (std::min)(characters, most_characters + 1);
        return of.plain_bits_.span().subspan(row * of.words_, of.words_);
    }
    [[nodiscard]] static std::uint32_t plain_count(const token_trie& of, std::size_t characters) noexcept {
        return of.plain_counts_[(std::min)(characters, most_characters + 1)];
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
