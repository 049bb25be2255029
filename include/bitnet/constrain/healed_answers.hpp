// SPDX-License-Identifier: MIT
// healed_answers: conversations whose answers may begin with a text that ends in the middle of a word.
#ifndef BITNET_CONSTRAIN_HEALED_ANSWERS_HPP
#define BITNET_CONSTRAIN_HEALED_ANSWERS_HPP

#include <bitnet/constrain/healed_prefix.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/prefix_source.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Stays where it is: its parts know each other's place.
class answer_healing final : public answer_healer {
public:
    [[nodiscard]] static result<std::unique_ptr<answer_healer>> open(const token_trie& trie) {
        return guarded([&]() -> result<std::unique_ptr<answer_healer>> {
            auto made = std::make_unique<answer_healing>(trie);
            auto healed = healed_prefix<inner_chooser>::open(made->inner_, trie);
            if (!healed) {
                return failed(healed);
            }
            made->healed_.emplace(*std::move(healed));
            return std::unique_ptr<answer_healer>(std::move(made));
        });
    }
    /// Use open().
    explicit answer_healing(const token_trie& trie) noexcept : trie_(&trie) {}

    [[nodiscard]] std::size_t taken_back(std::span<const token> begun) const noexcept override {
        return tokens_to_heal(*trie_, begun);
    }
    void begin(std::string_view missing) override { healed_->begin_behind(missing); }
    [[nodiscard]] any_chooser chooser(any_chooser free) noexcept override {
        inner_.chooser = free;
        return healed_->missing().empty() ? free : any_chooser(*healed_);
    }

private:
    /// What chooses, which is told what may be chosen.
    struct inner_chooser {
        std::optional<any_chooser> chooser;

        [[nodiscard]] std::size_t needs() const noexcept { return chooser->needs(); }
        [[nodiscard]] token choose(std::span<const float> all) const noexcept { return chooser->choose(all); }
        [[nodiscard]] token choose(std::span<const scored_token> some) const noexcept { return chooser->choose(some); }
        void accept(token id) const noexcept { chooser->accept(id); }
    };

    const token_trie* trie_;
    inner_chooser inner_;
    std::optional<healed_prefix<inner_chooser>> healed_;
};

} // namespace detail

/// For conversation_options::heal: say(text, begun) and begin_answer(begun) may end in the middle of a word. Borrows
/// the trie, of the tokenizer of the conversation's model, which must outlive it. Immutable: any number of
/// conversations may use it at a time, each of which has 8 bytes for each token of the vocabulary.
class healed_answers final : public prefix_source {
public:
    explicit healed_answers(const token_trie& trie) noexcept : trie_(&trie) {}
    explicit healed_answers(token_trie&&) = delete; // would dangle

    [[nodiscard]] result<std::unique_ptr<detail::answer_healer>> healer(const tokenizer& text) const override {
        if (&trie_->text() != &text) {
            return error{errc::invalid_argument, "healed_answers: the token_trie is of another tokenizer than that of "
                                                 "the conversation's model"};
        }
        return detail::answer_healing::open(*trie_);
    }

private:
    const token_trie* trie_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
