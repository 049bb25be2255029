// SPDX-License-Identifier: MIT
// constrained_chooser: a sampler, or any other chooser, that chooses among the tokens which a grammar allows.
#ifndef BITNET_CONSTRAIN_CONSTRAINED_CHOOSER_HPP
#define BITNET_CONSTRAIN_CONSTRAINED_CHOOSER_HPP

#include <bitnet/constrain/mask_bits.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/allowed_tokens.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <span>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// A constrained_token_chooser for session.next(): the grammar's mask comes first, then all steps of the sampler in its
/// own order, which counts among the tokens that are left. Penalties and top_k see no forbidden token, and no forbidden
/// one is ever chosen. The same token whichever way the session takes: all logits, those of a screened head, of the
/// allowed rows alone, or none where one token is allowed. Text that the grammar forces becomes the tokenizer's own
/// tokens, of which the session runs several in a pass: see constraint_options::forced.
///
/// Borrows both, which must outlive it, and serves one sequence. `C::choose(largest)` has to work with any number of
/// tokens, also while needs() is 0, as the sampler's does.
///
///     while (auto id = session.next(choose)) ...   // stops at a stop token, which comes where the text may end
template <token_chooser C> class constrained_chooser {
public:
    /// \return errc::out_of_memory.
    [[nodiscard]] static result<constrained_chooser> open(C& inner, token_constraint& constraint) {
        auto candidates = buffer<scored_token>::allocate(constraint.vocabulary(), "constrained chooser");
        if (!candidates) {
            return failed(candidates);
        }
        return constrained_chooser(inner, constraint, *std::move(candidates));
    }

    [[nodiscard]] result<allowed_tokens> allowed() { return constraint_->allowed(); }
    /// See foreseeing_token_chooser.
    [[nodiscard]] std::span<const token> forced() noexcept { return constraint_->forced(); }
    [[nodiscard]] std::size_t needs() { return inner_->needs(); }
    /// \return no_token if none is allowed, which allowed() tells before.
    [[nodiscard]] token choose(std::span<const float> all) {
        const auto allowed = constraint_->allowed();
        return allowed ? inner_->choose(detail::candidates_of(allowed->bits, all, candidates_.span())) : no_token;
    }
    [[nodiscard]] token choose(std::span<const scored_token> largest) { return inner_->choose(largest); }
    void accept(token id) {
        inner_->accept(id);
        static_cast<void>(constraint_->accept(id));
    }

private:
    constrained_chooser(C& inner, token_constraint& constraint, buffer<scored_token> candidates) noexcept
        : inner_(&inner), constraint_(&constraint), candidates_(std::move(candidates)) {}

    C* inner_;
    token_constraint* constraint_;
    buffer<scored_token> candidates_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
