// SPDX-License-Identifier: MIT
#include "../golden/golden_data.hpp"

#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <clocale>
#include <cstddef>
#include <cstdint>
#include <ranges>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using bitnet::errc;
using bitnet::json_document;
using bitnet::json_type;

namespace {

json_document parse(std::string_view text) {
    auto document = json_document::parse(text, "test.json");
    CAPTURE(std::string(text.substr(0, 200)));
    CAPTURE((document ? std::string() : document.error().message));
    REQUIRE(document);
    return *std::move(document);
}

std::string written(std::string_view text) {
    std::string out;
    bitnet::detail::append_json_string(out, text);
    return out;
}

} // namespace

TEST_CASE("every kind of value is read as its own type") {
    const auto document =
        parse(R"( { "a" : [ 1 , -2.5e1 , true , false , null , "x\n" , { } , [ ] ] , "b" : { "c" : 3 } } )");
    const auto root = document.root();
    CHECK(root.type() == json_type::object);
    CHECK(root.size() == 2);
    const auto a = root.find("a");
    REQUIRE(a);
    std::vector<bitnet::json_value> values;
    for (const auto value : a->elements()) {
        values.push_back(value);
    }
    REQUIRE(values.size() == 8);
    CHECK(a->size() == 8);
    CHECK(values[0].as_integer<int>() == 1);
    CHECK(values[1].as_double() == -25.0);
    CHECK(values[2].as_bool() == true);
    CHECK(values[3].as_bool() == false);
    CHECK(values[4].is_null());
    CHECK(values[5].as_string() == "x\n");
    CHECK(values[6].is_object());
    CHECK(values[6].size() == 0);
    CHECK(values[7].is_array());
    CHECK(values[7].elements().begin() == values[7].elements().end());
    CHECK(root.find("b")->find("c")->as_integer<std::uint8_t>() == std::uint8_t{3});
    static_assert(std::ranges::forward_range<decltype(root.elements())>);
    static_assert(std::ranges::forward_range<decltype(root.members())>);
}

TEST_CASE("a value of another type, or a number that does not fit, is nullopt") {
    const auto document = parse(R"([300, -1, 1.0, 1e2, 18446744073709551615, 18446744073709551616, "5", 1e400, -0])");
    std::vector<bitnet::json_value> values;
    for (const auto value : document.root().elements()) {
        values.push_back(value);
    }
    CHECK_FALSE(values[0].as_integer<std::uint8_t>().has_value());
    CHECK_FALSE(values[1].as_integer<std::uint64_t>().has_value());
    CHECK_FALSE(values[2].as_integer<int>().has_value());
    CHECK_FALSE(values[3].as_integer<int>().has_value());
    CHECK(values[4].as_integer<std::uint64_t>() == UINT64_MAX);
    CHECK_FALSE(values[5].as_integer<std::uint64_t>().has_value());
    CHECK_FALSE(values[6].as_integer<int>().has_value());
    CHECK(values[8].as_integer<std::uint8_t>() == std::uint8_t{0});
    CHECK(values[8].as_integer<int>() == 0);
    CHECK_FALSE(values[6].as_double().has_value());
    CHECK_FALSE(values[6].as_bool().has_value());
    CHECK_FALSE(values[0].as_string().has_value());
    CHECK_FALSE(values[7].as_double().has_value());
    CHECK_FALSE(values[0].find("x").has_value());
    CHECK(values[0].elements().begin() == values[0].elements().end());
    CHECK(document.root().members().begin() == document.root().members().end());
}

TEST_CASE("members are listed in the order of the text and found by key") {
    std::string text = "{";
    for (int i = 0; i < 1000; ++i) {
        text += (i == 0 ? "\"" : ",\"") + std::to_string(i * 7919 % 1000) + "\":[" + std::to_string(i) + ",{}]";
    }
    const auto document = parse(text + "}");
    int i = 0;
    for (const auto [key, value] : document.root().members()) {
        CHECK(key == std::to_string(i * 7919 % 1000));
        CHECK((*value.elements().begin()).as_integer<int>() == i);
        CHECK(document.root().find(key)->size() == 2);
        ++i;
    }
    CHECK(i == 1000);
    CHECK_FALSE(document.root().find("1000").has_value());
}

TEST_CASE("where it is asked for, a key that comes again replaces the member before") {
    const std::string_view text = R"({"a":{"x":[1],"x":2},"b":3,"\u0061":4,"c":5,"b":[6,{"b":7,"b":8,"b":9}]})";
    const auto document = json_document::parse(text, "text", {.last_of_key = true});
    REQUIRE(document);
    CHECK(document->root().size() == 3);
    std::string keys;
    for (const auto [key, value] : document->root().members()) {
        keys += key;
    }
    CHECK(keys == "acb");
    CHECK(document->root().find("a")->as_integer<int>() == 4);
    CHECK(document->root().find("c")->as_integer<int>() == 5);
    const auto last = document->root().find("b");
    REQUIRE(last->size() == 2);
    const auto inner = *++last->elements().begin();
    CHECK(inner.size() == 1);
    CHECK(inner.find("b")->as_integer<int>() == 9);
    CHECK((*inner.members().begin()).value.as_integer<int>() == 9);
    const auto none = json_document::parse("{}", "text", {.last_of_key = true});
    REQUIRE(none);
    CHECK(none->root().size() == 0);
}

TEST_CASE("a document owns the text that it shows, also when it moves") {
    std::string text = R"({"key": "value A", "n": 12})";
    auto first = parse(text);
    const auto value = *first.root().find("key");
    text.assign(text.size(), '?');
    const json_document second = std::move(first);
    CHECK(value.as_string() == "value A");
    CHECK(second.root().find("n")->as_integer<int>() == 12);
}

TEST_CASE("text that is not JSON is refused with line and byte") {
    struct row {
        std::string_view text;
        std::string_view message;
    };
    const row rows[] = {
        {"", "line 1, byte 0: the text ends where a value is expected"},
        {" \n ", "line 2, byte 3: the text ends where a value is expected"},
        {"[", "line 1, byte 1: the text ends"},
        {"[1", "line 1, byte 2: ',' or ']'"},
        {"[1,]", "line 1, byte 3: a value"},
        {"[,1]", "line 1, byte 1: a value"},
        {"[1 2]", "line 1, byte 3: ',' or ']'"},
        {"[1}", "line 1, byte 2: ',' or ']'"},
        {"]", "line 1, byte 0: a value"},
        {"{", "line 1, byte 1: a key"},
        {"{\"a\"}", "line 1, byte 4: ':'"},
        {"{\"a\":}", "line 1, byte 5: a value"},
        {"{\"a\":1,}", "line 1, byte 7: a key"},
        {"{a:1}", "line 1, byte 1: a key"},
        {"{1:1}", "line 1, byte 1: a key"},
        {"{\"a\":1 \"b\":2}", "line 1, byte 7: ',' or '}'"},
        {"{\"a\":1,\n\"a\":2}", "line 2, byte 14: the object that ends here has the key 'a' twice"},
        {"{\"a\":1,\"\\u0061\":2}", "the key 'a' twice"},
        {"1 1", "line 1, byte 2: the end of the text"},
        {"{} x", "line 1, byte 3: the end of the text"},
        {"nul", "line 1, byte 0: a value"},
        {"True", "line 1, byte 0: a value"},
        {"NaN", "a value"},
        {"Infinity", "a value"},
        {"'a'", "a value"},
        {"// x\n1", "a value"},
        {"01", "line 1, byte 1: the end of the text"},
        {"-", "line 1, byte 1: a digit"},
        {"-01", "line 1, byte 2: the end of the text"},
        {"+1", "a value"},
        {".5", "a value"},
        {"1.", "line 1, byte 2: a digit is expected after the decimal point"},
        {"1.e5", "a digit is expected after the decimal point"},
        {"1e", "a digit is expected in the exponent"},
        {"1e+", "a digit is expected in the exponent"},
        {"0x10", "line 1, byte 1: the end of the text"},
        {"\"abc", "line 1, byte 4: the text ends inside a string"},
        {"\"a\nb\"", "line 1, byte 2: a control character"},
        {"\"\\", "line 1, byte 2: there is no such escape"},
        {"\"\\x41\"", "line 1, byte 2: there is no such escape"},
        {"\"\\u12\"", "four hexadecimal digits"},
        {"\"\\u12g4\"", "four hexadecimal digits"},
        {"\"\\u-123\"", "four hexadecimal digits"},
        {"\"\\ud800\"", "a surrogate"},
        {"\"\\udc00\"", "a surrogate"},
        {"\"\\ud800\\u0041\"", "a surrogate"},
        {"\"\\ud800x\"", "a surrogate"},
        {std::string_view("\0", 1), "line 1, byte 0: a value"},
        {std::string_view("\"\0\"", 3), "line 1, byte 1: a control character"},
        {"\xef\xbb\xbf{}", "line 1, byte 0: a value"},
    };
    for (const row& r : rows) {
        CAPTURE(std::string(r.text));
        const auto document = json_document::parse(r.text, "test.json");
        REQUIRE_FALSE(document.has_value());
        CAPTURE(document.error().message);
        CHECK(document.error().code == errc::bad_json);
        CHECK(document.error().message.starts_with("test.json: line "));
        CHECK(document.error().message.find(r.message) != std::string::npos);
    }
}

TEST_CASE("strings that are not UTF-8 are refused, by the byte") {
    for (const char* text : {"\"\xff\"", "\"\xc0\x80\"", "\"\xe0\x80\x80\"", "\"\xed\xa0\x80\"", "\"\xf4\x90\x80\x80\"",
                             "\"\xc3\"", "\"\xe2\x82\"", "\"\x80\""}) {
        const auto document = json_document::parse(text, "test.json");
        REQUIRE_FALSE(document.has_value());
        CHECK(document.error().code == errc::bad_utf8);
        CHECK(document.error().message == "test.json: line 1, byte 1: the string is not UTF-8");
    }
}

TEST_CASE("escapes mean what RFC 8259 defines") {
    const auto document = parse(R"(["\"\\\/\b\f\n\r\t", "\u0041\u00e9\u20AC\ud83d\ude00\u0000", "é€😀"])");
    std::vector<std::string> strings;
    for (const auto value : document.root().elements()) {
        strings.emplace_back(*value.as_string());
    }
    CHECK(strings[0] == "\"\\/\b\f\n\r\t");
    CHECK(strings[1] == std::string("A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\0", 11));
    CHECK(strings[2] == "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
}

TEST_CASE("containers may be nested as deeply as is allowed and no deeper") {
    const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
    CHECK(json_document::parse(nested(64), "t").has_value());
    CHECK(json_document::parse(nested(65), "t").error().message.find("byte 64: the containers are nested") !=
          std::string::npos);
    CHECK(json_document::parse(nested(1024), "t", {1024}).has_value());
    CHECK(json_document::parse(std::string(1000000, '['), "t").error().code == errc::bad_json);
    CHECK(json_document::parse(std::string(1000000, '{'), "t").error().code == errc::bad_json);
    CHECK(json_document::parse("[[],[[]]]", "t", {3}).has_value()); // depth, not number
    CHECK_FALSE(json_document::parse("[]", "t", {0}).has_value());
    CHECK(json_document::parse("7", "t", {0}).has_value());
}

TEST_CASE("numbers are read the same in every locale") {
    const char* const chosen = std::setlocale(LC_ALL, "de_DE.UTF-8"); // where it is installed, the comma is its point
    INFO("locale: " << (chosen != nullptr ? chosen : "C"));
    const auto document = parse("1.5");
    CHECK(document.root().as_double() == 1.5);
    std::setlocale(LC_ALL, "C");
}

TEST_CASE("strings are written in pure ASCII and read back the same") {
    CHECK(written("abc") == "\"abc\"");
    CHECK(written("\"\\/\b\f\n\r\t") == R"("\"\\/\b\f\n\r\t")");
    CHECK(written(std::string_view("\0\x1f\x7f", 3)) == R"("\u0000\u001f\u007f")");
    CHECK(written("\xc3\xa9\xe2\x82\xac\xef\xbf\xbf") == R"("\u00e9\u20ac\uffff")");
    CHECK(written("\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf") == R"("\ud83d\ude00\udbff\udfff")");
    std::string all;
    for (char32_t c = 1; c < 0x3000; ++c) {
        if (c < 0x80) {
            all += static_cast<char>(c);
        } else if (c < 0x800) {
            all += {static_cast<char>(0xc0 | (c >> 6)), static_cast<char>(0x80 | (c & 63))};
        } else {
            all += {static_cast<char>(0xe0 | (c >> 12)), static_cast<char>(0x80 | ((c >> 6) & 63)),
                    static_cast<char>(0x80 | (c & 63))};
        }
    }
    const auto document = parse(written(all));
    CHECK(document.root().as_string() == all);
}

TEST_CASE("invalid UTF-8 is written as U+FFFD, once for each longest prefix of a character") {
    CHECK(written("a\xff"
                  "b") == R"("a\ufffdb")");
    CHECK(written("\xe2\x82") == R"("\ufffd")");
    CHECK(written("\xe2\x82"
                  "a") == R"("\ufffda")");
    CHECK(written("\xf0\x9f\x98") == R"("\ufffd")");
    CHECK(written("\xc0\x80") == R"("\ufffd\ufffd")");
    CHECK(written("\xed\xa0\x80") == R"("\ufffd\ufffd\ufffd")");
    CHECK(written("\xf5\x80") == R"("\ufffd\ufffd")");
}

TEST_CASE("golden: the JSON files of a published model are read") {
    if (skip_without_golden()) {
        return;
    }
    const auto read = [](const char* path) {
        const auto source = bitnet::byte_source::open(golden_path(path));
        REQUIRE(source);
        const auto bytes = source->bytes();
        return parse({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
    };
    const auto config = read("tiny/hf/config.json");
    CHECK(config.root().find("rope_theta")->as_double() == 500000.0);
    CHECK(config.root().find("rms_norm_eps")->as_double() == 1e-5);
    const auto tokenizer = read("tiny/hf/tokenizer.json");
    CHECK(tokenizer.root().find("model")->find("vocab")->size() == 4096);
    CHECK(tokenizer.root().find("model")->find("vocab")->find("!")->as_integer<int>() == 0);
}
