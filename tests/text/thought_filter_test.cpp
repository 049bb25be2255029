// SPDX-License-Identifier: MIT
// thought_filter: what is shown of an answer with a thought, however its text is cut.
#include <bitnet/text/thought_filter.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>

namespace {

/// What is shown of `answer`, fed `size` bytes at a time.
std::string shown(std::string_view answer, std::size_t size, bool begins_in_thought = false) {
    bitnet::detail::thought_filter filter(begins_in_thought);
    std::string all;
    for (std::size_t i = 0; i < answer.size(); i += size) {
        all += filter.feed(answer.substr(i, size));
    }
    all += filter.flush();
    return all;
}

} // namespace

TEST_CASE("the thought in front of an answer is left out, all else is shown") {
    struct expectation {
        std::string_view answer;
        std::string_view shown;
        std::string_view shown_in_thought; ///< if the prompt began a thought
    };
    for (const expectation& each :
         {expectation{"<think>\nT\n</think>\n\nA", "A", "A"}, expectation{"\n <think></think>A\n", "A\n", "A\n"},
          expectation{"A <think>T</think>", "A <think>T</think>", ""},
          expectation{"<think>T</think>A</think><think>B", "A</think><think>B", "A</think><think>B"},
          expectation{"T</thin</think>\r\n\nA", "T</thin</think>\r\n\nA", "A"}, expectation{"<thin", "<thin", ""},
          expectation{"<think>T</think", "", ""}, expectation{" ", " ", ""}, expectation{"", "", ""}}) {
        for (std::size_t size = 1; size < 12; ++size) {
            INFO(each.answer << ", " << size << " at a time");
            CHECK(shown(each.answer, size) == each.shown);
            CHECK(shown(each.answer, size, true) == each.shown_in_thought);
        }
    }
}

TEST_CASE("an answer is shown as soon as it can be no thought") {
    bitnet::detail::thought_filter filter(false);
    CHECK(filter.feed("<").empty());
    CHECK(filter.feed("t") == "");
    CHECK(filter.feed("d>") == "<td>");
    CHECK(filter.feed("x") == "x");
    bitnet::detail::thought_filter thinking(false);
    CHECK(thinking.feed("<think>\nlong").empty());
    CHECK(thinking.is_in_thought());
    CHECK(thinking.feed("</think>\n").empty());
    CHECK(!thinking.is_in_thought());
    CHECK(thinking.feed("A") == "A");
}
