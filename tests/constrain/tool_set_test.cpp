// SPDX-License-Identifier: MIT
#include "constrain/feeding.hpp"

#include <bitnet/constrain.hpp>

#include <doctest/doctest.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using bitnet_tests::accepts;
using bitnet_tests::must;
using bitnet_tests::sentence_of;

namespace {

enum class item { sword, bread };

std::string given;

int give_item(const std::string& to, item what, std::optional<int> count) {
    given = to + (what == item::sword ? " sword" : " bread");
    return count.value_or(1);
}
double mean(std::vector<double> of) {
    double sum = 0;
    for (const double each : of) {
        sum += each;
    }
    return of.empty() ? 0 : sum / static_cast<double>(of.size());
}
void wait() noexcept { given = "waited"; }
result<std::string> look(std::string_view where) {
    if (where == "void") {
        return error{errc::out_of_range, "there is nothing"};
    }
    return "a " + std::string(where);
}
result<void> refuse(bool yes) { return yes ? result<void>(error{errc::cancelled, "no"}) : result<void>(); }

} // namespace

template <> struct bitnet::names_of<item> {
    static constexpr enum_name<item> list[] = {{"sword", item::sword}, {"bread", item::bread}};
};

namespace {

tool_set some_tools() {
    tool_set tools;
    REQUIRE(tools.add({"give_item", "Gives an \"item\"."}, &give_item, {"to", "item", "count"}));
    REQUIRE(tools.add("mean", &mean, {"of"}));
    REQUIRE(tools.add("wait", &wait));
    REQUIRE(tools.add("look", look, {"where"}));
    REQUIRE(tools.add("refuse", &refuse, {"yes"}));
    return tools;
}

} // namespace

TEST_CASE("a call in JSON calls the function, and its result is JSON") {
    tool_set tools = some_tools();
    CHECK(tools.size() == 5);
    CHECK(must(tools.call(R"({"name":"give_item","arguments":{"to":"Ann","item":"bread","count":3}})")) == "3");
    CHECK(given == "Ann bread");
    CHECK(must(tools.call(R"({"arguments":{"item":"sword","to":"Bo"},"name":"give_item"})")) == "1");
    CHECK(given == "Bo sword");
    CHECK(must(tools.call(R"({"name":"mean","arguments":{"of":[1,2.5,-1]}})")).substr(0, 5) == "0.833");
    CHECK(must(tools.call(R"({"name":"wait","arguments":{}})")) == "null");
    CHECK(given == "waited");
    CHECK(must(tools.call(R"({"name":"look","arguments":{"where":"d\u00f6r"}})")) == R"("a d\u00f6r")");
    CHECK(must(tools.call(R"({"name":"refuse","arguments":{"yes":false}})")) == "null");
}

TEST_CASE("an object that is called keeps what it holds") {
    tool_set tools;
    int sum = 0;
    REQUIRE(tools.add("add", [&sum, calls = 0](int a) mutable { return sum += a + 10 * calls++; }, {"a"}));
    CHECK(must(tools.call(R"({"name":"add","arguments":{"a":1}})")) == "1");
    CHECK(must(tools.call(R"({"name":"add","arguments":{"a":2}})")) == "13");
    CHECK(sum == 13);
}

TEST_CASE("the grammar of a call takes calls of the functions and nothing else") {
    const tool_set tools = some_tools();
    const grammar call = must(tools.call_grammar());
    CHECK(accepts(call, R"({"name":"give_item","arguments":{"to":"Ann","item":"bread","count":3}})"));
    CHECK(accepts(call, R"({"name":"give_item","arguments":{"to":"Ann","item":"bread"}})"));
    CHECK(accepts(call, R"({"name":"wait","arguments":{}})"));
    CHECK(accepts(call, R"({"name":"mean","arguments":{"of":[1.5,2]}})"));
    CHECK(!accepts(call, R"({"name":"give_item","arguments":{"to":"Ann","item":"shield"}})"));
    CHECK(!accepts(call, R"({"name":"give_item","arguments":{"to":"Ann"}})"));
    CHECK(!accepts(call, R"({"name":"wait","arguments":{"x":1}})"));
    CHECK(!accepts(call, R"({"name":"steal","arguments":{}})"));
    CHECK(!accepts(call, R"({"name":"wait"})"));
}

TEST_CASE("declarations are what chat templates show to models") {
    tool_set tools;
    CHECK(must(tools.declarations()) == "[]");
    REQUIRE(tools.add({"give_item", "Gives an \"item\"."}, &give_item, {"to", "item", "count"}));
    REQUIRE(tools.add("wait", &wait));
    CHECK(must(tools.declarations()) ==
          R"([{"type":"function","function":{"name":"give_item","description":"Gives an \"item\".","parameters":)"
          R"({"type":"object","properties":{"to":{"type":"string"},"item":{"enum":["sword","bread"]},"count":)"
          R"({"type":"integer","minimum":-2147483648,"maximum":2147483647}},"required":["to","item"],)"
          R"("additionalProperties":false}}},{"type":"function","function":{"name":"wait","parameters":)"
          R"({"type":"object","properties":{},"required":[],"additionalProperties":false}}}])");
}

TEST_CASE("a call that cannot be made is an error with its place, and calls nothing") {
    tool_set tools = some_tools();
    given.clear();
    const auto mistake = [&](std::string_view text) { return sentence_of(tools.call(text), errc::bad_value); };
    CHECK(mistake(R"({"name":"steal","arguments":{}})") == "call: there is no function 'steal'");
    CHECK(mistake(R"({"name":"wait"})") == "call: an object of a name and of arguments is expected, and nothing else");
    CHECK(mistake("[]") == "call: an object of a name and of arguments is expected, and nothing else");
    CHECK(mistake(R"({"name":"wait","arguments":[]})") ==
          "wait: the value is of type array where an object of arguments is expected");
    CHECK(mistake(R"({"name":"give_item","arguments":{"to":"Ann"}})") == "give_item: the value has no key 'item'");
    CHECK(mistake(R"({"name":"give_item","arguments":{"to":"Ann","item":7}})") ==
          "give_item: '/item' is of type number where a string is expected");
    CHECK(mistake(R"({"name":"wait","arguments":{"x":1}})") == "wait: the value has 1 keys, 0 of which are known");
    CHECK(sentence_of(tools.call("{"), errc::bad_json).find("call: line 1") == 0);
    CHECK(given.empty());
    CHECK(sentence_of(tools.call(R"({"name":"look","arguments":{"where":"void"}})"), errc::out_of_range) ==
          "there is nothing");
    CHECK(sentence_of(tools.call(R"({"name":"refuse","arguments":{"yes":true}})"), errc::cancelled) == "no");
}

TEST_CASE("names that cannot be are refused when a function is added") {
    tool_set tools = some_tools();
    CHECK(sentence_of(tools.add("wait", &wait), errc::invalid_argument) == "tool 'wait': there is one of that name");
    CHECK(sentence_of(tools.add("", &wait), errc::invalid_argument).find("names are UTF-8, not empty") !=
          std::string::npos);
    CHECK(sentence_of(tools.add("a\xff", &wait), errc::invalid_argument).find("tool 'a\\xff'") == 0);
    CHECK(sentence_of(tools.add("twice", &give_item, {"to", "item", "to"}), errc::invalid_argument).find("differ") !=
          std::string::npos);
    CHECK(tools.size() == 5);
    CHECK(!tool_set().call_grammar());
}
