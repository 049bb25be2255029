// SPDX-License-Identifier: MIT
// bitnet-constrain as a process.
#include "models.hpp"
#include "process.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace bitnet_tests;

TEST_CASE("bitnet-constrain tells which texts a grammar, an expression or a list allows") {
    const auto done = run("constrain", {},
                          R"({"grammar":"root ::= \"a\"+","texts":["aa","","ab"]}
{"regex":"[0-9]{2}","texts":["12","1","123"]}
{"schema":"{\"type\":\"integer\",\"x\":1}","texts":["12","1.5"]}
{"choices":"yes\nno\n","texts":["yes","no","","yes\nno"]}
{"grammar":"root ::= x","texts":[]}
{"grammar":"root ::= \"\\u00e9\"","texts":["é"],"id":7}
)");
    CHECK(done.status == 0);
    CHECK(done.out ==
          R"({"compiled":true,"accepts":[true,false,false],"notes":[]}
{"compiled":true,"accepts":[true,false,false],"notes":[]}
{"compiled":true,"accepts":[true,false],"notes":["'/x': no keyword of JSON Schema, taken as an annotation"]}
{"compiled":true,"accepts":[true,true,false,false],"notes":[]}
{"compiled":false,"error":"grammar: rule 'x', line 1, column 11: it is used up to here and defined nowhere"}
{"compiled":true,"accepts":[true],"notes":[]}
)");
}

TEST_CASE("bitnet-constrain names the line that is no request") {
    for (const char* line : {"{", "[]", R"({"grammar":"root ::= \"a\""})", R"({"texts":["a"]})",
                             R"({"regex":1,"texts":[]})", R"({"regex":"a","texts":[1]})"}) {
        CAPTURE(line);
        const auto done = run("constrain", {}, std::string(R"({"regex":"a","texts":[]})") + "\n" + line + "\n");
        CHECK(done.status == 1);
        CHECK(done.err.find("bitnet-constrain: standard input: line 2") == 0);
    }
}

TEST_CASE("bitnet-constrain notes a text that can be read in more ways than it can follow") {
    const auto done =
        run("constrain", {},
            R"({"grammar":"root ::= \"(\" root \")\" | \"\"","texts":[")" + std::string(100000, '(') + "\"]}\n");
    CHECK(done.status == 0);
    CHECK(done.out.find(R"("accepts":[false],"notes":["text 1, byte )") != std::string::npos);
}

TEST_CASE("bitnet-constrain feeds texts as tokens with -m, and compares masks with bytes with --tokens") {
    const std::string lines = R"({"grammar":"root ::= \"a\"+","texts":["aa","","ab"]}
{"schema":"{\"type\":\"string\",\"maxLength\":9}","texts":["\"once upo\"","\"once upon\"","\"once upon \""]}
)";
    const auto fed = run("constrain", {"-m", tiny}, lines);
    CHECK(fed.status == 0);
    CHECK(fed.out == R"({"compiled":true,"accepts":[true,false,false],"notes":[]}
{"compiled":true,"accepts":[true,true,false],"notes":[]}
)");
    const auto compared = run("constrain", {"-m", tiny, "--tokens"}, lines);
    CHECK(compared.status == 0);
    CHECK(compared.out.find(R"({"compiled":true,"accepts":[true,false,false],"notes":[],"masks_compared":)") == 0);
    CHECK(run("constrain", {"--tokens"}, lines).status == 2);
}
