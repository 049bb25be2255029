// SPDX-License-Identifier: MIT
// How often any operator new of this program was called.
#pragma once

#include <cstddef>

namespace bitnet_tests {

std::size_t allocations() noexcept;

} // namespace bitnet_tests
