// SPDX-License-Identifier: MIT
#include "constrain/feeding.hpp"

#include <bitnet/constrain.hpp>

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

using namespace bitnet;
using bitnet_tests::accepts;
using bitnet_tests::must;
using bitnet_tests::sentence_of;

namespace {

enum class mood { calm, angry, odd = 7 };

struct point {
    int x = 0;
    std::int8_t y = 0;
    bool operator==(const point&) const = default;
};

struct move_to {
    point to;
    std::optional<int> speed;
    bool operator==(const move_to&) const = default;
};

struct speak {
    std::string text;
    mood tone = mood::calm;
    bool operator==(const speak&) const = default;
};

struct tree {
    std::string label;
    std::vector<tree> children;
    bool operator==(const tree&) const = default;
};

struct everything {
    bool yes = false;
    std::uint64_t large = 0;
    double real = 0;
    float small = 0;
    std::string name;
    mood now = mood::calm;
    std::array<int, 2> pair{};
    std::vector<mood> moods;
    std::optional<std::string> maybe;
    std::vector<std::optional<bool>> gaps;
    std::vector<std::variant<move_to, speak>> plan;
    bool operator==(const everything&) const = default;
};

struct nothing {
    bool operator==(const nothing&) const = default;
};

struct percent {
    int value = 0;
    bool operator==(const percent&) const = default;
};

} // namespace

template <> struct bitnet::names_of<mood> {
    static constexpr enum_name<mood> list[] = {{"calm", mood::calm}, {"angry", mood::angry}, {"\"odd\"", mood::odd}};
};
template <> struct bitnet::fields_of<point> {
    static constexpr auto list = fields(field("x", &point::x), field("y", &point::y));
};
template <> struct bitnet::fields_of<move_to> {
    static constexpr std::string_view name = "move";
    static constexpr auto list =
        fields(field("to", &move_to::to), field("speed", &move_to::speed, {.minimum = 1, .maximum = 9}));
};
template <> struct bitnet::fields_of<speak> {
    static constexpr std::string_view name = "speak";
    static constexpr auto list =
        fields(field("text", &speak::text, {.min_size = 1, .max_size = 3}), field("tone", &speak::tone));
};
template <> struct bitnet::fields_of<tree> {
    static constexpr auto list =
        fields(field("label", &tree::label, {.max_size = 2}), field("the/children", &tree::children, {.max_size = 2}));
};
template <> struct bitnet::fields_of<everything> {
    static constexpr auto list =
        fields(field("yes", &everything::yes), field("large", &everything::large), field("real", &everything::real),
               field("small", &everything::small),
               field("name", &everything::name, {.max_size = 4, .description = "a \"name\""}),
               field("now", &everything::now), field("pair", &everything::pair),
               field("moods", &everything::moods, {.min_size = 1, .max_size = 3}), field("maybe", &everything::maybe),
               field("gaps", &everything::gaps, {.max_size = 2}), field("plan", &everything::plan, {.max_size = 2}));
};
template <> struct bitnet::fields_of<nothing> { static constexpr auto list = fields(); };
template <> struct bitnet::fields_of<percent> {
    static constexpr auto list = fields(field("value", &percent::value, {.minimum = 0, .maximum = 100}));
};

namespace {

/// A text of the grammar: random bytes that are allowed, and from `length` of them on those that close something first.
std::string random_text(matcher& at, std::mt19937& random, std::size_t length) {
    at.restart();
    std::string made;
    while (!at.can_end() || (made.size() < length && random() % 4 != 0)) {
        std::string allowed;
        const auto ask = [&](char c) { allowed += at.allows({&c, 1}) ? std::string(1, c) : std::string(); };
        for (const char c : made.size() < length ? std::string() : std::string("\"}],")) {
            if (allowed.empty()) {
                ask(c);
            }
        }
        const bool closes = !allowed.empty();
        for (int byte = 0; byte < 256 && !closes; ++byte) {
            ask(static_cast<char>(byte));
        }
        if (allowed.empty()) {
            break; // is_done()
        }
        made += allowed[random() % allowed.size()];
        REQUIRE(at.accept({&made.back(), 1}) == 1);
        REQUIRE(made.size() < 100000);
    }
    return made;
}

template <class T> void check_that_random_texts_are_read(std::size_t texts, std::size_t length) {
    const grammar all = must(grammar::of<T>());
    matcher at = must(matcher::open(all));
    std::mt19937 random(5);
    std::set<std::string> different;
    for (std::size_t i = 0; i < texts; ++i) {
        const std::string text = random_text(at, random, random() % length);
        INFO(text);
        REQUIRE(at.can_end());
        const T value = must(from_json<T>(text));
        const std::string again = must(to_json(value));
        CHECK(must(from_json<T>(again)) == value);
        different.insert(text);
    }
    CHECK(different.size() > texts / 2);
}

template <class T> std::string mistake(std::string_view text, const value_limits& limits = {}) {
    const auto made = from_json<T>(text, limits);
    REQUIRE(!made);
    CHECK((made.error().code == errc::bad_value || made.error().code == errc::bad_json));
    return made.error().message;
}

} // namespace

TEST_CASE("the schema of a type names its members, their types and their limits") {
    CHECK(must(schema_of<point>()) ==
          R"({"type":"object","properties":{"x":{"type":"integer","minimum":-2147483648,"maximum":2147483647},)"
          R"("y":{"type":"integer","minimum":-128,"maximum":127}},"required":["x","y"],"additionalProperties":false})");
    CHECK(must(schema_of<std::optional<bool>>()) == R"({"anyOf":[{"type":"boolean"},{"type":"null"}]})");
    CHECK(must(schema_of<mood>({.description = "how"})) ==
          R"({"description":"how","enum":["calm","angry","\"odd\""]})");
    CHECK(must(schema_of<std::vector<std::string>>({.min_size = 1, .max_size = 3})) ==
          R"({"type":"array","items":{"type":"string"},"minItems":1,"maxItems":3})");
    CHECK(must(schema_of<tree>()) ==
          R"({"type":"object","properties":{"label":{"type":"string","maxLength":2},"the/children":{"type":"array",)"
          R"("items":{"$ref":"#"},"maxItems":2}},"required":["label","the/children"],"additionalProperties":false})");
    CHECK(must(schema_of<std::vector<std::vector<tree>>>()).find(R"({"$ref":"#/items/items"})") != std::string::npos);
    const std::string tagged = must(schema_of<std::variant<move_to, speak>>());
    CHECK(tagged.find(R"({"anyOf":[{"type":"object","properties":{"type":{"const":"move"},"to":)") == 0);
    CHECK(tagged.find(R"("required":["type","to"])") != std::string::npos);
}

TEST_CASE("a grammar of a type takes exactly the texts of its values, of small types all of them") {
    const grammar numbers = must(grammar::of<percent>());
    for (int i = -300; i < 300; ++i) {
        const std::string text = "{\"value\":" + std::to_string(i) + "}";
        CHECK(accepts(numbers, text) == (i >= 0 && i <= 100));
        CHECK(from_json<percent>(text).has_value() == (i >= 0 && i <= 100));
    }
    const grammar bytes = must(grammar::of<std::int8_t>());
    const grammar marks = must(grammar::of<std::uint8_t>());
    for (int i = -400; i < 400; ++i) {
        CHECK(accepts(bytes, std::to_string(i)) == (i >= -128 && i < 128));
        CHECK(from_json<std::int8_t>(std::to_string(i)).has_value() == (i >= -128 && i < 128));
        CHECK(accepts(marks, std::to_string(i)) == (i >= 0 && i < 256));
        CHECK(from_json<std::uint8_t>(std::to_string(i)).has_value() == (i >= 0 && i < 256));
    }
    const grammar moods = must(grammar::of<std::vector<mood>>({.max_size = 1}));
    for (const std::string_view text : {"[]", "[\"calm\"]", "[\"angry\"]", "[\"\\\"odd\\\"\"]"}) {
        CHECK(accepts(moods, text));
        CHECK(from_json<std::vector<mood>>(text, {.max_size = 1}));
    }
    for (const std::string_view text : {"[\"calm\",\"calm\"]", "[\"Calm\"]", "[0]", "{}", "null"}) {
        CHECK(!accepts(moods, text));
        CHECK(!from_json<std::vector<mood>>(text, {.max_size = 1}));
    }
    const grammar none = must(grammar::of<nothing>());
    CHECK(accepts(none, "{}"));
    CHECK(!accepts(none, "{\"x\":1}"));
    const grammar trees = must(grammar::of<tree>());
    CHECK(accepts(trees, R"({"label":"a","the/children":[{"label":"b","the/children":[]}]})"));
    CHECK(!accepts(trees, R"({"label":"a","the/children":[{"label":"b"}]})"));
}

TEST_CASE("every random text of a type's grammar is read, and written and read again is the same value") {
    check_that_random_texts_are_read<point>(200, 30);
    check_that_random_texts_are_read<std::variant<move_to, speak>>(200, 60);
    check_that_random_texts_are_read<tree>(100, 150);
    check_that_random_texts_are_read<std::vector<float>>(200, 60);
    check_that_random_texts_are_read<everything>(40, 250);
}

TEST_CASE("values are written as JSON, and read back as they were") {
    everything all;
    all.yes = true;
    all.large = (std::numeric_limits<std::uint64_t>::max)();
    all.real = -0.1;
    all.small = 1.0e-20f;
    all.name = "\xc3\xa9\n\"";
    all.now = mood::odd;
    all.pair = {-1, 2};
    all.moods = {mood::angry};
    all.gaps = {true, std::nullopt};
    all.plan = {move_to{{1, -2}, 3}, speak{"hi", mood::angry}};
    const std::string text = must(to_json(all));
    CHECK(text == R"({"yes":true,"large":18446744073709551615,"real":-0.1,"small":1e-20,"name":"\u00e9\n\"",)"
                  R"("now":"\"odd\"","pair":[-1,2],"moods":["angry"],"gaps":[true,null],"plan":[{"type":"move",)"
                  R"("to":{"x":1,"y":-2},"speed":3},{"type":"speak","text":"hi","tone":"angry"}]})");
    CHECK(must(from_json<everything>(text)) == all);
    for (const double value : {0.0, 1.0, 1.0 / 3, 5e-324, 1.7976931348623157e308, 123456789012345680.0, -2.5}) {
        CHECK(must(from_json<double>(must(to_json(value)))) == value);
        const float small = static_cast<float>(value < 1e38 ? value : 3.4028234663852886e38);
        CHECK(must(from_json<float>(must(to_json(small)))) == small);
    }
    CHECK(must(to_json(std::numeric_limits<double>::infinity())) == "null");
    CHECK(must(to_json(static_cast<mood>(99))) == "null");
    // Keys in any order, and white space, are as good.
    CHECK(must(from_json<point>(" { \"y\" : 2 , \"x\" : -0 } ")) == point{0, 2});
    CHECK(must(from_json<move_to>(R"({"to":{"x":1,"y":1},"speed":null})")).speed == std::nullopt);
}

TEST_CASE("what a text has wrong is said with its place") {
    CHECK(mistake<point>("[]") == "JSON: the value is of type array where an object is expected");
    CHECK(mistake<point>(R"({"x":1})") == "JSON: the value has no key 'y'");
    CHECK(mistake<point>(R"({"x":1,"y":2,"z":3})") == "JSON: the value has 3 keys, 2 of which are known");
    CHECK(mistake<point>(R"({"x":1,"y":128})") == "JSON: '/y' is '128' where an integer from -128 to 127 is expected");
    CHECK(mistake<point>(R"({"x":"1","y":1})") == "JSON: '/x' is of type string where an integer is expected");
    CHECK(mistake<point>(R"({"x":1.5,"y":1})") ==
          "JSON: '/x' is '1.5' where an integer from -2147483648 to 2147483647 is expected");
    CHECK(mistake<tree>(R"({"label":"a","the/children":[{"label":"abc","the/children":[]}]})") ==
          "JSON: '/the~1children/0/label' has 3 characters, at most 2 are expected");
    CHECK(mistake<speak>(R"({"text":"","tone":"calm"})") == "JSON: '/text' has 0 characters, at least 1 are expected");
    CHECK(mistake<speak>(R"({"text":"a","tone":"sad"})") == "JSON: '/tone' is 'sad', which is none of its names");
    CHECK(mistake<std::array<int, 2>>("[1]") == "JSON: the value has 1 elements, 2 are expected");
    CHECK(mistake<std::array<bool, 2>>("[true,1]") == "JSON: '/1' is of type number where true or false is expected");
    CHECK(mistake<std::variant<move_to, speak>>(R"({"type":"fly"})") ==
          "JSON: the value has the type 'fly', which is none of its types");
    CHECK(mistake<std::variant<move_to, speak>>(R"({"text":"a"})") ==
          "JSON: the value has no key 'type' with a string");
    CHECK(mistake<float>("1e39") == "JSON: the value is '1e39' where a number from -3.4028235e38 to 3.4028235e38 is "
                                    "expected");
    CHECK(mistake<double>("11", {.minimum = 0, .maximum = 10}) ==
          "JSON: the value is '11' where a number from 0 to 10 is expected");
    CHECK(mistake<point>("{\"x\":1,").find("JSON: line 1, byte 7") == 0);
    const auto impossible = grammar::of<int>({.minimum = 3, .maximum = 2});
    CHECK(!impossible);
    std::string deep;
    for (int i = 0; i < 1100; ++i) {
        deep += R"({"label":"","the/children":[)";
    }
    CHECK(mistake<tree>(deep).find("JSON: ") == 0);
}
