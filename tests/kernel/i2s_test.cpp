// SPDX-License-Identifier: MIT
#include "kernel/every_kernel_isa.hpp"
#include "kernel/repacking.hpp"

#include <bitnet/core/buffer.hpp>
#include <bitnet/kernel/i2s_amx_int8.hpp>
#include <bitnet/kernel/i2s_avx2.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/i2s_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/i2s_neon_i8mm.hpp>
#include <bitnet/kernel/i2s_sse41.hpp>
#include <bitnet/kernel/i2s_wasm_relaxed_simd.hpp>
#include <bitnet/kernel/i2s_wasm_simd128.hpp>
#include <bitnet/kernel/scalar.hpp>

#include <doctest/doctest.h>

#include <random>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::every_kernel_isa;
using bitnet_tests::repack;
using bitnet_tests::runs_here;

namespace {

struct problem {
    std::size_t rows, cols, tokens;
    std::vector<std::uint8_t> codes; // [rows, cols], one code a byte: independent of every layout
    std::vector<std::int8_t> x;      // [tokens, cols]
    std::vector<std::int32_t> sums;
};

enum class filling { random, extreme, zero, outlier, code_3, lowest };

problem make_problem(std::size_t rows, std::size_t cols, std::size_t tokens, filling how) {
    std::mt19937 engine(static_cast<unsigned>(rows * 31 + cols * 7 + tokens));
    problem p{rows, cols, tokens, {}, {}, {}};
    const unsigned top = how == filling::code_3 ? 4 : 3;
    const bool lowest = how == filling::lowest; // products as large as they can be, all of one sign
    for (std::size_t i = 0; i < rows * cols; ++i) {
        p.codes.push_back(static_cast<std::uint8_t>(lowest ? 3 : how == filling::extreme ? 2 : engine() % top));
    }
    for (std::size_t i = 0; i < tokens * cols; ++i) {
        const int random = static_cast<int>(engine() % 255) - 127;
        const int value = lowest                    ? -128
                          : how == filling::zero    ? 0
                          : how == filling::extreme ? (i % 3 == 0 ? -128 : 127)
                          : how == filling::outlier ? (i % cols == cols / 2 ? -127 : 0)
                                                    : random;
        p.x.push_back(static_cast<std::int8_t>(value));
    }
    for (std::size_t t = 0; t < tokens; ++t) {
        std::int32_t sum = 0;
        for (std::size_t c = 0; c < cols; ++c) {
            sum += p.x[t * cols + c];
        }
        p.sums.push_back(sum);
    }
    return p;
}

std::vector<std::int32_t> expected(const problem& p) {
    std::vector<std::int32_t> y;
    for (std::size_t t = 0; t < p.tokens; ++t) {
        for (std::size_t r = 0; r < p.rows; ++r) {
            std::int64_t sum = 0;
            for (std::size_t c = 0; c < p.cols; ++c) {
                sum += (static_cast<int>(p.codes[r * p.cols + c]) - 1) * static_cast<int>(p.x[t * p.cols + c]);
            }
            y.push_back(static_cast<std::int32_t>(sum));
        }
    }
    return y;
}

template <class Layout> std::vector<std::uint8_t> pack(const problem& p) {
    std::vector<std::uint8_t> bytes(p.rows * p.cols / 4);
    for (std::size_t r = 0; r < p.rows; ++r) {
        for (std::size_t c = 0; c < p.cols; ++c) {
            std::uint8_t& byte = bytes[Layout::byte_index(r, c, p.cols)];
            byte = static_cast<std::uint8_t>(byte | (p.codes[r * p.cols + c] << Layout::shift(r, c)));
        }
    }
    return bytes;
}

/// K::multiply over rows [first, first + count), the activations arranged if K wants that, into y [tokens, rows].
template <class K>
void multiply(const problem& p, const std::vector<std::uint8_t>& bytes, std::size_t first, std::size_t count,
              std::int32_t* y) {
    activation_view x{p.x.data(), p.sums.data(), p.cols, p.tokens};
    buffer<std::byte> arranged;
    if constexpr (arranging_kernel<K>) {
        x.arranged_stride = (K::arranged_bytes(p.cols) + 63) / 64 * 64 + 192;
        const std::size_t groups = (p.tokens + K::arranged_tokens - 1) / K::arranged_tokens;
        arranged = *buffer<std::byte>::allocate(groups * x.arranged_stride, "arranged");
        for (std::size_t g = 0; g < groups; ++g) {
            K::arrange(x, g * K::arranged_tokens, p.cols, arranged.data() + g * x.arranged_stride);
        }
        x.arranged = arranged.data();
    }
    K::multiply({bytes.data(), p.rows, p.cols}, first, count, x, y, p.rows);
}

template <class K> void check_exact(const problem& p) {
    const auto bytes = pack<typename K::layout>(p);
    std::vector<std::int32_t> y(p.rows * p.tokens);
    multiply<K>(p, bytes, 0, p.rows, y.data());
    const bool exact = y == expected(p);
    REQUIRE_MESSAGE(exact, p.rows << " rows, " << p.cols << " columns, " << p.tokens << " tokens");
}

/// Every range of rows gives these rows of the whole product, and no other element of y is written.
template <class K> void check_ranges(std::size_t tokens) {
    const problem p = make_problem(40, 256, tokens, filling::random);
    const auto whole = expected(p);
    const auto bytes = pack<typename K::layout>(p);
    for (std::size_t first = 0; first < p.rows; ++first) {
        for (std::size_t count = 1; first + count <= p.rows; ++count) {
            constexpr std::int32_t untouched = 123456789;
            std::vector<std::int32_t> y(p.rows * p.tokens + 1, untouched);
            multiply<K>(p, bytes, first, count, y.data() + first);
            bool right = true;
            for (std::size_t i = 0; i < y.size(); ++i) {
                const bool inside = i < whole.size() && i % p.rows >= first && i % p.rows < first + count;
                right = right && y[i] == (inside ? whole[i] : untouched);
            }
            REQUIRE_MESSAGE(right, count << " rows from " << first);
        }
    }
}

/// Calls f.operator()<K>() for the kernels that Isa has for the three byte orders of I2_S.
template <class Isa, class F> void for_each_order(F&& f) {
    const auto check = [&f]<class Layout>() {
        if constexpr (requires { typename kernel<Isa, Layout>::layout; }) {
            CAPTURE(Layout::name);
            f.template operator()<kernel<Isa, Layout>>();
        }
    };
    check.template operator()<i2s>();
    check.template operator()<i2s_b>();
    check.template operator()<i2s_c>();
}

} // namespace

TEST_CASE_TEMPLATE_DEFINE("a ternary kernel is exact", Isa, kernel_is_exact) {
    if (!runs_here<Isa>()) {
        return;
    }
    for_each_order<Isa>([]<ternary_kernel K>() {
        for (const filling how :
             {filling::random, filling::extreme, filling::zero, filling::outlier, filling::code_3, filling::lowest}) {
            for (const std::size_t cols : {128u, 256u, 384u, 768u, 1152u, 1280u, 1408u, 2560u, 3200u, 6912u, 8704u}) {
                for (const std::size_t tokens : {1u, 2u, 3u, 5u, 8u, 17u}) {
                    check_exact<K>(make_problem(12, cols, tokens, how));
                }
            }
        }
    });
}
TEST_CASE_TEMPLATE_APPLY(kernel_is_exact, every_kernel_isa);

TEST_CASE_TEMPLATE_DEFINE("a ternary kernel is exact for any tokens and rows", Isa, any_size_is_exact) {
    if (!runs_here<Isa>()) {
        return;
    }
    for_each_order<Isa>([]<ternary_kernel K>() {
        for (std::size_t tokens = 1; tokens <= 300; tokens += tokens < 40 ? 1 : 13) {
            check_exact<K>(make_problem(36, 256, tokens, filling::random));
        }
        for (std::size_t rows = 4; rows <= 100; rows += rows < 68 ? 4 : 16) {
            check_exact<K>(make_problem(rows, 384, 37, filling::code_3));
        }
        for (const std::size_t tokens : {64u, 127u, 128u, 129u, 300u}) {
            check_exact<K>(make_problem(40, 1280, tokens, filling::extreme));
        }
        for (const std::size_t cols : {128u, 384u, 1408u}) { // an odd number of blocks
            for (const std::size_t tokens : {5u, 16u, 17u, 32u}) {
                check_exact<K>(make_problem(68, cols, tokens, filling::extreme));
            }
        }
    });
}
TEST_CASE_TEMPLATE_APPLY(any_size_is_exact, every_kernel_isa);

TEST_CASE_TEMPLATE_DEFINE("a ternary kernel computes any range of rows and no more", Isa, any_range) {
    if (!runs_here<Isa>()) {
        return;
    }
    for_each_order<Isa>([]<ternary_kernel K>() {
        check_ranges<K>(3);
        check_ranges<K>(19);
    });
}
TEST_CASE_TEMPLATE_APPLY(any_range, every_kernel_isa);

TEST_CASE("the three byte orders are stored as their tables say") {
    // A: column 0 in the top bits of byte 0, column 33 in bits 5:4 of byte 1, column 127 in the low bits of byte 31.
    CHECK(i2s::byte_index(0, 0, 256) == 0);
    CHECK(i2s::shift(0, 0) == 6);
    CHECK(i2s::byte_index(0, 33, 256) == 1);
    CHECK(i2s::shift(0, 33) == 4);
    CHECK(i2s::byte_index(0, 127, 256) == 31);
    CHECK(i2s::shift(0, 127) == 0);
    CHECK(i2s::byte_index(2, 128, 256) == 2 * 64 + 32);
    // B: blocks of 64 columns in 16 bytes.
    CHECK(i2s_b::byte_index(0, 17, 256) == 1);
    CHECK(i2s_b::shift(0, 17) == 4);
    CHECK(i2s_b::byte_index(1, 64, 256) == 64 + 16);
    // C: four rows share a byte.
    CHECK(i2s_c::byte_index(5, 7, 256) == 256 + 7);
    CHECK(i2s_c::shift(5, 7) == 4);
}

TEST_CASE("repacking keeps every weight, in every direction") {
    const problem p = make_problem(8, 256, 1, filling::code_3);
    const auto a = pack<i2s>(p);
    const auto b = pack<i2s_b>(p);
    const auto c = pack<i2s_c>(p);
    std::vector<std::uint8_t> out(a.size());
    repack<i2s, i2s_b>({b.data(), p.rows, p.cols}, out.data());
    CHECK(out == a);
    repack<i2s, i2s_c>({c.data(), p.rows, p.cols}, out.data());
    CHECK(out == a);
    repack<i2s_c, i2s>({a.data(), p.rows, p.cols}, out.data());
    CHECK(out == c);
    repack<i2s_b, i2s_c>({c.data(), p.rows, p.cols}, out.data());
    CHECK(out == b);
}

TEST_CASE("a layout admits whole blocks only") {
    CHECK(i2s::admits(1, 6912));
    CHECK_FALSE(i2s::admits(1, 8640)); // 67.5 blocks: the 3B model's ffn_down
    CHECK(i2s_b::admits(1, 8640));
    CHECK(i2s_c::admits(4, 100));
    CHECK_FALSE(i2s_c::admits(6, 100));
}
