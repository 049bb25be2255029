// SPDX-License-Identifier: MIT
// How often any operator new of this program was called.
#pragma once

#include <cstddef>

namespace bitnet_tests {

std::size_t allocations() noexcept;
/// What these calls asked for, all together; nothing is subtracted when memory is given back.
std::size_t allocated_bytes() noexcept;
/// What they asked for and was not given back yet.
std::size_t live_bytes() noexcept;

} // namespace bitnet_tests
