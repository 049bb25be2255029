// SPDX-License-Identifier: MIT
// healed_prefix: goes on with a text that ends in the middle of a word, as if the model had written its end.
#ifndef BITNET_CONSTRAIN_HEALED_PREFIX_HPP
#define BITNET_CONSTRAIN_HEALED_PREFIX_HPP

#include <bitnet/constrain/mask_bits.hpp>
#include <bitnet/constrain/token_tree.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

inline constexpr std::size_t most_tokens_to_heal = 4;

} // namespace detail

/// How many tokens at the end of a prompt are to be taken back, so that the model chooses how the word goes on that
/// they may have cut: the most of the last four whose bytes another, longer token begins with. 0 where none does.
/// Control tokens stay, and so does the first token. Their bytes have to come first again: healed_prefix sees to that,
/// and where a grammar follows token_constraint::restart_behind().
[[nodiscard]] inline std::size_t tokens_to_heal(const token_trie& trie, std::span<const token> prompt) noexcept {
    const tokenizer& text = trie.text();
    const detail::token_tree& tree = detail::trie_access::all(trie);
    std::size_t found = 0;
    for (std::size_t count = 1; count <= detail::most_tokens_to_heal && count < prompt.size(); ++count) {
        const std::span<const token> last = prompt.last(count);
        if (text.is_special(last[0]) || text.is_stop(last[0]) || text.bytes_of(last[0]).empty()) {
            break;
        }
        detail::token_tree::place at = tree.root();
        bool is_there = true;
        for (const token id : last) {
            for (const char byte : text.bytes_of(id)) {
                is_there = is_there && tree.enter(at, static_cast<std::uint8_t>(byte));
            }
        }
        found = is_there && at.first != at.last ? count : found;
    }
    return found;
}

/// A constrained_token_chooser for a text whose end was taken back: until that has come again only such tokens are
/// allowed as begin what is missing of it, or begin with it and go on. From there on it is as if it were not there.
/// "The capital of Fra" becomes " France" so where " Fra" alone would rarely be followed by "nce".
///
///     auto healed = *healed_prefix<sampler>::open(choose, trie);
///     const auto fed = *healed.begin(prompt);                 // fewer tokens than the prompt has
///     session.feed(std::span(prompt).first(fed));
///     while (auto id = session.next(healed)) ...              // missing() bytes come first that the prompt had
///
/// In a conversation: conversation_options::heal. With a grammar, token_constraint::restart_behind() takes what
/// tokens_to_heal() says, in place of this. Borrows both, which must outlive it, and serves one sequence. Allocates in
/// open() and begin() only.
template <token_chooser C> class healed_prefix {
    static_assert(!constrained_token_chooser<C>, "a grammar takes a prefix itself: token_constraint::restart_behind()");

public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<healed_prefix> open(C& inner, const token_trie& trie) {
        healed_prefix made(inner, trie);
        error failure;
        detail::allocate(made.bits_, (trie.vocabulary() + 63) / 64, "healed prefix", failure);
        detail::allocate(made.few_, allowed_tokens::most_listed, "healed prefix", failure);
        detail::allocate(made.candidates_, trie.vocabulary(), "healed prefix", failure);
        if (!detail::has_memory_for(
                [&] { made.missing_.reserve(detail::most_tokens_to_heal * trie.text().longest_token()); })) {
            return detail::out_of_memory();
        }
        return failure.code != errc{} ? result<healed_prefix>(failure) : std::move(made);
    }
    static result<healed_prefix> open(C&, token_trie&&) = delete; // would dangle

    /// \param prompt all tokens of the sequence \return how many of them are to be fed; errc::out_of_memory.
    [[nodiscard]] result<std::size_t> begin(std::span<const token> prompt) {
        return detail::guarded([&]() -> result<std::size_t> {
            const std::size_t kept = prompt.size() - tokens_to_heal(*trie_, prompt);
            missing_.clear();
            for (const token id : prompt.subspan(kept)) {
                missing_ += trie_->text().bytes_of(id);
            }
            at_ = 0;
            return kept;
        });
    }
    /// The same of a text that follows others. \return the part of it that is to be said; what tokenizer::encode
    /// returns.
    [[nodiscard]] result<std::string_view> begin(std::string_view begun) {
        return detail::guarded([&]() -> result<std::string_view> {
            std::vector<token> tokens{no_token}; // what stands in front
            if (auto encoded = trie_->text().encode(begun, tokens, {.follows_text = true}); !encoded) {
                return failed(encoded);
            }
            if (auto kept = begin(tokens); !kept) {
                return failed(kept);
            }
            if (!begun.ends_with(missing_)) { // spelled otherwise, as U+2581 for a space
                missing_.clear();
            }
            return begun.substr(0, begun.size() - missing_.size());
        });
    }
    /// The same where the tokens of these bytes were taken back already. Allocates nothing for what tokens_to_heal()
    /// takes back.
    void begin_behind(std::string_view missing) {
        missing_ = missing;
        at_ = 0;
    }
    /// The bytes that were taken back and have not come again.
    [[nodiscard]] std::string_view missing() const noexcept { return std::string_view(missing_).substr(at_); }

    [[nodiscard]] result<allowed_tokens> allowed() {
        if (missing().empty()) {
            detail::allow_all(bits_.span(), trie_->vocabulary());
            return allowed_tokens{trie_->vocabulary(), bits_.span()};
        }
        std::fill_n(bits_.data(), bits_.size(), std::uint64_t{0});
        std::size_t count = 0;
        detail::trie_access::for_each_beginning(*trie_, missing(), [&](std::uint32_t id) {
            bits_[id / 64] |= std::uint64_t{1} << id % 64;
            ++count;
        });
        return allowed_tokens{count, bits_.span(), detail::listed(bits_.span(), count, few_.span())};
    }
    [[nodiscard]] std::size_t needs() { return inner_->needs(); }
    [[nodiscard]] token choose(std::span<const float> all) {
        if (missing().empty()) {
            return inner_->choose(all);
        }
        const auto some = allowed();
        return some && some->count != 0 ? inner_->choose(detail::candidates_of(some->bits, all, candidates_.span()))
                                        : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) { return inner_->choose(largest); }
    void accept(token id) {
        inner_->accept(id);
        at_ += (std::min)(missing().size(), trie_->text().bytes_of(id).size());
    }

private:
    healed_prefix(C& inner, const token_trie& trie) noexcept : inner_(&inner), trie_(&trie) {}

    C* inner_;
    const token_trie* trie_;
    std::string missing_;
    std::size_t at_ = 0; ///< bytes of it that have come
    buffer<std::uint64_t> bits_;
    buffer<std::uint32_t> few_;
    buffer<scored_token> candidates_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
