// SPDX-License-Identifier: MIT
// chat_format: the published ways of writing a dialog as one text, and what they do to its roles and contents.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One format for each published template. [x] is the control token x, \n a line end; turns follow one another:
///
///     bitnet   Role: content[<|eot_id|>]                                                  prompt: "Assistant: "
///     llama3   [<|start_header_id|>]role[<|end_header_id|>]\n\ncontent[<|eot_id|>]        prompt: header of assistant
///     falcon3  <|role|>\ncontent\n, of the assistant <|assistant|>\ncontent[EOS]\n        prompt: "<|assistant|>\n"
///     chatml   [<|im_start|>]role\ncontent[<|im_end|>]\n                                  prompt: header of assistant
///
/// bitnet and llama3 begin with BOS and strip white space around contents. The last line end of falcon3 stands only
/// where another turn follows; its marks are control tokens where the vocabulary has them and text where not.
/// Sources: the templates published with microsoft/bitnet-b1.58-2B-4T and with LLaMA-3; falcon3 is what llama.cpp calls
/// so, with EOS behind an answer, where the model puts it (Tulu's and OLMo's templates are the same); ChatML is
/// OpenAI's.
enum class chat_format : unsigned char { bitnet, llama3, falcon3, chatml };

/// In the order of the enumeration.
inline constexpr std::array<std::string_view, 4> chat_format_names{"bitnet", "llama3", "falcon3", "chatml"};

[[nodiscard]] constexpr std::string_view name_of(chat_format format) noexcept {
    return chat_format_names[static_cast<std::size_t>(format)];
}

/// The format of that name; nothing if there is none.
[[nodiscard]] constexpr std::optional<chat_format> find_chat_format(std::string_view name) noexcept {
    const auto found = std::find(chat_format_names.begin(), chat_format_names.end(), name);
    if (found == chat_format_names.end()) {
        return std::nullopt;
    }
    return static_cast<chat_format>(found - chat_format_names.begin());
}

/// One turn of a dialog. Borrows its texts.
struct chat_message {
    std::string_view role;    ///< "system", "user", "assistant"; all but falcon3 take others, such as "tool"
    std::string_view content; ///< any bytes; control tokens spelled in it are text
};

/// Whether the template writes turns of that role: falcon3's passes over those it does not know.
[[nodiscard]] constexpr bool has_role(chat_format format, std::string_view role) noexcept {
    return format == chat_format::falcon3 ? role == "system" || role == "user" || role == "assistant" : !role.empty();
}

/// The spelling of the token that ends a turn; empty where it is the vocabulary's EOS.
[[nodiscard]] constexpr std::string_view end_of_turn(chat_format format) noexcept {
    switch (format) {
    case chat_format::bitnet:
    case chat_format::llama3:
        return "<|eot_id|>";
    case chat_format::chatml:
        return "<|im_end|>";
    case chat_format::falcon3:
        break;
    }
    return {};
}

/// Whether a dialog begins with BOS whatever the vocabulary says.
[[nodiscard]] constexpr bool begins_with_bos(chat_format format) noexcept {
    return format == chat_format::bitnet || format == chat_format::llama3;
}

/// Whether white space around a content is left out.
[[nodiscard]] constexpr bool strips_content(chat_format format) noexcept {
    return format == chat_format::bitnet || format == chat_format::llama3;
}

/// `text` without white space at both ends, as the `trim` of templates sees it: Python's str.strip(), which takes the
/// four separators from U+001C on for white space too.
[[nodiscard]] constexpr std::string_view stripped(std::string_view text) noexcept {
    const auto is_space = [](char32_t c) {
        return (c >= 0x09 && c <= 0x0d) || (c >= 0x1c && c <= 0x20) || c == 0x85 || c == 0xa0 || c == 0x1680 ||
               (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f || c == 0x205f || c == 0x3000;
    };
    std::size_t begin = text.size();
    std::size_t end = text.size();
    for (std::size_t i = 0; i < text.size();) {
        const decoded_code_point c = first_code_point(text.substr(i));
        const bool space = is_space(c.value);
        begin = begin == text.size() && !space ? i : begin;
        i += c.size;
        end = space ? end : i;
    }
    return text.substr(begin, end - begin);
}

/// The first letter large and the others small, as the `capitalize` of templates does it; ASCII only.
[[nodiscard]] inline std::string capitalized(std::string_view role) {
    std::string made(role);
    for (std::size_t i = 0; i < made.size(); ++i) {
        const char low = i == 0 ? 'a' : 'A';
        const bool turn = made[i] >= low && made[i] <= low + 25;
        made[i] = turn ? static_cast<char>(made[i] ^ 0x20) : made[i];
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI
