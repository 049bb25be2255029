// SPDX-License-Identifier: MIT
// token_kind: what the tokens of a vocabulary are for, as a GGUF file says.
#ifndef BITNET_TEXT_TOKEN_KIND_HPP
#define BITNET_TEXT_TOKEN_KIND_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What a token is for, with its id in tokenizer.ggml.token_type.
enum class token_kind : std::uint8_t {
    normal = 1,  ///< spelled by token_spelling; what merging makes
    unknown = 2, ///< spelled as it is; found in text on request only
    /// Spelled as it is; found in text on request only. Byte-level: if no other token stands for its one byte, it is
    /// text and merges like normal ones, whichever way it is spelled; so is white space that merges name.
    control = 3,
    /// Spelled as it is, with SentencePiece perhaps with U+2581 for spaces; always found in text, before splitting.
    /// Byte-level: text as above, also if it holds white space among other characters.
    user_defined = 4,
    unused = 5, ///< spelled as it is; never found
    byte = 6,   ///< spelled <0xHH>, means that byte; never found
};

inline constexpr std::string_view token_kinds_key = "tokenizer.ggml.token_type";

/// The kinds of the tokens in `spellings`, an array of strings: those of token_type, which may be integers of any
/// width. If the file has none, tokens spelled <|...|> are control tokens and all others normal.
/// \return errc::bad_vocabulary (no integers, another count, a kind that is not known); errc::out_of_memory.
[[nodiscard]] inline result<buffer<token_kind>> read_token_kinds(const gguf_file& file, const gguf_value& spellings) {
    const auto numbers = find_integers_of(file, token_kinds_key, spellings.count);
    if (!numbers) {
        return failed(numbers);
    }
    auto kinds =
        buffer<token_kind>::allocate(spellings.count, "token kinds", {file.memory(), {memory_use::tables, false}});
    if (!kinds) {
        return kinds;
    }
    std::size_t i = 0;
    for (const std::string_view spelling : spellings.strings()) {
        const bool special = spelling.starts_with("<|") && spelling.ends_with("|>");
        (*kinds)[i] = special ? token_kind::control : token_kind::normal;
        if (*numbers != nullptr) {
            const auto number = wide_element(**numbers, i);
            if (number->bits < 1 || number->bits > 6) { // a negative number has its highest bit set
                const auto negative = static_cast<std::int64_t>(number->bits);
                return bad_vocabulary(
                    file, token_kinds_key, i,
                    sentence({"is ", number->negative ? sentence_part(negative) : number->bits, ", 1 to 6 are known"}));
            }
            (*kinds)[i] = static_cast<token_kind>(number->bits);
        }
        ++i;
    }
    return kinds;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
