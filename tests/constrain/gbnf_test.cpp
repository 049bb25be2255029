// SPDX-License-Identifier: MIT
// grammar::gbnf: the language of the GBNF guide.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/gbnf_reader.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace bitnet_tests;

namespace {

bitnet::grammar gbnf(std::string_view source) { return must(bitnet::grammar::gbnf(source)); }

std::string mistake(std::string_view source) {
    return sentence_of(bitnet::grammar::gbnf(source, "g"), bitnet::errc::bad_grammar);
}

} // namespace

TEST_CASE("GBNF: texts and escapes are the characters that they stand for") {
    const auto grammar = gbnf(R"(root ::= "a\x41\u00e9\U0001F422\n\"\\" "")");
    CHECK(accepts(grammar, "aA\xc3\xa9\xf0\x9f\x90\xa2\n\"\\"));
    CHECK(taken(grammar, "aA\xc3\xa8") == 3);
    CHECK(accepts(gbnf(R"(root ::= "\uD83D\uDC22")"), "\xf0\x9f\x90\xa2"));
    using namespace std::string_view_literals;
    CHECK(accepts(gbnf("root ::= \"a\0b\""sv), "a\0b"sv));
}

TEST_CASE("GBNF: a class takes whole characters, and never half ones, surrogates or overlong forms") {
    const auto any = gbnf("root ::= .");
    for (const std::string_view text : {"a", "\n", "\xc3\xa9", "\xe2\x82\xac", "\xf4\x8f\xbf\xbf"}) {
        CHECK(accepts(any, text));
    }
    for (const std::string_view text : {"\xc3", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xff", "\x80", "ab"}) {
        CHECK(!accepts(any, text));
    }
    const auto other = gbnf("root ::= [^a-c\\x00-\\x1f\\]\xc3\xa9]+");
    CHECK(accepts(other, "d[\xc3\xa8\xf0\x9f\x90\xa2"));
    for (const std::string_view text : {"a", "]", "\n", "\xc3\xa9", ""}) {
        CHECK(!accepts(other, text));
    }
    CHECK(accepts(gbnf("root ::= [-+] [a-]"), "--"));
}

TEST_CASE("GBNF: repetitions are exact, however large and however nested") {
    const auto grammar = gbnf("root ::= \"a\"{2,5000} \"b\"{0,3}? (\"c\"{2}){3} \"d\"{0}");
    CHECK(accepts(grammar, std::string(5000, 'a') + "bbbcccccc"));
    CHECK(taken(grammar, std::string(5001, 'a')) == 5000);
    CHECK(!accepts(grammar, "acccccc"));
    CHECK(!accepts(grammar, "aaccccccc"));
    const auto items = gbnf("root ::= (item \",\"){300,400}\nitem ::= \"x\" | \"xx\" item?");
    std::string text;
    for (int i = 0; i < 400; ++i) {
        CHECK(accepts(items, text) == (i >= 300));
        text += i % 2 == 0 ? "x," : "xxx,";
    }
    CHECK(accepts(items, text));
    CHECK(!accepts(items, text + "x,"));
    CHECK(accepts(gbnf("root ::= (\"a\"? \"b\"?){3,1000}"), "")); // empty rounds count, too
    CHECK(accepts(gbnf("root ::= (\"a\" | \"aa\"){1000,1001} \"!\""), std::string(2002, 'a') + "!"));
    CHECK(!accepts(gbnf("root ::= (\"a\" | \"aa\"){1000,1001} \"!\""), std::string(2003, 'a') + "!"));
}

TEST_CASE("GBNF: rules may be recursive on either side, ambiguous, and empty in parts") {
    CHECK(accepts(gbnf("root ::= root \"+\" [0-9] | [0-9]"), "1+2+3"));
    const auto sums = gbnf("root ::= e\ne ::= e \"+\" e | e \"*\" e | \"(\" e \")\" | [a-z]");
    CHECK(accepts(sums, "a+b*(c+d)*e"));
    CHECK(taken(sums, "a+)") == 2);
    const auto nested = gbnf("root ::= \"(\" root \")\" | a?\na ::= b\nb ::= \"\" | a \"x\"");
    CHECK(accepts(nested, "((xx))"));
    CHECK(!accepts(nested, "((x)"));
    CHECK(accepts(gbnf("root ::= root | \"a\""), "a"));
}

TEST_CASE("GBNF: what cannot be completed is never begun") {
    const auto grammar = gbnf("root ::= \"a\" | dead\ndead ::= \"b\" dead");
    CHECK(taken(grammar, "b") == 0);
    CHECK(accepts(grammar, "a"));
    const auto nothing = bitnet::grammar::gbnf("root ::= \"a\" root", "g");
    CHECK(sentence_of(nothing, bitnet::errc::empty_language).find("rule 'root'") != std::string::npos);
}

TEST_CASE("GBNF: lines end rules, but within parentheses and behind a bar") {
    CHECK(accepts(
        gbnf("# first\nroot ::=\n  (\n \"a\" # one\r\n \"b\"\n) | # two\n \"c\" * \"d\"\r\n\nunused_1 ::= \"x\""),
        "ccd"));
    CHECK(accepts(gbnf("root ::= \"a\" |\nother ::= \"b\""), ""));
    CHECK(mistake("root ::= \"a\"\n\"b\"").find("line 2, column 1") != std::string::npos);
}

TEST_CASE("GBNF: a mistake is named with rule, line and column") {
    CHECK(mistake("root ::= \"a\"\nx ::= \"b\" missing") ==
          "g: rule 'missing', line 2, column 18: it is used up to here and defined nowhere");
    CHECK(mistake("root ::= (\"a\"").find("does not close") != std::string::npos);
    CHECK(mistake("root ::= \"a\")").find("column 13: a parenthesis closes") != std::string::npos);
    CHECK(mistake("root ::= \"a\"\nroot ::= \"b\"").find("line 2, column 5: a rule of this name") != std::string::npos);
    for (const char* source : {"",
                               "# nothing",
                               "start ::= \"a\"",
                               "root := \"a\"",
                               "root ::= \"a",
                               "root ::= [a",
                               "root ::= []",
                               "root ::= [b-a]",
                               "root ::= *",
                               "root ::= | +",
                               "root ::= \"a\"{",
                               "root ::= \"a\"{1",
                               "root ::= \"a\"{x}",
                               "root ::= \"a\"{2,1}",
                               "root ::= \"a\"{2147483648}",
                               "root ::= \"\\q\"",
                               "root ::= \"\\x4\"",
                               "root ::= \"\\uD800\"",
                               "root ::= \"\\U00110000\"",
                               "root ::= \"\xff\"",
                               "root ::= [\xff]",
                               "root ::= \"a\" = ",
                               "root ::= <think>",
                               "root ::= !<[12]>"}) {
        CAPTURE(source);
        CHECK(!mistake(source).empty());
    }
}

TEST_CASE("GBNF: hostile grammars end in an error or work") {
    const std::string deep(60000, '(');
    CHECK(mistake("root ::= " + deep).find("1000 deep") != std::string::npos);
    std::string chain = "root ::= r0\n";
    for (int i = 0; i < 20000; ++i) {
        chain += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + "\n";
    }
    CHECK(accepts(gbnf(chain + "r20000 ::= \"x\""), "x"));
    std::string doubling;
    for (int i = 0; i < 60; ++i) {
        doubling += "r" + std::to_string(i) + " ::= r" + std::to_string(i + 1) + " r" + std::to_string(i + 1) + "\n";
    }
    CHECK(!accepts(gbnf("root ::= r0\n" + doubling + "r60 ::= \"x\""), "x"));
    std::string alternatives = "root ::= \"none\"";
    for (int i = 0; i < 20000; ++i) {
        alternatives += " | \"item_" + std::to_string(i) + "\"";
    }
    CHECK(accepts(gbnf(alternatives), "item_19999"));
    CHECK(accepts(gbnf("root ::= ((((\"a\"*)*)*)*)*"), std::string(64, 'a')));
    CHECK(mistake("root ::= \"" + std::string(16 << 20, 'a') + "\"").find("16777216") != std::string::npos);
}
