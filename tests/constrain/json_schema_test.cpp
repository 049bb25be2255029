// SPDX-License-Identifier: MIT
// grammar::json_schema: what is accepted is valid, and what cannot be enforced is refused by name.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/json_schema.hpp>

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>

using namespace bitnet_tests;

namespace {

/// Checks that the texts of `valid` are accepted and those of `wrong` are not.
void check_schema(std::string_view schema, std::initializer_list<std::string_view> valid,
                  std::initializer_list<std::string_view> wrong, const bitnet::schema_options& options = {}) {
    CAPTURE(schema);
    const auto grammar = must(bitnet::grammar::json_schema(schema, options));
    for (const std::string_view text : valid) {
        CAPTURE(text);
        CHECK(accepts(grammar, text));
    }
    for (const std::string_view text : wrong) {
        CAPTURE(text);
        CHECK(!accepts(grammar, text));
    }
}

std::string refusal(std::string_view schema, bitnet::errc code = bitnet::errc::unsupported_schema) {
    CAPTURE(schema);
    return sentence_of(bitnet::grammar::json_schema(schema), code);
}

} // namespace

TEST_CASE("schema: any value is JSON without white space, with strings that all parsers agree on") {
    check_schema("true",
                 {"null", "true", "-0.5e+7", "[]", "[[],{}]", R"({"a":[1,"b"],"":null})", R"("a\n\u001f\/é")",
                  "\"\xf0\x9f\x90\xa2\""},
                 {"", "nul", "[1, 2]", "01", "1.", ".5", "+1", "[,]", "[1,]", R"({"a"})", R"({"a":1,})", "\"\n\"",
                  R"("\x")", R"("\ud83d")", "\"\xff\"", "\"\xed\xa0\x80\"", "1 ", "\"a"});
    check_schema("{}", {"[1, {\"a\": 2}]"}, {"[1,  2]"}, {.spaces = true});
}

TEST_CASE("schema: types, constants and lists of values") {
    check_schema(R"({"type":["integer","null"]})", {"0", "-12", "null"}, {"1.5", "\"1\"", "-", "00", "true"});
    check_schema(R"({"type":"number"})", {"1", "1.50", "1e3"}, {"\"1\"", "1.e3"});
    check_schema(R"({"const":{"a":[1,"x",null],"b":{}}})", {R"({"a":[1,"x",null],"b":{}})"},
                 {R"({"a":[1,"x"],"b":{}})", R"({"a":[1,"x",null],"b":{},"c":1})", "{}"});
    check_schema(R"({"enum":["a",1.50,false,[2],{"k":0}]})", {"\"a\"", "1.5", "1.50", "false", "[2]", R"({"k":0})"},
                 {"\"b\"", "1", "true", "[]", "0", "{}"});
    check_schema(R"({"type":"string","enum":["a",1]})", {"\"a\""}, {"1"});
    check_schema(R"({"const":1e2})", {"100"}, {"10", "1000"});
}

TEST_CASE("schema: numbers keep their bounds exactly, at any size") {
    check_schema(R"({"minimum":-1.5,"exclusiveMaximum":2})", {"-1.5", "-1.50", "0", "-0", "1.999", "\"a\""},
                 {"-1.51", "2", "2.0", "-2", "10"});
    check_schema(R"({"type":"integer","minimum":18446744073709551615,"maximum":18446744073709551620})",
                 {"18446744073709551615", "18446744073709551620"},
                 {"18446744073709551614", "18446744073709551621", "9", "-18446744073709551616"});
    check_schema(R"({"type":"integer","exclusiveMinimum":-10,"maximum":-3})", {"-9", "-3"},
                 {"-10", "-2", "3", "-11", "0"});
    check_schema(R"({"maximum":0})", {"0", "-0.1", "-0"}, {"0.1", "1"});
    check_schema(R"({"multipleOf":0.15})", {"0", "0.3", "-4.50", "1.05"}, {"0.1", "1", "0.155"});
    check_schema(R"({"type":"integer","multipleOf":7,"minimum":10,"maximum":30})", {"14", "28"}, {"7", "15", "35"});
    check_schema(R"({"minimum":5,"exclusiveMinimum":true})", {"5.1"}, {"5"}); // as draft 4 has it
    check_schema(R"({"not":{"minimum":5,"exclusiveMinimum":true}})", {"5", "4.9", "5.0"}, {"5.1", "\"a\""});
}

TEST_CASE("schema: strings by length, pattern and format, together") {
    const std::string long_text(5000, 'x');
    const std::string text = "\"" + long_text + "\"";
    const std::string longer = "\"" + long_text + "x\"";
    check_schema(R"({"type":"string","maxLength":5000})", {"\"\"", text}, {longer});
    check_schema(R"({"type":"string","minLength":5000})", {text, longer}, {"\"x\"", text.substr(1)});
    check_schema(R"({"minLength":2,"maxLength":3})", {R"("\"\n")", "\"\xf0\x9f\x90\xa2\xc3\xa9\"", "1"},
                 {R"("\n")", R"("abcd")"});
    check_schema(R"({"type":"string","pattern":"^([a-z]+ )*[a-z]+$","minLength":100,"maxLength":200})",
                 {"\"" + std::string(100, 'a') + "\"", "\"" + std::string(199, 'a') + "z\""},
                 {"\"a\"", "\"" + std::string(201, 'a') + "\"", "\"" + std::string(100, 'a') + " \""});
    check_schema(R"({"type":"string","pattern":"^(ab)+$","minLength":5})", {R"("ababab")"},
                 {R"("abab")", R"("ababa")"});
    check_schema(R"({"type":"string","allOf":[{"pattern":"a"},{"pattern":"b"}]})", {R"("xbya")"}, {R"("a")", R"("b")"});
    check_schema(R"({"type":"string","pattern":"^.{2,5000}$","minLength":3})", {text, R"("abc")"},
                 {longer, R"("ab")", R"("a\nb")"});
    check_schema(R"({"type":"string","format":"date"})", {R"("2024-02-29")"}, {R"("2023-02-29")", R"("2023-13-01")"});
    check_schema(R"({"type":"string","format":"ipv6"})", {R"("::1")", R"("1:2:3:4:5:6:7:8")", R"("::ffff:1.2.3.4")"},
                 {R"("1::2::3")", R"("12345::")"});
    // "ab" can neither be longer nor be begun where 1 character is left
    CHECK(taken(must(bitnet::grammar::json_schema(R"({"type":"string","pattern":"^(ab|c)*$","maxLength":101})")),
                "\"" + std::string(100, 'c') + "a") == 101);
}

TEST_CASE("schema: objects have declared keys in order, each once, and others behind them as the schema says") {
    constexpr std::string_view schema =
        R"({"type":"object","properties":{"b":{"type":"integer"},"a":{"type":"string"}},"required":["a","c"]})";
    check_schema(schema, {R"({"b":1,"a":"x","c":null})", R"({"a":"x","c":[],"d":1,"e":2})"},
                 {R"({"b":1,"a":"x"})", R"({"b":"1","a":"x","c":0})", R"({"a":"x","c":0,"b":"1"})",
                  R"({"a":"x","a":"y","c":1})", "{}"});
    check_schema(R"({"type":"object","properties":{"a":{}},"additionalProperties":{"type":"null"}})",
                 {R"({"a":1,"b":null})", R"({"a b":null})"}, {R"({"b":1})", R"({"a\u0062":1})"});
    check_schema(R"({"type":"object","properties":{"a":{}}})", {"{}", R"({"a":0})"}, {R"({"a":0,"d":1})"},
                 {.closed = true});
    check_schema(
        R"({"type":"object","patternProperties":{"^n":{"type":"integer"},"x$":{"minimum":5}},"additionalProperties":false})",
        {R"({"n":1,"nx":7,"x":"s"})", "{}"}, {R"({"nx":1})", R"({"n":"s"})", R"({"a":1})"});
    check_schema(R"({"type":"object","propertyNames":{"pattern":"^[a-z]*$","maxLength":2}})", {R"({"ab":1})"},
                 {R"({"abc":1})", R"({"A":1})"});
    check_schema(R"({"propertyNames":{"minLength":2,"maxLength":1}})", {"{}"}, {R"({"a":1})", R"({"ab":1})"});
    check_schema(R"({"type":"object","properties":{"a":{},"b":{},"c":{}},"minProperties":2,"maxProperties":3})",
                 {R"({"a":1,"c":1})", R"({"c":1,"z":1})", R"({"x":1,"y":1,"z":1})"},
                 {R"({"a":1})", R"({"a":1,"b":1,"c":1,"d":1})", R"({"a":1,"x":1,"y":1,"z":1})"});
    check_schema(R"({"type":"object","properties":{"q\"\n":{"const":1}},"required":["q\"\n"]})", {R"({"q\"\n":1})"},
                 {R"({"q\"\n":2})"});
}

TEST_CASE("schema: arrays by position, by number and by what they contain") {
    check_schema(R"({"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":1000})", {"[1,2]", "[1,2,3]"},
                 {"[1]", "[]", "[1,\"2\"]"});
    check_schema(R"({"prefixItems":[{"type":"string"},{"type":"null"}],"items":{"type":"integer"},"minItems":1})",
                 {"[\"a\"]", "[\"a\",null,1,2]", "{}"}, {"[]", "[\"a\",1]", "[null]"});
    check_schema(R"({"type":"array","prefixItems":[{}],"items":false})", {"[]", "[1]"}, {"[1,2]"});
    check_schema(R"({"type":"array","contains":{"const":1},"minContains":2,"maxContains":3})", {"[1,0,1]", "[1,1,1,2]"},
                 {"[1]", "[1,1,1,1]", "[]"});
    check_schema(R"({"type":"array","uniqueItems":true,"maxItems":1})", {"[]", "[1]"}, {"[1,1]"});
}

TEST_CASE("schema: unique items of few values, whatever their order") {
    check_schema(
        R"({"type":"array","uniqueItems":true,"items":{"enum":["a","b",1.5,1.50,null]}})",
        {"[]", R"(["b","a"])", "[1.5,null]", R"([null,"a",1.50,"b"])"},
        {R"(["a","a"])", "[1.5,1.50]", "[1.50,1.5]", "[null,1.5,null]", R"(["c"])", R"(["a","b",1.5,null,"a"])"});
    check_schema(R"({"type":"array","uniqueItems":true,"items":{"type":"boolean"},"minItems":2})",
                 {"[true,false]", "[false,true]"}, {"[]", "[true]", "[true,true]", "[true,false,true]"});
    check_schema(R"({"type":"array","uniqueItems":true,"items":{"type":"integer","minimum":-1,"maximum":1}})",
                 {"[-1,0,1]", "[1,-0]"}, {"[0,-0]", "[1,0,1]", "[2]"});
    check_schema(R"({"type":"array","uniqueItems":true,"items":{"type":"string","pattern":"^[ab]$"},"maxItems":1000})",
                 {R"(["a","b"])", R"(["b"])"}, {R"(["a","a"])", R"(["b","a","b"])"});
    check_schema(R"({"type":"array","uniqueItems":true,"prefixItems":[{"type":"boolean"},{"enum":[true,"x"]}],
                     "items":{"enum":["x","y"]}})",
                 {"[]", R"([true,"x","y"])", "[false,true]", R"([false,true,"y","x"])"},
                 {"[true,true]", R"(["x"])", R"([false,"x","x"])", "[false,true,true]"});
    check_schema(R"({"type":"array","uniqueItems":true,"prefixItems":[{"const":"a"},{"const":"a"}],"items":false})",
                 {"[]", R"(["a"])"}, {R"(["a","a"])"});
    check_schema(R"({"type":"array","uniqueItems":true,"items":{"type":["null","string"],"pattern":"^[ab]{0,2}$",
                     "minLength":2,"maxLength":1}})",
                 {"[]", "[null]"}, {R"(["a"])", R"(["ab"])"});
    check_schema(R"({"type":"array","uniqueItems":true,"maxItems":2,"items":{"anyOf":[{"enum":["a","b","c","d","e",
                     "f","g","h","i","j","k","l"]},{"enum":["a","m"]}]}})",
                 {R"(["a","m"])", R"(["l","a"])"}, {R"(["a","a"])", R"(["a","b","c"])"});
    for (const char* schema :
         {R"({"type":"array","uniqueItems":true,"items":{"type":"string"}})",
          R"({"type":"array","uniqueItems":true,"items":{"type":"integer","minimum":0}})",
          R"({"type":"array","uniqueItems":true,"items":{"enum":[[1],[1]]}})",
          R"({"type":"array","uniqueItems":true,"items":{"type":"integer","minimum":1,"maximum":20}})",
          R"({"type":"array","uniqueItems":true,"items":{"enum":[1,2]},"contains":{"const":1}})",
          R"({"type":"array","uniqueItems":true,"prefixItems":[{"type":"boolean"}]})"}) {
        CHECK(refusal(schema).find("'/uniqueItems': that items are unique") != std::string::npos);
    }
}

TEST_CASE("schema: references, also recursive ones, anchors and identifiers within the text") {
    check_schema(R"({"$defs":{"n":{"type":"object","properties":{"v":{"type":"integer"},"next":{"$ref":"#/$defs/n"}},
                     "required":["v"],"additionalProperties":false}},"$ref":"#/$defs/n"})",
                 {R"({"v":1})", R"({"v":1,"next":{"v":2,"next":{"v":3}}})"},
                 {R"({"next":{"v":1}})", R"({"v":1,"next":1})"});
    check_schema(R"({"$id":"http://x.test/root.json","$ref":"part.json#odd","$defs":{"a/b":{"$id":"part.json","$defs":
                     {"p":{"$anchor":"odd","type":"null"}}}}})",
                 {"null"}, {"1"});
    check_schema(R"({"$ref":"#/$defs/a~1b%20c","$defs":{"a/b c":{"const":3}}})", {"3"}, {"4"});
    CHECK(refusal(R"({"$ref":"http://x.test/other.json"})").find("'http://x.test/other.json' leads to nothing") !=
          std::string::npos);
    CHECK(refusal(R"({"items":{"$ref":"#/none"}})").find("'/items/$ref'") != std::string::npos);
}

TEST_CASE("schema: combinations are enforced together with what stands beside them") {
    check_schema(R"({"type":"object","properties":{"k":{"type":"string"}},"required":["k"],"anyOf":[
                     {"properties":{"k":{"const":"a"},"x":{"type":"integer"}},"required":["x"]},{"properties":{"k":{"const":"b"}}}]})",
                 {R"({"k":"a","x":1})", R"({"k":"b"})", R"({"k":"b","x":"any"})"},
                 {R"({"k":"a"})", R"({"k":"c","x":1})", R"({"x":1})"});
    check_schema(R"({"allOf":[{"minimum":2},{"type":["integer","string"]}],"maximum":4})", {"2", "4", "\"s\""},
                 {"1", "5", "3.5", "null"});
    check_schema(R"({"oneOf":[{"type":"integer"},{"minimum":2}]})", {"1", "2.5", "\"s\""}, {"3", "1.5"});
    check_schema(R"({"not":{"enum":["a",1,null]}})", {"\"b\"", "2", "[]"}, {"\"a\"", "1", "1.0", "null"});
    check_schema(R"({"not":{"properties":{"a":{"type":"string"}},"required":["a"],"type":"object"}})",
                 {R"({"a":1})", "{}", "1"}, {R"({"a":"s"})"});
    check_schema(R"({"type":"object","properties":{"t":{"enum":["x","y"]},"v":{}},"required":["t"],
                     "if":{"properties":{"t":{"const":"x"}}},"then":{"properties":{"v":{"type":"integer"}}},"else":{"required":["v"]}})",
                 {R"({"t":"x"})", R"({"t":"x","v":1})", R"({"t":"y","v":"s"})"},
                 {R"({"t":"x","v":"s"})", R"({"t":"y"})"});
    check_schema(R"({"type":"object","dependentRequired":{"k":["l"]}})", {R"({"k":1,"l":2})", R"({"l":1,"z":0})"},
                 {R"({"k":1,"z":0})"});
    check_schema(R"({"type":"object","properties":{"a":{},"b":{}},"dependentRequired":{"a":["b"]}})",
                 {"{}", R"({"b":1})", R"({"a":1,"b":1})"}, {R"({"a":1})"});
}

TEST_CASE("schema: arrays whose items must not all, or must none, be valid") {
    check_schema(R"({"type":"array","not":{"items":{"type":"integer"}}})", {"[1,\"a\"]", "[null]"}, {"[]", "[1,2]"});
    check_schema(R"({"type":"array","not":{"contains":{"type":"integer"}}})", {"[]", "[\"a\"]"}, {"[1]", "[\"a\",1]"});
}

TEST_CASE("schema: unevaluatedProperties is what the schemas leave that hold") {
    check_schema(R"({"type":"object","$ref":"#/$defs/base","properties":{"a":{}},"unevaluatedProperties":false,
                     "$defs":{"base":{"properties":{"b":{"type":"null"}},"allOf":[{"patternProperties":{"^x":true}}]}}})",
                 {"{}", R"({"b":null,"a":1,"xy":2})"}, {R"({"b":1})", R"({"c":1})"});
    check_schema(R"({"type":"object","allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":{"type":"null"}})",
                 {R"({"a":1,"z":null})"}, {R"({"z":1})"});
    check_schema(
        R"({"type":"object","allOf":[{"additionalProperties":{"type":"integer"}}],"unevaluatedProperties":false})",
        {R"({"z":1})"}, {R"({"z":"1"})"});
    check_schema(
        R"({"type":"object","anyOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":{"const":2}},
                     "required":["b"]}],"unevaluatedProperties":false})",
        {R"({"a":1})", R"({"b":2})", R"({"a":1,"b":2})"},
        {"{}", R"({"a":1,"b":3})", R"({"a":2,"b":2})", R"({"a":1,"c":0})"});
    check_schema(
        R"({"type":"object","oneOf":[{"properties":{"a":{"const":1}},"required":["a"]},{"properties":{"b":{"const":2}},
                     "required":["b"]}],"unevaluatedProperties":false})",
        {R"({"a":1})", R"({"b":2})"}, {R"({"a":1,"b":2})", R"({"a":1,"b":3})"});
    check_schema(
        R"({"type":"object","if":{"properties":{"k":{"const":1}},"required":["k"]},"then":{"properties":{"a":{}}},
                     "else":{"properties":{"b":{}}},"unevaluatedProperties":false})",
        {"{}", R"({"k":1})", R"({"k":1,"a":0})", R"({"b":0})"},
        {R"({"k":2})", R"({"k":1,"b":0})", R"({"a":0})", R"({"k":2,"b":0})"});
    check_schema(
        R"({"type":"object","if":{"properties":{"k":{"const":1}},"required":["k"]},"unevaluatedProperties":false})",
        {"{}", R"({"k":1})"}, {R"({"k":2})"});
    check_schema(R"({"type":"object","properties":{"k":{}},"dependentSchemas":{"k":{"properties":{"a":{}}}},
                     "unevaluatedProperties":false})",
                 {"{}", R"({"k":1})", R"({"k":1,"a":0})"}, {R"({"a":0})", R"({"k":1,"b":0})"});
    // what a negation says evaluates nothing, and what stands beside a schema is none of its own
    check_schema(R"({"type":"object","not":{"not":{"properties":{"a":{}}}},"unevaluatedProperties":false})", {"{}"},
                 {R"({"a":0})"});
    check_schema(
        R"({"type":"object","allOf":[{"properties":{"a":{}}},{"unevaluatedProperties":false,"allOf":[true]}]})", {"{}"},
        {R"({"a":0})"});
}

TEST_CASE("schema: unevaluatedItems is what the schemas leave that hold") {
    check_schema(
        R"({"type":"array","prefixItems":[true],"allOf":[{"prefixItems":[true,{"type":"null"}]}],"unevaluatedItems":false})",
        {"[]", "[1]", "[1,null]"}, {"[1,2]", "[1,null,3]"});
    check_schema(R"({"type":"array","unevaluatedItems":{"type":"boolean"},"anyOf":[{"items":{"type":"string"}},true]})",
                 {"[]", R"(["a","b"])", "[true]"}, {R"(["a",true])", "[1]"});
    check_schema(
        R"({"type":"array","prefixItems":[true],"anyOf":[{"prefixItems":[true,{"const":1}]},{"prefixItems":[true,true,{"const":2}]}],
                     "unevaluatedItems":false})",
        {"[]", "[0]", "[0,1]", "[0,1,2]", "[0,5,2]"}, {"[0,5,3]", "[0,1,3]", "[0,1,2,3]"});
    check_schema(
        R"({"type":"array","if":{"minItems":2},"then":{"prefixItems":[{"const":1}]},"unevaluatedItems":{"type":"null"}})",
        {"[]", "[null]", "[1,null]"}, {"[1]", "[1,1]", "[null,null]"});
    // a schema that depends on a key applies to objects alone: of an array it evaluates nothing
    check_schema(R"({"dependentSchemas":{"k":{"items":{"type":"integer"}}},"unevaluatedItems":{"type":"null"}})",
                 {"[]", "[null]", R"({"k":1})"}, {"[1]", "[null,1]"});
}

TEST_CASE("schema: alternatives share the order of their keys") {
    check_schema(
        R"({"anyOf":[{"type":"object","properties":{"a":{},"t":{"const":1}},"required":["t"],"additionalProperties":false},
                     {"type":"object","properties":{"b":{},"t":{"const":2}},"required":["t"],"additionalProperties":false}]})",
        {R"({"a":0,"t":1})", R"({"t":2,"b":0})"}, {R"({"a":0,"t":2})", R"({"b":0,"t":2})"});
}

TEST_CASE("schema: what cannot be enforced is refused with its pointer, or noted where that is asked for") {
    CHECK(refusal(R"({"items":{"pattern":"(?=a)b"}})").find("'/items/pattern': pattern: column 1: look-around") !=
          std::string::npos);
    CHECK(refusal(R"({"type":"array","uniqueItems":true})").find("'/uniqueItems'") != std::string::npos);
    CHECK(refusal(R"({"contains":{"const":1},"unevaluatedItems":false})").find("'/unevaluatedItems'") !=
          std::string::npos);
    CHECK(refusal(R"({"anyOf":[{},{},{},{},{"properties":{"a":{}}}],"unevaluatedProperties":false})")
              .find("'/unevaluatedProperties'") != std::string::npos);
    CHECK(refusal(R"({"multipleOf":999999937})").find("4096") != std::string::npos);
    CHECK(refusal(R"({"not":{"additionalProperties":false}})").find("'/not/additionalProperties'") !=
          std::string::npos);
    CHECK(refusal(R"({"not":{"$recursiveRef":"#","type":"string"}})").find("'/not/$recursiveRef'") !=
          std::string::npos);
    CHECK(
        must(bitnet::grammar::json_schema(R"({"not":{"type":"string","contentEncoding":"base64"}})")).notes().empty());
    const auto noted =
        must(bitnet::grammar::json_schema(R"({"type":"array","uniqueItems":true,"x-hint":1,"format":"odd"})",
                                          {.unsupported = bitnet::unsupported_keyword::note}));
    REQUIRE(noted.notes().size() == 3);
    CHECK(noted.notes()[0].find("'/x-hint'") == 0);
    CHECK(noted.notes()[1].find("'/format'") == 0);
    CHECK(noted.notes()[2].find("'/uniqueItems'") == 0);
    CHECK(!bitnet::grammar::json_schema(R"({"format":"odd"})", {.strict_formats = true}).has_value());
    check_schema(R"({"oneOf":[{"type":"integer"},{"minimum":2}]})", {"3"}, {"1.5"}, {.one_of_is_any_of = true});
}

TEST_CASE("schema: what is noted to be not enforced forbids nothing") {
    constexpr bitnet::schema_options noting{.unsupported = bitnet::unsupported_keyword::note};
    check_schema(R"({"type":"array","allOf":[{"contains":{"const":1}},{"contains":{"const":2}}],"maxItems":2})",
                 {"[]", "[3]"}, {"[1,2,3]", "1"}, noting);
    check_schema(R"({"type":"array","contains":{"const":1},"minContains":100,"maxItems":200})", {"[]", "[1]"}, {"1"},
                 noting);
    check_schema(R"({"type":"string","minLength":4294967296})", {R"("a")"}, {"1"}, noting);
    check_schema(R"({"type":"string","pattern":"^(ab)+$","minLength":20000})", {R"("c")"}, {"1"}, noting);
    check_schema(R"({"type":"integer","allOf":[{"multipleOf":997},{"multipleOf":991}]})", {"1"}, {"1.5"}, noting);
    std::string keys;
    for (int i = 0; i < 500; ++i) {
        keys += "\"k" + std::to_string(i) + "\":{},";
    }
    check_schema(R"({"type":"object","properties":{)" + keys + R"("z":{}},"minProperties":2,"maxProperties":450})",
                 {R"({"k1":1,"z":2})", "{}"}, {R"({"z":2,"k1":1})"}, noting);
    check_schema(R"({"type":"object","properties":{)" + keys + R"("z":{}},"maxProperties":2})",
                 {R"({"k1":1,"z":2})", "{}"}, {R"({"k1":1,"k2":2,"z":2})", R"({"k1":1,"k2":2,"x":2})"});
}

TEST_CASE("schema: what is no schema, or has no value, is an error when it is opened") {
    for (const char* schema :
         {R"({"type":3})", R"({"type":"text"})", R"({"required":"a"})", R"({"properties":["a"]})",
          R"({"minLength":-1})", R"({"minimum":"1"})", R"({"anyOf":[]})", R"({"enum":1})", R"([])", R"({"$ref":"#"})",
          R"({"$ref":"#/$defs/a","$defs":{"a":{"allOf":[{"$ref":"#/$defs/a"}]}}})",
          R"({"anyOf":[{"$ref":"#"},{"type":"null"}]})"}) {
        CHECK(!refusal(schema, bitnet::errc::bad_schema).empty());
    }
    for (const char* schema :
         {"false", R"({"type":"array","minItems":3,"maxItems":2})", R"({"minLength":2,"maxLength":1,"type":"string"})",
          R"({"type":"integer","minimum":1.1,"maximum":1.9})", R"({"allOf":[{"type":"null"},{"type":"string"}]})",
          R"({"type":"object","properties":{"next":{"$ref":"#"}},"required":["next"]})"}) {
        CHECK(!refusal(schema, bitnet::errc::empty_language).empty());
    }
    CHECK(!refusal(R"({"type":"object")", bitnet::errc::bad_json).empty());
    CHECK(refusal("{\"properties\":{\"" + std::string(100000, 'k') + "\":{}}}", bitnet::errc::grammar_budget)
              .find("100000 bytes") != std::string::npos);
}

// What this proves is that it ends: each of these took a minute, or gigabytes, where work or copies grew with the
// square.
TEST_CASE("schema: what is large is compiled or refused in time and memory that grow with its size") {
    const auto repeated = [](std::size_t times, const auto& part) {
        std::string made;
        for (std::size_t i = 0; i < times; ++i) {
            made += (i == 0 ? "" : ",") + part(std::to_string(i));
        }
        return made;
    };
    const auto any = [](const std::string&) { return std::string("true"); };
    CHECK(refusal(R"({"oneOf":[)" + repeated(50'000, any) + "]}", bitnet::errc::grammar_budget).find("4096") !=
          std::string::npos);
    const auto dependent = [](const std::string& i) { return "\"k" + i + "\":[]"; };
    CHECK(refusal(R"({"dependentRequired":{)" + repeated(20'000, dependent) + "}}", bitnet::errc::grammar_budget)
              .find("4096") != std::string::npos);
    const auto constant = [](const std::string& i) {
        return R"({"type":"object","properties":{"k":{"const":)" + i + R"(}},"required":["k"]})";
    };
    check_schema(R"({"oneOf":[)" + repeated(600, constant) + "]}", {R"({"k":599})"}, {R"({"k":600})"});
    std::string deep = "[" + repeated(50'000, [](const std::string&) { return std::string("{}"); }) + "]";
    for (int depth = 0; depth < 100; ++depth) {
        deep = "{\"" + std::string(4000, 'k') + "\":" + deep + "}";
    }
    check_schema(deep, {"1"}, {""});
    CHECK(refusal(R"({"$id":")" + std::string(2049, 'u') + R"("})", bitnet::errc::grammar_budget).find("2049 bytes") !=
          std::string::npos);
    const auto reference = [](const std::string& i) { return R"({"$ref":"#/$defs/)" + i + "\"}"; };
    check_schema(R"({"allOf":[)" + repeated(2000, reference) + R"(],"$defs":[)" + repeated(2000, any) + "]}", {"1"},
                 {""});
}
