// SPDX-License-Identifier: MIT
// What every part of test_mixed_flags offers. No type of the library passes between them.
#pragma once

#include <cstdint>
#include <vector>

#define MIXED_FLAGS_PART(name)                                                                                         \
    namespace name {                                                                                                   \
    std::vector<std::int32_t> greedy_ids(const char* path); /* 36 of the tiny model; fewer after a failure */          \
    const char* type_name();                                                                                           \
    }
MIXED_FLAGS_PART(base)
MIXED_FLAGS_PART(fast_math)
MIXED_FLAGS_PART(avx2)
#undef MIXED_FLAGS_PART
