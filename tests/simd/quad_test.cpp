// SPDX-License-Identifier: MIT
// The multiply-add of machines without an fma instruction, against the hardware's or the C library's.
#include "core/reference_fma.hpp"
#include "every_isa.hpp"

#include <bitnet/core/fma.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/quad.hpp>

#include <doctest/doctest.h>

#if BITNET_X86_64 || BITNET_WASM_SIMD128
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <random>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::runs_here;

#if BITNET_X86_64
BITNET_TARGET_BEGIN(BITNET_TARGET_SSE41)
#else
BITNET_PRECISE_BEGIN
#endif
namespace {
void multiply_add(const float* a, const float* b, const float* c, float* out) {
    quad::store(out, quad::multiply_add(quad::load(a), quad::load(b), quad::load(c)));
}
void widen_halves(const half* x, float* out) {
    quad::floats wide[4];
    quad::load_16(x, wide);
    for (std::size_t part = 0; part < 4; ++part) {
        quad::store(out + 4 * part, wide[part]);
    }
}
} // namespace
#if BITNET_X86_64
BITNET_TARGET_END
#else
BITNET_PRECISE_END
#endif

namespace {

#if BITNET_X86_64
using here = isa::sse41;
#else
using here = isa::wasm_simd128;
#endif

bool is_nan(float x) { return (std::bit_cast<std::uint32_t>(x) & 0x7fffffffu) > 0x7f800000u; }

bool same(float a, float b) {
    return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b) || (is_nan(a) && is_nan(b));
}

/// How many of `rounds` times four multiply-adds, whose operands `draw` writes, are not rounded once.
template <class Draw> std::size_t wrong_among(int rounds, Draw&& draw) {
    std::size_t wrong = 0;
    for (int round = 0; round < rounds; ++round) {
        float a[4];
        float b[4];
        float c[4];
        float ours[4];
        for (std::size_t l = 0; l < 4; ++l) {
            draw(a[l], b[l], c[l]);
        }
        multiply_add(a, b, c, ours);
        for (std::size_t l = 0; l < 4; ++l) {
            wrong += same(ours[l], exact_fma(a[l], b[l], c[l])) &&
                             same(ours[l], bitnet_tests::reference_fma(a[l], b[l], c[l]))
                         ? 0
                         : 1;
        }
    }
    return wrong;
}

} // namespace

TEST_CASE("four multiply-adds are rounded once: random bit patterns") {
    if (!runs_here<here>()) {
        return;
    }
    std::mt19937 engine(1);
    const auto any_float = [&] { return std::bit_cast<float>(static_cast<std::uint32_t>(engine())); };
    CHECK(wrong_among(500'000, [&](float& a, float& b, float& c) {
              a = any_float();
              b = any_float();
              c = any_float();
          }) == 0);
}

TEST_CASE("four multiply-adds are rounded once: sums that cancel, tie or underflow") {
    if (!runs_here<here>()) {
        return;
    }
    std::mt19937 engine(2);
    // Few significant bits and near exponents make ties and cancellation likely.
    const auto small = [&](int exponent) {
        return std::ldexp(static_cast<float>(static_cast<int>(engine() % 8192) - 4096), exponent);
    };
    CHECK(wrong_among(500'000, [&](float& a, float& b, float& c) {
              const int e = static_cast<int>(engine() % 280) - 150;
              a = small(static_cast<int>(engine() % 30) - 15);
              b = small(e);
              c = engine() % 3 == 0 ? -(a * b) : small(e + static_cast<int>(engine() % 60) - 30);
          }) == 0);
}

TEST_CASE("four multiply-adds are rounded once: midway between two floats, and just beside") {
    if (!runs_here<here>()) {
        return;
    }
    std::mt19937 engine(3);
    // c is some units, and a * b half a unit but for something that a sum of doubles loses:
    // (1 + x) (1 - x) = 1 - x^2 and (1 + x) (1 - x + x^2) = 1 + x^3.
    const auto draw = [&](int unit, float& a, float& b, float& c) {
        const std::uint32_t longest = 1u << (20 + engine() % 5);
        c = std::ldexp(static_cast<float>(longest / 2 + engine() % (longest / 2)), unit);
        const float below = std::ldexp(1.0f, -15 - static_cast<int>(engine() % 9));
        const float above = std::ldexp(1.0f, -10 - static_cast<int>(engine() % 2));
        const bool more = engine() % 2 == 0;
        a = std::ldexp(1.0f + (more ? above : below), unit / 2);
        b = std::ldexp(more ? 1.0f - above + above * above : 1.0f - below, unit - unit / 2 - 1);
        b = engine() % 2 == 0 ? b : -b;
    };
    CHECK(wrong_among(500'000, [&](float& a, float& b, float& c) {
              draw(static_cast<int>(engine() % 200) - 100, a, b, c);
          }) == 0);
    CHECK(wrong_among(500'000, [&](float& a, float& b, float& c) { draw(-149, a, b, c); }) == 0); // denormal sums
}

TEST_CASE("four multiply-adds are rounded once: every pair of special numbers") {
    if (!runs_here<here>()) {
        return;
    }
    const float inf = std::bit_cast<float>(0x7f800000u);
    const float special[] = {0.0f,
                             -0.0f,
                             1.0f,
                             -1.0f,
                             inf,
                             -inf,
                             std::bit_cast<float>(0x7fc00000u),
                             0x1p-149f,
                             -0x1p-149f,
                             0x1p-126f,
                             0x1.fffffcp-127f,
                             0x1.fffffep127f,
                             -0x1.fffffep127f,
                             0x1p-75f,
                             0x1p103f,
                             0x1p64f,
                             3.0f};
    constexpr std::size_t n = std::size(special);
    std::size_t i = 0;
    CHECK(wrong_among(static_cast<int>(n * n * n / 4 + 1), [&](float& a, float& b, float& c) {
              a = special[i % n];
              b = special[i / n % n];
              c = special[i / n / n % n];
              ++i;
          }) == 0);
}

TEST_CASE("sixteen halves are widened as one is, for every half") {
    if (!runs_here<here>()) {
        return;
    }
    for (std::uint32_t bits = 0; bits < 0x10000; bits += 16) {
        half x[16];
        float wide[16];
        for (std::uint32_t l = 0; l < 16; ++l) {
            x[l] = {static_cast<std::uint16_t>(bits + l)};
        }
        widen_halves(x, wide);
        for (std::size_t l = 0; l < 16; ++l) {
            REQUIRE(std::bit_cast<std::uint32_t>(wide[l]) == std::bit_cast<std::uint32_t>(widen(x[l])));
        }
    }
}
#endif
