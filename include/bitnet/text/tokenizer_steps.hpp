// SPDX-License-Identifier: MIT
// What the steps of a tokenizer.json (normalizer, pre_tokenizer, post_processor) amount to.
#ifndef BITNET_TEXT_TOKENIZER_STEPS_HPP
#define BITNET_TEXT_TOKENIZER_STEPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/text/pre_tokenizer.hpp>

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// One step, or a sequence of steps, of a tokenizer.json as a line of text; empty for null. Everything that changes
/// what a step does is in the line, so that equal lines are equal steps: "Split Isolated REGEX; ByteLevel".
class step_description {
public:
    [[nodiscard]] static std::string of(std::optional<json_value> step, std::string_view list) {
        std::string line;
        if (!step || step->is_null()) {
            return line;
        }
        const std::string_view type = text_of(step->find("type"));
        const auto steps = step->find(list);
        if (type != "Sequence" || !steps) {
            return describe(*step, type);
        }
        for (const json_value one : steps->elements()) {
            line.append(line.empty() ? "" : "; ").append(describe(one, text_of(one.find("type"))));
        }
        return line;
    }

private:
    [[nodiscard]] static std::string_view text_of(const std::optional<json_value>& value) noexcept {
        return value ? value->as_string().value_or("?") : std::string_view{};
    }

    [[nodiscard]] static std::string describe(json_value step, std::string_view type) {
        std::string line(type);
        for (const std::string_view key : {"behavior", "prepend_scheme", "prepend", "replacement"}) {
            if (const auto value = step.find(key)) {
                line.append(" ").append(text_of(value));
            }
        }
        // What a missing flag means: Metaspace splits, ByteLevel prefixes a space and uses its pattern.
        describe_flag(line, step, "individual_digits", false);
        describe_flag(line, step, "invert", false);
        describe_flag(line, step, "add_prefix_space", type == "ByteLevel");
        describe_flag(line, step, "use_regex", type == "ByteLevel");
        describe_flag(line, step, "split", type == "Metaspace");
        if (const auto pattern = step.find("pattern")) {
            const auto regex = pattern->find("Regex");
            line.append(" ").append(regex ? std::string(text_of(regex))
                                          : sentence({"'", text_of(pattern->find("String")), "'"}));
        }
        if (const auto content = step.find("content")) {
            line.append(" -> ").append(text_of(content));
        }
        return line;
    }

    static void describe_flag(std::string& line, json_value step, std::string_view key, bool missing) {
        const auto value = step.find(key);
        if (value ? value->as_bool().value_or(true) : missing) {
            line.append(" ").append(key);
        }
    }
};

[[nodiscard]] inline std::string describe_normalizer(std::optional<json_value> step) {
    return step_description::of(step, "normalizers");
}
[[nodiscard]] inline std::string describe_pre_tokenizer(std::optional<json_value> step) {
    return step_description::of(step, "pretokenizers");
}

/// What must be true of the tokens if a splitter omits a file's step Digits, or a part of it: no token spans a place
/// where it cuts. Digits looks at characters of the byte alphabet, in which also six bytes that are no ASCII are
/// spelled as numbers.
enum class digit_tokens : std::uint8_t {
    any,   ///< no such step
    apart, ///< Digits: no token joins a number with anything else
    /// Digits individual_digits, of which the splitter does what concerns ASCII: no token joins one of those six bytes
    /// with anything, not even with another
    single,
};

/// Whether a token, in the byte alphabet, obeys `rule`.
[[nodiscard]] inline bool keeps_digits_apart(std::string_view text, digit_tokens rule) noexcept {
    std::size_t digits = 0;
    std::size_t others = 0;
    for (std::size_t i = 0; rule != digit_tokens::any && i < text.size();) {
        const pre_tokenizing::character c = pre_tokenizing::character_at(text, i);
        const bool counts = rule == digit_tokens::apart || !pre_tokenizing::is_ascii_digit(text[i]);
        (c.kind == char_class::number && counts ? digits : others) += 1;
        i += c.size;
    }
    return digits == 0 || (others == 0 && (digits == 1 || rule == digit_tokens::apart));
}

/// Steps of a byte-level model and the splitter that cuts in the same way.
struct known_splitting {
    std::string_view steps; ///< as describe_pre_tokenizer() has them
    pre_tokenizer_kind kind;
    digit_tokens digits = digit_tokens::any;
};

/// As published with LLaMA-3, Qwen2, GPT-2, Starcoder, Falcon (all generations) and DeepSeek-Coder, and close
/// relatives.
inline constexpr std::array<known_splitting, 11> known_splittings{{
    {R"(Split Isolated (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::llama3},
    {R"(Split Isolated (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
     R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::qwen2},
    {"ByteLevel use_regex", pre_tokenizer_kind::gpt2},
    {R"(Split Isolated 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+; ByteLevel)",
     pre_tokenizer_kind::gpt2},
    {"Digits individual_digits; ByteLevel use_regex", pre_tokenizer_kind::starcoder},
    {"Punctuation Contiguous; ByteLevel use_regex; Split Isolated [0-9][0-9][0-9]", pre_tokenizer_kind::falcon},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits; Split Isolated [0-9][0-9][0-9]", pre_tokenizer_kind::falcon,
     digit_tokens::apart},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits individual_digits; Split Isolated [0-9][0-9][0-9]",
     pre_tokenizer_kind::falcon3, digit_tokens::single},
    {"Punctuation Contiguous; ByteLevel use_regex; Digits individual_digits", pre_tokenizer_kind::falcon3,
     digit_tokens::single},
    {"Punctuation Contiguous; ByteLevel use_regex; Split Isolated [0-9]", pre_tokenizer_kind::falcon3},
    {"Split Isolated [\r\n]; Split Isolated \\s?\\p{L}+; Split Isolated \\s?\\p{P}+; Split Isolated "
     "[\xe4\xb8\x80-\xe9\xbe\xa5\xe0\xa0\x80-\xe4\xb8\x80\xea\xb0\x80-\xed\x9f\xbf]+; Digits individual_digits; "
     "ByteLevel",
     pre_tokenizer_kind::deepseek_coder},
}};

/// Null if the steps are not known.
[[nodiscard]] inline const known_splitting* find_splitting(std::string_view steps) noexcept {
    for (const known_splitting& known : known_splittings) {
        if (known.steps == steps) {
            return &known;
        }
    }
    return nullptr;
}

/// The first name under which GGUF files name that splitter; empty if none does with `whole_pieces`.
[[nodiscard]] inline std::string_view name_of_splitter(pre_tokenizer_kind kind, bool whole_pieces) noexcept {
    for (const pre_tokenizer_name& known : pre_tokenizer_names) {
        if (known.kind == kind && known.whole_pieces == whole_pieces) {
            return known.name;
        }
    }
    return {};
}

/// Whether a model with byte_fallback puts a space in front of text; nullopt if its steps are not SentencePiece's.
/// (Metaspace "first" puts one in front of all text, but none after a control token; this difference is ignored.)
[[nodiscard]] inline std::optional<bool> find_space_prefix(std::string_view normalizer,
                                                           std::string_view splitting) noexcept {
    struct known {
        std::string_view normalizer;
        std::string_view splitting;
        bool prefix;
    };
    // LLaMA-2 as first published, after it was converted again (twice), and Gemma (twice).
    constexpr std::array<known, 6> all{{{"Prepend \xe2\x96\x81; Replace ' ' -> \xe2\x96\x81", "", true},
                                        {"", "Metaspace first \xe2\x96\x81", true},
                                        {"", "Metaspace always \xe2\x96\x81", true},
                                        {"", "Metaspace never \xe2\x96\x81", false},
                                        {"Replace ' ' -> \xe2\x96\x81", "", false},
                                        {"Replace ' ' -> \xe2\x96\x81", "Split MergedWithPrevious ' '", false}}};
    for (const known& k : all) {
        if (k.normalizer == normalizer && k.splitting == splitting) {
            return k.prefix;
        }
    }
    return std::nullopt;
}

/// The array `single` of TemplateProcessing, wherever it is in a post_processor; nullopt if there is none.
[[nodiscard]] inline std::optional<json_value> find_template(std::optional<json_value> step) noexcept {
    const auto is_template = [](json_value one) {
        const auto type = one.find("type");
        return type && type->as_string() == "TemplateProcessing";
    };
    if (step && is_template(*step)) {
        return step->find("single");
    }
    const auto steps = step ? step->find("processors") : std::nullopt;
    if (steps) {
        for (const json_value one : steps->elements()) {
            if (is_template(one)) {
                return one.find("single");
            }
        }
    }
    return std::nullopt;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
