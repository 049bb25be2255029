// SPDX-License-Identifier: MIT
#include "core/reference_fma.hpp"

#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/half.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <random>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

bool is_nan(std::uint32_t bits) { return (bits & 0x7fffffffu) > 0x7f800000u; }

bool same(float a, float b) {
    const auto x = std::bit_cast<std::uint32_t>(a);
    const auto y = std::bit_cast<std::uint32_t>(b);
    return x == y || (is_nan(x) && is_nan(y));
}

} // namespace

TEST_CASE("exact_fma equals std::fma on random bit patterns") {
    std::mt19937 engine(1);
    std::size_t different = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        const float a = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
        const float b = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
        const float c = std::bit_cast<float>(static_cast<std::uint32_t>(engine()));
        different += same(exact_fma(a, b, c), bitnet_tests::reference_fma(a, b, c)) ? 0 : 1;
    }
    CHECK(different == 0);
}

TEST_CASE("exact_fma equals std::fma if sums cancel, tie or underflow") {
    std::mt19937 engine(2);
    std::size_t different = 0;
    for (int i = 0; i < 2'000'000; ++i) {
        // Few significant bits and near exponents make ties and cancellation likely.
        const auto small = [&](int exponent) {
            const auto mantissa = static_cast<float>(static_cast<int>(engine() % 8192) - 4096);
            return std::ldexp(mantissa, exponent);
        };
        const int e = static_cast<int>(engine() % 280) - 150;
        const float a = small(static_cast<int>(engine() % 30) - 15);
        const float b = small(e);
        const float c = small(e + static_cast<int>(engine() % 60) - 30);
        different += same(exact_fma(a, b, c), bitnet_tests::reference_fma(a, b, c)) ? 0 : 1;
        const float cancelling = -(a * b);
        different += same(exact_fma(a, b, cancelling), bitnet_tests::reference_fma(a, b, cancelling)) ? 0 : 1;
    }
    CHECK(different == 0);
}

TEST_CASE("exact_fma rounds once, unlike a * b + c") {
    const float a = 1.0f + 0x1p-12f;
    CHECK(exact_fma(a, a, -1.0f) == 0x1p-11f + 0x1p-24f);
    CHECK(a * a - 1.0f != exact_fma(a, a, -1.0f));
}

TEST_CASE("exact_square_root is the correctly rounded root") {
    CHECK(exact_square_root(0.0f) == 0.0f);
    CHECK(exact_square_root(1.0f) == 1.0f);
    CHECK(exact_square_root(4.0f) == 2.0f);
    CHECK(exact_square_root(0x1p-149f) == std::sqrt(0x1p-149f));
    CHECK(is_nan(std::bit_cast<std::uint32_t>(exact_square_root(-1.0f))));
    CHECK(std::bit_cast<std::uint32_t>(exact_square_root(std::bit_cast<float>(0x7f800000u))) == 0x7f800000u);
    std::size_t different = 0;
    for (std::uint32_t bits = 1; bits < 0x7f800000u; bits += 1009) { // a prime: all exponents, all kinds of mantissas
        const float x = std::bit_cast<float>(bits);
        different += same(exact_square_root(x), std::sqrt(x)) ? 0 : 1;
    }
    CHECK(different == 0);
}

TEST_CASE("every half widens and narrows back to itself") {
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
        const half h{static_cast<std::uint16_t>(bits)};
        const bool nan = (bits & 0x7fffu) > 0x7c00u;
        const half expected{static_cast<std::uint16_t>(nan ? bits | 0x200u : bits)};
        REQUIRE(narrow<half>(widen(h)) == expected);
    }
    CHECK(widen(half{0x3c00}) == 1.0f);
    CHECK(widen(half{0x0001}) == 0x1p-24f);
    CHECK(widen(half{0x03ff}) == 0x1.ff8p-15f);
    CHECK(widen(half{0x7bff}) == 65504.0f);
    CHECK(widen(half{0xc000}) == -2.0f);
}

TEST_CASE("narrowing to half picks the nearest, ties to even, at every boundary") {
    for (std::uint32_t bits = 0; bits < 0x7c00; ++bits) {
        const float low = widen(half{static_cast<std::uint16_t>(bits)});
        const float high = bits == 0x7bff ? 65536.0f : widen(half{static_cast<std::uint16_t>(bits + 1)});
        const float middle = low + (high - low) / 2; // exact in float
        const auto even = static_cast<std::uint16_t>((bits & 1) == 0 ? bits : bits + 1);
        REQUIRE(narrow<half>(middle) == half{even});
        REQUIRE(narrow<half>(std::nextafter(middle, 0.0f)) == half{static_cast<std::uint16_t>(bits)});
        REQUIRE(narrow<half>(std::nextafter(middle, 1e9f)) == half{static_cast<std::uint16_t>(bits + 1)});
        REQUIRE(narrow<half>(-middle) == half{static_cast<std::uint16_t>(even | 0x8000)});
    }
}

TEST_CASE("narrowing to bfloat16 rounds to nearest even") {
    CHECK(narrow<bfloat16>(1.0f) == bfloat16{0x3f80});
    CHECK(narrow<bfloat16>(std::bit_cast<float>(0x3f808000u)) == bfloat16{0x3f80});
    CHECK(narrow<bfloat16>(std::bit_cast<float>(0x3f818000u)) == bfloat16{0x3f82});
    CHECK(narrow<bfloat16>(std::bit_cast<float>(0x3f808001u)) == bfloat16{0x3f81});
    CHECK(widen(narrow<bfloat16>(-3.0f)) == -3.0f);
}
