// SPDX-License-Identifier: MIT
// grammar::choices.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/choices.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;

TEST_CASE("choices: each text of the list and no other, whatever their order and however often") {
    const std::vector<std::string_view> list{"yes", "no", "yes", "yesterday", "", "\xc3\xa9"};
    const auto grammar = must(bitnet::grammar::choices(list));
    for (const std::string_view text : list) {
        CHECK(accepts(grammar, text));
    }
    CHECK(taken(grammar, "yesno") == 3);
    CHECK(!accepts(grammar, "yest"));
}

TEST_CASE("choices: no list at all and texts that are not UTF-8 are errors") {
    CHECK(sentence_of(bitnet::grammar::choices({}), bitnet::errc::bad_grammar).find("0 choices") != std::string::npos);
    const std::vector<std::string_view> list{"a", "b\xc3"};
    CHECK(sentence_of(bitnet::grammar::choices(list), bitnet::errc::bad_grammar) ==
          "choices: choice 2 is not UTF-8 at byte 1");
}

TEST_CASE("choices: a hundred thousand texts share their ends") {
    std::vector<std::string> texts;
    for (int i = 0; i < 100000; ++i) {
        texts.push_back("choice " + std::to_string(i) + " of many");
    }
    const auto grammar = must(bitnet::grammar::choices(std::vector<std::string_view>(texts.begin(), texts.end())));
    CHECK(accepts(grammar, texts[99999]));
    CHECK(!accepts(grammar, "choice 100000 of many"));
}
