// SPDX-License-Identifier: MIT
// tokenizer: text to tokens and back, for byte-level models that split text as LLaMA-3 does.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/byte_pair_encoding.hpp>
#include <bitnet/text/merge_list.hpp>
#include <bitnet/text/pre_tokenizer.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

struct tokenizer_options {
    /// One of llama3_splitter_names, used instead of what the file says; empty: the file decides.
    std::string_view pre_tokenizer = {};
};

struct encode_options {
    /// Whether control tokens that stand in the text, such as <|eot_id|>, become those tokens. Off: they are text like
    /// any other, which is what a user's own words have to be.
    bool parse_special = false;
};

/// Which splitter is in use, and how that was decided.
struct pre_tokenizer_choice {
    std::string name;      ///< as a file would spell it, "llama-bpe"
    bool inferred = false; ///< the file names none; the vocabulary tells
    std::string why;       ///< a sentence for people
};

/// Text to tokens and back. Owns its tables: the file may go once it is open. Immutable: any number of threads may use
/// it at a time. Move-only.
///
/// encode() takes any bytes: those that are not UTF-8 count as characters of no class, one by one. decode(encode(x)) is
/// x for every x. (Only a vocabulary without tokens for some bytes makes encode() fail on these; LLaMA-3 has all.)
class tokenizer {
public:
    /// Reads all tokenizer.ggml.* keys that it uses.
    /// Cost for LLaMA-3's 128,256 tokens and 280,147 merges: one pass over 5.5 MB, memory about 12 MB.
    /// \return errc::unsupported_tokenizer (tokenizer.ggml.model is not gpt2), unknown_pre_tokenizer, missing_key,
    /// wrong_type, bad_vocabulary or out_of_memory, naming the file, the key and both disagreeing numbers.
    [[nodiscard]] static result<tokenizer> open(const gguf_file& file, tokenizer_options options = {});

    /// The tokens of `text`, without BOS. Cost: linear but for pieces of text without a boundary, O(n log n) for these.
    /// \return errc::invalid_argument for text of 2 GiB or more and for a byte without token; errc::out_of_memory.
    [[nodiscard]] result<std::vector<token>> encode(std::string_view text, encode_options options = {}) const {
        std::vector<token> tokens;
        if (auto done = encode(text, tokens, options); !done) {
            return std::move(done).error();
        }
        return tokens;
    }

    /// The same, appended to `out`: for messages that are put together, and for callers who keep their memory.
    [[nodiscard]] result<void> encode(std::string_view text, std::vector<token>& out,
                                      encode_options options = {}) const {
        if (text.size() > byte_pair_encoding::longest_piece) {
            return error{errc::invalid_argument, "the text has " + std::to_string(text.size()) + " bytes, at most " +
                                                     std::to_string(byte_pair_encoding::longest_piece) +
                                                     " can be encoded at a time"};
        }
        for (std::size_t from = 0; from < text.size();) {
            const token_match match = tokens_.next_spelled(text, from, options.parse_special);
            if (auto done = encode_plain(text.substr(from, match.position - from), out); !done) {
                return done;
            }
            if (match.size != 0) {
                out.push_back(match.id);
            }
            from = match.position + match.size;
        }
        return {};
    }

    /// The bytes that a token stands for, or its spelling if it is a control token; empty outside the vocabulary.
    /// Lives as long as the tokenizer. Need not be whole code points: see stream_decoder.
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept {
        return tokens_.contains(id) ? tokens_.bytes_of(id) : std::string_view{};
    }

    /// The bytes of all tokens, one after another, nothing tidied.
    [[nodiscard]] std::string decode(std::span<const token> tokens) const {
        std::string text;
        for (const token id : tokens) {
            text.append(bytes_of(id));
        }
        return text;
    }

    [[nodiscard]] std::size_t vocabulary_size() const noexcept { return tokens_.size(); }
    [[nodiscard]] bool contains(token id) const noexcept { return tokens_.contains(id); }

    /// Whether a token is a control or unknown token, which no text becomes unless encode_options asks for it.
    [[nodiscard]] bool is_special(token id) const noexcept {
        return contains(id) &&
               (tokens_.kind_of(id) == token_kind::control || tokens_.kind_of(id) == token_kind::unknown);
    }

    /// The token that is spelled like this and found in text with parse_special; nothing if there is none.
    [[nodiscard]] std::optional<token> find_special(std::string_view spelling) const noexcept {
        const token id = tokens_.find_special(spelling);
        return id == no_token ? std::nullopt : std::optional{id};
    }

    [[nodiscard]] std::optional<token> bos() const noexcept { return bos_; } ///< begins every sequence
    [[nodiscard]] std::optional<token> eos() const noexcept { return eos_; } ///< ends a document
    [[nodiscard]] std::optional<token> eot() const noexcept { return eot_; } ///< ends a turn of a dialog

    /// Whether the model expects bos() in front: tokenizer.ggml.add_bos_token, or where that is missing, whether there
    /// is a BOS. encode() never adds it.
    [[nodiscard]] bool add_bos() const noexcept { return add_bos_; }

    /// The tokens after which generation ends: eos, eot, eom and <|end_of_text|>, as far as they exist; ascending.
    [[nodiscard]] std::span<const token> stop_tokens() const noexcept { return {stops_.data(), stop_count_}; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        const auto stops = stop_tokens();
        return std::find(stops.begin(), stops.end(), id) != stops.end();
    }

    [[nodiscard]] const pre_tokenizer_choice& pre_tokenizer() const noexcept { return pre_tokenizer_; }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest_token() const noexcept { return tokens_.longest(); }

private:
    static constexpr std::string_view model_key = "tokenizer.ggml.model";
    static constexpr std::string_view pre_key = "tokenizer.ggml.pre";

    tokenizer(vocabulary tokens, byte_pair_encoding merging) noexcept
        : tokens_(std::move(tokens)), merging_(std::move(merging)) {}

    [[nodiscard]] result<void> encode_plain(std::string_view text, std::vector<token>& out) const {
        llama3_splitter splitter(text);
        for (std::string_view piece = splitter.next(); !piece.empty(); piece = splitter.next()) {
            if (const token whole = tokens_.find(piece); whole != no_token) {
                out.push_back(whole); // 588 tokens of LLaMA-3 can be reached in no other way
            } else if (auto done = merging_.encode(piece, out); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] static result<void> check_model(const gguf_file& file);
    [[nodiscard]] result<void> choose_pre_tokenizer(const gguf_file& file, std::string_view wanted);
    [[nodiscard]] error unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const;
    [[nodiscard]] std::string resemblance() const;
    [[nodiscard]] result<void> read_ids(const gguf_file& file);
    [[nodiscard]] result<void> read_add_bos(const gguf_file& file);
    void add_stop(std::optional<token> id) noexcept;

    vocabulary tokens_;
    byte_pair_encoding merging_;
    pre_tokenizer_choice pre_tokenizer_;
    std::optional<token> bos_;
    std::optional<token> eos_;
    std::optional<token> eot_;
    std::array<token, 8> stops_{};
    std::size_t stop_count_ = 0;
    bool add_bos_ = false;
};

inline result<tokenizer> tokenizer::open(const gguf_file& file, tokenizer_options options) {
    if (auto known = check_model(file); !known) {
        return std::move(known).error();
    }
    auto tokens = vocabulary::open(file);
    if (!tokens) {
        return std::move(tokens).error();
    }
    auto merges = read_merges(file, *tokens);
    if (!merges) {
        return std::move(merges).error();
    }
    byte_pair_encoding merging(tokens->byte_tokens(), *std::move(merges));
    tokenizer made(*std::move(tokens), std::move(merging));
    if (auto done = made.read_ids(file); !done) {
        return std::move(done).error();
    }
    if (auto done = made.choose_pre_tokenizer(file, options.pre_tokenizer); !done) {
        return std::move(done).error();
    }
    return made;
}

inline result<void> tokenizer::check_model(const gguf_file& file) {
    const auto model = file.get<std::string_view>(model_key);
    if (!model) {
        return error{model.error()};
    }
    if (*model != "gpt2") {
        return error{errc::unsupported_tokenizer, std::string(file.name()) + ": " + std::string(model_key) + " is " +
                                                      quoted_name(*model) +
                                                      ", only 'gpt2' (byte-level BPE) can be read"};
    }
    return {};
}

inline result<void> tokenizer::choose_pre_tokenizer(const gguf_file& file, std::string_view wanted) {
    const auto in_file = file.get_or<std::string_view>(pre_key, {});
    if (!in_file) {
        return error{in_file.error()};
    }
    const auto known = [](std::string_view name) {
        return std::find(llama3_splitter_names.begin(), llama3_splitter_names.end(), name) !=
               llama3_splitter_names.end();
    };
    const std::string said = in_file->empty() ? "does not say" : "says " + quoted_name(*in_file);
    if (!wanted.empty()) {
        if (!known(wanted)) {
            return unknown_pre_tokenizer(file, "the caller asks for the pre-tokenizer " + quoted_name(wanted));
        }
        pre_tokenizer_ = {std::string(wanted), false, "chosen by the caller; the file " + said};
        return {};
    }
    if (!in_file->empty()) {
        if (!known(*in_file)) {
            return unknown_pre_tokenizer(file, std::string(pre_key) + " is " + quoted_name(*in_file));
        }
        pre_tokenizer_ = {std::string(*in_file), false, "the file says so in " + std::string(pre_key)};
        return {};
    }
    const std::string reason = resemblance();
    if (reason.empty()) {
        return unknown_pre_tokenizer(file, std::string(pre_key) + " is missing, and the vocabulary of " +
                                               std::to_string(vocabulary_size()) +
                                               " tokens is not of LLaMA-3's family");
    }
    pre_tokenizer_ = {"llama-bpe", true, std::string(pre_key) + " is missing; " + reason};
    return {};
}

inline error tokenizer::unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const {
    std::string known;
    for (const std::string_view name : llama3_splitter_names) {
        known.append(known.empty() ? "" : ", ").append(name);
    }
    return {errc::unknown_pre_tokenizer, std::string(file.name()) + ": " + what + "; known are: " + known +
                                             " (tokenizer_options::pre_tokenizer overrides the file)"};
}

/// Why the vocabulary must be of LLaMA-3's family; empty if nothing tells so.
inline std::string tokenizer::resemblance() const {
    if (vocabulary_size() == 128256 && bos_ == 128000) {
        return "128256 tokens with BOS 128000 are LLaMA-3's vocabulary";
    }
    struct place {
        std::string_view spelling;
        token from_bos;
    };
    // As in LLaMA-3, 3.1, 3.2 and 3.3, whose other control tokens changed names between versions.
    constexpr std::array<place, 4> order{
        {{"<|end_of_text|>", 1}, {"<|start_header_id|>", 6}, {"<|end_header_id|>", 7}, {"<|eot_id|>", 9}}};
    const token begin = tokens_.find_special("<|begin_of_text|>");
    for (const auto& [spelling, from_bos] : order) {
        if (begin == no_token || tokens_.find_special(spelling) != begin + from_bos) {
            return {};
        }
    }
    return "the control tokens from <|begin_of_text|> (" + std::to_string(begin) + ") to <|eot_id|> (" +
           std::to_string(begin + 9) + ") stand in LLaMA-3's order";
}

inline result<void> tokenizer::read_ids(const gguf_file& file) {
    struct key {
        std::string_view name;
        std::optional<token>* id;
    };
    std::optional<token> eom;
    for (const auto& value : file.metadata()) {
        if (!value.key.starts_with("tokenizer.ggml.") || !value.key.ends_with("_token_id")) {
            continue;
        }
        auto id = find_token_id(file, value.key, vocabulary_size());
        if (!id) {
            return std::move(id).error();
        }
        for (const auto& [name, target] : {key{"bos", &bos_}, key{"eos", &eos_}, key{"eot", &eot_}, key{"eom", &eom}}) {
            if (value.key.substr(15, value.key.size() - 24) == name) {
                *target = *id;
            }
        }
    }
    eot_ = eot_ ? eot_ : find_special("<|eot_id|>");
    eom = eom ? eom : find_special("<|eom_id|>");
    for (const auto& id : {eos_, eot_, eom, find_special("<|end_of_text|>")}) {
        add_stop(id);
    }
    return read_add_bos(file);
}

inline result<void> tokenizer::read_add_bos(const gguf_file& file) {
    constexpr std::string_view key = "tokenizer.ggml.add_bos_token";
    const auto add = file.get_or<bool>(key, bos_.has_value());
    if (!add) {
        return error{add.error()};
    }
    if (*add && !bos_) {
        return bad_vocabulary(file, key, "is true, but there is no tokenizer.ggml.bos_token_id");
    }
    add_bos_ = *add;
    return {};
}

inline void tokenizer::add_stop(std::optional<token> id) noexcept {
    if (id && !is_stop(*id)) {
        stops_[stop_count_++] = *id;
        std::sort(stops_.begin(), stops_.begin() + static_cast<std::ptrdiff_t>(stop_count_));
    }
}

} // namespace bitnet::inline BITNET_ABI
