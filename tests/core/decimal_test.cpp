// SPDX-License-Identifier: MIT
#include <bitnet/core/decimal.hpp>

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <random>
#include <string>
#include <string_view>
#include <system_error>

using bitnet::detail::parse_decimal;

namespace {

std::uint64_t bits_of(std::string_view text) {
    const auto value = parse_decimal(text);
    CAPTURE(std::string(text));
    REQUIRE(value);
    return std::bit_cast<std::uint64_t>(*value);
}

[[maybe_unused]] std::string printed(const char* format, int digits, double value) {
    std::array<char, 64> text{};
    std::snprintf(text.data(), text.size(), format, digits, value);
    return text.data();
}

} // namespace

TEST_CASE("decimal numbers of all sizes are read as the nearest double") {
#if defined(__cpp_lib_to_chars)
    std::mt19937_64 random(1);
    std::size_t different = 0;
    for (int i = 0; i < 60000; ++i) {
        const std::uint64_t mask = i % 3 == 0 ? 0x800fffffffffffffu : ~std::uint64_t{0}; // a third is subnormal
        const double value = std::bit_cast<double>(random() & mask);
        const std::string text = printed("%.*e", static_cast<int>(random() % 20), value);
        double expected = 0;
        const auto read = std::from_chars(text.data(), text.data() + text.size(), expected);
        const auto ours = parse_decimal(text);
        if (text.find("n") != std::string::npos || read.ec != std::errc{}) { // nan, inf, out of range
            different += ours.has_value() && *ours != 0 ? 1 : 0;
        } else {
            different += !ours || std::bit_cast<std::uint64_t>(*ours) != std::bit_cast<std::uint64_t>(expected) ? 1 : 0;
        }
    }
    CHECK(different == 0);
#endif
    CHECK(*parse_decimal("500000.0") == 500000.0);
    CHECK(*parse_decimal("1e-5") == 1e-5);
    CHECK(*parse_decimal("-12.5E+1") == -125.0);
    CHECK(bits_of("-0") == 0x8000000000000000u);
}

TEST_CASE("ties are rounded to even, and one digit far to the right breaks them") {
    // 2^53 + 1 lies between two doubles.
    CHECK(*parse_decimal("9007199254740993") == 9007199254740992.0);
    CHECK(*parse_decimal("9007199254740995") == 9007199254740996.0);
    const std::string zeros(2000, '0');
    CHECK(*parse_decimal("9007199254740993." + zeros) == 9007199254740992.0);
    CHECK(*parse_decimal("9007199254740993." + zeros + "1") == 9007199254740994.0);
    // Half of the smallest double, and a little more.
    CHECK(bits_of("2.4703282292062327208e-324") == 0);
    CHECK(bits_of("2.4703282292062327209e-324") == 1);
}

TEST_CASE("the ends of the range are exact") {
    CHECK(*parse_decimal("1.7976931348623157e308") == std::numeric_limits<double>::max());
    CHECK(*parse_decimal("1.7976931348623158e308") == std::numeric_limits<double>::max());
    CHECK_FALSE(parse_decimal("1.7976931348623159e308").has_value());
    CHECK_FALSE(parse_decimal("1e309").has_value());
    CHECK_FALSE(parse_decimal("1e99999999999999999999").has_value());
    CHECK(bits_of("2.2250738585072014e-308") == 0x0010000000000000u);
    CHECK(bits_of("2.2250738585072011e-308") == 0x000fffffffffffffu);
    CHECK(bits_of("4.9e-324") == 1);
    CHECK(bits_of("1e-400") == 0);
    CHECK(bits_of("1e-99999999999999999999") == 0);
    CHECK(bits_of("0e99999999999999999999") == 0);
}

TEST_CASE("a million zeros and a large exponent cancel") {
    const std::string zeros(1000000, '0');
    CHECK(*parse_decimal("0." + zeros + "1e1000001") == 1.0);
    CHECK(*parse_decimal("1" + zeros + "e-1000000") == 1.0);
}

TEST_CASE("text that is no decimal number parses to nullopt") {
    for (const char* text :
         {"", "-", "+1", ".5", "1.", "1e", "1e+", "e5", "1 ", " 1", "1,5", "0x10", "inf", "nan", "--1"}) {
        CAPTURE(std::string(text));
        CHECK_FALSE(parse_decimal(text).has_value());
    }
}
