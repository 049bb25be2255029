// SPDX-License-Identifier: MIT
// How far tests go that have no end.
#pragma once

namespace bitnet_tests {

inline int soak_seconds = 3;
inline int damaged_saves = 30000;
inline int tool_calls = 150;
inline const char* tool_calls_file = ""; ///< where they are written to; empty: nowhere
inline int speculated_prompts = 4;
inline int server_requests = 300;

} // namespace bitnet_tests
