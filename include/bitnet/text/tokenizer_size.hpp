// SPDX-License-Identifier: MIT
// tokenizer_bytes: what the tokenizer of a file will take, before it is made.
#ifndef BITNET_TEXT_TOKENIZER_SIZE_HPP
#define BITNET_TEXT_TOKENIZER_SIZE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token_index.hpp>
#include <bitnet/text/token_kind.hpp>

#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Bytes of the vocabulary, its index and the table of merges; 0 if the file has no vocabulary. Of SentencePiece, whose
/// merges are not listed, two for each token are assumed.
[[nodiscard]] inline std::uint64_t tokenizer_bytes(const gguf_file& file) noexcept {
    const gguf_value* tokens = file.find("tokenizer.ggml.tokens");
    if (tokens == nullptr || tokens->bytes.size() < 8 * tokens->count) {
        return 0;
    }
    const gguf_value* merges = file.find("tokenizer.ggml.merges");
    const std::uint64_t count = tokens->count;
    return token_store::bytes_for(count, tokens->bytes.size() - 8 * count) + count * sizeof(token_kind) +
           token_index::bytes_for(count) + merge_table::bytes_for(merges != nullptr ? merges->count : 2 * count);
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
