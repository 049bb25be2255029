// SPDX-License-Identifier: MIT
// matcher_options: how much a matcher may hold.
#ifndef BITNET_CONSTRAIN_MATCHER_OPTIONS_HPP
#define BITNET_CONSTRAIN_MATCHER_OPTIONS_HPP

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// How much a matcher may hold. Its memory is 16 bytes an item, 24 a frame and 24 a link, 140 for each item at once (to
/// find them again) and 4 for each rule: 10 MiB by default. matcher::open() allocates it, and touches next to none:
/// pages that no text needs are never written.
struct matcher_options {
    std::uint32_t items = 65'536;            ///< of all positions that can be gone back to
    std::uint32_t items_at_once = 8'192;     ///< ways in which one text can be read so far
    std::uint32_t frames = 65'536;           ///< rules that are open, in all ways of reading
    std::uint32_t links = 262'144;           ///< ways back out of them
    std::uint32_t longest_lookahead = 1'024; ///< bytes that allows() looks at, such as those of the longest token
};

} // namespace bitnet::inline BITNET_ABI

#endif
