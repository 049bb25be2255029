// SPDX-License-Identifier: MIT
// add_tokenizer_json: the tokenizer of a Hugging Face directory as the tokenizer.ggml.* keys of a GGUF file.
#ifndef BITNET_TEXT_TOKENIZER_JSON_HPP
#define BITNET_TEXT_TOKENIZER_JSON_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_writer.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/byte_alphabet.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer_steps.hpp>
#include <bitnet/text/vocabulary.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// The files of a Hugging Face tokenizer, as texts. All but the first may be empty: then there is no such file.
struct tokenizer_json_files {
    std::string_view name;               ///< what error messages call tokenizer.json, such as its path
    std::string_view tokenizer;          ///< tokenizer.json
    std::string_view tokenizer_config;   ///< tokenizer_config.json: bos_token, eos_token, chat_template, ...
    std::string_view special_tokens_map; ///< special_tokens_map.json: the same tokens, if the config has none
    std::string_view model_config;       ///< config.json: their ids, if neither of the two has them
    std::string_view chat_template;      ///< chat_template.jinja, preferred to the one in the config
    std::string_view pre_tokenizer; ///< the caller's choice: one of pre_tokenizer_names, not looked for in the file
    const memory_source* memory = nullptr; ///< for the JSON values; null: operator new
};

namespace detail {

/// One reading of a tokenizer.json. Use add_tokenizer_json().
class tokenizer_json_reader {
public:
    tokenizer_json_reader(const tokenizer_json_files& files, std::uint64_t rows) noexcept
        : files_(files), rows_(rows) {}

    /// \return what was passed over, one sentence each
    [[nodiscard]] result<std::vector<std::string>> run(gguf_writer& out) {
        auto parsed = json_document::parse(files_.tokenizer, files_.name, {.memory = files_.memory});
        if (!parsed) {
            return failed(parsed);
        }
        document_.emplace(*std::move(parsed));
        for (const auto step : {&tokenizer_json_reader::read_model, &tokenizer_json_reader::read_steps,
                                &tokenizer_json_reader::read_vocabulary, &tokenizer_json_reader::read_added_tokens,
                                &tokenizer_json_reader::fill_up, &tokenizer_json_reader::read_merges,
                                &tokenizer_json_reader::check_digits, &tokenizer_json_reader::read_config,
                                &tokenizer_json_reader::read_template}) {
            if (auto done = (this->*step)(); !done) {
                return failed(done);
            }
        }
        write(out);
        return std::move(notes_);
    }

private:
    struct entry {
        std::string text; ///< empty: no token has this id yet
        token_kind kind = token_kind::normal;
        float score = 0;
    };

    /// A token with a role, and its id.
    struct role {
        std::string_view name; ///< as in tokenizer_config.json: NAME_token
        std::string_view key;  ///< as in GGUF: tokenizer.ggml.KEY_token_id
        bool is_needed;        ///< by texts, dialogs or the end of an answer: a wrong id is an error
        std::optional<std::uint32_t> id{};
    };
    static constexpr std::size_t bos = 0;
    static constexpr std::size_t eos = 1;
    static constexpr std::size_t unk = 2;

    [[nodiscard]] error fail(errc code, std::initializer_list<sentence_part> why) const {
        return {code, sentence({files_.name, ": ", sentence(why)})};
    }
    [[nodiscard]] error bad(std::initializer_list<sentence_part> why) const { return fail(errc::bad_vocabulary, why); }

    /// The bool `key` of `object`, or false if there is none.
    [[nodiscard]] result<bool> read_bool(json_value object, std::string_view key) const {
        const auto value = object.find(key);
        if (!value || value->is_null()) {
            return false;
        }
        const auto read = value->as_bool();
        if (!read) {
            return fail(errc::wrong_type,
                        {quoted_name(key), " is of type ", name_of(value->type()), ", boolean is needed"});
        }
        return *read;
    }

    /// The member `key` of `object`, of that type.
    [[nodiscard]] result<json_value> need(json_value object, std::string_view key, json_type type) const {
        const auto value = object.find(key);
        if (!value) {
            return fail(errc::missing_key, {"has no ", quoted_name(key)});
        }
        if (value->type() != type) {
            return fail(errc::wrong_type,
                        {quoted_name(key), " is of type ", name_of(value->type()), ", ", name_of(type), " is needed"});
        }
        return *value;
    }

    [[nodiscard]] result<void> read_model() {
        const auto model = need(document_->root(), "model", json_type::object);
        if (!model) {
            return failed(model);
        }
        model_ = *model;
        const auto type = model_->find("type");
        if (!type || type->as_string() != "BPE") {
            return fail(errc::unsupported_tokenizer,
                        {"model.type is ", quoted_name(type ? type->as_string().value_or("") : ""),
                         ", only 'BPE' can be read"});
        }
        for (const std::string_view key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
            const auto affix = model_->find(key);
            if (affix && !affix->is_null() && affix->as_string() != "") {
                return fail(errc::unsupported_tokenizer, {"model.", key, " is set, it cannot be followed"});
            }
        }
        const auto fallback = read_bool(*model_, "byte_fallback");
        const auto ignore = read_bool(*model_, "ignore_merges");
        if (!fallback || !ignore) {
            return failed(fallback ? ignore : fallback);
        }
        pieces_ = *fallback;
        ignore_merges_ = *ignore;
        return {};
    }

    [[nodiscard]] result<void> read_steps() {
        const std::string normalizer = describe_normalizer(document_->root().find("normalizer"));
        const std::string splitting = describe_pre_tokenizer(document_->root().find("pre_tokenizer"));
        if (pieces_) {
            space_prefix_ = find_space_prefix(normalizer, splitting);
            if (!space_prefix_ || ignore_merges_) {
                return fail(errc::unsupported_tokenizer,
                            {"a model with byte_fallback, ignore_merges ", ignore_merges_ ? "true" : "false",
                             ", the normalizer ", quoted_name(normalizer), " and the pre-tokenizer ",
                             quoted_name(splitting), " is not known"});
            }
            return {};
        }
        if (!normalizer.empty() && normalizer != "NFC") {
            return fail(errc::unsupported_tokenizer, {"the normalizer ", quoted_name(normalizer), " is not known"});
        }
        if (!files_.pre_tokenizer.empty()) {
            pre_tokenizer_ = files_.pre_tokenizer; // tokenizer::open() checks whether it is known
            return {};
        }
        const known_splitting* known = find_splitting(splitting);
        if (known != nullptr) {
            pre_tokenizer_ = name_of_splitter(known->kind, ignore_merges_);
            digits_ = known->digits;
        }
        if (pre_tokenizer_.empty()) {
            return fail(errc::unknown_pre_tokenizer,
                        {"the pre-tokenizer with ignore_merges ", ignore_merges_ ? "true" : "false",
                         " is not known: ", quoted_name(splitting, 2000)});
        }
        return {};
    }

    [[nodiscard]] result<void> read_vocabulary() {
        const auto tokens = need(*model_, "vocab", json_type::object);
        const auto added = document_->root().find("added_tokens");
        if (!tokens) {
            return failed(tokens);
        }
        if (added && !added->is_array() && !added->is_null()) {
            return fail(errc::wrong_type, {"'added_tokens' is of type ", name_of(added->type()), ", array is needed"});
        }
        vocabulary_ = *tokens;
        added_ = added ? *added : *tokens; // an object has no elements
        most_ = vocabulary_->size() + (added_->is_array() ? added_->size() : 0);
        entries_.resize(most_);
        const auto unknown = model_->find("unk_token");
        const std::string_view unknown_text = unknown ? unknown->as_string().value_or("") : std::string_view{};
        for (const json_member member : vocabulary_->members()) {
            const auto id = member.value.as_integer<std::uint64_t>();
            if (auto put_in = put(member.key, id, kind_in_vocabulary(member.key, unknown_text)); !put_in) {
                return put_in;
            }
        }
        return {};
    }

    [[nodiscard]] token_kind kind_in_vocabulary(std::string_view text, std::string_view unknown) const noexcept {
        if (!pieces_) {
            return token_kind::normal;
        }
        if (text == unknown) {
            return token_kind::unknown;
        }
        return text.size() == 6 && text.starts_with("<0x") && text.ends_with(">") ? token_kind::byte
                                                                                  : token_kind::normal;
    }

    /// Every token has an id of its own below the number of all tokens: a higher id would leave a hole.
    [[nodiscard]] result<void> put(std::string_view text, std::optional<std::uint64_t> id, token_kind kind) {
        if (!id) {
            return bad({"token ", quoted_name(text), " has no id that is a number"});
        }
        if (*id >= most_) {
            return bad({"token ", quoted_name(text), " has id ", *id, ", but there are no more than ", most_,
                        " tokens: ids are missing below it"});
        }
        entry& e = entries_[to_size(*id)];
        if (text.empty()) {
            return bad({"token ", *id, " is empty"});
        }
        if (!e.text.empty() && e.text != text) {
            return bad({"token ", quoted_name(text), " has id ", *id, ", which ", quoted_name(e.text), " has too"});
        }
        e.text = text;
        e.kind = kind;
        count_ = (std::max)(count_, to_size(*id) + 1);
        return {};
    }

    [[nodiscard]] result<void> read_added_tokens() {
        for (const json_value object : added_->elements()) {
            const auto id = object.find("id");
            const auto content = object.find("content");
            const auto special = read_bool(object, "special");
            if (!id || !content || !content->as_string() || !special) {
                return special ? bad({"an element of added_tokens has no id or no content"}) : failed(special);
            }
            const std::string_view text = *content->as_string();
            for (const std::string_view flag : {"single_word", "lstrip", "rstrip"}) {
                const auto set = read_bool(object, flag);
                if (!set || *set) {
                    return fail(errc::unsupported_tokenizer,
                                {"the added token ", quoted_name(text), " has '", flag, "', which cannot be followed"});
                }
            }
            const auto number = id->as_integer<std::uint64_t>();
            if (rows_ != 0 && number && *number >= std::max<std::uint64_t>(rows_, count_)) {
                drop(text, *number);
                continue;
            }
            const entry* known = number && *number < entries_.size() ? &entries_[to_size(*number)] : nullptr;
            if (known != nullptr && is_word(*known, text, *special)) {
                continue;
            }
            const token_kind kind = known != nullptr && known->kind == token_kind::unknown ? token_kind::unknown
                                    : *special || looks_special(text)                      ? token_kind::control
                                                                                           : token_kind::user_defined;
            if (auto put_in = put(text, number, kind); !put_in) {
                return put_in;
            }
        }
        return {};
    }

    /// Added tokens may have ids beyond the embedding's rows, as Gemma-3's <image_soft_token>: the model can neither
    /// read nor write them.
    void drop(std::string_view text, std::uint64_t id) {
        notes_.push_back(sentence({"added token ", quoted{text}, " has id ", id, ", beyond the ", rows_,
                                   " rows of the embedding: it is left out"}));
        dropped_.emplace_back(text, id);
    }

    /// Whether an added token is a word of a byte-level model that was added again: it stays what BPE makes. In the
    /// byte alphabet, as the model spells it, or as the bytes that it means. (One that is spelled alike in both is
    /// found in text, before BPE. A special one counts as a word only if its spelling can mean nothing else.)
    [[nodiscard]] bool is_word(const entry& known, std::string_view text, bool special) const {
        std::string bytes(known.text.size(), '\0');
        const auto size = byte_alphabet::decode(known.text, bytes.data());
        if (pieces_ || known.text.empty() || known.kind != token_kind::normal || !size) {
            return false;
        }
        bytes.resize(*size);
        const bool is_spelled_twice = bytes != known.text && (text == known.text || text == bytes);
        return is_spelled_twice && (!special || byte_alphabet::spells_unprintable(known.text));
    }

    /// Spelled like a control token, and treated as one, as by llama.cpp's converter: no user's text becomes one.
    [[nodiscard]] static bool looks_special(std::string_view text) noexcept {
        return (text.starts_with("<|") && text.ends_with("|>")) || text == "<pad>" || text == "<mask>";
    }

    /// Refuses holes, spells tokens as llama.cpp's converter does, and fills up to the rows of the embedding.
    [[nodiscard]] result<void> fill_up() {
        for (std::size_t id = 0; id < count_; ++id) {
            if (entries_[id].text.empty()) {
                return bad({"no token has id ", id, " of ", count_});
            }
        }
        if (rows_ != 0 && rows_ < count_) {
            return too_many_tokens(count_);
        }
        if (rows_ > static_cast<std::uint64_t>((std::numeric_limits<token>::max)())) {
            return fail(errc::out_of_range, {"an embedding of ", rows_, " rows"});
        }
        entries_.resize(to_size(rows_ != 0 ? rows_ : count_));
        for (std::size_t id = 0; id < entries_.size(); ++id) {
            entry& e = entries_[id];
            if (id >= count_) {
                e = {sentence({"[PAD", id, "]"}), token_kind::unused};
            } else if (pieces_ && e.kind == token_kind::user_defined) {
                replace_marks(e.text);
            }
            e.score = e.kind == token_kind::normal ? 0.0f : -1000.0f;
        }
        return {};
    }

    [[nodiscard]] error too_many_tokens(std::uint64_t count, std::string_view needed = {}) const {
        return fail(errc::inconsistent, {count, " tokens, but the embedding has ", rows_, " rows", needed});
    }

    /// U+2581 in a user-defined token means a space, and these tokens are searched in text with spaces.
    static void replace_marks(std::string& text) {
        for (std::size_t at = text.find(vocabulary::space_mark); at != std::string::npos;
             at = text.find(vocabulary::space_mark, at)) {
            text.replace(at, vocabulary::space_mark.size(), 1, ' ');
        }
    }

    [[nodiscard]] result<void> read_merges() {
        const auto list = need(*model_, "merges", json_type::array);
        if (!list) {
            return failed(list);
        }
        merges_.reserve(list->size());
        for (const json_value element : list->elements()) {
            if (auto read = read_merge(element); !read) {
                return read;
            }
        }
        for (entry& e : entries_) { // tokens that no merge makes must rank after those that one does
            if (pieces_ && e.kind == token_kind::normal && !has_score(e)) {
                e.score = -static_cast<float>(merges_.size() + 1);
            }
        }
        return {};
    }
    [[nodiscard]] static bool has_score(const entry& e) noexcept { return e.score < 0; }

    /// "LEFT RIGHT" or ["LEFT", "RIGHT"].
    [[nodiscard]] result<void> read_merge(json_value element) {
        std::string text;
        if (element.is_array() && element.size() == 2) {
            for (const json_value half : element.elements()) {
                const std::string_view part = half.as_string().value_or("");
                if (part.empty() || part.find(' ') != std::string_view::npos) {
                    return bad({"model.merges[", merges_.size(), "] has the half ", quoted_name(part),
                                ", which is not a token"});
                }
                text.append(text.empty() ? "" : " ").append(part);
            }
        } else {
            text = element.as_string().value_or("");
        }
        const std::size_t space = text.find(' ');
        if (space == 0 || space + 1 == text.size() || text.find(' ', space + 1) != std::string::npos ||
            space == std::string::npos) {
            return bad({"model.merges[", merges_.size(), "] is ", quoted_name(text),
                        ", not two tokens with one space between"});
        }
        if (pieces_) {
            score(text, space);
        }
        merges_.push_back(std::move(text));
        return {};
    }

    /// Gives the token that the next merge makes its score: the negative rank of the first merge that makes it.
    void score(std::string text, std::size_t space) {
        const auto whole = vocabulary_->find(text.erase(space, 1));
        const auto id = whole ? whole->as_integer<std::uint64_t>() : std::nullopt;
        if (id && !has_score(entries_[to_size(*id)])) {
            entries_[to_size(*id)].score = -static_cast<float>(merges_.size() + 1);
        }
    }

    /// If the file has a step that cuts at digits and its splitter here has none: that no token shows the difference.
    [[nodiscard]] result<void> check_digits() {
        for (const entry& e : entries_) {
            if (e.kind == token_kind::normal && !e.text.empty() && !keeps_digits_apart(e.text, digits_)) {
                return fail(errc::unknown_pre_tokenizer,
                            {"its step Digits cannot be omitted: token ", quoted_name(e.text), " spans it"});
            }
        }
        return {};
    }

    [[nodiscard]] result<void> read_config() {
        roles_ = {{"bos", "bos", true},
                  {"eos", "eos", true},
                  {"unk", "unknown", false},
                  {"pad", "padding", false},
                  {"eot", "eot", true}};
        for (const auto& [text, file] : {std::pair{files_.tokenizer_config, "tokenizer_config.json"},
                                         std::pair{files_.special_tokens_map, "special_tokens_map.json"},
                                         std::pair{files_.model_config, "config.json"}}) {
            if (auto read = text.empty() ? result<void>{} : read_roles(text, file); !read) {
                return read;
            }
        }
        const auto in_model = model_->find("unk_token");
        const auto spelling = in_model && !pieces_ ? in_model->as_string() : std::nullopt;
        const auto id = spelling ? find(*spelling) : std::nullopt;
        if (id && !roles_[unk].id) {
            roles_[unk].id = static_cast<std::uint32_t>(*id);
        }
        if (auto read = read_post_processor(); !read) {
            return read;
        }
        if (!roles_[bos].id && !bad_bos_.empty()) {
            if (add_bos_.value_or(true)) {
                return bad({bad_bos_});
            }
            pass_over(bad_bos_);
        }
        return {};
    }

    /// Notes that a role has no token, where none is needed.
    void pass_over(std::string_view what) {
        notes_.push_back(sentence({what, "; no text needs this token, so it is passed over"}));
    }

    [[nodiscard]] result<void> read_roles(std::string_view text, const char* file) {
        auto parsed = json_document::parse(text, sentence({files_.name, ", ", file}), {.memory = files_.memory});
        if (!parsed) {
            return failed(parsed);
        }
        const json_value object = parsed->root();
        for (role& r : roles_) {
            if (auto read = r.id ? result<void>{} : read_role(r, object, file); !read) {
                return read;
            }
        }
        return read_flags(object);
    }

    /// NAME_token, a text or an object with one, or else NAME_token_id.
    [[nodiscard]] result<void> read_role(role& r, json_value object, std::string_view file) {
        const auto member = object.find(sentence({r.name, "_token"}));
        const auto content = member && member->is_object() ? member->find("content") : member;
        const auto spelling = content ? content->as_string() : std::nullopt;
        const auto value = object.find(sentence({r.name, "_token_id"}));
        const auto number = value ? value->as_integer<std::int64_t>() : std::nullopt;
        const auto id = spelling ? find(*spelling) : number;
        const auto count = static_cast<std::int64_t>(entries_.size());
        if (id && *id >= 0 && *id < count) {
            r.id = static_cast<std::uint32_t>(*id);
            return {};
        }
        if ((!spelling && !number) || (r.is_needed && !spelling && *number < 0)) {
            return {}; // -1 says that there is none
        }
        for (const auto& [text, beyond] : dropped_) {
            if (r.is_needed && spelling == text) {
                return too_many_tokens(beyond + 1, sentence({", and ", r.name, "_token ", quoted{text}, " is beyond"}));
            }
        }
        const std::string what =
            sentence({file, ": ", r.name, "_token ", spelling ? quoted_name(*spelling) : sentence({*id}),
                      " is not one of the ", count, " tokens"});
        if (&r == &roles_[bos]) {
            bad_bos_ = what; // an error only if texts get it, which is not known yet
        } else if (r.is_needed) {
            return bad({what});
        } else {
            pass_over(what);
        }
        return {};
    }

    [[nodiscard]] result<void> read_flags(json_value object) {
        const auto add_bos = object.find("add_bos_token");
        const auto add_eos = object.find("add_eos_token");
        add_bos_ = add_bos_ || !add_bos ? add_bos_ : add_bos->as_bool();
        add_eos_ = add_eos_ || !add_eos ? add_eos_ : add_eos->as_bool();
        const auto chat = object.find("chat_template");
        if (!chat || !files_.chat_template.empty()) {
            return {};
        }
        if (const auto text = chat->as_string()) {
            template_ = *text;
        }
        for (const json_value named : chat->elements()) { // [{"name": "default", "template": "..."}, ...]
            const auto name = named.find("name");
            const auto text = named.find("template");
            if (name && name->as_string() == "default" && text) {
                template_ = text->as_string().value_or("");
            }
        }
        return {};
    }

    [[nodiscard]] std::optional<std::int64_t> find(std::string_view text) const {
        for (std::size_t id = entries_.size(); id-- > 0;) {
            if (entries_[id].text == text) {
                return static_cast<std::int64_t>(id);
            }
        }
        return std::nullopt;
    }

    /// TemplateProcessing lists the tokens that every text gets, and overrides the flags. A leading one becomes BOS, a
    /// trailing one EOS; an EOS that was different then ends a turn.
    [[nodiscard]] result<void> read_post_processor() {
        const auto single = find_template(document_->root().find("post_processor"));
        if (!single) {
            return {};
        }
        bool after_text = false;
        add_bos_ = add_eos_ = false;
        for (const json_value part : single->elements()) {
            const auto special = part.find("SpecialToken");
            after_text = after_text || part.find("Sequence");
            if (!special) {
                continue;
            }
            const auto name = special->find("id");
            const auto found = name && name->as_string() ? find(*name->as_string()) : std::nullopt;
            const auto id = found ? std::optional(static_cast<std::uint32_t>(*found)) : std::nullopt;
            auto& add = after_text ? add_eos_ : add_bos_;
            if (!id || *add) {
                return fail(
                    errc::unsupported_tokenizer,
                    {"its TemplateProcessing puts more than one token, or an unknown one, on one side of a text"});
            }
            add = true;
            if (after_text && roles_[eos].id != id && !roles_.back().id) {
                roles_.back().id = roles_[eos].id;
            }
            roles_[after_text ? eos : bos].id = id;
        }
        return {};
    }

    [[nodiscard]] result<void> read_template() {
        if (!files_.chat_template.empty()) {
            template_ = files_.chat_template;
        }
        return {};
    }

    void write(gguf_writer& out) const {
        std::vector<std::string_view> texts;
        std::vector<float> scores;
        std::vector<std::int32_t> kinds;
        for (const entry& e : entries_) {
            texts.emplace_back(e.text);
            scores.push_back(e.score);
            kinds.push_back(static_cast<std::int32_t>(e.kind));
        }
        out.add("tokenizer.ggml.model", std::string_view(pieces_ ? "llama" : "gpt2"));
        out.add("tokenizer.ggml.pre", pieces_ ? std::string_view("default") : pre_tokenizer_);
        out.add_strings("tokenizer.ggml.tokens", texts);
        out.add_array("tokenizer.ggml.scores", std::span<const float>(scores));
        out.add_array("tokenizer.ggml.token_type", std::span<const std::int32_t>(kinds));
        out.add_strings("tokenizer.ggml.merges", merges_);
        for (const role& r : roles_) {
            if (r.id) {
                out.add(sentence({"tokenizer.ggml.", r.key, "_token_id"}), *r.id);
            }
        }
        if (add_bos_) {
            out.add("tokenizer.ggml.add_bos_token", *add_bos_ && roles_[bos].id.has_value());
        }
        if (add_eos_) {
            out.add("tokenizer.ggml.add_eos_token", *add_eos_ && roles_[eos].id.has_value());
        }
        if (space_prefix_) {
            out.add("tokenizer.ggml.add_space_prefix", *space_prefix_);
        }
        if (!template_.empty()) {
            out.add("tokenizer.chat_template", template_);
        }
    }

    tokenizer_json_files files_;
    std::uint64_t rows_;
    std::optional<json_document> document_;
    std::optional<json_value> model_;
    std::optional<json_value> vocabulary_;
    std::optional<json_value> added_;
    std::vector<entry> entries_;
    std::vector<std::string> merges_;
    std::vector<role> roles_;
    std::size_t most_ = 0;  ///< tokens in the vocabulary and added ones, if all differ
    std::size_t count_ = 0; ///< one past the largest id that is not dropped
    std::vector<std::pair<std::string, std::uint64_t>> dropped_; ///< added tokens beyond the embedding, and their ids
    bool pieces_ = false;                                        ///< SentencePiece's kind
    bool ignore_merges_ = false;
    digit_tokens digits_ = digit_tokens::any;
    std::string_view pre_tokenizer_;
    std::optional<bool> space_prefix_;
    std::optional<bool> add_bos_;
    std::optional<bool> add_eos_;
    std::string template_;
    std::string bad_bos_; ///< why bos is no token
    std::vector<std::string> notes_;
};

/// Adds the tokenizer of `files` to `out`: tokenizer.ggml.{model, pre, tokens, scores, token_type, merges, ...} and
/// tokenizer.chat_template, as llama.cpp's converter writes them and tokenizer::open() reads them.
///
/// Byte-level BPE (LLaMA-3, Qwen2, Falcon, GPT-2) becomes "gpt2", with the name of the splitter that the steps of
/// `pre_tokenizer` amount to; NFC is left to the caller, as in llama.cpp. BPE with byte_fallback (LLaMA-2, Gemma)
/// becomes "llama" with the merges, which decide here; for readers that know only scores, a token's score is the
/// negative rank of the first merge that makes it. Both encode alike if the merges are all cuts of a token into two
/// tokens, token by token, as SentencePiece's converters write them, except that if two cuts of one token overlap in
/// text, scores prefer the leftmost, and merges the earlier one.
/// \param rows of the embedding: ids that no token has, up to there, become [PAD<id>], never found; 0: no such ids.
/// Cost: a few passes; memory is about four times the text, for the time of the call and in `out`.
/// \return errc::bad_json, missing_key, wrong_type, unsupported_tokenizer, unknown_pre_tokenizer, bad_vocabulary
/// (holes, ids and texts twice, misspelt merges, roles without token) or inconsistent (more tokens than rows that are
/// not just added ones without a role); all name the file. Else what was passed over, one sentence each.
[[nodiscard]] inline result<std::vector<std::string>>
add_tokenizer_json(gguf_writer& out, const tokenizer_json_files& files, std::uint64_t rows = 0) {
    return tokenizer_json_reader(files, rows).run(out);
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
