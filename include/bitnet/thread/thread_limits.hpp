// SPDX-License-Identifier: MIT
// How many threads a pool may have, and how long one without work spins.
#ifndef BITNET_THREAD_THREAD_LIMITS_HPP
#define BITNET_THREAD_THREAD_LIMITS_HPP

#include <bitnet/core/config.hpp>

#include <chrono>
#include <cstddef>

namespace bitnet::inline BITNET_ABI {

/// How long a thread without work spins before it sleeps: longer than the gaps within a token, and so short that a
/// program that waits for its user uses no CPU.
inline constexpr std::chrono::microseconds default_spin{50};

inline constexpr std::size_t most_threads = 1024;

} // namespace bitnet::inline BITNET_ABI

#endif
