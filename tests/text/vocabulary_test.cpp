// SPDX-License-Identifier: MIT
// Everything that a file can do wrong with a vocabulary is refused with its place and both numbers.
#include <bitnet/text/merge_list.hpp>
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
struct refusal {
    const char* name;
    std::function<void(small_vocabulary&)> spoil;
    errc code;
    std::vector<std::string> parts; ///< of the sentence
};

using v = small_vocabulary&;
constexpr std::array<std::int32_t, 2> two_numbers{1, 2};

void numbers_as(small_vocabulary& spoiled, const char* key) {
    spoiled.more = [key](gguf_writer& w) { w.add_array(key, std::span<const std::int32_t>(two_numbers)); };
}

const std::vector<refusal>& refusals() {
    static const std::vector<refusal> all{
        {"no model", [](v s) { s.model.reset(); }, errc::missing_key, {"tokenizer.ggml.model"}},
        {"model of a wrong type",
         [](v s) {
             s.model.reset();
             s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.model", 7); };
         },
         errc::wrong_type,
         {"tokenizer.ggml.model", "i32", "string"}},
        {"WordPiece", [](v s) { s.model = "bert"; }, errc::unsupported_tokenizer, {"'bert'", "gpt2", "llama"}},
        {"unknown pre-tokenizer",
         [](v s) { s.pre = "tekken"; },
         errc::unknown_pre_tokenizer,
         {"'tekken'", "llama-bpe"}},
        {"no pre-tokenizer and no family",
         [](v s) {
             s.pre.reset();
             s.tokens[s.id_of("<|eot_id|>")] = "<|other|>";
         },
         errc::unknown_pre_tokenizer,
         {"tokenizer.ggml.pre is missing", "279 tokens", "llama-bpe"}},
        {"no tokens", [](v s) { s.tokens.clear(); }, errc::missing_key, {"tokenizer.ggml.tokens"}},
        {"tokens that are numbers",
         [](v s) {
             s.tokens.clear();
             numbers_as(s, "tokenizer.ggml.tokens");
         },
         errc::bad_vocabulary,
         {"tokenizer.ggml.tokens", "array of i32", "array of string"}},
        {"tokens that are no array",
         [](v s) {
             s.tokens.clear();
             s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.tokens", "a"); };
         },
         errc::bad_vocabulary,
         {"tokenizer.ggml.tokens", "a string", "array of string"}},
        {"zero tokens",
         [](v s) {
             s.tokens.clear();
             s.more = [](gguf_writer& w) { w.add_strings("tokenizer.ggml.tokens", std::vector<std::string>{}); };
         },
         errc::bad_vocabulary,
         {"0 tokens"}},
        {"an empty token", [](v s) { s.tokens[260] = ""; }, errc::bad_vocabulary, {"tokens[260]", "empty"}},
        {"an empty control token", [](v s) { s.tokens[270] = ""; }, errc::bad_vocabulary, {"tokens[270]", "empty"}},
        {"a huge token",
         [](v s) { s.tokens[268] = std::string(1025, 'x'); },
         errc::bad_vocabulary,
         {"tokens[268]", "1025", "1024"}},
        {"a huge control token",
         [](v s) { s.tokens[270] = std::string(70000, 'x'); },
         errc::bad_vocabulary,
         {"tokens[270]", "70000", "1024"}},
        {"a token twice",
         [](v s) { s.tokens[268] = "hell"; },
         errc::bad_vocabulary,
         {"tokens[268]", "'hell'", "token 258"}},
        {"a byte twice", [](v s) { s.tokens[268] = "A"; }, errc::bad_vocabulary, {"tokens[268]", "token 65"}},
        {"a control token twice",
         [](v s) { s.tokens[274] = "<|eot_id|>"; },
         errc::bad_vocabulary,
         {"tokens[278]", "token 274"}},
        {"a control token that is a normal one",
         [](v s) { s.tokens[270] = "xyzzy"; },
         errc::bad_vocabulary,
         {"tokens[270]", "token 268"}},
        {"a token that is not in the byte alphabet",
         [](v s) { s.tokens[268] = "two words"; },
         errc::bad_vocabulary,
         {"tokens[268]", "'two words'", "byte alphabet"}},
        {"a token that is not UTF-8",
         [](v s) { s.tokens[268] = "\xff"; },
         errc::bad_vocabulary,
         {"tokens[268]", "\\xff"}},
        {"kinds of a wrong type",
         [](v s) {
             s.kinds.reset();
             s.more = [](gguf_writer& w) {
                 w.add_array("tokenizer.ggml.token_type", std::span<const float>(std::vector<float>(279)));
             };
         },
         errc::bad_vocabulary,
         {"tokenizer.ggml.token_type", "array of f32", "array of i32"}},
        {"kinds as bools",
         [](v s) {
             s.kinds.reset();
             s.more = [](gguf_writer& w) {
                 constexpr std::array<bool, 3> bools{true, true, true};
                 w.add_array("tokenizer.ggml.token_type", std::span<const bool>(bools));
             };
         },
         errc::bad_vocabulary,
         {"array of bool"}},
        {"an unsigned kind that is too large",
         [](v s) {
             s.kinds.reset();
             s.more = [](gguf_writer& w) {
                 const std::vector<std::uint64_t> large(279, ~std::uint64_t{0} - 1);
                 w.add_array("tokenizer.ggml.token_type", std::span<const std::uint64_t>(large));
             };
         },
         errc::bad_vocabulary,
         {"token_type[0]", "1 to 6"}},
        {"too few kinds", [](v s) { s.kinds->pop_back(); }, errc::bad_vocabulary, {"token_type", "278", "279"}},
        {"too many kinds", [](v s) { s.kinds->push_back(1); }, errc::bad_vocabulary, {"token_type", "280", "279"}},
        {"kind 0", [](v s) { (*s.kinds)[5] = 0; }, errc::bad_vocabulary, {"token_type[5]", "is 0"}},
        {"kind 7", [](v s) { (*s.kinds)[5] = 7; }, errc::bad_vocabulary, {"token_type[5]", "is 7"}},
        {"kind -1", [](v s) { (*s.kinds)[278] = -1; }, errc::bad_vocabulary, {"token_type[278]", "is -1"}},
        {"a byte token in small letters",
         [](v s) {
             s.tokens[270] = "<0xab>";
             (*s.kinds)[270] = 6;
         },
         errc::bad_vocabulary,
         {"tokens[270]", "<0xab>", "<0xHH>"}},
        {"a byte token of three digits",
         [](v s) {
             s.tokens[270] = "<0x123>";
             (*s.kinds)[270] = 6;
         },
         errc::bad_vocabulary,
         {"tokens[270]", "<0xHH>"}},
        {"a byte token without bracket",
         [](v s) {
             s.tokens[270] = "<0x12)";
             (*s.kinds)[270] = 6;
         },
         errc::bad_vocabulary,
         {"tokens[270]", "<0xHH>"}},
        {"scores of a wrong type",
         [](v s) {
             s.scores.reset();
             numbers_as(s, "tokenizer.ggml.scores");
         },
         errc::bad_vocabulary,
         {"tokenizer.ggml.scores", "array of i32", "array of f32"}},
        {"too few scores", [](v s) { s.scores->pop_back(); }, errc::bad_vocabulary, {"scores", "278", "279"}},
        {"no merges", [](v s) { s.merges.reset(); }, errc::missing_key, {"tokenizer.ggml.merges"}},
        {"merges that are numbers",
         [](v s) {
             s.merges.reset();
             numbers_as(s, "tokenizer.ggml.merges");
         },
         errc::bad_vocabulary,
         {"tokenizer.ggml.merges", "array of i32", "array of string"}},
        {"a merge without space",
         [](v s) { (*s.merges)[3] = "hello"; },
         errc::bad_vocabulary,
         {"merges[3]", "'hello'"}},
        {"an empty merge", [](v s) { (*s.merges)[3] = ""; }, errc::bad_vocabulary, {"merges[3]"}},
        {"a merge with an empty half", [](v s) { (*s.merges)[3] = " o"; }, errc::bad_vocabulary, {"merges[3]", "''"}},
        {"a merge of three", [](v s) { (*s.merges)[3] = "h e l"; }, errc::bad_vocabulary, {"merges[3]", "'e l'"}},
        {"a merge whose left half is no token",
         [](v s) { (*s.merges)[3] = "hel o"; },
         errc::bad_vocabulary,
         {"merges[3]", "'hel'", "279 tokens"}},
        {"a merge whose right half is no token",
         [](v s) { (*s.merges)[3] = "o hel"; },
         errc::bad_vocabulary,
         {"merges[3]", "'hel'"}},
        {"a merge whose whole is no token",
         [](v s) { (*s.merges)[3] = "o h"; },
         errc::bad_vocabulary,
         {"merges[3]", "'oh'"}},
        {"a merge of a control token",
         [](v s) { (*s.merges)[3] = "<|eot_id|> h"; },
         errc::bad_vocabulary,
         {"merges[3]", "<|eot_id|>"}},
        {"a huge merge",
         [](v s) { (*s.merges)[3] = std::string(5000, 'a') + " a"; },
         errc::bad_vocabulary,
         {"merges[3]"}},
        {"a merge twice",
         [](v s) { s.merges->push_back("l l"); },
         errc::bad_vocabulary,
         {"merges[12]", "'l l'", "the same as element 1"}},
        {"bos outside", [](v s) { s.ids[0].second = 279; }, errc::bad_vocabulary, {"bos_token_id", "279"}},
        {"eos outside",
         [](v s) { s.ids[1].second = 4294967295u; },
         errc::bad_vocabulary,
         {"eos_token_id", "4294967295", "279 tokens"}},
        {"a negative id",
         [](v s) { s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.eot_token_id", -1); }; },
         errc::bad_vocabulary,
         {"eot_token_id", "-1"}},
        {"an id that is text",
         [](v s) { s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.eot_token_id", "<|eot_id|>"); }; },
         errc::wrong_type,
         {"eot_token_id", "string"}},
        {"BOS wanted, but there is none",
         [](v s) { s.ids.clear(); },
         errc::bad_vocabulary,
         {"add_bos_token", "bos_token_id"}},
        {"add_bos of a wrong type",
         [](v s) {
             s.add_bos.reset();
             s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_bos_token", 1); };
         },
         errc::wrong_type,
         {"add_bos_token", "i32", "bool"}},
    };
    return all;
}
} // namespace

TEST_CASE("the small vocabulary of these tests opens as it is") {
    const auto file = small_vocabulary().file();
    REQUIRE(file);
    const auto opened = tokenizer::open(file->file);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(opened->vocabulary_size() == 279);
}

TEST_CASE("every spoiled vocabulary is refused with its own sentence") {
    for (const refusal& r : refusals()) {
        CAPTURE(r.name);
        small_vocabulary spoiled;
        r.spoil(spoiled);
        const auto file = spoiled.file();
        REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
        const auto opened = tokenizer::open(file->file);
        CHECK(!opened);
        if (opened) {
            continue;
        }
        CAPTURE(opened.error().message);
        CHECK(opened.error().code == r.code);
        CHECK(opened.error().message.starts_with("small.gguf: "));
        for (const std::string& part : r.parts) {
            CAPTURE(part);
            CHECK(opened.error().message.find(part) != std::string::npos);
        }
    }
}

TEST_CASE("ids of tokens that no text needs may be absent, -1 or outside, and a note says so") {
    const auto with = [](auto id) {
        small_vocabulary keys;
        keys.more = [id](gguf_writer& w) { w.add("tokenizer.ggml.padding_token_id", id); };
        return keys;
    };
    for (const small_vocabulary& keys :
         {with(std::int32_t{-1}), with(std::int8_t{-1}), with(std::int64_t{-1}), with(std::uint32_t{0xffffffffu}),
          with(std::uint64_t{0} - 1), with(std::uint32_t{279}), with(std::uint16_t{300}),
          with(std::int64_t{1} << 40)}) {
        const auto file = keys.file();
        REQUIRE(file);
        const auto opened = tokenizer::open(file->file);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        REQUIRE(opened->notes().size() == 1);
        CAPTURE(opened->notes()[0]);
        CHECK(opened->notes()[0].find("tokenizer.ggml.padding_token_id") != std::string::npos);
        CHECK(opened->notes()[0].find("passed over") != std::string::npos);
        CHECK(opened->bos() == 269);
    }
    for (const small_vocabulary& keys : {with(std::int64_t{270}), with(std::uint8_t{0}), small_vocabulary()}) {
        const auto file = keys.file();
        REQUIRE(file);
        CHECK(tokenizer::open(file->file)->notes().empty());
    }
}

TEST_CASE("a BOS that no text gets may be outside the vocabulary, too") {
    small_vocabulary keys;
    keys.add_bos = false;
    keys.ids[0].second = 0xffffffffu;
    const auto file = keys.file();
    REQUIRE(file);
    const auto opened = tokenizer::open(file->file);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(!opened->bos());
    CHECK(!opened->add_bos());
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].starts_with("tokenizer.ggml.bos_token_id is 4294967295, outside the vocabulary of 279"));
}

TEST_CASE("kinds are integers of any width") {
    const auto check = [](auto kind) {
        small_vocabulary keys;
        std::vector<decltype(kind)> kinds(keys.kinds->begin(), keys.kinds->end());
        keys.kinds.reset();
        keys.more = [&kinds](gguf_writer& w) {
            w.add_array("tokenizer.ggml.token_type", std::span<const decltype(kind)>(kinds));
        };
        const auto file = keys.file();
        REQUIRE(file);
        const auto tokens = vocabulary::open(file->file);
        REQUIRE_MESSAGE(tokens, (tokens ? "" : tokens.error().message));
        CHECK(tokens->kind_of(0) == token_kind::normal);
        CHECK(tokens->kind_of(278) == token_kind::control);
    };
    check(std::uint8_t{});
    check(std::int8_t{});
    check(std::uint16_t{});
    check(std::int16_t{});
    check(std::uint32_t{});
    check(std::uint64_t{});
    check(std::int64_t{});
}

TEST_CASE("ids are integers of any width") {
    for (int width = 0; width < 8; ++width) {
        small_vocabulary keys;
        keys.ids.clear();
        keys.more = [width](gguf_writer& w) {
            const auto add = [&w](auto bos) {
                w.add("tokenizer.ggml.bos_token_id", bos);
                w.add("tokenizer.ggml.eos_token_id", static_cast<decltype(bos)>(bos + 1));
            };
            switch (width) {
            case 0:
                return add(std::uint8_t{'<'});
            case 1:
                return add(std::int8_t{'<'});
            case 2:
                return add(std::uint16_t{269});
            case 3:
                return add(std::int16_t{269});
            case 4:
                return add(std::uint32_t{269});
            case 5:
                return add(std::int32_t{269});
            case 6:
                return add(std::uint64_t{269});
            default:
                return add(std::int64_t{269});
            }
        };
        const auto file = keys.file();
        REQUIRE(file);
        const auto opened = tokenizer::open(file->file);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        CHECK(opened->bos() == (width < 2 ? '<' : 269));
        CHECK(opened->eos() == (width < 2 ? '=' : 270));
    }
}

TEST_CASE("a vocabulary knows its tokens, their bytes and their kinds") {
    const small_vocabulary keys;
    const auto file = keys.file();
    REQUIRE(file);
    const auto tokens = vocabulary::open(file->file);
    REQUIRE(tokens);
    CHECK(tokens->size() == 279);
    CHECK(tokens->bytes_of(keys.token_of("\u0120world")) == " world");
    CHECK(tokens->find(" world") == keys.token_of("\u0120world"));
    CHECK(tokens->find("<|eot_id|>") == no_token);
    CHECK(tokens->find("") == no_token);
    CHECK(tokens->find_special("<|eot_id|>") == keys.token_of("<|eot_id|>"));
    CHECK(tokens->find_special("<|eot_id|> ") == no_token);
    CHECK(tokens->kind_of(0) == token_kind::normal);
    CHECK(tokens->kind_of(278) == token_kind::control);
    CHECK(tokens->longest() == std::string_view("<|reserved_special_token_0|>").size());
    CHECK(!tokens->contains(-1));
    CHECK(!tokens->contains(279));
    for (std::size_t byte = 0; byte < 256; ++byte) {
        CHECK(tokens->byte_tokens()[byte] == static_cast<token>(byte));
    }
}

TEST_CASE("without kinds, tokens in <| |> are control tokens") {
    small_vocabulary keys;
    keys.kinds.reset();
    const auto file = keys.file();
    REQUIRE(file);
    const auto tokens = vocabulary::open(file->file);
    REQUIRE(tokens);
    CHECK(tokens->kind_of(keys.token_of("<|eot_id|>")) == token_kind::control);
    CHECK(tokens->kind_of(keys.token_of("xyzzy")) == token_kind::normal);
}

TEST_CASE("byte, unused and user-defined tokens behave as their kind requires") {
    small_vocabulary keys;
    keys.add_token("<0x0A>", 6);
    keys.add_token("two words", 4);
    keys.add_token("[PAD]", 5);
    const auto file = keys.file();
    REQUIRE(file);
    const auto opened = tokenizer::open(file->file);
    REQUIRE(opened);
    CHECK(opened->bytes_of(279) == "\n");
    CHECK(opened->bytes_of(280) == "two words");
    CHECK(opened->bytes_of(281) == "[PAD]");
    // A byte token is not what a line end becomes; a user-defined token is found without asking; an unused one never.
    CHECK(*opened->encode("\n") == std::vector<token>{'\n'});
    CHECK(*opened->encode("atwo words!") == std::vector<token>{'a', 280, '!'});
    CHECK(opened->encode("[PAD]", {.parse_special = true})->size() == 5);
    CHECK(!opened->is_special(280));
}

TEST_CASE("merges become the pairs, ranks and wholes of the list") {
    const small_vocabulary keys;
    const auto file = keys.file();
    REQUIRE(file);
    const auto tokens = vocabulary::open(file->file);
    REQUIRE(tokens);
    const auto table = read_merges(file->file, *tokens);
    REQUIRE(table);
    for (std::uint32_t rank = 0; rank < keys.merges->size(); ++rank) {
        const std::string& text = (*keys.merges)[rank];
        const std::size_t space = text.find(' ');
        const auto found = table->find(keys.token_of(text.substr(0, space)), keys.token_of(text.substr(space + 1)));
        CHECK(found.rank == rank);
        CHECK(found.whole == static_cast<token>(256 + rank));
    }
    CHECK(table->find('x', 'y').rank == merge::never);
}

TEST_CASE("merges of words of any length are found, whatever the order of their tokens") {
    const std::string letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    const auto check_words = [&](const small_vocabulary& keys) {
        const auto file = keys.file();
        REQUIRE(file);
        const auto opened = tokenizer::open(file->file);
        REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
        for (std::size_t size = 2; size <= letters.size(); ++size) {
            const std::string word = letters.substr(0, size);
            CAPTURE(word);
            CHECK(*opened->encode(word) == std::vector<token>{keys.token_of(word)});
        }
    };
    small_vocabulary ascending;
    small_vocabulary descending;
    for (std::size_t size = 1; size < letters.size(); ++size) {
        ascending.add_merge(letters.substr(0, size) + " " + letters[size]);
        descending.add_token(letters.substr(0, letters.size() - size + 1), 1);
        descending.merges->push_back(letters.substr(0, size) + " " + letters[size]);
    }
    check_words(ascending);
    check_words(descending);
}

TEST_CASE("a merge of an added token is passed over where that token follows the last merge's") {
    small_vocabulary keys;
    keys.add_merge("x y");
    keys.add_token("xyz", 3);
    keys.merges->push_back("xy z");
    const auto file = keys.file();
    REQUIRE(file);
    const auto opened = tokenizer::open(file->file);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    CHECK(*opened->encode("xyz") == std::vector<token>{keys.token_of("xy"), 'z'});
    REQUIRE(opened->notes().size() == 1);
    CHECK(opened->notes()[0].starts_with("1 of 14 merges, such as 'xy z', name added tokens"));
}
