// SPDX-License-Identifier: MIT
// How long a test that has no end goes on.
#pragma once

namespace bitnet_tests {

inline int soak_seconds = 3;

} // namespace bitnet_tests
