// SPDX-License-Identifier: MIT
// token_draft: what guesses the tokens that a session will give next.
#ifndef BITNET_RUN_TOKEN_DRAFT_HPP
#define BITNET_RUN_TOKEN_DRAFT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/token.hpp>

#include <concepts>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// propose(all, at_most): guesses for the tokens behind `all`, the tokens of a session (no_token where an embedding was
/// fed), at most so many, none if it has none. They are read before the next call. Any guess is allowed, ids that no
/// vocabulary has too: one that is wrong costs time and nothing else. `all` need not continue that of the call before.
template <class D>
concept token_draft = requires(D& draft, std::span<const token> all, std::size_t at_most) {
    { draft.propose(all, at_most) } -> std::same_as<std::span<const token>>;
};

} // namespace bitnet::inline BITNET_ABI

#endif
