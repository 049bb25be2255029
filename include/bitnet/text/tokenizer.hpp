// SPDX-License-Identifier: MIT
// tokenizer: text to tokens and back, for byte-level models (GPT-2 and later) and SentencePiece models.
#ifndef BITNET_TEXT_TOKENIZER_HPP
#define BITNET_TEXT_TOKENIZER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/fwd.hpp>
#include <bitnet/text/token.hpp>

#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

struct tokenizer_options {
    /// One of pre_tokenizer_names, used instead of what the file says; empty: the file decides. Byte-level models only.
    std::string_view pre_tokenizer = {};
};

struct encode_options {
    /// Whether control tokens spelled in the text, such as <|eot_id|>, become those tokens. If false, they are text
    /// like any other, as a user's own words have to be.
    bool parse_special = false;
    /// Whether the text continues other text. Matters only to SentencePiece models that put a space in front of text:
    /// then they do not.
    bool follows_text = false;
};

struct decode_options {
    /// Whether the tokens continue others, such as a prompt. Matters only to SentencePiece models that put a space in
    /// front of text: then a space at the start is kept, otherwise one is taken away.
    bool follows_text = false;
};

/// Which splitter is in use, and how that was decided.
struct pre_tokenizer_choice {
    std::string name;      ///< as a file would spell it, "llama-bpe"; "none" for SentencePiece
    bool inferred = false; ///< the file names none; it was recognised by its vocabulary
    std::string why;       ///< a sentence for people
};

namespace detail {

/// Added tokens that end an answer if they exist, whatever a file's keys say. <|fim_pad|>, <|repo_name|> and
/// <|file_sep|> come after a text that code models fill in, and end it in llama.cpp too; <|fim_prefix|>, <|fim_suffix|>
/// and <|fim_middle|> are what prompts for that are made of.
inline constexpr std::array<std::string_view, 10> stop_spellings{
    "<|end_of_text|>", "<|endoftext|>", "</s>",    "<|eom_id|>",    "<|im_end|>",
    "<end_of_turn>",   "<|fim_pad|>",   "<|end|>", "<|repo_name|>", "<|file_sep|>"};

/// The small facts of a tokenizer.
struct tokenizer_facts {
    std::size_t vocabulary_size = 0;
    std::size_t longest_token = 0; ///< bytes
    std::optional<token> bos;
    std::optional<token> eos;
    std::optional<token> eot;
    std::vector<token> stops; ///< ascending
    bool add_bos = false;
    bool add_eos = false;
    bool space_prefix = false;
    pre_tokenizer_choice pre_tokenizer;
    std::vector<std::string> notes;
};

/// What a tokenizer looks up: its vocabulary, its merges and its splitter. An interface, so that programs that are
/// given a tokenizer do not compile these; text/tokenizer_tables.hpp has the two kinds. Immutable. See tokenizer for
/// the meaning of each function.
class tokenizer_tables {
public:
    tokenizer_tables() noexcept = default;
    tokenizer_tables(const tokenizer_tables&) = delete;
    tokenizer_tables& operator=(const tokenizer_tables&) = delete;
    virtual ~tokenizer_tables() = default;

    [[nodiscard]] virtual result<void> encode(std::string_view text, std::vector<token>& out,
                                              encode_options options) const = 0;
    [[nodiscard]] virtual std::string_view bytes_of(token id) const noexcept = 0;
    [[nodiscard]] virtual bool is_special(token id) const noexcept = 0;
    [[nodiscard]] virtual token find_special(std::string_view spelling) const noexcept = 0; ///< or no_token
};

} // namespace detail

/// Text to tokens and back. Owns its tables: the file may be closed once it is open. Immutable: any number of threads
/// may use it at a time. Move-only. Made by open(), which text/open_tokenizer.hpp defines, or given by a model.
///
/// encode() takes any bytes: those that are not UTF-8 count as characters of no class, one by one. With byte-level
/// models decode(encode(x)) is x for every x. (Only a vocabulary without tokens for some bytes, which notes() tell of,
/// makes encode() fail on these, or gives the unknown token if there is one; LLaMA-3 has all.) SentencePiece cannot
/// distinguish U+2581 from a space, and models that put a space in front of text do so after control and user-defined
/// tokens too, as llama.cpp and SentencePiece do; all other text comes back as it was.
class tokenizer {
public:
    /// Reads all tokenizer.ggml.* keys that it uses. Include <bitnet/text/open_tokenizer.hpp> to call it.
    /// Cost for LLaMA-3's 128,256 tokens and 280,147 merges: one pass over 5.5 MB, memory about 12 MB.
    /// \return errc::unsupported_tokenizer (tokenizer.ggml.model is not gpt2 or llama), unknown_pre_tokenizer,
    /// missing_key, wrong_type, bad_vocabulary or out_of_memory, naming the file, the key and both disagreeing numbers.
    [[nodiscard]] static inline result<tokenizer> open(const gguf_file& file, tokenizer_options options = {});

    /// The tokens of `text`, without BOS. Cost: linear but for pieces of text without a boundary, O(n log n) for these.
    /// \return errc::invalid_argument for text of 2 GiB or more and for a byte without token, where there is no unknown
    /// token either; errc::out_of_memory.
    [[nodiscard]] result<std::vector<token>> encode(std::string_view text, encode_options options = {}) const {
        std::vector<token> tokens;
        if (auto done = encode(text, tokens, options); !done) {
            return failed(done);
        }
        return tokens;
    }

    /// The same, appended to `out`, which an error leaves as it was: for messages made of several parts, and for
    /// callers who reuse their memory.
    [[nodiscard]] result<void> encode(std::string_view text, std::vector<token>& out,
                                      encode_options options = {}) const {
        return tables_->encode(text, out, options);
    }

    /// The bytes that a token stands for, or its spelling if it is a control token; empty outside the vocabulary. With
    /// SentencePiece a word's token has its space in front; decode() takes away the first one.
    /// Lives as long as the tokenizer. Need not be whole code points: see stream_decoder.
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept { return tables_->bytes_of(id); }

    /// The bytes of all tokens, one after another, unchanged; without the first space if adds_space_prefix(). Throws
    /// std::bad_alloc as a std::string does; a stream_decoder needs no memory.
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

    [[nodiscard]] std::size_t vocabulary_size() const noexcept { return facts_.vocabulary_size; }
    [[nodiscard]] bool contains(token id) const noexcept {
        return id >= 0 && static_cast<std::size_t>(id) < vocabulary_size();
    }

    /// Whether a token is a control or unknown token, which no text becomes unless encode_options asks for it.
    [[nodiscard]] bool is_special(token id) const noexcept { return tables_->is_special(id); }

    /// The token of this spelling that parse_special finds in text; nullopt if there is none.
    [[nodiscard]] std::optional<token> find_special(std::string_view spelling) const noexcept {
        const token id = tables_->find_special(spelling);
        return id == no_token ? std::nullopt : std::optional{id};
    }

    [[nodiscard]] std::optional<token> bos() const noexcept { return facts_.bos; } ///< begins every sequence
    [[nodiscard]] std::optional<token> eos() const noexcept { return facts_.eos; } ///< ends a document
    [[nodiscard]] std::optional<token> eot() const noexcept { return facts_.eot; } ///< ends a turn of a dialog

    /// Whether the model expects bos() in front and eos() at the end: tokenizer.ggml.add_bos_token and .add_eos_token.
    /// Without the first key: whether there is a BOS in a SentencePiece model or one of LLaMA-3's kind, false in
    /// others, as in llama.cpp; without the second: false. encode() never adds them.
    [[nodiscard]] bool add_bos() const noexcept { return facts_.add_bos; }
    [[nodiscard]] bool add_eos() const noexcept { return facts_.add_eos; }

    /// Whether `tokens` begin with BOS twice, as they do if a prompt spells it (with parse_special) and the program
    /// adds it, too, because add_bos() says so. Models are trained with one, and answer worse.
    [[nodiscard]] bool begins_twice(std::span<const token> tokens) const noexcept {
        return bos() && tokens.size() > 1 && tokens[0] == *bos() && tokens[1] == *bos();
    }

    /// Whether encode() puts a space in front of text, and decode() takes it away: SentencePiece models unless
    /// tokenizer.ggml.add_space_prefix is false.
    [[nodiscard]] bool adds_space_prefix() const noexcept { return facts_.space_prefix; }

    /// The tokens after which generation ends, as far as they exist: those of the keys eos, eot, eom, fim_pad, fim_rep
    /// and fim_sep, and those that are spelled as such tokens are, "<|im_end|>" among them; ascending.
    [[nodiscard]] const std::vector<token>& stop_tokens() const noexcept { return facts_.stops; }
    [[nodiscard]] bool is_stop(token id) const noexcept {
        for (const token stop : facts_.stops) {
            if (stop == id) {
                return true;
            }
        }
        return false;
    }

    [[nodiscard]] const pre_tokenizer_choice& pre_tokenizer() const noexcept { return facts_.pre_tokenizer; }

    /// What of the file was put right or passed over, one sentence each. any_model::notes() has them, too.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return facts_.notes; }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest_token() const noexcept { return facts_.longest_token; }

private:
    tokenizer(detail::tokenizer_facts facts, std::unique_ptr<const detail::tokenizer_tables> tables) noexcept
        : facts_(std::move(facts)), tables_(std::move(tables)) {}

    detail::tokenizer_facts facts_;
    std::unique_ptr<const detail::tokenizer_tables> tables_;
};

} // namespace bitnet::inline BITNET_ABI

#endif
