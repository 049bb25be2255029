// SPDX-License-Identifier: MIT
// tokenizer::open: the tokenizer of a GGUF file.
#ifndef BITNET_TEXT_OPEN_TOKENIZER_HPP
#define BITNET_TEXT_OPEN_TOKENIZER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/byte_pair_encoding.hpp>
#include <bitnet/text/merge_list.hpp>
#include <bitnet/text/pre_tokenizer.hpp>
#include <bitnet/text/sentence_piece.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>
#include <bitnet/text/tokenizer_tables.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// Reads the keys tokenizer.ggml.* of one file. Use tokenizer::open().
class tokenizer_reader {
public:
    tokenizer_reader(const gguf_file& file, tokenizer_options options) noexcept : file_(file), options_(options) {}

    [[nodiscard]] result<std::unique_ptr<const tokenizer_tables>> run() {
        const auto spelling = read_model();
        if (!spelling) {
            return failed(spelling);
        }
        auto tokens = vocabulary::open(file_, *spelling);
        if (!tokens) {
            return failed(tokens);
        }
        facts_.vocabulary_size = tokens->size();
        facts_.longest_token = tokens->longest();
        facts_.notes = tokens->notes();
        return *spelling == token_spelling::sentence_piece ? read_sentence_piece(*tokens) : read_byte_level(*tokens);
    }

    /// \pre run() has succeeded
    [[nodiscard]] tokenizer_facts& facts() noexcept { return facts_; }

private:
    using tables = std::unique_ptr<const tokenizer_tables>;

    static constexpr std::string_view model_key = "tokenizer.ggml.model";
    static constexpr std::string_view pre_key = "tokenizer.ggml.pre";
    static constexpr std::string_view add_bos_key = "tokenizer.ggml.add_bos_token";

    [[nodiscard]] result<token_spelling> read_model() const {
        const auto model = file_.get<std::string_view>(model_key);
        if (!model) {
            return failed(model);
        }
        if (*model == "gpt2") {
            return token_spelling::byte_alphabet;
        }
        if (*model == "llama") {
            return token_spelling::sentence_piece;
        }
        return error{errc::unsupported_tokenizer,
                     sentence({file_.name(), ": ", model_key, " is ", quoted_name(*model),
                               ", only 'gpt2' (byte-level BPE) and 'llama' (SentencePiece) can be read"})};
    }

    [[nodiscard]] result<tables> read_byte_level(vocabulary& tokens) {
        auto merges = read_merges(file_, tokens, &facts_.notes);
        if (!merges) {
            return failed(merges);
        }
        if (auto done = read_ids(tokens); !done) {
            return failed(done);
        }
        const auto splitting = choose_pre_tokenizer(tokens);
        if (!splitting) {
            return failed(splitting);
        }
        if (auto done = read_added(splitting->whole_pieces); !done) {
            return failed(done);
        }
        byte_pair_encoding merging(with_unknown(tokens), *std::move(merges));
        return owned(new (std::nothrow) byte_level_tables(std::move(tokens), std::move(merging), *splitting));
    }

    [[nodiscard]] result<tables> read_sentence_piece(vocabulary& tokens) {
        auto pieces = sentence_piece_encoding::open(file_, tokens, &facts_.notes);
        if (!pieces) {
            return failed(pieces);
        }
        if (auto done = read_ids(tokens); !done) {
            return failed(done);
        }
        const auto prefix = file_.get_or<bool>("tokenizer.ggml.add_space_prefix", true);
        if (!prefix) {
            return failed(prefix);
        }
        facts_.space_prefix = *prefix;
        facts_.pre_tokenizer = {"none", false, sentence({model_key, " is 'llama': SentencePiece does not split text"})};
        if (auto done = read_added(true); !done) {
            return failed(done);
        }
        return owned(new (std::nothrow) sentence_piece_tables(std::move(tokens), *std::move(pieces), *prefix));
    }

    /// The token that stands for bytes without token; nullopt if there is none, or one that begins or ends texts.
    [[nodiscard]] std::optional<token> fit_unknown(const vocabulary& tokens) const {
        const auto& stops = facts_.stops;
        const auto id = unknown_ ? unknown_ : tokens.find_unknown();
        if (!id || id == facts_.bos || std::find(stops.begin(), stops.end(), *id) != stops.end()) {
            return std::nullopt;
        }
        const token_kind kind = tokens.kind_of(*id);
        return kind == token_kind::unknown || kind == token_kind::control ? id : std::nullopt;
    }

    /// The tokens of the bytes, with fit_unknown() for those that have none.
    [[nodiscard]] std::array<token, 256> with_unknown(const vocabulary& tokens) {
        constexpr std::size_t first_never_used = 0xf5; // nor does UTF-8 use C0 and C1
        std::array<token, 256> bytes = tokens.byte_tokens();
        const auto unknown = fit_unknown(tokens);
        std::size_t missing = 0;
        std::size_t first = 0;
        for (std::size_t i = bytes.size(); i-- > 0;) {
            if (bytes[i] == no_token) {
                bytes[i] = unknown.value_or(no_token);
                missing += i < first_never_used && i != 0xc0 && i != 0xc1 ? 1 : 0;
                first = i;
            }
        }
        if (missing != 0) {
            facts_.notes.push_back(
                sentence({"bytes that text may hold have no token: ", missing, " of them, such as ", first, "; ",
                          unknown ? "they become the unknown token" : "text with one is refused"}));
        }
        return bytes;
    }

    [[nodiscard]] static result<tables> owned(const tokenizer_tables* made) {
        if (made == nullptr) {
            return error{errc::out_of_memory, "the tokenizer could not be allocated"};
        }
        return tables(made);
    }

    [[nodiscard]] result<void> read_ids(const vocabulary& tokens);
    [[nodiscard]] result<std::optional<token>> read_id(const gguf_value& value, bool is_needed, std::size_t tokens);
    [[nodiscard]] static std::optional<token> find_special(const vocabulary& tokens, std::string_view spelling) {
        const token id = tokens.find_special(spelling);
        return id == no_token ? std::nullopt : std::optional{id};
    }
    void find_stops(const vocabulary& tokens);
    void add_stop(std::optional<token> id);
    [[nodiscard]] result<pre_tokenizer_name> choose_pre_tokenizer(const vocabulary& tokens);
    [[nodiscard]] error unknown_pre_tokenizer(std::string_view what) const;
    [[nodiscard]] result<pre_tokenizer_name> infer_pre_tokenizer(const vocabulary& tokens);
    [[nodiscard]] std::string llama3_order(const vocabulary& tokens) const;
    [[nodiscard]] result<void> read_added(bool add_bos_by_default);

    const gguf_file& file_;
    tokenizer_options options_;
    tokenizer_facts facts_;
    std::optional<token> unknown_;
};

inline result<void> tokenizer_reader::read_ids(const vocabulary& tokens) {
    struct key {
        std::string_view name;
        std::optional<token>* id;
        bool is_needed; ///< a file whose token is outside the vocabulary is refused
    };
    constexpr std::string_view before = "tokenizer.ggml.";
    constexpr std::string_view after = "_token_id";
    const auto adds_bos = file_.get_or<bool>(add_bos_key, true);
    std::array<std::optional<token>, 4> ends;
    const std::array<key, 8> keys{{{"bos", &facts_.bos, !adds_bos || *adds_bos},
                                   {"eos", &facts_.eos, true},
                                   {"eot", &facts_.eot, true},
                                   {"eom", &ends[0], true},
                                   {"fim_pad", &ends[1], false},
                                   {"fim_rep", &ends[2], false},
                                   {"fim_sep", &ends[3], false},
                                   {"unknown", &unknown_, false}}};
    for (const auto& value : file_.metadata()) {
        if (!value.key.starts_with(before) || !value.key.ends_with(after)) {
            continue;
        }
        const auto role = std::find_if(keys.begin(), keys.end(), [&](const key& each) {
            return sentence({before, each.name, after}) == value.key;
        });
        const auto id = read_id(value, role != keys.end() && role->is_needed, tokens.size());
        if (!id) {
            return failed(id);
        }
        if (role != keys.end()) {
            *role->id = *id;
        }
    }
    for (const auto& id : ends) {
        add_stop(id);
    }
    find_stops(tokens);
    return {};
}

/// What ends a turn, and all that ends an answer beside what other keys say.
inline void tokenizer_reader::find_stops(const vocabulary& tokens) {
    for (const std::string_view spelling : {"<|eot_id|>", "<|im_end|>", "<end_of_turn>", "<|end|>"}) {
        facts_.eot = facts_.eot ? facts_.eot : find_special(tokens, spelling);
    }
    add_stop(facts_.eos);
    add_stop(facts_.eot);
    for (const std::string_view spelling : stop_spellings) {
        add_stop(find_special(tokens, spelling));
    }
}

/// The token of one key; nullopt, and a note, where it is outside the vocabulary but no text needs it, such as padding,
/// for which converters write -1.
inline result<std::optional<token>> tokenizer_reader::read_id(const gguf_value& value, bool is_needed,
                                                              std::size_t tokens) {
    auto id = find_token_id(file_, value.key, tokens);
    if (id || is_needed || id.error().code == errc::wrong_type) {
        return id;
    }
    const std::string_view what = std::string_view(id.error().message).substr(file_.name().size() + 2);
    facts_.notes.push_back(sentence({what, "; no text needs this token, so it is passed over"}));
    return std::optional<token>{};
}

inline void tokenizer_reader::add_stop(std::optional<token> id) {
    auto& stops = facts_.stops;
    const auto place = id ? std::lower_bound(stops.begin(), stops.end(), *id) : stops.end();
    if (id && (place == stops.end() || *place != *id)) {
        stops.insert(place, *id);
    }
}

inline result<pre_tokenizer_name> tokenizer_reader::choose_pre_tokenizer(const vocabulary& tokens) {
    const std::string_view wanted = options_.pre_tokenizer;
    const auto in_file = file_.get_or<std::string_view>(pre_key, {});
    if (!in_file) {
        return failed(in_file);
    }
    if (wanted.empty() && in_file->empty()) {
        return infer_pre_tokenizer(tokens);
    }
    const std::string_view name = wanted.empty() ? *in_file : wanted;
    const pre_tokenizer_name* known = find_pre_tokenizer(name);
    if (known == nullptr) {
        return unknown_pre_tokenizer(wanted.empty()
                                         ? sentence({pre_key, " is ", quoted_name(name)})
                                         : sentence({"the caller asks for the pre-tokenizer ", quoted_name(name)}));
    }
    std::string why = sentence({"the file says so in ", pre_key});
    if (!wanted.empty()) {
        why = in_file->empty() ? "chosen by the caller; the file does not say"
                               : sentence({"chosen by the caller; the file says ", quoted_name(*in_file)});
    }
    facts_.pre_tokenizer = {std::string(name), false, std::move(why)};
    return *known;
}

inline error tokenizer_reader::unknown_pre_tokenizer(std::string_view what) const {
    std::string known;
    for (const pre_tokenizer_name& name : pre_tokenizer_names) {
        known.append(known.empty() ? "" : ", ").append(name.name);
    }
    return {errc::unknown_pre_tokenizer, sentence({file_.name(), ": ", what, "; known names: ", known,
                                                   " (tokenizer_options::pre_tokenizer overrides the file)"})};
}

/// If the file names no pre-tokenizer: the one whose vocabulary this must be. Never a guess.
inline result<pre_tokenizer_name> tokenizer_reader::infer_pre_tokenizer(const vocabulary& tokens) {
    struct fingerprint {
        std::string_view pre_tokenizer;
        std::string_view model;
        std::size_t size;
        std::string_view spelling; ///< of the token `id`; files disagree about its type
        token id;
    };
    // Qwen's models share one vocabulary, and their embeddings differ in how many rows follow it.
    constexpr std::array<fingerprint, 7> fingerprints{
        {{"gpt-2", "GPT-2", 50257, "<|endoftext|>", 50256},
         {"qwen2", "Qwen3, as Bonsai has it", 151669, "<|im_start|>", 151644},
         {"qwen2", "Qwen2 and Qwen3", 151936, "<|im_start|>", 151644},
         {"qwen2", "Qwen2-7B and larger ones", 152064, "<|im_start|>", 151644},
         {"falcon", "Falcon", 65024, ">>TITLE<<", 0},
         {"falcon3", "Falcon3", 131072, ">>TITLE<<", 0},
         {"falcon3", "Falcon3-7B", 131080, ">>TITLE<<", 0}}};
    std::string_view name = "llama-bpe";
    std::string reason = llama3_order(tokens);
    for (const fingerprint& f : fingerprints) {
        if (tokens.size() == f.size && tokens.bytes_of(f.id) == f.spelling) {
            name = f.pre_tokenizer;
            reason = sentence({f.size, " tokens with ", f.spelling, " at ", f.id, " are the vocabulary of ", f.model});
        }
    }
    if (reason.empty()) {
        return unknown_pre_tokenizer(sentence(
            {pre_key, " is missing, and the vocabulary of ", tokens.size(), " tokens matches no known model"}));
    }
    facts_.pre_tokenizer = {std::string(name), true, sentence({pre_key, " is missing; ", reason})};
    const pre_tokenizer_name* known = find_pre_tokenizer(name); // as each of these names is
    return known != nullptr ? *known : pre_tokenizer_names.front();
}

/// Why the vocabulary must be of LLaMA-3's family; empty if it need not be.
inline std::string tokenizer_reader::llama3_order(const vocabulary& tokens) const {
    if (tokens.size() == 128256 && facts_.bos == 128000) {
        return "128256 tokens with BOS 128000 are LLaMA-3's vocabulary";
    }
    struct place {
        std::string_view spelling;
        token from_bos;
    };
    // As in LLaMA-3, 3.1, 3.2 and 3.3, whose other control tokens changed names between versions.
    constexpr std::array<place, 4> order{
        {{"<|end_of_text|>", 1}, {"<|start_header_id|>", 6}, {"<|end_header_id|>", 7}, {"<|eot_id|>", 9}}};
    const token begin = tokens.find_special("<|begin_of_text|>");
    for (const auto& [spelling, from_bos] : order) {
        if (begin == no_token || tokens.find_special(spelling) != begin + from_bos) {
            return {};
        }
    }
    return sentence({"the control tokens from <|begin_of_text|> (", begin, ") to <|eot_id|> (", begin + 9,
                     ") are in LLaMA-3's order"});
}

inline result<void> tokenizer_reader::read_added(bool add_bos_by_default) {
    constexpr std::string_view eos_key = "tokenizer.ggml.add_eos_token";
    const auto add_bos = file_.get_or<bool>(add_bos_key, add_bos_by_default && facts_.bos.has_value());
    const auto add_eos = file_.get_or<bool>(eos_key, false);
    if (!add_bos || !add_eos) {
        return failed(add_bos ? add_eos : add_bos);
    }
    if (*add_bos && !facts_.bos) {
        return bad_vocabulary(file_, add_bos_key, "is true, but there is no tokenizer.ggml.bos_token_id");
    }
    if (*add_eos && !facts_.eos) {
        return bad_vocabulary(file_, eos_key, "is true, but there is no tokenizer.ggml.eos_token_id");
    }
    facts_.add_bos = *add_bos;
    facts_.add_eos = *add_eos;
    return {};
}

} // namespace detail

inline result<tokenizer> tokenizer::open(const gguf_file& file, tokenizer_options options) {
    return detail::guarded([&]() -> result<tokenizer> {
        detail::tokenizer_reader reader(file, options);
        auto tables = reader.run();
        if (!tables) {
            return failed(tables);
        }
        return tokenizer(std::move(reader.facts()), *std::move(tables));
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
