// SPDX-License-Identifier: MIT
// A small vocabulary with the control tokens of every chat format, and dialogs in it.
#pragma once

#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet_tests {

using ids = std::vector<bitnet::token>;

/// A vocabulary with the control tokens of all formats, an architecture and a template.
[[nodiscard]] inline small_vocabulary chat_vocabulary(std::string architecture = "llama", std::string_view text = {}) {
    small_vocabulary keys;
    for (const char* spelling : {"<|im_start|>", "<|im_end|>", "<|endoftext|>"}) {
        keys.add_token(spelling, 3);
    }
    keys.more = [architecture = std::move(architecture), text](bitnet::gguf_writer& writer) {
        writer.add("general.architecture", std::string_view(architecture));
        if (!text.empty()) {
            writer.add("tokenizer.chat_template", text);
        }
    };
    return keys;
}

/// A tokenizer and the file that it was read from.
struct opened_text {
    file_in_memory file;
    bitnet::tokenizer text;

    explicit opened_text(const small_vocabulary& keys) : opened_text(value_of(keys.file())) {}

    [[nodiscard]] bitnet::result<bitnet::chat_template> chat(std::string_view name = {}) const {
        return bitnet::chat_template::open(file.file, text, name);
    }
    [[nodiscard]] bitnet::chat_template known_chat(std::string_view name = {}) const { return value_of(chat(name)); }

private:
    explicit opened_text(file_in_memory made)
        : file(std::move(made)), text(value_of(bitnet::tokenizer::open(file.file))) {}

    template <class T> static T value_of(bitnet::result<T> made) {
        REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
        return *std::move(made);
    }
};

[[nodiscard]] inline ids bytes(std::string_view text) {
    ids made;
    for (const char c : text) {
        made.push_back(static_cast<unsigned char>(c)); // tokens 0 to 255 are the bytes
    }
    return made;
}

/// The concatenation of all parts.
[[nodiscard]] inline ids joined(const std::vector<ids>& parts) {
    ids all;
    for (const ids& part : parts) {
        all.insert(all.end(), part.begin(), part.end());
    }
    return all;
}

[[nodiscard]] inline ids taken(bitnet::chat_dialog& dialog) {
    auto tokens = dialog.take();
    REQUIRE(tokens);
    return *std::move(tokens);
}

[[nodiscard]] inline ids encoded(const bitnet::chat_template& chat, const std::vector<bitnet::chat_message>& messages,
                                 bool with_prompt = true) {
    auto tokens = chat.encode(messages, with_prompt);
    REQUIRE_MESSAGE(tokens, (tokens ? "" : tokens.error().message));
    return *std::move(tokens);
}

[[nodiscard]] inline std::string rendered(const bitnet::chat_template& chat,
                                          const std::vector<bitnet::chat_message>& messages, bool with_prompt = true) {
    auto text = chat.render(messages, with_prompt);
    REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
    return *std::move(text);
}

inline const std::vector<bitnet::chat_message> four_turns{
    {"system", " Be brief. "}, {"user", "abc\n"}, {"assistant", "xyz"}, {"user", " d"}};

} // namespace bitnet_tests
