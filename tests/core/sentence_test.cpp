// SPDX-License-Identifier: MIT
#include <bitnet/core/sentence.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

using bitnet::sentence;

TEST_CASE("a sentence joins texts of every kind and integers of every width") {
    const std::string name = "blk.0";
    const std::string_view view = "rows";
    CHECK(sentence({}).empty());
    CHECK(sentence({name, ": ", 3, " ", view}) == "blk.0: 3 rows");
    CHECK(sentence({std::uint8_t{200}, ",", std::int8_t{-128}, ",", 0u}) == "200,-128,0");
    CHECK(sentence({UINT64_MAX, ",", INT64_MIN, ",", INT64_MAX}) ==
          "18446744073709551615,-9223372036854775808,9223372036854775807");
}
