// SPDX-License-Identifier: MIT
// What the handles of grammars and tools hold.
#pragma once

#include "handles.hpp"

#include <bitnet/constrain.hpp>

namespace bitnet_c {

/// Borrows the tokenizer of the model that holds it.
struct lazy_trie {
    bitnet::token_trie tokens;
};

/// That of the model, made once, by whoever asks first.
[[nodiscard]] bitnet::result<std::shared_ptr<const lazy_trie>> trie_of(model_state& model);

/// Shared by the conversations that call its functions. Stays where it is.
struct tools_state {
    std::shared_ptr<model_state> model;
    std::shared_ptr<const lazy_trie> trie;
    bitnet::tool_set set;
    std::optional<bitnet::constrained_tools> source;
};

} // namespace bitnet_c

struct bitnet_grammar {
    bitnet::grammar texts;
};

struct bitnet_tools {
    std::shared_ptr<bitnet_c::tools_state> state;
};
