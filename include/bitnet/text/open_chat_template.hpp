// SPDX-License-Identifier: MIT
// chat_template::open: recognises the chat format of a GGUF file.
#ifndef BITNET_TEXT_OPEN_CHAT_TEMPLATE_HPP
#define BITNET_TEXT_OPEN_CHAT_TEMPLATE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/text/chat_format.hpp>
#include <bitnet/text/chat_template.hpp>
#include <bitnet/text/chatml_facts.hpp>
#include <bitnet/text/chatml_reader.hpp>
#include <bitnet/text/token.hpp>
#include <bitnet/text/tokenizer.hpp>
#include <bitnet/text/tool_form.hpp>
#include <bitnet/text/tool_words.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// How a published template is recognised: by texts that it contains.
struct chat_fingerprint {
    chat_format format;
    bool is_wrong;                         ///< published by mistake: the model was trained with `format`
    std::string_view what;                 ///< for people
    std::array<std::string_view, 3> parts; ///< all are in the template as comparable_template() makes it
};

/// The first that fits is taken. No template is ever executed.
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

/// What a recognised template may do beyond its format; chat_format_choice::why says so.
struct chat_template_extra {
    std::string_view part; ///< in the template as comparable_template() makes it
    std::string_view what;
};
inline constexpr std::array<chat_template_extra, 2> chat_template_extras{{
    {"CuttingKnowledgeDate", "its lines with dates are not written"},
    {"<think>", "its thinking parts are not written"},
}};

/// How the words for tools of a recognised template are recognised themselves.
struct tool_fingerprint {
    chat_format format;
    tool_syntax syntax;
    std::string_view what;                 ///< for people
    std::array<std::string_view, 3> parts; ///< as in chat_fingerprint
};
inline constexpr std::array<tool_fingerprint, 2> tool_fingerprints{{
    {chat_format::llama3,
     tool_syntax::llama3,
     "calls of tools are LLaMA-3.1's, one in an answer",
     {"Giventhefollowingfunctions,pleaserespondwithaJSONforafunctioncall", "ipython<|end_header_id|>",
      "tool_call.arguments|tojson"}},
    {chat_format::falcon3,
     tool_syntax::falcon3,
     "calls of tools are Falcon3's",
     {"skilledinfunctioncalling", "<tool_call>", "<tool_response>"}},
}};

/// Longer texts are not searched; published templates have less than 32 KiB.
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
        const auto has = [comparable](std::string_view part) {
            return comparable.find(part) != std::string_view::npos;
        };
        if (std::all_of(known.parts.begin(), known.parts.end(), has)) {
            return &known;
        }
    }
    return nullptr;
}

/// How a format is recognised if the file has no template: facts of published models. (Old `bitnet` files are of models
/// that were never trained to chat.)
struct chat_inference {
    chat_format format;
    std::array<std::string_view, 2> architectures;  ///< one of them is the file's
    std::array<std::string_view, 2> control_tokens; ///< all are in the vocabulary
    std::string_view why;
};
inline constexpr std::array<chat_inference, 2> chat_inferences{{
    {chat_format::bitnet, {"bitnet-b1.58", "bitnet-25"}, {"<|eot_id|>"}, "was trained with bitnet's"},
    {chat_format::llama3,
     {"llama"},
     {"<|start_header_id|>", "<|eot_id|>"},
     "has a vocabulary with the control tokens of LLaMA-3's"},
}};

/// Finds the chat format of one file. Use chat_template::open().
class chat_format_reader {
public:
    chat_format_reader(const gguf_file& file, const tokenizer& text) noexcept : file_(file), text_(text) {}

    /// \param name as in chat_template::open()
    [[nodiscard]] result<void> run(std::string_view name) {
        if (auto chosen = choose(name); !chosen) {
            return chosen;
        }
        return check_tokens();
    }

    /// \pre run() has succeeded
    [[nodiscard]] chat_format_choice& choice() noexcept { return choice_; }
    /// Whether dialogs begin with BOS. \pre run() has succeeded
    [[nodiscard]] bool adds_bos() const noexcept { return bos_wanted_ || begins_with_bos(choice_.format); }
    /// The tokens that end an answer, ascending. \pre run() has succeeded
    [[nodiscard]] std::vector<token> stops() const;
    /// How calls of tools are written. \pre run() has succeeded
    [[nodiscard]] tool_syntax syntax() const noexcept { return syntax_; }
    /// What a ChatML template of the file says beyond the format; null for others. \pre run() has succeeded
    [[nodiscard]] const std::shared_ptr<const chatml_facts>& facts() const noexcept { return facts_; }

private:
    static constexpr std::string_view template_key = "tokenizer.chat_template";

    [[nodiscard]] result<void> choose(std::string_view name);
    [[nodiscard]] result<void> read_chatml(std::string_view in_file);
    void find_tools(std::string_view comparable);
    [[nodiscard]] bool infer();
    [[nodiscard]] result<void> check_tokens() const;
    [[nodiscard]] error unknown(std::string_view what) const;

    const gguf_file& file_;
    const tokenizer& text_;
    chat_format_choice choice_;
    bool bos_wanted_ = false; ///< by the vocabulary or by the template
    std::shared_ptr<const chatml_facts> facts_;
    tool_syntax syntax_ = tool_syntax::marked;
};

inline result<void> chat_format_reader::choose(std::string_view name) {
    const auto in_file = file_.get_or<std::string_view>(template_key, {});
    if (!in_file) {
        return failed(in_file);
    }
    const std::string comparable = comparable_template(*in_file);
    const chat_fingerprint* known = find_chat_fingerprint(comparable);
    const std::string_view found = in_file->empty()   ? "no template"
                                   : known != nullptr ? known->what
                                                      : "a template that is not known";
    bos_wanted_ = text_.add_bos() || comparable.find("bos_token") != std::string::npos;
    if (!name.empty()) {
        const auto named = find_chat_format(name);
        if (!named) {
            return unknown(sentence({"the caller asks for the chat format ", quoted_name(name)}));
        }
        choice_ = {*named, false, known != nullptr && known->is_wrong,
                   sentence({"chosen by the caller; the file has ", found})};
    } else if (known != nullptr) {
        choice_ = {known->format, false, known->is_wrong, sentence({"the file has ", found})};
        if (known->format == chat_format::chatml) {
            return read_chatml(*in_file);
        }
        for (const auto& [part, what] : chat_template_extras) {
            if (comparable.find(part) != std::string::npos) {
                choice_.why.append("; ").append(what);
            }
        }
        find_tools(comparable);
    } else if (!in_file->empty()) {
        return unknown(sentence({template_key, " is not known, it begins ", quoted_name(*in_file)}));
    } else if (!infer()) {
        return unknown(sentence({template_key, " is missing, and no known format fits architecture and vocabulary"}));
    }
    return {};
}

/// Refuses a template whose answers begin in an unknown way; names all else that is not known.
inline result<void> chat_format_reader::read_chatml(std::string_view in_file) {
    chatml_reader reader(in_file);
    if (!reader.run()) {
        return unknown(sentence({template_key, " is ChatML, but ", reader.trouble()}));
    }
    for (const std::string& note : reader.notes()) {
        choice_.why.append("; ").append(note);
    }
    facts_ = std::make_shared<const chatml_facts>(std::move(reader.facts()));
    return {};
}

inline void chat_format_reader::find_tools(std::string_view comparable) {
    for (const tool_fingerprint& known : tool_fingerprints) {
        const auto has = [comparable](std::string_view part) {
            return comparable.find(part) != std::string_view::npos;
        };
        if (known.format == choice_.format && std::all_of(known.parts.begin(), known.parts.end(), has)) {
            syntax_ = known.syntax;
            choice_.why.append("; ").append(known.what);
            return;
        }
    }
    if (comparable.find("iftools") != std::string_view::npos) {
        choice_.why.append("; its words for tools are not known");
    }
}

inline bool chat_format_reader::infer() {
    const auto in_file = file_.get_or<std::string_view>("general.architecture", {});
    const std::string_view architecture = in_file ? *in_file : std::string_view{};
    const auto is_same = [architecture](std::string_view one) { return !one.empty() && one == architecture; };
    const auto has = [this](std::string_view spelling) { return spelling.empty() || text_.find_special(spelling); };
    for (const auto& [format, architectures, control_tokens, why] : chat_inferences) {
        if (std::any_of(architectures.begin(), architectures.end(), is_same) &&
            std::all_of(control_tokens.begin(), control_tokens.end(), has)) {
            choice_ = {format, true, false,
                       sentence({template_key, " is missing; architecture ", architecture, " ", why})};
            return true;
        }
    }
    return false;
}

inline result<void> chat_format_reader::check_tokens() const {
    const chat_format_rule& rule = rule_of(choice_.format);
    for (const std::string_view spelling : {rule.header_begin, rule.header_end, rule.turn_end}) {
        if (!spelling.empty() && !text_.find_special(spelling)) {
            return error{
                errc::bad_vocabulary,
                sentence({file_.name(), ": chat format ", rule.name, " needs the control token ", quoted_name(spelling),
                          ", which is not among the ", text_.vocabulary_size(), " of tokenizer.ggml.tokens"})};
        }
    }
    if (rule.turn_end.empty() && !text_.eos()) {
        return error{errc::missing_key,
                     sentence({file_.name(), ": chat format ", rule.name, " needs tokenizer.ggml.eos_token_id"})};
    }
    return {};
}

inline error chat_format_reader::unknown(std::string_view what) const {
    std::string names;
    for (const std::string_view name : chat_format_names) {
        names.append(names.empty() ? "" : ", ").append(name);
    }
    return {errc::unknown_chat_template,
            sentence({file_.name(), ": ", what, "; known formats are: ", names, " (naming one overrides the file)"})};
}

inline std::vector<token> chat_format_reader::stops() const {
    std::vector<token> all(text_.stop_tokens().begin(), text_.stop_tokens().end());
    const auto add = [&all](std::optional<token> id) {
        if (id && !std::binary_search(all.begin(), all.end(), *id)) {
            all.insert(std::upper_bound(all.begin(), all.end(), *id), *id);
        }
    };
    const chat_format_rule& rule = rule_of(choice_.format);
    add(rule.turn_end.empty() ? text_.eos() : text_.find_special(rule.turn_end));
    if (!rule.other_stop.empty()) {
        add(text_.find_special(rule.other_stop));
    }
    return all;
}

} // namespace detail

inline result<chat_template> chat_template::open(const gguf_file& file, const tokenizer& text, std::string_view name) {
    return detail::guarded([&]() -> result<chat_template> {
        detail::chat_format_reader reader(file, text);
        if (auto found = reader.run(name); !found) {
            return failed(found);
        }
        return chat_template(text, std::move(reader.choice()), reader.stops(), reader.adds_bos(), reader.facts(),
                             reader.syntax(), detail::published_tool_words);
    });
}

} // namespace bitnet::inline BITNET_ABI

#endif
