// SPDX-License-Identifier: MIT
// An operator new for the whole program that can refuse: the host's memory that ends at a place of the test's choice.
#pragma once

#include <cstddef>

namespace bitnet_tests {

enum class refusal {
    one, ///< one request is refused, the next ones are not
    all, ///< that one and all after it
};

/// From now on `granted` requests are granted, and then some are refused.
void refuse_after(std::size_t granted, refusal kind) noexcept;
/// Grants everything again. \return whether any request was refused.
bool stop_refusing() noexcept;
/// From now on requests of `least` bytes and more are counted.
void count_large(std::size_t least) noexcept;
/// Counts no more. \return how many there were.
std::size_t stop_counting_large() noexcept;
/// Allocations that were not given back yet.
std::size_t live_allocations() noexcept;

} // namespace bitnet_tests
