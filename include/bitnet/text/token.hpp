// SPDX-License-Identifier: MIT
// token: the number of one entry of a vocabulary.
#ifndef BITNET_TEXT_TOKEN_HPP
#define BITNET_TEXT_TOKEN_HPP

#include <bitnet/core/config.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// Index of an entry of a vocabulary: 0 to vocabulary_size() - 1. GGUF and every runtime use 32 signed bits.
using token = std::int32_t;

/// No entry of any vocabulary.
inline constexpr token no_token = -1;

} // namespace bitnet::inline BITNET_ABI

#endif
