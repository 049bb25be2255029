// SPDX-License-Identifier: MIT
// tool_form: how functions are declared, calls written and results told outside of ChatML.
#ifndef BITNET_TEXT_TOOL_FORM_HPP
#define BITNET_TEXT_TOOL_FORM_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/text/chat_format.hpp>

#include <array>
#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The ways in which models are told of functions, and write calls of them.
enum class tool_syntax : unsigned char {
    by_template, ///< the file's own, where it is one of these; otherwise `marked`, if chat_options::tools_in_words
    /// As Qwen's and Hermes' models do. A ChatML template has its own words for it; elsewhere the functions are
    /// declared in the system's turn and results are turns of the user's, <tool_response>.
    marked,
    /// LLaMA-3.1's: declared in the first turn of the user's. The call is the whole answer, without a mark, and there
    /// is one: an answer that begins with {"name" is a call. A content beside a call is not written, as the template
    /// has it. A result is a turn of `ipython`, as a JSON string.
    llama3,
    /// Falcon3's: declared in the system's turn; calls are a list between the marks, results turns of the assistant's
    /// without an end. What models write is a list of one call, and another one for each further call. The template
    /// forgets the header of a call without content; here it is written, as what the model had.
    falcon3
};

/// How an answer has a call: `begin`, `before`, the JSON text {"name":...,"arguments":{...}}, `after`, `end`; `between`
/// two of them. Begin and end may be control tokens.
struct tool_form {
    std::string_view begin = "<tool_call>"; ///< empty: see `lead`
    std::string_view before = "\n";
    std::string_view after = "\n";
    std::string_view end = "</tool_call>";
    std::string_view between = "\n";
    std::string_view arguments = "arguments"; ///< the key of the arguments
    /// Where nothing is in front of a call: what its text begins with. An answer that begins so is a call and nothing
    /// else, so that it has no other.
    std::string_view lead = {};
    tool_syntax syntax = tool_syntax::marked;

    [[nodiscard]] constexpr bool has_one_call() const noexcept { return begin.empty(); }
};

namespace detail {

/// In the order of tool_syntax, from `marked` on.
inline constexpr std::array<tool_form, 3> tool_forms{{
    {},
    {.begin = {},
     .before = {},
     .after = {},
     .end = {},
     .between = {},
     .arguments = "parameters",
     .lead = "{\"name\"",
     .syntax = tool_syntax::llama3},
    {.before = "\n[\n  ", .after = "\n]\n", .syntax = tool_syntax::falcon3},
}};

/// \pre syntax is not by_template
[[nodiscard]] constexpr const tool_form& form_of(tool_syntax syntax) noexcept {
    return tool_forms[static_cast<std::size_t>(syntax) - 1];
}

/// Appends the calls of a message to its content.
inline void append_calls(std::string& content, const chat_message& message, const tool_form& form = {}) {
    const bool is_list = form.syntax == tool_syntax::falcon3;
    std::string_view between = content.empty() ? std::string_view{} : form.between;
    for (std::size_t i = 0; i < message.calls.size(); ++i) {
        const bool goes_on = is_list && i + 1 < message.calls.size();
        if (is_list && i != 0) {
            content.append(",\n  ");
        } else {
            content.append(between).append(form.begin).append(form.before);
        }
        content.append("{\"name\": \"").append(message.calls[i].name).append("\", \"").append(form.arguments);
        content.append("\": ").append(message.calls[i].arguments).append("}");
        content.append(goes_on ? "" : form.after).append(goes_on ? "" : form.end);
        between = form.between;
    }
}

/// A result as a turn of the user's has it.
[[nodiscard]] inline std::string as_tool_response(std::string_view result) {
    return std::string("<tool_response>\n").append(result).append("\n</tool_response>");
}

/// What the system's turn says of the functions, after its own content if it has any.
[[nodiscard]] inline std::string declared_tools(std::string_view content, std::string_view declarations) {
    std::string made(content);
    made.append(made.empty() ? "" : "\n\n");
    made.append("# Tools\n\nThese functions can be called:\n<tools>\n").append(declarations);
    made.append("\n</tools>\n\nA call is written as follows, and its result is told next:\n<tool_call>\n");
    return made.append("{\"name\": NAME, \"arguments\": OBJECT}\n</tool_call>");
}

/// What else the forms of LLaMA-3.1 and Falcon3 write: see text/tool_words.hpp. Pointers, so that programs do not
/// compile what reads JSON.
struct tool_words {
    /// A JSON array of functions, as declaration() is to have it. \return errc::invalid_argument if it is no array
    result<std::string> (*list)(std::string_view json, tool_syntax syntax) = nullptr;
    /// The turn in which functions are declared. \param content its own
    std::string (*declaration)(std::string_view content, std::string_view list, tool_syntax syntax) = nullptr;
    std::string (*outcome)(std::string_view text, tool_syntax syntax) = nullptr; ///< of a call
    result<std::string> (*arguments)(std::string_view json) = nullptr;           ///< of a call
};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
