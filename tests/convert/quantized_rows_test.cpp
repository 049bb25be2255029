// SPDX-License-Identifier: MIT
#include <bitnet/convert/quantized_rows.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

std::vector<float> normal_row(std::size_t size, float deviation, unsigned seed) {
    std::mt19937 random(seed);
    std::vector<float> row(size);
    for (float& x : row) { // the sum of twelve uniform numbers: the same with every standard library
        double sum = -6;
        for (int i = 0; i < 12; ++i) {
            sum += static_cast<double>(random()) / 4294967296.0;
        }
        x = static_cast<float>(sum) * deviation;
    }
    return row;
}

template <class E> std::vector<std::byte> narrowed(const std::vector<float>& row) {
    std::vector<std::byte> bytes(row_bytes_of<E>(row.size()));
    REQUIRE(narrow_row<E>(row.data(), row.size(), bytes.data()));
    return bytes;
}

template <class E> std::vector<float> there_and_back(const std::vector<float>& row) {
    const auto bytes = narrowed<E>(row);
    std::vector<float> values(row.size());
    for (std::size_t i = 0; i < row.size(); ++i) {
        values[i] = element_at<E>(bytes.data(), i);
    }
    return values;
}

/// The root of the mean squared error, as a share of the row's deviation.
double relative_error(const std::vector<float>& a, const std::vector<float>& b) {
    double error = 0;
    double energy = 0;
    for (std::size_t i = 0; i < a.size(); ++i) {
        error += std::pow(static_cast<double>(a[i]) - static_cast<double>(b[i]), 2);
        energy += std::pow(static_cast<double>(a[i]), 2);
    }
    return std::sqrt(error / energy);
}

} // namespace

TEST_CASE("Q8_0 is off by half a step at most, and a step is a 127th of the largest value of 32") {
    for (const float deviation : {1e-3f, 0.02f, 1.0f, 3000.0f}) {
        const auto row = normal_row(512, deviation, 1);
        const auto back = there_and_back<q8_0>(row);
        for (std::size_t block = 0; block < row.size(); block += 32) {
            float most = 0;
            for (std::size_t i = block; i < block + 32; ++i) {
                most = std::max(most, std::abs(row[i]));
            }
            for (std::size_t i = block; i < block + 32; ++i) {
                CHECK(std::abs(row[i] - back[i]) <= most / 127 * 0.57f); // a half, and the rounding of the step to half
            }
        }
    }
}

TEST_CASE("Q6_K of a normal row is off by 1.9 percent of the deviation at most") {
    for (const float deviation : {1e-3f, 0.02f, 1.0f, 3000.0f}) {
        const auto row = normal_row(4096, deviation, 2);
        CHECK(relative_error(row, there_and_back<q6_k>(row)) < 0.019);
    }
}

TEST_CASE_TEMPLATE("values that a block can hold are written exactly", E, q8_0, q6_k) {
    const auto once = there_and_back<E>(normal_row(512, 0.5f, 3));
    const auto twice = there_and_back<E>(once);
    CHECK(relative_error(once, twice) < (std::is_same_v<E, q8_0> ? 1e-9 : 0.004));
}

TEST_CASE_TEMPLATE("zeros stay zeros, even beside values too small for a scale", E, q8_0, q6_k, half) {
    std::vector<float> row(512);
    CHECK(there_and_back<E>(row) == row);
    row[300] = 1e-20f;
    CHECK(there_and_back<E>(row) == std::vector<float>(512));
}

TEST_CASE("half rounds to nearest even") {
    CHECK(there_and_back<half>({1.0f, 1.0f + 0x1p-11f, 1.0f + 0x3p-11f, -65504.0f}) ==
          std::vector<float>{1.0f, 1.0f, 1.0f + 0x1p-9f, -65504.0f});
}

TEST_CASE_TEMPLATE("values that are not finite or too large are refused", E, half, bfloat16, float, q8_0, q6_k) {
    std::vector<std::byte> bytes(row_bytes_of<E>(256));
    for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            -std::numeric_limits<float>::infinity(), std::nextafter(largest_value<E>, 1e38f * 3)}) {
        std::vector<float> row(256);
        row[200] = bad;
        CHECK_FALSE(narrow_row<E>(row.data(), row.size(), bytes.data()));
        row[200] = -largest_value<E>;
        CHECK(narrow_row<E>(row.data(), row.size(), bytes.data()));
    }
}
