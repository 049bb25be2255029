// SPDX-License-Identifier: MIT
// forced_text: the bytes that a grammar forces, and the tokens that they are, against a search of all bytes and tokens.
#include "constrain/feeding.hpp"
#include "run/counted_allocations.hpp"

#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet_tests;
using bitnet::token;

namespace {

const bitnet::tokenizer& small() {
    static const bitnet::tokenizer opened = [] {
        const auto source = must(bitnet::byte_source::open(BITNET_TEST_MODEL));
        const auto file = must(bitnet::gguf_file::parse(source.bytes(), BITNET_TEST_MODEL));
        return must(bitnet::tokenizer::open(file));
    }();
    return opened;
}

constexpr std::string_view person = R"({"type":"object","properties":{"the name of the person":{"type":"string",
    "maxLength":9},"kind":{"enum":["once upon a time","once upon another"]},"age":{"type":"integer","minimum":10,
    "maximum":19}},"required":["the name of the person","kind","age"],"additionalProperties":false})";

std::vector<bitnet::grammar> all_grammars() {
    std::vector<bitnet::grammar> made;
    made.push_back(must(bitnet::grammar::json_schema(person)));
    made.push_back(
        must(bitnet::grammar::gbnf("root ::= \"Once upon \" (\"a\" | \"another\") \" time\" [.!]? | \"The end\"")));
    made.push_back(must(bitnet::grammar::regex("(there was a (cat|dog|catfish)\\. ){2,4}")));
    made.push_back(must(bitnet::grammar::gbnf("root ::= \"(\" root \")\" | \"little girl named \" [A-Z] [a-z]{2,5}")));
    made.push_back(must(bitnet::grammar::choices(std::array<std::string_view, 3>{"yes", "yesterday", "yes, but not"})));
    return made;
}

/// The only byte that is allowed next, by trying all.
std::optional<char> only_byte(bitnet::matcher& at) {
    std::optional<char> found;
    for (int byte = 0; byte < 256; ++byte) {
        const char one = static_cast<char>(byte);
        if (at.allows(std::string_view(&one, 1))) {
            if (found) {
                return std::nullopt;
            }
            found = one;
        }
    }
    return at.can_end() ? std::nullopt : found;
}
std::string slow_forced(const bitnet::grammar& grammar, std::string_view before) {
    auto at = must(bitnet::matcher::open(grammar));
    REQUIRE(at.accept(before) == before.size());
    std::string text;
    for (auto byte = only_byte(at); byte; byte = only_byte(at)) {
        text += *byte;
        REQUIRE(at.accept(std::string_view(&*byte, 1)) == 1);
    }
    return text;
}

/// Whether some token begins with `bytes`, is longer, and is allowed where they begin.
bool goes_on(const bitnet::grammar& grammar, const std::string& before, std::string_view bytes) {
    auto at = must(bitnet::matcher::open(grammar));
    REQUIRE(at.accept(before) == before.size());
    for (token id = 0; small().contains(id); ++id) {
        const std::string_view all = small().bytes_of(id);
        if (!small().is_special(id) && !small().is_stop(id) && all.size() > bytes.size() && all.starts_with(bytes) &&
            at.allows(all)) {
            return true;
        }
    }
    return false;
}

/// The tokens that are certain, where what is forced and was written is short.
std::vector<token> slow_tokens(const bitnet::grammar& grammar, std::string_view before, std::span<const token> recent) {
    const std::string forced = slow_forced(grammar, before);
    std::string context;
    for (std::size_t i = recent.size(); i-- > 0 && recent.size() - i <= 4;) {
        const std::string_view bytes = small().bytes_of(recent[i]);
        if (context.size() + bytes.size() > 16) {
            break;
        }
        context.insert(0, bytes);
    }
    std::vector<token> all = must(small().encode(context + forced, {.follows_text = true}));
    std::size_t at = 0;
    std::size_t first = 0;
    while (at < context.size()) {
        at += small().bytes_of(all[first++]).size();
    }
    if (at != context.size()) {
        all = must(small().encode(forced, {.follows_text = true}));
        first = 0;
    }
    all.erase(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(first));
    std::string done(before);
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (i + 4 >= all.size() &&
            goes_on(grammar, done, std::string_view(forced).substr(done.size() - before.size()))) {
            all.resize(i);
        } else {
            done += small().bytes_of(all[i]);
        }
    }
    return all;
}

} // namespace

TEST_CASE("the bytes that a matcher says are forced are those that no other byte can take the place of") {
    std::mt19937 random(7);
    std::size_t forced_bytes = 0;
    for (const bitnet::grammar& grammar : all_grammars()) {
        for (int round = 0; round < 3; ++round) {
            auto at = must(bitnet::matcher::open(grammar));
            std::string text;
            while (!at.is_done() && text.size() < 60) {
                std::array<char, 16> room{};
                const std::size_t count = at.forced(room);
                const std::string expected = slow_forced(grammar, text);
                CHECK(std::string_view(room.data(), count) == std::string_view(expected).substr(0, room.size()));
                forced_bytes += count;
                std::vector<char> allowed;
                for (int byte = 0; byte < 256; ++byte) {
                    const char one = static_cast<char>(byte);
                    if (at.allows(std::string_view(&one, 1))) {
                        allowed.push_back(one);
                    }
                }
                text += allowed[random() % allowed.size()];
                REQUIRE(at.accept(std::string_view(text).substr(text.size() - 1)) == 1);
            }
        }
    }
    CHECK(forced_bytes > 100);
}

TEST_CASE("forced tokens are the tokenizer's, as far as no token that spans the end of forced text is allowed") {
    const auto trie = must(bitnet::token_trie::open(small()));
    std::mt19937 random(11);
    std::size_t forced = 0;
    std::size_t left_open = 0;
    for (const bitnet::grammar& grammar : all_grammars()) {
        auto constraint = must(bitnet::token_constraint::open(grammar, trie));
        for (int round = 0; round < 4; ++round) {
            constraint.restart();
            std::string text;
            std::vector<token> written;
            while (!constraint.is_done() && text.size() < 150) {
                const auto found = constraint.forced();
                const std::string bytes = slow_forced(grammar, text);
                if (bytes.size() < 48) {
                    const std::vector<token> expected = slow_tokens(grammar, text, written);
                    CHECK(std::vector<token>(found.begin(), found.end()) == expected);
                    left_open += !bytes.empty() && expected.empty() ? 1u : 0u;
                }
                const auto mask = must(constraint.allowed());
                token id = 0;
                if (!found.empty()) {
                    id = found.front();
                    CHECK(mask.count == 1);
                    CHECK(mask.contains(id));
                    ++forced;
                } else {
                    std::size_t number = random() % mask.count;
                    while (!mask.contains(id) || number-- != 0) {
                        ++id;
                    }
                }
                REQUIRE(constraint.allows(id));
                REQUIRE(constraint.accept(id));
                if (!small().is_stop(id)) {
                    text += small().bytes_of(id);
                    written.push_back(id);
                }
            }
            CHECK((constraint.is_done() || text.size() >= 150));
        }
    }
    CHECK(forced > 50);
    CHECK(left_open > 5);
}

TEST_CASE("a text without any choice is the tokens that encoding it gives, also where it is long") {
    const auto trie = must(bitnet::token_trie::open(small()));
    std::string text;
    for (int i = 0; i < 6; ++i) {
        text +=
            "Once upon a time, there was a little girl named Lily, who was " + std::to_string(100 + i) + " years old. ";
    }
    const auto grammar = must(bitnet::grammar::choices(std::array<std::string_view, 1>{text}));
    auto constraint = must(bitnet::token_constraint::open(grammar, trie));
    std::vector<token> written;
    const std::size_t before = allocations();
    std::size_t together = 0;
    written.reserve(text.size());
    const std::size_t reserved = allocations();
    while (!constraint.is_done() && !constraint.forced().empty()) {
        together = (std::max)(together, constraint.forced().size());
        written.push_back(constraint.forced().front());
        if (!constraint.accept(written.back())) {
            break;
        }
    }
    CHECK(allocations() == reserved);
    CHECK(reserved > before);
    CHECK(constraint.is_done());
    CHECK(together >= 8);
    CHECK(written == must(small().encode(text)));
}

TEST_CASE("without forced text, and behind tokens that are not the forced ones, masks are the grammar's") {
    const auto trie = must(bitnet::token_trie::open(small()));
    const auto grammar = must(bitnet::grammar::regex(" was a cat"));
    bitnet::constraint_options plain;
    plain.forced = bitnet::forced_text::off;
    auto off = must(bitnet::token_constraint::open(grammar, trie, plain));
    auto on = must(bitnet::token_constraint::open(grammar, trie));
    CHECK(off.forced().empty());
    CHECK(must(off.allowed()).count > 1);
    CHECK(must(on.allowed()).count == 1);
    const std::vector<token> space = must(small().encode(" "));
    REQUIRE(space.size() == 1);
    REQUIRE(on.forced().front() != space[0]);
    REQUIRE(on.accept(space[0])); // allowed by the grammar, and not what the tokenizer would write
    std::string rest;
    while (!on.forced().empty()) {
        rest += small().bytes_of(on.forced().front());
        REQUIRE(on.accept(on.forced().front()));
    }
    CHECK(rest == "was a cat");
}

TEST_CASE("towards the limit a text with forced tokens still ends within it") {
    const auto trie = must(bitnet::token_trie::open(small()));
    std::mt19937 random(3);
    for (const bitnet::grammar& grammar : all_grammars()) {
        auto bytes = must(bitnet::matcher::open(grammar));
        const std::size_t least = bytes.shortest_end();
        auto constraint = must(bitnet::token_constraint::open(grammar, trie));
        for (std::size_t more = 0; more < 12; ++more) {
            REQUIRE(constraint.restart(least + more));
            bytes.restart();
            while (!constraint.is_done()) {
                const auto mask = must(constraint.allowed());
                std::size_t number = random() % mask.count;
                token id = 0;
                while (!mask.contains(id) || number-- != 0) {
                    ++id;
                }
                REQUIRE(constraint.accept(id));
                if (!small().is_stop(id)) {
                    REQUIRE(bytes.accept(small().bytes_of(id)) == small().bytes_of(id).size());
                }
            }
            CHECK(bytes.can_end());
            CHECK(constraint.tokens() <= least + more + 1); // and a stop token
        }
    }
}

TEST_CASE("behind bytes that were taken back those tokens are allowed that begin them, or go on as the grammar says") {
    const auto trie = must(bitnet::token_trie::open(small()));
    const auto grammar = must(bitnet::grammar::regex("[a-z]{1,5}\\."));
    auto constraint = must(bitnet::token_constraint::open(grammar, trie));
    auto bytes = must(bitnet::matcher::open(grammar));
    for (const std::optional<std::size_t> limit : {std::optional<std::size_t>(), std::optional<std::size_t>(5)}) {
        const std::string missing = " li";
        REQUIRE(constraint.restart_behind(missing, limit));
        const auto mask = must(constraint.allowed());
        std::size_t wrong = 0;
        std::size_t beyond = 0;
        for (token id = 0; small().contains(id); ++id) {
            const std::string_view one = small().bytes_of(id);
            const bool is_text = !small().is_special(id) && !small().is_stop(id) && !one.empty();
            const bool begins = is_text && std::string_view(missing).starts_with(one);
            const std::string_view rest = one.substr((std::min)(one.size(), missing.size()));
            bool is_right = begins || (is_text && one.starts_with(missing) && bytes.allows(rest));
            if (is_right && limit) {
                const std::size_t left = begins ? missing.size() - one.size() : 0;
                is_right = left + (rest.empty() ? 2 : bytes.shortest_end_after(rest)) <= 4;
            }
            wrong += is_right != mask.contains(id) ? 1u : 0u;
            wrong += is_right != constraint.allows(id) ? 1u : 0u;
            beyond += is_right && !begins ? 1u : 0u;
        }
        CHECK(wrong == 0);
        CHECK(beyond > 3);
        CHECK(!constraint.can_end());
        for (const token id : must(small().encode(" little", {.follows_text = true}))) {
            REQUIRE(constraint.accept(id));
        }
        CHECK(!constraint.can_end());
        CHECK(constraint.allows(must(small().encode("."))[0]));
    }
    sentence_of(constraint.restart_behind(" li", 4), bitnet::errc::invalid_argument);
    constraint.restart();
    CHECK(!constraint.allows(must(small().encode(" "))[0]));
}
