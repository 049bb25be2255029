// SPDX-License-Identifier: MIT
// chat_format: the published ways of writing a dialog as one text, and what they do to its roles and contents.
#ifndef BITNET_TEXT_CHAT_FORMAT_HPP
#define BITNET_TEXT_CHAT_FORMAT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/utf8.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One format for each published template; chat_format_rules says what each writes.
/// Sources: the templates published with microsoft/bitnet-b1.58-2B-4T and with LLaMA-3; falcon3 is what llama.cpp calls
/// so, with EOS after an answer, as the model puts it (Tulu's and OLMo's templates are the same); ChatML is OpenAI's.
enum class chat_format : unsigned char { bitnet, llama3, falcon3, chatml };

namespace detail {

/// How a format writes the name of a role.
enum class role_spelling : unsigned char {
    as_given,    ///< text
    capitalized, ///< text, "user" as "User"
    mark,        ///< the control token <|user|>, or that as text if the vocabulary has no such token
};

/// All that a format writes. A turn is its header (`header_begin`, the role, `header_end`, `after_header`), its
/// content, `turn_end` and `after_turn`; an answer is prompted by the header alone. A new format is a new row of
/// chat_format_rules, and what text/open_chat_template.hpp recognises it by.
struct chat_format_rule {
    chat_format format;
    std::string_view name;
    role_spelling role;
    std::string_view header_begin = {}; ///< a control token; empty: none
    std::string_view header_end = {};   ///< a control token; empty: none
    std::string_view after_header = {}; ///< text
    std::string_view turn_end = {};     ///< a control token; empty: the vocabulary's EOS
    std::string_view after_turn = {};   ///< text
    std::string_view other_stop = {};   ///< another control token that ends answers, if the vocabulary has it
    bool begins_with_bos = false;       ///< always; if false, only if vocabulary or template say so
    bool strips_content = false;        ///< white space around contents is removed
    /// Only answers have `turn_end`; theirs is followed by `after_turn` only if another turn follows.
    bool ends_answers_only = false;
    /// The only roles that the template writes; none: all that are not empty.
    std::array<std::string_view, 3> roles = {};
};

/// In the order of the enumeration. [x] is the control token x, \n a line end.
inline constexpr std::array<chat_format_rule, 4> chat_format_rules{{
    // Role: content[<|eot_id|>]
    {.format = chat_format::bitnet,
     .name = "bitnet",
     .role = role_spelling::capitalized,
     .after_header = ": ",
     .turn_end = "<|eot_id|>",
     .begins_with_bos = true,
     .strips_content = true},
    // [<|start_header_id|>]role[<|end_header_id|>]\n\ncontent[<|eot_id|>]
    {.format = chat_format::llama3,
     .name = "llama3",
     .role = role_spelling::as_given,
     .header_begin = "<|start_header_id|>",
     .header_end = "<|end_header_id|>",
     .after_header = "\n\n",
     .turn_end = "<|eot_id|>",
     .begins_with_bos = true,
     .strips_content = true},
    // [<|role|>]\ncontent\n, and answers: [<|assistant|>]\ncontent[EOS]\n
    {.format = chat_format::falcon3,
     .name = "falcon3",
     .role = role_spelling::mark,
     .after_header = "\n",
     .after_turn = "\n",
     .ends_answers_only = true,
     .roles = {"system", "user", "assistant"}},
    // [<|im_start|>]role\ncontent[<|im_end|>]\n
    {.format = chat_format::chatml,
     .name = "chatml",
     .role = role_spelling::as_given,
     .header_begin = "<|im_start|>",
     .after_header = "\n",
     .turn_end = "<|im_end|>",
     .after_turn = "\n",
     .other_stop = "<|endoftext|>"}, // Qwen's models end answers with either
}};

[[nodiscard]] constexpr const chat_format_rule& rule_of(chat_format format) noexcept {
    return chat_format_rules[static_cast<std::size_t>(format)];
}

static_assert(
    [] {
        for (std::size_t i = 0; i < chat_format_rules.size(); ++i) {
            if (chat_format_rules[i].format != static_cast<chat_format>(i)) {
                return false;
            }
        }
        return true;
    }(),
    "chat_format_rules is in the order of the enumeration");

} // namespace detail

/// In the order of the enumeration.
inline constexpr auto chat_format_names = [] {
    std::array<std::string_view, detail::chat_format_rules.size()> names;
    for (std::size_t i = 0; i < names.size(); ++i) {
        names[i] = detail::chat_format_rules[i].name;
    }
    return names;
}();

[[nodiscard]] constexpr std::string_view name_of(chat_format format) noexcept { return detail::rule_of(format).name; }

/// The format of that name; nullopt if there is none.
[[nodiscard]] constexpr std::optional<chat_format> find_chat_format(std::string_view name) noexcept {
    for (const detail::chat_format_rule& rule : detail::chat_format_rules) {
        if (rule.name == name) {
            return rule.format;
        }
    }
    return std::nullopt;
}

/// A call of a tool, which an assistant's message makes. Borrows its texts.
struct chat_tool_call {
    std::string_view name;
    std::string_view arguments; ///< a JSON object; what is no JSON is written as it is
};

/// One turn of a dialog. Borrows its texts.
struct chat_message {
    std::string_view role;    ///< "system", "user", "assistant", "tool" for a result; some formats take others, too
    std::string_view content; ///< any bytes; control tokens spelled in it are text
    std::span<const chat_tool_call> calls = {}; ///< of an assistant
};

namespace detail {

/// Whether the template writes turns of that role.
[[nodiscard]] constexpr bool has_role(chat_format format, std::string_view role) noexcept {
    const auto& known = rule_of(format).roles;
    for (const std::string_view one : known) {
        if (!role.empty() && role == one) {
            return true;
        }
    }
    return known[0].empty() && !role.empty();
}

} // namespace detail

/// The spelling of the token that ends a turn; empty if it is the vocabulary's EOS.
[[nodiscard]] constexpr std::string_view end_of_turn(chat_format format) noexcept {
    return detail::rule_of(format).turn_end;
}

namespace detail {

/// Whether a dialog begins with BOS whatever the vocabulary says.
[[nodiscard]] constexpr bool begins_with_bos(chat_format format) noexcept { return rule_of(format).begins_with_bos; }

/// Whether white space around a content is removed.
[[nodiscard]] constexpr bool strips_content(chat_format format) noexcept { return rule_of(format).strips_content; }

/// `text` without white space at both ends, as the `trim` of templates sees it: Python's str.strip(), to which the four
/// separators from U+001C on are white space too.
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

/// The first letter in upper case and the others in lower case, as `capitalize` in templates does it; ASCII only.
[[nodiscard]] inline std::string capitalized(std::string_view role) {
    std::string made(role);
    for (std::size_t i = 0; i < made.size(); ++i) {
        const char low = i == 0 ? 'a' : 'A';
        const bool turn = made[i] >= low && made[i] <= low + 25;
        made[i] = turn ? static_cast<char>(made[i] ^ 0x20) : made[i];
    }
    return made;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
