// SPDX-License-Identifier: MIT
// The splitters against their patterns: examples, and random text against a backtracking matcher.
#include "every_isa.hpp"

#include <bitnet/text/pre_tokenizer.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
using pieces = std::vector<std::string>;

template <splitter Splitter = llama3_splitter> pieces split(std::string_view text) {
    pieces out;
    Splitter cut(text);
    for (auto piece = cut.next(); !piece.empty(); piece = cut.next()) {
        out.emplace_back(piece);
    }
    return out;
}

// The patterns, interpreted: each alternative is a list of repeated classes, tried greedily with backtracking.
struct repeated {
    std::function<bool(char32_t)> in;
    std::size_t least;
    std::size_t most;
};
using alternative = std::vector<repeated>;
struct characters {
    std::vector<char32_t> values;
    std::vector<std::size_t> offsets;
};

std::size_t match(const alternative& a, std::size_t part, const characters& text, std::size_t at) {
    constexpr std::size_t failed = SIZE_MAX;
    if (part == a.size()) {
        return at;
    }
    std::size_t count = 0;
    while (count < a[part].most && at + count < text.values.size() && a[part].in(text.values[at + count])) {
        ++count;
    }
    for (std::size_t n = count + 1; n-- > a[part].least;) {
        if (const std::size_t end = match(a, part + 1, text, at + n); end != failed) {
            return end;
        }
    }
    return failed;
}

bool is_letter(char32_t c) { return class_of(c) == char_class::letter; }
bool is_number(char32_t c) { return class_of(c) == char_class::number; }
bool is_space(char32_t c) { return class_of(c) == char_class::space; }
bool is_line_end(char32_t c) { return c == U'\r' || c == U'\n'; }
bool is_symbol(char32_t c) { return class_of(c) == char_class::other; }

repeated one(std::u32string any_of) {
    return {[any_of](char32_t c) { return any_of.find(c) != std::u32string::npos; }, 1, 1};
}

bool is_ideograph(char32_t c) {
    return (c >= 0x4e00 && c <= 0x9fa5) || (c >= 0x800 && c <= 0x4e00) || (c >= 0xac00 && c <= 0xd7ff);
}

constexpr std::size_t more = SIZE_MAX;
const repeated maybe_space{[](char32_t c) { return c == U' '; }, 0, 1};

/// A step of a splitter. `words`: its pieces are its matches, and what no alternative matches is white space cut by
/// \s+(?!\S)|\s+; otherwise matches are pieces, and so is the text between them.
struct step {
    std::vector<alternative> alternatives;
    bool words;
};

step llama3_pattern(std::size_t digits) {
    return {
        {{one(U"'"), one(U"sS\u017f")},
         {one(U"'"), one(U"tT")},
         {one(U"'"), one(U"rR"), one(U"eE")},
         {one(U"'"), one(U"vV"), one(U"eE")},
         {one(U"'"), one(U"mM")},
         {one(U"'"), one(U"lL"), one(U"lL")},
         {one(U"'"), one(U"dD")},
         {{[](char32_t c) { return !is_line_end(c) && !is_letter(c) && !is_number(c); }, 0, 1}, {is_letter, 1, more}},
         {{is_number, 1, digits}},
         {maybe_space, {is_symbol, 1, more}, {is_line_end, 0, more}},
         {{is_space, 0, more}, {is_line_end, 1, more}}},
        true};
}

step gpt2_step() {
    return {{{one(U"'"), one(U"s")},
             {one(U"'"), one(U"t")},
             {one(U"'"), one(U"r"), one(U"e")},
             {one(U"'"), one(U"v"), one(U"e")},
             {one(U"'"), one(U"m")},
             {one(U"'"), one(U"l"), one(U"l")},
             {one(U"'"), one(U"d")},
             {maybe_space, {is_letter, 1, more}},
             {maybe_space, {is_number, 1, more}},
             {maybe_space, {is_symbol, 1, more}}},
            true};
}

step isolating(alternative a) { return {{std::move(a)}, false}; }

step punctuation_pattern(const std::u32string& besides) {
    return isolating(
        {{[besides](char32_t c) { return is_punctuation(c) || besides.find(c) != std::u32string::npos; }, 1, more}});
}

step three_digits() { return isolating({one(U"0123456789"), one(U"0123456789"), one(U"0123456789")}); }

std::size_t match_end(const step& s, const characters& text, std::size_t at) {
    for (const auto& a : s.alternatives) {
        if (const std::size_t end = match(a, 0, text, at); end != SIZE_MAX) {
            return end;
        }
    }
    return SIZE_MAX;
}

std::size_t piece_end(const step& s, const characters& text, std::size_t at) {
    std::size_t end = match_end(s, text, at);
    if (end != SIZE_MAX) {
        return end;
    }
    end = at;
    if (!s.words) {
        while (end < text.values.size() && match_end(s, text, end) == SIZE_MAX) {
            ++end;
        }
        return end;
    }
    while (end < text.values.size() && is_space(text.values[end])) {
        ++end;
    }
    return end < text.values.size() && end - at > 1 ? end - 1 : end;
}

pieces split_by(const step& s, std::string_view text) {
    characters c;
    for (std::size_t i = 0; i < text.size();) {
        const auto read = first_code_point(text.substr(i));
        c.values.push_back(read.value);
        c.offsets.push_back(i);
        i += read.size;
    }
    c.offsets.push_back(text.size());
    pieces out;
    for (std::size_t at = 0; at < c.values.size();) {
        const std::size_t end = piece_end(s, c, at);
        out.emplace_back(text.substr(c.offsets[at], c.offsets[end] - c.offsets[at]));
        at = end;
    }
    return out;
}

pieces split_by(const std::vector<step>& steps, const std::string& text) {
    pieces all{text};
    for (const step& s : steps) {
        pieces next;
        for (const std::string& piece : all) {
            for (std::string& part : split_by(s, piece)) {
                next.push_back(std::move(part));
            }
        }
        all = std::move(next);
    }
    return all;
}

std::string random_text(std::uint64_t& state) {
    static const std::vector<std::string> alphabet{
        "a",      "S",      "s",      "t",          "l",      "L",      "r",    "e",        "v",    "m",      "d",
        "'",      "'",      " ",      " ",          "\n",     "\r",     "\t",   "1",        "2",    "3",      "!",
        "(",      "\u00a0", "\u3000", "\u00e9",     "\u0301", "\u017f", "$",    "`",        "^",    "\u00bf", "\uff04",
        "\u2160", "\u4e2d", "\u0967", "\U0001f600", "\u0085", "\u0e01", "\xff", "\xe2\x82", "\x80", "\u2014", "\u00b2"};
    const auto random = [&state](std::size_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % below;
    };
    std::string text;
    for (std::size_t n = random(24); n > 0; --n) {
        text += alphabet[random(alphabet.size())];
    }
    return text;
}

template <class Splitter> std::size_t differences(const std::vector<step>& steps) {
    std::uint64_t state = 1;
    std::size_t differing = 0;
    for (int round = 0; round < 20000; ++round) {
        const std::string text = random_text(state);
        const pieces expected = text.empty() ? pieces{} : split_by(steps, text);
        if (split<Splitter>(text) != expected) {
            ++differing;
            MESSAGE("differs: ", text);
        }
    }
    return differing;
}
/// The splitters with names that fit into that of a test case.
template <class Splitter> struct named { using splitter = Splitter; };
struct llama3_tag : named<llama3_splitter> {
    static constexpr std::string_view name = "llama3";
};
struct qwen2_tag : named<qwen2_splitter> {
    static constexpr std::string_view name = "qwen2";
};
struct gpt2_tag : named<gpt2_splitter> {
    static constexpr std::string_view name = "gpt2";
};
struct starcoder_tag : named<starcoder_splitter> {
    static constexpr std::string_view name = "starcoder";
};
struct falcon3_tag : named<falcon3_splitter> {
    static constexpr std::string_view name = "falcon3";
};
struct falcon_tag : named<falcon_splitter> {
    static constexpr std::string_view name = "falcon";
};
struct default_tag : named<default_splitter> {
    static constexpr std::string_view name = "default";
};
struct deepseek_coder_tag : named<deepseek_coder_splitter> {
    static constexpr std::string_view name = "deepseek_coder";
};

} // namespace

TEST_CASE("text splits at words, numbers of three digits, symbols and white space") {
    CHECK(split("") == pieces{});
    CHECK(split("Hello, world!") == pieces{"Hello", ",", " world", "!"});
    CHECK(split("1234567 8") == pieces{"123", "456", "7", " ", "8"});
    CHECK(split("a  b") == pieces{"a", " ", " b"});
    CHECK(split("(foo)") == pieces{"(foo", ")"});
    CHECK(split("{\"a\": 1}\n") == pieces{"{\"", "a", "\":", " ", "1", "}\n"});
    CHECK(split(" !?\r\n\nx") == pieces{" !?\r\n\n", "x"});
    CHECK(split("\t!") == pieces{"\t", "!"});
    CHECK(split("\tx") == pieces{"\tx"});
}

TEST_CASE("contractions split off in either case and with long s, after ASCII apostrophes only") {
    CHECK(split("it's I'LL we'Ve") == pieces{"it", "'s", " I", "'LL", " we", "'Ve"});
    CHECK(split("x'\u017fy") == pieces{"x", "'\u017f", "y"});
    CHECK(split("'sure") == pieces{"'s", "ure"});
    CHECK(split("'lack") == pieces{"'lack"});
    CHECK(split("x\u2019s") == pieces{"x", "\u2019s"});
    CHECK(split("'") == pieces{"'"});
    CHECK(split("'l") == pieces{"'l"});
    CHECK(split(" 's") == pieces{" '", "s"});
}

TEST_CASE("white space ends at its last line end, or leaves one character for the next piece") {
    CHECK(split(" \n \n  x") == pieces{" \n \n", " ", " x"});
    CHECK(split("   ") == pieces{"   "});
    CHECK(split("a \n") == pieces{"a", " \n"});
    CHECK(split("\u3000\u3000!") == pieces{"\u3000", "\u3000", "!"});
    CHECK(split("  1") == pieces{" ", " ", "1"});
    CHECK(split("\n ") == pieces{"\n", " "});
    CHECK(split("\r\n\r\n") == pieces{"\r\n\r\n"});
}

TEST_CASE("bytes that are not UTF-8 split like symbols") {
    CHECK(split("a\xff\xfe b") == pieces{"a", "\xff\xfe", " b"});
    CHECK(split("\xc3 \xe2\x82x") == pieces{"\xc3", " \xe2\x82", "x"});
}

TEST_CASE("random text splits as the patterns do, matched by backtracking") {
    const step falcon_punctuation = punctuation_pattern(U"$+<=>^~|`");
    const step default_punctuation = punctuation_pattern(U"$+<=>^~|");
    const step all_numbers = isolating({{is_number, 1, more}});
    const step each_number = isolating({{is_number, 1, 1}});
    const repeated any_space{is_space, 0, 1};
    CHECK(differences<llama3_splitter>({llama3_pattern(3)}) == 0);
    CHECK(differences<qwen2_splitter>({llama3_pattern(1)}) == 0);
    CHECK(differences<gpt2_splitter>({gpt2_step()}) == 0);
    CHECK(differences<starcoder_splitter>({each_number, gpt2_step()}) == 0);
    CHECK(differences<falcon_splitter>({falcon_punctuation, gpt2_step(), three_digits()}) == 0);
    CHECK(differences<falcon3_splitter>({falcon_punctuation, gpt2_step(), isolating({one(U"0123456789")})}) == 0);
    CHECK(differences<default_splitter>({default_punctuation, gpt2_step(), all_numbers, three_digits()}) == 0);
    CHECK(differences<deepseek_coder_splitter>(
              {isolating({one(U"\r\n")}), isolating({any_space, {is_letter, 1, more}}),
               isolating({any_space, {[](char32_t c) { return is_punctuation(c); }, 1, more}}),
               isolating({{is_ideograph, 1, more}}), each_number}) == 0);
}

TEST_CASE("each family cuts the same line its own way") {
    const std::string line = "Don't pay $12345, `ok`?\n  No.";
    CHECK(split<llama3_splitter>(line) ==
          pieces{"Don", "'t", " pay", " $", "123", "45", ",", " `", "ok", "`?\n", " ", " No", "."});
    CHECK(split<qwen2_splitter>(line) ==
          pieces{"Don", "'t", " pay", " $", "1", "2", "3", "4", "5", ",", " `", "ok", "`?\n", " ", " No", "."});
    CHECK(split<gpt2_splitter>(line) ==
          pieces{"Don", "'t", " pay", " $", "12345", ",", " `", "ok", "`?", "\n ", " No", "."});
    CHECK(split<starcoder_splitter>(line) ==
          pieces{"Don", "'t", " pay", " $", "1", "2", "3", "4", "5", ",", " `", "ok", "`?", "\n ", " No", "."});
    CHECK(split<falcon_splitter>(line) ==
          pieces{"Don", "'", "t", " pay", " ", "$", "123", "45", ",", " ", "`", "ok", "`?", "\n ", " No", "."});
    CHECK(split<falcon3_splitter>(line) == pieces{"Don", "'", "t", " pay", " ", "$", "1", "2", "3", "4", "5", ",", " ",
                                                  "`", "ok", "`?", "\n ", " No", "."});
    CHECK(split<default_splitter>(line) ==
          pieces{"Don", "'", "t", " pay", " ", "$", "123", "45", ",", " `", "ok", "`", "?", "\n ", " No", "."});
    CHECK(split<deepseek_coder_splitter>(line) == pieces{"Don", "'", "t", " pay", " $", "1", "2", "3", "4", "5", ",",
                                                         " `", "ok", "`", "?", "\n", " ", " No", "."});
}

TEST_CASE("a name selects its splitter, and every splitter has a name") {
    const std::string line = "a'S $12345 `b`\n\n";
    std::vector<pieces> seen;
    for (const pre_tokenizer_name& known : pre_tokenizer_names) {
        const pre_tokenizer_name* found = find_pre_tokenizer(known.name);
        REQUIRE(found == &known);
        seen.push_back(with_splitter(known.kind, line, [](auto cut) {
            pieces out;
            for (auto piece = cut.next(); !piece.empty(); piece = cut.next()) {
                out.emplace_back(piece);
            }
            return out;
        }));
    }
    std::sort(seen.begin(), seen.end());
    CHECK(std::unique(seen.begin(), seen.end()) - seen.begin() == 8);
    CHECK(find_pre_tokenizer("nonsense") == nullptr);
    CHECK(find_pre_tokenizer("") == nullptr);
}

TEST_CASE_TEMPLATE("splitting takes linear time where backtracking would not", Tag, llama3_tag, qwen2_tag, gpt2_tag,
                   starcoder_tag, falcon_tag, falcon3_tag, default_tag, deepseek_coder_tag) {
    for (const std::string unit :
         {" ", "a", "1", "\n ", " \t", "'", "\xe2", "!\n", "  x", "$", "12", "\u4e2d", "\u00bd"}) {
        std::string text;
        while (text.size() < (1u << 20)) {
            text += unit;
        }
        std::size_t bytes = 0;
        const auto start = std::chrono::steady_clock::now();
        typename Tag::splitter cut(text);
        for (auto piece = cut.next(); !piece.empty(); piece = cut.next()) {
            bytes += piece.size();
        }
        CHECK(bytes == text.size());
        // Quadratic time would be minutes; linear time is milliseconds.
        CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    }
}
