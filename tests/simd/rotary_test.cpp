// SPDX-License-Identifier: MIT
#include <bitnet/simd/rotary.hpp>

#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

TEST_CASE("log2_fixed and exp2_negative_fixed agree with long double arithmetic") {
#if defined(__wasm__)
    constexpr long double tolerance = 1024.0L; // its C library's logarithm of a long double is that of a double
#else
    constexpr long double tolerance = 200.0L; // long double itself may have 64 bits
#endif
    for (const float x : {1.0f, 1.0000001f, 2.0f, 3.0f, 10000.0f, 500000.0f, 1000042.0f, 1e30f}) {
        const long double exact = std::log2(static_cast<long double>(x)) * 0x1p57L;
        CHECK(std::abs(static_cast<long double>(log2_fixed(x)) - exact) < tolerance);
    }
    for (const double x : {0.001, 0.5, 1.0, 2.65, 17.3, 30.0, 63.5}) {
        const auto fixed = static_cast<std::uint64_t>(x * 0x1p57);
        const long double exact = std::exp2(64.0L - static_cast<long double>(fixed) * 0x1p-57L);
        CHECK(std::abs(static_cast<long double>(exp2_negative_fixed(fixed)) - exact) < 64.0L);
    }
    CHECK(exp2_negative_fixed(std::uint64_t{127} << 57) == 0);
}

TEST_CASE("sines and cosines are right all around the circle") {
    for (std::uint64_t i = 0; i < 4096; ++i) {
        const std::uint64_t phase = i << 52;
        const double angle = static_cast<double>(i) / 4096 * 2 * std::numbers::pi;
        const auto [sine, cosine] = sine_cosine_of_turns(phase);
        CHECK(std::abs(sine - std::sin(angle)) < 1.2e-7);
        CHECK(std::abs(cosine - std::cos(angle)) < 1.2e-7);
    }
    CHECK(sine_cosine_of_turns(0).cosine == 1.0f);
    CHECK(sine_cosine_of_turns(0).sine == 0.0f);
}

TEST_CASE("factor, divisors and magnitude change frequencies and lengths as they say, also below one") {
    constexpr std::size_t head_size = 64;
    std::vector<double> divisors(head_size / 2);
    for (std::size_t j = 0; j < divisors.size(); ++j) {
        divisors[j] = 0.25 * std::pow(16384.0, static_cast<double>(j) / 31); // 0.25 to 4096
    }
    divisors.back() = 4096; // not a bit more
    const auto frequencies = rotary_frequencies::open(10000.0f, head_size, {3.0f, divisors, 1.25f});
    REQUIRE(frequencies);
    std::vector<float> cosines(head_size / 2);
    std::vector<float> sines(head_size / 2);
    for (const std::uint64_t position : {0u, 1u, 5u, 4095u, 32767u}) {
        frequencies->angles(position, cosines.data(), sines.data());
        for (std::size_t j = 0; j < divisors.size(); ++j) {
            const long double exponent = -2.0L * static_cast<long double>(j) / head_size;
            const long double angle = std::pow(10000.0L, exponent) / 3.0L / static_cast<long double>(divisors[j]) *
                                      static_cast<long double>(position);
            CHECK(std::abs(static_cast<long double>(cosines[j]) - 1.25L * std::cos(angle)) < 2e-7L);
            CHECK(std::abs(static_cast<long double>(sines[j]) - 1.25L * std::sin(angle)) < 2e-7L);
        }
    }
}

TEST_CASE("rotary angles equal theta^(-2j/d) * position, far into the context") {
    for (const float theta : {10000.0f, 500000.0f, 1000042.0f}) {
        for (const std::size_t head_size : {64u, 96u, 100u, 128u, 256u}) {
            const auto frequencies = rotary_frequencies::open(theta, head_size);
            REQUIRE(frequencies);
            REQUIRE(frequencies->pairs() == head_size / 2);
            std::vector<float> cosines(head_size / 2);
            std::vector<float> sines(head_size / 2);
            for (const std::uint64_t position : {0u, 1u, 17u, 4095u, 32767u, 1u << 20}) {
                frequencies->angles(position, cosines.data(), sines.data());
                for (std::size_t j = 0; j < head_size / 2; ++j) {
                    const long double exponent =
                        -2.0L * static_cast<long double>(j) / static_cast<long double>(head_size);
                    const long double angle = std::pow(static_cast<long double>(theta), exponent) * position;
                    CHECK(std::abs(static_cast<long double>(cosines[j]) - std::cos(angle)) < 1.3e-7L);
                    CHECK(std::abs(static_cast<long double>(sines[j]) - std::sin(angle)) < 1.3e-7L);
                }
            }
        }
    }
}
