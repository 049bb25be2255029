// SPDX-License-Identifier: MIT
// vocabulary: the tokens of a model, their bytes and their kinds, read strictly from a GGUF file.
#ifndef BITNET_TEXT_VOCABULARY_HPP
#define BITNET_TEXT_VOCABULARY_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/byte_alphabet.hpp>
#include <bitnet/text/control_spelling.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/token_index.hpp>
#include <bitnet/text/token_kind.hpp>
#include <bitnet/text/token_matcher.hpp>
#include <bitnet/text/tokenizer_metadata.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// How a model spells its normal tokens.
enum class token_spelling : std::uint8_t {
    byte_alphabet,  ///< bytes as characters, as in GPT-2
    sentence_piece, ///< text as it is, but U+2581 for every space
};

/// The tokens of a vocabulary. Owns its memory: the file may be closed once it is open. Immutable.
class vocabulary {
public:
    /// A token has at most this many bytes (LLaMA-3's longest has 128), which bounds all work per position in text.
    static constexpr std::size_t longest_token = 1024;

    /// Nor has a merge, of two tokens as they are spelled, more than this.
    static constexpr std::size_t longest_merge = 4 * longest_token;

    /// U+2581, which SentencePiece writes for a space.
    static constexpr std::string_view space_mark = "\xe2\x96\x81";

    /// Reads tokenizer.ggml.tokens, .token_type and .scores. If a byte-level file has no token_type, tokens spelled
    /// <|...|> are control tokens and all others normal.
    /// Cost: one pass; memory is the bytes of the tokens and about 25 bytes per token.
    /// \return errc::missing_key; errc::bad_vocabulary (element types, counts, kinds, an empty, too long, duplicate or
    /// undecodable token); errc::out_of_memory. tests/text/vocabulary_test.cpp has one of each.
    [[nodiscard]] static result<vocabulary> open(const gguf_file& file,
                                                 token_spelling spelling = token_spelling::byte_alphabet) {
        const auto spellings = need_array(file, tokens_key, gguf_type::string);
        if (!spellings) {
            return failed(spellings);
        }
        vocabulary made;
        made.spelling_ = spelling;
        for (const auto step : {&vocabulary::check_size, &vocabulary::read_kinds, &vocabulary::drop_beyond_rows,
                                &vocabulary::read_tokens, &vocabulary::index_normal_tokens, &vocabulary::adopt_bytes,
                                &vocabulary::adopt_merged, &vocabulary::find_byte_tokens, &vocabulary::make_matchers}) {
            if (auto done = (made.*step)(file, **spellings); !done) {
                return failed(done);
            }
        }
        return made;
    }

    [[nodiscard]] std::size_t size() const noexcept { return store_.size(); }
    [[nodiscard]] bool contains(token id) const noexcept {
        return id >= 0 && static_cast<std::size_t>(id) < store_.size();
    }

    /// The bytes that a token stands for. \pre contains(id)
    [[nodiscard]] std::string_view bytes_of(token id) const noexcept { return store_[id]; }

    /// \pre contains(id)
    [[nodiscard]] token_kind kind_of(token id) const noexcept { return kinds_[static_cast<std::size_t>(id)]; }

    /// The token of exactly these bytes that merging can make, or no_token: a normal one, and with SentencePiece also a
    /// user-defined one.
    [[nodiscard]] token find(std::string_view bytes) const noexcept { return index_.find(store_, bytes); }
    /// The same, faster where it is `guess` or the token after that.
    [[nodiscard]] token find(std::string_view bytes, token guess) const noexcept {
        for (const token id : {guess, guess + 1}) {
            if (contains(id) && can_be_merged(id) && store_[id] == bytes) {
                return id;
            }
        }
        return find(bytes);
    }
    /// A hint that find() will be asked for these bytes soon.
    BITNET_ALWAYS_INLINE void fetch(std::string_view bytes) const noexcept { index_.fetch(bytes); }

    /// The token that is found in text on request under this spelling, or no_token.
    [[nodiscard]] token find_special(std::string_view spelling) const noexcept {
        const token_match match = specials_.next(store_, spelling, 0);
        return match.position == 0 && match.size == spelling.size() ? match.id : no_token;
    }

    /// The first token of kind unknown; nullopt if there is none.
    [[nodiscard]] std::optional<token> find_unknown() const noexcept {
        for (token id = 0; contains(id); ++id) {
            if (kind_of(id) == token_kind::unknown) {
                return id;
            }
        }
        return std::nullopt;
    }

    /// The next token in `text` from `from` on that is found as it is spelled: user-defined ones, and with
    /// `parse_special` control and unknown ones too.
    [[nodiscard]] token_match next_spelled(std::string_view text, std::size_t from, bool parse_special) const noexcept {
        return (parse_special ? specials_ : user_defined_).next(store_, text, from);
    }

    /// The tokens of the 256 single bytes; no_token if there is none. Byte-level: normal tokens, or if one is missing,
    /// a byte token. (Vocabularies made from valid text often lack the bytes that UTF-8 never uses, C0, C1 and F5 to
    /// FF; LLaMA-3 has all.) SentencePiece: byte tokens, or if one is missing, the token of that ASCII character.
    [[nodiscard]] const std::array<token, 256>& byte_tokens() const noexcept { return byte_tokens_; }

    /// Writes the bytes of a normal token that is spelled like this to `out`, which has room for spelling.size().
    /// \return how many; nullopt if it is misspelled.
    [[nodiscard]] std::optional<std::size_t> decode_normal(std::string_view spelling, char* out) const noexcept {
        if (spelling_ == token_spelling::byte_alphabet) {
            return byte_alphabet::decode(spelling, out);
        }
        if (spelling.find(' ') != std::string_view::npos) { // two tokens could mean the same text
            return std::nullopt;
        }
        return decode_spaces(spelling, out);
    }

    /// Whether a list of merges may name these bytes although no merging makes them: they are those of an added token,
    /// or hold a byte that has no token but an added one.
    [[nodiscard]] bool is_beyond_merging(std::string_view bytes) const noexcept {
        return find_special(bytes) != no_token || std::any_of(bytes.begin(), bytes.end(), [this](char byte) {
                   return !has_own_token_[static_cast<unsigned char>(byte)];
               });
    }

    /// Bytes of the longest token.
    [[nodiscard]] std::size_t longest() const noexcept { return longest_; }

    /// What of the file was put right, one sentence each.
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

private:
    static constexpr std::string_view tokens_key = "tokenizer.ggml.tokens";
    static constexpr std::string_view scores_key = "tokenizer.ggml.scores";
    static constexpr std::string_view merges_key = "tokenizer.ggml.merges";

    vocabulary() noexcept = default;

    [[nodiscard]] result<void> check_size(const gguf_file& file, const gguf_value& spellings) {
        constexpr std::uint64_t most = (std::numeric_limits<token>::max)();
        if (spellings.count == 0 || spellings.count > most) {
            return bad_vocabulary(file, tokens_key,
                                  sentence({"has ", spellings.count, " tokens, 1 to ", most, " are possible"}));
        }
        if (spellings.bytes.size() > (std::numeric_limits<std::uint32_t>::max)()) {
            return bad_vocabulary(file, tokens_key,
                                  sentence({"takes ", spellings.bytes.size(), " bytes, at most 4 GiB are possible"}));
        }
        // Byte-level models do not use the scores, but a file whose scores do not fit is suspect.
        if (const auto scores = find_array_of(file, scores_key, gguf_type::f32, spellings.count); !scores) {
            return failed(scores);
        }
        return {};
    }

    [[nodiscard]] result<void> read_kinds(const gguf_file& file, const gguf_value& spellings) {
        if (spelling_ == token_spelling::sentence_piece && file.find(token_kinds_key) == nullptr) {
            return error{errc::missing_key, sentence({file.name(), ": the tokenizer needs ", token_kinds_key})};
        }
        auto kinds = read_token_kinds(file, spellings);
        if (!kinds) {
            return failed(kinds);
        }
        kinds_ = *std::move(kinds);
        return {};
    }

    /// Leaves out added tokens beyond the rows of the embedding, which the model can neither read nor write. Words of
    /// the model there are a mistake, which whoever opens the model reports.
    [[nodiscard]] result<void> drop_beyond_rows(const gguf_file& file, const gguf_value&) {
        const gguf_tensor* embedding = file.find_tensor("token_embd.weight");
        const std::uint64_t rows = embedding != nullptr ? embedding->dims[1] : kinds_.size();
        count_ = kinds_.size();
        if (rows >= count_) {
            return {};
        }
        const auto beyond = kinds_.span().subspan(static_cast<std::size_t>(rows));
        if (std::none_of(beyond.begin(), beyond.end(),
                         [](token_kind kind) { return kind == token_kind::normal || kind == token_kind::byte; })) {
            count_ = static_cast<std::size_t>(rows);
            notes_.push_back(sentence({beyond.size(), " added tokens have ids beyond the ", rows,
                                       " rows of the embedding: they are left out"}));
        }
        return {};
    }

    [[nodiscard]] result<void> read_tokens(const gguf_file& file, const gguf_value& spellings) {
        // The array has a length of eight bytes before every string, and no token is longer than its spelling.
        auto store =
            token_store::allocate(spellings.count, spellings.bytes.size() - 8 * spellings.count, file.memory());
        if (!store) {
            return failed(store);
        }
        store_ = *std::move(store);
        const auto control = control_spelling::of(file, spellings, kinds_.span());
        if (control.count() != 0) {
            notes_.push_back(control.note());
        }
        std::size_t i = 0;
        for (const std::string_view in_file : spellings.strings()) {
            if (i == count_) {
                break;
            }
            const std::string_view spelling = control.meant(kinds_[i], in_file);
            const auto size = decode(kinds_[i], spelling, store_.free_space());
            if (!size || *size == 0 || *size > longest_token) {
                return undecodable(file, i, spelling);
            }
            store_.append(*size);
            longest_ = (std::max)(longest_, *size);
            ++i;
        }
        return {};
    }

    /// Writes what `spelling` stands for to `out`, which has room for it. \return the size; nullopt if it is
    /// misspelled.
    [[nodiscard]] std::optional<std::size_t> decode(token_kind kind, std::string_view spelling,
                                                    char* out) const noexcept {
        const bool is_itself =
            spelling.size() == 1 && (static_cast<unsigned char>(spelling[0]) <= ' ' || spelling[0] == '\x7f');
        switch (kind) {
        case token_kind::normal:
            if (!is_itself || spelling_ == token_spelling::sentence_piece) { // is_itself: a slip that leaves no doubt
                return decode_normal(spelling, out);
            }
            break;
        case token_kind::byte:
            return decode_byte(spelling, out);
        case token_kind::control:
        case token_kind::user_defined:
            if (spelling_ == token_spelling::byte_alphabet && byte_alphabet::spells_unprintable(spelling)) {
                return byte_alphabet::decode(spelling, out);
            }
            if (spelling_ == token_spelling::sentence_piece && kind == token_kind::user_defined) {
                return decode_spaces(spelling, out);
            }
            break;
        default:
            break;
        }
        std::memcpy(out, spelling.data(), spelling.size());
        return spelling.size();
    }

    /// A space for every U+2581: so normal tokens are spelled, and user-defined ones in some files of Gemma.
    [[nodiscard]] static std::size_t decode_spaces(std::string_view spelling, char* out) noexcept {
        std::size_t written = 0;
        while (!spelling.empty()) {
            const bool space = spelling.starts_with(space_mark);
            out[written++] = space ? ' ' : spelling[0];
            spelling.remove_prefix(space ? space_mark.size() : 1);
        }
        return written;
    }

    [[nodiscard]] static std::optional<std::size_t> decode_byte(std::string_view spelling, char* out) noexcept {
        const auto digit = [spelling](std::size_t i) { return std::string_view("0123456789ABCDEF").find(spelling[i]); };
        if (spelling.size() != 6 || !spelling.starts_with("<0x") || spelling[5] != '>' || digit(3) > 15 ||
            digit(4) > 15) {
            return std::nullopt;
        }
        *out = static_cast<char>(static_cast<unsigned char>(digit(3) * 16 + digit(4)));
        return 1;
    }

    [[nodiscard]] error undecodable(const gguf_file& file, std::size_t i, std::string_view spelling) const {
        if (spelling.empty()) {
            return bad_vocabulary(file, tokens_key, i, "is empty");
        }
        if (spelling.size() > longest_token) {
            return bad_vocabulary(
                file, tokens_key, i,
                sentence({"takes ", spelling.size(), " bytes, at most ", longest_token, " are possible for a token"}));
        }
        const bool byte = kinds_[i] == token_kind::byte;
        const bool pieces = spelling_ == token_spelling::sentence_piece;
        return bad_vocabulary(file, tokens_key, i,
                              sentence({"is ", quoted_name(spelling), ", which is not ",
                                        byte     ? "<0xHH> with capital digits, as its token_type 6 requires"
                                        : pieces ? "spelled with U+2581 for every space, as its token_type 1 requires"
                                                 : "in the byte alphabet, as its token_type 1 requires"}));
    }

    [[nodiscard]] error duplicate(const gguf_file& file, token id, token other) const {
        return bad_vocabulary(file, tokens_key, static_cast<std::uint64_t>(id),
                              sentence({"is ", quoted_name(store_[id]), ", the same as token ", other}));
    }

    [[nodiscard]] bool can_be_merged(token id) const noexcept {
        return kind_of(id) == token_kind::normal ||
               (kind_of(id) == token_kind::user_defined && spelling_ == token_spelling::sentence_piece);
    }

    [[nodiscard]] result<void> index_normal_tokens(const gguf_file& file, const gguf_value& spellings) {
        auto index = token_index::allocate(spellings.count, file.memory());
        if (!index) {
            return failed(index);
        }
        index_ = *std::move(index);
        for (token id = 0; contains(id); ++id) {
            if (constexpr token later = 16; contains(id + later)) {
                index_.fetch(store_[id + later]);
            }
            if (auto done = can_be_merged(id) ? index_token(file, id) : result<void>{}; !done) {
                return done;
            }
        }
        return {};
    }

    [[nodiscard]] result<void> index_token(const gguf_file& file, token id) {
        switch (index_.insert(store_, id)) {
        case token_index::outcome::duplicate:
            return duplicate(file, id, find(store_[id]));
        case token_index::outcome::crowded:
            return bad_vocabulary(file, tokens_key, static_cast<std::uint64_t>(id),
                                  sentence({"collides with more than ", longest_probe, " other tokens"}));
        default:
            return {};
        }
    }

    /// Makes the added token `id` a normal one.
    [[nodiscard]] result<void> adopt(const gguf_file& file, token id) {
        first_adopted_ = adopted_++ == 0 ? id : first_adopted_;
        kinds_[static_cast<std::size_t>(id)] = token_kind::normal;
        return index_token(file, id);
    }

    /// Adopts added tokens of one byte that no normal token stands for. Not printable ones that are user-defined: these
    /// are found in any text.
    [[nodiscard]] result<void> adopt_bytes(const gguf_file& file, const gguf_value&) {
        for (std::size_t byte = 0; byte < has_own_token_.size(); ++byte) {
            const char text = static_cast<char>(static_cast<unsigned char>(byte));
            has_own_token_[byte] = spelling_ == token_spelling::sentence_piece || find({&text, 1}) != no_token;
        }
        for (token id = 0; spelling_ == token_spelling::byte_alphabet && contains(id); ++id) {
            const std::string_view bytes = store_[id];
            const bool is_text = kind_of(id) == token_kind::control ||
                                 (kind_of(id) == token_kind::user_defined && (bytes[0] <= ' ' || bytes[0] > '~'));
            if (bytes.size() == 1 && is_text && find(bytes) == no_token) {
                if (auto done = adopt(file, id); !done) {
                    return done;
                }
            }
        }
        return {};
    }

    /// Adopts longer ones that merges name, if they hold white space: then they are words of the model that were added
    /// again, in the byte alphabet, and BPE is to find them. Others are found as they are spelled, before BPE.
    [[nodiscard]] result<void> adopt_merged(const gguf_file& file, const gguf_value&) {
        const auto named = find_array(file, merges_key, gguf_type::string);
        if (!named || *named == nullptr || spelling_ != token_spelling::byte_alphabet) {
            return {}; // read_merges() tells what is wrong
        }
        for (token id = 0; contains(id); ++id) {
            if (is_added_word(id)) {
                return adopt_merged(file, (*named)->strings());
            }
        }
        return {};
    }

    [[nodiscard]] bool is_added_word(token id) const noexcept {
        constexpr std::string_view white_space = " \t\n\v\f\r";
        const std::string_view bytes = store_[id];
        const bool is_text =
            (kind_of(id) == token_kind::user_defined && bytes.find_first_of(white_space) != std::string_view::npos) ||
            (kind_of(id) == token_kind::control && bytes.find_first_not_of(white_space) == std::string_view::npos);
        return is_text && find(bytes) == no_token;
    }

    [[nodiscard]] result<void> adopt_merged(const gguf_file& file, gguf_strings merges) {
        auto words = token_index::allocate(size(), file.memory());
        if (!words) {
            return failed(words);
        }
        for (token id = 0; contains(id); ++id) {
            if (is_added_word(id)) {
                static_cast<void>(words->insert(store_, id)); // what is there twice is refused with the other tokens
            }
        }
        for (const std::string_view text : merges) {
            if (auto done = adopt_named(file, *words, text); !done) {
                return done;
            }
        }
        return {};
    }

    /// Adopts those of `words` that one merge names: as a half or as the whole.
    [[nodiscard]] result<void> adopt_named(const gguf_file& file, const token_index& words, std::string_view text) {
        std::array<char, longest_merge> bytes;
        const std::size_t space = text.find(' ');
        if (space == std::string_view::npos || text.size() > bytes.size()) {
            return {}; // as above
        }
        const auto left = decode_normal(text.substr(0, space), bytes.data());
        const auto right = left ? decode_normal(text.substr(space + 1), bytes.data() + *left) : std::nullopt;
        if (!right) {
            return {};
        }
        const std::string_view whole(bytes.data(), *left + *right);
        for (const std::string_view part : {whole, whole.substr(0, *left), whole.substr(*left)}) {
            const token id = words.find(store_, part);
            if (auto done = id != no_token && is_added_word(id) ? adopt(file, id) : result<void>{}; !done) {
                return done;
            }
        }
        return {};
    }

    /// Says what was adopted, and finds the tokens of the bytes.
    [[nodiscard]] result<void> find_byte_tokens(const gguf_file& file, const gguf_value&) {
        if (adopted_ != 0) {
            notes_.push_back(
                sentence({adopted_, " added tokens, such as ", first_adopted_, " (", quoted{store_[first_adopted_]},
                          "), are text that no other token stands for: they merge like normal ones"}));
        }
        for (std::size_t byte = 0; byte < byte_tokens_.size(); ++byte) {
            const char text = static_cast<char>(static_cast<unsigned char>(byte));
            byte_tokens_[byte] = find({&text, 1});
        }
        std::array<bool, 256> found{};
        for (token id = 0; contains(id); ++id) {
            const auto byte = static_cast<unsigned char>(store_[id][0]);
            const bool is_spare = spelling_ == token_spelling::byte_alphabet && byte_tokens_[byte] != no_token;
            if (kind_of(id) != token_kind::byte || is_spare) {
                continue;
            }
            if (std::exchange(found[byte], true)) {
                return duplicate(file, id, byte_tokens_[byte]);
            }
            byte_tokens_[byte] = id;
        }
        return {};
    }

    [[nodiscard]] result<void> make_matchers(const gguf_file& file, const gguf_value&) {
        auto room = buffer<token>::allocate(size(), "special tokens", {file.memory(), {memory_use::temporary, false}});
        if (!room) {
            return failed(room);
        }
        std::size_t count = 0;
        for (token id = 0; contains(id); ++id) {
            if (kind_of(id) != token_kind::normal && kind_of(id) != token_kind::byte) {
                (*room)[count++] = id;
            }
        }
        const std::span<token> spelled = room->span().first(count);
        std::sort(spelled.begin(), spelled.end(),
                  [this](token a, token b) { return store_[a] == store_[b] ? a < b : store_[a] < store_[b]; });
        if (auto unique = check_spelled(file, spelled); !unique) {
            return unique;
        }
        return keep_matchers(spelled);
    }

    /// \pre `spelled` is in the order of the tokens' bytes
    [[nodiscard]] result<void> check_spelled(const gguf_file& file, std::span<const token> spelled) const {
        std::array<char, longest_token> bytes;
        for (std::size_t i = 0; i < spelled.size(); ++i) {
            const std::string_view spelling = store_[spelled[i]];
            if (i > 0 && store_[spelled[i - 1]] == spelling) {
                return duplicate(file, spelled[i], spelled[i - 1]);
            }
            const auto size = decode_normal(spelling, bytes.data());
            const token normal = size ? find({bytes.data(), *size}) : no_token;
            if (normal != no_token && normal != spelled[i]) {
                return duplicate(file, spelled[i], normal);
            }
        }
        return {};
    }

    [[nodiscard]] result<void> keep_matchers(std::span<token> spelled) {
        const auto keep = [this, &spelled](auto wanted) {
            const auto end =
                std::remove_if(spelled.begin(), spelled.end(), [&](token id) { return !wanted(kind_of(id)); });
            spelled = {spelled.begin(), end};
            return token_matcher::make(store_, spelled, kinds_.source());
        };
        auto specials = keep([](token_kind kind) { return kind != token_kind::unused; });
        if (!specials) {
            return failed(specials);
        }
        auto user_defined = keep([](token_kind kind) { return kind == token_kind::user_defined; });
        if (!user_defined) {
            return failed(user_defined);
        }
        specials_ = *std::move(specials);
        user_defined_ = *std::move(user_defined);
        return {};
    }

    token_spelling spelling_ = token_spelling::byte_alphabet;
    std::size_t count_ = 0; ///< tokens to be read
    token_store store_;
    buffer<token_kind> kinds_;
    token_index index_;      ///< of the tokens that merging can make
    token_matcher specials_; ///< user-defined, control and unknown tokens
    token_matcher user_defined_;
    std::array<token, 256> byte_tokens_{};
    std::array<bool, 256> has_own_token_{}; ///< byte-level: whether a token that the file calls normal is that byte
    std::size_t adopted_ = 0;               ///< added tokens that became normal ones
    token first_adopted_ = no_token;
    std::size_t longest_ = 0;
    std::vector<std::string> notes_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
