// SPDX-License-Identifier: MIT
#include "every_isa.hpp"

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_avx2.hpp>
#include <bitnet/kernel/block_kernel_avx512_vnni.hpp>
#include <bitnet/kernel/block_kernel_avx_vnni.hpp>
#include <bitnet/kernel/block_kernel_neon.hpp>
#include <bitnet/kernel/block_kernel_neon_dotprod.hpp>
#include <bitnet/kernel/block_kernel_quad.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <initializer_list>
#include <random>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::every_isa;
using bitnet_tests::runs_here;

namespace {

/// A random matrix of blocks, random activations, and both unpacked.
struct block_problem {
    std::size_t rows, cols, block_columns, tokens;
    std::vector<std::uint8_t> bytes;
    std::vector<double> weights; // [rows, cols]
    std::vector<float> x;        // [tokens, cols]

    [[nodiscard]] scaled_blocks view() const { return {bytes.data(), rows, cols, block_columns}; }
};

enum class filling { random, extreme, code_3, zero };

block_problem make_problem(std::size_t rows, std::size_t cols, std::size_t block_columns, std::size_t tokens,
                           filling how = filling::random) {
    std::mt19937 engine(static_cast<unsigned>(rows * 31 + cols * 7 + tokens + block_columns));
    std::normal_distribution<float> normal;
    block_problem p{rows, cols, block_columns, tokens, {}, std::vector<double>(rows * cols), {}};
    const scaled_blocks shape{nullptr, rows, cols, block_columns};
    p.bytes.resize(rows * shape.row_bytes());
    for (std::size_t r = 0; r < rows; ++r) {
        for (std::size_t b = 0; b < shape.blocks_across(); ++b) {
            std::vector<std::uint8_t> codes(block_columns, 1);
            const auto d = narrow<half>(static_cast<float>(engine() % 1000) / 5000.0f);
            for (std::size_t c = 0; c < block_columns && b * block_columns + c < cols; ++c) {
                codes[c] = static_cast<std::uint8_t>(how == filling::code_3 ? 3 : engine() % 3);
                p.weights[r * cols + b * block_columns + c] = (codes[c] - 1.0) * static_cast<double>(widen(d));
            }
            write_block(codes.data(), block_columns, d,
                        p.bytes.data() + r * shape.row_bytes() + b * shape.block_bytes());
        }
    }
    for (std::size_t i = 0; i < tokens * cols; ++i) {
        const bool is_positive = how == filling::code_3 || engine() % 2 == 0;
        p.x.push_back(how == filling::zero     ? 0.0f
                      : how == filling::random ? normal(engine) * (i % 37 == 0 ? 20.0f : 1.0f)
                                               : (is_positive ? 1.0f : -1.0f));
    }
    return p;
}

/// Quantised rows with their memory.
struct activations {
    buffer<std::int8_t> values;
    std::vector<float> steps;
    std::vector<std::int32_t> sums;
    std::size_t stride;
    std::size_t tokens;

    [[nodiscard]] block_activations view() const { return {values.data(), steps.data(), sums.data(), stride, tokens}; }
};

template <class Isa> activations quantized(const block_problem& p, std::size_t per) {
    const std::size_t stride = (p.cols + 127) / 128 * 128;
    activations made{*buffer<std::int8_t>::allocate(p.tokens * stride, "test"),
                     std::vector<float>(p.tokens * stride / 32), std::vector<std::int32_t>(p.tokens * stride / 32),
                     stride, p.tokens};
    for (std::size_t t = 0; t < p.tokens; ++t) {
        const std::size_t step = t * stride / 32;
        block_kernel<Isa>::quantize(p.x.data() + t * p.cols, p.cols, per,
                                    {made.values.data() + t * stride, &made.steps[step], &made.sums[step]});
    }
    return made;
}

template <class Isa> std::vector<float> products(const block_problem& p, const activations& x) {
    std::vector<float> y(p.tokens * p.rows, -1.0f);
    block_kernel<Isa>::multiply(p.view(), 0, p.rows, x.view(), y.data(), p.rows);
    return y;
}

template <class T> bool same_bytes(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

/// The int8 that column c of a row became, and what it stands for.
double value_of(const activations& x, std::size_t t, std::size_t c) {
    const std::size_t at = c / 128 * 128 + c % 4 * 32 + c % 128 / 4;
    return x.values[t * x.stride + at] * static_cast<double>(x.steps[t * x.stride / 32 + c / 32]);
}

} // namespace

TEST_CASE("blocks: a row of activations is rounded to int8 within half a step, every 32, 128 or all columns") {
    for (const std::size_t cols : std::initializer_list<std::size_t>{128, 320, 448, 96}) {
        const block_problem p = make_problem(1, cols, 64, 2);
        for (const std::size_t per : {std::size_t{32}, std::size_t{128}, cols}) {
            const activations x = quantized<isa::scalar>(p, per);
            for (std::size_t i = 0; i < p.x.size(); ++i) {
                const std::size_t c = i % cols;
                const std::size_t begin = i - c + c / per * per;
                const std::size_t end = std::min(begin + per, i - c + cols);
                float largest = 0;
                for (std::size_t k = begin; k < end; ++k) {
                    largest = std::max(largest, std::abs(p.x[k]));
                }
                CAPTURE(per);
                CAPTURE(c);
                CHECK(std::abs(value_of(x, i / cols, c) - p.x[i]) <= 0.5001 * largest / 127);
            }
        }
    }
}

TEST_CASE("blocks: sums are those of the int8, and what is beyond the columns is zero") {
    const block_problem p = make_problem(1, 320, 64, 1);
    const activations x = quantized<isa::scalar>(p, 32);
    REQUIRE(x.stride == 384);
    for (std::size_t s = 0; s < 12; ++s) {
        int sum = 0;
        for (std::size_t c = 32 * s; c < 32 * s + 32; ++c) {
            sum += x.values[c / 128 * 128 + c % 4 * 32 + c % 128 / 4];
        }
        CHECK(x.sums[s] == sum);
        CHECK((s < 10 || sum == 0));
    }
    for (std::size_t c = 320; c < 384; ++c) {
        CHECK(x.values[256 + c % 4 * 32 + c % 128 / 4] == 0);
    }
}

TEST_CASE("blocks: rows of zeros and of tiny numbers have finite steps") {
    block_problem p = make_problem(1, 128, 128, 1, filling::zero);
    p.x[40] = 1e-38f;
    p.x[70] = 1e-20f;
    const activations x = quantized<isa::scalar>(p, 32);
    for (const float step : x.steps) {
        CHECK(std::isfinite(step));
    }
    CHECK(value_of(x, 0, 40) == 0.0);
    CHECK(value_of(x, 0, 70) == doctest::Approx(1e-20));
}

TEST_CASE("blocks: products are those of the unpacked weights and the rounded activations") {
    for (const std::size_t block_columns : std::initializer_list<std::size_t>{64, 128}) {
        const block_problem p = make_problem(9, block_columns * 5, block_columns, 3);
        const activations x = quantized<isa::scalar>(p, 32);
        const std::vector<float> y = products<isa::scalar>(p, x);
        for (std::size_t t = 0; t < p.tokens; ++t) {
            for (std::size_t r = 0; r < p.rows; ++r) {
                double sum = 0;
                double magnitude = 0;
                for (std::size_t c = 0; c < p.cols; ++c) {
                    const double product = p.weights[r * p.cols + c] * value_of(x, t, c);
                    sum += product;
                    magnitude += std::abs(product);
                }
                CHECK(std::abs(y[t * p.rows + r] - sum) <= 1e-6 * magnitude);
            }
        }
    }
}

TEST_CASE_TEMPLATE_DEFINE("blocks: an instruction set rounds activations and multiplies as plain C++ does, bit for bit",
                          Isa, same_as_scalar) {
    if (!runs_here<Isa>()) {
        return;
    }
    for (const filling how : {filling::random, filling::extreme, filling::code_3, filling::zero}) {
        for (const std::size_t block_columns : std::initializer_list<std::size_t>{64, 128}) {
            for (const std::size_t cols : std::initializer_list<std::size_t>{64, 128, 320, 448, 640, 1280, 2048}) {
                for (const std::size_t rows : std::initializer_list<std::size_t>{1, 7, 8, 33, 64}) {
                    for (const std::size_t tokens : std::initializer_list<std::size_t>{1, 2, 3, 4, 5, 13, 33}) {
                        if (cols % block_columns != 0 || (rows == 64 && tokens < 5) || (rows != 64 && tokens > 13)) {
                            continue;
                        }
                        CAPTURE(block_columns);
                        CAPTURE(cols);
                        CAPTURE(rows);
                        CAPTURE(tokens);
                        const block_problem p = make_problem(rows, cols, block_columns, tokens, how);
                        const std::size_t per = tokens % 3 == 0 ? 128 : tokens % 3 == 1 ? 32 : cols;
                        const activations x = quantized<Isa>(p, per);
                        const activations plain = quantized<isa::scalar>(p, per);
                        REQUIRE(same_bytes(x.steps, plain.steps));
                        REQUIRE(x.sums == plain.sums);
                        REQUIRE(std::memcmp(x.values.data(), plain.values.data(), tokens * x.stride) == 0);
                        REQUIRE(same_bytes(products<Isa>(p, x), products<isa::scalar>(p, plain)));
                    }
                }
            }
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(same_as_scalar, every_isa);

TEST_CASE_TEMPLATE_DEFINE("blocks: any range of rows gives the products of the whole matrix, and writes nothing else",
                          Isa, any_range) {
    if (!runs_here<Isa>()) {
        return;
    }
    const block_problem p = make_problem(70, 384, 128, 6);
    const activations x = quantized<Isa>(p, 32);
    const std::vector<float> all = products<Isa>(p, x);
    for (const auto& [first, count] : {std::pair{0, 1}, {0, 70}, {3, 5}, {64, 6}, {69, 1}, {8, 32}, {5, 37}}) {
        const auto begin = static_cast<std::size_t>(first);
        const auto rows = static_cast<std::size_t>(count);
        std::vector<float> y(p.tokens * (rows + 3), -7.0f);
        block_kernel<Isa>::multiply(p.view(), begin, rows, x.view(), y.data(), rows + 3);
        for (std::size_t t = 0; t < p.tokens; ++t) {
            for (std::size_t r = 0; r < rows + 3; ++r) {
                const float expected = r < rows ? all[t * p.rows + begin + r] : -7.0f;
                REQUIRE(y[t * (rows + 3) + r] == expected);
            }
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(any_range, every_isa);

TEST_CASE_TEMPLATE_DEFINE("blocks: activations of any number of columns are rounded as plain C++ does", Isa,
                          any_length) {
    if (!runs_here<Isa>()) {
        return;
    }
    for (const std::size_t cols :
         {std::size_t{1}, std::size_t{31}, std::size_t{77}, std::size_t{96}, std::size_t{200}}) {
        const block_problem p = make_problem(1, cols, 64, 2);
        for (const std::size_t per : {std::size_t{32}, std::size_t{64}, cols}) {
            const activations x = quantized<Isa>(p, per);
            const activations plain = quantized<isa::scalar>(p, per);
            CHECK(same_bytes(x.steps, plain.steps));
            CHECK(x.sums == plain.sums);
            CHECK(std::memcmp(x.values.data(), plain.values.data(), p.tokens * x.stride) == 0);
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(any_length, every_isa);

TEST_CASE("blocks: one of 128 columns has the bits of two of 64 with its scale") {
    const block_problem p = make_problem(9, 384, 128, 3);
    block_problem halves{p.rows, p.cols, 64, p.tokens, {}, p.weights, p.x};
    for (std::size_t at = 0; at < p.bytes.size(); at += 34) {
        for (const std::size_t half : {at + 2, at + 18}) {
            halves.bytes.insert(halves.bytes.end(), {p.bytes[at], p.bytes[at + 1]});
            halves.bytes.insert(halves.bytes.end(), p.bytes.begin() + static_cast<std::ptrdiff_t>(half),
                                p.bytes.begin() + static_cast<std::ptrdiff_t>(half + 16));
        }
    }
    const activations x = quantized<isa::scalar>(p, 32);
    CHECK(same_bytes(products<isa::scalar>(p, x), products<isa::scalar>(halves, x)));
}
