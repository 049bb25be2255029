// SPDX-License-Identifier: MIT
// bitnet-constrain: JSON Lines in, JSON Lines out: which texts a grammar allows.
//
// {"grammar":"root ::= \"a\"+","texts":["aa","b"]} to {"compiled":true,"accepts":[true,false],"notes":[]}. Instead of
// "grammar" (GBNF): "schema" (JSON Schema), "regex" or "choices", one a line. What cannot be compiled gives
// {"compiled":false,"error":"..."}; members with other names are passed over.
#include "json_writer.hpp"
#include "options.hpp"
#include "streams.hpp"

#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/io/json.hpp>

#include <algorithm>
#include <cstddef>
#include <ios>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-constrain";

bitnet::error mistake(const std::string& sentence) { return {bitnet::errc::invalid_argument, sentence}; }

bitnet::result<bitnet::grammar> grammar_of_lines(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return bitnet::grammar::choices(lines);
}

struct grammar_kind {
    std::string_view key;
    bitnet::result<bitnet::grammar> (*open)(std::string_view text);
};

constexpr grammar_kind kinds[] = {
    {"grammar", [](std::string_view text) { return bitnet::grammar::gbnf(text); }},
    {"schema", [](std::string_view text) { return bitnet::grammar::json_schema(text); }},
    {"regex", [](std::string_view text) { return bitnet::grammar::regex(text); }},
    {"choices", grammar_of_lines},
};

/// Whether the matcher takes a text to its end; a note where it cannot tell.
bool accepts(bitnet::matcher& texts, std::string_view text, std::size_t number, std::vector<std::string>& notes) {
    texts.restart();
    const std::size_t taken = texts.accept(text);
    if (texts.out_of_budget()) {
        notes.push_back("text " + std::to_string(number) + ", byte " + std::to_string(taken) +
                        ": it can be read in more ways than the matcher holds, and counts as not accepted");
    }
    return taken == text.size() && texts.can_end();
}

std::string refusal(const bitnet::error& why) {
    tools::json_writer json;
    json.begin('{');
    json.member("compiled", false);
    json.member("error", why.message);
    json.end('}');
    return json.text();
}

std::string verdicts(const bitnet::grammar& grammar, bitnet::json_value texts) {
    auto matcher = bitnet::matcher::open(grammar);
    if (!matcher) {
        return refusal(matcher.error());
    }
    tools::json_writer json;
    json.begin('{');
    json.member("compiled", true);
    json.begin("accepts", '[');
    std::vector<std::string> notes(grammar.notes().begin(), grammar.notes().end());
    std::size_t number = 0;
    for (const bitnet::json_value text : texts.elements()) {
        json.value(accepts(*matcher, *text.as_string(), ++number, notes));
    }
    json.end(']');
    json.begin("notes", '[');
    for (const std::string& note : notes) {
        json.value(note);
    }
    json.end(']');
    json.end('}');
    return json.text();
}

/// The answer to one line, or what is wrong with it.
bitnet::result<std::string> answer(bitnet::json_value line) {
    const auto texts = line.find("texts");
    bool is_list = texts && texts->is_array();
    if (is_list) {
        const auto list = texts->elements();
        is_list =
            std::all_of(list.begin(), list.end(), [](bitnet::json_value text) { return text.as_string().has_value(); });
    }
    if (!is_list) {
        return mistake("an object with an array of strings called \"texts\" is expected");
    }
    for (const grammar_kind& kind : kinds) {
        const auto member = line.find(kind.key);
        if (!member) {
            continue;
        }
        if (!member->as_string()) {
            return mistake("\"" + std::string(kind.key) + "\" is no string");
        }
        const auto grammar = kind.open(*member->as_string());
        return grammar ? verdicts(*grammar, *texts) : refusal(grammar.error());
    }
    return mistake(R"(one of "grammar", "schema", "regex" and "choices" is expected)");
}

int run() {
    std::string line;
    for (std::size_t number = 1; tools::read_line(line); ++number) {
        const std::string place = "standard input: line " + std::to_string(number);
        const auto json = bitnet::json_document::parse(line, "standard input");
        if (!json) { // the reader counts from 1 again in every line
            constexpr std::string_view counted = "standard input: line 1";
            return tools::fail(program, place + json.error().message.substr(counted.size()));
        }
        const auto answered = answer(json->root());
        if (!answered) {
            return tools::fail(program, place + ": " + answered.error().message);
        }
        if (!tools::put(*answered + "\n")) {
            return tools::fail(program, "stdout takes no more bytes");
        }
    }
    return 0;
}

} // namespace

int main(int argc, char** argv) {
    tools::use_binary_streams();
    std::ios::sync_with_stdio(false);
    tools::options options(
        std::string(program),
        R"(Reads JSON Lines from stdin, {"grammar":...,"texts":[...]} or "schema", "regex" or "choices" instead, )"
        R"(and writes {"compiled":true,"accepts":[...],"notes":[...]} for each.)");
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run();
}
