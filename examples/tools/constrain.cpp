// SPDX-License-Identifier: MIT
// bitnet-constrain: JSON Lines in, JSON Lines out: which texts a grammar allows.
//
// {"grammar":"root ::= \"a\"+","texts":["aa","b"]} to {"compiled":true,"accepts":[true,false],"notes":[]}. Instead of
// "grammar" (GBNF): "schema" (JSON Schema), "regex" or "choices", one a line. What cannot be compiled gives
// {"compiled":false,"error":"..."}; members with other names are passed over. With -m the texts are fed as tokens of a
// model's vocabulary; with --tokens every mask on the way is compared with the bytes of all its tokens.
#include "grammar_options.hpp"
#include "json_writer.hpp"
#include "options.hpp"
#include "streams.hpp"

#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <algorithm>
#include <cstddef>
#include <ios>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

constexpr std::string_view program = "bitnet-constrain";

bitnet::error mistake(const std::string& sentence) { return {bitnet::errc::invalid_argument, sentence}; }

struct grammar_kind {
    std::string_view key;
    bitnet::result<bitnet::grammar> (*open)(std::string_view text);
};

constexpr grammar_kind kinds[] = {
    {"grammar", [](std::string_view text) { return bitnet::grammar::gbnf(text); }},
    {"schema", [](std::string_view text) { return bitnet::grammar::json_schema(text); }},
    {"regex", [](std::string_view text) { return bitnet::grammar::regex(text); }},
    {"choices", tools::grammar_of_lines},
};

/// A vocabulary, if there is one to feed texts by.
struct vocabulary {
    bitnet::tokenizer text;
    bitnet::token_trie trie;
    bool compares = false;
};

bitnet::result<std::unique_ptr<vocabulary>> open_vocabulary(const std::string& file, bool compares) {
    const auto source = bitnet::byte_source::open(file);
    if (!source) {
        return bitnet::error{source.error()};
    }
    const auto read = bitnet::gguf_file::parse(source->bytes(), file);
    if (!read) {
        return bitnet::error{read.error()};
    }
    auto text = bitnet::tokenizer::open(*read);
    if (!text) {
        return std::move(text).error();
    }
    std::unique_ptr<vocabulary> made(new vocabulary{*std::move(text), {}, compares});
    auto trie = bitnet::token_trie::open(made->text);
    if (!trie) {
        return std::move(trie).error();
    }
    made->trie = *std::move(trie);
    return made;
}

/// Feeds texts to a grammar, as bytes or as tokens.
class feeder {
public:
    [[nodiscard]] static bitnet::result<feeder> open(const bitnet::grammar& grammar, const vocabulary* words) {
        auto bytes = bitnet::matcher::open(grammar);
        if (!bytes) {
            return std::move(bytes).error();
        }
        feeder made(*std::move(bytes), words);
        if (words != nullptr) {
            bitnet::constraint_options options;
            options.forced = bitnet::forced_text::off; // whole masks are what is compared
            auto tokens = bitnet::token_constraint::open(grammar, words->trie, options);
            if (!tokens) {
                return std::move(tokens).error();
            }
            made.tokens_.emplace(*std::move(tokens));
        }
        return made;
    }

    /// Whether a text is taken to its end; a note where the matcher cannot tell.
    [[nodiscard]] bitnet::result<bool> accepts(std::string_view text, std::size_t number,
                                               std::vector<std::string>& notes) {
        bytes_.restart();
        if (words_ != nullptr) {
            return accepts_tokens(text, number, notes);
        }
        const std::size_t taken = bytes_.accept(text);
        if (bytes_.out_of_budget()) {
            notes.push_back(beyond(number, taken, "byte"));
        }
        return taken == text.size() && bytes_.can_end();
    }
    [[nodiscard]] std::size_t compared() const noexcept { return compared_; }

private:
    feeder(bitnet::matcher bytes, const vocabulary* words) : bytes_(std::move(bytes)), words_(words) {}

    [[nodiscard]] static std::string beyond(std::size_t number, std::size_t taken, const char* unit) {
        return "text " + std::to_string(number) + ", " + unit + " " + std::to_string(taken) +
               ": it can be read in more ways than the matcher holds, and counts as not accepted";
    }

    [[nodiscard]] bitnet::result<bool> accepts_tokens(std::string_view text, std::size_t number,
                                                      std::vector<std::string>& notes) {
        const auto ids = words_->text.encode(text, {.parse_special = false, .follows_text = true});
        if (!ids) {
            return bitnet::error{ids.error()};
        }
        tokens_->restart();
        for (std::size_t i = 0; i <= ids->size(); ++i) {
            const auto allowed = tokens_->allowed();
            if (!allowed && allowed.error().code == bitnet::errc::grammar_budget) {
                notes.push_back(beyond(number, i, "token"));
                return false;
            }
            if (auto same =
                    words_->compares ? compare(allowed ? &*allowed : nullptr, number, i) : bitnet::result<void>();
                !same) {
                return std::move(same).error();
            }
            if (i == ids->size()) {
                break;
            }
            if (!allowed || !allowed->contains((*ids)[i]) || !tokens_->accept((*ids)[i])) {
                return false;
            }
            bytes_.accept(words_->text.bytes_of((*ids)[i]));
        }
        return tokens_->can_end();
    }

    /// A mask with what the bytes of every token find. \return an error that names the first token that differs.
    [[nodiscard]] bitnet::result<void> compare(const bitnet::allowed_tokens* mask, std::size_t number, std::size_t at) {
        ++compared_;
        const bitnet::tokenizer& text = words_->text;
        for (bitnet::token id = 0; text.contains(id); ++id) {
            const bool is_right =
                text.is_stop(id) ? bytes_.can_end() : !text.is_special(id) && bytes_.allows(text.bytes_of(id));
            if (is_right != (mask != nullptr && mask->contains(id))) {
                return mistake("text " + std::to_string(number) + ", token " + std::to_string(at) + ": the mask " +
                               (is_right ? "lacks" : "has") + " token " + std::to_string(id) +
                               ", and its bytes say otherwise");
            }
        }
        return {};
    }

    bitnet::matcher bytes_;
    const vocabulary* words_;
    std::optional<bitnet::token_constraint> tokens_;
    std::size_t compared_ = 0;
};

std::string refusal(const bitnet::error& why) {
    tools::json_writer json;
    json.begin('{');
    json.member("compiled", false);
    json.member("error", why.message);
    json.end('}');
    return json.text();
}

bitnet::result<std::string> verdicts(const bitnet::grammar& grammar, bitnet::json_value texts,
                                     const vocabulary* words) {
    auto feed = feeder::open(grammar, words);
    if (!feed) {
        return refusal(feed.error());
    }
    tools::json_writer json;
    json.begin('{');
    json.member("compiled", true);
    json.begin("accepts", '[');
    std::vector<std::string> notes(grammar.notes().begin(), grammar.notes().end());
    std::size_t number = 0;
    for (const bitnet::json_value text : texts.elements()) {
        const auto accepted = feed->accepts(*text.as_string(), ++number, notes);
        if (!accepted) {
            return bitnet::error{accepted.error()};
        }
        json.value(*accepted);
    }
    json.end(']');
    json.begin("notes", '[');
    for (const std::string& note : notes) {
        json.value(note);
    }
    json.end(']');
    if (words != nullptr && words->compares) {
        json.member("masks_compared", feed->compared());
    }
    json.end('}');
    return json.text();
}

/// The answer to one line, or what is wrong with it.
bitnet::result<std::string> answer(bitnet::json_value line, const vocabulary* words) {
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
        return grammar ? verdicts(*grammar, *texts, words) : bitnet::result<std::string>(refusal(grammar.error()));
    }
    return mistake(R"(one of "grammar", "schema", "regex" and "choices" is expected)");
}

int run(const vocabulary* words) {
    std::string line;
    for (std::size_t number = 1; tools::read_line(line); ++number) {
        const std::string place = "standard input: line " + std::to_string(number);
        const auto json = bitnet::json_document::parse(line, "standard input");
        if (!json) { // the reader counts from 1 again in every line
            constexpr std::string_view counted = "standard input: line 1";
            return tools::fail(program, place + json.error().message.substr(counted.size()));
        }
        const auto answered = answer(json->root(), words);
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
    std::string model;
    bool compares = false;
    options.text("-m", "FILE", model, "a GGUF file: texts are fed as tokens of its vocabulary");
    options.flag("--tokens", compares, "compare every mask with the bytes of all tokens of -m's vocabulary");
    if (const auto status = options.read(argc, argv)) {
        return *status;
    }
    if (model.empty()) {
        return compares ? options.refuse("--tokens needs a vocabulary: -m FILE is missing") : run(nullptr);
    }
    const auto words = open_vocabulary(model, compares);
    return words ? run(words->get()) : tools::fail(program, words.error().message);
}
