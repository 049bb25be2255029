// SPDX-License-Identifier: MIT
// Byte pair encoding of one piece of text: from its bytes on, neighbours merge, lowest rank first, leftmost on ties.
#ifndef BITNET_TEXT_BYTE_PAIR_ENCODING_HPP
#define BITNET_TEXT_BYTE_PAIR_ENCODING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_merging.hpp>

#include <algorithm>
#include <array>
#include <cassert>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Turns bytes into tokens by merging. Immutable: any number of threads may encode at a time.
class byte_pair_encoding {
public:
    /// `byte_tokens[b]` is the token of the single byte b, or no_token.
    byte_pair_encoding(const std::array<token, 256>& byte_tokens, merge_table merges) noexcept
        : byte_tokens_(byte_tokens), merging_(std::move(merges)),
          complete_(std::find(byte_tokens.begin(), byte_tokens.end(), no_token) == byte_tokens.end()) {}

    /// The longest piece that encode() takes.
    static constexpr std::size_t longest_piece = (std::numeric_limits<std::int32_t>::max)();

    /// Appends the tokens of `piece` to `out`. \pre piece.size() <= longest_piece
    /// Cost for n bytes: O(n log n); pieces of more than 64 bytes allocate 36 n bytes for the time of the call.
    /// \return errc::invalid_argument for a byte that has no token; errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> encode(std::string_view piece, std::vector<token>& out) const {
        assert(piece.size() <= longest_piece);
        if (!complete_) {
            if (auto possible = check_bytes(piece); !possible) {
                return possible;
            }
        }
        const std::size_t first = out.size();
        out.resize(first + piece.size());
        std::transform(piece.begin(), piece.end(), out.data() + first, [this](char byte) { return token_of(byte); });
        return merging_.run(out, first);
    }

private:
    [[nodiscard]] token token_of(char byte) const noexcept { return byte_tokens_[static_cast<unsigned char>(byte)]; }

    [[nodiscard]] result<void> check_bytes(std::string_view piece) const {
        for (const char byte : piece) {
            if (token_of(byte) == no_token) {
                return error{errc::invalid_argument, sentence({"the text holds byte ", static_cast<unsigned char>(byte),
                                                               ", for which the vocabulary has no token"})};
            }
        }
        return {};
    }

    std::array<token, 256> byte_tokens_;
    token_merging merging_;
    bool complete_; ///< every byte has a token
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
