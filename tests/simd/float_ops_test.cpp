// SPDX-License-Identifier: MIT
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/float_ops_avx2.hpp>
#include <bitnet/simd/float_ops_avx512.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <type_traits>
#include <vector>

using namespace bitnet;

namespace {

#if BITNET_X86_64
#define ISAS_BESIDE_SCALAR isa::avx2, isa::avx_vnni, isa::avx512_vnni, isa::amx_int8
#else
#define ISAS_BESIDE_SCALAR isa::scalar
#endif
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

template <class E> std::vector<E> narrowed(const std::vector<float>& x) {
    std::vector<E> y;
    for (const float value : x) {
        y.push_back(narrow<E>(value));
    }
    return y;
}

template <class T> bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

bool runs_here(bool available, std::string_view name) {
    if (!available) {
        MESSAGE("not run: this CPU has no " << std::string(name));
    }
    return available;
}

} // namespace

TEST_CASE_TEMPLATE("rms_norm gives the scalar bits", Isa, ISAS_BESIDE_SCALAR) {
    if (!runs_here(Isa::available(), Isa::name)) {
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

TEST_CASE_TEMPLATE("quantize gives the scalar bits, also for outliers, ties and zeros", Isa, ISAS_BESIDE_SCALAR) {
    if (!runs_here(Isa::available(), Isa::name)) {
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

TEST_CASE_TEMPLATE("dequantise, activations and rotation give the scalar bits", Isa, ISAS_BESIDE_SCALAR) {
    if (!runs_here(Isa::available(), Isa::name)) {
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
        both([&](auto o, float* y) { o.dequantize(acc.data(), 0.0123f, 7.7f, n, y); });
        both([&](auto o, float* y) { o.dequantize_add(acc.data(), 0.0123f, 7.7f, n, y); });
        both([&](auto o, float* y) { o.rotate(y, gate.data(), gate.data() + n / 2, n / 2); });
        both([&](auto o, float* y) { o.divide(y, 3.7f, n); });
        both([&](auto o, float* y) { y[0] += o.merge({1.5f, 2.0f}, y, {0.25f, 3.0f}, gate.data(), n).sum; });
    }
}

TEST_CASE_TEMPLATE("dot products of rows give the scalar bits in every element type", Isa, ISAS_BESIDE_SCALAR) {
    if (!runs_here(Isa::available(), Isa::name)) {
        return;
    }
    const auto check = [](auto element, std::size_t n) {
        using E = decltype(element);
        const std::size_t rows = 7;
        auto weights = narrowed<E>(random_floats(rows * n, 9));
        const auto x = random_floats(n, 10);
        std::vector<std::byte> bytes(weights.size() * sizeof(E) + 1);
        std::memcpy(bytes.data() + 1, weights.data(), weights.size() * sizeof(E)); // misaligned on purpose
        std::vector<float> expected(rows);
        std::vector<float> actual(rows);
        oracle::template dot_rows<E>(bytes.data() + 1, n * sizeof(E), rows, x.data(), n, expected.data());
        float_ops<Isa>::template dot_rows<E>(bytes.data() + 1, n * sizeof(E), rows, x.data(), n, actual.data());
        CHECK_MESSAGE(same_bits(expected, actual), "n = " << n << ", element of " << sizeof(E) << " bytes");
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
    }
}

TEST_CASE_TEMPLATE("attention over one block gives the scalar bits", Isa, ISAS_BESIDE_SCALAR) {
    if (!runs_here(Isa::available(), Isa::name)) {
        return;
    }
    const auto check = [](auto element, std::size_t head_size, std::size_t positions) {
        using E = decltype(element);
        const auto run = [&](auto ops, std::vector<float>& out, std::vector<float>& scores) {
            const auto q = random_floats(head_size, 11);
            const auto k = narrowed<E>(random_floats(256 * head_size, 12));
            const auto v = narrowed<E>(random_floats(256 * head_size, 13));
            ops.scores(q.data(), k.data(), head_size, positions, scores.data());
            const softmax_state state = ops.exponentials(scores.data(), positions);
            ops.weighted_values(scores.data(), v.data(), head_size, positions, out.data());
            out.push_back(state.max);
            out.push_back(state.sum);
        };
        std::vector<float> expected(head_size);
        std::vector<float> actual(head_size);
        std::vector<float> expected_scores(256);
        std::vector<float> actual_scores(256);
        run(oracle{}, expected, expected_scores);
        run(float_ops<Isa>{}, actual, actual_scores);
        CHECK_MESSAGE(same_bits(expected, actual), "head_size " << head_size << ", positions " << positions);
    };
    for (const std::size_t head_size : {64u, 80u, 96u, 100u, 128u, 136u, 256u}) {
        for (const std::size_t positions : {1u, 2u, 15u, 16u, 17u, 63u, 64u, 65u, 100u, 255u, 256u}) {
            check(half{}, head_size, positions);
            check(float{}, head_size, positions);
        }
    }
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
