// SPDX-License-Identifier: MIT
// ChatML by a file's own template: prompts, thoughts, tools, and what of a template is not known.
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/open_chat_template.hpp>

#include <text/chat_vocabulary.hpp>
#include <text/chatml_templates.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace bitnet_tests;

namespace {

constexpr std::string_view empty_thought = "<think>\n\n</think>\n\n";

opened_text opened(const std::string& text) { return opened_text(chatml_vocabulary(text)); }

std::string turn(std::string_view role, std::string_view content) {
    return "<|im_start|>" + std::string(role) + "\n" + std::string(content) + "<|im_end|>\n";
}

std::string text_of(const chat_template& chat, const std::vector<chat_message>& messages, const chat_options& options,
                    bool with_prompt = false) {
    const auto text = chat.render(messages, with_prompt, options);
    REQUIRE_MESSAGE(text, (text ? "" : text.error().message));
    return *text;
}

std::string refusal(const std::string& text) {
    const auto chat = opened(text).chat();
    REQUIRE(!chat);
    CHECK(chat.error().code == errc::unknown_chat_template);
    CHECK(chat.error().message.find("small.gguf: tokenizer.chat_template is ChatML, but ") == 0);
    return chat.error().message;
}

/// A session that does what it is told.
struct followed {
    chat_dialog dialog;
    ids session;

    void follow() {
        REQUIRE(dialog.kept() <= session.size());
        session.resize(dialog.kept());
        const ids next = taken(dialog);
        session.insert(session.end(), next.begin(), next.end());
        CHECK(dialog.kept() == session.size());
    }
    void answer(const tokenizer& text, std::string_view said) {
        dialog.add_prompt();
        follow();
        const auto generated = text.encode(said);
        REQUIRE(generated);
        session.insert(session.end(), generated->begin(), generated->end());
        session.push_back(*text.find_special("<|im_end|>"));
        dialog.end_answer(*generated, true);
    }
};

} // namespace

TEST_CASE("an answer is prompted with what the file's template has there, told or not to think") {
    struct expectation {
        std::string text;
        std::string_view by_template;
        std::string_view on;
        std::string_view off;
    };
    const std::string split = "{% set s = m.content.split('</think>') %}";
    const std::string turns = "{% for m in messages %}" + split + plain_turns.substr(plain_turns.find("{{"));
    const std::string no_thought = "{{ '<think>\\n\\n</think>\\n\\n' }}";
    for (const expectation& each :
         {expectation{plain_turns + prompt(""), "", "", ""}, expectation{turns + prompt(""), "", "", empty_thought},
          expectation{turns + prompt(no_thought), empty_thought, "", empty_thought},
          expectation{turns + prompt("{{ '<think>\\n' }}"), "<think>\n", "<think>\n", empty_thought},
          expectation{turns + told_prompt, "", "", empty_thought},
          expectation{turns + prompt("{% if not enable_thinking %}" + no_thought + "{% endif %}"), empty_thought, "",
                      empty_thought},
          expectation{turns + prompt("{% if enable_thinking is not defined or enable_thinking %}{{ '<think>' }}"
                                     "{% else %}" +
                                     no_thought + "{% endif %}"),
                      "<think>", "<think>", empty_thought},
          expectation{turns + prompt("{{ ('<think>\\n' if enable_thinking | default(true) else '') ~ 'So: ' }}"),
                      "<think>\nSo: ", "<think>\nSo: ", "So: "},
          expectation{"{% set enable_thinking = enable_thinking | default(False) %}" + turns +
                          prompt("{% if not enable_thinking %}" + no_thought + "{% endif %}"),
                      empty_thought, "", empty_thought},
          expectation{"{% if enable_thinking is not defined %}{% set enable_thinking = true %}{% endif %}" + turns +
                          prompt("{% if enable_thinking %}{{ '<think>\\n' }}{% endif %}"),
                      "<think>\n", "<think>\n", ""}}) {
        const opened_text file = opened(each.text);
        const chat_template chat = file.known_chat();
        INFO(each.text);
        CHECK(chat.choice().why == "the file has a ChatML template");
        CHECK(chat.prompt() == each.by_template);
        CHECK(chat.prompt(chat_thinking::on) == each.on);
        CHECK(chat.prompt(chat_thinking::off) == each.off);
        CHECK(chat.has_thoughts() == (each.text.find("think") != std::string::npos));
        const std::string before = turn("user", "q") + "<|im_start|>assistant\n";
        CHECK(rendered(chat, {{"user", "q"}}) == before + std::string(each.by_template));
        CHECK(text_of(chat, {{"user", "q"}}, {.thinking = chat_thinking::off}, true) == before + std::string(each.off));
        CHECK(chat.open_dialog({.thinking = chat_thinking::on}).has_value() == chat.has_thoughts());
    }
}

TEST_CASE("a template whose prompt is not known is refused with what is there, and naming a format overrides it") {
    CHECK(
        refusal(plain_turns + "{% if add_generation_prompt %}{{ '<|im_start|>model\\n' }}{% endif %}").find("model") !=
        std::string::npos);
    CHECK(refusal(plain_turns + prompt("{{ opening }}")).find("opening") != std::string::npos);
    CHECK(refusal(plain_turns + prompt("{% if effort == 'low' %}{{ '<think>' }}{% endif %}")).find("'<think>'") !=
          std::string::npos);
    CHECK(refusal("{% set enable_thinking = false %}" + plain_turns + told_prompt).find("sets enable_thinking") !=
          std::string::npos);
    CHECK(refusal("{% macro x() %}" + plain_turns).find("never closed") != std::string::npos);
    CHECK(refusal("{% include 'x' %}" + plain_turns).find("'include'") != std::string::npos);
    CHECK(refusal("{% macro x() %}{{ 'x' }}{% endmacro %}" + plain_turns + prompt("{{ x() }}")).find("'x()'") !=
          std::string::npos);
    CHECK(refusal(plain_turns + "{% if add_generation_prompt %}").find("never closed") != std::string::npos);
    CHECK(refusal(plain_turns + "{% endfor %}").find("not open") != std::string::npos);
    CHECK(refusal(plain_turns + "{{ 'x' ").find("has no end") != std::string::npos);
    const opened_text named = opened(plain_turns + prompt("{{ opening }}"));
    CHECK(rendered(named.known_chat("chatml"), {{"user", "q"}}) == turn("user", "q") + "<|im_start|>assistant\n");
}

TEST_CASE("conditions of a prompt as a whole are not asked") {
    const opened_text file =
        opened(plain_turns + "{% if add_generation_prompt and messages[-1].role != 'assistant' %}"
                             "{{ '<|im_start|>assistant\\n' }}{% if enable_thinking %}{{ '<think>' }}"
                             "{% endif %}{% endif %}");
    CHECK(file.known_chat().prompt(chat_thinking::on) == "<think>");
    CHECK(file.known_chat().prompt().empty());
}

TEST_CASE("what a template writes and this library does not is said, and contents stay as they are given") {
    const auto why = [](const std::string& text) { return opened(text).known_chat().choice().why; };
    CHECK(why("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + ' /fast<|im_end|>\\n' }}"
              "{% endfor %}")
              .find("' /fast<|im_end|>\\x0a', which is not written") != std::string::npos);
    CHECK(why("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content | trim + '<|im_end|>\\n' }}"
              "{% endfor %}")
              .find("m.content|trim") != std::string::npos);
    CHECK(why("{{ '<|im_start|>system\\nIt is ' + now() + '<|im_end|>\\n' }}" + plain_turns)
              .find("in front of the messages") != std::string::npos);
    CHECK(why("{% for m in messages %}{% set s = m.content.split('</think>') %}{{ '<|im_start|>' + m.role + '\\n' }}"
              "{% if deep %}{{ '<think>\\n' + s[0] + '\\n</think>\\n\\n' }}{% endif %}{{ m.content + '<|im_end|>\\n' }}"
              "{% endfor %}")
              .find("thoughts of earlier answers") != std::string::npos);
    CHECK(why("{% macro x() %}{% if y %}z{{ 'w' }}{% endif %}{% endmacro %}" + plain_turns) ==
          "the file has a ChatML template; what its macros write is not known");
    CHECK(why("{% if tools %}{{ tools | tojson }}{% endif %}" + plain_turns).find("lists tools") != std::string::npos);
}

TEST_CASE("a template's own system prompt is written unless the first message is the system's") {
    const std::string inside =
        "{% for m in messages %}{% if loop.first and m.role != 'x' and messages[0].role != 'system' %}"
        "{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}" +
        plain_turns.substr(plain_turns.find("{{"));
    const std::string in_front = "{% if messages[0]['role'] == 'system' %}{{ '<|im_start|>system\\n' + "
                                 "messages[0]['content'] + '<|im_end|>\\n' }}{% else %}"
                                 "{{ '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{% endif %}" +
                                 plain_turns;
    for (const std::string& text : {inside, in_front}) {
        const opened_text file = opened(text);
        const chat_template chat = file.known_chat();
        CHECK(chat.choice().why.find("system prompt of its own") != std::string::npos);
        CHECK(rendered(chat, {{"user", "q"}}, false) == turn("system", "Be kind.") + turn("user", "q"));
        CHECK(rendered(chat, {{"system", ""}, {"user", "q"}}, false) == turn("system", "") + turn("user", "q"));
        CHECK(rendered(chat, {}) == turn("system", "Be kind.") + "<|im_start|>assistant\n");
    }
}

TEST_CASE("thoughts of answers stay until the next question, and only there") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    CHECK(chat.choice().why == "the file has a ChatML template");
    CHECK(chat.has_thoughts());
    const std::string_view thoughtful = "<think>\nT\n</think>\n\nA";
    const std::string dropped = turn("user", "q") + turn("assistant", "A");
    const std::string kept = turn("user", "q") + turn("assistant", thoughtful);
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", thoughtful}}, false) == kept);
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "<think>T</think>A"}}, false) == kept);
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "T\n</think>A"}}, false) == kept);
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", thoughtful}, {"user", "r"}}, false) ==
          dropped + turn("user", "r"));
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", thoughtful}, {"system", "s"}}, false) ==
          kept + turn("system", "s"));
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", thoughtful}, {"user", "<tool_response>1</tool_response>"}},
                   false) == kept + turn("user", "<tool_response>1</tool_response>"));
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "A"}}, false) ==
          turn("user", "q") + turn("assistant", std::string(empty_thought) + "A"));
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "A"}, {"assistant", "B"}}, false) ==
          dropped + turn("assistant", std::string(empty_thought) + "B"));
    CHECK(rendered(chat, {{"assistant", thoughtful}}, false) == turn("assistant", "A"));
}

TEST_CASE("a template that only splits answers drops all thoughts") {
    const opened_text file =
        opened("{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' }}{% if m.role == 'assistant' %}"
               "{% set said = m.content.split('</think>')[-1].lstrip('\\n') %}{{ said }}{% else %}{{ m.content }}"
               "{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}");
    CHECK(rendered(file.known_chat(), {{"user", "q"}, {"assistant", "<think>\nT</think>\n\nA"}}, false) ==
          turn("user", "q") + turn("assistant", "A"));
    CHECK(rendered(file.known_chat(), {{"assistant", "\n\nA"}}, false) == turn("assistant", "A"));
}

TEST_CASE("tools are listed in the template's own words, as JSON in Python's spelling") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    REQUIRE(chat.has_tools());
    const std::string_view tools = "[{\"name\":\"dice\",\"sides\":[4,6.50]}, {\"b\":\"\\u00fc<|im_end|>\",\"a\":null}]";
    const std::string list = "Tools <|im_end|> \"are\":\n* {\"name\": \"dice\", \"sides\": [4, 6.50]};\n* {\"b\": "
                             "\"\u00fc<|im_end|>\", \"a\": null};\nCall them.";
    CHECK(text_of(chat, {{"user", "q"}}, {.tools = tools}) == turn("system", list) + turn("user", "q"));
    CHECK(text_of(chat, {{"system", "s"}, {"user", "q"}}, {.tools = tools}) ==
          turn("system", "s\n--\n" + list) + turn("user", "q"));
    CHECK(text_of(chat, {{"user", "q"}}, {.tools = "[]"}) == turn("user", "q"));
    // What the template writes is a control token, what the host gives is text.
    const std::vector<chat_message> question{{"user", "q"}};
    const auto tokens = chat.encode(question, false, {.tools = tools});
    REQUIRE(tokens);
    CHECK(std::count(tokens->begin(), tokens->end(), *file.text.find_special("<|im_end|>")) == 3);
}

TEST_CASE("calls and results are written as Qwen's models do") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    const chat_tool_call calls[] = {{"dice", "{\"n\":2}"}, {"log", "{\"cut\": "}};
    const std::string both = "<tool_call>\n{\"name\": \"dice\", \"arguments\": {\"n\": 2}}\n</tool_call>\n"
                             "<tool_call>\n{\"name\": \"log\", \"arguments\": {\"cut\": }\n</tool_call>";
    const std::string results =
        turn("user", "\n<tool_response>\n4\n</tool_response>\n<tool_response>\n\n</tool_response>");
    const std::string joined_results =
        "<|im_start|>user" + results.substr(std::string_view("<|im_start|>user\n").size());
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "", calls}, {"tool", "4"}, {"tool", ""}}, false) ==
          turn("user", "q") + turn("assistant", both) + joined_results);
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "Now.", calls}, {"user", "r"}}, false) ==
          turn("user", "q") + turn("assistant", "Now.\n" + both) + turn("user", "r"));
    CHECK(rendered(chat, {{"user", "q"}, {"assistant", "<think>\nT\n</think>", calls}, {"tool", "4"}, {"tool", ""}},
                   false) == turn("user", "q") + turn("assistant", "<think>\nT\n</think>\n\n" + both) + joined_results);
}

TEST_CASE("a template that writes the line end with each call parts it from a dropped thought, too") {
    const opened_text file = opened(
        "{% for m in messages %}{% if m.role == 'tool' %}{{ '<|im_start|>user' }}"
        "{{ '\\n<tool_response>\\n' + m.content + '\\n</tool_response>' }}{% elif m.role == 'assistant' %}"
        "{{ '<|im_start|>' + m.role }}{% set said = m.content.split('</think>')[-1].lstrip('\\n') %}"
        "{% if m.content %}{{ '\\n' + said }}{% endif %}{% for c in m.tool_calls %}"
        "{{ '\\n<tool_call>\\n{\"name\": \"' + c.name + '\", \"arguments\": ' }}{{ c.arguments | tojson }}"
        "{{ '}\\n</tool_call>' }}{% endfor %}{% else %}{{ '<|im_start|>' + m.role + '\\n' + m.content }}{% endif %}"
        "{{ '<|im_end|>\\n' }}{% endfor %}");
    const chat_tool_call call{"dice", "{}"};
    const std::string made = "<tool_call>\n{\"name\": \"dice\", \"arguments\": {}}\n</tool_call>";
    const chat_template chat = file.known_chat();
    CHECK(rendered(chat, {{"assistant", "", {&call, 1}}}, false) == turn("assistant", made));
    CHECK(rendered(chat, {{"assistant", "A", {&call, 1}}}, false) == turn("assistant", "A\n" + made));
    CHECK(rendered(chat, {{"assistant", "<think>T</think>\n", {&call, 1}}}, false) == turn("assistant", "\n" + made));
}

TEST_CASE("tools, calls and roles that a template does not write are refused by name") {
    const auto refused = [](const chat_template& chat, const chat_message& message, const chat_options& options = {}) {
        const auto text = chat.render({&message, 1}, true, options);
        REQUIRE(!text);
        return text.error();
    };
    const chat_tool_call call{"dice", "{}"};
    const opened_text known = opened(thinking_turns + told_prompt);
    CHECK(refused(known.known_chat(), {"developer", "x"}).message.find("'developer'") != std::string::npos);
    CHECK(refused(known.known_chat(), {"user", "x", {&call, 1}}).message.find("'user'") != std::string::npos);
    CHECK(refused(known.known_chat(), {"user", "x"}, {.tools = "{}"}).message.find("not an array") !=
          std::string::npos);
    CHECK(refused(known.known_chat(), {"user", "x"}, {.tools = "[1"}).code == errc::bad_json);
    const opened_text plain = opened(plain_turns);
    CHECK(rendered(plain.known_chat(), {{"tool", "x"}, {"developer", "y"}}, false) ==
          turn("tool", "x") + turn("developer", "y"));
    CHECK(refused(plain.known_chat(), {"user", "x"}, {.tools = "[1]"}).message.find("no place for tools") !=
          std::string::npos);
    CHECK(refused(plain.known_chat(), {"assistant", "x", {&call, 1}}).code == errc::invalid_argument);
    CHECK(refused(plain.known_chat(), {"user", "x"}, {.thinking = chat_thinking::on}).message.find("no thoughts") !=
          std::string::npos);
    CHECK(refused(plain.known_chat("llama3"), {"user", "x"}, {.tools = "[1]"}).message.find("llama3") !=
          std::string::npos);
    // another way of writing results
    std::string other = thinking_turns;
    other.replace(other.find("<tool_response>\\n' + m"), 15, "<tool_results!>");
    const opened_text unknown = opened(other);
    CHECK(unknown.known_chat().choice().why.find("calls of tools is not known") != std::string::npos);
    CHECK(!unknown.known_chat().has_tools());
    CHECK(refused(unknown.known_chat(), {"tool", "x"}).message.find("'tool'") != std::string::npos);
}

TEST_CASE("a session that follows a dialog has the tokens of the whole dialog, thoughts dropped and kept") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    for (const bool told_off : {false, true}) {
        const chat_options options{.thinking = told_off ? chat_thinking::off : chat_thinking::by_template};
        followed all{*chat.open_dialog(options), {}};
        REQUIRE(all.dialog.add({"system", "s"}));
        REQUIRE(all.dialog.add({"user", "q"}));
        all.answer(file.text, told_off ? "A" : "<think>\nT\n</think>\n\nA");
        const std::size_t after_question =
            file.text.encode(turn("system", "s") + turn("user", "q"), {.parse_special = true})->size();
        CHECK(all.dialog.kept() == all.session.size());
        REQUIRE(all.dialog.add({"user", "r"}));
        CHECK(all.dialog.kept() == after_question);
        all.answer(file.text, told_off ? "B" : "<think>\nU\n</think>\n\nB");
        all.follow();
        const std::string_view answer = told_off ? "B" : "<think>\nU\n</think>\n\nB";
        const auto whole = chat.encode(
            std::vector<chat_message>{
                {"system", "s"}, {"user", "q"}, {"assistant", "A"}, {"user", "r"}, {"assistant", answer}},
            false, options);
        REQUIRE(whole);
        CHECK(all.session == *whole);
    }
}

TEST_CASE("an answer that nothing changes stays the tokens that the model generated") {
    const opened_text file = opened(plain_turns + prompt(""));
    const chat_template chat = file.known_chat();
    followed all{chat.dialog(), {}};
    REQUIRE(all.dialog.add({"user", "q"}));
    all.dialog.add_prompt();
    all.follow();
    const ids generated = bytes("hello"); // encode() would give one token
    all.session.insert(all.session.end(), generated.begin(), generated.end());
    all.dialog.end_answer(generated, false);
    REQUIRE(all.dialog.add({"user", "r"}));
    CHECK(all.dialog.kept() == all.session.size());
    const ids before = all.session;
    all.follow();
    CHECK(
        all.session ==
        joined({before, {*file.text.find_special("<|im_end|>")}, bytes("\n"), encoded(chat, {{"user", "r"}}, false)}));
}

TEST_CASE("an answer that ends within a thought has no content once another question follows") {
    const opened_text file = opened(thinking_turns + prompt("{{ '<think>\\n' }}"));
    const chat_template chat = file.known_chat();
    followed all{chat.dialog(), {}};
    REQUIRE(all.dialog.add({"user", "q"}));
    all.dialog.add_prompt();
    all.follow();
    const ids generated = bytes("Let us");
    all.session.insert(all.session.end(), generated.begin(), generated.end());
    all.dialog.end_answer(generated, false);
    REQUIRE(all.dialog.add({"user", "r"}));
    all.follow();
    CHECK(all.session == encoded(chat, {{"user", "q"}, {"assistant", ""}, {"user", "r"}}, false));
}

TEST_CASE("an answer whose tokens a dialog is not given stays as it is") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    chat_dialog dialog = chat.dialog();
    REQUIRE(dialog.add({"user", "q"}));
    dialog.add_prompt();
    ids session = taken(dialog);
    const ids generated = bytes("xy");
    session.insert(session.end(), generated.begin(), generated.end());
    dialog.end_answer(false);
    REQUIRE(dialog.add({"user", "r"}));
    const ids rest = taken(dialog);
    session.insert(session.end(), rest.begin(), rest.end());
    CHECK(file.text.decode(session) == turn("user", "q") + turn("assistant", "xy") + turn("user", "r"));
}

TEST_CASE("turns taken one by one and rewound are the whole dialog") {
    const opened_text file = opened(thinking_turns + told_prompt);
    const chat_template chat = file.known_chat();
    const chat_tool_call call{"dice", "{}"};
    const std::vector<chat_message> messages{{"assistant", "0"},
                                             {"user", "q"},
                                             {"assistant", "1", {&call, 1}},
                                             {"tool", "4"},
                                             {"tool", "5"},
                                             {"system", "s"},
                                             {"assistant", "<think>\nT\n</think>\n\n2"},
                                             {"assistant", "3"},
                                             {"user", "r"},
                                             {"assistant", "4"}};
    followed all{chat.dialog(), {}};
    std::vector<chat_message> so_far;
    for (const chat_message& message : messages) {
        so_far.push_back(message);
        REQUIRE(all.dialog.add(message));
        all.follow();
        INFO(so_far.size() << " messages");
        CHECK(all.session == encoded(chat, so_far, false));
    }
}

TEST_CASE("hostile templates are refused or read in time linear in their length") {
    const std::string marks = "{# <|im_start|><|im_end|> role #}";
    const auto many = [](const std::string& unit, std::size_t count) {
        std::string made;
        for (std::size_t i = 0; i < count; ++i) {
            made += unit;
        }
        return made;
    };
    for (const std::string& text :
         {many("{% if a %}", 3000), "{{ " + many("(", 10000) + " }}", "{{ " + many("a+(", 8000) + " }}",
          "{{ " + many("'a'+", 8000) + "'' }}", "{% if " + many("not ", 10000) + "a %}{% endif %}",
          "{% if a %}" + many("{% elif a %}", 9000) + "{% endif %}", "{{ " + many("1 if 1 else ", 10000) + " 0 }}",
          "{% set a = " + many("a or ", 100) + " a %}{% if a %}{{ x }}{% endif %}", many("{{ '<<<<<<<<' }}", 8000),
          many("{", 30000), "{{ '" + many("\\u12", 20000), "{# " + many("x", 100000), many("a", 200000)}) {
        static_cast<void>(opened(marks + text).chat());
        static_cast<void>(opened(marks + plain_turns + prompt("") + text).chat());
    }
    CHECK(refusal(marks + many("{% if a %}", 33) + many("{% endif %}", 33)).find("32 conditions") != std::string::npos);
    CHECK(refusal(marks + many("a", 200000)).find("longer than any") != std::string::npos);
}
