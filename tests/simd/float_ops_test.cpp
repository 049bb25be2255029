// SPDX-License-Identifier: MIT
#include "every_isa.hpp"

#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/float_ops_avx2.hpp>
#include <bitnet/simd/float_ops_avx512.hpp>
#include <bitnet/simd/float_ops_neon.hpp>
#include <bitnet/simd/float_ops_quad.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numbers>
#include <random>
#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::every_isa_but_scalar;
using bitnet_tests::runs_here;

namespace {

using oracle = float_ops<isa::scalar>;

// Lengths around every width in the loops: 4, 8, 16, 64, 128, and the models' own.
const std::size_t lengths[] = {1,  2,  3,  7,   8,   15,  16,  17,  31,  33,   63,
                               64, 65, 96, 100, 127, 128, 129, 256, 300, 2560, 6912};

std::vector<float> random_floats(std::size_t n, unsigned seed, float spread = 1.0f) {
    std::mt19937 engine(seed);
    std::vector<float> x(n);
    for (float& value : x) {
        const float unit = static_cast<float>(static_cast<std::int32_t>(engine())) / 2147483648.0f;
        value = unit * spread * static_cast<float>(std::exp2(static_cast<double>(engine() % 8) - 4.0));
    }
    return x;
}

/// Each value in E; as an integer, the nearest one.
template <class E> std::vector<E> narrowed(const std::vector<float>& x) {
    std::vector<E> y;
    for (const float value : x) {
        if constexpr (std::is_integral_v<E>) {
            y.push_back(static_cast<E>(value));
        } else {
            y.push_back(narrow<E>(value));
        }
    }
    return y;
}

/// Rows of random elements, misaligned on purpose: they begin at byte 1.
template <class E> std::vector<std::byte> row_data(std::size_t rows, std::size_t n) {
    std::vector<std::byte> bytes(rows * row_bytes_of<E>(n) + 1);
    if constexpr (block_format<E>) {
        std::mt19937 engine(9);
        std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::byte>(engine() & 0xff); });
        const std::size_t factor_at = E::block_bytes == 210 ? 208 : 0;
        for (std::size_t block = 1; block < bytes.size(); block += E::block_bytes) {
            bytes[block + factor_at + 1] &= std::byte{0xbf}; // below 2, so that no factor is infinite
            if (E::block_bytes == 144) {
                bytes[block + 3] &= std::byte{0xbf}; // Q4_K has a second one
            }
        }
    } else {
        const auto elements = narrowed<E>(random_floats(rows * n, 9));
        std::memcpy(bytes.data() + 1, elements.data(), elements.size() * sizeof(E));
    }
    return bytes;
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

} // namespace

TEST_CASE_TEMPLATE_DEFINE("rms_norm gives the scalar bits", Isa, rms_norm_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    for (const std::size_t n : lengths) {
        const auto x = random_floats(n, 1);
        const auto w = random_floats(n, 2);
        std::vector<float> expected(n);
        std::vector<float> actual(n);
        oracle::rms_norm(x.data(), w.data(), 1e-5f, n, expected.data());
        float_ops<Isa>::rms_norm(x.data(), w.data(), 1e-5f, n, actual.data());
        CHECK_MESSAGE(same_bits(expected, actual), "n = " << n);
    }
}
TEST_CASE_TEMPLATE_APPLY(rms_norm_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE("rms_norm divides by the root of the mean square") {
    for (const std::size_t n : lengths) {
        const auto x = random_floats(n, 3);
        const auto w = random_floats(n, 4);
        double squares = 0;
        for (const float value : x) {
            squares += static_cast<double>(value) * value;
        }
        std::vector<float> y(n);
        oracle::rms_norm(x.data(), w.data(), 1e-5f, n, y.data());
        for (std::size_t i = 0; i < n; ++i) {
            const double exact = x[i] / std::sqrt(squares / static_cast<double>(n) + 1e-5) * w[i];
            CHECK(y[i] == doctest::Approx(exact).epsilon(1e-6));
        }
    }
}

TEST_CASE_TEMPLATE_DEFINE("quantize gives the scalar bits, even for outliers and ties", Isa,
                          quantize_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    for (const std::size_t n : lengths) {
        auto ties = std::vector<float>(n);
        for (std::size_t i = 0; i < n; ++i) {
            ties[i] = static_cast<float>(static_cast<int>(i % 255) - 127) + 0.5f;
        }
        ties[0] = 127.0f;
        auto outlier = random_floats(n, 5, 1e-3f);
        outlier[n / 2] = -3e4f;
        for (const auto& x :
             {random_floats(n, 6), ties, outlier, std::vector<float>(n, 0.0f), std::vector<float>(n, 1e-9f)}) {
            std::vector<std::int8_t> expected(n);
            std::vector<std::int8_t> actual(n);
            const auto a = oracle::quantize(x.data(), n, expected.data());
            const auto b = float_ops<Isa>::quantize(x.data(), n, actual.data());
            CHECK(same_bits(expected, actual));
            CHECK(std::bit_cast<std::uint32_t>(a.scale) == std::bit_cast<std::uint32_t>(b.scale));
            CHECK(a.sum == b.sum);
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(quantize_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE("quantize rounds half to even, by absmax, and a row of zeros stays zero") {
    const float x[] = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -127.0f};
    std::int8_t q[7];
    const auto row = oracle::quantize(x, 7, q);
    CHECK(row.scale == 1.0f);
    const std::int8_t expected[] = {127, 0, 2, 2, 0, -2, -127};
    CHECK(std::memcmp(q, expected, 7) == 0);
    CHECK(row.sum == 2);

    const float zeros[5] = {};
    CHECK(oracle::quantize(zeros, 5, q).sum == 0);
    CHECK(q[4] == 0);
    CHECK(oracle::quantize(zeros, 5, q).scale == 127.0f / 1e-5f);
}

TEST_CASE_TEMPLATE_DEFINE("element-wise loops give the scalar bits", Isa, element_wise_loops_give_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    using ops = float_ops<Isa>;
    for (const std::size_t n : lengths) {
        const auto gate = random_floats(n, 7, 8.0f);
        const auto up = random_floats(n, 8);
        std::vector<std::int32_t> acc(n);
        for (std::size_t i = 0; i < n; ++i) {
            acc[i] = static_cast<std::int32_t>(gate[i] * 1000.0f);
        }
        const auto both = [&](auto loop) {
            auto expected = up;
            auto actual = up;
            loop(oracle{}, expected.data());
            loop(ops{}, actual.data());
            CHECK_MESSAGE(same_bits(expected, actual), "n = " << n);
        };
        both([&](auto o, float* y) { o.relu2_times(gate.data(), up.data(), n, y); });
        both([&](auto o, float* y) { o.silu_times(gate.data(), up.data(), n, y); });
        both([&](auto o, float* y) { o.gelu_times(gate.data(), up.data(), n, y); });
        both([&](auto o, float* y) { o.rotate(y, gate.data(), gate.data() + n / 2, n / 2); });
        both([&](auto o, float* y) { o.divide(y, 3.7f, n); });
        both([&](auto o, float* y) { o.scale(y, 3.7f, n); });
        both([&](auto o, float* y) { o.add(gate.data(), n, y); });
        both([&](auto o, float* y) { o.normalize(gate.data(), n, y); });
        both([&](auto o, float* y) { y[0] += o.merge({1.5f, 2.0f}, y, {0.25f, 3.0f}, gate.data(), n).sum; });
    }
}
TEST_CASE_TEMPLATE_APPLY(element_wise_loops_give_the_scalar_bits, every_isa_but_scalar);

TEST_CASE_TEMPLATE_DEFINE("loops over tiles of products give the scalar bits, and touch no other columns", Isa,
                          loops_over_tiles_give_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    constexpr std::size_t tokens = 3;
    const std::vector<float> activation_scales{7.7f, 0.31f, 1234.5f};
    for (const std::size_t n : lengths) {
        const std::size_t stride = n + 5;
        const auto before = random_floats(tokens * stride, 9, 8.0f);
        std::vector<std::int32_t> products(tokens * n);
        for (std::size_t i = 0; i < products.size(); ++i) {
            products[i] = static_cast<std::int32_t>(before[i] * 1000.0f);
        }
        const product_tile tile{products.data(), tokens, n, 0.0123f, activation_scales.data()};
        const auto both = [&](auto loop) {
            auto expected = before;
            auto actual = before;
            loop(oracle{}, expected.data());
            loop(float_ops<Isa>{}, actual.data());
            CHECK_MESSAGE(same_bits(expected, actual), "n = " << n);
            CHECK_FALSE(same_bits(expected, before));
            for (std::size_t t = 0; t < tokens; ++t) {
                CHECK(std::equal(before.begin() + static_cast<std::ptrdiff_t>(t * stride + n),
                                 before.begin() + static_cast<std::ptrdiff_t>((t + 1) * stride),
                                 actual.begin() + static_cast<std::ptrdiff_t>(t * stride + n)));
            }
        };
        both([&](auto o, float* y) { o.dequantize(tile, y, stride); });
        both([&](auto o, float* y) { o.dequantize_add(tile, y, stride); });
        both([&](auto o, float* y) { o.relu2_gate(tile, y, stride); });
        both([&](auto o, float* y) { o.silu_gate(tile, y, stride); });
        both([&](auto o, float* y) { o.gelu_gate(tile, y, stride); });
    }
}
TEST_CASE_TEMPLATE_APPLY(loops_over_tiles_give_the_scalar_bits, every_isa_but_scalar);

TEST_CASE("a gate of a tile is what its loops give row by row") {
    const std::int32_t products[] = {-5, 7, 1000000, 3};
    const float scales[] = {2.0f, 0.5f};
    float gate[] = {3.0f, -1.0f, 0.25f, 2.0f};
    oracle::relu2_gate({products, 2, 2, 0.5f, scales}, gate, 2);
    CHECK(gate[0] == 9.0f * (-5 * 0.25f));
    CHECK(gate[1] == 0.0f);
    CHECK(gate[2] == 0.0625f * 1000000.0f);
    CHECK(gate[3] == 4.0f * 3.0f);
}

TEST_CASE_TEMPLATE_DEFINE("dot_rows gives the scalar bits in every element type", Isa, dot_rows_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    const auto check = [](auto element, std::size_t n) {
        using E = decltype(element);
        const std::size_t rows = 7;
        const std::size_t tokens = 11; // whole tiles of every size, and rests
        const std::size_t stride = n + 3;
        const std::size_t row_bytes = row_bytes_of<E>(n);
        const auto x = random_floats(tokens * stride, 10);
        const auto bytes = row_data<E>(rows, n);
        const auto run = [&](auto ops, std::size_t first, std::size_t count, std::vector<float>& into) {
            std::vector<float*> y;
            for (std::size_t t = first; t < first + count; ++t) {
                y.push_back(into.data() + t * rows);
            }
            ops.template dot_rows<E>(bytes.data() + 1, row_bytes, rows,
                                     matrix_view<const float>(x.data() + first * stride, count, n, stride), y.data());
        };
        std::vector<float> expected(tokens * rows);
        std::vector<float> together(tokens * rows);
        std::vector<float> alone(tokens * rows);
        run(oracle{}, 0, tokens, expected);
        run(float_ops<Isa>{}, 0, tokens, together);
        for (std::size_t t = 0; t < tokens; ++t) {
            run(float_ops<Isa>{}, t, 1, alone);
        }
        CHECK_MESSAGE(same_bits(expected, together), "n = " << n << ", rows of " << row_bytes << " bytes");
        CHECK_MESSAGE(same_bits(expected, alone), "n = " << n << ", rows of " << row_bytes << " bytes");
        if constexpr (!block_format<E>) { // what a screened head may be made of
            const std::uint32_t list[] = {6, 0, 3, 3};
            float listed[4];
            float_ops<Isa>::template dot_listed<E>(bytes.data() + 1, row_bytes, list, x.data(), n, listed);
            for (std::size_t i = 0; i < 4; ++i) {
                CHECK(std::bit_cast<std::uint32_t>(listed[i]) == std::bit_cast<std::uint32_t>(expected[list[i]]));
            }
        }
        std::vector<float> wide(n);
        std::vector<float> wide_oracle(n);
        oracle::template widen_row<E>(bytes.data() + 1, n, wide_oracle.data());
        float_ops<Isa>::template widen_row<E>(bytes.data() + 1, n, wide.data());
        CHECK(same_bits(wide_oracle, wide));
    };
    for (const std::size_t n : lengths) {
        check(float{}, n);
        check(half{}, n);
        check(bfloat16{}, n);
        if (n % 32 == 0) {
            check(q8_0{}, n);
            check(q4_0{}, n);
        }
        if (n % 256 == 0) {
            check(q6_k{}, n);
            check(q4_k{}, n);
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(dot_rows_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE_TEMPLATE_DEFINE("attention over one block gives the scalar bits", Isa, attention_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    const auto check = [](auto element, std::size_t head_size, std::size_t positions, std::size_t queries) {
        using E = decltype(element);
        const auto q = random_floats(queries * head_size, 11);
        const auto k = narrowed<E>(random_floats(256 * head_size, 12, std::is_integral_v<E> ? 15.0f : 1.0f));
        const auto v = narrowed<E>(random_floats(256 * head_size, 13, std::is_integral_v<E> ? 15.0f : 1.0f));
        const auto scales = random_floats(256, 14);
        const auto run = [&](auto ops) {
            std::vector<float> scores(queries * attention_block);
            std::vector<float> sums(queries * head_size, 7.0f); // to be overwritten
            std::vector<const float*> rows;
            std::vector<float*> out;
            for (std::size_t i = 0; i < queries; ++i) {
                rows.push_back(q.data() + i * head_size);
                out.push_back(sums.data() + i * head_size);
            }
            ops.scores(rows.data(), queries, k.data(), head_size, positions, scores.data());
            std::vector<float> all = scores;
            for (std::size_t i = 0; i < queries; ++i) {
                ops.multiply(scores.data() + i * attention_block, scales.data(), positions);
                const softmax_state state = ops.exponentials(scores.data() + i * attention_block, positions);
                all.push_back(state.max);
                all.push_back(state.sum);
            }
            const std::size_t begun = positions / 3;
            ops.weighted_values(scores.data(), queries, v.data(), head_size, 0, begun, out.data());
            ops.weighted_values(scores.data(), queries, v.data(), head_size, begun, positions, out.data());
            all.insert(all.end(), scores.begin(), scores.end());
            all.insert(all.end(), sums.begin(), sums.end());
            return all;
        };
        const auto expected = run(oracle{});
        const auto actual = run(float_ops<Isa>{});
        CHECK_MESSAGE(same_bits(expected, actual), "head_size " << head_size << ", positions " << positions
                                                                << ", queries " << queries << ", element of "
                                                                << sizeof(E) << " bytes");
    };
    for (const std::size_t head_size : {64u, 80u, 96u, 100u, 128u, 136u, 256u}) {
        for (const std::size_t positions : {1u, 2u, 15u, 16u, 17u, 63u, 64u, 65u, 100u, 255u, 256u}) {
            const std::size_t queries = 1 + (head_size + positions) % 15; // 1 to 15: tiles of eight, four, two and one
            check(half{}, head_size, positions, queries);
            check(float{}, head_size, positions, queries);
            check(std::int8_t{}, head_size, positions, queries);
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(attention_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE_TEMPLATE_DEFINE("narrow_row gives the scalar bits in every KV element", Isa,
                          narrow_row_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    const auto check = [](auto element, const std::vector<float>& x) {
        using E = decltype(element);
        std::vector<E> expected(x.size());
        std::vector<E> actual(x.size());
        const float a = oracle::narrow_row(x.data(), x.size(), expected.data());
        const float b = float_ops<Isa>::narrow_row(x.data(), x.size(), actual.data());
        CHECK(same_bits(expected, actual));
        CHECK(std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b));
    };
    for (const std::size_t n : lengths) {
        auto x = random_floats(n, 15, 1e3f);
        check(float{}, x);
        check(std::int8_t{}, x);
        x[n / 2] = 1e-7f; // a subnormal half
        x[n - 1] = 7e4f;  // an infinite one
        check(half{}, x);
    }
}
TEST_CASE_TEMPLATE_APPLY(narrow_row_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE("a row narrowed to int8 comes back within half a step of absmax / 127") {
    for (const std::size_t n : lengths) {
        const auto x = random_floats(n, 16, 50.0f);
        float largest = 0;
        for (const float value : x) {
            largest = std::max(largest, std::abs(value));
        }
        std::vector<std::int8_t> q(n);
        const float step = oracle::narrow_row(x.data(), n, q.data());
        CHECK(step == doctest::Approx(largest / 127).epsilon(1e-6));
        for (std::size_t i = 0; i < n; ++i) {
            CHECK(std::abs(widen(q[i]) * step - x[i]) <= 0.5001f * step);
        }
    }
    const float zeros[3] = {};
    std::int8_t q[3] = {1, 1, 1};
    CHECK(oracle::narrow_row(zeros, 3, q) == doctest::Approx(1e-5 / 127)); // no division by zero
    CHECK((q[0] == 0 && q[1] == 0 && q[2] == 0));
}

TEST_CASE("exp is within two units in the last place and never denormal") {
    using ops = lane_ops<software_fma>;
    for (double x = -90.0; x < 88.0; x += 0.0037) {
        const float argument = static_cast<float>(x);
        const double exact = std::exp(static_cast<double>(argument));
        const float ours = ops::exp(argument);
        if (argument < -87.0f) {
            CHECK(ours == 0.0f);
        } else {
            CHECK(std::abs(ours - exact) <= 2.0 * 5.97e-8 * exact);
        }
    }
    CHECK(ops::exp(0.0f) == 1.0f);
    CHECK(ops::exp(1000.0f) == ops::exp(88.0f));
}

TEST_CASE("gelu is the tanh form within a few units of its largest factor") {
    for (double x = -9.0; x < 9.0; x += 0.0037) {
        const float gate = static_cast<float>(x);
        const float up = 3.0f;
        float y = 0;
        oracle::gelu_times(&gate, &up, 1, &y);
        const double g = gate;
        const double exact = g / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (g + 0.044715 * g * g * g))) * 3;
        CHECK(std::abs(y - exact) <= 4e-7 * std::max(std::abs(exact), 0.3));
    }
}

TEST_CASE("a pair is rotated by its angle, and a vector is scaled to length one") {
    const float cos[] = {0.6f, 0.0f};
    const float sin[] = {0.8f, 1.0f};
    float halves[] = {1.0f, 3.0f, 2.0f, 4.0f};
    oracle::rotate(halves, cos, sin, 2);
    CHECK(halves[0] == doctest::Approx(0.6 - 1.6));
    CHECK(halves[2] == doctest::Approx(1.2 + 0.8));
    CHECK((halves[1] == -4.0f && halves[3] == 3.0f));

    const float x[] = {3.0f, -4.0f, 0.0f};
    float y[3];
    oracle::normalize(x, 3, y);
    CHECK((y[0] == 0.6f && y[1] == -0.8f && y[2] == 0.0f));
    const float zeros[3] = {};
    oracle::normalize(zeros, 3, y);
    CHECK((y[0] == 0.0f && y[1] == 0.0f && y[2] == 0.0f));
}
