// SPDX-License-Identifier: MIT
// Added tokens that are words of the model, in every form that files have them; vocabularies that lack bytes.
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/text/byte_alphabet.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

using ids = std::vector<token>;

tokenizer opened(const small_vocabulary& keys) {
    const auto file = keys.file();
    REQUIRE(file);
    auto made = tokenizer::open(file->file);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

errc refusal(const small_vocabulary& keys) {
    const auto file = keys.file();
    REQUIRE(file);
    const auto made = tokenizer::open(file->file);
    return made ? errc{} : made.error().code;
}

const std::vector<std::string>& texts() {
    static const std::vector<std::string> all{"a\nb",         "\n",       "\n\n",         "a\n\nb\n", " \n ",
                                              "a \n\n\n\t b", "a\tb\t\t", "x\r\n\r\ny\n", "hello\n",  "\n hello\n\n ",
                                              "!\n\n?",       "\xc4\x8a"};
    return all;
}

void check_same(const tokenizer& a, const tokenizer& b) {
    for (const std::string& text : texts()) {
        CAPTURE(text);
        const auto expected = b.encode(text);
        const auto encoded = a.encode(text);
        REQUIRE(expected);
        REQUIRE_MESSAGE(encoded, (encoded ? "" : encoded.error().message));
        CHECK(*encoded == *expected);
        CHECK(a.decode(*encoded) == text);
        CHECK(*a.encode(text, {.parse_special = true}) == *expected);
    }
}

/// A note that holds `part`.
bool has_note(const tokenizer& text, std::string_view part) {
    for (const std::string& note : text.notes()) {
        if (note.find(part) != std::string::npos) {
            return true;
        }
    }
    return false;
}

constexpr const char* line_feed = "\u010a";
constexpr const char* tab = "\u0109";

} // namespace

TEST_CASE("a line feed that is an added token is a byte like others, however the file spells and types it") {
    for (const std::string pre : {"falcon3", "llama-bpe", "gpt-2"}) {
        small_vocabulary plain;
        plain.pre = pre;
        const tokenizer expected = opened(plain);
        for (const std::int32_t kind : {3, 4}) {
            for (const bool decoded : {false, true}) {
                small_vocabulary keys = plain;
                keys.tokens['\n'] = decoded ? "\n" : line_feed;
                keys.tokens['\t'] = decoded ? "\t" : tab;
                (*keys.kinds)['\n'] = (*keys.kinds)['\t'] = kind;
                const tokenizer t = opened(keys);
                check_same(t, expected);
                CHECK(*t.encode("a\nb") == ids{'a', '\n', 'b'});
                CHECK(t.bytes_of('\n') == "\n");
                CHECK(!t.is_special('\n'));
                REQUIRE(t.notes().size() == 1);
                CHECK(t.notes()[0].starts_with("2 added tokens, such as 9 ('\\x09'), are text"));
            }
        }
    }
}

TEST_CASE("merges may name an added line feed, and make words of it") {
    small_vocabulary plain;
    plain.add_merge("\u010a \u010a");
    plain.add_merge("\u0120 \u010a");
    plain.add_merge("\u0120\u010a \u010a\u010a");
    const tokenizer expected = opened(plain);
    CHECK(expected.encode("a\n\nb")->size() == 3);
    for (const std::int32_t kind : {1, 3, 4}) { // of the words; the line feed itself is added
        for (const bool decoded : {false, true}) {
            small_vocabulary keys = plain;
            keys.tokens['\n'] = decoded ? "\n" : line_feed;
            (*keys.kinds)['\n'] = kind == 1 ? 4 : kind;
            for (std::size_t id = 279; kind != 1 && id < keys.tokens.size(); ++id) {
                (*keys.kinds)[id] = kind;
                if (decoded) {
                    std::string bytes(keys.tokens[id].size(), '\0');
                    bytes.resize(*byte_alphabet::decode(keys.tokens[id], bytes.data()));
                    keys.tokens[id] = bytes;
                }
            }
            check_same(opened(keys), expected);
        }
    }
}

TEST_CASE("merges of an added line feed that make no token are passed over with a note") {
    const tokenizer expected = opened({});
    for (const std::string text : {"\u010a \u010a", "\u010a h", "h \u010a\u010a"}) {
        for (const bool decoded : {false, true}) {
            small_vocabulary keys;
            keys.tokens['\n'] = decoded ? "\n" : line_feed;
            (*keys.kinds)['\n'] = 4;
            keys.merges->push_back(text);
            const tokenizer t = opened(keys);
            check_same(t, expected);
            CHECK(has_note(t, "1 of 13 merges, such as '"));
        }
    }
    small_vocabulary other; // as ever if no added token is the reason
    other.merges->push_back("h a");
    CHECK(refusal(other) == errc::bad_vocabulary);
}

TEST_CASE("an added token beside a normal one of the same bytes is found before merging, as it is spelled") {
    small_vocabulary keys;
    keys.add_token("\n", 4);
    keys.add_token("  ", 4);
    const tokenizer t = opened(keys);
    CHECK(*t.encode("a\nb  c") == ids{'a', 279, 'b', 280, 'c'});
    CHECK(t.decode(ids{279, 280}) == "\n  ");
    CHECK(t.notes().empty());
}

TEST_CASE("added tokens that can be read as they are spelled are read so") {
    small_vocabulary keys;
    keys.add_token("\u00e9t\u00e9", 4);
    keys.add_token("\u010desky", 4);
    keys.add_token("<think>", 4);
    keys.merges->push_back("<thin k>"); // names no token but <think>
    keys.add_token("<thin", 1);
    keys.add_token("k>", 1);
    const tokenizer t = opened(keys);
    CHECK(*t.encode("\u00e9t\u00e9\u010desky<think>") == ids{279, 280, 281});
    CHECK(t.decode(ids{279, 280, 281}) == "\u00e9t\u00e9\u010desky<think>");
    CHECK(has_note(t, "1 of 13 merges, such as '<thin k>', name added tokens"));
}

TEST_CASE(
    "a printable character that is a user-defined token stays one, and one that is a control token is text, too") {
    small_vocabulary keys;
    (*keys.kinds)['h'] = 4;
    (*keys.kinds)['e'] = 3;
    const tokenizer t = opened(keys);
    CHECK(*t.encode("hello") == ids{'h', 'e', keys.token_of("ll"), 'o'});
    CHECK(t.decode(ids{'h', 'e'}) == "he");
    CHECK(!t.is_special('e'));
}

TEST_CASE("text never becomes a control token, although merges name it") {
    small_vocabulary keys;
    keys.add_token("<|eot_id", 1);
    keys.add_token("|>", 1);
    keys.merges->push_back("<|eot_id |>");
    const tokenizer t = opened(keys);
    const auto encoded = t.encode("<|eot_id|>");
    REQUIRE(encoded);
    for (const token id : *encoded) {
        CHECK(!t.is_special(id));
    }
}

TEST_CASE("a byte without token is refused by its number, or becomes the unknown token") {
    small_vocabulary keys;
    keys.tokens['\f'] = "feed";
    keys.tokens[0xff] = "high"; // which no text in UTF-8 holds
    const tokenizer refusing = opened(keys);
    CHECK(has_note(refusing, "have no token: 1 of them, such as 12; text with one is refused"));
    const auto refused = refusing.encode("a\fb");
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find("byte 12") != std::string::npos);
    CHECK(*refusing.encode("a\nb") == ids{'a', '\n', 'b'});

    for (const std::int32_t kind : {2, 3}) {
        small_vocabulary with_unknown = keys;
        with_unknown.add_token("<unk>", kind);
        with_unknown.ids.emplace_back("unknown", 279);
        const tokenizer t = opened(with_unknown);
        CHECK(*t.encode("a\f\fhe") == ids{'a', 279, 279, keys.token_of("he")});
        CHECK(has_note(t, "they become the unknown token"));
    }
    small_vocabulary unnamed = keys;
    unnamed.add_token("<unk>", 2);
    CHECK(*opened(unnamed).encode("\xff") == ids{279});
}

TEST_CASE("an unknown token that ends or begins texts is not put into them") {
    for (const char* role : {"eos", "bos"}) {
        small_vocabulary keys;
        keys.tokens['\f'] = "feed";
        keys.ids.emplace_back("unknown", keys.ids[role == std::string_view("bos") ? 0 : 1].second);
        CHECK(!opened(keys).encode("\f"));
    }
    small_vocabulary normal;
    normal.tokens['\f'] = "feed";
    normal.ids.emplace_back("unknown", 'a');
    CHECK(!opened(normal).encode("\f"));
}

TEST_CASE("a byte token stands in for a byte that has no other") {
    small_vocabulary keys;
    keys.tokens['\f'] = "feed";
    keys.add_token("<0x0C>", 6);
    keys.add_token("<0x61>", 6);
    const tokenizer t = opened(keys);
    CHECK(*t.encode("a\f") == ids{'a', 279});
    CHECK(t.decode(ids{279}) == "\f");
    CHECK(t.notes().empty());
}

TEST_CASE("a white space character that a file calls normal but spells as it is means itself") {
    small_vocabulary keys;
    keys.tokens['\n'] = "\n";
    keys.tokens[0x7f] = "\x7f";
    check_same(opened(keys), opened({}));
    CHECK(*opened(keys).encode("\x7f") == ids{0x7f});
    keys.tokens['\t'] = "\t\t";
    CHECK(refusal(keys) == errc::bad_vocabulary);
}

TEST_CASE("merges of a byte that has no token are passed over with a note") {
    small_vocabulary keys;
    keys.tokens['\f'] = "feed";
    keys.merges->push_back("\u010c h");
    CHECK(has_note(opened(keys), "1 of 13 merges, such as '\\xc4\\x8c h', name added tokens, or bytes without token"));
}

TEST_CASE("added tokens beyond the rows of the embedding are left out with a note, words of the model are not") {
    static const std::vector<float> embedding(279);
    const auto with = [](std::int32_t kind) {
        small_vocabulary keys;
        keys.more = [](gguf_writer& w) {
            const std::array<std::uint64_t, 2> dims{1, 279};
            w.add_tensor("token_embd.weight", tensor_type::f32, dims, std::as_bytes(std::span(embedding)));
        };
        keys.add_token("<image>", kind);
        keys.add_token("<sound>", kind);
        return keys;
    };
    for (const std::int32_t kind : {3, 4}) {
        const tokenizer t = opened(with(kind));
        CHECK(t.vocabulary_size() == 279);
        CHECK(has_note(t, "2 added tokens have ids beyond the 279 rows of the embedding: they are left out"));
        CHECK(t.encode("<image>", {.parse_special = true})->size() == 7);
    }
    CHECK(opened(with(1)).vocabulary_size() == 281);
    small_vocabulary needed = with(3);
    needed.ids.emplace_back("eot", 279);
    CHECK(refusal(needed) == errc::bad_vocabulary);
}
