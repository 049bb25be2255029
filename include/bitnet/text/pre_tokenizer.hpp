// SPDX-License-Identifier: MIT
// Splitters: how tokenizer families cut text into pieces before merging, each written by hand from its pattern.
#ifndef BITNET_TEXT_PRE_TOKENIZER_HPP
#define BITNET_TEXT_PRE_TOKENIZER_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/text/splitter.hpp>
#include <bitnet/text/unicode_classes.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Cuts text as LLaMA-3 does, with numbers of up to `Digits` characters. Borrows the text.
///
/// The pattern, first alternative first, each greedy, classes by Unicode 16.0:
///
///     (?i:'s|'t|'re|'ve|'m|'ll|'d) | [^\r\n\p{L}\p{N}]?\p{L}+ | \p{N}{1,Digits} | ' '?[^\s\p{L}\p{N}]+[\r\n]*
///     | \s*[\r\n]+ | \s+(?!\S) | \s+
///
/// Case folding makes U+017F (long s) an s. A byte that is not UTF-8 is a character of no class.
/// Cost: linear, every byte is read at most four times; allocates nothing.
/// Proven for LLaMA-3 by the golden files in tests/text/tokenizer_test.cpp, among them every scalar value in context.
template <std::size_t Digits> class word_pattern {
public:
    /// Where the piece that starts at `begin` ends. \pre begin < text.size()
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t begin) noexcept {
        const auto run_end = [text](std::size_t i, char_class kind, std::size_t most = SIZE_MAX) noexcept {
            return pre_tokenizing::run_end(text, i, kind, most);
        };
        if (text[begin] == '\'') {
            if (const std::size_t size = contraction_size(text.substr(begin + 1))) {
                return begin + 1 + size;
            }
        }
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, begin);
        const std::size_t second = begin + first.size;
        if (first.kind == char_class::letter) {
            return run_end(second, char_class::letter);
        }
        if (first.kind == char_class::number) {
            return run_end(second, char_class::number, Digits - 1);
        }
        if (!pre_tokenizing::is_line_end(text[begin])) {
            if (const std::size_t end = run_end(second, char_class::letter); end != second) {
                return end;
            }
        }
        const std::size_t symbols = text[begin] == ' ' ? second : begin;
        if (const std::size_t end = run_end(symbols, char_class::other); end != symbols) {
            return line_ends_end(text, end);
        }
        return pre_tokenizing::white_space_end<true>(text, begin);
    }

private:
    /// Bytes after the apostrophe that belong to an English contraction; 0 if it is none.
    [[nodiscard]] static constexpr std::size_t contraction_size(std::string_view rest) noexcept {
        const auto lower = [rest](std::size_t i) { return i < rest.size() ? rest[i] | 0x20 : 0; };
        const int first = lower(0);
        if (first == 's' || first == 't' || first == 'm' || first == 'd') {
            return 1;
        }
        const int second = lower(1);
        const bool two = ((first == 'r' || first == 'v') && second == 'e') || (first == 'l' && second == 'l');
        return two || rest.starts_with("\xc5\xbf") ? 2 : 0;
    }

    [[nodiscard]] static constexpr std::size_t line_ends_end(std::string_view text, std::size_t i) noexcept {
        while (i < text.size() && pre_tokenizing::is_line_end(text[i])) {
            ++i;
        }
        return i;
    }
};

using llama3_splitter = consecutive_splitter<word_pattern<3>>;
using qwen2_splitter = consecutive_splitter<word_pattern<1>>;

/// Cuts text as GPT-2 does (Radford et al. 2019):
///
///     's|'t|'re|'ve|'m|'ll|'d | ' '?\p{L}+ | ' '?\p{N}+ | ' '?[^\s\p{L}\p{N}]+ | \s+(?!\S) | \s+
///
/// Cost: linear, allocates nothing.
struct gpt2_pattern {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t begin) noexcept {
        if (text[begin] == '\'') {
            for (const std::string_view ending : {"s", "t", "re", "ve", "m", "ll", "d"}) {
                if (text.substr(begin + 1).starts_with(ending)) {
                    return begin + 1 + ending.size();
                }
            }
        }
        const std::size_t word = text[begin] == ' ' ? begin + 1 : begin;
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, word);
        if (first.size == 0 || first.kind == char_class::space) {
            return pre_tokenizing::white_space_end<false>(text, begin);
        }
        return pre_tokenizing::run_end(text, word + first.size, first.kind);
    }
};
using gpt2_splitter = consecutive_splitter<gpt2_pattern>;

/// What the splitters below isolate; see isolating_splitter.
namespace patterns {
/// `[\p{P}...]+`, plus the characters of `Symbols`.
template <char... Symbols> struct punctuation {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(
            text, i, [](char32_t c) { return ((c == static_cast<char32_t>(Symbols)) || ...) || is_punctuation(c); });
    }
};
/// `\p{N}{1,Most}`
template <std::size_t Most> struct numbers {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(text, i, char_class::number, Most);
    }
};
/// `[0-9][0-9][0-9]`
struct three_digits {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        const bool three = text.size() - i >= 3 && pre_tokenizing::is_ascii_digit(text[i]) &&
                           pre_tokenizing::is_ascii_digit(text[i + 1]) && pre_tokenizing::is_ascii_digit(text[i + 2]);
        return three ? i + 3 : i;
    }
};
/// `[0-9]`
struct digit {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::is_ascii_digit(text[i]) ? i + 1 : i;
    }
};
/// `[\r\n]`
struct line_end {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::is_line_end(text[i]) ? i + 1 : i;
    }
};
/// `\s?`, then at least one character that `Pattern` takes
template <class Pattern> struct spaced {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        const pre_tokenizing::character first = pre_tokenizing::character_at(text, i);
        const std::size_t begin = first.kind == char_class::space ? i + first.size : i;
        const std::size_t end = begin < text.size() ? Pattern::end(text, begin) : begin;
        return end != begin ? end : i;
    }
};
/// `\p{L}+`
struct letters {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(text, i, char_class::letter);
    }
};
/// DeepSeek's range of ideographs and other scripts of three bytes a character
struct ideographs {
    [[nodiscard]] static constexpr std::size_t end(std::string_view text, std::size_t i) noexcept {
        return pre_tokenizing::run_end(
            text, i, [](char32_t c) { return (c >= 0x800 && c <= 0x9fa5) || (c >= 0xac00 && c <= 0xd7ff); });
    }
};
} // namespace patterns

/// `Splitter`, then each piece cut again so that every match of `Pattern` is a piece of its own.
template <splitter Splitter, class Pattern> using then_isolate = nested_splitter<Splitter, isolating_splitter<Pattern>>;

/// Starcoder: every number character alone, the rest as GPT-2.
using starcoder_splitter = nested_splitter<isolating_splitter<patterns::numbers<1>>, gpt2_splitter>;

/// The first two steps of all Falcon models: punctuation and ASCII symbols, the rest as GPT-2.
using falcon_words =
    nested_splitter<isolating_splitter<patterns::punctuation<'$', '+', '<', '=', '>', '^', '~', '|', '`'>>,
                    gpt2_splitter>;

/// Falcon: groups of three digits are pieces of their own.
using falcon_splitter = then_isolate<falcon_words, patterns::three_digits>;

/// Falcon3 and Falcon-E: every digit is a piece of its own. So their tokenizer.json says, and so bitnet.cpp reads their
/// GGUF files; ik_llama.cpp and llama.cpp take LLaMA-3's pattern for these.
using falcon3_splitter = then_isolate<falcon_words, patterns::digit>;

/// What llama.cpp uses if a file names no splitter, or "default".
using default_splitter = then_isolate<
    then_isolate<nested_splitter<isolating_splitter<patterns::punctuation<'$', '+', '<', '=', '>', '^', '~', '|'>>,
                                 gpt2_splitter>,
                 patterns::numbers<SIZE_MAX>>,
    patterns::three_digits>;

/// DeepSeek-Coder: line ends, words, punctuation, ideographs and number characters, each in a step of its own.
using deepseek_coder_splitter = then_isolate<
    then_isolate<then_isolate<then_isolate<isolating_splitter<patterns::line_end>, patterns::spaced<patterns::letters>>,
                              patterns::spaced<patterns::punctuation<>>>,
                 patterns::ideographs>,
    patterns::numbers<1>>;

enum class pre_tokenizer_kind : std::uint8_t {
    llama3,
    qwen2,
    gpt2,
    starcoder,
    falcon,
    falcon3,
    fallback,
    deepseek_coder
};

/// Calls `use(s)` with the splitter of that kind over `text`.
template <class Use> decltype(auto) with_splitter(pre_tokenizer_kind kind, std::string_view text, Use use) {
    switch (kind) {
    case pre_tokenizer_kind::qwen2:
        return use(qwen2_splitter(text));
    case pre_tokenizer_kind::gpt2:
        return use(gpt2_splitter(text));
    case pre_tokenizer_kind::starcoder:
        return use(starcoder_splitter(text));
    case pre_tokenizer_kind::falcon:
        return use(falcon_splitter(text));
    case pre_tokenizer_kind::falcon3:
        return use(falcon3_splitter(text));
    case pre_tokenizer_kind::fallback:
        return use(default_splitter(text));
    case pre_tokenizer_kind::deepseek_coder:
        return use(deepseek_coder_splitter(text));
    default:
        return use(llama3_splitter(text));
    }
}

/// What a name in tokenizer.ggml.pre means.
struct pre_tokenizer_name {
    std::string_view name;
    pre_tokenizer_kind kind;
    bool whole_pieces = false; ///< a piece that is itself a token is not merged ("ignore_merges")
};

/// The known names, with the meanings that llama.cpp gives them, but for falcon3 and falcon_e: see falcon3_splitter.
inline constexpr std::array<pre_tokenizer_name, 19> pre_tokenizer_names{{
    {"llama-bpe", pre_tokenizer_kind::llama3, true},
    {"llama3", pre_tokenizer_kind::llama3, true},
    {"llama-v3", pre_tokenizer_kind::llama3, true},
    {"falcon-h1", pre_tokenizer_kind::llama3, true},
    {"smaug-bpe", pre_tokenizer_kind::llama3},
    {"qwen2", pre_tokenizer_kind::qwen2},
    {"deepseek-r1-qwen", pre_tokenizer_kind::qwen2},
    {"gpt-2", pre_tokenizer_kind::gpt2},
    {"phi-2", pre_tokenizer_kind::gpt2},
    {"mpt", pre_tokenizer_kind::gpt2},
    {"olmo", pre_tokenizer_kind::gpt2},
    {"starcoder", pre_tokenizer_kind::starcoder},
    {"refact", pre_tokenizer_kind::starcoder},
    {"smollm", pre_tokenizer_kind::starcoder},
    {"falcon", pre_tokenizer_kind::falcon},
    {"falcon3", pre_tokenizer_kind::falcon3},
    {"falcon_e", pre_tokenizer_kind::falcon3},
    {"default", pre_tokenizer_kind::fallback},
    {"deepseek-coder", pre_tokenizer_kind::deepseek_coder},
}};

/// What `name` means; null if it is not known.
[[nodiscard]] constexpr const pre_tokenizer_name* find_pre_tokenizer(std::string_view name) noexcept {
    for (const pre_tokenizer_name& known : pre_tokenizer_names) {
        if (known.name == name) {
            return &known;
        }
    }
    return nullptr;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
