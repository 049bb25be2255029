// SPDX-License-Identifier: MIT
// chat_template: which chat format a model takes, why, and whole dialogs in it.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/chat_dialog.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

/// What tells a published template: texts that it contains.
struct chat_fingerprint {
    chat_format format;
    bool is_wrong;                         ///< published by mistake: the model was trained with `format`
    std::string_view what;                 ///< for people
    std::array<std::string_view, 3> parts; ///< all are in the template as comparable_template() makes it
};

/// The first that fits is taken. Nothing in a template is executed.
inline constexpr std::array<chat_fingerprint, 5> chat_fingerprints{{
    {chat_format::bitnet,
     true,
     "a template ('Human: ... BITNETAssistant: ') that is known to be wrong for its model",
     {"'Human:'", "BITNETAssistant:", "message.role"}},
    {chat_format::bitnet, false, "bitnet's template", {"message.role|capitalize+':'", "<|eot_id|>", "'Assistant:'"}},
    {chat_format::llama3, false, "LLaMA-3's template", {"<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"}},
    {chat_format::chatml, false, "a ChatML template", {"<|im_start|>", "<|im_end|>", "role"}},
    {chat_format::falcon3,
     false,
     "Falcon3's template",
     {"'<|user|>'+message.content+''", "'<|assistant|>'", "eos_token"}},
}};

/// What a recognised template may do beyond its format, so that it can be said.
struct chat_template_extra {
    std::string_view part; ///< in the template as comparable_template() makes it
    std::string_view what;
};
inline constexpr std::array<chat_template_extra, 3> chat_template_extras{{
    {"CuttingKnowledgeDate", "its lines with dates are not written"},
    {"systemYouare", "its own system prompt is not written: give one where it is wanted"},
    {"<think>", "its thinking parts are not written"},
}};

/// Longer texts are not looked at; published templates have less than 32 KiB.
inline constexpr std::size_t longest_chat_template = std::size_t{1} << 20;

/// A template as fingerprints see it: without white space and escaped line ends, in single quotes, with members
/// spelled message.role and message.content; empty for one that is too long.
[[nodiscard]] inline std::string comparable_template(std::string_view text) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 2> members{
        {{"['role']", ".role"}, {"['content']", ".content"}}};
    std::string made;
    text = text.size() <= longest_chat_template ? text : std::string_view{};
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text.substr(i, 2) == "\\n") {
            ++i;
        } else if (std::string_view(" \t\r\n").find(text[i]) == std::string_view::npos) {
            made += text[i] == '"' ? '\'' : text[i];
        }
        for (const auto& [subscript, member] : members) {
            if (made.ends_with(subscript)) {
                made.replace(made.size() - subscript.size(), subscript.size(), member);
            }
        }
    }
    return made;
}

/// The fingerprint that `comparable` has, or null.
[[nodiscard]] constexpr const chat_fingerprint* find_chat_fingerprint(std::string_view comparable) noexcept {
    for (const chat_fingerprint& known : chat_fingerprints) {
        const auto stands = [comparable](std::string_view part) {
            return comparable.find(part) != std::string_view::npos;
        };
        if (std::all_of(known.parts.begin(), known.parts.end(), stands)) {
            return &known;
        }
    }
    return nullptr;
}

/// Which format is in use, and how that was decided.
struct chat_format_choice {
    chat_format format = chat_format::bitnet;
    bool inferred = false;  ///< neither the caller nor a template of the file says so; architecture and vocabulary do
    bool corrected = false; ///< the file's template is known to be wrong, and not what is used
    std::string why;        ///< a sentence for people
};

/// The chat format of a model. Immutable: any number of threads may use it at a time. Borrows the tokenizer, which must
/// outlive it; the file may go.
class chat_template {
public:
    /// Recognises tokenizer.chat_template by what it contains; without one, goes by the architecture and the vocabulary
    /// where these leave no doubt. `name`, one of chat_format_names, is used instead of all that.
    /// \return errc::unknown_chat_template for a template, a name or a model of which nothing is known: a dialog in a
    /// wrong format gives answers that look right and are not. errc::bad_vocabulary where the format's control tokens
    /// are missing; errc::wrong_type.
    [[nodiscard]] static result<chat_template> open(const gguf_file& file, const tokenizer& text,
                                                    std::string_view name = {});
    static result<chat_template> open(const gguf_file&, tokenizer&&, std::string_view = {}) = delete; // would dangle

    [[nodiscard]] chat_format format() const noexcept { return choice_.format; }
    [[nodiscard]] const chat_format_choice& choice() const noexcept { return choice_; }

    /// The tokens that end an answer: those that end a turn in this format, and tokenizer::stop_tokens(); ascending.
    [[nodiscard]] std::span<const token> stop_tokens() const noexcept { return stops_; }
    [[nodiscard]] bool is_stop(token id) const noexcept { return std::binary_search(stops_.begin(), stops_.end(), id); }

    /// An empty dialog, for a session.
    [[nodiscard]] chat_dialog dialog() const { return {choice_.format, *text_, begins_with_bos_}; }

    /// A whole dialog as tokens, BOS included; `with_prompt`: the assistant is to answer. Contents are text: control
    /// tokens that are spelled in them are not taken for such.
    /// \return errc::invalid_argument for a role that the format does not have; what tokenizer::encode returns.
    [[nodiscard]] result<std::vector<token>> encode(std::span<const chat_message> messages,
                                                    bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        return written ? written->take() : result<std::vector<token>>(std::move(written).error());
    }
    /// The same as text, for showing: read back, it may give other tokens.
    [[nodiscard]] result<std::string> render(std::span<const chat_message> messages, bool with_prompt = true) const {
        auto written = write(messages, with_prompt);
        return written ? written->text() : result<std::string>(std::move(written).error());
    }

private:
    static constexpr std::string_view template_key = "tokenizer.chat_template";

    explicit chat_template(const tokenizer& text) noexcept : text_(&text) {}

    [[nodiscard]] result<chat_dialog> write(std::span<const chat_message> messages, bool with_prompt) const {
        chat_dialog written = dialog();
        for (const chat_message& message : messages) {
            if (auto done = written.add(message); !done) {
                return std::move(done).error();
            }
        }
        if (with_prompt) {
            written.add_prompt();
        }
        return written;
    }

    [[nodiscard]] result<void> choose(const gguf_file& file, std::string_view name);
    [[nodiscard]] bool infer(const gguf_file& file);
    [[nodiscard]] result<void> check_tokens(const gguf_file& file) const;
    [[nodiscard]] static error unknown(const gguf_file& file, const std::string& what);
    void collect_stops();

    const tokenizer* text_;
    chat_format_choice choice_;
    std::vector<token> stops_;
    bool begins_with_bos_ = false;
};

inline result<chat_template> chat_template::open(const gguf_file& file, const tokenizer& text, std::string_view name) {
    chat_template made(text);
    if (auto chosen = made.choose(file, name); !chosen) {
        return std::move(chosen).error();
    }
    if (auto checked = made.check_tokens(file); !checked) {
        return std::move(checked).error();
    }
    made.collect_stops();
    return made;
}

inline result<void> chat_template::choose(const gguf_file& file, std::string_view name) {
    const auto in_file = file.get_or<std::string_view>(template_key, {});
    if (!in_file) {
        return error{in_file.error()};
    }
    const std::string comparable = comparable_template(*in_file);
    const chat_fingerprint* known = find_chat_fingerprint(comparable);
    const std::string said = in_file->empty()   ? "no template"
                             : known != nullptr ? std::string(known->what)
                                                : "a template that is not known";
    begins_with_bos_ = text_->add_bos() || comparable.find("bos_token") != std::string::npos;
    if (!name.empty()) {
        const auto named = find_chat_format(name);
        if (!named) {
            return unknown(file, "the caller asks for the chat format " + quoted_name(name));
        }
        choice_ = {*named, false, known != nullptr && known->is_wrong, "chosen by the caller; the file has " + said};
    } else if (known != nullptr) {
        choice_ = {known->format, false, known->is_wrong, "the file has " + said};
        for (const auto& [part, what] : chat_template_extras) {
            choice_.why += comparable.find(part) != std::string::npos ? "; " + std::string(what) : "";
        }
    } else if (!in_file->empty()) {
        return unknown(file, std::string(template_key) + " is not known, it begins " + quoted_name(*in_file));
    } else if (!infer(file)) {
        return unknown(file, std::string(template_key) + " is missing, and architecture and vocabulary tell no format");
    }
    begins_with_bos_ = begins_with_bos_ || begins_with_bos(choice_.format);
    return {};
}

/// Goes by facts of published models. Old `bitnet` files are of models that were never trained to chat.
inline bool chat_template::infer(const gguf_file& file) {
    const std::string none = std::string(template_key) + " is missing; ";
    const auto architecture = file.get_or<std::string_view>("general.architecture", {});
    const std::string_view name = architecture ? *architecture : std::string_view{};
    if ((name == "bitnet-b1.58" || name == "bitnet-25") && text_->find_special("<|eot_id|>")) {
        choice_ = {chat_format::bitnet, true, false,
                   none + "architecture " + std::string(name) + " was trained with bitnet's"};
        return true;
    }
    if (name == "llama" && text_->find_special("<|start_header_id|>") && text_->find_special("<|eot_id|>")) {
        choice_ = {chat_format::llama3, true, false, none + "the vocabulary has the control tokens of LLaMA-3's"};
        return true;
    }
    return false;
}

inline result<void> chat_template::check_tokens(const gguf_file& file) const {
    const auto need = [&](std::string_view spelling) -> result<void> {
        if (text_->find_special(spelling)) {
            return {};
        }
        return error{errc::bad_vocabulary, file.name() + ": chat format " + std::string(name_of(format())) +
                                               " needs the control token " + quoted_name(spelling) +
                                               ", which is not among the " + std::to_string(text_->vocabulary_size()) +
                                               " of tokenizer.ggml.tokens"};
    };
    switch (format()) {
    case chat_format::bitnet:
        return need("<|eot_id|>");
    case chat_format::llama3:
        for (const std::string_view spelling : {"<|start_header_id|>", "<|end_header_id|>"}) {
            if (auto there = need(spelling); !there) {
                return there;
            }
        }
        return need("<|eot_id|>");
    case chat_format::chatml:
        if (auto there = need("<|im_start|>"); !there) {
            return there;
        }
        return need("<|im_end|>");
    case chat_format::falcon3:
        break;
    }
    if (!text_->eos()) {
        return error{errc::missing_key, file.name() + ": chat format falcon3 needs tokenizer.ggml.eos_token_id"};
    }
    return {};
}

inline error chat_template::unknown(const gguf_file& file, const std::string& what) {
    std::string names;
    for (const std::string_view name : chat_format_names) {
        names.append(names.empty() ? "" : ", ").append(name);
    }
    return {errc::unknown_chat_template,
            file.name() + ": " + what + "; known formats are: " + names + " (naming one overrides the file)"};
}

inline void chat_template::collect_stops() {
    stops_.assign(text_->stop_tokens().begin(), text_->stop_tokens().end());
    const auto add = [this](std::optional<token> id) {
        if (id && !is_stop(*id)) {
            stops_.insert(std::upper_bound(stops_.begin(), stops_.end(), *id), *id);
        }
    };
    add(end_of_turn(format()).empty() ? text_->eos() : text_->find_special(end_of_turn(format())));
    if (format() == chat_format::chatml) {
        add(text_->find_special("<|endoftext|>")); // Qwen's models end answers with either
    }
}

} // namespace bitnet::inline BITNET_ABI
