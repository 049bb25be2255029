// SPDX-License-Identifier: MIT
// tool_form: how functions are declared, calls written and results told where a format has no words of its own.
#ifndef BITNET_TEXT_TOOL_FORM_HPP
#define BITNET_TEXT_TOOL_FORM_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/chat_format.hpp>

#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// How an answer has a call: `begin`, `before`, the JSON text {"name":...,"arguments":...}, `after`, `end`; `between`
/// two of them. As Qwen's and Hermes' models write it; the first and the last may be control tokens.
struct tool_form {
    std::string_view begin = "<tool_call>";
    std::string_view before = "\n";
    std::string_view after = "\n";
    std::string_view end = "</tool_call>";
    std::string_view between = "\n";
};

namespace detail {

/// Appends the calls of a message to its content.
inline void append_calls(std::string& content, const chat_message& message) {
    constexpr tool_form form;
    for (const chat_tool_call& call : message.calls) {
        content.append(content.empty() ? std::string_view{} : form.between).append(form.begin).append(form.before);
        content.append("{\"name\": \"").append(call.name).append("\", \"arguments\": ").append(call.arguments);
        content.append("}").append(form.after).append(form.end);
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

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
