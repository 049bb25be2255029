// SPDX-License-Identifier: MIT
// The layouts base3, lookup2 and lookup3: packing, and their kernels against products in 64 bits.
#include "kernel/every_kernel_isa.hpp"
#include "kernel/repacking.hpp"
#include "kernel/ternary_problem.hpp"

#include <bitnet/policy.hpp>

#include <doctest/doctest.h>

#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using bitnet_tests::arranged_activations;
using bitnet_tests::every_kernel_isa;
using bitnet_tests::filling;
using bitnet_tests::layout_bytes;
using bitnet_tests::repack;
using bitnet_tests::repack_rows;
using bitnet_tests::runs_here;
using bitnet_tests::ternary_problem;

namespace {

template <class K> void check_exact(const ternary_problem& p) {
    using layout = typename K::layout;
    const auto bytes = p.pack<layout>();
    const arranged_activations<K> x(p);
    std::vector<std::int32_t> y(p.rows * p.tokens);
    K::multiply({bytes.data(), p.rows, p.cols}, 0, p.rows, x.view(), y.data(), p.rows);
    REQUIRE(y == p.expected());
}

/// Ranges of rows give these rows of the whole product, and no other element of y is written.
template <class K> void check_ranges() {
    using layout = typename K::layout;
    const ternary_problem p(70, 330, std::is_same_v<layout, base3> ? 5 : 9, filling::random);
    const auto whole = p.expected();
    const auto bytes = p.pack<layout>();
    const arranged_activations<K> x(p);
    for (std::size_t first = 0; first < p.rows; first += 3) {
        for (std::size_t count = 1; first + count <= p.rows; count += 5) {
            constexpr std::int32_t untouched = 123456789;
            std::vector<std::int32_t> y(p.rows * p.tokens + 1, untouched);
            K::multiply({bytes.data(), p.rows, p.cols}, first, count, x.view(), y.data() + first, p.rows);
            for (std::size_t i = 0; i < y.size(); ++i) {
                const bool inside = i < whole.size() && i % p.rows >= first && i % p.rows < first + count;
                REQUIRE(y[i] == (inside ? whole[i] : untouched));
            }
        }
    }
}

/// Calls f.operator()<K>() for the kernels that Isa has for these layouts.
template <class Isa, class F> void for_each_layout(F&& f) {
    const auto check = [&f]<ternary_layout Layout>() {
        if constexpr (requires { typename kernel<Isa, Layout>::layout; }) {
            CAPTURE(Layout::name);
            f.template operator()<kernel<Isa, Layout>>();
        }
    };
    check.template operator()<base3>();
    check.template operator()<lookup2>();
    check.template operator()<lookup3>();
}

template <class From, class To> void check_repacking(std::size_t rows, std::size_t cols) {
    INFO(From::name << " to " << To::name << ", " << rows << " x " << cols);
    const ternary_problem p(rows, cols, 1, filling::random);
    const auto from = p.pack<From>();
    const auto to = p.pack<To>();
    std::vector<std::uint8_t> out(to.size(), 0xee);
    repack<To, From>({from.data(), rows, cols}, out.data());
    CHECK(out == to);
}

template <class L> void check_all_repacking() {
    for (const std::size_t rows : {1u, 4u, 36u, 64u}) {
        for (const std::size_t cols : {128u, 640u, 1152u, 2560u}) {
            check_repacking<i2s, L>(rows, cols);
            check_repacking<L, i2s>(rows, cols);
            check_repacking<i2s_b, L>(rows, cols);
            check_repacking<L, i2s_b>(rows, cols);
        }
        check_repacking<i2s_b, L>(rows, 8640);
    }
    check_repacking<i2s_c, L>(36, 100);
    check_repacking<L, i2s_c>(36, 100);
}

} // namespace

TEST_CASE("each of the 243 values of five weights has its own byte, which gives its digits") {
    for (unsigned value = 0; value < 243; ++value) {
        const std::uint8_t byte = base3::fraction(value);
        unsigned digits = 0;
        for (std::size_t k = 0; k < 5; ++k) {
            REQUIRE(base3::digit(byte, k) < 3);
            digits = 3 * digits + base3::digit(byte, k);
        }
        REQUIRE(digits == value);
    }
}

TEST_CASE_TEMPLATE("code() reads what pack_block() wrote", L, base3, lookup2, lookup3) {
    const ternary_problem p(40, 700, 1, filling::random);
    const auto bytes = p.pack<L>();
    for (std::size_t r = 0; r < p.rows; ++r) {
        for (std::size_t c = 0; c < p.cols; ++c) {
            REQUIRE(L::code({bytes.data(), p.rows, p.cols}, r, c) == p.codes[r * p.cols + c]);
        }
    }
}

TEST_CASE("repacking keeps every weight and pads with code 1, between all layouts") {
    check_all_repacking<base3>();
    check_all_repacking<lookup2>();
    check_all_repacking<lookup3>();
    check_repacking<base3, lookup3>(33, 1000);
    check_repacking<lookup3, base3>(33, 1000);
    check_repacking<lookup2, lookup3>(65, 77);
    check_repacking<base3, lookup2>(31, 1);
}

TEST_CASE("repacking a range of rows writes those rows and no others") {
    const ternary_problem p(100, 256, 1, filling::random);
    const auto from = p.pack<i2s>();
    const auto whole = p.pack<lookup3>();
    std::vector<std::uint8_t> out(whole.size(), 0xee);
    repack_rows<lookup3, i2s>({from.data(), p.rows, p.cols}, 32, 32, out.data());
    const std::size_t group = whole.size() / 4;
    CHECK(std::equal(out.begin() + static_cast<std::ptrdiff_t>(group),
                     out.begin() + 2 * static_cast<std::ptrdiff_t>(group),
                     whole.begin() + static_cast<std::ptrdiff_t>(group)));
    CHECK(std::count(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(group), 0xee) ==
          static_cast<std::ptrdiff_t>(group));
    CHECK(std::count(out.begin() + 2 * static_cast<std::ptrdiff_t>(group), out.end(), 0xee) ==
          2 * static_cast<std::ptrdiff_t>(group));
}

TEST_CASE("a base3 2B-4T matrix takes 1.6 bits a weight, lookup3 1.67, lookup2 2") {
    CHECK(layout_bytes<base3>(2560, 2560) == 2560u * 512u);
    CHECK(layout_bytes<base3>(2560, 6912) == 2560u * 22u * 64u);
    CHECK(layout_bytes<lookup3>(2560, 6912) == 2560u / 32u * 288u * 160u);
    CHECK(layout_bytes<lookup2>(2560, 6912) == 2560u * 6912u / 4u);
    CHECK(layout_bytes<i2s>(2560, 6912) == 2560u * 6912u / 4u);
    if constexpr (sizeof(std::size_t) == 8) {
        CHECK_FALSE(layout_bytes<base3>(SIZE_MAX, SIZE_MAX));
        CHECK_FALSE(layout_bytes<lookup3>(SIZE_MAX, 2560));
    }
}

TEST_CASE_TEMPLATE_DEFINE("a kernel of another layout than I2_S is exact", Isa, other_kernel_is_exact) {
    if (!runs_here<Isa>()) {
        return;
    }
    for_each_layout<Isa>([]<ternary_kernel K>() {
        for (const filling how : {filling::random, filling::extreme, filling::minus, filling::zero, filling::outlier}) {
            for (const std::size_t cols : {1u, 100u, 320u, 640u, 2560u, 3200u, 6912u, 8640u}) {
                check_exact<K>(ternary_problem(9, cols, 2, how));
            }
            check_exact<K>(ternary_problem(70, 1000, 1, how));
        }
        for (std::size_t tokens = 1; tokens <= 40; tokens += tokens < 9 ? 1 : 7) {
            check_exact<K>(ternary_problem(34, 650, tokens, filling::random));
        }
        check_exact<K>(ternary_problem(40, 8640, 17, filling::extreme));
        check_exact<K>(ternary_problem(33, 10000, 20, filling::random)); // fewer than 32 rows fit by_way_of_i2s
    });
}
TEST_CASE_TEMPLATE_APPLY(other_kernel_is_exact, every_kernel_isa);

TEST_CASE_TEMPLATE_DEFINE("a kernel of another layout than I2_S computes any range of rows and no more", Isa,
                          any_range) {
    if (!runs_here<Isa>()) {
        return;
    }
    for_each_layout<Isa>([]<ternary_kernel K>() { check_ranges<K>(); });
}
TEST_CASE_TEMPLATE_APPLY(any_range, every_kernel_isa);

#if BITNET_X86_64 || BITNET_ARM64
#if BITNET_X86_64
using lookup_isa = isa::avx2;
BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace {
void store_table(const std::int16_t* sums, std::byte* table) {
    lookup_avx2::store_table(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(sums)), table);
}
} // namespace
BITNET_TARGET_END
#else
using lookup_isa = isa::neon;
namespace {
void store_table(const std::int16_t* sums, std::byte* table) {
    lookup_neon::store_table(vld1q_s16(sums), vld1q_s16(sums + 8), table);
}
} // namespace
#endif

TEST_CASE("every sum of three activations is exactly two small bytes") {
    if (!runs_here<lookup_isa>()) {
        return;
    }
    for (int first = -384; first <= 384; first += 16) {
        std::int16_t sums[16];
        for (int i = 0; i < 16; ++i) {
            sums[i] = static_cast<std::int16_t>(std::min(first + i, 384));
        }
        std::byte table[32];
        store_table(sums, table);
        for (int i = 0; i < 16; ++i) {
            const int low = static_cast<std::int8_t>(table[i]);
            const int high = static_cast<std::int8_t>(table[16 + i]);
            REQUIRE((low >= -15 && low <= 15 && high >= -12 && high <= 12));
            REQUIRE(31 * high + low == sums[i]);
        }
    }
}
#endif
