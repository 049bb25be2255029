// SPDX-License-Identifier: MIT
// The options that say which texts a tool may generate: --grammar, --json-schema, --regex, --choices.
#pragma once

#include "options.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain/choices.hpp>
#include <bitnet/constrain/constrained_chooser.hpp>
#include <bitnet/constrain/forced_text.hpp>
#include <bitnet/constrain/gbnf_reader.hpp>
#include <bitnet/constrain/json_schema.hpp>
#include <bitnet/constrain/regex_reader.hpp>
#include <bitnet/constrain/token_constraint.hpp>
#include <bitnet/constrain/token_trie.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace tools {

/// A text for each line, the last of which may lack its line end.
inline bitnet::result<bitnet::grammar> grammar_of_lines(std::string_view text) {
    std::vector<std::string_view> lines;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        lines.push_back(text.substr(0, end));
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    }
    return bitnet::grammar::choices(lines);
}

struct grammar_options {
    std::optional<std::string> gbnf;
    std::optional<std::string> schema;
    std::optional<std::string> regex;
    std::optional<std::string> choices;
    std::string forced = "canonical";

    void add_to(options& all) {
        all.contents("--grammar", "FILE", gbnf, "a grammar in GBNF that what is written has to match");
        all.contents("--json-schema", "FILE", schema, "a JSON Schema by which it has to be valid");
        all.text("--regex", "R", regex, "a regular expression that it has to match as a whole");
        all.contents("--choices", "FILE", choices, "the texts that it may be, one a line");
        constexpr std::array<std::string_view, 2> ways{"canonical", "off"};
        all.choice("--forced-text", ways, forced,
                   "text that leaves no choice: the tokenizer's tokens, several at once, or chosen one by one");
    }

    [[nodiscard]] bool is_given() const noexcept { return count() != 0; }

    /// \pre is_given(). \return an error if more than one was given, too.
    [[nodiscard]] bitnet::result<bitnet::grammar> open() const {
        if (count() != 1) {
            return bitnet::error{bitnet::errc::invalid_argument,
                                 "more than one of --grammar, --json-schema, --regex and --choices was given"};
        }
        return gbnf     ? bitnet::grammar::gbnf(*gbnf, "--grammar")
               : schema ? bitnet::grammar::json_schema(*schema)
               : regex  ? bitnet::grammar::regex(*regex, "--regex")
                        : grammar_of_lines(*choices);
    }

private:
    [[nodiscard]] int count() const noexcept {
        return (gbnf ? 1 : 0) + (schema ? 1 : 0) + (regex ? 1 : 0) + (choices ? 1 : 0);
    }
};

/// A sampler that is held to a grammar. Borrows the tokenizer and the sampler.
class constrained_sampler {
public:
    /// \param limit of the tokens of a text; nullopt: none
    [[nodiscard]] static bitnet::result<std::unique_ptr<constrained_sampler>> open(const grammar_options& chosen,
                                                                                   const bitnet::tokenizer& text,
                                                                                   bitnet::sampler& choose,
                                                                                   std::optional<std::size_t> limit) {
        auto grammar = chosen.open();
        if (!grammar) {
            return std::move(grammar).error();
        }
        auto trie = bitnet::token_trie::open(text);
        if (!trie) {
            return std::move(trie).error();
        }
        std::unique_ptr<constrained_sampler> made(new constrained_sampler(*std::move(grammar), *std::move(trie)));
        bitnet::constraint_options options;
        options.limit = limit;
        options.forced = chosen.forced == "off" ? bitnet::forced_text::off : bitnet::forced_text::canonical;
        auto constraint = bitnet::token_constraint::open(made->grammar_, made->trie_, options);
        if (!constraint) {
            return std::move(constraint).error();
        }
        made->constraint_.emplace(*std::move(constraint));
        auto chooser = bitnet::constrained_chooser<bitnet::sampler>::open(choose, *made->constraint_);
        if (!chooser) {
            return std::move(chooser).error();
        }
        made->chooser_.emplace(*std::move(chooser));
        return made;
    }

    [[nodiscard]] bitnet::any_chooser chooser() noexcept { return *chooser_; }
    [[nodiscard]] bitnet::token_constraint& constraint() noexcept { return *constraint_; }
    [[nodiscard]] const bitnet::token_trie& trie() const noexcept { return trie_; }
    [[nodiscard]] const bitnet::grammar& grammar() const noexcept { return grammar_; }

private:
    constrained_sampler(bitnet::grammar grammar, bitnet::token_trie trie)
        : grammar_(std::move(grammar)), trie_(std::move(trie)) {}

    bitnet::grammar grammar_;
    bitnet::token_trie trie_;
    std::optional<bitnet::token_constraint> constraint_;
    std::optional<bitnet::constrained_chooser<bitnet::sampler>> chooser_;
};

} // namespace tools
