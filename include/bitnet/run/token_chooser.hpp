// SPDX-License-Identifier: MIT
// token_chooser: what chooses the next token from logits, such as a sampler or a class of the program's own.
#ifndef BITNET_RUN_TOKEN_CHOOSER_HPP
#define BITNET_RUN_TOKEN_CHOOSER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/text/token.hpp>

#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Chooses tokens for one sequence. A session calls, for each token: needs(), in steps more than once, then one of the
/// two choose(), then accept() with the token that choose() returned; where that is none of the vocabulary, next() ends
/// with stop_reason::error instead (no_token: errc::no_token_left). None of them may throw.
///
/// needs(): how many of the largest logits suffice to choose, given the tokens accepted so far. 0: all of them, in the
/// order of the vocabulary. A small number lets the session skip most of the head's work, if it has a screen for it.
///
/// choose(all): the token, from the logits of the whole vocabulary; `all[id]` is that of token id. A session may call
/// this one whatever needs() says, so it must work for every chooser.
///
/// choose(largest): the token, from exactly needs() or more of the largest logits, in any order, every token once; or
/// from all of them, if the vocabulary has fewer. Must give the token that the other choose() would give. Never called
/// while needs() is 0.
///
/// accept(id): `id` was taken: the next call of needs() and choose() is for the token after it.
template <class C>
concept token_chooser = requires(C& chooser, std::span<const float> all, std::span<const scored_token> largest,
                                 token id) {
    { chooser.needs() } -> std::convertible_to<std::size_t>;
    { chooser.choose(all) } -> std::same_as<token>;
    { chooser.choose(largest) } -> std::same_as<token>;
    chooser.accept(id);
};

/// A token_chooser to which some tokens are forbidden. A session calls allowed() before needs(), and schedulers more
/// than once; and then one of the two choose(), as before: choose(largest) with the needs() largest logits of the
/// tokens that are allowed (all of these, if they are fewer; one alone with a logit of 0, because its logit decides
/// nothing), or choose(all), which has to leave out the others itself. needs() may be 0 and choose(largest) is called
/// with all tokens that are allowed.
///
/// An error of allowed() ends next() with stop_reason::error, and so does a set without a token.
template <class C>
concept constrained_token_chooser = token_chooser<C> && requires(C& chooser) {
    { chooser.allowed() } -> std::same_as<result<allowed_tokens>>;
};

/// A constrained_token_chooser that knows tokens before they are asked for: forced() are those that it will choose
/// next, one after the other, whatever the logits are. Before it asks for them a session runs up to 15 in the pass of
/// the token that waits, in next() and step(), and so do schedulers. They are guesses to it, as those of
/// any_session::run_ahead: it asks allowed() and choose() of each. May be called at any time; what it gives is read
/// before the next call.
template <class C>
concept foreseeing_token_chooser = constrained_token_chooser<C> && requires(C& chooser) {
    { chooser.forced() } -> std::same_as<std::span<const token>>;
};

/// A reference to any token_chooser, for functions that are no templates. Borrows the chooser, which must outlive it.
class any_chooser {
public:
    template <token_chooser C>
    requires(!std::is_const_v<C> && !std::same_as<C, any_chooser>) any_chooser(C& chooser)
    noexcept
        : self_(std::addressof(chooser)),
          needs_([](void* self) noexcept -> std::size_t { return static_cast<C*>(self)->needs(); }),
          choose_([](void* self, std::span<const float> all) noexcept { return static_cast<C*>(self)->choose(all); }),
          choose_among_([](void* self, std::span<const scored_token> largest) noexcept {
              return static_cast<C*>(self)->choose(largest);
          }),
          accept_([](void* self, token id) noexcept { static_cast<void>(static_cast<C*>(self)->accept(id)); }) {
        if constexpr (constrained_token_chooser<C>) {
            allowed_ = [](void* self) { return static_cast<C*>(self)->allowed(); };
        }
        if constexpr (foreseeing_token_chooser<C>) {
            forced_ = [](void* self) noexcept { return static_cast<C*>(self)->forced(); };
        }
    }

    [[nodiscard]] std::size_t needs() const noexcept { return needs_(self_); }
    [[nodiscard]] token choose(std::span<const float> all) const noexcept { return choose_(self_, all); }
    [[nodiscard]] token choose(std::span<const scored_token> largest) const noexcept {
        return choose_among_(self_, largest);
    }
    void accept(token id) const noexcept { accept_(self_, id); }

    /// Whether it is a constrained_token_chooser.
    [[nodiscard]] bool is_constrained() const noexcept { return allowed_ != nullptr; }
    /// \pre is_constrained()
    [[nodiscard]] result<allowed_tokens> allowed() const { return allowed_(self_); }
    /// The tokens that it will choose next; none if it is no foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() const noexcept {
        return forced_ != nullptr ? forced_(self_) : std::span<const token>();
    }

private:
    void* self_;
    std::size_t (*needs_)(void*) noexcept;
    token (*choose_)(void*, std::span<const float>) noexcept;
    token (*choose_among_)(void*, std::span<const scored_token>) noexcept;
    void (*accept_)(void*, token) noexcept;
    result<allowed_tokens> (*allowed_)(void*) = nullptr;
    std::span<const token> (*forced_)(void*) noexcept = nullptr;
};

} // namespace bitnet::inline BITNET_ABI

#endif
