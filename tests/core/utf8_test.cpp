// SPDX-License-Identifier: MIT
// UTF-8: every scalar value, every kind of malformed byte.
#include <bitnet/core/utf8.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;

TEST_CASE("every scalar value is the same after being written and read as UTF-8") {
    std::size_t differing = 0;
    for (char32_t c = 0; c <= 0x10ffff; ++c) {
        if (c == 0xd800) {
            c = 0xe000;
        }
        std::string text;
        append_utf8(text, c);
        const auto read = first_code_point(text + "x");
        differing += read.value != c || read.size != text.size() || unfinished_tail(text) != 0 ? 1 : 0;
    }
    CHECK(differing == 0);
}

TEST_CASE("a scalar value takes one to four bytes by its size") {
    for (const auto& [c, size] : {std::pair{0x7fu, 1u},
                                  {0x80u, 2u},
                                  {0x7ffu, 2u},
                                  {0x800u, 3u},
                                  {0xffffu, 3u},
                                  {0x10000u, 4u},
                                  {0x10ffffu, 4u}}) {
        std::string text;
        append_utf8(text, c);
        CHECK(text.size() == size);
    }
}

TEST_CASE("bytes that are not UTF-8 are one invalid character each") {
    using namespace std::string_view_literals;
    for (const std::string_view bad :
         {"\x80"sv, "\xbf"sv, "\xc0\x80"sv, "\xc1\xbf"sv, "\xe0\x9f\xbf"sv, "\xed\xa0\x80"sv, "\xf0\x8f\xbf\xbf"sv,
          "\xf4\x90\x80\x80"sv, "\xf5\x80\x80\x80"sv, "\xff"sv, "\xc3"sv, "\xc3\x41"sv, "\xe2\x82"sv, "\xe2\x82\x41"sv,
          "\xf0\x9f\x98\x41"sv}) {
        const auto read = first_code_point(bad);
        CAPTURE(bad.size());
        CHECK(read.value == invalid_code_point);
        CHECK(read.size == 1);
    }
}

TEST_CASE("only the start of a well-formed code point counts as unfinished") {
    using namespace std::string_view_literals;
    for (const auto& [text, tail] : {std::pair{""sv, 0u},
                                     {"abc"sv, 0u},
                                     {"a\xc3"sv, 1u},
                                     {"a\xc3\xa9"sv, 0u},
                                     {"\xe2"sv, 1u},
                                     {"\xe2\x82"sv, 2u},
                                     {"\xe2\x82\xac"sv, 0u},
                                     {"x\xf0\x9f\x98"sv, 3u},
                                     {"\xf0\x9f\x98\x80"sv, 0u},
                                     {"\x80"sv, 0u},
                                     {"\xff"sv, 0u},
                                     {"\xc0"sv, 0u},
                                     {"\xe0\x80"sv, 0u},
                                     {"\xed\xa0"sv, 0u},
                                     {"\xf4\x90"sv, 0u},
                                     {"\xf4\x8f"sv, 2u},
                                     {"\x80\x80\x80"sv, 0u},
                                     {"\xe2\xe2"sv, 1u}}) {
        CHECK(unfinished_tail(text) == tail);
    }
}
