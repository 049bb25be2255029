// SPDX-License-Identifier: MIT
// ChatML templates in this project's own words, and a vocabulary for them: what tests read and the fuzzer spoils.
#pragma once

#include "small_vocabulary.hpp"

#include <bitnet/io/gguf_writer.hpp>

#include <string>
#include <string_view>

namespace bitnet_tests {

/// Turns as they are given.
inline const std::string plain_turns =
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m.content + '<|im_end|>\\n' }}{% endfor %}";

/// What an answer is prompted with: the header, and `more`.
[[nodiscard]] inline std::string prompt(const std::string& more) {
    return "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}" + more + "{% endif %}";
}

/// A thinking model's template with tools. A user's bare <tool_response> is no question, and thoughts stay until the
/// next one.
inline const std::string thinking_turns =
    "{%- if tools %}\n  {{- '<|im_start|>system\\n' }}\n  {%- if messages[0].role == 'system' %}\n"
    "    {{- messages[0].content ~ '\\n--\\n' }}\n  {%- endif %}\n  {{- 'Tools <|im_end|> \"are\":' }}\n"
    "  {%- for tool in tools %}\n    {{- '\\n* ' }}{{- tool | tojson }}{{- ';' }}\n  {%- endfor %}\n"
    "  {{- '\\nCall them.<|im_end|>\\n' }}\n{%- elif messages[0].role == 'system' %}\n"
    "  {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}\n{%- endif %}\n"
    "{%- set asked = namespace(at=messages|length - 1, open=true) %}\n{%- for m in messages[::-1] %}\n"
    "  {%- if asked.open and m.role == \"user\" and not m.content.startswith('<tool_response>') %}\n"
    "    {%- set asked.open = false %}{%- set asked.at = messages|length - 1 - loop.index0 %}\n"
    "  {%- endif %}\n{%- endfor %}\n{%- for m in messages %}\n"
    "  {%- if m.role == 'user' or (m.role == 'system' and not loop.first) %}\n"
    "    {{- '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>\\n' }}\n"
    "  {%- elif m.role == 'assistant' %}\n    {%- set said = m.content.split('</think>')[-1].lstrip('\\n') %}\n"
    "    {%- set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\\n') %}\n"
    "    {{- '<|im_start|>assistant\\n' }}\n"
    "    {%- if loop.index0 > asked.at and (loop.last or thought) %}\n"
    "      {{- '<think>\\n' + thought + '\\n</think>\\n\\n' + said.lstrip('\\n') }}\n"
    "    {%- else %}\n      {{- said }}\n    {%- endif %}\n    {%- for call in m.tool_calls %}\n"
    "      {%- if said or not loop.first %}{{- '\\n' }}{%- endif %}\n"
    "      {{- '<tool_call>\\n{\"name\": \"' + call.name + '\", \"arguments\": ' }}\n"
    "      {{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}\n    {%- endfor %}\n    {{- '<|im_end|>\\n' }}\n"
    "  {%- elif m.role == 'tool' %}\n    {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}\n"
    "      {{- '<|im_start|>user' }}\n    {%- endif %}\n"
    "    {{- '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}\n"
    "    {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}\n      {{- '<|im_end|>\\n' }}\n    {%- endif "
    "%}\n"
    "  {%- endif %}\n{%- endfor %}\n";

inline const std::string told_prompt = prompt("{%- if enable_thinking is defined and enable_thinking is false %}"
                                              "{{ '<think>\\n\\n</think>\\n\\n' }}{%- endif %}");

/// A vocabulary with a template and with user-defined marks.
[[nodiscard]] inline small_vocabulary chatml_vocabulary(std::string_view text) {
    small_vocabulary keys;
    for (const char* spelling : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
        keys.add_token(spelling, 3);
    }
    keys.more = [text](bitnet::gguf_writer& writer) {
        writer.add("general.architecture", std::string_view("qwen3"));
        writer.add("tokenizer.chat_template", text);
    };
    for (const char* mark : {"<think>", "</think>", "<tool_call>", "</tool_call>"}) {
        keys.add_token(mark, 4);
    }
    keys.add_bos = false;
    return keys;
}

} // namespace bitnet_tests
