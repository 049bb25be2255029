// SPDX-License-Identifier: MIT
// One program of translation units with different compiler flags: each runs code that was compiled with its own.
#include "part.hpp"

#include <bitnet/simd/isa.hpp>

#include <doctest/doctest.h>

#include <string>

TEST_CASE("parts compiled with and without -ffast-math give the same tokens and share no function") {
    const auto expected = base::greedy_ids(BITNET_TEST_MODEL);
    CHECK(expected.size() >= 30);
    CHECK(fast_math::greedy_ids(BITNET_TEST_MODEL) == expected);
    CHECK(std::string(base::type_name()) != fast_math::type_name());
}

#if BITNET_X86_64
TEST_CASE("a part compiled for newer CPUs shares no function with one for all") {
    CHECK(std::string(base::type_name()) != avx2::type_name());
    if (bitnet::isa::avx2::available()) { // elsewhere nothing of that part may be called
        CHECK(avx2::greedy_ids(BITNET_TEST_MODEL) == base::greedy_ids(BITNET_TEST_MODEL));
    }
}
#endif
