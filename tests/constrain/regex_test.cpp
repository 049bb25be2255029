// SPDX-License-Identifier: MIT
// grammar::regex, and patterns that match within a text.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/regex_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace bitnet_tests;

namespace {

bitnet::grammar regex(std::string_view pattern) { return must(bitnet::grammar::regex(pattern)); }

bool matches(std::string_view pattern, std::string_view text) {
    return must(bitnet::detail::pattern_language(pattern, "pattern")).accepts(text);
}

} // namespace

TEST_CASE("regex: the whole text has to match, with or without anchors at the ends") {
    for (const char* pattern : {"ab|cd", "^ab$|^cd$", "(?:ab|cd)", "^(ab|cd)$", "(^ab|cd$)"}) {
        CAPTURE(pattern);
        CHECK(accepts(regex(pattern), "ab"));
        CHECK(accepts(regex(pattern), "cd"));
        CHECK(!accepts(regex(pattern), "abcd"));
        CHECK(!accepts(regex(pattern), "b"));
    }
    CHECK(!bitnet::grammar::regex("a^b").has_value()); // an anchor within a text matches nowhere
}

TEST_CASE("regex: classes, escapes and quantifiers mean what ECMA-262 says") {
    CHECK(accepts(regex(R"([a-f\d]{2}\.\x41\u00e9\u{1F422}\cJ\/)"), "0f.A\xc3\xa9\xf0\x9f\x90\xa2\n/"));
    CHECK(accepts(regex(R"([^\s\-a]+?)"), "b\xc2\xa0"));
    CHECK(!accepts(regex(R"([^\s\-a]+)"), "b-"));
    CHECK(accepts(regex(R"(\D\W\S)"), "a-b"));
    CHECK(!accepts(regex("a.c"), "a\nc"));
    CHECK(accepts(regex("a{,2}{x}"), "a{,2}{x}"));
    CHECK(accepts(regex("(?<year>[0-9]{4})-"), "2026-"));
    CHECK(accepts(regex("(a|aa){2,3000}b"), std::string(5999, 'a') + "b"));
    CHECK(!accepts(regex("(a|aa){2,3000}b"), std::string(6001, 'a') + "b"));
}

TEST_CASE("regex: what cannot be enforced, or is none, is an error with its column") {
    for (const char* pattern :
         {"(a",     "a)",  "[a",  "a**",  "*a",      "a{2,1}", "[z-a]", "(?!a)b", "(?<=a)b", "(a)\\1",   "\\bx",
          "\\p{L}", "a\\", "\\q", "\\x4", "\\ud800", "^*",     "(?i)a", "\xff",   "{2}",     "[\\d-z]x["}) {
        CAPTURE(pattern);
        CHECK(sentence_of(bitnet::grammar::regex(pattern, "r"), bitnet::errc::bad_grammar).find("r: column ") == 0);
    }
}

TEST_CASE("regex: nested quantifiers cost no more than the text is long") {
    const std::string text(20000, 'a');
    for (const char* pattern : {"(a+)+b", "(a|a)*(a|a)*b", "(a*)*b"}) {
        CHECK(accepts(regex(pattern), text + "b"));
        CHECK(!accepts(regex(pattern), text));
    }
    CHECK(!bitnet::grammar::regex(std::string(1000000, '(')).has_value());
}

TEST_CASE("a pattern matches anywhere in a text unless anchors say where") {
    CHECK(matches("b", "abc"));
    CHECK(!matches("^b", "abc"));
    CHECK(matches("c$", "abc"));
    CHECK(matches("^a|c$", "axx"));
    CHECK(matches("(^|,)x(,|$)", "a,x"));
    CHECK(!matches("(^|,)x(,|$)", "ax"));
    CHECK(matches("^$", ""));
    CHECK(!matches("^$", "a"));
    CHECK(matches("", "anything"));
    CHECK(matches("^\\s+$", "\xc2\xa0\xef\xbb\xbf"));
}
