// SPDX-License-Identifier: MIT
// python_json: the spelling of Python's json.dumps(ensure_ascii=False).
#include <bitnet/io/python_json.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
std::string spelled(std::string_view json) {
    const auto made = python_json(json, "a test");
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *made;
}
} // namespace

TEST_CASE("spaces follow commas and colons, and the order of keys stays") {
    CHECK(spelled("{\"b\":1,\n \"a\" : [1,2 ,[] ],\"c\":{}}") == "{\"b\": 1, \"a\": [1, 2, []], \"c\": {}}");
    CHECK(spelled("[true,false,null,{\"x\":\"y\"}]") == "[true, false, null, {\"x\": \"y\"}]");
    CHECK(spelled(" \"\" ") == "\"\"");
}

TEST_CASE("numbers are spelled as in the text") {
    CHECK(spelled("[1.50, -0, 1E3, 12345678901234567890123]") == "[1.50, -0, 1E3, 12345678901234567890123]");
}

TEST_CASE("only quotes, backslashes and control characters are escaped") {
    CHECK(spelled("\"\\u00fc \\/ \\u007f \\ud83d\\ude00 <&>'\"") == "\"\u00fc / \x7f \U0001f600 <&>'\"");
    CHECK(spelled("\"\\\" \\\\ \\n \\r \\t \\b \\f \\u0001 \\u001f\"") ==
          "\"\\\" \\\\ \\n \\r \\t \\b \\f \\u0001 \\u001f\"");
    CHECK(spelled("{\"\\n\":0}") == "{\"\\n\": 0}");
}

TEST_CASE("what is no JSON is refused by the name of the text") {
    const auto refused = python_json("{\"a\":}", "the list of tools");
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::bad_json);
    CHECK(refused.error().message.find("the list of tools") != std::string::npos);
}
