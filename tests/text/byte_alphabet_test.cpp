// SPDX-License-Identifier: MIT
// The byte alphabet: a bijection, spelled as everybody spells it.
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/byte_alphabet.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <set>
#include <string>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
std::string decoded(std::string_view spelling) {
    std::string out(spelling.size(), '\0');
    const auto size = byte_alphabet::decode(spelling, out.data());
    return size ? out.substr(0, *size) : "refused";
}
} // namespace

TEST_CASE("the byte alphabet has one character for each byte") {
    std::set<std::string> bytes;
    for (char32_t c = 0; c < 0x200; ++c) {
        std::string spelling;
        append_utf8(spelling, c);
        if (const std::string byte = decoded(spelling); byte != "refused") {
            CHECK(byte.size() == 1);
            bytes.insert(byte);
        }
    }
    CHECK(bytes.size() == 256);
}

TEST_CASE("the byte alphabet spells the known characters") {
    CHECK(decoded("abc!~") == "abc!~");
    CHECK(decoded("\u0120hello") == " hello"); // Ġ
    CHECK(decoded("\u010a\u0109") == "\n\t");  // Ċ ĉ
    CHECK(decoded("\u0100") == std::string(1, '\0'));
    CHECK(decoded("\u0121") == "\x7f");
    CHECK(decoded("\u0143") == "\xad");
    CHECK(decoded("\u00c3\u00a9") == "\xc3\xa9");
    CHECK(decoded("").empty());
}

TEST_CASE("characters outside the byte alphabet are refused") {
    using namespace std::string_view_literals;
    for (const std::string_view bad : {" "sv, "a b"sv, "\n"sv, "\0"sv, "\u0144"sv, "\u00ad"sv, "\u00a0"sv, "\u4e00"sv,
                                       "\xc3"sv, "\xff"sv, "\xc4\xc4"sv, "\x80"sv}) {
        CHECK(decoded(bad) == "refused");
    }
}
