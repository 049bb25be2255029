// SPDX-License-Identifier: MIT
// YaRN and longrope against their formulas in double precision.
#include <bitnet/checkpoint/context_extension.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// The first pair that is not kept, and the first one that is slowed down by the whole factor.
struct ramp {
    double low;
    double high;
};

ramp ramp_of(const yarn_scaling& yarn, double theta, double head_size) {
    const auto pair = [&](double turns) {
        return head_size * std::log(yarn.context / (turns * 2 * std::numbers::pi)) / (2 * std::log(theta));
    };
    return {std::max(std::floor(pair(yarn.fast)), 0.0), std::min(std::ceil(pair(yarn.slow)), head_size - 1)};
}

void check(const yarn_scaling& yarn, double theta, std::size_t head_size) {
    const ramp expected = ramp_of(yarn, theta, static_cast<double>(head_size));
    const auto divisors = yarn.divisors(theta, head_size);
    REQUIRE(divisors.size() == head_size / 2);
    for (std::size_t j = 0; j < divisors.size(); ++j) {
        const double width = std::max(expected.high - expected.low, 0.001);
        const double slowed = std::clamp((static_cast<double>(j) - expected.low) / width, 0.0, 1.0);
        const double frequency = std::pow(theta, -2.0 * static_cast<double>(j) / static_cast<double>(head_size));
        const double wanted = frequency * (1 - slowed) + frequency / yarn.factor * slowed;
        CHECK(frequency / divisors[j] == doctest::Approx(wanted).epsilon(1e-14));
    }
}

} // namespace

TEST_CASE("YaRN keeps fast pairs, slows slow ones down and has a ramp between them, as the formula says") {
    for (const double context : {1.0, 64.0, 4096.0, 8192.0, 16384.0, 32768.0, 1048576.0}) {
        for (const double theta : {1.5, 10000.0, 1e6, 5e6}) {
            for (const double factor : {1.0, 1.5, 4.0, 40.0, 4096.0}) {
                check({factor, context}, theta, 128);
                check({factor, context, 64, 0.5}, theta, 80);
                check({factor, context, 1, 32}, theta, 64);
            }
        }
    }
}

TEST_CASE("YaRN's ramp and magnitude have the published numbers of Qwen3's heads") {
    const auto divisors = yarn_scaling{4, 8192}.divisors(1e6, 128);
    CHECK(divisors[17] == 1);
    CHECK(divisors[18] > 1);
    CHECK(divisors[33] < 4);
    CHECK(divisors[34] == 4);
    const auto longer = yarn_scaling{4, 16384}.divisors(1e6, 128);
    CHECK(longer[20] == 1);
    CHECK(longer[21] > 1);
    CHECK(longer[36] < 4);
    CHECK(longer[37] == 4);
    CHECK(yarn_scaling{4, 8192}.magnitude() == doctest::Approx(1.138629).epsilon(1e-6));
    for (const double factor : {1.0, 2.0, 3.7, 32.0, 4096.0}) {
        CHECK(yarn_scaling{factor, 64}.magnitude() == doctest::Approx(1 + 0.1 * std::log(factor)).epsilon(1e-15));
    }
}

TEST_CASE("longrope's magnitude grows with the context beyond the original one") {
    CHECK(longrope_magnitude(256, 64) == doctest::Approx(1.1547005383792515).epsilon(1e-7));
    CHECK(longrope_magnitude(131072, 4096) ==
          doctest::Approx(std::sqrt(1 + std::log(32.0) / std::log(4096.0))).epsilon(1e-7));
    CHECK(longrope_magnitude(32768, 32768) == 1.0f);
    CHECK(longrope_magnitude(64, 4096) == 1.0f);
    CHECK(longrope_magnitude(64, 1) == 1.0f);
}
