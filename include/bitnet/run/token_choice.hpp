// SPDX-License-Identifier: MIT
// token_choice: which token a chooser takes, from as little of the output matrix as is enough.
#ifndef BITNET_RUN_TOKEN_CHOICE_HPP
#define BITNET_RUN_TOKEN_CHOICE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/model/ranking.hpp>
#include <bitnet/run/last_logits.hpp>
#include <bitnet/run/token_chooser.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI::detail {

/// Of one that allows any. \return errc::cancelled
[[nodiscard]] inline result<token> choose_any(last_logits& logits, const any_chooser& choose) {
    const std::size_t k = choose.needs();
    if (auto ran = logits.run(k); !ran) {
        return failed(ran);
    }
    const auto few = logits.found(k);
    return few ? choose.choose(*few) : choose.choose(logits.all());
}

/// Of one that allows some. A token without alternative needs no logits. \return errc::no_token_left, errc::cancelled
[[nodiscard]] inline result<token> choose_allowed(last_logits& logits, const any_chooser& choose) {
    const auto allowed = choose.allowed();
    if (!allowed) {
        return failed(allowed);
    }
    if (allowed->count == 0) {
        return error{errc::no_token_left, "session: no token is allowed"};
    }
    if (allowed->count == 1 && !allowed->few.empty()) {
        const scored_token only{static_cast<token>(allowed->few[0]), 0.0f};
        return choose.choose(std::span(&only, 1));
    }
    if (const auto few = logits.among(*allowed, choose.needs())) {
        return choose.choose(*few);
    }
    if (auto ran = logits.run(0); !ran) {
        return failed(ran);
    }
    return choose.choose(logits.all());
}

/// \return errc::no_token_left, errc::invalid_token: see check_choice; errc::cancelled
[[nodiscard]] inline result<token> choose_token(last_logits& logits, const any_chooser& choose) {
    return choose.is_constrained() ? choose_allowed(logits, choose) : choose_any(logits, choose);
}

[[nodiscard]] inline bool is_token_of(std::size_t vocabulary, token chosen) noexcept {
    return chosen >= 0 && static_cast<std::size_t>(chosen) < vocabulary;
}
/// Why there is no going on with a token that is none of the vocabulary.
[[nodiscard]] inline error not_a_token(std::size_t vocabulary, token chosen) {
    if (chosen == no_token) {
        return {errc::no_token_left, "session: the chooser chose no token"};
    }
    return {errc::invalid_token,
            sentence({"session: the chooser chose token ", chosen, ", the vocabulary has ", vocabulary})};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
