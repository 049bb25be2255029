// SPDX-License-Identifier: MIT
// chatml_facts: what a file's own ChatML template writes beyond the format.
#ifndef BITNET_TEXT_CHATML_FACTS_HPP
#define BITNET_TEXT_CHATML_FACTS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// Whether a model is to think before it answers, as far as its template has a way to say so.
enum class chat_thinking : unsigned char {
    by_template, ///< what the template does if it is told nothing
    on,
    off
};

namespace detail {

/// What becomes of the thoughts in front of an assistant's answers.
enum class thought_rule : unsigned char {
    text,          ///< the template does not know of any: all is text
    dropped,       ///< always left out
    since_question ///< written since the last question, if there is one or the answer is the last message
};

/// The texts are the template's own; control tokens spelled in them are control tokens.
struct chatml_facts {
    /// Around the list of tools, in the system's turn that the dialog begins with.
    struct tool_list {
        std::string after_system;   ///< from the content of the system's message to the first tool
        std::string without_system; ///< from the header to the first tool
        std::string before_each;
        std::string after_each;
        std::string end; ///< the turn's end included
    };

    std::array<std::string, 3> prompts; ///< after "<|im_start|>assistant\n", by chat_thinking
    std::string default_system;         ///< a whole turn, written if the first message is not the system's
    std::optional<tool_list> tools;
    std::string why_no_tools; ///< where there is no `tools`
    bool has_calls = false;   ///< an assistant's calls and the results of role "tool" are written as Qwen's models do
    bool parts_thoughts = false;  ///< a line end is before the first call if there is content or a dropped thought
    bool has_other_roles = false; ///< turns of roles that the template does not name are like the user's
    thought_rule thoughts = thought_rule::text;
    bool strips_answers = false;         ///< dropped: line ends in front of an answer go, thought or not
    bool thinks_always = false;          ///< since_question: a thought is written even if there is none
    bool results_are_no_question = true; ///< a user's message that is a bare <tool_response>
    bool begins_asked = false;           ///< since_question: so it is before the first question
    /// JSON, and the elements of an array, as the template writes them. `name` is what errors call the text. Pointers,
    /// so that programs that only have dialogs do not compile what reads JSON.
    result<std::string> (*to_json)(std::string_view json, std::string_view name) = nullptr;
    result<std::vector<std::string>> (*to_json_list)(std::string_view json, std::string_view name) = nullptr;

    [[nodiscard]] const std::string& prompt(chat_thinking thinking) const noexcept {
        return prompts[static_cast<unsigned char>(thinking)];
    }
    /// Whether the template knows of thoughts at all.
    [[nodiscard]] bool has_thoughts() const noexcept {
        return thoughts != thought_rule::text || prompt(chat_thinking::on) != prompt(chat_thinking::off);
    }
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
