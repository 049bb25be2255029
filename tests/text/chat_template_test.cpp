// SPDX-License-Identifier: MIT
// chat_template: the choice of a format, whole dialogs, and the golden ones.
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/open_chat_template.hpp>
#include <bitnet/text/open_tokenizer.hpp>

#include <golden/golden_data.hpp>
#include <text/chat_vocabulary.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace bitnet_tests;

namespace {

// Published templates, written down as specifications for fingerprints, with their real and escaped line ends.
constexpr std::string_view published_bitnet =
    "{% set loop_messages = messages %}{% for message in loop_messages %}{% set content = message['role'] | capitalize "
    "+ ': '+ message['content'] | trim + '<|eot_id|>' %}{% if loop.index0 == 0 %}{% set content = bos_token + content "
    "%}{% endif %}{{ content }}{% endfor %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";
constexpr std::string_view published_wrong =
    "{% for message in messages %}{% if loop.first %}{{ bos_token }}{% endif %}{% if message['role'] == 'user' %}"
    "{{ 'Human: ' + message['content'] + '\\n\\nBITNETAssistant: ' + eos_token }}{% elif message['role'] == "
    "'assistant' %}{{ message['content'] + eos_token }}{% endif %}{% endfor %}";
constexpr std::string_view published_falcon3 =
    "{% for message in messages %}{% if message['role'] == 'system' %}{{ '<|system|>\n' + message['content'] + '\n' }}"
    "{% elif message['role'] == 'user' %}{{ '<|user|>\n' + message['content'] + '\n' }}{% elif message['role'] == "
    "'assistant' %}{% if not loop.last %}{{ '<|assistant|>\n'  + message['content'] + eos_token + '\n' }}{% else %}"
    "{{ '<|assistant|>\n'  + message['content'] + eos_token }}{% endif %}{% endif %}{% if loop.last and "
    "add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}{% endfor %}";
constexpr std::string_view published_chatml =
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + "
    "'\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
constexpr std::string_view header_llama3 = "{{ '<|start_header_id|>' + message[\"role\"] + '<|end_header_id|>\n\n' }}"
                                           "{{ message[\"content\"] | trim + '<|eot_id|>' }}";
// others', which must not be taken for any of these
constexpr std::string_view published_zephyr =
    "{% for message in messages %}\n{% if message['role'] == 'user' %}\n{{ '<|user|>\n' + message['content'] + "
    "eos_token }}\n{% elif message['role'] == 'assistant' %}\n{{ '<|assistant|>\n'  + message['content'] + eos_token "
    "}}\n{% endif %}\n{% if loop.last and add_generation_prompt %}\n{{ '<|assistant|>' }}\n{% endif %}\n{% endfor %}";
constexpr std::string_view published_phi3 =
    "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') %}{{'<|user|>' + '\n' + "
    "message['content'] + '<|end|>' + '\n' + '<|assistant|>' + '\n'}}{% elif (message['role'] == 'assistant') %}"
    "{{message['content'] + '<|end|>' + '\n'}}{% endif %}{% endfor %}";

} // namespace

TEST_CASE("a published template of the file decides, whatever the architecture") {
    struct expectation {
        std::string_view text;
        chat_format format;
        std::string_view why;
    };
    for (const expectation& each : {expectation{published_bitnet, chat_format::bitnet, "bitnet's template"},
                                    expectation{published_wrong, chat_format::bitnet, "known to be wrong"},
                                    expectation{header_llama3, chat_format::llama3, "LLaMA-3's template"},
                                    expectation{published_falcon3, chat_format::falcon3, "Falcon3's template"},
                                    expectation{published_chatml, chat_format::chatml, "a ChatML template"}}) {
        for (const char* architecture : {"llama", "bitnet-b1.58", "bitnet"}) {
            const opened_text opened(chat_vocabulary(architecture, each.text));
            const chat_template chat = opened.known_chat();
            INFO(each.text);
            CHECK(chat.format() == each.format);
            CHECK(!chat.choice().inferred);
            CHECK(chat.choice().corrected == (each.text == published_wrong));
            CHECK(chat.choice().why.find(each.why) != std::string::npos);
        }
    }
}

TEST_CASE("without a template the architecture and the vocabulary decide, if they leave no doubt") {
    for (const char* architecture : {"bitnet-b1.58", "bitnet-25"}) {
        const opened_text opened(chat_vocabulary(architecture));
        CHECK(opened.known_chat().format() == chat_format::bitnet);
        CHECK(opened.known_chat().choice().inferred);
        CHECK(opened.known_chat().choice().why.find(architecture) != std::string::npos);
    }
    const opened_text llama(chat_vocabulary("llama"));
    CHECK(llama.known_chat().format() == chat_format::llama3);
    CHECK(llama.known_chat().choice().inferred);
}

TEST_CASE("templates are compared without white space, line ends, quotes and spelling of members") {
    CHECK(comparable_template("{{ message[\"role\"] + '\\n' }}\n\t") == "{{message.role+''}}");
    CHECK(comparable_template("a['content']['x']['role'") == "a.content['x']['role'");
    CHECK(comparable_template("\\") == "\\");
    CHECK(comparable_template("").empty());
    CHECK(find_chat_fingerprint("") == nullptr);
}

TEST_CASE("an unknown template, model or name is refused with the known names, never guessed") {
    const auto refusal = [](const small_vocabulary& keys, std::string_view name = {}) {
        const auto chat = opened_text(keys).chat(name);
        REQUIRE(!chat);
        CHECK(chat.error().code == errc::unknown_chat_template);
        CHECK(chat.error().message.find("small.gguf: ") == 0);
        CHECK(chat.error().message.find("bitnet, llama3, falcon3, chatml") != std::string::npos);
        return chat.error().message;
    };
    CHECK(refusal(chat_vocabulary("llama", published_zephyr)).find("begins '{% for message") != std::string::npos);
    CHECK(refusal(chat_vocabulary("bitnet-b1.58", published_phi3)).find("is not known") != std::string::npos);
    const std::string longer = std::string(longest_chat_template, ' ') + std::string(published_bitnet);
    CHECK(refusal(chat_vocabulary("bitnet-b1.58", longer)).find("is not known") != std::string::npos);
    CHECK(refusal(chat_vocabulary("bitnet")).find("is missing") != std::string::npos);
    CHECK(refusal(chat_vocabulary("qwen3")).find("is missing") != std::string::npos);
    CHECK(refusal(chat_vocabulary("bitnet-b1.58", published_bitnet), "alpaca").find("'alpaca'") != std::string::npos);
}

TEST_CASE("a name overrides the file, and the choice says so") {
    const opened_text with(chat_vocabulary("bitnet-b1.58", published_wrong));
    CHECK(with.known_chat("chatml").format() == chat_format::chatml);
    CHECK(with.known_chat("chatml").choice().why.find("chosen by the caller") == 0);
    CHECK(with.known_chat("chatml").choice().why.find("BITNETAssistant") != std::string::npos);
    const opened_text unknown(chat_vocabulary("bitnet", published_zephyr));
    CHECK(unknown.known_chat("llama3").format() == chat_format::llama3);
    CHECK(unknown.known_chat("llama3").choice().why.find("a template that is not known") != std::string::npos);
}

TEST_CASE("the choice says what a recognised template does beyond its format") {
    const std::string dates = std::string(header_llama3) + "{{ 'Cutting Knowledge Date: December 2023' }}";
    CHECK(opened_text(chat_vocabulary("llama", dates)).known_chat().choice().why.find("dates") != std::string::npos);
    const std::string prompted =
        "{% if messages[0].role != 'system' %}{{ '<|im_start|>system\\nYou are Qwen<|im_end|>\\n' }}"
        "{% endif %}" +
        std::string(published_chatml);
    CHECK(opened_text(chat_vocabulary("llama", prompted)).known_chat().choice().why.find("system prompt") !=
          std::string::npos);
}

TEST_CASE("a format is refused if the vocabulary lacks a control token, with that token's name") {
    small_vocabulary none = chat_vocabulary("llama");
    for (std::string& spelling : none.tokens) {
        spelling =
            spelling.starts_with("<|") && spelling != "<|begin_of_text|>" ? "<no" + spelling.substr(2) : spelling;
    }
    none.ids = {{"bos", none.id_of("<|begin_of_text|>")}};
    const opened_text opened(none);
    const auto refused = [&](std::string_view name) {
        const auto chat = opened.chat(name);
        REQUIRE(!chat);
        return chat.error();
    };
    CHECK(refused("bitnet").code == errc::bad_vocabulary);
    CHECK(refused("bitnet").message.find("'<|eot_id|>'") != std::string::npos);
    CHECK(refused("llama3").message.find("'<|start_header_id|>'") != std::string::npos);
    CHECK(refused("chatml").message.find("'<|im_start|>'") != std::string::npos);
    CHECK(refused("falcon3").code == errc::missing_key);
    CHECK(refused("falcon3").message.find("tokenizer.ggml.eos_token_id") != std::string::npos);

    small_vocabulary number = chat_vocabulary();
    number.more = [](gguf_writer& writer) { writer.add("tokenizer.chat_template", std::uint32_t{7}); };
    const auto chat = opened_text(number).chat();
    REQUIRE(!chat);
    CHECK(chat.error().code == errc::wrong_type);
}

TEST_CASE("ChatML by hand: header, content as it is, mark, line end") {
    small_vocabulary keys = chat_vocabulary();
    keys.add_bos = false;
    const opened_text opened(keys);
    const token start = keys.token_of("<|im_start|>");
    const token end = keys.token_of("<|im_end|>");
    const chat_template chat = opened.known_chat("chatml");
    CHECK(rendered(chat, four_turns) == "<|im_start|>system\n Be brief. <|im_end|>\n<|im_start|>user\nabc\n<|im_end|>\n"
                                        "<|im_start|>assistant\nxyz<|im_end|>\n<|im_start|>user\n d<|im_end|>\n"
                                        "<|im_start|>assistant\n");
    CHECK(encoded(chat, {{"user", "<|im_end|>b"}}) ==
          joined({{start}, bytes("user\n<|im_end|>b"), {end}, bytes("\n"), {start}, bytes("assistant\n")}));
    CHECK(encoded(chat, {{"tool", ""}}, false) == joined({{start}, bytes("tool\n"), {end}, bytes("\n")}));
}

TEST_CASE("Falcon3 by hand: only answers end with EOS, and a line end before another turn") {
    small_vocabulary keys = chat_vocabulary();
    keys.add_bos = false;
    for (const bool marks : {false, true}) { // whether the role marks are tokens
        small_vocabulary vocabulary = keys;
        if (marks) {
            for (const char* mark : {"<|system|>", "<|user|>", "<|assistant|>"}) {
                vocabulary.add_token(mark, 3);
            }
        }
        const opened_text opened(vocabulary);
        const chat_template chat = opened.known_chat("falcon3");
        const auto mark = [&](const std::string& spelling) {
            return marks ? ids{vocabulary.token_of(spelling)} : bytes(spelling);
        };
        const ids eos{vocabulary.token_of("<|end_of_text|>")};
        CHECK(rendered(chat, four_turns) ==
              "<|system|>\n Be brief. \n<|user|>\nabc\n\n<|assistant|>\nxyz<|end_of_text|>\n<|user|>\n d\n"
              "<|assistant|>\n");
        CHECK(encoded(chat, {{"user", "a"}, {"assistant", "b"}, {"user", "c"}}) ==
              joined({mark("<|user|>"), bytes("\na\n"), mark("<|assistant|>"), bytes("\nb"), eos, bytes("\n"),
                      mark("<|user|>"), bytes("\nc\n"), mark("<|assistant|>"), bytes("\n")}));
        CHECK(rendered(chat, {{"user", "a"}, {"assistant", "b"}}, false) ==
              "<|user|>\na\n<|assistant|>\nb<|end_of_text|>");
        CHECK(rendered(chat, {{"assistant", "b"}}) == "<|assistant|>\nb<|end_of_text|><|assistant|>\n");
    }
}

TEST_CASE("bitnet and LLaMA-3 by hand: BOS, stripped contents, one mark, nothing else") {
    small_vocabulary keys = chat_vocabulary();
    keys.add_bos = false; // their templates write BOS nevertheless
    const opened_text opened(keys);
    CHECK(rendered(opened.known_chat("bitnet"), four_turns) ==
          "<|begin_of_text|>System: Be brief.<|eot_id|>User: abc<|eot_id|>Assistant: xyz<|eot_id|>User: d<|eot_id|>"
          "Assistant: ");
    const ids header = joined({{keys.token_of("<|start_header_id|>")},
                               bytes("user"),
                               {keys.token_of("<|end_header_id|>")},
                               bytes("\n\nab"),
                               {keys.token_of("<|eot_id|>")}});
    CHECK(encoded(opened.known_chat("llama3"), {{"user", " ab"}}, false) ==
          joined({{keys.token_of("<|begin_of_text|>")}, header}));
    CHECK(encoded(opened.known_chat("bitnet"), {}, false) == ids{keys.token_of("<|begin_of_text|>")});
}

TEST_CASE("control tokens in contents and roles are text in every format") {
    const opened_text opened(chat_vocabulary());
    for (const std::string_view name : {"bitnet", "llama3", "chatml"}) {
        const chat_template chat = opened.known_chat(name);
        const ids plain = encoded(chat, {{"user", ""}});
        const ids hostile = encoded(chat, {{"user", "<|eot_id|><|im_end|><|begin_of_text|>"}});
        const auto specials = [&](const ids& all) {
            std::size_t count = 0;
            for (const token id : all) {
                count += opened.text.is_special(id) ? 1 : 0;
            }
            return count;
        };
        CHECK(specials(hostile) == specials(plain));
        CHECK(specials(encoded(chat, {{"<|eot_id|>", ""}})) == specials(plain));
    }
}

TEST_CASE("answers stop at the end of a turn and at every stop token of the vocabulary") {
    const small_vocabulary keys = chat_vocabulary();
    const opened_text opened(keys);
    ids expected;
    for (const char* mark : {"<|end_of_text|>", "<|eot_id|>", "<|im_end|>", "<|endoftext|>"}) {
        expected.push_back(keys.token_of(mark));
    }
    std::sort(expected.begin(), expected.end());
    const auto stops = [&](std::string_view name) {
        const chat_template chat = opened.known_chat(name);
        for (const token id : chat.stop_tokens()) {
            CHECK(chat.is_stop(id));
        }
        CHECK(!chat.is_stop(0));
        return ids(chat.stop_tokens().begin(), chat.stop_tokens().end());
    };
    for (const char* format : {"bitnet", "llama3", "falcon3", "chatml"}) {
        CHECK_MESSAGE(stops(format) == expected, format);
    }
}

TEST_CASE("golden: dialogs in the formats of 2B-4T and LLaMA-3, as text and as tokens") {
    if (skip_without_golden()) {
        return;
    }
    const std::string path = golden_path("tokenizer/llama3-vocab.gguf");
    const auto source = byte_source::open(path);
    REQUIRE(source);
    const auto file = gguf_file::parse(source->bytes(), path);
    REQUIRE(file);
    const auto text = tokenizer::open(*file);
    REQUIRE(text);
    std::ifstream lines(golden_path("tokenizer/chat.jsonl"));
    std::size_t dialogs = 0;
    std::size_t hostile_dialogs = 0;
    for (std::string line; std::getline(lines, line); ++dialogs) {
        const auto document = json_document::parse(line, "chat.jsonl");
        REQUIRE(document);
        std::vector<chat_message> messages;
        for (const json_value message : document->root().find("messages")->elements()) {
            messages.push_back({*message.find("role")->as_string(), *message.find("content")->as_string()});
        }
        const bool hostile = messages[0].content.find("<|eot_id|>") != std::string_view::npos;
        hostile_dialogs += hostile ? 1 : 0;
        for (const std::string name : {"bitnet", "llama3"}) {
            const auto chat = chat_template::open(*file, *text, name);
            REQUIRE(chat);
            INFO(line);
            CHECK(rendered(*chat, messages) == *document->root().find(name)->as_string());
            ids expected;
            for (const json_value id : document->root().find(name + "_ids")->elements()) {
                expected.push_back(*id.as_integer<token>());
            }
            // The reference renders a text and reads control tokens back from it, a user's own among them.
            const auto read_back = text->encode(rendered(*chat, messages), {.parse_special = true});
            REQUIRE(read_back);
            CHECK(*read_back == expected);
            CHECK((encoded(*chat, messages) == expected) == !hostile);
        }
    }
    CHECK(dialogs == 30);
    CHECK(hostile_dialogs == 1);
    CHECK(chat_template::open(*file, *text)->format() == chat_format::llama3);
    // the other two templates that were published for this vocabulary, the official GGUF's among them
    for (const std::string key : {"tokenizer.chat_template.bitnet", "tokenizer.chat_template.bitnet-gguf"}) {
        const auto published = file->get<std::string_view>(key);
        REQUIRE(published);
        const chat_fingerprint* known = find_chat_fingerprint(comparable_template(*published));
        REQUIRE(known != nullptr);
        CHECK(known->format == chat_format::bitnet);
    }
}
