// SPDX-License-Identifier: MIT
// chat_format: names, and what templates do to roles and contents.
#include <bitnet/text/chat_format.hpp>

#include <doctest/doctest.h>

#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;

TEST_CASE("every chat format is found by its name, and by no other") {
    for (const chat_format format :
         {chat_format::bitnet, chat_format::llama3, chat_format::falcon3, chat_format::chatml}) {
        CHECK(find_chat_format(name_of(format)) == format);
    }
    CHECK(name_of(chat_format::falcon3) == "falcon3");
    for (const std::string_view none : {"", "Bitnet", "bitnet ", "llama", "gemma"}) {
        CHECK(!find_chat_format(none));
    }
}

TEST_CASE("contents are stripped of white space and separators at both ends, as in Python") {
    CHECK(stripped("").empty());
    CHECK(stripped(" \t\n\v\f\r\x1c\x1d\x1e\x1f").empty());
    CHECK(stripped("a") == "a");
    CHECK(stripped("  a b\n") == "a b");
    CHECK(stripped("\xc2\x85\xc2\xa0\xe1\x9a\x80 x \xe2\x80\x80\xe2\x80\x8a\xe2\x80\xa8\xe2\x80\xa9") == "x");
    CHECK(stripped("\xe2\x80\xaf\xe2\x81\x9f\xe3\x80\x80x\xe3\x80\x80") == "x");
    // no white space: zero width space, byte order mark, word joiner
    for (const std::string_view kept : {"\xe2\x80\x8bx\xe2\x80\x8b", "\xef\xbb\xbfx", "x\xe2\x81\xa0"}) {
        CHECK(stripped(kept) == kept);
    }
    CHECK(stripped(" \xff\xa0 ") == "\xff\xa0"); // bytes that are not UTF-8 are no white space
}

TEST_CASE("roles are capitalized: the first letter in upper case, the others in lower case") {
    CHECK(capitalized("user") == "User");
    CHECK(capitalized("SYSTEM") == "System");
    CHECK(capitalized("a") == "A");
    CHECK(capitalized("2nd Tool") == "2nd tool");
    CHECK(capitalized("").empty());
}

TEST_CASE("falcon3 knows three roles, the other formats any that has a name") {
    for (const std::string_view role : {"system", "user", "assistant"}) {
        CHECK(has_role(chat_format::falcon3, role));
    }
    CHECK(!has_role(chat_format::falcon3, "tool"));
    CHECK(has_role(chat_format::bitnet, "tool"));
    CHECK(!has_role(chat_format::llama3, ""));
}
