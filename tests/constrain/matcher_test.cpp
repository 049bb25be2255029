// SPDX-License-Identifier: MIT
// matcher: what it allows is exactly what a slow recogniser finds, and it needs no memory after it was opened.
#include "constrain/feeding.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/constrain/compilation.hpp>
#include <bitnet/constrain/expression.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/regex_reader.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;
using namespace bitnet::detail;

namespace {

/// Where texts of each expression that begin at each place of one text may end, as bits: by repetition until nothing is
/// new, straight from the meaning of expressions.
class slow_recogniser {
public:
    slow_recogniser(const grammar_source& source, std::string_view text)
        : source_(source), text_(text), ends_(source.pool.size() * (text.size() + 1), 0) {
        for (bool is_new = true; is_new;) {
            is_new = false;
            for (std::uint32_t node = 0; node < source.pool.size(); ++node) {
                for (std::size_t from = 0; from <= text.size(); ++from) {
                    const std::uint32_t found = ends_of(node, from);
                    is_new = is_new || found != at(node, from);
                    at(node, from) = found;
                }
            }
        }
    }
    bool accepts() { return (at(source_.rules[source_.root].body, 0) >> text_.size() & 1) != 0; }

private:
    std::uint32_t& at(std::uint32_t node, std::size_t from) { return ends_[node * (text_.size() + 1) + from]; }
    std::uint32_t after(std::uint32_t part, std::uint32_t places) {
        std::uint32_t made = 0;
        for (std::size_t i = 0; i <= text_.size(); ++i) {
            made |= (places >> i & 1) != 0 ? at(part, i) : 0;
        }
        return made;
    }
    std::uint32_t ends_of(std::uint32_t node, std::size_t from) {
        const expression_node& what = source_.pool.at(node);
        std::uint32_t made = 0;
        switch (what.kind) {
        case expression_kind::literal:
            return text_.substr(from, what.size) == source_.pool.text(what) ? 1u << (from + what.size) : 0;
        case expression_kind::sequence:
            made = 1u << from;
            for (const expression part : source_.pool.parts(what)) {
                made = after(part, made);
            }
            return made;
        case expression_kind::choice:
            for (const expression part : source_.pool.parts(what)) {
                made |= at(part, from);
            }
            return made;
        case expression_kind::repeat: {
            std::uint32_t places = 1u << from;
            const std::size_t most = (std::min)(std::size_t{what.high}, what.low + text_.size() + 1);
            for (std::size_t i = 0; i <= most; ++i) {
                made |= i >= what.low ? places : 0;
                places = after(source_.pool.parts(what)[0], places);
            }
            return made;
        }
        case expression_kind::rule:
            return at(source_.rules[what.low].body, from);
        case expression_kind::language:
        case expression_kind::counted:
        case expression_kind::nothing:
            return 0;
        }
        return 0;
    }

    const grammar_source& source_;
    std::string_view text_;
    std::vector<std::uint32_t> ends_;
};

/// Random rules over a and b that call each other in any way. Counts are large enough for counters at times.
grammar_source random_grammar(std::mt19937& random) {
    const auto below = [&](std::uint32_t n) { return static_cast<std::uint32_t>(random() % n); };
    grammar_source source;
    const std::uint32_t rules = 1 + below(4);
    for (std::uint32_t rule = 0; rule < rules; ++rule) {
        source.rules.push_back({"r" + std::to_string(rule), 0});
    }
    for (std::uint32_t rule = 0; rule < rules; ++rule) {
        std::vector<expression> made{source.pool.literal("a"), source.pool.literal("b")};
        for (int i = 0; i < 6; ++i) {
            const auto any = [&] { return made[below(static_cast<std::uint32_t>(made.size()))]; };
            const std::uint32_t kind = below(8);
            const std::uint32_t low = below(4);
            const std::uint32_t high = below(3) == 0 ? unlimited : low + below(2) * (1 + below(400));
            made.push_back(kind < 2   ? source.pool.sequence({any(), any()})
                           : kind < 4 ? source.pool.choice({any(), any()})
                           : kind < 6 ? source.pool.rule(below(rules))
                           : kind < 7 ? source.pool.repeat(any(), low, high)
                                      : source.pool.empty());
        }
        source.rules[rule].body = made.back();
    }
    return source;
}

std::vector<std::string> all_texts(std::size_t longest) {
    std::vector<std::string> texts{""};
    for (std::size_t i = 0; i < texts.size() && texts[i].size() < longest; ++i) {
        texts.push_back(texts[i] + "a");
        texts.push_back(texts[i] + "b");
    }
    return texts;
}

/// Checks every short text, and that what is taken can be completed in shortest_end() bytes and no fewer.
void compare(const grammar_source& source) {
    const auto made = compiled(source, "random");
    constexpr std::size_t longest = 6;
    std::vector<std::string> accepted;
    for (const std::string& text : all_texts(longest)) {
        if (slow_recogniser(source, text).accepts()) {
            accepted.push_back(text);
        }
    }
    if (!made) {
        CHECK(made.error().code == bitnet::errc::empty_language);
        CHECK(accepted.empty());
        return;
    }
    bitnet::matcher matcher = must(bitnet::matcher::open(*made));
    for (const std::string& text : all_texts(longest)) {
        matcher.restart();
        const bool is_allowed = matcher.allows(text);
        const bool is_taken = matcher.accept(text) == text.size();
        REQUIRE(!matcher.out_of_budget());
        CHECK(is_allowed == is_taken);
        const bool is_in = std::binary_search(accepted.begin(), accepted.end(), text, [](auto& a, auto& b) {
            return a.size() != b.size() ? a.size() < b.size() : a < b;
        });
        CHECK((is_taken && matcher.can_end()) == is_in);
        std::size_t fewest = endless;
        for (const std::string& whole : accepted) {
            fewest = whole.compare(0, text.size(), text) == 0 ? (std::min)(fewest, whole.size() - text.size()) : fewest;
        }
        if (is_taken && text.size() + matcher.shortest_end() <= longest) {
            CHECK(matcher.shortest_end() == fewest);
        }
        CHECK((is_taken || fewest == endless));
    }
}

} // namespace

TEST_CASE("a matcher takes exactly the texts that a slow recogniser finds, by random grammars") {
    std::mt19937 random(7);
    for (int i = 0; i < 500; ++i) {
        CAPTURE(i);
        compare(random_grammar(random));
    }
}

TEST_CASE("looking ahead takes nothing, and allocates nothing, as all of a matcher after open()") {
    const auto grammar = must(bitnet::grammar::gbnf(
        "root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | \"\\\"\" [^\"\\x00-\\x1f]{0,300} \"\\\"\" | [0-9]+"));
    bitnet::matcher matcher = must(bitnet::matcher::open(grammar));
    const std::size_t before = allocations();
    std::string_view text = "[[1,22,\"\xc3\xa9 x\"],[[]],[[[[3]]]]]";
    for (std::size_t i = 0; i < text.size(); ++i) {
        bool all = true;
        all = all && matcher.allows(text.substr(i));
        all = all && !matcher.allows("\n");
        all = all && matcher.shortest_end() != 0;
        all = all && matcher.accept(text.substr(i, 1)) == 1;
        if (!all) {
            FAIL("byte " << i);
        }
    }
    const bool ends = matcher.can_end() && matcher.is_done();
    const std::size_t after = allocations();
    CHECK(ends);
    CHECK(after == before);
    CHECK(matcher.memory_bytes() < (std::size_t{12} << 20));
}

TEST_CASE("right recursion runs in constant memory, and deep nesting ends in a budget and not in a crash") {
    const auto list = must(bitnet::grammar::gbnf("root ::= \"a\" root | \"b\""));
    bitnet::matcher matcher = must(bitnet::matcher::open(list));
    CHECK(matcher.accept(std::string(300000, 'a') + "b") == 300001);
    CHECK(matcher.can_end());
    const auto nested = must(bitnet::grammar::gbnf("root ::= \"(\" root \")\" | \"\""));
    matcher = must(bitnet::matcher::open(nested));
    CHECK(matcher.accept(std::string(30000, '(') + std::string(30000, ')')) == 60000);
    CHECK(matcher.can_end());
    matcher.restart();
    const std::size_t taken = matcher.accept(std::string(200000, '('));
    CHECK(taken < 200000);
    CHECK(matcher.out_of_budget());
    CHECK(matcher.shortest_end() == taken); // what was taken is intact
    CHECK(matcher.accept(")") == 1);
}

TEST_CASE("the shortest end counts what is still to come, and following it closes the text") {
    const auto grammar = must(bitnet::grammar::gbnf(
        "root ::= \"[\" item (\",\" item){399,500} \"]\"\nitem ::= \"long\" | \"x\" item | \"ab\""));
    bitnet::matcher matcher = must(bitnet::matcher::open(grammar));
    CHECK(matcher.shortest_end() == 1 + 400 * 2 + 399 + 1);
    CHECK(matcher.accept("[xxlo") == 5);
    std::string rest = "ng";
    for (int i = 0; i < 399; ++i) {
        rest += ",ab";
    }
    rest += "]";
    CHECK(matcher.shortest_end() == rest.size());
    for (std::size_t i = 0; i < rest.size(); ++i) {
        REQUIRE(matcher.accept(rest.substr(i, 1)) == 1);
        REQUIRE(matcher.shortest_end() == rest.size() - i - 1);
    }
    CHECK(matcher.can_end());
}

TEST_CASE("a matcher that moves together what it still needs allows what one with much room does") {
    const auto grammar = must(bitnet::grammar::gbnf("root ::= list\n"
                                                    "list ::= \"[\" (value (\",\" value)*)? \"]\"\n"
                                                    "value ::= list | word | word \"=\" value\n"
                                                    "word ::= [a-c]+\n"));
    auto small = must(bitnet::matcher::open(grammar, {.items = 128, .items_at_once = 64, .frames = 256, .links = 512}));
    auto large = must(bitnet::matcher::open(grammar, {.items = 1'000'000, .frames = 1'000'000, .links = 1'000'000}));
    std::mt19937 random(3);
    std::size_t depth = 0;
    for (int i = 0; i < 4000; ++i) {
        std::string allowed;
        for (const char byte : std::string_view("[],=abc")) {
            const bool is_allowed = large.allows({&byte, 1});
            REQUIRE(small.allows({&byte, 1}) == is_allowed);
            const bool is_wanted = byte == '[' ? depth < 12 : byte != ']' || depth > 1;
            allowed += is_allowed && is_wanted ? std::string(1, byte) : "";
        }
        REQUIRE(!small.out_of_budget());
        REQUIRE(small.shortest_end() == large.shortest_end());
        REQUIRE(!allowed.empty());
        const char next = allowed[random() % allowed.size()];
        REQUIRE(small.accept({&next, 1}) == 1);
        REQUIRE(large.accept({&next, 1}) == 1);
        depth = next == '[' ? depth + 1 : next == ']' ? depth - 1 : depth;
    }
}

TEST_CASE("options of a matcher have to fit the grammar") {
    const auto grammar = must(bitnet::grammar::gbnf("root ::= \"a\""));
    CHECK(!bitnet::matcher::open(grammar, {.items = 1, .items_at_once = 2}).has_value());
    CHECK(!bitnet::matcher::open(grammar, {.frames = 0}).has_value());
    std::string wide = "root ::= x0";
    std::string rules;
    for (int i = 0; i < 100; ++i) {
        const std::string name = "x" + std::to_string(i);
        wide += " | " + name;
        rules += name + " ::= \"" + name + "\" " + name + "?\n";
    }
    const auto many = must(bitnet::grammar::gbnf(wide + "\n" + rules));
    const auto refused = bitnet::matcher::open(many, {.items_at_once = 50});
    CHECK(sentence_of(refused, bitnet::errc::grammar_budget).find("50 items") != std::string::npos);
    CHECK(bitnet::matcher::open(many).has_value());
}
