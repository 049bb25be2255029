// SPDX-License-Identifier: MIT
// prefetch_line: what the loops for Arm ask of the caches. Empty on other architectures.
#ifndef BITNET_SIMD_PREFETCH_NEON_HPP
#define BITNET_SIMD_PREFETCH_NEON_HPP

#include <bitnet/core/config.hpp>

#if BITNET_ARM64
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#endif

BITNET_TARGET_BEGIN(BITNET_TARGET_NEON)
namespace bitnet::inline BITNET_ABI::detail {

/// Asks the second level of cache for the line at `address`, which may be invalid: a prefetch cannot fault.
BITNET_ALWAYS_INLINE void prefetch_line(const void* address) noexcept {
#if defined(__GNUC__)
    __builtin_prefetch(address, 0, 2);
#else
    __prefetch(address);
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
