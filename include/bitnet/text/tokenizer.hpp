// SPDX-License-Identifier: MIT
// tokenizer: text to tokens and back, for byte-level models (GPT-2 and after) and SentencePiece's.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/byte_pair_encoding.hpp>
#include <bitnet/text/merge_list.hpp>
#include <bitnet/text/pre_tokenizer.hpp>
#include <bitnet/text/sentence_piece.hpp>
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
#include <variant>
#include <vector>

namespace bitnet::inline BITNET_ABI {

struct tokenizer_options {
    /// One of pre_tokenizer_names, used instead of what the file says; empty: the file decides. Byte-level models only.
    std::string_view pre_tokenizer = {};
};

struct encode_options {
    /// Whether control tokens that stand in the text, such as <|eot_id|>, become those tokens. Off: they are text like
    /// any other, which is what a user's own words have to be.
    bool parse_special = false;
    /// Whether the text goes on where other text ended. Only SentencePiece models that put a space in front of text
    /// care: then they do not.
    bool follows_text = false;
};

struct decode_options {
    /// Whether the tokens go on where others ended, such as a prompt. Only SentencePiece models that put a space in
    /// front of text care: then a space at the start is kept, otherwise one is taken away.
    bool follows_text = false;
};

/// Which splitter is in use, and how that was decided.
struct pre_tokenizer_choice {
    std::string name;      ///< as a file would spell it, "llama-bpe"; "none" for SentencePiece
    bool inferred = false; ///< the file names none; the vocabulary tells
    std::string why;       ///< a sentence for people
};

/// Control tokens that end an answer wherever they exist, whatever a file's keys say.
inline constexpr std::array<std::string_view, 5> stop_spellings{"<|end_of_text|>", "<|endoftext|>", "<|im_end|>",
                                                                "<end_of_turn>", "<|end|>"};

/// Text to tokens and back. Owns its tables: the file may go once it is open. Immutable: any number of threads may use
/// it at a time. Move-only.
///
/// encode() takes any bytes: those that are not UTF-8 count as characters of no class, one by one. With byte-level
/// models decode(encode(x)) is x for every x. (Only a vocabulary without tokens for some bytes makes encode() fail on
/// these; LLaMA-3 has all.) SentencePiece cannot tell U+2581 from a space, and one that puts a space in front of text
/// does so behind control and user-defined tokens too, as llama.cpp and SentencePiece do; all other text comes back as
/// it was.
class tokenizer {
public:
    /// Reads all tokenizer.ggml.* keys that it uses.
    /// Cost for LLaMA-3's 128,256 tokens and 280,147 merges: one pass over 5.5 MB, memory about 12 MB.
    /// \return errc::unsupported_tokenizer (tokenizer.ggml.model is not gpt2 or llama), unknown_pre_tokenizer,
    /// missing_key, wrong_type, bad_vocabulary or out_of_memory, naming the file, the key and both disagreeing numbers.
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
        bool space_in_front = adds_space_prefix() && !options.follows_text;
        for (std::size_t from = 0; from < text.size();) {
            const token_match match = tokens_.next_spelled(text, from, options.parse_special);
            const std::string_view plain = text.substr(from, match.position - from);
            if (auto done = encode_plain(plain, space_in_front, out); !done) {
                return done;
            }
            if (match.size != 0) {
                out.push_back(match.id);
                space_in_front = adds_space_prefix();
            }
            from = match.position + match.size;
        }
        return {};
    }

    /// The bytes that a token stands for, or its spelling if it is a control token; empty outside the vocabulary. With
    /// SentencePiece a word's token has its space in front; decode() takes away the first one.
    /// Lives as long as the tokenizer. Need not be whole code points: see stream_decoder.
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept {
        return tokens_.contains(id) ? tokens_.bytes_of(id) : std::string_view{};
    }

    /// The bytes of all tokens, one after another, nothing tidied; without the first space where adds_space_prefix().
    [[nodiscard]] std::string decode(std::span<const token> tokens, decode_options options = {}) const {
        std::string text;
        for (const token id : tokens) {
            text.append(bytes_of(id));
        }
        if (adds_space_prefix() && !options.follows_text && text.starts_with(' ')) {
            text.erase(0, 1);
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

    /// Whether the model expects bos() in front and eos() at the end: tokenizer.ggml.add_bos_token and .add_eos_token.
    /// Where the first is missing: whether there is a BOS in a SentencePiece model or one of LLaMA-3's kind, no in
    /// others, as in llama.cpp; where the second is missing: no. encode() never adds them.
    [[nodiscard]] bool add_bos() const noexcept { return add_bos_; }
    [[nodiscard]] bool add_eos() const noexcept { return add_eos_; }

    /// Whether encode() puts a space in front of text, and decode() takes it away: SentencePiece models whose
    /// tokenizer.ggml.add_space_prefix does not say no.
    [[nodiscard]] bool adds_space_prefix() const noexcept { return space_prefix_; }

    /// The tokens after which generation ends, as far as they exist: eos, eot, eom and those of stop_spellings;
    /// ascending.
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

    using encoding = std::variant<byte_pair_encoding, sentence_piece_encoding>;

    tokenizer(vocabulary tokens, encoding model) noexcept : tokens_(std::move(tokens)), model_(std::move(model)) {}

    [[nodiscard]] result<void> encode_plain(std::string_view text, bool space_in_front, std::vector<token>& out) const {
        if (text.empty()) {
            return {};
        }
        if (const auto* pieces = std::get_if<sentence_piece_encoding>(&model_)) {
            return pieces->encode(tokens_, text, space_in_front, out);
        }
        return with_splitter(splitting_.kind, text, [&](auto pieces) { return encode_pieces(pieces, out); });
    }

    template <splitter Pieces> [[nodiscard]] result<void> encode_pieces(Pieces& pieces, std::vector<token>& out) const {
        const auto& merging = *std::get_if<byte_pair_encoding>(&model_);
        for (std::string_view piece = pieces.next(); !piece.empty(); piece = pieces.next()) {
            const token whole = splitting_.whole_pieces ? tokens_.find(piece) : no_token;
            if (whole != no_token) {
                out.push_back(whole); // 588 tokens of LLaMA-3 can be reached in no other way
            } else if (auto done = merging.encode(piece, out); !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] static result<token_spelling> read_model(const gguf_file& file);
    [[nodiscard]] static result<encoding> read_encoding(const gguf_file& file, const vocabulary& tokens,
                                                        token_spelling spelling);
    [[nodiscard]] result<void> read_space_prefix(const gguf_file& file);
    [[nodiscard]] result<void> choose_pre_tokenizer(const gguf_file& file, std::string_view wanted);
    [[nodiscard]] error unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const;
    [[nodiscard]] result<void> infer_pre_tokenizer(const gguf_file& file);
    [[nodiscard]] std::string llama3_order() const;
    [[nodiscard]] result<void> read_ids(const gguf_file& file);
    [[nodiscard]] result<void> read_added(const gguf_file& file);
    void add_stop(std::optional<token> id) noexcept;

    vocabulary tokens_;
    encoding model_;
    pre_tokenizer_name splitting_{}; ///< of byte-level models
    pre_tokenizer_choice pre_tokenizer_;
    std::optional<token> bos_;
    std::optional<token> eos_;
    std::optional<token> eot_;
    std::array<token, 8> stops_{}; ///< three by key, at most five by spelling
    std::size_t stop_count_ = 0;
    bool add_bos_ = false;
    bool add_eos_ = false;
    bool space_prefix_ = false;
};

inline result<tokenizer> tokenizer::open(const gguf_file& file, tokenizer_options options) {
    const auto spelling = read_model(file);
    if (!spelling) {
        return error{spelling.error()};
    }
    auto tokens = vocabulary::open(file, *spelling);
    if (!tokens) {
        return std::move(tokens).error();
    }
    auto model = read_encoding(file, *tokens, *spelling);
    if (!model) {
        return std::move(model).error();
    }
    tokenizer made(*std::move(tokens), *std::move(model));
    if (auto done = made.read_ids(file); !done) {
        return std::move(done).error();
    }
    auto chosen = *spelling == token_spelling::sentence_piece ? made.read_space_prefix(file)
                                                              : made.choose_pre_tokenizer(file, options.pre_tokenizer);
    if (!chosen) {
        return std::move(chosen).error();
    }
    if (auto done = made.read_added(file); !done) {
        return std::move(done).error();
    }
    return made;
}

inline result<token_spelling> tokenizer::read_model(const gguf_file& file) {
    const auto model = file.get<std::string_view>(model_key);
    if (!model) {
        return error{model.error()};
    }
    if (*model == "gpt2") {
        return token_spelling::byte_alphabet;
    }
    if (*model == "llama") {
        return token_spelling::sentence_piece;
    }
    return error{errc::unsupported_tokenizer,
                 std::string(file.name()) + ": " + std::string(model_key) + " is " + quoted_name(*model) +
                     ", only 'gpt2' (byte-level BPE) and 'llama' (SentencePiece) can be read"};
}

inline result<tokenizer::encoding> tokenizer::read_encoding(const gguf_file& file, const vocabulary& tokens,
                                                            token_spelling spelling) {
    if (spelling == token_spelling::sentence_piece) {
        auto pieces = sentence_piece_encoding::open(file, tokens);
        return pieces ? result<encoding>(*std::move(pieces)) : result<encoding>(std::move(pieces).error());
    }
    auto merges = read_merges(file, tokens);
    if (!merges) {
        return std::move(merges).error();
    }
    return encoding(byte_pair_encoding(tokens.byte_tokens(), *std::move(merges)));
}

inline result<void> tokenizer::read_space_prefix(const gguf_file& file) {
    const auto prefix = file.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
    if (!prefix) {
        return error{prefix.error()};
    }
    space_prefix_ = *prefix;
    pre_tokenizer_ = {"none", false, std::string(model_key) + " is 'llama': SentencePiece does not split text"};
    return {};
}

inline result<void> tokenizer::choose_pre_tokenizer(const gguf_file& file, std::string_view wanted) {
    const auto in_file = file.get_or<std::string_view>(pre_key, {});
    if (!in_file) {
        return error{in_file.error()};
    }
    if (wanted.empty() && in_file->empty()) {
        return infer_pre_tokenizer(file);
    }
    const std::string said = in_file->empty() ? "does not say" : "says " + quoted_name(*in_file);
    const std::string_view name = wanted.empty() ? *in_file : wanted;
    const pre_tokenizer_name* known = find_pre_tokenizer(name);
    if (known == nullptr) {
        return unknown_pre_tokenizer(file, wanted.empty()
                                               ? std::string(pre_key) + " is " + quoted_name(name)
                                               : "the caller asks for the pre-tokenizer " + quoted_name(name));
    }
    splitting_ = *known;
    pre_tokenizer_ = {std::string(name), false,
                      wanted.empty() ? "the file says so in " + std::string(pre_key)
                                     : "chosen by the caller; the file " + said};
    return {};
}

inline error tokenizer::unknown_pre_tokenizer(const gguf_file& file, const std::string& what) const {
    std::string known;
    for (const pre_tokenizer_name& name : pre_tokenizer_names) {
        known.append(known.empty() ? "" : ", ").append(name.name);
    }
    return {errc::unknown_pre_tokenizer, std::string(file.name()) + ": " + what + "; known are: " + known +
                                             " (tokenizer_options::pre_tokenizer overrides the file)"};
}

/// Where the file names no pre-tokenizer: the one whose vocabulary this must be. Never a guess.
inline result<void> tokenizer::infer_pre_tokenizer(const gguf_file& file) {
    struct fingerprint {
        std::string_view pre_tokenizer;
        std::string_view model;
        std::size_t size;
        std::string_view spelling; ///< a token that is a control token here
        token place;               ///< and its place
    };
    constexpr std::array<fingerprint, 4> fingerprints{{{"gpt-2", "GPT-2", 50257, "<|endoftext|>", 50256},
                                                       {"qwen2", "Qwen2 and Qwen3", 151936, "<|im_start|>", 151644},
                                                       {"falcon", "Falcon", 65024, ">>TITLE<<", 0},
                                                       {"falcon3", "Falcon3", 131072, ">>TITLE<<", 0}}};
    std::string_view name = "llama-bpe";
    std::string reason = llama3_order();
    for (const fingerprint& f : fingerprints) {
        if (vocabulary_size() == f.size && tokens_.find_special(f.spelling) == f.place) {
            name = f.pre_tokenizer;
            reason = std::to_string(f.size) + " tokens with " + std::string(f.spelling) + " at " +
                     std::to_string(f.place) + " are the vocabulary of " + std::string(f.model);
        }
    }
    if (reason.empty()) {
        return unknown_pre_tokenizer(file, std::string(pre_key) + " is missing, and the vocabulary of " +
                                               std::to_string(vocabulary_size()) +
                                               " tokens is none from which it can be told");
    }
    splitting_ = *find_pre_tokenizer(name);
    pre_tokenizer_ = {std::string(name), true, std::string(pre_key) + " is missing; " + reason};
    return {};
}

/// Why the vocabulary must be of LLaMA-3's family; empty if nothing tells so.
inline std::string tokenizer::llama3_order() const {
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
    for (const std::string_view spelling : {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"}) {
        eot_ = eot_ ? eot_ : find_special(spelling);
    }
    eom = eom ? eom : find_special("<|eom_id|>");
    for (const auto& id : {eos_, eot_, eom}) {
        add_stop(id);
    }
    for (const std::string_view spelling : stop_spellings) {
        add_stop(find_special(spelling));
    }
    return {};
}

inline result<void> tokenizer::read_added(const gguf_file& file) {
    constexpr std::string_view bos_key = "tokenizer.ggml.add_bos_token";
    constexpr std::string_view eos_key = "tokenizer.ggml.add_eos_token";
    const bool by_itself = splitting_.whole_pieces || std::holds_alternative<sentence_piece_encoding>(model_);
    const auto add_bos = file.get_or<bool>(bos_key, by_itself && bos_.has_value());
    const auto add_eos = file.get_or<bool>(eos_key, false);
    if (!add_bos || !add_eos) {
        return error{(add_bos ? add_eos : add_bos).error()};
    }
    if (*add_bos && !bos_) {
        return bad_vocabulary(file, bos_key, "is true, but there is no tokenizer.ggml.bos_token_id");
    }
    if (*add_eos && !eos_) {
        return bad_vocabulary(file, eos_key, "is true, but there is no tokenizer.ggml.eos_token_id");
    }
    add_bos_ = *add_bos;
    add_eos_ = *add_eos;
    return {};
}

inline void tokenizer::add_stop(std::optional<token> id) noexcept {
    if (id && !is_stop(*id)) {
        stops_[stop_count_++] = *id;
        std::sort(stops_.begin(), stops_.begin() + static_cast<std::ptrdiff_t>(stop_count_));
    }
}

} // namespace bitnet::inline BITNET_ABI
