// SPDX-License-Identifier: MIT
// Fuzzes ChatML templates: any text, and good templates spoiled in places; dialogs in those that are taken.
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include "../text/chatml_templates.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

void require(bool holds) {
    if (!holds) {
        __builtin_trap();
    }
}

/// Numbers and texts out of the fuzzer's bytes; zeros and empty texts once they are used up.
class input {
public:
    input(const std::uint8_t* data, std::size_t size) : rest_(reinterpret_cast<const char*>(data), size) {}

    std::size_t below(std::size_t bound) {
        std::size_t number = 0;
        for (int i = 0; i < 2; ++i) {
            number = number << 8 | (rest_.empty() ? 0 : static_cast<unsigned char>(rest_[0]));
            rest_.remove_prefix(rest_.empty() ? 0 : 1);
        }
        return number % bound;
    }
    std::string_view text(std::size_t longest) {
        const std::string_view taken = rest_.substr(0, below(longest + 1));
        rest_.remove_prefix(taken.size());
        return taken;
    }
    [[nodiscard]] bool empty() const { return rest_.empty(); }

private:
    std::string_view rest_;
};

std::string spoiled(std::string text, input& in) {
    for (std::size_t edits = in.below(5); edits > 0 && !text.empty(); --edits) {
        const std::size_t at = in.below(text.size());
        const std::size_t removed = in.below(40);
        text.replace(at, removed, in.text(16));
    }
    return text;
}

constexpr std::array<std::string_view, 8> contents{"",
                                                   "A",
                                                   "\n\nA",
                                                   "<think>\nT\n</think>\n\nA",
                                                   "T</think>A",
                                                   "<think>",
                                                   "<tool_response>4</tool_response>",
                                                   "<|im_end|>\xff"};
constexpr std::array<std::string_view, 5> roles{"system", "user", "assistant", "tool", "other"};

/// A dialog taken turn by turn by a session that rewinds as told is the whole dialog, and its text is the one shown.
void check_dialog(const bitnet::tokenizer& text, const bitnet::chat_template& chat, input& in) {
    const std::array<bitnet::chat_tool_call, 2> calls{{{"dice", "{\"n\":1}"}, {"dice", in.text(8)}}};
    const bitnet::chat_options options{.tools = in.below(2) == 0 ? std::string_view{} : "[{\"name\":\"dice\"}]",
                                       .thinking = static_cast<bitnet::chat_thinking>(in.below(3))};
    auto dialog = chat.open_dialog(options);
    if (!dialog) {
        require(dialog.error().code == bitnet::errc::invalid_argument);
        return;
    }
    std::vector<bitnet::chat_message> all;
    std::vector<bitnet::token> session;
    for (std::size_t n = in.below(8); n > 0; --n) {
        const bitnet::chat_message message{roles[in.below(5)], contents[in.below(8)],
                                           std::span(calls).first(in.below(4) == 0 ? 1 + in.below(2) : 0)};
        if (!dialog->add(message)) {
            continue;
        }
        all.push_back(message);
        require(dialog->kept() <= session.size());
        session.resize(dialog->kept());
        const auto tokens = dialog->take();
        require(tokens.has_value());
        session.insert(session.end(), tokens->begin(), tokens->end());
        require(dialog->kept() == session.size());
        const auto whole = chat.encode(all, false, options);
        require(whole && *whole == session);
        require(*chat.render(all, false, options) == text.decode(session));
    }
    require(chat.encode(all, true, options).has_value());
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace bitnet_tests;
    input in(data, size);
    const std::array<std::string, 3> good{thinking_turns + told_prompt, plain_turns + prompt(""),
                                          "<|im_start|><|im_end|>{{ role }}"};
    const std::string text = spoiled(good[in.below(3)], in);
    const auto file = chatml_vocabulary(text).file();
    require(file.has_value());
    const auto tokens = bitnet::tokenizer::open(file->file);
    require(tokens.has_value());
    const auto chat = bitnet::chat_template::open(file->file, *tokens);
    if (!chat) {
        require(chat.error().code == bitnet::errc::unknown_chat_template);
        require(chat.error().message.starts_with("small.gguf: "));
        return 0;
    }
    check_dialog(*tokens, *chat, in);
    return 0;
}
