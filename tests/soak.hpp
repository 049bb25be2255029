// SPDX-License-Identifier: MIT
// How far tests go that have no end.
#pragma once

namespace bitnet_tests {

inline int soak_seconds = 3;
inline int damaged_saves = 30000;
inline int server_requests = 300;

} // namespace bitnet_tests
