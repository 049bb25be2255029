// SPDX-License-Identifier: MIT
// conversation_turn: one turn of a conversation's history.
#ifndef BITNET_RUN_CONVERSATION_TURN_HPP
#define BITNET_RUN_CONVERSATION_TURN_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/token.hpp>

#include <cstddef>
#include <string>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What was said once, as data.
struct conversation_turn {
    /// A call of a tool, as chat_tool_call.
    struct call {
        std::string name;
        std::string arguments;
    };

    std::string role;             ///< "system", "user", "assistant", "tool" ...
    std::string text;             ///< of an answer with its thoughts, and with what the host began it with
    std::vector<call> calls = {}; ///< of an assistant's turn; those of an answer are in `text`, too

    bool is_answer = false;         ///< the model wrote it, and it is in the dialog as the tokens it wrote
    std::vector<token> tokens = {}; ///< of an answer, those that the host began it with included, not the stop token
    std::size_t begun_tokens = 0;   ///< how many of `tokens` the host began it with
    std::size_t begun_bytes = 0;    ///< and how many bytes of `text`
    token stop = no_token;          ///< the stop token at its end; no_token if it was ended otherwise
};

} // namespace bitnet::inline BITNET_ABI

#endif
