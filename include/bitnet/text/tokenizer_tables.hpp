// SPDX-License-Identifier: MIT
// The two kinds of tokenizer_tables: byte-level BPE and SentencePiece.
#ifndef BITNET_TEXT_TOKENIZER_TABLES_HPP
#define BITNET_TEXT_TOKENIZER_TABLES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/text/byte_pair_encoding.hpp>
#include <bitnet/text/pre_tokenizer.hpp>
#include <bitnet/text/sentence_piece.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <cstddef>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// What both kinds share: a vocabulary, and tokens that are found in text as they are spelled.
class vocabulary_tables : public tokenizer_tables {
public:
    [[nodiscard]] result<void> encode(std::string_view text, std::vector<token>& out,
                                      encode_options options) const final {
        const default_float_environment environment;
        const std::size_t before = out.size();
        result<void> done;
        if (!has_memory_for([&] { done = append_tokens(text, out, options); })) {
            done =
                error_saying(errc::out_of_memory, {"the tokens of a text of ", text.size(), " bytes need more memory"});
        }
        if (!done) {
            out.resize(before);
        }
        return done;
    }

    [[nodiscard]] std::string_view bytes_of(token id) const noexcept final {
        return tokens_.contains(id) ? tokens_.bytes_of(id) : std::string_view{};
    }

    [[nodiscard]] bool is_special(token id) const noexcept final {
        return tokens_.contains(id) &&
               (tokens_.kind_of(id) == token_kind::control || tokens_.kind_of(id) == token_kind::unknown);
    }

    [[nodiscard]] token find_special(std::string_view spelling) const noexcept final {
        return tokens_.find_special(spelling);
    }

protected:
    vocabulary_tables(vocabulary tokens, bool space_prefix) noexcept
        : tokens_(std::move(tokens)), space_prefix_(space_prefix) {}

    [[nodiscard]] const vocabulary& tokens() const noexcept { return tokens_; }

private:
    [[nodiscard]] result<void> append_tokens(std::string_view text, std::vector<token>& out,
                                             encode_options options) const {
        if (text.size() > byte_pair_encoding::longest_piece) {
            return error{errc::invalid_argument,
                         sentence({"the text has ", text.size(), " bytes, at most ", byte_pair_encoding::longest_piece,
                                   " can be encoded at a time"})};
        }
        bool space_in_front = space_prefix_ && !options.follows_text;
        for (std::size_t from = 0; from < text.size();) {
            const token_match match = tokens_.next_spelled(text, from, options.parse_special);
            const std::string_view plain = text.substr(from, match.position - from);
            if (!plain.empty()) {
                if (auto done = encode_plain(plain, space_in_front, out); !done) {
                    return done;
                }
            }
            if (match.size != 0) {
                out.push_back(match.id);
                space_in_front = space_prefix_;
            }
            from = match.position + match.size;
        }
        return {};
    }

    /// Appends the tokens of text in which no token is spelled. \pre !text.empty()
    [[nodiscard]] virtual result<void> encode_plain(std::string_view text, bool space_in_front,
                                                    std::vector<token>& out) const = 0;

    vocabulary tokens_;
    bool space_prefix_;
};

/// Byte-level BPE: a splitter cuts the text into pieces, whose bytes merge.
class byte_level_tables final : public vocabulary_tables {
public:
    byte_level_tables(vocabulary tokens, byte_pair_encoding merging, pre_tokenizer_name splitting) noexcept
        : vocabulary_tables(std::move(tokens), false), merging_(std::move(merging)), splitting_(splitting) {}

private:
    [[nodiscard]] result<void> encode_plain(std::string_view text, bool, std::vector<token>& out) const override {
        return with_splitter(splitting_.kind, text, [&](auto pieces) { return encode_pieces(pieces, out); });
    }

    template <splitter Pieces> [[nodiscard]] result<void> encode_pieces(Pieces& pieces, std::vector<token>& out) const {
        for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) {
            const token whole = splitting_.whole_pieces ? tokens().find(piece) : no_token;
            if (whole != no_token) {
                out.push_back(whole); // 588 tokens of LLaMA-3 can be reached in no other way
            } else if (auto done = merging_.encode(piece, out); !done) {
                return done;
            }
        }
        return {};
    }

    byte_pair_encoding merging_;
    pre_tokenizer_name splitting_;
};

/// SentencePiece: characters merge, by score or by rank.
class sentence_piece_tables final : public vocabulary_tables {
public:
    /// \param space_prefix whether text gets a space in front.
    sentence_piece_tables(vocabulary tokens, sentence_piece_encoding pieces, bool space_prefix) noexcept
        : vocabulary_tables(std::move(tokens), space_prefix), pieces_(std::move(pieces)) {}

private:
    [[nodiscard]] result<void> encode_plain(std::string_view text, bool space_in_front,
                                            std::vector<token>& out) const override {
        return pieces_.encode(tokens(), text, space_in_front, out);
    }

    sentence_piece_encoding pieces_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
