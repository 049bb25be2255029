// SPDX-License-Identifier: MIT
// Templates with the words for tools of LLaMA-3.1 and Falcon3, in this project's own words otherwise.
#pragma once

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

} // namespace bitnet_tests
