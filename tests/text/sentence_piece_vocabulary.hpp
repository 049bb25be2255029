// SPDX-License-Identifier: MIT
// A small SentencePiece vocabulary as GGUF metadata: what the tests of text/ open and spoil.
#pragma once

#include "small_vocabulary.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

/// <unk>, <s>, </s>, the 256 bytes, the space and the letters of "helo wrd", and some of what they merge to; the score
/// of a token is lower the later it comes.
inline small_vocabulary sentence_piece_vocabulary() {
    small_vocabulary keys;
    keys.model = "llama";
    keys.pre.reset();
    keys.merges.reset();
    keys.tokens.clear();
    keys.kinds->clear();
    keys.scores->clear();
    keys.add_token("<unk>", 2);
    keys.add_token("<s>", 3);
    keys.add_token("</s>", 3);
    constexpr std::string_view digits = "0123456789ABCDEF";
    for (std::size_t byte = 0; byte < 256; ++byte) {
        keys.add_token(std::string("<0x") + digits[byte / 16] + digits[byte % 16] + ">", 6);
    }
    for (const char* text :
         {"\u2581",       "h",           "e",       "l",   "o",     "w",  "r",         "d",  "\u00e9",
          "he",           "ll",          "\u2581w", "llo", "hello", "or", "\u2581wor", "ld", "\u2581world",
          "\u2581\u2581", "\u2581hello", "o\u00e9"}) {
        keys.add_token(text, 1);
        keys.scores->back() = -static_cast<float>(keys.tokens.size());
    }
    keys.ids = {{"bos", 1}, {"eos", 2}, {"unknown", 0}};
    return keys;
}
