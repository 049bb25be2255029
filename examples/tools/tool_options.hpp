// SPDX-License-Identifier: MIT
// The options that say which functions a model may call: --tools, --tool-choice.
#pragma once

#include "options.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>

#include <algorithm>
#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace tools {

/// The functions of --tools. Borrows the tokenizer. Stays where it is, because its parts borrow each other.
class declared_tools {
public:
    [[nodiscard]] static bitnet::result<std::unique_ptr<declared_tools>> open(std::string_view list,
                                                                              const bitnet::tokenizer& text) {
        std::unique_ptr<declared_tools> made(new declared_tools());
        if (auto declared = made->set_.declare_list(list); !declared) {
            return std::move(declared).error();
        }
        auto trie = bitnet::token_trie::open(text);
        if (!trie) {
            return std::move(trie).error();
        }
        made->trie_ = *std::move(trie);
        auto source = bitnet::constrained_tools::open(made->set_, *made->trie_);
        if (!source) {
            return std::move(source).error();
        }
        made->source_ = *std::move(source);
        return made;
    }

    [[nodiscard]] const bitnet::tool_source& source() const noexcept { return *source_; }

private:
    declared_tools() = default;

    bitnet::tool_set set_;
    std::optional<bitnet::token_trie> trie_;
    std::optional<bitnet::constrained_tools> source_;
};

/// In the order of tool_syntax.
inline constexpr std::array<std::string_view, 4> tool_syntax_words{"template", "marked", "llama3", "falcon3"};

struct tool_options {
    std::optional<std::string> list;
    std::string choice = "auto";
    std::string form = "template";

    void add_to(options& all) {
        all.contents("--tools", "FILE", list,
                     "functions that the model may call, a JSON array as OpenAI's interface has it; calls are printed, "
                     "each on a line, and a line of the input is the result of each");
        all.text("--tool-choice", "WORD", choice,
                 "whether answers to questions have calls: auto, none, required, or the name of the one function");
        all.choice("--tool-form", tool_syntax_words, form,
                   "how functions are declared, calls written and results told; marked: <tool_call>");
    }
    [[nodiscard]] bitnet::tool_syntax syntax() const noexcept {
        const auto at = std::find(tool_syntax_words.begin(), tool_syntax_words.end(), form);
        return static_cast<bitnet::tool_syntax>(at - tool_syntax_words.begin());
    }

    /// Of the answer to a question.
    [[nodiscard]] bitnet::tool_choice first() const noexcept {
        const bitnet::tool_mode mode = choice == "auto"       ? bitnet::tool_mode::automatic
                                       : choice == "none"     ? bitnet::tool_mode::none
                                       : choice == "required" ? bitnet::tool_mode::required
                                                              : bitnet::tool_mode::named;
        return {mode, mode == bitnet::tool_mode::named ? std::string_view(choice) : std::string_view(),
                mode == bitnet::tool_mode::automatic};
    }
    /// Of those that follow results: what had to be called was.
    [[nodiscard]] bitnet::tool_choice next() const noexcept {
        return {choice == "none" ? bitnet::tool_mode::none : bitnet::tool_mode::automatic, {}, true};
    }
};

} // namespace tools
