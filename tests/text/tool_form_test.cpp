// SPDX-License-Identifier: MIT
// Functions, calls and results in dialogs of LLaMA-3.1's and Falcon3's form.
#include "chat_vocabulary.hpp"
#include "tool_templates.hpp"

#include <bitnet/io/python_json.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/tool_form.hpp>

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet_tests;

namespace {

constexpr std::string_view two_tools =
    R"([{"type":"function","function":{"name":"dice","description":"Rolls \"one\".","parameters":{"type":"object",)"
    R"("properties":{"n":{"type":"integer"},"m":{}},"required":["n"]}}},)"
    R"({"type":"function","function":{"name":"wait","parameters":{"type":"object","properties":{},"enum":[]}}}])";

/// These functions as json.dumps(indent=...) writes them: the first from one brace to the other, at a level.
std::string first_tool(const std::string& level, const std::string& indent) {
    const auto line = [&](int depth) {
        std::string made = "\n" + level;
        for (int i = 0; i < depth; ++i) {
            made += indent;
        }
        return made;
    };
    return "{" + line(1) + R"("type": "function",)" + line(1) + R"("function": {)" + line(2) + R"("name": "dice",)" +
           line(2) + R"("description": "Rolls \"one\".",)" + line(2) + R"("parameters": {)" + line(3) +
           R"("type": "object",)" + line(3) + R"("properties": {)" + line(4) + R"("n": {)" + line(5) +
           R"("type": "integer")" + line(4) + "}," + line(4) + R"("m": {})" + line(3) + "}," + line(3) +
           R"("required": [)" + line(4) + R"("n")" + line(3) + "]" + line(2) + "}" + line(1) + "}" + line(0) + "}";
}
std::string second_tool(const std::string& level, const std::string& indent) {
    const std::string line = "\n" + level + indent;
    return "{" + line + R"("type": "function",)" + line + R"("function": {)" + line + indent + R"("name": "wait",)" +
           line + indent + R"("parameters": {)" + line + indent + indent + R"("type": "object",)" + line + indent +
           indent + R"("properties": {},)" + line + indent + indent + R"("enum": [])" + line + indent + "}" + line +
           "}\n" + level + "}";
}

const std::array<chat_tool_call, 1> one_call{{{"dice", R"({"n":6})"}}};
const std::array<chat_tool_call, 2> two_calls{{{"dice", R"({"n":6})"}, {"wait", "{}"}}};

std::string dialog_of(const chat_template& chat, const std::vector<chat_message>& messages, chat_options options) {
    const auto made = chat.render(messages, true, options);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *made;
}

const std::string llama3_declared =
    "Given the following functions, please respond with a JSON for a function call with its proper arguments that best "
    "answers the given prompt.\n\nRespond in the format {\"name\": function name, \"parameters\": dictionary of "
    "argument "
    "name and its value}.Do not use variables.\n\n" +
    first_tool("", "    ") + "\n\n" + second_tool("", "    ") + "\n\n";

const std::string falcon3_declared =
    "You are a Falcon assistant skilled in function calling. You are helpful, respectful, and concise.\n\n# Tools\n\n"
    "You have access to the following functions. You MUST use them to answer questions when needed. For each function "
    "call, you MUST return a JSON object inside <tool_call></tool_call> tags.\n\n<tools>[\n  " +
    first_tool("  ", "  ") + ",\n  " + second_tool("  ", "  ") +
    "\n]</tools>\n\n# Output Format\n\nYour response MUST follow this format when making function calls:\n<tool_call>\n"
    "[\n  {\"name\": \"function_name\", \"arguments\": {\"arg1\": \"value1\", \"arg2\": \"value2\"}},\n  {\"name\": "
    "\"another_function\", \"arguments\": {\"arg\": \"value\"}}\n]\n</tool_call>\nIf no function calls are needed, "
    "respond normally without the tool_call tags.";

std::string llama3_turn(const std::string& role, const std::string& text) {
    return "<|start_header_id|>" + role + "<|end_header_id|>\n\n" + text + "<|eot_id|>";
}

} // namespace

// The expected texts are those of the published templates as Jinja renders them, but for what is said beside each.

TEST_CASE("golden: LLaMA-3.1's dialog declares functions in the first question, and results are of ipython") {
    const opened_text opened(chat_vocabulary("llama", llama3_tools));
    const chat_template chat = opened.known_chat();
    CHECK(chat.format() == chat_format::llama3);
    CHECK(chat.has_tools());
    CHECK(chat.calls().syntax == tool_syntax::llama3);
    CHECK(chat.calls().has_one_call());
    CHECK(chat.choice().why.find("; calls of tools are LLaMA-3.1's, one in an answer") != std::string::npos);

    // The lines with dates are left out, as without tools.
    const std::string expected = "<|begin_of_text|>" + llama3_turn("system", "Environment: ipython\n\nBe brief.") +
                                 llama3_turn("user", llama3_declared + "Roll") +
                                 llama3_turn("assistant", R"({"name": "dice", "parameters": {"n": 6}})") +
                                 llama3_turn("ipython", R"("{\"t\": \"4\"}")") +
                                 "<|start_header_id|>assistant<|end_header_id|>\n\n";
    const std::vector<chat_message> messages{
        {"system", " Be brief. "}, {"user", " Roll "}, {"assistant", "", one_call}, {"tool", R"({"t": "4"})"}};
    CHECK(dialog_of(chat, messages, {.tools = two_tools}) == expected);
    // A content beside a call is not written by the template.
    std::vector<chat_message> with_content = messages;
    with_content[2].content = "Both";
    CHECK(dialog_of(chat, with_content, {.tools = two_tools}) == expected);

    // Without a system's message.
    const std::vector<chat_message> led(messages.begin() + 1, messages.begin() + 2);
    const std::string unled = "<|begin_of_text|>" + llama3_turn("system", "Environment: ipython\n\n") +
                              llama3_turn("user", llama3_declared + "Roll") +
                              "<|start_header_id|>assistant<|end_header_id|>\n\n";
    CHECK(dialog_of(chat, led, {.tools = two_tools}) == unled);
    // The template refuses dialogs without a question; here one without words declares.
    CHECK(dialog_of(chat, {}, {.tools = two_tools}) ==
          "<|begin_of_text|>" + llama3_turn("system", "Environment: ipython\n\n") +
              llama3_turn("user", llama3_declared) + "<|start_header_id|>assistant<|end_header_id|>\n\n");

    // Calls and results of a dialog in which nothing is declared.
    CHECK(dialog_of(chat, {{"user", "Roll"}, {"assistant", "", one_call}, {"tool", "4"}}, {}) ==
          "<|begin_of_text|>" + llama3_turn("user", "Roll") +
              llama3_turn("assistant", R"({"name": "dice", "parameters": {"n": 6}})") +
              llama3_turn("ipython", "\"4\"") + "<|start_header_id|>assistant<|end_header_id|>\n\n");

    const std::vector<chat_message> parallel{{"user", "Roll"}, {"assistant", "", two_calls}};
    const auto refused = chat.render(parallel, true, {.tools = two_tools});
    REQUIRE(!refused);
    CHECK(refused.error().message ==
          "chat format llama3: a message has 2 calls of tools, the model's template writes one");
}

TEST_CASE("golden: Falcon3's dialog declares functions in the system's turn, and calls are a list") {
    const opened_text opened(chat_vocabulary("llama", falcon3_tools));
    const chat_template chat = opened.known_chat();
    CHECK(chat.format() == chat_format::falcon3);
    CHECK(chat.calls().syntax == tool_syntax::falcon3);
    CHECK(!chat.calls().has_one_call());
    CHECK(chat.choice().why.find("; calls of tools are Falcon3's") != std::string::npos);
    const std::string begin = "<|begin_of_text|>";
    const std::string written = dialog_of(
        chat,
        {{"system", " Be brief. "}, {"user", " Roll "}, {"assistant", "Both", two_calls}, {"tool", R"({"t": "4"})"}},
        {.tools = two_tools});
    // The template writes calls as it is given them; here they are what it tells the model to write.
    const std::string expected = "<|system|>\n Be brief. " + falcon3_declared +
                                 "\n<|user|>\n Roll \n<|assistant|>\nBoth\n<tool_call>\n[\n  {\"name\": \"dice\", "
                                 "\"arguments\": {\"n\": 6}},\n  {\"name\": \"wait\", \"arguments\": {}}\n]\n"
                                 "</tool_call><|end_of_text|>\n<|assistant|>\n<tool_response>\n{\"t\": \"4\"}\n"
                                 "</tool_response>\n<|assistant|>\n";
    CHECK(written.substr(written.starts_with(begin) ? begin.size() : 0) == expected);

    const std::string short_one = dialog_of(chat, {{"user", "Go"}, {"assistant", "", one_call}, {"tool", "4"}}, {});
    CHECK(short_one.ends_with("<|user|>\nGo\n<|assistant|>\n<tool_call>\n[\n  {\"name\": \"dice\", \"arguments\": "
                              "{\"n\": 6}}\n]\n</tool_call><|end_of_text|>\n<|assistant|>\n<tool_response>\n4\n"
                              "</tool_response>\n<|assistant|>\n"));
}

TEST_CASE("a form is chosen by the template, or by the caller for the same chat format") {
    const opened_text plain(chat_vocabulary("llama")); // inferred: no template
    const chat_template chat = plain.known_chat();
    REQUIRE(chat.format() == chat_format::llama3);
    CHECK(!chat.has_tools());
    CHECK(chat.calls().syntax == tool_syntax::marked);
    CHECK(!chat.open_dialog({.tools = "[]"}));
    CHECK(chat.open_dialog({.tools = "[]", .syntax = tool_syntax::marked}));
    CHECK(dialog_of(chat, {{"user", "Roll"}}, {.tools = two_tools, .syntax = tool_syntax::llama3})
              .find("Respond in the format") != std::string::npos);
    CHECK(dialog_of(chat, {{"user", "Go"}, {"assistant", "", one_call}}, {.syntax = tool_syntax::llama3})
              .find(R"("parameters": {"n": 6})") != std::string::npos);
    const auto other = chat.open_dialog({.tools = "[]", .syntax = tool_syntax::falcon3});
    REQUIRE(!other);
    CHECK(other.error().message == "chat format llama3: calls of tools are to be written as Falcon3's are, whose chat "
                                   "format is another one");

    const opened_text with(chat_vocabulary("llama", llama3_tools));
    CHECK(dialog_of(with.known_chat(), {{"user", "Go"}}, {.tools = "[]", .syntax = tool_syntax::marked})
              .find("# Tools\n\nThese functions can be called:") != std::string::npos);
    const auto no_list = with.known_chat().open_dialog({.tools = "{}"});
    REQUIRE(!no_list);
    CHECK(no_list.error().message == "the list of tools is of the type object, not an array");
    CHECK(with.known_chat().open_dialog({.tools = "{"}).error().code == errc::bad_json);
    CHECK(with.known_chat("bitnet").calls().syntax == tool_syntax::marked);

    const std::string unknown = std::string("{% if tools %}{{ '<fn>' }}{% endif %}") +
                                "<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}<|eot_id|>";
    const opened_text other_words(chat_vocabulary("llama", unknown));
    CHECK(!other_words.known_chat().has_tools());
    CHECK(other_words.known_chat().choice().why.find("; its words for tools are not known") != std::string::npos);
}
