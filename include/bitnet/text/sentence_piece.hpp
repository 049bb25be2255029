// SPDX-License-Identifier: MIT
// sentence_piece_encoding: text to tokens as SentencePiece's BPE models do (LLaMA-2, Gemma, Phi-3).
#ifndef BITNET_TEXT_SENTENCE_PIECE_HPP
#define BITNET_TEXT_SENTENCE_PIECE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/merge_list.hpp>
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_index.hpp>
#include <bitnet/text/token_merging.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The merges of a SentencePiece vocabulary, from its scores: two tokens merge if their bytes together are a third,
/// the best score first. So every way to cut a token into two tokens is one merge. Use read_scores().
class score_reader {
public:
    score_reader(const gguf_file& file, const vocabulary& tokens) noexcept : file_(file), tokens_(tokens) {}

    [[nodiscard]] result<merge_table> run() {
        if (auto done = read(); !done) {
            return failed(done);
        }
        std::uint64_t count = 0;
        for (token id = 0; tokens_.contains(id); ++id) {
            for_each_cut(id, [&count](token, token) { return ++count != 0; });
        }
        auto table = merge_table::allocate(count, file_.memory());
        if (!table) {
            return table;
        }
        for (token id = 0; tokens_.contains(id); ++id) {
            const merge made{rank_of(id), id};
            const bool fits = for_each_cut(id, [&](token left, token right) {
                return table->insert(left, right, made) != token_index::outcome::crowded;
            });
            if (!fits) {
                return bad_vocabulary(file_, "tokenizer.ggml.tokens", static_cast<std::uint64_t>(id),
                                      sentence({"collides with more than ", longest_probe, " other merges"}));
            }
        }
        return table;
    }

private:
    static constexpr std::string_view key = "tokenizer.ggml.scores";

    [[nodiscard]] result<void> read() {
        const auto found = need_array(file_, key, gguf_type::f32);
        if (!found) {
            return failed(found);
        }
        scores_ = *found; // of as many elements as there are tokens: vocabulary::open() has checked that
        for (std::uint64_t i = 0; i < scores_->count; ++i) {
            const auto bits = std::bit_cast<std::uint32_t>(scores_->element<float>(i));
            if ((bits & 0x7f800000u) == 0x7f800000u) {
                return bad_vocabulary(file_, key, i, "is not a finite number");
            }
        }
        return {};
    }

    /// Lower for better scores: the bits of floats, turned so that their order as integers is that of the numbers,
    /// upside down. -0 ranks with 0. Below merge::never, which would be a NaN.
    [[nodiscard]] std::uint32_t rank_of(token id) const noexcept {
        const auto bits = std::bit_cast<std::uint32_t>(scores_->element<float>(static_cast<std::uint64_t>(id)));
        constexpr std::uint32_t sign = 0x80000000u;
        return bits > sign ? bits : 0x7fffffffu - (bits & ~sign);
    }

    /// Calls `use(left, right)` for every cut of a token that merging can make into two such tokens, as long as it
    /// returns true. \return whether it always did
    template <class Use> bool for_each_cut(token id, Use use) const {
        const std::string_view bytes = tokens_.bytes_of(id);
        if (tokens_.find(bytes) != id) {
            return true;
        }
        for (std::size_t i = 1; i < bytes.size(); ++i) {
            const token left = tokens_.find(bytes.substr(0, i));
            const token right = left != no_token ? tokens_.find(bytes.substr(i)) : no_token;
            if (right != no_token && !use(left, right)) {
                return false;
            }
        }
        return true;
    }

    const gguf_file& file_;
    const vocabulary& tokens_;
    const gguf_value* scores_ = nullptr;
};

/// The merges between tokens of `tokens` by the scores of `file`. Cost: two look-ups per byte of the tokens,
/// memory 24 to 48 bytes per merge.
/// \return errc::missing_key; errc::bad_vocabulary (scores that are no floats or not finite); errc::out_of_memory.
[[nodiscard]] inline result<merge_table> read_scores(const gguf_file& file, const vocabulary& tokens) {
    return score_reader(file, tokens).run();
}

/// Turns text into tokens: its characters, spaces as U+2581, merge by score (or by the ranks of a merges list, if the
/// file has one); a character without token becomes the tokens of its bytes. Immutable.
class sentence_piece_encoding {
public:
    /// \param tokens opened with token_spelling::sentence_piece; every call needs the same. \param notes as in
    /// read_merges()
    /// \return as read_scores() or read_merges(); errc::bad_vocabulary if a byte or the space has no token.
    [[nodiscard]] static result<sentence_piece_encoding> open(const gguf_file& file, const vocabulary& tokens,
                                                              std::vector<std::string>* notes = nullptr) {
        sentence_piece_encoding made;
        if (auto known = made.find_characters(file, tokens); !known) {
            return failed(known);
        }
        auto merges = file.find("tokenizer.ggml.merges") != nullptr ? read_merges(file, tokens, notes)
                                                                    : read_scores(file, tokens);
        if (!merges) {
            return failed(merges);
        }
        made.merging_ = token_merging(*std::move(merges));
        made.words_apart_ = are_words_apart(tokens);
        return made;
    }

    /// Appends the tokens of `text` to `out`, with a space in front if `space_in_front`.
    /// Cost for n bytes: O(n log n); words of more than 64 characters allocate 36 bytes per character for the time of
    /// the call. If tokens span words, the whole text counts as one word.
    /// \pre text.size() < token_merging::longest_run
    /// \return errc::out_of_memory with the bytes asked for.
    [[nodiscard]] result<void> encode(const vocabulary& tokens, std::string_view text, bool space_in_front,
                                      std::vector<token>& out) const {
        std::size_t word = out.size();
        if (space_in_front) {
            out.push_back(space_);
        }
        for (std::size_t i = 0; i < text.size();) {
            const std::size_t size = character_size(text, i);
            const bool space = is_space(text.substr(i, size));
            if (space && words_apart_ && out.size() != word && out.back() != space_) {
                if (auto merged = merging_.run(out, word); !merged) {
                    return merged;
                }
                word = out.size();
            }
            append(tokens, space ? std::string_view(" ") : text.substr(i, size), out);
            i += size;
        }
        return merging_.run(out, word);
    }

private:
    sentence_piece_encoding() noexcept : merging_(merge_table{}) {}

    [[nodiscard]] static std::size_t character_size(std::string_view text, std::size_t i) noexcept {
        return static_cast<unsigned char>(text[i]) < 0x80 ? 1 : first_code_point(text.substr(i)).size;
    }
    [[nodiscard]] static bool is_space(std::string_view character) noexcept {
        return character == " " || character == vocabulary::space_mark;
    }

    void append(const vocabulary& tokens, std::string_view character, std::vector<token>& out) const {
        const auto first = static_cast<unsigned char>(character[0]);
        const token id = first < ascii_.size() ? ascii_[first] : tokens.find(character);
        if (id != no_token) {
            out.push_back(id);
            return;
        }
        for (const char byte : character) {
            out.push_back(bytes_[static_cast<unsigned char>(byte)]);
        }
    }

    [[nodiscard]] result<void> find_characters(const gguf_file& file, const vocabulary& tokens) {
        bytes_ = tokens.byte_tokens();
        for (std::size_t byte = 0; byte < bytes_.size(); ++byte) {
            if (bytes_[byte] == no_token) {
                return bad_vocabulary(
                    file, "tokenizer.ggml.tokens",
                    sentence({"has no token of type 6 for byte ", byte, " among its ", tokens.size()}));
            }
        }
        for (std::size_t c = 0; c < ascii_.size(); ++c) {
            const char text = static_cast<char>(c);
            ascii_[c] = tokens.find({&text, 1});
        }
        space_ = ascii_[' '];
        if (space_ == no_token) {
            return bad_vocabulary(file, "tokenizer.ggml.tokens",
                                  sentence({"has no token for the space (U+2581) among its ", tokens.size()}));
        }
        return {};
    }

    /// Whether no token has a space after another character: then no merge crosses the start of a word.
    [[nodiscard]] static bool are_words_apart(const vocabulary& tokens) noexcept {
        for (token id = 0; tokens.contains(id); ++id) {
            const std::string_view bytes = tokens.bytes_of(id);
            const std::size_t word = bytes.find_first_not_of(' ');
            if (word != std::string_view::npos && bytes.find(' ', word) != std::string_view::npos &&
                tokens.find(bytes) == id) {
                return false;
            }
        }
        return true;
    }

    token_merging merging_;
    std::array<token, 256> bytes_{}; ///< of the bytes of characters without token
    std::array<token, 128> ascii_{}; ///< of the ASCII characters, or no_token
    token space_ = no_token;
    bool words_apart_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
