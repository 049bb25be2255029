// SPDX-License-Identifier: MIT
// Size arithmetic that notices overflow: for every size that a file or a caller controls.
#ifndef BITNET_CORE_CHECKED_HPP
#define BITNET_CORE_CHECKED_HPP

#include <bitnet/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>

namespace bitnet::inline BITNET_ABI::detail {

/// a + b, or nullopt if it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
    if (b > (std::numeric_limits<std::uint64_t>::max)() - a) {
        return std::nullopt;
    }
    return a + b;
}

/// a * b, or nullopt if it does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_multiply(std::uint64_t a, std::uint64_t b) noexcept {
    if (a != 0 && b > (std::numeric_limits<std::uint64_t>::max)() / a) {
        return std::nullopt;
    }
    return a * b;
}

/// `size` in the type of sizes in memory. \pre it fits: 64 bits may be too many for a 32-bit system
template <std::unsigned_integral T> [[nodiscard]] constexpr std::size_t to_size(T size) noexcept {
    if constexpr (sizeof(T) > sizeof(std::size_t)) {
        return static_cast<std::size_t>(size);
    } else {
        return size;
    }
}

/// `value` rounded up to a multiple of `alignment` (a power of two), or nullopt if that does not fit 64 bits.
[[nodiscard]] constexpr std::optional<std::uint64_t> checked_align(std::uint64_t value,
                                                                   std::uint64_t alignment) noexcept {
    const auto padded = checked_add(value, alignment - 1);
    return padded ? std::optional{*padded & ~(alignment - 1)} : std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
