// SPDX-License-Identifier: MIT
// Templates with the words for tools of LLaMA-3.1 and Falcon3, in this project's own words otherwise.
#pragma once

#include "golden/gguf_editor.hpp"

#include <bitnet/io/gguf_reader.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

namespace bitnet_tests {

/// What LLaMA-3.1's template is known by. Not longer than the template of the tiny model, whose place it takes in
/// tests.
inline constexpr std::string_view llama3_tools =
    "{{ '<|start_header_id|>' + m.role + '<|end_header_id|>\\n\\n' + m.content + '<|eot_id|>' }}"
    "{{ 'Given the following functions, please respond with a JSON for a function call ' }}"
    "{{ tool_call.arguments | tojson }}{{ '<|start_header_id|>ipython<|end_header_id|>' }}";

/// And Falcon3's.
inline constexpr std::string_view falcon3_tools =
    "{%- if tools %}{{ 'skilled in function calling' }}{{ '<|user|>\\n' + message.content + '\\n' }}"
    "{{ '<|assistant|>\\n' + '<tool_call>\\n' + eos_token + '<tool_response>' }}{{ '<|assistant|>\\n' }}{%- endif %}";

/// A GGUF file with another template.
[[nodiscard]] inline std::string with_template(std::string_view file, std::string_view text) {
    gguf_editor editor(std::as_bytes(std::span(file)));
    editor.set_value("tokenizer.chat_template", bitnet::gguf_type::string, gguf_editor::string(text));
    std::string bytes;
    for (const std::byte byte : editor.bytes()) {
        bytes += static_cast<char>(byte);
    }
    return bytes;
}

} // namespace bitnet_tests
