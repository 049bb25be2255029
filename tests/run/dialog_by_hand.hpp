// SPDX-License-Identifier: MIT
// The tokens of a conversation, written without it.
#pragma once

#include <bitnet/run/conversation.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string_view>
#include <vector>

namespace bitnet_tests {

/// The tokens of a history, written by a chat_dialog turn by turn.
inline std::vector<bitnet::token> tokens_by_hand(const bitnet::conversation& talk, const bitnet::any_model& model,
                                                 bitnet::chat_thinking thinking = bitnet::chat_thinking::by_template) {
    using bitnet::token;
    bitnet::chat_dialog dialog = *talk.format().open_dialog({.thinking = thinking});
    std::vector<token> all;
    const auto take = [&] {
        all.resize(dialog.kept());
        const auto more = dialog.take();
        REQUIRE(more);
        all.insert(all.end(), more->begin(), more->end());
    };
    for (std::size_t i = 0; i < talk.history().size(); ++i) {
        const bitnet::conversation_turn& turn = talk.history()[i];
        if (!turn.is_answer) {
            REQUIRE(dialog.add({turn.role, turn.text}));
            take();
            continue;
        }
        dialog.add_prompt();
        take();
        std::vector<token> answer;
        if (turn.begun_bytes != 0) {
            answer =
                *model.text().encode(std::string_view(turn.text).substr(0, turn.begun_bytes), {.follows_text = true});
        }
        REQUIRE(answer == std::vector<token>(turn.tokens.begin(),
                                             turn.tokens.begin() + static_cast<std::ptrdiff_t>(turn.begun_tokens)));
        all.insert(all.end(), turn.tokens.begin(), turn.tokens.end());
        if (turn.stop != bitnet::no_token) {
            all.push_back(turn.stop);
        }
        if (i + 1 != talk.history().size()) {
            dialog.end_answer(turn.tokens, turn.stop != bitnet::no_token);
        }
    }
    return all;
}

} // namespace bitnet_tests
