// SPDX-License-Identifier: MIT
// repetition_penalty: finds the tokens that would go on with what was said before, for the sampler's DRY step.
#ifndef BITNET_RUN_REPETITION_PENALTY_HPP
#define BITNET_RUN_REPETITION_PENALTY_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/memory_source.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/sort_first.hpp>
#include <bitnet/run/logit_bias.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// "Don't repeat yourself" (P. E. Weidmann, text-generation-webui, pull request 5677, 2024): if the last n tokens,
/// n >= allowed_length, stood somewhere before and t followed them, the logit of t loses
/// multiplier * base^(n - allowed_length), with the largest such n. A sequence breaker is in no such sequence and loses
/// nothing. Here at most 1e6 is lost; "somewhere before" is within the last `window` tokens, what is equal there may
/// begin earlier.
///
/// For every token of the window the length of the longest common end of what ends there and of all tokens is kept
/// up to date: a time linear in the window for each token.
class repetition_penalty {
public:
    struct settings {
        float multiplier = 0.0f; ///< 0 is off
        float base = 1.75f;
        std::size_t allowed_length = 2;
        std::size_t window = 1024;
    };
    struct entry {
        token id;
        std::uint32_t length; ///< n
        float penalty;
    };

    repetition_penalty() noexcept = default; ///< off

    /// \return errc::invalid_argument for a breaker outside the vocabulary, errc::out_of_memory.
    [[nodiscard]] static result<repetition_penalty> open(const settings& chosen, std::span<const token> breakers,
                                                         std::size_t vocabulary, const memory_from& from) {
        repetition_penalty made;
        made.settings_ = chosen;
        const std::size_t window = chosen.multiplier > 0.0f ? chosen.window : 0;
        error failure;
        allocate(made.tokens_, window, "tokens of the DRY window", failure, from);
        allocate(made.lengths_, window, "lengths of the DRY window", failure, from);
        allocate(made.entries_, window, "penalties of the DRY window", failure, from);
        allocate(made.breakers_, breakers.size(), "sequence breakers", failure, from);
        if (failure.code != errc{}) {
            return failure;
        }
        for (std::size_t i = 0; i < breakers.size(); ++i) {
            if (breakers[i] < 0 || static_cast<std::size_t>(breakers[i]) >= vocabulary) {
                return error_saying(errc::invalid_argument, {"sampler: a sequence breaker is token ", breakers[i],
                                                             ", the vocabulary has ", vocabulary});
            }
            made.breakers_[i] = breakers[i];
        }
        sort_first(made.breakers_.data(), breakers.size(), breakers.size(),
                   [](token a, token b) noexcept { return a < b; });
        return made;
    }

    /// How many can lose at the same time.
    [[nodiscard]] std::size_t most() const noexcept { return entries_.size(); }
    /// The tokens that lose, each once, in the order of the vocabulary.
    [[nodiscard]] std::span<const entry> entries() const noexcept { return entries_.span().first(listed_); }
    [[nodiscard]] std::span<const token> breakers() const noexcept { return breakers_.span(); }
    [[nodiscard]] const entry* find(token id) const noexcept { return find_token(entries(), id); }

    /// `id` is the next of all tokens.
    void accept(token id) noexcept {
        const std::size_t window = tokens_.size();
        if (window == 0) {
            return;
        }
        const default_float_environment environment;
        const bool breaks = is_breaker(id);
        // From the newest token back, because a length needs the one before it as it was. The oldest token of a full
        // window leaves it.
        for (std::size_t age = 1; age <= kept_ && age < window; ++age) {
            const std::size_t at = slot(age);
            const std::uint32_t before = age < kept_ ? lengths_[slot(age + 1)] : 0;
            lengths_[at] = !breaks && tokens_[at] == id ? before + 1 : 0;
        }
        tokens_[next_] = id;
        lengths_[next_] = 0;
        next_ = next_ + 1 == window ? 0 : next_ + 1;
        kept_ += kept_ < window ? 1u : 0u;
        list();
    }

    void reset() noexcept {
        kept_ = 0;
        next_ = 0;
        listed_ = 0;
    }

private:
    /// Where the token stands that came `age` tokens ago; 1 is the newest. \pre 1 <= age <= kept_
    [[nodiscard]] std::size_t slot(std::size_t age) const noexcept {
        return age <= next_ ? next_ - age : next_ + tokens_.size() - age;
    }

    [[nodiscard]] bool is_breaker(token id) const noexcept { return find_token(breakers(), id) != nullptr; }

    void list() noexcept {
        std::size_t found = 0;
        for (std::size_t age = kept_; age > 1; --age) {
            const std::uint32_t length = lengths_[slot(age)];
            const token next = tokens_[slot(age - 1)];
            if (length >= settings_.allowed_length && !is_breaker(next)) {
                entries_[found++] = {next, length, 0.0f};
            }
        }
        sort_first(entries_.data(), found, found, [](const entry& a, const entry& b) noexcept {
            return a.id != b.id ? a.id < b.id : a.length > b.length;
        });
        listed_ = 0;
        for (std::size_t i = 0; i < found; ++i) {
            if (listed_ == 0 || entries_[i].id != entries_[listed_ - 1].id) {
                entries_[listed_] = entries_[i];
                entries_[listed_++].penalty = penalty_of(entries_[i].length);
            }
        }
    }

    /// By squaring, so that every platform multiplies in the same order. \pre length >= allowed_length
    [[nodiscard]] float penalty_of(std::uint32_t length) const noexcept {
        constexpr float most = 1e6f;
        float power = settings_.base;
        float penalty = settings_.multiplier;
        for (std::size_t rest = length - settings_.allowed_length; rest != 0 && penalty < most; rest /= 2) {
            penalty = rest % 2 != 0 ? penalty * power : penalty;
            power = power < most ? power * power : power; // a further factor would exceed the limit anyway
        }
        return penalty < most ? penalty : most;
    }

    settings settings_;
    buffer<token> tokens_;          ///< ring of the last tokens
    buffer<std::uint32_t> lengths_; ///< [window] of the longest common end of what ends there and of all tokens
    buffer<entry> entries_;
    buffer<token> breakers_; ///< ascending
    std::size_t next_ = 0;   ///< the slot of the next token
    std::size_t kept_ = 0;
    std::size_t listed_ = 0;
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
