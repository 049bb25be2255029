// SPDX-License-Identifier: MIT
// token_constraint: masks are what feeding the bytes of every token finds, over whole vocabularies.
#include "constrain/feeding.hpp"
#include "golden/golden_data.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;
using bitnet::token;

namespace {

bitnet::tokenizer tokenizer_of(const std::string& path) {
    const auto source = must(bitnet::byte_source::open(path));
    const auto file = must(bitnet::gguf_file::parse(source.bytes(), path));
    return must(bitnet::tokenizer::open(file));
}
const bitnet::tokenizer& tiny() {
    static const bitnet::tokenizer opened = tokenizer_of(BITNET_TEST_MODEL);
    return opened;
}

/// The tokens that are allowed by their bytes alone, as a matcher of its own finds them.
std::size_t compare(bitnet::token_constraint& constraint, bitnet::matcher& bytes, const bitnet::tokenizer& text) {
    const auto mask = constraint.allowed();
    const bool is_over = !mask && mask.error().code == bitnet::errc::no_token_left;
    REQUIRE_MESSAGE((mask || is_over), (mask ? std::string() : mask.error().message));
    std::size_t count = 0;
    std::size_t wrong = 0;
    for (token id = 0; text.contains(id); ++id) {
        const bool is_text = !text.is_special(id) && !text.is_stop(id);
        const bool is_right = text.is_stop(id) ? bytes.can_end() : is_text && bytes.allows(text.bytes_of(id));
        wrong += is_right != (mask && mask->contains(id)) ? 1u : 0u;
        count += is_right ? 1u : 0u;
    }
    CHECK(wrong == 0);
    CHECK(count == (mask ? mask->count : 0));
    if (mask && count <= bitnet::allowed_tokens::most_listed) {
        CHECK(mask->few.size() == count);
    }
    return count;
}

/// Goes through a grammar by tokens that are taken at random, and compares the mask of every `each`th place.
void wander(const bitnet::grammar& grammar, const bitnet::token_trie& trie, unsigned seed, int tokens, int each) {
    const bitnet::tokenizer& text = trie.text();
    auto constraint = must(bitnet::token_constraint::open(
        grammar, trie, {.limit = {}, .masks = 4, .matcher = {}, .forced = bitnet::forced_text::off}));
    auto bytes = must(bitnet::matcher::open(grammar));
    std::mt19937 random(seed);
    for (int i = 0; i < tokens; ++i) {
        if (i % each == 0) {
            compare(constraint, bytes, text);
        }
        const auto mask = constraint.allowed();
        if (!mask) {
            break;
        }
        std::size_t number = random() % mask->count;
        token id = 0;
        while (!mask->contains(id) || number-- != 0) {
            ++id;
        }
        REQUIRE(constraint.accept(id));
        if (text.is_stop(id)) {
            CHECK(bytes.can_end());
            constraint.restart();
            bytes.restart();
            continue;
        }
        REQUIRE(bytes.accept(text.bytes_of(id)) == text.bytes_of(id).size());
    }
}

constexpr std::string_view grammars[] = {
    "root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | \"\\\"\" [^\"\\x00-\\x1f]{0,300} \"\\\"\" | [0-9]+",
    "root ::= e\ne ::= e \"+\" e | \"(\" e \")\" | [a-z]{1,12} | [0-9]{2,400}",
    "root ::= ([^\"\\\\\\x00-\\x1f]{3,40} | \"x\" .{0,2}){2,90}",
    "root ::= a* b?\na ::= \"a\" | \"aa\" | \"an \" | [^\\n]{1,2}\nb ::= \"\\n\" root",
    "root ::= (\"the \" | \"then\" | t){1,20}\nt ::= \"t\" h\nh ::= \"h\" [a-z ]* \".\"",
};
constexpr std::string_view schemas[] = {
    R"({"type":"object","properties":{"name":{"type":"string","maxLength":40},"uid":{"type":"string","minLength":12,
    "maxLength":12},"n":{"type":"integer","minimum":-7,"maximum":12345},"list":{"type":"array","items":{"type":"number"},
    "maxItems":300}},"required":["name"]})",
    R"({"$ref":"#/$defs/n","$defs":{"n":{"anyOf":[{"type":"string","minLength":2},{"type":"null"},{"type":"object",
    "properties":{"l":{"$ref":"#/$defs/n"},"r":{"$ref":"#/$defs/n"}},"required":["l"]}]}}})",
};

} // namespace

TEST_CASE("masks are what feeding the bytes of every token finds, in grammars of all kinds") {
    const auto trie = must(bitnet::token_trie::open(tiny()));
    unsigned seed = 1;
    for (const std::string_view source : grammars) {
        CAPTURE(source);
        wander(must(bitnet::grammar::gbnf(source)), trie, ++seed, 60, 3);
    }
    for (const std::string_view source : schemas) {
        CAPTURE(source);
        wander(must(bitnet::grammar::json_schema(source)), trie, ++seed, 90, 3);
    }
    wander(must(bitnet::grammar::regex("(a|b|[^c]{3,50}d){1,300}")), trie, ++seed, 60, 3);
}

TEST_CASE("golden: masks of LLaMA-3's vocabulary are what feeding the bytes of every token finds") {
    if (skip_without_golden()) {
        return;
    }
    const bitnet::tokenizer text = tokenizer_of(std::string(BITNET_TEST_DATA_DIR) + "/tokenizer/llama3-vocab.gguf");
    const auto trie = must(bitnet::token_trie::open(text));
    CHECK(trie.memory_bytes() < (std::size_t{6} << 20));
    unsigned seed = 1;
    for (const std::string_view source : {grammars[0], grammars[2]}) {
        CAPTURE(source);
        wander(must(bitnet::grammar::gbnf(source)), trie, ++seed, 24, 8);
    }
    for (const std::string_view source : schemas) {
        CAPTURE(source);
        wander(must(bitnet::grammar::json_schema(source)), trie, ++seed, 32, 8);
    }
}

TEST_CASE("towards the limit exactly those tokens are allowed after which the text still ends within it") {
    const auto trie = must(bitnet::token_trie::open(tiny()));
    std::mt19937 random(5);
    for (const std::string_view source : schemas) {
        const auto grammar = must(bitnet::grammar::json_schema(source));
        auto bytes = must(bitnet::matcher::open(grammar));
        const std::size_t least = bytes.shortest_end();
        const auto refused = bitnet::token_constraint::open(
            grammar, trie, {.limit = least - 1, .masks = 4, .matcher = {}, .forced = bitnet::forced_text::off});
        CHECK(sentence_of(refused, bitnet::errc::invalid_argument).find(std::to_string(least)) != std::string::npos);
        for (int round = 0; round < 32; ++round) {
            const std::size_t limit = least + random() % 40;
            auto constraint = must(bitnet::token_constraint::open(
                grammar, trie, {.limit = limit, .masks = 8, .matcher = {}, .forced = bitnet::forced_text::off}));
            bytes.restart();
            while (!constraint.is_done()) {
                const auto mask = constraint.allowed();
                REQUIRE_MESSAGE(mask, (mask ? std::string() : mask.error().message));
                std::size_t wrong = 0;
                std::vector<token> all;
                for (token id = 0; tiny().contains(id); ++id) {
                    wrong += round % 8 == 0 && constraint.allows(id) != mask->contains(id) ? 1u : 0u;
                    if (mask->contains(id)) {
                        all.push_back(id);
                    }
                }
                CHECK(wrong == 0);
                const token id = all[random() % all.size()];
                REQUIRE(constraint.accept(id));
                if (!tiny().is_stop(id)) {
                    REQUIRE(bytes.accept(tiny().bytes_of(id)) == tiny().bytes_of(id).size());
                }
            }
            CHECK(bytes.can_end());
            CHECK(constraint.tokens() <= limit + 1); // and a stop token
        }
    }
}

TEST_CASE("a constraint allocates nothing after open(), and says what it holds") {
    const auto trie = must(bitnet::token_trie::open(tiny()));
    const auto grammar = must(bitnet::grammar::json_schema(schemas[1]));
    auto constraint = must(bitnet::token_constraint::open(
        grammar, trie, {.limit = 200, .masks = 4, .matcher = {}, .forced = bitnet::forced_text::off}));
    const std::vector<token> text = must(tiny().encode(R"({"l":{"l":"ab","r":null},"r":"a longer text"})"));
    const std::size_t before = allocations();
    bool all = true;
    for (int round = 0; round < 3; ++round) {
        constraint.restart();
        for (const token id : text) {
            const auto mask = constraint.allowed();
            all = all && mask && mask->contains(id) && constraint.accept(id);
        }
        all = all && constraint.can_end();
    }
    const std::size_t after = allocations();
    CHECK(all);
    CHECK(after == before);
    CHECK(constraint.memory_bytes() > 0);
}

TEST_CASE("a token that is not allowed is refused, and so is what follows it") {
    const auto trie = must(bitnet::token_trie::open(tiny()));
    auto constraint = must(bitnet::token_constraint::open(must(bitnet::grammar::regex("ab")), trie));
    const std::vector<token> wrong = must(tiny().encode("x"));
    CHECK(!constraint.accept(wrong[0]));
    sentence_of(constraint.allowed(), bitnet::errc::invalid_token);
    constraint.restart();
    for (const token id : must(tiny().encode("ab"))) {
        CHECK(constraint.accept(id));
    }
    CHECK(constraint.is_done());
    for (const token id : tiny().stop_tokens()) {
        CHECK(constraint.allows(id));
    }
    CHECK(constraint.accept(tiny().stop_tokens().front()));
    sentence_of(constraint.allowed(), bitnet::errc::no_token_left);
}

TEST_CASE("a matcher goes back to its checkpoint, also where memory was made free behind it") {
    const auto grammar = must(bitnet::grammar::gbnf("root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]+"));
    bitnet::matcher_options options;
    options.items = 256;
    options.items_at_once = 32;
    options.frames = 128;
    options.links = 256;
    bitnet::matcher matcher = must(bitnet::matcher::open(grammar, options));
    REQUIRE(matcher.accept("[[1,[2") == 6);
    matcher.checkpoint();
    for (int round = 0; round < 3; ++round) {
        for (int i = 0; i < 100; ++i) {
            REQUIRE(matcher.accept(",[[3],4]") == 8);
        }
        REQUIRE(matcher.accept("]]]") == 3);
        CHECK(matcher.can_end());
        matcher.rewind();
        CHECK(matcher.shortest_end() == 3);
        CHECK(!matcher.allows("]]]]"));
        CHECK(matcher.allows("]]]"));
    }
}
