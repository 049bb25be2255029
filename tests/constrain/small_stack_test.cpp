// SPDX-License-Identifier: MIT
// Hostile grammars on a thread with a small stack: they end in an error or work, and so do their masks.
#include "constrain/feeding.hpp"

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
#include <iterator>
#include <string>
#include <string_view>

#if defined(__linux__)
#include <pthread.h>

using namespace bitnet_tests;

namespace {

/// Runs work() on a thread of its own with so much stack. \return whether there was one
template <class Work> bool run_with_stack(std::size_t bytes, Work& work) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread{};
    const auto call = [](void* of) -> void* {
        (*static_cast<Work*>(of))();
        return nullptr;
    };
    const bool is_there =
        pthread_attr_setstacksize(&attributes, bytes) == 0 && pthread_create(&thread, &attributes, call, &work) == 0;
    pthread_attr_destroy(&attributes);
    return is_there && pthread_join(thread, nullptr) == 0;
}

std::string repeated(std::string_view text, int times) {
    std::string made;
    for (int i = 0; i < times; ++i) {
        made += text;
    }
    return made;
}

enum class kind { gbnf, regex, schema };
struct hostile {
    kind of;
    std::string source;
    std::string begun; ///< of a text, behind which masks are asked for
};

/// Deep, long, wide, ambiguous, left-recursive: none of it may recurse with the input.
const hostile (&hostile_inputs())[12] {
    static const hostile all[] = {
        {kind::gbnf, "root ::= " + repeated("(", 60000), ""},
        {kind::gbnf, "root ::= " + repeated("(", 900) + "\"a\"" + repeated(")", 900), ""},
        {kind::gbnf, "root ::= root root | root \"a\" | \"a\" | [a-z ]+", "aaaaaaaa"},
        {kind::gbnf, "root ::= (\"a\" | \"aa\" | [a-z]{1,3}){1,100000}", "aaaa"},
        {kind::gbnf, "root ::= \"(\" root \")\" | root \"+\" root | [0-9]+", repeated("(", 3000) + "1+1"},
        {kind::gbnf, "root ::= ((((\"a\"*)*)*)*)* \"b\"", "aaaa"},
        {kind::regex, repeated("(", 60000), ""},
        {kind::regex, repeated("(a|", 900) + "b" + repeated(")", 900), "a"},
        {kind::regex, "((a{1,1000}){1,1000}){1,1000}", "aaa"},
        {kind::schema, repeated(R"({"items":)", 50000), ""},
        {kind::schema, repeated(R"({"allOf":[)", 200) + "true" + repeated("]}", 200), "[1,"},
        {kind::schema,
         R"({"$ref":"#/$defs/a","$defs":{"a":{"anyOf":[{"$ref":"#/$defs/b"},{"type":"array","items":{"$ref":
            "#/$defs/a"}}]},"b":{"anyOf":[{"$ref":"#/$defs/a"},{"type":"string"}]}}})",
         repeated("[", 3000)},
    };
    return all;
}

bitnet::result<bitnet::grammar> opened(const hostile& one) {
    return one.of == kind::gbnf    ? bitnet::grammar::gbnf(one.source)
           : one.of == kind::regex ? bitnet::grammar::regex(one.source)
                                   : bitnet::grammar::json_schema(one.source);
}

} // namespace

TEST_CASE("hostile grammars and their masks end in an error or work on a stack of 256 KiB") {
    const auto source = must(bitnet::byte_source::open(BITNET_TEST_MODEL));
    const auto file = must(bitnet::gguf_file::parse(source.bytes(), BITNET_TEST_MODEL));
    const auto text = must(bitnet::tokenizer::open(file));
    const auto trie = must(bitnet::token_trie::open(text));
    std::size_t refused = 0;
    std::size_t masks = 0;
    std::size_t beyond = 0; // where a mask, or what is begun, has more ways of reading than there may be
    std::size_t wrong = 0;
    auto work = [&] {
        for (const hostile& one : hostile_inputs()) {
            const auto grammar = opened(one);
            if (!grammar) {
                ++refused;
                wrong += grammar.error().message.size() > 1000 ? 1u : 0u;
                continue;
            }
            auto constraint = bitnet::token_constraint::open(
                *grammar, trie, {.limit = {}, .masks = 4, .matcher = {}, .forced = bitnet::forced_text::off});
            if (!constraint) {
                ++beyond;
                wrong += constraint.error().code != bitnet::errc::grammar_budget ? 1u : 0u;
                continue;
            }
            bool is_allowed = true;
            for (std::size_t at = 0; at < one.begun.size() && is_allowed; ++at) {
                const auto byte = text.encode(one.begun.substr(at, 1));
                for (std::size_t i = 0; byte && i < byte->size(); ++i) {
                    is_allowed = is_allowed && constraint->accept((*byte)[i]);
                }
            }
            const auto mask = constraint->allowed();
            masks += mask ? 1u : 0u;
            beyond += !mask && mask.error().code == bitnet::errc::grammar_budget ? 1u : 0u;
            wrong += !mask && mask.error().code != bitnet::errc::grammar_budget ? 1u : 0u;
        }
    };
    REQUIRE(run_with_stack(std::size_t{256} << 10, work));
    CHECK(wrong == 0);
    CHECK(refused >= 3);
    CHECK(masks >= 6);
    CHECK(refused + masks + beyond == std::size(hostile_inputs()));
}
#endif
