// SPDX-License-Identifier: MIT
// bitnet-tokenize: JSON Lines in, JSON Lines out, in pure ASCII: {"text":"Hi"} to {"ids":[13347]}, and back.
//
// Text that JSON can write and UTF-8 cannot, a lone surrogate such as "\ud800", is refused: no token stands for it.
// Ids whose bytes are not UTF-8, as those of half a character, give \ufffd in the text and all bytes beside it:
// {"text":"\ufffd","bytes":[226,130]}. Members with other names are passed over.
#include "json_writer.hpp"
#include "options.hpp"
#include "streams.hpp"

#include <bitnet/checkpoint/open_model_file.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <cstdio>
#include <ios>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-tokenize";

struct settings {
    std::string file;
    std::string pre_tokenizer;
    bool special = false;
    bool decode = false;
};

bitnet::error mistake(const std::string& sentence) { return {bitnet::errc::invalid_argument, sentence}; }

bool is_utf8(std::string_view bytes) {
    while (!bytes.empty()) {
        const auto first = bitnet::detail::first_code_point(bytes);
        if (first.value == bitnet::detail::invalid_code_point) {
            return false;
        }
        bytes.remove_prefix(first.size);
    }
    return true;
}

bitnet::result<std::string> ids_of(const bitnet::tokenizer& tokens, bitnet::json_value line, bool special) {
    const auto member = line.find("text");
    const auto text = member ? member->as_string() : std::nullopt;
    if (!text) {
        return mistake("an object with a string called \"text\" is expected");
    }
    const auto ids = tokens.encode(*text, {.parse_special = special});
    if (!ids) {
        return bitnet::error{ids.error()};
    }
    tools::json_writer json;
    json.begin('{');
    json.begin("ids", '[');
    for (const bitnet::token id : *ids) {
        json.value(id);
    }
    json.end(']');
    json.end('}');
    return json.text();
}

bitnet::result<std::string> text_of(const bitnet::tokenizer& tokens, bitnet::json_value line) {
    const auto ids = line.find("ids");
    if (!ids || !ids->is_array()) {
        return mistake("an object with an array called \"ids\" is expected");
    }
    std::string bytes;
    for (const bitnet::json_value element : ids->elements()) {
        const auto id = element.as_integer<bitnet::token>();
        if (!id || !tokens.contains(*id)) {
            return mistake("\"ids\" holds something else than integers from 0 to " +
                           std::to_string(tokens.vocabulary_size() - 1));
        }
        bytes += tokens.bytes_of(*id);
    }
    tools::json_writer json;
    json.begin('{');
    json.member("text", std::string_view(bytes));
    if (!is_utf8(bytes)) {
        json.begin("bytes", '[');
        for (const char byte : bytes) {
            json.value(static_cast<unsigned>(static_cast<unsigned char>(byte)));
        }
        json.end(']');
    }
    json.end('}');
    return json.text();
}

/// The answer to one line. Errors begin with "standard input: line <number>".
bitnet::result<std::string> answer(const bitnet::tokenizer& tokens, const settings& chosen, std::string_view line,
                                   std::size_t number) {
    const std::string place = "standard input: line " + std::to_string(number);
    const auto json = bitnet::json_document::parse(line, "standard input");
    if (!json) { // the reader counts from 1 again in every line
        constexpr std::string_view counted = "standard input: line 1";
        return bitnet::error{json.error().code, place + json.error().message.substr(counted.size())};
    }
    auto made = chosen.decode ? text_of(tokens, json->root()) : ids_of(tokens, json->root(), chosen.special);
    return made ? std::move(made) : bitnet::error{made.error().code, place + ": " + made.error().message};
}

int run(const settings& chosen) {
    const auto file = bitnet::model_file::open(chosen.file);
    if (!file) {
        return tools::fail(program, file.error().message);
    }
    const auto tokens = bitnet::tokenizer::open(file->gguf(), {.pre_tokenizer = chosen.pre_tokenizer});
    if (!tokens) {
        return tools::fail(program, tokens.error().message);
    }
    if (tokens->pre_tokenizer().inferred) {
        std::fprintf(stderr, "note: %s\n", tokens->pre_tokenizer().why.c_str());
    }
    for (const auto notes : {file->notes(), std::span<const std::string>(tokens->notes())}) {
        for (const std::string& note : notes) {
            std::fprintf(stderr, "note: %s\n", note.c_str());
        }
    }
    std::string line;
    for (std::size_t number = 1; tools::read_line(line); ++number) {
        const auto answered = answer(*tokens, chosen, line, number);
        if (!answered) {
            return tools::fail(program, answered.error().message);
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
        R"(Reads JSON Lines from stdin, {"text":...}, and writes {"ids":[...]} for each, without BOS.)");
    settings chosen;
    options.required("-m", "FILE", chosen.file,
                     "the model or vocabulary: a GGUF file or a folder; its weights are not read");
    options.flag("--special", chosen.special,
                 "control tokens that the text spells, such as <|eot_id|>, are those tokens");
    options.flag("--decode", chosen.decode, R"(the other way: {"ids":[...]} in, {"text":...} out)");
    options.text("--pre", "NAME", chosen.pre_tokenizer, "pre-tokenizer, instead of the file's or the inferred one");
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    return run(chosen);
}
