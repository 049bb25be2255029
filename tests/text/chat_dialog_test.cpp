// SPDX-License-Identifier: MIT
// chat_dialog: dialogs that grow turn by turn.
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/open_chat_template.hpp>

#include <text/chat_vocabulary.hpp>
#include <text/small_vocabulary.hpp>

#include <doctest/doctest.h>

#include <string>
#include <string_view>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace bitnet_tests;

TEST_CASE("a dialog taken turn by turn is the whole dialog") {
    for (const bool marks : {false, true}) {
        small_vocabulary keys = chat_vocabulary();
        for (const char* mark : {"<|system|>", "<|user|>", "<|assistant|>"}) {
            if (marks) {
                keys.add_token(mark, 3);
            }
        }
        const opened_text opened(keys);
        for (const std::string_view name : chat_format_names) {
            const chat_template chat = opened.known_chat(name);
            chat_dialog dialog = chat.dialog();
            std::vector<chat_message> so_far;
            ids all;
            for (const chat_message& message : four_turns) {
                so_far.push_back(message);
                REQUIRE(dialog.add(message));
                const ids next = taken(dialog);
                all.insert(all.end(), next.begin(), next.end());
                INFO(name << ", " << so_far.size() << " turns");
                CHECK(all == encoded(chat, so_far, false));
            }
        }
    }
}

TEST_CASE("a generated answer, stopped or interrupted, continues as the whole dialog does") {
    const small_vocabulary keys = chat_vocabulary();
    const opened_text opened(keys);
    for (const std::string_view name : {"llama3", "falcon3", "chatml", "bitnet"}) {
        const chat_template chat = opened.known_chat(name);
        const token mark =
            end_of_turn(chat.format()).empty() ? *opened.text.eos() : keys.token_of(end_of_turn(chat.format()));
        for (const bool stopped : {true, false}) {
            chat_dialog dialog = chat.dialog();
            REQUIRE(dialog.add({"user", "q"}));
            dialog.add_prompt();
            ids session = taken(dialog);
            const ids answer = bytes("xyz");
            session.insert(session.end(), answer.begin(), answer.end());
            if (stopped) {
                session.push_back(mark); // the session's stop token is part of its sequence
            }
            dialog.end_answer(stopped);
            REQUIRE(dialog.add({"user", "r"}));
            dialog.add_prompt();
            const ids rest = taken(dialog);
            session.insert(session.end(), rest.begin(), rest.end());
            INFO(name << (stopped ? ", stopped" : ", interrupted"));
            CHECK(session == encoded(chat, {{"user", "q"}, {"assistant", "xyz"}, {"user", "r"}}));
        }
    }
}

TEST_CASE("assigning an earlier copy of a dialog takes turns back") {
    const opened_text opened(chat_vocabulary());
    const chat_template chat = opened.known_chat("bitnet");
    chat_dialog dialog = chat.dialog();
    const chat_dialog before = dialog;
    REQUIRE(dialog.add({"user", "too long"}));
    static_cast<void>(taken(dialog));
    dialog = before;
    REQUIRE(dialog.add({"user", "short"}));
    CHECK(taken(dialog) == encoded(chat, {{"user", "short"}}, false));
    CHECK(taken(dialog).empty());
}

TEST_CASE("a role that the format does not have is refused by name and changes nothing") {
    const opened_text opened(chat_vocabulary());
    chat_dialog dialog = opened.known_chat("falcon3").dialog();
    const std::string before = dialog.text();
    const auto added = dialog.add({"tool", "x"});
    REQUIRE(!added);
    CHECK(added.error().code == errc::invalid_argument);
    CHECK(added.error().message.find("'tool'") != std::string::npos);
    CHECK(dialog.text() == before);
    CHECK(!opened.known_chat("llama3").encode(std::vector<chat_message>{{"", "x"}}));
}
