// SPDX-License-Identifier: MIT
// The LLaMA-3 splitter against its pattern: examples, and random text against a backtracking matcher.
#include <bitnet/text/pre_tokenizer.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;

namespace {
using pieces = std::vector<std::string>;

pieces split(std::string_view text) {
    pieces out;
    llama3_splitter splitter(text);
    for (auto piece = splitter.next(); !piece.empty(); piece = splitter.next()) {
        out.emplace_back(piece);
    }
    return out;
}

// The pattern, interpreted: each alternative is a list of repeated classes, tried greedily with backtracking.
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

const std::vector<alternative>& pattern() {
    constexpr std::size_t more = SIZE_MAX;
    static const std::vector<alternative> alternatives{
        {one(U"'"), one(U"sS\u017f")},
        {one(U"'"), one(U"tT")},
        {one(U"'"), one(U"rR"), one(U"eE")},
        {one(U"'"), one(U"vV"), one(U"eE")},
        {one(U"'"), one(U"mM")},
        {one(U"'"), one(U"lL"), one(U"lL")},
        {one(U"'"), one(U"dD")},
        {{[](char32_t c) { return !is_line_end(c) && !is_letter(c) && !is_number(c); }, 0, 1}, {is_letter, 1, more}},
        {{is_number, 1, 3}},
        {{[](char32_t c) { return c == U' '; }, 0, 1}, {is_symbol, 1, more}, {is_line_end, 0, more}},
        {{is_space, 0, more}, {is_line_end, 1, more}},
    };
    return alternatives;
}

std::size_t piece_end_by_pattern(const characters& text, std::size_t at) {
    for (const auto& a : pattern()) {
        if (const std::size_t end = match(a, 0, text, at); end != SIZE_MAX) {
            return end;
        }
    }
    std::size_t end = at; // \s+(?!\S), then \s+
    while (end < text.values.size() && is_space(text.values[end])) {
        ++end;
    }
    return end < text.values.size() && end - at > 1 ? end - 1 : end;
}

pieces split_by_pattern(std::string_view text) {
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
        const std::size_t end = piece_end_by_pattern(c, at);
        out.emplace_back(text.substr(c.offsets[at], c.offsets[end] - c.offsets[at]));
        at = end;
    }
    return out;
}
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

TEST_CASE("contractions split off, in either case and with the long s, after ASCII apostrophes only") {
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

TEST_CASE("random text splits as the pattern does, matched by backtracking") {
    const std::vector<std::string> alphabet{"a",      "S",      "s",          "t",      "l",      "L",        "r",
                                            "e",      "v",      "m",          "d",      "'",      "'",        " ",
                                            " ",      "\n",     "\r",         "\t",     "1",      "2",        "!",
                                            "(",      "\u00a0", "\u3000",     "\u00e9", "\u0301", "\u017f",   "\u00bd",
                                            "\u2160", "\u4e2d", "\U0001f600", "\u0085", "\xff",   "\xe2\x82", "\x80"};
    std::uint64_t state = 1;
    const auto random = [&state](std::size_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % below;
    };
    std::size_t differing = 0;
    for (int round = 0; round < 20000; ++round) {
        std::string text;
        for (std::size_t n = random(24); n > 0; --n) {
            text += alphabet[random(alphabet.size())];
        }
        if (split(text) != split_by_pattern(text)) {
            ++differing;
            MESSAGE("differs: ", text);
        }
    }
    CHECK(differing == 0);
}

TEST_CASE("splitting takes linear time where backtracking would not") {
    for (const std::string unit : {" ", "a", "1", "\n ", " \t", "'", "\xe2", "!\n", "  x"}) {
        std::string text;
        while (text.size() < (1u << 20)) {
            text += unit;
        }
        std::size_t bytes = 0;
        const auto start = std::chrono::steady_clock::now();
        llama3_splitter splitter(text);
        for (auto piece = splitter.next(); !piece.empty(); piece = splitter.next()) {
            bytes += piece.size();
        }
        CHECK(bytes == text.size());
        // Quadratic time would be minutes; linear time is milliseconds.
        CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(5));
    }
}
