// SPDX-License-Identifier: MIT
#include "host_float_environment.hpp"

#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <limits>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using sums = std::array<std::uint32_t, 4>;

/// Results that each depend on another part of the environment.
BITNET_NOINLINE sums compute() {
    volatile float one = 1.0f;
    volatile float three = 3.0f;
    volatile float least = std::numeric_limits<float>::denorm_min();
    volatile float zero = 0.0f;
    const float third = one / three;
    const float negative = -one / three;
    const float twice = least + least;
    const float invalid = zero / zero;
    return {std::bit_cast<std::uint32_t>(third), std::bit_cast<std::uint32_t>(negative),
            std::bit_cast<std::uint32_t>(twice), std::bit_cast<std::uint32_t>(invalid) & 0x7fc00000u};
}

const sums expected{0x3eaaaaab, 0xbeaaaaab, 2, 0x7fc00000};

} // namespace

TEST_CASE("a default environment computes alike whatever the host has set, and gives its setting back") {
    for (const bitnet_tests::float_setting& setting : bitnet_tests::host_settings) {
        CAPTURE(setting.name);
        const auto made = bitnet_tests::outcome_in(setting, [] {
            const default_float_environment environment;
            return compute();
        });
        CHECK(made.value == expected);
        CHECK(made.kept);
    }
}

TEST_CASE("a guarded call gives the host's setting back with a value and with an error") {
    for (const bitnet_tests::float_setting& setting : bitnet_tests::host_settings) {
        CAPTURE(setting.name);
        const auto made =
            bitnet_tests::outcome_in(setting, [] { return guarded([] { return result<sums>(compute()); }); });
        REQUIRE(made.value);
        CHECK(*made.value == expected);
        CHECK(made.kept);
        const auto failure = bitnet_tests::outcome_in(setting, [] {
            return guarded([]() -> result<sums> { return error{errc::bad_value, ""}; });
        });
        CHECK_FALSE(failure.value);
        CHECK(failure.kept);
    }
}
