// SPDX-License-Identifier: MIT
// screen_statistics: what finding the largest logits through a screen has cost.
#ifndef BITNET_MODEL_SCREEN_STATISTICS_HPP
#define BITNET_MODEL_SCREEN_STATISTICS_HPP

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a session's screened steps cost.
struct screen_statistics {
    std::uint64_t steps = 0;         ///< times that largest logits were asked for
    std::uint64_t full_passes = 0;   ///< of these, how often the whole head was read instead
    std::uint64_t rescored_rows = 0; ///< rows of the head that were read in the others
    std::uint64_t bytes_read = 0;    ///< of the screen and the head together
};

} // namespace bitnet::inline BITNET_ABI

#endif
