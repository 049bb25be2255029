// SPDX-License-Identifier: MIT
// chatml_reader: finds out what a ChatML template writes beyond the format, and what of it is not known here.
#ifndef BITNET_TEXT_CHATML_READER_HPP
#define BITNET_TEXT_CHATML_READER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/python_json.hpp>
#include <bitnet/text/chatml_facts.hpp>
#include <bitnet/text/template_outline.hpp>
#include <bitnet/text/template_world.hpp>

#include <algorithm>
#include <array>
#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Reads one ChatML template. The facts are what Qwen's templates of 2024 to 2026 and those made from them differ in.
class chatml_reader {
public:
    explicit chatml_reader(std::string_view text) : outline_(template_outline::of(text)) {}

    /// \return false if nothing is known of it: see trouble()
    [[nodiscard]] bool run() {
        facts_.to_json = &python_json;
        facts_.to_json_list = &python_json_list;
        trouble_ = outline_.trouble();
        if (trouble_.empty()) {
            sort_parts();
            read_prompts();
        }
        if (!trouble_.empty()) {
            return false;
        }
        read_turns();
        read_system();
        read_tools();
        return true;
    }

    [[nodiscard]] const std::string& trouble() const noexcept { return trouble_; }
    /// \pre run() has returned true
    [[nodiscard]] chatml_facts& facts() noexcept { return facts_; }
    /// What the template does and this library does not, one clause each. \pre as facts()
    [[nodiscard]] const std::vector<std::string>& notes() const noexcept { return notes_; }

private:
    using part_list = std::vector<const template_part*>;

    static constexpr std::string_view turn_begin = "<|im_start|>";
    static constexpr std::string_view turn_end = "<|im_end|>\n";
    static constexpr std::string_view system_header = "<|im_start|>system\n";
    static constexpr std::string_view answer_header = "<|im_start|>assistant\n";
    static constexpr std::string_view no_thought = "<think>\n\n</think>\n\n";

    void sort_parts();
    void read_prompts();
    [[nodiscard]] std::optional<std::string> prompt(const template_input& given);
    [[nodiscard]] std::optional<template_input> untold() const;
    void tell_unguarded_prompts();

    void read_turns();
    [[nodiscard]] static bool is_plain_value(std::string_view words);
    [[nodiscard]] bool turns_write(std::string_view literal) const;
    void check_turns();
    void read_thoughts();
    [[nodiscard]] bool has_known_calls() const;
    [[nodiscard]] bool has_known_conditions(const template_part& thought) const;
    [[nodiscard]] bool applies(const template_part& part, std::string_view code) const;

    void read_system();
    void read_tools();
    [[nodiscard]] std::optional<chatml_facts::tool_list> tool_list(bool has_system) const;
    [[nodiscard]] std::optional<part_list> beginning(bool has_tools, bool has_system) const;

    [[nodiscard]] bool is_over_tools(const template_part& part) const {
        return !part.loops.empty() && outline_.loops()[part.loops[0]] == "tools";
    }

    template_outline outline_;
    chatml_facts facts_;
    std::string trouble_;
    std::vector<std::string> notes_;
    part_list prompt_parts_;
    part_list beginning_; ///< outside of the loop over messages
    part_list turns_;     ///< within
    part_list defaults_;  ///< within, and only without a system's message
};

/// Which part is for what.
inline void chatml_reader::sort_parts() {
    const template_world unprompted(outline_, {.is_prompted = false});
    const template_world led(outline_, {.has_system = true});
    for (const template_part& part : outline_.parts()) {
        if (!part.is_literal && part.text == "bos_token") {
            continue; // chat_template::open() sees to it
        }
        if (unprompted.hold(part.guards) == false) {
            prompt_parts_.push_back(&part);
        } else if (part.loops.empty() || is_over_tools(part)) {
            beginning_.push_back(&part);
        } else if (part.is_literal && part.text.starts_with(system_header) && led.hold(part.guards) == false) {
            defaults_.push_back(&part);
        } else {
            turns_.push_back(&part);
        }
    }
}

/// What the template does if it is not told whether to think.
inline std::optional<template_input> chatml_reader::untold() const {
    template_input made{.is_prompted = true};
    for (const template_alias& alias : outline_.aliases()) {
        if (alias.name != "enable_thinking") {
            continue;
        }
        const std::string value = spelled(alias.value);
        const bool is_default = value.starts_with("enable_thinking|default(");
        const template_world told(outline_, {.enables_thinking = true, .sets_thinking = true});
        const bool is_for_untold = told.hold(alias.guards) == false && (value == "true" || value == "false");
        if (!(is_default && alias.guards.empty()) && !is_for_untold) {
            return std::nullopt;
        }
        made.sets_thinking = true;
        made.enables_thinking = value == "true" || value == "enable_thinking|default(true)";
    }
    return made;
}

/// What is written after the header of an answer; nullopt and trouble where that is not known.
inline std::optional<std::string> chatml_reader::prompt(const template_input& given) {
    const template_world world(outline_, given);
    std::string made;
    std::span<const template_guard> shared; // whether there is a prompt may depend on more than is known here
    for (const template_part* part : prompt_parts_) {
        std::span<const template_guard> own(part->guards);
        const bool is_inside = own.size() >= shared.size() && std::equal(shared.begin(), shared.end(), own.begin());
        if (world.hold(own) == false) {
            continue;
        }
        own = is_inside ? own.subspan(shared.size()) : own;
        const bool is_sure = made.empty() || world.hold(own).has_value();
        if (!part->is_literal || !is_sure) {
            trouble_ = sentence({"what it prompts answers with is not known: ", quoted{part->text}});
            return std::nullopt;
        }
        shared = made.empty() ? std::span<const template_guard>(part->guards) : shared;
        made += part->text;
    }
    if (made.empty()) {
        return made; // the template prompts for nothing: the header alone, as the format has it
    }
    if (!made.starts_with(answer_header)) {
        trouble_ = sentence({"it prompts answers with ", quoted{made}});
        return std::nullopt;
    }
    return made.substr(answer_header.size());
}

inline void chatml_reader::read_prompts() {
    const auto by_itself = untold();
    if (!by_itself) {
        trouble_ = "it sets enable_thinking in a way that is not known";
        return;
    }
    const std::array<template_input, 3> given{
        *by_itself, template_input{.is_prompted = true, .enables_thinking = true, .sets_thinking = true},
        template_input{.is_prompted = true, .enables_thinking = false, .sets_thinking = true}};
    for (std::size_t i = 0; i < given.size(); ++i) {
        auto made = prompt(given[i]);
        if (!made) {
            return;
        }
        facts_.prompts[i] = *std::move(made);
    }
    if (!outline_.mentions("enable_thinking")) {
        tell_unguarded_prompts();
    }
}

/// A template that cannot be told: its one prompt says what it does, and Qwen3's other prompt does the opposite.
inline void chatml_reader::tell_unguarded_prompts() {
    const std::string& written = facts_.prompt(chat_thinking::by_template);
    auto& on = facts_.prompts[static_cast<std::size_t>(chat_thinking::on)];
    auto& off = facts_.prompts[static_cast<std::size_t>(chat_thinking::off)];
    if (written.find("</think>") != std::string::npos) {
        on.clear();
    } else if (written.find("<think>") != std::string::npos || outline_.mentions(".split('</think>')")) {
        off = no_thought;
    }
}

/// Whether turns may write these characters.
inline bool chatml_reader::turns_write(std::string_view literal) const {
    for (const template_part* part : turns_) {
        if (part->is_literal && part->text.find(literal) != std::string::npos) {
            return true;
        }
    }
    return false;
}

inline void chatml_reader::read_turns() {
    facts_.has_calls = has_known_calls();
    facts_.parts_thoughts = turns_write("\n<tool_call>\n{\"name\": \"");
    facts_.results_are_no_question = outline_.mentions(".startswith('<tool_response>')");
    facts_.begins_asked = !outline_.mentions("=messages|length-1");
    const bool names_tool = outline_.mentions("'tool'");
    for (const template_part* part : turns_) {
        const bool is_for_all = part->text.ends_with(".role") && !applies(*part, ".role==");
        facts_.has_other_roles = facts_.has_other_roles || (is_for_all && (facts_.has_calls || !names_tool));
    }
    read_thoughts();
    check_turns();
}

/// Whether one of the conditions under which a part is written has these characters.
inline bool chatml_reader::applies(const template_part& part, std::string_view code) const {
    return std::any_of(part.guards.begin(), part.guards.end(), [&](const template_guard& guard) {
        return guard.holds && spelled(outline_.conditions()[guard.condition]).find(code) != std::string::npos;
    });
}

/// Whether calls and results are written as Qwen's templates do it. A line end is before each call, before the first
/// only if there is content: Qwen3 asks for both there; Qwen2.5 always writes it, and the one before the content only
/// if there is content.
inline bool chatml_reader::has_known_calls() const {
    bool is_parted = false;
    const bool is_first_parted = turns_write("\n<tool_call>\n{\"name\": \"");
    for (const template_part* part : turns_) {
        const bool is_line_end = part->is_literal && part->text == "\n";
        const bool is_in_calls = part->loops.size() > 1;
        is_parted = is_parted || (is_line_end && (is_first_parted ? applies(*part, "content")
                                                                  : is_in_calls && applies(*part, "loop.first")));
    }
    return is_parted && outline_.mentions(".role=='tool'") && turns_write("<tool_call>\n{\"name\": \"") &&
           turns_write("\", \"arguments\": ") && turns_write("}\n</tool_call>") && turns_write("<|im_start|>user") &&
           !turns_write("<|im_start|>tool") && turns_write("\n<tool_response>\n") && turns_write("\n</tool_response>");
}

inline void chatml_reader::read_thoughts() {
    const bool splits = outline_.mentions(".split('</think>')");
    bool is_known = true;
    for (const template_part* part : turns_) {
        if (part->is_literal && part->text.find("<think>") != std::string::npos) {
            facts_.thoughts = thought_rule::since_question;
            facts_.thinks_always = !applies(*part, "loop.last or");
            is_known = is_known && splits && has_known_conditions(*part);
        }
        const bool is_raw = splits && part->text.ends_with(".content") && applies(*part, "=='assistant'");
        is_known = is_known && !is_raw;
    }
    if (facts_.thoughts == thought_rule::text && splits) {
        facts_.thoughts = thought_rule::dropped;
        facts_.strips_answers = !outline_.mentions("'</think>'in");
    }
    if (!is_known) {
        notes_.push_back("when it writes thoughts of earlier answers is not known; they are written since the last "
                         "question, as Qwen3's template does");
    }
}

/// Whether a thought is written for answers since the last question, and there always or for the last one and those
/// that have one.
inline bool chatml_reader::has_known_conditions(const template_part& thought) const {
    return applies(thought, "loop.index0>") &&
           std::all_of(thought.guards.begin(), thought.guards.end(), [this](const template_guard& guard) {
               const std::string condition = spelled(outline_.conditions()[guard.condition]);
               const auto has = [&](std::string_view code) { return condition.find(code) != std::string::npos; };
               return !guard.holds || has(".role==") || has("loop.last or") || condition == "true" ||
                      (has("loop.index0>") && !has(" and") && !has("loop.last"));
           });
}

/// Tells of what the turns may write that is not known.
inline void chatml_reader::check_turns() {
    if (outline_.has_macros()) {
        notes_.push_back("what its macros write is not known");
    }
    constexpr std::array<std::string_view, 17> known{"<|im_start|>",
                                                     "<|im_end|>",
                                                     "<tool_call>\n{\"name\": \"",
                                                     "\", \"arguments\": ",
                                                     "}\n</tool_call>",
                                                     "<think>\n",
                                                     "\n</think>\n\n",
                                                     "<tool_response>\n",
                                                     "\n</tool_response>",
                                                     "<think>",
                                                     "</think>",
                                                     "system",
                                                     "user",
                                                     "assistant",
                                                     "tool",
                                                     "\n",
                                                     ""};
    for (const template_part* part : turns_) {
        std::string_view rest = part->is_literal ? std::string_view(part->text) : std::string_view{};
        while (!rest.empty()) {
            const auto next =
                std::find_if(known.begin(), known.end(), [&](auto text) { return rest.starts_with(text); });
            if (next->empty()) {
                notes_.push_back(sentence({"it may write ", quoted{rest}, ", which is not written"}));
                break;
            }
            rest.remove_prefix(next->size());
        }
        if (!part->is_literal && !is_plain_value(part->text)) {
            notes_.push_back(sentence({"it may write ", quoted{part->text}, ", which is written as it is given"}));
        }
    }
}

/// Whether an expression is a role, a content, a thought or a part of a call as it is, line ends around it aside.
inline bool chatml_reader::is_plain_value(std::string_view words) {
    constexpr std::array<std::string_view, 4> endings{"|tojson", ".strip('\n')", ".lstrip('\n')", ".rstrip('\n')"};
    for (const std::string_view ending : endings) {
        words.remove_suffix(words.ends_with(ending) ? ending.size() : 0);
    }
    return std::all_of(words.begin(), words.end(), [](char c) { return is_word_character(c) || c == '.'; });
}

/// What is written in front of the turns; nullopt if that depends on what is not known.
inline std::optional<chatml_reader::part_list> chatml_reader::beginning(bool has_tools, bool has_system) const {
    const template_world world(outline_, {.has_tools = has_tools, .has_system = has_system, .is_prompted = false});
    part_list made;
    for (const template_part* part : beginning_) {
        const auto holds = world.hold(part->guards);
        if (!holds) {
            return std::nullopt;
        }
        if (*holds) {
            made.push_back(part);
        }
    }
    return made;
}

/// The system's turn without tools, if it is not one like the others.
inline void chatml_reader::read_system() {
    const auto joined = [](const part_list& parts) {
        std::string made;
        for (const template_part* part : parts) {
            made.append(part->is_literal ? part->text : part->text == "messages[0].content" ? "\x01" : "\x02");
        }
        return made;
    };
    const auto led = beginning(false, true);
    const auto bare = beginning(false, false);
    const std::string given = led ? joined(*led) : "\x02";
    std::string own = bare ? joined(*bare) : "\x02";
    own = own.empty() && !defaults_.empty() ? joined(defaults_) : own;
    const bool is_known = given.empty() || given == sentence({system_header, "\x01", turn_end});
    const bool is_turn = own.starts_with(system_header) && own.ends_with(turn_end) &&
                         own.find_first_of("\x01\x02") == std::string::npos &&
                         own.find(turn_begin, 1) == std::string::npos;
    if (!is_known || (!own.empty() && !is_turn)) {
        notes_.push_back("what it writes in front of the messages is not known and not written");
    } else if (!own.empty()) {
        facts_.default_system = own;
        notes_.push_back("it has a system prompt of its own, which an own system message replaces");
    }
}

inline void chatml_reader::read_tools() {
    if (!outline_.mentions("tools")) {
        facts_.why_no_tools = "its template has no place for tools";
        return;
    }
    auto led = tool_list(true);
    const auto bare = tool_list(false);
    const bool is_one = led && bare && led->before_each == bare->before_each && led->after_each == bare->after_each &&
                        led->end == bare->end;
    if (!is_one || !facts_.has_calls) {
        facts_.why_no_tools = !is_one ? "how its template lists tools is not known"
                                      : "how its template writes calls of tools is not known";
        notes_.push_back(facts_.why_no_tools);
        return;
    }
    led->without_system = bare->without_system;
    facts_.tools = *std::move(led);
}

/// What is around the list of tools: `after_system` with, `without_system` without a system's message.
inline std::optional<chatml_facts::tool_list> chatml_reader::tool_list(bool has_system) const {
    const auto parts = beginning(true, has_system);
    chatml_facts::tool_list made;
    std::string before;
    bool is_listed = false;
    for (const template_part* part : parts ? *parts : part_list{}) {
        const bool in_list = is_over_tools(*part);
        const bool is_tool = in_list && !is_listed && part->text.ends_with("|tojson") && !part->is_literal;
        const bool is_content = !in_list && before == system_header && part->text == "messages[0].content";
        if (!part->is_literal && !is_tool && !is_content) {
            return std::nullopt;
        }
        std::string& place = in_list ? (is_listed ? made.after_each : made.before_each) : is_listed ? made.end : before;
        place.append(part->is_literal ? part->text : is_content ? "\x01" : "");
        is_listed = is_listed || is_tool;
    }
    const std::string header = sentence({system_header, has_system ? "\x01" : ""});
    if (!is_listed || !before.starts_with(header) || !made.end.ends_with(turn_end)) {
        return std::nullopt;
    }
    (has_system ? made.after_system : made.without_system) = before.substr(header.size());
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
