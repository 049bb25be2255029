// SPDX-License-Identifier: MIT
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/quoted_name.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>

using bitnet::detail::sentence;

TEST_CASE("a sentence joins texts of every kind and integers of every width") {
    const std::string name = "blk.0";
    const std::string_view view = "rows";
    CHECK(sentence({}).empty());
    CHECK(sentence({name, ": ", 3, " ", view}) == "blk.0: 3 rows");
    CHECK(sentence({std::uint8_t{200}, ",", std::int8_t{-128}, ",", 0u}) == "200,-128,0");
    CHECK(sentence({UINT64_MAX, ",", INT64_MIN, ",", INT64_MAX}) ==
          "18446744073709551615,-9223372036854775808,9223372036854775807");
}

TEST_CASE("a quoted part is what quoted_name gives") {
    const std::string key = "a\x1b[2J" + std::string(100, 'k');
    CHECK(bitnet::detail::sentence({"key ", bitnet::detail::quoted{key}, "."}) ==
          "key " + bitnet::detail::quoted_name(key) + ".");
}

TEST_CASE("set_error joins a place and what is wrong there, and is false") {
    bitnet::error failure{bitnet::errc::io_error, "old"};
    CHECK(!bitnet::detail::set_error(failure, bitnet::errc::bad_key, {"file: key ", 3}, {" has ", -1, " bytes"}));
    CHECK(failure.code == bitnet::errc::bad_key);
    CHECK(failure.message == "file: key 3 has -1 bytes");
}
