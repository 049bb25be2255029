// SPDX-License-Identifier: MIT
// ChatML as published files write it: dialogs that Jinja rendered with the template of a file, with and without tools.
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/python_json.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <golden/golden_data.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <deque>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A dialog of the golden file, and the texts that its messages borrow.
struct golden_dialog {
    std::deque<std::string> texts;
    std::deque<std::vector<chat_tool_call>> calls;
    std::vector<chat_message> messages;
    std::string tools;

    explicit golden_dialog(json_value dialog) {
        for (const json_value message : dialog.find("messages")->elements()) {
            auto& made = calls.emplace_back();
            if (const auto all = message.find("tool_calls")) {
                for (const json_value call : all->elements()) {
                    append_python_json(texts.emplace_back(), *call.find("arguments"));
                    made.push_back({*call.find("name")->as_string(), texts.back()});
                }
            }
            messages.push_back({*message.find("role")->as_string(), *message.find("content")->as_string(), made});
        }
        if (const auto all = dialog.find("tools"); all->is_array()) {
            append_python_json(tools, *all);
        }
    }
};

} // namespace

TEST_CASE("golden: dialogs with and without tools in the template of the ternary models") {
    if (skip_without_golden()) {
        return;
    }
    const std::string path = golden_path("ternary/row-scales-tq2_0.gguf");
    std::ifstream golden(golden_path("ternary/golden/chat.json"), std::ios::binary);
    const auto source = byte_source::open(path);
    REQUIRE(golden);
    REQUIRE_MESSAGE(source, (source ? "" : source.error().message));
    const auto file = gguf_file::parse(source->bytes(), path);
    REQUIRE_MESSAGE(file, (file ? "" : file.error().message));
    const auto text = tokenizer::open(*file);
    REQUIRE(text);
    const auto chat = chat_template::open(*file, *text);
    REQUIRE_MESSAGE(chat, (chat ? "" : chat.error().message));
    CHECK(chat->format() == chat_format::chatml);
    CHECK(chat->choice().why == "the file has a ChatML template");
    CHECK(chat->has_tools());
    CHECK(chat->has_thoughts());
    CHECK(chat->prompt() == "<think>\n\n</think>\n\n");
    CHECK(chat->prompt(chat_thinking::on).empty());
    const std::string all(std::istreambuf_iterator<char>(golden), {});
    const auto document = json_document::parse(all, "chat.json");
    REQUIRE(document);
    for (const json_value each : document->root().elements()) {
        INFO(*each.find("what")->as_string());
        const golden_dialog dialog(each);
        const bool prompted = *each.find("add_generation_prompt")->as_bool();
        const auto made = chat->render(dialog.messages, prompted, {.tools = dialog.tools});
        REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
        CHECK(*made == *each.find("text")->as_string());
        // No content here spells a control token: the tokens are those of the text.
        const auto ids = chat->encode(dialog.messages, prompted, {.tools = dialog.tools});
        REQUIRE(ids);
        CHECK(*ids == *text->encode(*made, {.parse_special = true}));
    }
    CHECK(document->root().size() == 13);
}
