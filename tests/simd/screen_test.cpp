// SPDX-License-Identifier: MIT
#include "every_isa.hpp"
#include "kernel/emulated_tiles.hpp"

#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/float_ops_avx2.hpp>
#include <bitnet/simd/float_ops_avx512.hpp>
#include <bitnet/simd/float_ops_neon.hpp>
#include <bitnet/simd/float_ops_quad.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/simd/screen_group.hpp>
#include <bitnet/simd/screen_group_avx512.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::every_isa_but_scalar;
using bitnet_tests::runs_here;

namespace {

using oracle = float_ops<isa::scalar>;

/// Rows of random floats, every few of them of another size, and their screen.
struct screened_rows {
    std::size_t rows;
    std::size_t cols;
    std::vector<float> w;
    std::vector<std::byte> screen;

    screened_rows(std::size_t r, std::size_t c, unsigned seed) : rows(r), cols(c), w(r * c) {
        std::mt19937 engine(seed);
        std::normal_distribution<float> normal;
        for (std::size_t i = 0; i < w.size(); ++i) {
            const float spread = i / cols % 5 == 4 ? 100.0f : 0.02f;
            w[i] = normal(engine) * spread;
        }
        write();
    }

    void write() {
        const std::size_t row_bytes = screen_layout::row_bytes(cols);
        screen.assign(rows * row_bytes, std::byte{});
        screen_writer writer;
        for (std::size_t r = 0; r < rows; ++r) {
            std::byte* out = screen.data() + r * row_bytes;
            for (std::size_t first = 0; first < cols; first += 128, out += screen_layout::block_bytes) {
                float block[128] = {};
                std::copy_n(w.data() + r * cols + first, std::min<std::size_t>(128, cols - first), block);
                writer.encode(block, out);
            }
            writer.finish(out);
        }
    }

    [[nodiscard]] std::vector<float> logits(const std::vector<float>& x) const {
        std::vector<float> y(rows);
        float* const to = y.data();
        oracle::dot_rows<float>(reinterpret_cast<const std::byte*>(w.data()), cols * sizeof(float), rows,
                                {x.data(), 1, cols}, &to);
        return y;
    }
};

/// x as integers, in memory of its own.
struct input {
    std::vector<std::int8_t> high;
    std::vector<std::int8_t> low;
    std::vector<std::int32_t> offset;
    screen_input view;
    bool good;

    explicit input(const std::vector<float>& x)
        : high(screen_layout::blocks(x.size()) * 128), low(high.size()), offset(high.size() / 8),
          good(make_screen_input(x.data(), x.size(), high.data(), low.data(), offset.data(), view)) {}
};

std::vector<float> random_state(std::size_t n, unsigned seed, float outlier = 0.0f) {
    std::mt19937 engine(seed);
    std::normal_distribution<float> normal;
    std::vector<float> x(n);
    std::generate(x.begin(), x.end(), [&] { return normal(engine); });
    if (outlier != 0.0f) {
        x[n / 3] = outlier;
    }
    return x;
}

const std::size_t widths[] = {1, 100, 127, 128, 129, 320, 640, 2560, 3200};

/// States of all kinds in groups of sixteen, and zeros in the places that are left of the last.
struct input_groups {
    std::vector<input> inputs;
    std::vector<screen_group> groups;
    std::vector<std::vector<std::int8_t>> values;
    std::vector<std::vector<std::int32_t>> offsets;

    [[nodiscard]] static std::vector<float> state(std::size_t cols, std::size_t i) {
        const float outliers[] = {0.0f, 1e4f, -1e-15f};
        return random_state(cols, static_cast<unsigned>(20 + i), outliers[i % 3]);
    }

    input_groups(std::size_t cols, std::size_t count) {
        const std::size_t blocks = screen_layout::blocks(cols);
        for (std::size_t i = 0; i < count; ++i) {
            inputs.emplace_back(state(cols, i));
            REQUIRE(inputs.back().good);
            if (i % 16 == 0) {
                values.emplace_back(screen_group::value_bytes(blocks));
                offsets.emplace_back(blocks * screen_group::inputs);
                groups.emplace_back();
                groups.back().values = values.back().data();
                groups.back().offsets = offsets.back().data();
                groups.back().blocks = blocks;
            }
            groups.back().put(i % 16, inputs.back().view, values.back().data(), offsets.back().data());
        }
    }

    using bound = decltype(group_loops::bound);
    /// [groups][rows][16]
    [[nodiscard]] std::vector<float> bounds(bound by, const std::vector<std::byte>& screen, std::size_t rows) const {
        std::vector<float> upper(groups.size() * rows * screen_group::inputs + 1, -1.0f);
        by(screen.data(), rows, groups.data(), groups.size(), upper.data());
        CHECK(upper.back() == -1.0f);
        return upper;
    }
};

/// Whether `by` has the oracle's bits for all numbers of rows and groups. Not every architecture has such loops.
[[maybe_unused]] void check_groups(input_groups::bound by) {
    for (const std::size_t cols : {1u, 100u, 129u, 640u, 2560u}) {
        screened_rows all(67, cols, 9);
        all.w[3 * cols] = std::numeric_limits<float>::infinity(); // whose products with places that are left are NaNs
        all.w[40 * cols + cols / 2] = std::numeric_limits<float>::quiet_NaN();
        all.w[66 * cols] = 1e30f;
        all.write();
        for (const std::size_t inputs : {1u, 16u, 17u, 64u}) {
            const input_groups some(cols, inputs);
            for (const std::size_t rows : {67u, 32u, 9u, 1u}) { // whole tiles, and what is left of one
                const auto expected = some.bounds(&screen_groups<hardware_fma>, all.screen, rows);
                const auto actual = some.bounds(by, all.screen, rows);
                CHECK(std::memcmp(expected.data(), actual.data(), expected.size() * sizeof(float)) == 0);
            }
        }
    }
}

} // namespace

TEST_CASE("no dot product exceeds its bound, and the bound is near for random rows") {
    for (const std::size_t cols : widths) {
        const screened_rows all(500, cols, 1);
        for (const float outlier : {0.0f, 1e4f, -1e-15f}) {
            const auto x = random_state(cols, 2, outlier);
            const input in(x);
            REQUIRE(in.good);
            std::vector<float> upper(all.rows);
            oracle::screen_rows(all.screen.data(), all.rows, in.view, upper.data());
            const auto exact = all.logits(x);
            double width = 0;
            for (std::size_t r = 0; r < all.rows; ++r) {
                CHECK(exact[r] <= upper[r]);
                row_bound bound;
                std::memcpy(&bound, all.screen.data() + (r + 1) * screen_layout::row_bytes(cols) - sizeof bound,
                            sizeof bound);
                width = std::max(width, static_cast<double>(upper[r] - exact[r]) / bound.norm / in.view.norm);
            }
            // Six bits: an error of about 0.03 of a row's norm, at most twice that is the distance.
            CHECK_MESSAGE(width < 0.08, "columns " << cols);
        }
    }
}

TEST_CASE("the bound holds for the state that lies along the error of a row") {
    const std::size_t cols = 320;
    const screened_rows all(40, cols, 3);
    for (std::size_t r = 0; r < all.rows; ++r) {
        // x = w - v: the products differ by |x|^2, which is all that Cauchy-Schwarz allows.
        std::vector<float> x(cols);
        const std::byte* row = all.screen.data() + r * screen_layout::row_bytes(cols);
        for (std::size_t i = 0; i < cols; ++i) {
            const std::byte* block = row + i / 128 * screen_layout::block_bytes;
            const std::size_t c = i % 128;
            const auto q = (static_cast<int>(block[c % 64]) >> (c < 64 ? 0 : 4) & 15) |
                           (static_cast<int>(block[64 + c % 32]) >> (c / 32 * 2) & 3) << 4;
            float scale;
            std::memcpy(&scale, block + 96, sizeof scale);
            x[i] = all.w[r * cols + i] - scale * static_cast<float>(q - 32);
        }
        const input in(x);
        REQUIRE(in.good);
        std::vector<float> upper(all.rows);
        oracle::screen_rows(all.screen.data(), all.rows, in.view, upper.data());
        const float exact = all.logits(x)[r];
        CHECK(exact <= upper[r]);
        row_bound bound;
        std::memcpy(&bound, row + screen_layout::row_bytes(cols) - sizeof bound, sizeof bound);
        CHECK(upper[r] <= exact + 1e-4f * bound.norm * in.view.norm); // and little is given away
    }
}

TEST_CASE("no dot product exceeds its bound in a group, which is as near") {
    for (const std::size_t cols : widths) {
        const screened_rows all(40, cols, 1);
        const input_groups some(cols, 18);
        const auto upper = some.bounds(&screen_groups<software_fma>, all.screen, all.rows);
        std::vector<float> alone(all.rows);
        for (std::size_t i = 0; i < some.inputs.size(); ++i) {
            const screen_input& x = some.inputs[i].view;
            oracle::screen_rows(all.screen.data(), all.rows, x, alone.data());
            const auto exact = all.logits(input_groups::state(cols, i));
            for (std::size_t r = 0; r < all.rows; ++r) {
                const float here = upper[(i / 16 * all.rows + r) * 16 + i % 16];
                CHECK(exact[r] <= here);
                row_bound bound;
                std::memcpy(&bound, all.screen.data() + (r + 1) * screen_layout::row_bytes(cols) - sizeof bound,
                            sizeof bound);
                CHECK(std::abs(here - alone[r]) <= bound.norm * x.norm * 1e-4f);
            }
        }
    }
}

TEST_CASE("rows that are not finite or huge are never screened out") {
    screened_rows all(6, 200, 4);
    all.w[0 * 200 + 3] = std::numeric_limits<float>::infinity();
    all.w[1 * 200 + 150] = std::numeric_limits<float>::quiet_NaN();
    all.w[2 * 200 + 7] = -1e30f;
    std::fill_n(all.w.begin() + 3 * 200, 200, 0.0f);
    std::fill_n(all.w.begin() + 5 * 200, 200, 1e-42f);
    all.write();
    const auto x = random_state(200, 5);
    const input in(x);
    std::vector<float> upper(all.rows);
    oracle::screen_rows(all.screen.data(), all.rows, in.view, upper.data());
    for (const std::size_t r : {0u, 1u, 2u}) {
        CHECK(upper[r] == std::numeric_limits<float>::infinity());
    }
    CHECK(upper[3] >= 0.0f);
    CHECK(upper[3] < 1e-20f);
    CHECK(upper[5] < 1e-20f);
    CHECK(all.logits(x)[5] <= upper[5]);
}

TEST_CASE("states that cannot be screened are refused") {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    const float infinity = std::numeric_limits<float>::infinity();
    for (const float bad : {nan, infinity, -infinity, 1e10f}) {
        CHECK_FALSE(input(random_state(100, 6, bad)).good);
    }
    CHECK_FALSE(input(std::vector<float>(100, 0.0f)).good);
    CHECK_FALSE(input(std::vector<float>(100, 1e-40f)).good);
    CHECK(input(random_state(100, 6)).good);
}

TEST_CASE_TEMPLATE_DEFINE("screened rows give the scalar bits", Isa, screen_rows_gives_the_scalar_bits) {
    if (!runs_here<Isa>()) {
        return;
    }
    for (const std::size_t cols : widths) {
        const screened_rows all(17, cols, 7);
        for (const float outlier : {0.0f, 1e4f}) {
            const auto x = random_state(cols, 8, outlier);
            const input in(x);
            REQUIRE(in.good);
            std::vector<float> expected(all.rows);
            std::vector<float> actual(all.rows);
            oracle::screen_rows(all.screen.data(), all.rows, in.view, expected.data());
            for (const std::size_t rows : {17u, 6u, 3u, 1u}) { // whole tiles, and what is left of one
                std::fill(actual.begin(), actual.end(), -1.0f);
                float_ops<Isa>::screen_rows(all.screen.data(), rows, in.view, actual.data());
                CHECK(std::memcmp(expected.data(), actual.data(), rows * sizeof(float)) == 0);
                CHECK(std::all_of(actual.begin() + static_cast<std::ptrdiff_t>(rows), actual.end(),
                                  [](float each) { return each == -1.0f; }));
            }
            const std::uint32_t list[] = {16, 0, 5, 5, 11};
            float listed[5];
            float_ops<Isa>::template dot_listed<float>(reinterpret_cast<const std::byte*>(all.w.data()), cols * 4, list,
                                                       x.data(), cols, listed);
            const auto exact = all.logits(x);
            for (std::size_t i = 0; i < 5; ++i) {
                CHECK(listed[i] == exact[list[i]]);
            }
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(screen_rows_gives_the_scalar_bits, every_isa_but_scalar);

TEST_CASE_TEMPLATE_DEFINE("screened rows of a group have the scalar bits", Isa, screened_rows_of_a_group) {
    if constexpr (requires { &float_ops<Isa>::screen_groups; }) {
        if (runs_here<Isa>()) {
            check_groups(&float_ops<Isa>::screen_groups);
        }
    }
}
TEST_CASE_TEMPLATE_APPLY(screened_rows_of_a_group, every_isa_but_scalar);

#if BITNET_X86_64
TEST_CASE("screened rows of a group have the scalar bits by emulated tiles") {
    if (runs_here<bitnet_tests::emulated_amx>()) {
        check_groups(&screen_tile_kernel<bitnet_tests::emulated_tiles>::screen_groups);
    }
}
#endif
