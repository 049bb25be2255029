// SPDX-License-Identifier: MIT
// SentencePiece: pieces by score against a plain loop, spaces, bytes, decoding, and what is refused.
#include <bitnet/text/open_tokenizer.hpp>
#include <bitnet/text/stream_decoder.hpp>

#include <text/sentence_piece_vocabulary.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <limits>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
using ids = std::vector<token>;

tokenizer open(const small_vocabulary& keys) {
    const auto file = keys.file();
    REQUIRE(file);
    auto opened = tokenizer::open(file->file);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

/// As the field's papers tell it: while some neighbours together are a token, the pair of the best score merges, the
/// leftmost of equals. What is left without token becomes bytes.
ids encode_plainly(const small_vocabulary& keys, const std::string& text) {
    std::map<std::string, std::size_t> known;
    for (std::size_t id = 0; id < keys.tokens.size(); ++id) {
        if ((*keys.kinds)[id] == 1) {
            known[keys.tokens[id]] = id;
        }
    }
    std::vector<std::string> symbols{"\u2581"};
    for (std::size_t i = 0; i < text.size();) {
        const std::size_t size = first_code_point(std::string_view(text).substr(i)).size;
        symbols.push_back(text[i] == ' ' ? "\u2581" : text.substr(i, size));
        i += size;
    }
    for (;;) {
        std::size_t best = symbols.size();
        float score = -std::numeric_limits<float>::infinity();
        for (std::size_t i = 0; i + 1 < symbols.size(); ++i) {
            const auto found = known.find(symbols[i] + symbols[i + 1]);
            const bool halves = known.contains(symbols[i]) && known.contains(symbols[i + 1]);
            if (halves && found != known.end() && (*keys.scores)[found->second] > score) {
                best = i;
                score = (*keys.scores)[found->second];
            }
        }
        if (best == symbols.size()) {
            break;
        }
        symbols[best] += symbols[best + 1];
        symbols.erase(symbols.begin() + static_cast<std::ptrdiff_t>(best) + 1);
    }
    ids out;
    for (const std::string& symbol : symbols) {
        if (known.contains(symbol)) {
            out.push_back(static_cast<token>(known[symbol]));
            continue;
        }
        for (const char byte : symbol) {
            out.push_back(3 + static_cast<unsigned char>(byte));
        }
    }
    return out;
}

class numbers {
public:
    explicit numbers(std::uint64_t seed) : state_(seed) {}
    std::size_t below(std::size_t bound) {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state_ >> 33) % bound;
    }

private:
    std::uint64_t state_;
};

/// Letters and random strings of them as tokens, with scores among which equal ones are frequent.
small_vocabulary random_vocabulary(numbers& random, bool spaces_inside) {
    small_vocabulary keys = sentence_piece_vocabulary();
    keys.tokens.resize(259);
    keys.kinds->resize(259);
    keys.scores->resize(259);
    for (const char* letter : {"\u2581", "a", "b", "\u00e9"}) {
        keys.add_token(letter, 1);
    }
    while (keys.tokens.size() < 300) {
        std::string text = random.below(2) != 0 ? "\u2581" : "";
        for (std::size_t n = 1 + random.below(4); n > 0; --n) {
            const std::size_t letter = random.below(spaces_inside ? 4 : 3);
            text += letter == 0 ? "a" : letter == 1 ? "b" : letter == 2 ? "\u00e9" : "\u2581";
        }
        if (keys.id_of(text) == UINT32_MAX) {
            keys.add_token(text, 1);
            keys.scores->back() = static_cast<float>(random.below(20)) - 10;
        }
    }
    return keys;
}
} // namespace

TEST_CASE("an added <|im_end|> ends answers beside </s>, whichever of the two the file calls EOS") {
    for (const char* eos : {"</s>", "<|im_end|>"}) {
        small_vocabulary keys = sentence_piece_vocabulary();
        keys.add_token("<|im_end|>", 3);
        keys.add_token("<|im_start|>", 3);
        keys.ids[1].second = keys.id_of(eos);
        const tokenizer t = open(keys);
        CHECK(t.eos() == keys.token_of(eos));
        CHECK(t.eot() == keys.token_of("<|im_end|>"));
        CHECK(t.stop_tokens() == ids{2, keys.token_of("<|im_end|>")});
        CHECK(t.find_special("<|im_start|>") == keys.token_of("<|im_start|>"));
    }
}

TEST_CASE("words become pieces with a space in front, and characters without token become bytes") {
    const small_vocabulary keys = sentence_piece_vocabulary();
    const tokenizer t = open(keys);
    CHECK(t.adds_space_prefix());
    CHECK(*t.encode("hello world") == ids{keys.token_of("\u2581hello"), keys.token_of("\u2581world")});
    CHECK(*t.encode("hello world", {.follows_text = true}) ==
          ids{keys.token_of("hello"), keys.token_of("\u2581world")});
    CHECK(*t.encode(" wor") == ids{keys.token_of("\u2581"), keys.token_of("\u2581wor")});
    CHECK(*t.encode(" h") == ids{keys.token_of("\u2581\u2581"), keys.token_of("h")});
    CHECK(*t.encode("o\u00e9\n") == ids{keys.token_of("\u2581"), keys.token_of("o\u00e9"), keys.token_of("<0x0A>")});
    CHECK(*t.encode("\u4e2d") ==
          ids{keys.token_of("\u2581"), keys.token_of("<0xE4>"), keys.token_of("<0xB8>"), keys.token_of("<0xAD>")});
    CHECK(*t.encode("h\u2581w") == *t.encode("h w"));
    CHECK(t.encode("")->empty());
}

TEST_CASE("text never becomes a control or byte token by being spelled like one") {
    const small_vocabulary keys = sentence_piece_vocabulary();
    const tokenizer t = open(keys);
    for (const std::string text : {"<s>", "</s>", "<0x0A>", "<unk>"}) {
        const ids encoded = *t.encode(text);
        for (const token id : encoded) {
            CHECK(!t.is_special(id));
            CHECK(t.bytes_of(id) != "\n");
        }
        CHECK(t.decode(encoded) == text);
    }
    CHECK(*t.encode("<s>hello</s>", {.parse_special = true}) == ids{1, keys.token_of("\u2581hello"), 2});
}

TEST_CASE("decoding takes away the space that encoding put in front, and no other") {
    const tokenizer t = open(sentence_piece_vocabulary());
    for (const std::string text :
         {"hello", " hello", "  hello ", "", " ", "\n ", "\xff\xc3", "h\xe2\x96", "\u4e2d x"}) {
        CHECK(t.decode(*t.encode(text)) == text);
        CHECK(t.decode(*t.encode(text, {.follows_text = true}), {.follows_text = true}) == text);
    }
    CHECK(t.decode(*t.encode("hello"), {.follows_text = true}) == " hello");
}

TEST_CASE("a stream of pieces is what decoding gives, with and without text before") {
    const tokenizer t = open(sentence_piece_vocabulary());
    for (const std::string text : {"hello world", " hello", "\u4e2d\n", "\xff"}) {
        for (const bool follows : {false, true}) {
            const ids tokens = *t.encode(text);
            stream_decoder decoder(t, {.follows_text = follows});
            std::string streamed;
            for (const token id : tokens) {
                streamed += decoder.feed(id);
            }
            streamed += decoder.flush();
            CHECK(streamed == t.decode(tokens, {.follows_text = follows}));
        }
    }
}

TEST_CASE("a control token in front of the first word leaves no space behind") {
    const tokenizer t = open(sentence_piece_vocabulary());
    stream_decoder decoder(t);
    CHECK(decoder.feed(t.bos().value()).empty());
    const ids tokens = *t.encode("hello");
    CHECK(decoder.feed(tokens.front()) == t.decode(std::span(tokens).first(1)));
}

TEST_CASE("random vocabularies: the pieces are those of the plain loop") {
    numbers random(3);
    std::size_t differing = 0;
    for (int vocabulary = 0; vocabulary < 60; ++vocabulary) {
        const small_vocabulary keys = random_vocabulary(random, vocabulary % 2 != 0);
        const tokenizer t = open(keys);
        for (int round = 0; round < 60; ++round) {
            std::string text;
            for (std::size_t n = random.below(round == 0 ? 300 : 30); n > 0; --n) {
                constexpr const char* letters[] = {"a", "b", "a", "b", "\u00e9", " ", " ", "\u4e2d", "\xff"};
                text += letters[random.below(9)];
            }
            const auto encoded = t.encode(text);
            REQUIRE(encoded);
            differing += text.empty() || *encoded == encode_plainly(keys, text) ? 0 : 1;
            differing += t.decode(*encoded) == text ? 0 : 1;
        }
    }
    CHECK(differing == 0);
}

TEST_CASE("a list of merges takes precedence over the scores") {
    small_vocabulary keys = sentence_piece_vocabulary();
    keys.merges = std::vector<std::string>{"l d", "r ld", "h e"};
    keys.add_token("rld", 1);
    const tokenizer t = open(keys);
    CHECK(*t.encode("he wrld", {.follows_text = true}) ==
          ids{keys.token_of("he"), keys.token_of("\u2581"), keys.token_of("w"), keys.token_of("rld")});
}

TEST_CASE("without a space in front, and with user-defined tokens, as Gemma has them") {
    small_vocabulary keys = sentence_piece_vocabulary();
    keys.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_space_prefix", false); };
    keys.add_token("\n\n", 4);
    keys.add_token("   ", 4);
    const tokenizer t = open(keys);
    CHECK(!t.adds_space_prefix());
    CHECK(*t.encode("hello") == ids{keys.token_of("hello")});
    CHECK(*t.encode("h\n\n\n") == ids{keys.token_of("h"), keys.token_of("\n\n"), keys.token_of("<0x0A>")});
    CHECK(*t.encode("h    w") == ids{keys.token_of("h"), keys.token_of("   "), keys.token_of("\u2581w")});
    for (const std::string text : {" hello", "  ", "h\n\n   w"}) {
        CHECK(t.decode(*t.encode(text)) == text);
    }
}

TEST_CASE("U+2581 in user-defined tokens means a space, in control tokens itself") {
    small_vocabulary raw = sentence_piece_vocabulary();
    raw.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_space_prefix", false); };
    small_vocabulary spaces = raw;
    for (const auto& [marks, text] :
         {std::pair{"\u2581\u2581\u2581", "   "}, std::pair{"\u2581\u2581\u2581\u2581", "    "},
          std::pair{"<a\u2581b>", "<a b>"}}) {
        raw.add_token(marks, 4);
        spaces.add_token(text, 4);
    }
    raw.add_token("<\u2581>", 3);
    spaces.add_token("<\u2581>", 3);
    const tokenizer t = open(raw);
    const tokenizer expected = open(spaces);
    for (const std::string text : {"h   w", "h       w", "<a b>", "    ", "  h     ", "<\u2581>"}) {
        CAPTURE(text);
        CHECK(*t.encode(text, {.parse_special = true}) == *expected.encode(text, {.parse_special = true}));
        CHECK(t.decode(*t.encode(text)) == expected.decode(*expected.encode(text)));
    }
    CHECK(*t.encode("h    w") == ids{raw.token_of("h"), raw.token_of("\u2581\u2581\u2581\u2581"), raw.token_of("w")});
    CHECK(t.bytes_of(raw.token_of("\u2581\u2581\u2581")) == "   ");
    CHECK(t.bytes_of(raw.token_of("<\u2581>")) == "<\u2581>");
}

TEST_CASE("the tokenizer reports the keys about BOS and EOS") {
    small_vocabulary keys = sentence_piece_vocabulary();
    keys.add_bos.reset();
    CHECK(open(keys).add_bos());
    CHECK(!open(keys).add_eos());
    CHECK(open(keys).is_stop(2));
    CHECK(open(keys).pre_tokenizer().name == "none");
    keys.add_bos = false;
    keys.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_eos_token", true); };
    CHECK(!open(keys).add_bos());
    CHECK(open(keys).add_eos());
}

TEST_CASE("spoiled SentencePiece vocabularies are refused with their own sentence") {
    struct refusal {
        const char* name;
        std::function<void(small_vocabulary&)> spoil;
        errc code;
        std::vector<std::string> words;
    };
    using v = small_vocabulary&;
    const std::vector<refusal> all{
        {"no kinds", [](v s) { s.kinds.reset(); }, errc::missing_key, {"token_type"}},
        {"no scores and no merges", [](v s) { s.scores.reset(); }, errc::missing_key, {"scores"}},
        {"a score that is no number",
         [](v s) { (*s.scores)[260] = std::numeric_limits<float>::quiet_NaN(); },
         errc::bad_vocabulary,
         {"scores[260]", "finite"}},
        {"an infinite score",
         [](v s) { (*s.scores)[1] = -std::numeric_limits<float>::infinity(); },
         errc::bad_vocabulary,
         {"scores[1]"}},
        {"a missing byte", [](v s) { (*s.kinds)[3 + 65] = 5; }, errc::bad_vocabulary, {"byte 65", "280"}},
        {"a byte twice", [](v s) { s.add_token("<0x41>", 6); }, errc::bad_vocabulary, {"tokens[280]", "token 68"}},
        {"no space", [](v s) { s.tokens[259] = "x"; }, errc::bad_vocabulary, {"U+2581"}},
        {"a plain space", [](v s) { s.tokens[270] = "a b"; }, errc::bad_vocabulary, {"tokens[270]", "U+2581"}},
        {"a piece twice", [](v s) { s.add_token("he", 1); }, errc::bad_vocabulary, {"tokens[280]", "'he'", "268"}},
        {"a control token that is a piece",
         [](v s) { s.add_token("hello", 3); },
         errc::bad_vocabulary,
         {"tokens[280]", "'hello'", "272"}},
        {"a merge of no tokens",
         [](v s) { s.merges = std::vector<std::string>{"x y"}; },
         errc::bad_vocabulary,
         {"merges[0]", "'x'"}},
        {"a prefix flag that is a number",
         [](v s) { s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_space_prefix", 1); }; },
         errc::wrong_type,
         {"add_space_prefix"}},
        {"EOS wanted, but there is none",
         [](v s) {
             s.ids.erase(s.ids.begin() + 1);
             s.more = [](gguf_writer& w) { w.add("tokenizer.ggml.add_eos_token", true); };
         },
         errc::bad_vocabulary,
         {"add_eos_token", "eos_token_id"}},
    };
    for (const refusal& r : all) {
        CAPTURE(r.name);
        small_vocabulary spoiled = sentence_piece_vocabulary();
        r.spoil(spoiled);
        const auto file = spoiled.file();
        REQUIRE(file);
        const auto opened = tokenizer::open(file->file);
        REQUIRE(!opened);
        CAPTURE(opened.error().message);
        CHECK(opened.error().code == r.code);
        CHECK(opened.error().message.starts_with("small.gguf: "));
        for (const std::string& word : r.words) {
            CAPTURE(word);
            CHECK(opened.error().message.find(word) != std::string::npos);
        }
    }
}

TEST_CASE("a megabyte without a boundary takes seconds at most, in words and without") {
    small_vocabulary keys = sentence_piece_vocabulary();
    for (const bool across : {false, true}) {
        if (across) {
            keys.add_token("e\u2581w", 1); // a token that goes on over the start of a word
        }
        const tokenizer t = open(keys);
        for (const std::string unit : {"l", " ", "hello", "\xff", "x ", "he w", "\u4e2d"}) {
            std::string text;
            while (text.size() < (1u << 20)) {
                text += unit;
            }
            const std::clock_t start = std::clock();
            const auto encoded = t.encode(text);
            REQUIRE(encoded);
            CHECK(static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC < 10);
            CHECK(t.decode(*encoded) == text);
        }
    }
}
