// SPDX-License-Identifier: MIT
// allowed_tokens: which tokens of a vocabulary may be chosen next.
#ifndef BITNET_RUN_ALLOWED_TOKENS_HPP
#define BITNET_RUN_ALLOWED_TOKENS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <cstdint>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A set of tokens. Views memory of the chooser that made it.
struct allowed_tokens {
    /// Sets of at most so many are listed, so that only their rows of the output matrix are computed.
    static constexpr std::size_t most_listed = 4096;

    std::size_t count = 0;                   ///< how many there are
    std::span<const std::uint64_t> bits;     ///< bit id % 64 of word id / 64; ids beyond are not allowed
    std::span<const std::uint32_t> few = {}; ///< the ids, ascending, if count <= most_listed

    [[nodiscard]] bool contains(token id) const noexcept {
        const auto at = static_cast<std::size_t>(id);
        return at / 64 < bits.size() && (bits[at / 64] >> at % 64 & 1) != 0;
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
