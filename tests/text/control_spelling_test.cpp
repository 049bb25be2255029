// SPDX-License-Identifier: MIT
// Control tokens that a converter spelled with BOS before or EOS after them are the same tokens as without.
#include <bitnet/text/control_spelling.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <text/chat_vocabulary.hpp>
#include <text/sentence_piece_vocabulary.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <functional>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace bitnet_tests;

namespace {

/// `keys` with the spelling of every control token changed.
small_vocabulary respelled(small_vocabulary keys, const std::function<std::string(const std::string&)>& spell) {
    for (std::size_t i = 0; i < keys.tokens.size(); ++i) {
        if ((*keys.kinds)[i] == 3 || (*keys.kinds)[i] == 4) {
            keys.tokens[i] = spell(keys.tokens[i]);
        }
    }
    return keys;
}

const std::string bos = "<|begin_of_text|>";
const std::string eos = "<|end_of_text|>";

const std::vector<std::function<std::string(const std::string&)>>& spellings() {
    static const std::vector<std::function<std::string(const std::string&)>> all{
        [](const std::string& t) { return t == bos ? t : bos + t; },
        [](const std::string& t) { return bos + t; }, // BOS itself is there twice
        [](const std::string& t) { return t == bos ? t : bos + " " + t; },
        [](const std::string& t) { return t == eos ? t : t + eos; },
        [](const std::string& t) { return t + eos; },
        [](const std::string& t) { return bos + t + eos; },
        [](const std::string& t) { return t == bos || t == eos ? t : bos + t + eos; },
        [](const std::string& t) { return t == bos || t.find("reserved") != std::string::npos ? t : bos + t; }};
    return all;
}

} // namespace

TEST_CASE("control tokens spelled with BOS before or EOS after them are found as they are meant, with a note") {
    const small_vocabulary plain = chat_vocabulary();
    const opened_text expected(plain);
    CHECK(expected.text.notes().empty());
    for (const auto& spell : spellings()) {
        for (const bool names_pre : {true, false}) {
            small_vocabulary keys = respelled(plain, spell);
            CAPTURE(keys.tokens.back());
            if (!names_pre) {
                keys.pre.reset();
            }
            const opened_text opened(keys);
            CHECK(opened.text.pre_tokenizer().name == "llama-bpe");
            CHECK(opened.text.stop_tokens() == expected.text.stop_tokens());
            CHECK(opened.text.eot() == expected.text.eot());
            const std::string text = "a<|eot_id|>b<|begin_of_text|><|im_start|>";
            CHECK(*opened.text.encode(text) == *expected.text.encode(text));
            CHECK(*opened.text.encode(text, {.parse_special = true}) ==
                  *expected.text.encode(text, {.parse_special = true}));
            for (token id = 0; opened.text.contains(id); ++id) {
                CHECK(opened.text.bytes_of(id) == expected.text.bytes_of(id));
            }
            REQUIRE(opened.text.notes().size() == 1);
            CAPTURE(opened.text.notes()[0]);
            CHECK(opened.text.notes()[0].starts_with("control tokens are spelled with '<|"));
            const bool in_front = keys.tokens.back().starts_with(bos);
            const bool after = keys.tokens.back().ends_with(eos);
            CHECK((opened.text.notes()[0].find(" in front") != std::string::npos) == in_front);
            CHECK((opened.text.notes()[0].find(" at the end") != std::string::npos) == after);
        }
    }
}

TEST_CASE("a model whose control tokens have BOS in front takes dialogs as it would without") {
    const std::vector<chat_message> dialog{{"user", "Hi"}, {"assistant", "Yes?"}, {"user", "<|eot_id|>"}};
    const opened_text expected(chat_vocabulary());
    for (const auto& spell : spellings()) {
        const opened_text opened(respelled(chat_vocabulary(), spell));
        const chat_template chat = opened.known_chat(); // inferred from the vocabulary
        CHECK(chat.format() == chat_format::llama3);
        CHECK(*chat.encode(dialog) == *expected.known_chat().encode(dialog));
        CHECK(chat.stop_tokens() == expected.known_chat().stop_tokens());
    }
}

TEST_CASE("one token that is BOS and EOS is taken away on either side") {
    small_vocabulary plain;
    plain.ids = {{"bos", plain.id_of(eos)}, {"eos", plain.id_of(eos)}};
    const opened_text expected(plain);
    for (const bool in_front : {true, false}) {
        const opened_text opened(
            respelled(plain, [in_front](const std::string& t) { return in_front ? eos + t : t + eos; }));
        for (token id = 0; opened.text.contains(id); ++id) {
            CHECK(opened.text.bytes_of(id) == expected.text.bytes_of(id));
        }
    }
}

TEST_CASE("user-defined tokens and those of SentencePiece lose BOS, too, normal ones and BOS alone do not") {
    small_vocabulary keys;
    keys.add_token(bos + "<think>", 4);
    keys.add_token(bos + "<normal>", 1);
    const opened_text opened(keys);
    CHECK(*opened.text.encode("<think>") == ids{279});
    CHECK(opened.text.bytes_of(280) == bos + "<normal>");
    CHECK(opened.text.bytes_of(*opened.text.bos()) == bos);
    keys.tokens[keys.id_of(eos)] = "<><>"; // repeats itself, and is around no other token
    CHECK(opened_text(keys).text.bytes_of(270) == "<><>");
    CHECK(opened.text.notes().at(0).starts_with("control tokens are spelled with '<|begin_of_text|>' in front"));

    small_vocabulary pieces = sentence_piece_vocabulary();
    pieces.add_token("<s><|im_end|>", 3);
    const auto file = pieces.file();
    REQUIRE(file);
    const auto text = tokenizer::open(file->file);
    REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
    CHECK(text->find_special("<|im_end|>"));
    CHECK(text->is_stop(*text->find_special("<|im_end|>")));
}

TEST_CASE("repaired spellings are those of all tokens, and none where nothing is to be repaired") {
    const small_vocabulary plain = chat_vocabulary();
    CHECK(repaired_spellings(plain.file()->file).empty());
    const auto wrong = respelled(plain, spellings()[0]).file();
    REQUIRE(wrong);
    const auto repaired = repaired_spellings(wrong->file);
    CHECK(std::vector<std::string>(repaired.begin(), repaired.end()) == plain.tokens);
}
