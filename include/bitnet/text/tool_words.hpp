// SPDX-License-Identifier: MIT
// tool_words: functions, calls and results as the templates of LLaMA-3.1 and Falcon3 write them.
#ifndef BITNET_TEXT_TOOL_WORDS_HPP
#define BITNET_TEXT_TOOL_WORDS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/python_json.hpp>
#include <bitnet/text/tool_form.hpp>

#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// LLaMA-3.1's sentences follow each other without a space, and Falcon3's those of the system, as in their templates.
[[nodiscard]] inline std::string declaration_of(std::string_view content, std::string_view list, tool_syntax syntax) {
    if (syntax == tool_syntax::llama3) {
        return std::string("Given the following functions, please respond with a JSON for a function call with its "
                           "proper arguments that best answers the given prompt.\n\nRespond in the format "
                           "{\"name\": function name, \"parameters\": dictionary of argument name and its value}."
                           "Do not use variables.\n\n")
            .append(list)
            .append(content);
    }
    return std::string(content)
        .append("You are a Falcon assistant skilled in function calling. You are helpful, respectful, and concise."
                "\n\n# Tools\n\nYou have access to the following functions. You MUST use them to answer questions "
                "when needed. For each function call, you MUST return a JSON object inside <tool_call></tool_call> "
                "tags.\n\n<tools>")
        .append(list)
        .append("</tools>\n\n# Output Format\n\nYour response MUST follow this format when making function calls:"
                "\n<tool_call>\n[\n  {\"name\": \"function_name\", \"arguments\": {\"arg1\": \"value1\", "
                "\"arg2\": \"value2\"}},\n  {\"name\": \"another_function\", \"arguments\": {\"arg\": "
                "\"value\"}}\n]\n</tool_call>\nIf no function calls are needed, respond normally without the "
                "tool_call tags.");
}

/// LLaMA-3.1 has each function with a line between, Falcon3 the array.
[[nodiscard]] inline result<std::string> list_of_tools(std::string_view json, tool_syntax syntax) {
    return guarded([&]() -> result<std::string> {
        constexpr std::string_view name = "the list of tools";
        const auto document = json_document::parse(json, name);
        if (!document) {
            return failed(document);
        }
        const json_value list = document->root();
        if (!list.is_array()) {
            return error_saying(errc::invalid_argument,
                                {name, " is of the type ", name_of(list.type()), ", not an array"});
        }
        std::string made;
        if (syntax == tool_syntax::falcon3) {
            append_python_json(made, list, {.spaces = 2});
            return made;
        }
        for (const json_value tool : list.elements()) {
            append_python_json(made, tool, {.spaces = 4});
            made += "\n\n";
        }
        return made;
    });
}

/// LLaMA-3.1's template writes texts as JSON strings, also where they are JSON.
[[nodiscard]] inline std::string outcome_of_call(std::string_view text, tool_syntax syntax) {
    std::string made;
    if (syntax != tool_syntax::llama3) {
        return as_tool_response(text);
    }
    append_python_string(made, text);
    return made;
}

[[nodiscard]] inline result<std::string> arguments_of_call(std::string_view json) {
    return python_json(json, "the arguments of a call");
}

inline constexpr tool_words published_tool_words{&list_of_tools, &declaration_of, &outcome_of_call, &arguments_of_call};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
