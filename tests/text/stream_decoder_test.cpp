// SPDX-License-Identifier: MIT
// stream_decoder: whole code points, every byte, no byte held back for longer than needed.
#include <bitnet/core/utf8.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/stream_decoder.hpp>

#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

static_assert(!std::is_constructible_v<stream_decoder, tokenizer&&>, "it would dangle");

namespace {
tokenizer open_small() {
    const auto file = small_vocabulary().file();
    REQUIRE(file);
    auto opened = tokenizer::open(file->file);
    REQUIRE(opened);
    return *std::move(opened);
}
token byte(unsigned char b) { return b; }
} // namespace

TEST_CASE("a code point is returned with its last byte") {
    const tokenizer t = open_small();
    stream_decoder decoder(t);
    CHECK(decoder.feed('a') == "a");
    CHECK(decoder.feed(byte(0xf0)).empty());
    CHECK(decoder.feed(byte(0x9f)).empty());
    CHECK(decoder.feed(byte(0x98)).empty());
    CHECK(decoder.feed(byte(0x80)) == "\xf0\x9f\x98\x80");
    CHECK(decoder.flush().empty());
}

TEST_CASE("control tokens are left out, wherever they stand, unless they are asked for") {
    const tokenizer t = open_small();
    std::vector<token> tokens{t.bos().value(), 'a', t.find_special("<|eot_id|>").value(), byte(0xc3)};
    tokens.insert(tokens.end(), {t.find_special("<|start_header_id|>").value(), byte(0xa9), t.eos().value()});
    const auto text_of = [&](stream_decoder_options options) {
        stream_decoder decoder(t, options);
        std::string text;
        for (const token id : tokens) {
            text += decoder.feed(id);
        }
        return text.append(decoder.flush());
    };
    CHECK(text_of({}) == "a\u00e9");
    CHECK(text_of({.show_special = true}) == t.decode(tokens));
    CHECK(t.decode(tokens) == "<|begin_of_text|>a<|eot_id|>\xc3<|start_header_id|>\xa9<|end_of_text|>");
}

TEST_CASE("a token that ends answers is left out even if its type is that of text") {
    small_vocabulary keys;
    const auto end = static_cast<token>(keys.id_of("xyzzy"));
    keys.ids.emplace_back("eot", keys.id_of("xyzzy"));
    const auto file = keys.file();
    REQUIRE(file);
    const auto t = tokenizer::open(file->file);
    REQUIRE_MESSAGE(t, (t ? "" : t.error().message));
    REQUIRE_FALSE(t->is_special(end));
    CHECK(stream_decoder(*t).feed(end).empty());
    CHECK(stream_decoder(*t, {.show_special = true}).feed(end) == "xyzzy");
}

TEST_CASE("bytes that are not UTF-8 are returned unchanged, as soon as that is certain") {
    const tokenizer t = open_small();
    stream_decoder decoder(t);
    CHECK(decoder.feed(byte(0xff)) == "\xff");
    CHECK(decoder.feed(byte(0x80)) == "\x80");
    CHECK(decoder.feed(byte(0xe2)).empty());
    CHECK(decoder.feed('a') == "\xe2"
                               "a");
    CHECK(decoder.feed(byte(0xe2)).empty());
    CHECK(decoder.feed(byte(0x82)).empty());
    CHECK(decoder.flush() == "\xe2\x82");
    CHECK(decoder.flush().empty());
    CHECK(decoder.feed('b') == "b");
}

TEST_CASE("a token outside the vocabulary has no text and does not disturb the rest") {
    const tokenizer t = open_small();
    stream_decoder decoder(t);
    CHECK(decoder.feed(byte(0xc3)).empty());
    CHECK(decoder.feed(-1).empty());
    CHECK(decoder.feed(1000000).empty());
    CHECK(decoder.feed(byte(0xa9)) == "\xc3\xa9");
}

TEST_CASE("random tokens: all the text is that of decode, and at most three bytes are held back") {
    const tokenizer t = open_small();
    std::uint64_t state = 9;
    std::size_t differing = 0;
    for (int round = 0; round < 500; ++round) {
        std::vector<token> tokens;
        for (int i = 0; i < 60; ++i) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            // Half of them among the bytes of multi-byte characters.
            const auto high = static_cast<token>(state >> 33);
            tokens.push_back((state >> 32 & 1) != 0 ? 0x80 + high % 0x80 : high % 279);
        }
        stream_decoder decoder(t, {.show_special = true});
        std::string text;
        std::size_t fed = 0;
        for (const token id : tokens) {
            fed += t.bytes_of(id).size();
            text += decoder.feed(id);
            differing += fed - text.size() > 3 ? 1 : 0;
        }
        text += decoder.flush();
        differing += text != t.decode(tokens) ? 1 : 0;
    }
    CHECK(differing == 0);
}

TEST_CASE("a token of any length completes a code point of the tokens before it") {
    for (const std::size_t letters : {250u, 251u, 252u, 253u, 1000u}) {
        CAPTURE(letters);
        small_vocabulary keys;
        const auto id = static_cast<token>(keys.tokens.size());
        keys.add_token(small_vocabulary::spelling_of(0x98) + small_vocabulary::spelling_of(0x80) +
                           std::string(letters, 'x') + small_vocabulary::spelling_of(0xe2),
                       1);
        const auto file = keys.file();
        REQUIRE(file);
        const auto t = tokenizer::open(file->file);
        REQUIRE_MESSAGE(t, (t ? "" : t.error().message));
        stream_decoder decoder(*t);
        CHECK(decoder.feed(byte(0xf0)).empty());
        CHECK(decoder.feed(byte(0x9f)).empty());
        CHECK(decoder.feed(id) == "\xf0\x9f\x98\x80" + std::string(letters, 'x'));
        CHECK(decoder.flush() == "\xe2");
    }
}

TEST_CASE("valid text, one byte per token, is returned at once and in whole code points") {
    const tokenizer t = open_small();
    stream_decoder decoder(t);
    std::size_t differing = 0;
    for (char32_t c = 0; c <= 0x10ffff; c += c == 0xd7ff ? 0x801 : 1) {
        std::string expected;
        append_utf8(expected, c);
        for (std::size_t i = 0; i < expected.size(); ++i) {
            const auto piece = decoder.feed(byte(static_cast<unsigned char>(expected[i])));
            differing += piece != (i + 1 == expected.size() ? expected : "") ? 1 : 0;
        }
    }
    CHECK(differing == 0);
}
