// SPDX-License-Identifier: MIT
// bitnet-tokenize as a process.
#include "models.hpp"
#include "process.hpp"

#include <bitnet/io/json.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <sstream>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet_tests;

namespace {

std::vector<std::string> lines_of(const std::string& text) {
    std::istringstream stream(text);
    std::vector<std::string> lines;
    for (std::string line; std::getline(stream, line);) {
        lines.push_back(line);
    }
    return lines;
}

bitnet::json_document parse(const std::string& line) {
    INFO(line);
    auto json = bitnet::json_document::parse(line, "line");
    REQUIRE(json);
    return *std::move(json);
}

std::string text_line(std::string_view text) {
    std::string line = "{\"text\":";
    bitnet::detail::append_json_string(line, text);
    return line + "}\n";
}

bool is_ascii(const std::string& text) {
    return std::all_of(text.begin(), text.end(), [](char c) { return c == '\n' || (c >= ' ' && c < '\x7f'); });
}

std::vector<std::string> nasty_texts() {
    using namespace std::string_literals;
    return {"",
            " ",
            "Once upon a time",
            "\"quotes\" and \\backslashes\\ / \b\f\n\r\t",
            "\0 in the middle \0"s,
            "\x01\x1f\x7f",
            "caf\xc3\xa9 na\xc3\xafve \xc3\x9f",
            "\xe4\xbd\xa0\xe5\xa5\xbd \xd0\xbf\xd1\x80 \xd7\xa9\xd7\x9c \xe0\xa4\xa8",
            "\xf0\x9f\x91\xa9\xf0\x9f\x8f\xbf\xe2\x80\x8d\xf0\x9f\x94\xac \xf0\x9f\x8f\xb4",
            "\xef\xbf\xbd \xef\xbf\xbf \xf4\x8f\xbf\xbf \xed\x9f\xbf \xee\x80\x80",
            "<|begin_of_text|><|eot_id|>",
            "a\r\nb\r\n\r\n   c",
            std::string(5000, 'a') + std::string(5000, ' ')};
}

} // namespace

TEST_CASE("encode then decode gives the text back, and every line is pure ASCII") {
    const auto texts = nasty_texts();
    std::string input;
    for (const std::string& text : texts) {
        input += text_line(text);
    }
    for (const std::vector<std::string>& more : {std::vector<std::string>{}, {"--special"}}) {
        std::vector<std::string> arguments{"-m", tiny};
        arguments.insert(arguments.end(), more.begin(), more.end());
        const std::string ids = output("tokenize", arguments, input);
        CHECK(is_ascii(ids));
        CHECK(lines_of(ids).size() == texts.size());
        const std::string back = output("tokenize", {"-m", tiny, "--decode"}, ids);
        CHECK(is_ascii(back));
        const auto lines = lines_of(back);
        REQUIRE(lines.size() == texts.size());
        for (std::size_t i = 0; i < texts.size(); ++i) {
            const auto json = parse(lines[i]);
            CHECK(json.root().find("text")->as_string() == texts[i]);
            CHECK(!json.root().find("bytes"));
        }
    }
}

TEST_CASE("each line gives a line, the same for plain UTF-8 and for escapes, and without BOS") {
    CHECK(output("tokenize", {"-m", tiny}, "{\"text\":\"Once upon a time\"}\n") == "{\"ids\":[2365,681,258,525]}\n");
    CHECK(output("tokenize", {"-m", tiny}, "{\"text\": \"\"}") == "{\"ids\":[]}\n");
    CHECK(output("tokenize", {"-m", tiny}, "").empty());
    CHECK(output("tokenize", {"-m", tiny}, "{\"text\":\"caf\xc3\xa9 \xf0\x9f\x91\x91\"}\n") ==
          output("tokenize", {"-m", tiny}, "{\"text\":\"caf\\u00e9 \\ud83d\\udc51\"}\r\n"));
    CHECK(output("tokenize", {"-m", tiny}, "{\"tags\":[1,{}],\"text\":\"Once\",\"ids\":null}\n") ==
          "{\"ids\":[2365]}\n");
}

TEST_CASE("control tokens are read on request only") {
    CHECK(output("tokenize", {"-m", tiny, "--special"}, text_line("<|begin_of_text|>Once")) ==
          "{\"ids\":[4096,2365]}\n");
    CHECK(output("tokenize", {"-m", tiny, "--decode"}, "{\"ids\":[4096,2365]}\n") ==
          "{\"text\":\"<|begin_of_text|>Once\"}\n");
    CHECK(!contains(output("tokenize", {"-m", tiny}, text_line("<|begin_of_text|>")), "4096"));
}

TEST_CASE("ids that end inside a character give a replacement character and all bytes") {
    // U+10348 has a token for none of its parts, so that each byte is a token.
    const auto json = parse(output("tokenize", {"-m", tiny}, text_line("\xf0\x90\x8d\x88")));
    std::vector<int> ids;
    for (const bitnet::json_value id : json.root().find("ids")->elements()) {
        ids.push_back(*id.as_integer<int>());
    }
    REQUIRE(ids.size() == 4);
    const std::string first = std::to_string(ids[0]) + "," + std::to_string(ids[1]);
    CHECK(output("tokenize", {"-m", tiny, "--decode"}, "{\"ids\":[2365," + first + "]}\n") ==
          "{\"text\":\"Once\\ufffd\",\"bytes\":[79,110,99,101,240,144]}\n");
    CHECK(output("tokenize", {"-m", tiny, "--decode"}, "{\"ids\":[" + std::to_string(ids[1]) + ",2365]}\n") ==
          "{\"text\":\"\\ufffdOnce\",\"bytes\":[144,79,110,99,101]}\n");
}

TEST_CASE("a malformed line is named by its number, after the lines before it were answered") {
    const std::string good = "{\"text\":\"Once\"}\n";
    const std::vector<std::pair<std::string, std::string>> texts{
        {"{\"text\":\"Once\"", "',' or '}' is expected"},
        {"", "line 3"},
        {"{\"text\":7}", "a string called \"text\" is expected"},
        {"{\"ids\":[1]}", "a string called \"text\" is expected"},
        {"[\"Once\"]", "a string called \"text\" is expected"},
        {"{\"text\":\"\\ud83d\"}", "surrogate"},
        {"{\"text\":\"\\udc51\\ud83d\"}", "surrogate"},
        {"{\"text\":\"\xed\xa0\xbd\"}", "not UTF-8"},
        {"{\"text\":\"\xff\"}", "not UTF-8"},
        {"{\"text\":\"a\"} {\"text\":\"b\"}", "the end of the text"},
    };
    for (const auto& each : texts) {
        const outcome ran = run("tokenize", {"-m", tiny}, good + good + each.first + "\n" + good);
        INFO(each.first << ": " << ran.err);
        CHECK(ran.status == 1);
        CHECK(ran.out == "{\"ids\":[2365]}\n{\"ids\":[2365]}\n");
        CHECK(contains(ran.err, "bitnet-tokenize: standard input: line 3"));
        CHECK(!contains(ran.err, "line 1"));
        CHECK(contains(ran.err, each.second));
    }
    for (const std::string line : {"{\"ids\":[4128]}", "{\"ids\":[-1]}", "{\"ids\":[1.5]}", "{\"ids\":[\"1\"]}",
                                   "{\"ids\":[99999999999]}", "{\"ids\":1}", "{\"text\":\"Once\"}"}) {
        const outcome ran = run("tokenize", {"-m", tiny, "--decode"}, "{\"ids\":[2365]}\n" + line + "\n");
        INFO(line << ": " << ran.err);
        CHECK(ran.status == 1);
        CHECK(ran.out == "{\"text\":\"Once\"}\n");
        CHECK(contains(ran.err, "standard input: line 2: "));
    }
}

TEST_CASE("an inferred pre-tokenizer is noted on stderr, and --pre overrides it") {
    const temporary_folder folder;
    const std::string file = write_without_pre(folder);
    const std::string line = "{\"text\":\"Once upon a time\"}\n";
    const outcome inferred = run("tokenize", {"-m", file}, line);
    CHECK(inferred.out == "{\"ids\":[2365,681,258,525]}\n");
    CHECK(contains(inferred.err, "note: tokenizer.ggml.pre is missing"));
    const outcome named = run("tokenize", {"-m", file, "--pre", "llama3"}, line);
    CHECK(named.out == inferred.out);
    CHECK(named.err.empty());
    CHECK(run("tokenize", {"-m", file, "--pre", "gpt-5"}, line).status == 1);
}

TEST_CASE("a vocabulary without weights is enough") {
    const temporary_folder folder;
    CHECK(output("tokenize", {"-m", write_vocabulary(folder)}, "{\"text\":\"Once upon a time\"}\n") ==
          "{\"ids\":[2365,681,258,525]}\n");
}

TEST_CASE("golden: LLaMA-3's vocabulary gives the published ids of every test text") {
    if (skip_without_golden()) {
        return;
    }
    const std::string vocabulary = golden_path("tokenizer/llama3-vocab.gguf");
    const std::vector<std::pair<std::string, std::vector<std::string>>> files{
        {"tokenizer/public.jsonl", {"-m", vocabulary}}, {"tokenizer/special.jsonl", {"-m", vocabulary, "--special"}}};
    for (const auto& [name, arguments] : files) {
        const std::string expected = contents(golden_path(name));
        const auto asked = lines_of(expected);
        const auto answered = lines_of(output("tokenize", arguments, expected));
        REQUIRE(answered.size() == asked.size());
        std::size_t different = 0;
        for (std::size_t i = 0; i < asked.size(); ++i) {
            const auto want = parse(asked[i]);
            const auto have = parse(answered[i]);
            const auto wanted = want.root().find("ids")->elements();
            const auto given = have.root().find("ids")->elements();
            different +=
                std::equal(wanted.begin(), wanted.end(), given.begin(), given.end(),
                           [](auto a, auto b) { return a.template as_integer<int>() == b.template as_integer<int>(); })
                    ? 0
                    : 1;
        }
        CHECK(different == 0);
    }
}
