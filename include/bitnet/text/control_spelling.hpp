// SPDX-License-Identifier: MIT
// control_spelling: control tokens that a converter spelled with BOS in front, or EOS behind, as they are meant.
#ifndef BITNET_TEXT_CONTROL_SPELLING_HPP
#define BITNET_TEXT_CONTROL_SPELLING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/token_kind.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Some converters encode and decode every control token to find its spelling, and so get what the tokenizer puts
/// around a text, too: "<|begin_of_text|><|eot_id|>" for <|eot_id|>, as in GGUF files that bitnet.cpp's setup makes of
/// Llama3-8B-1.58, or "<|im_end|><|endoftext|>" where EOS is appended. BOS or EOS itself may be there twice.
/// Borrows the file.
class control_spelling {
public:
    /// What is around the control tokens of `file`, if anything. Cost: three passes over the spellings.
    /// \param spellings tokenizer.ggml.tokens, an array of strings \param kinds of the same tokens
    [[nodiscard]] static control_spelling of(const gguf_file& file, const gguf_value& spellings,
                                             std::span<const token_kind> kinds) {
        const std::string_view bos = mark_of(file, "tokenizer.ggml.bos_token_id", spellings, kinds);
        const std::string_view eos = mark_of(file, "tokenizer.ggml.eos_token_id", spellings, kinds);
        const control_spelling in_front(bos, {}, spellings, kinds);
        const control_spelling behind({}, eos, spellings, kinds);
        return in_front.count_ >= behind.count_ ? in_front : behind;
    }

    /// How many tokens are not spelled as they are meant.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

    /// What a token of `kind` with this spelling is meant to be: a part of it.
    [[nodiscard]] std::string_view meant(token_kind kind, std::string_view spelling) const noexcept {
        if (!is_spelled(kind)) {
            return spelling;
        }
        std::string_view rest = spelling;
        if (!in_front_.empty() && rest.starts_with(in_front_)) {
            rest.remove_prefix(in_front_.size());
            rest.remove_prefix(rest.starts_with(' ') ? 1 : 0);
        } else if (!behind_.empty() && rest.ends_with(behind_)) {
            rest.remove_suffix(behind_.size());
            rest.remove_suffix(rest.ends_with(' ') ? 1 : 0);
        }
        return rest.empty() ? spelling : rest;
    }

    /// A sentence for people. \pre count() != 0
    [[nodiscard]] std::string note() const {
        const std::string_view where = in_front_.empty() ? " behind" : " in front";
        return sentence({"control tokens are spelled with ", quoted{in_front_.empty() ? behind_ : in_front_}, where,
                         ", such as ", quoted{example_}, "; ", count_, " of them are read without it"});
    }

private:
    control_spelling(std::string_view in_front, std::string_view behind, const gguf_value& spellings,
                     std::span<const token_kind> kinds) noexcept
        : in_front_(in_front), behind_(behind) {
        std::size_t twice = 0; // BOS or EOS itself
        std::size_t i = 0;
        for (const std::string_view spelling : spellings.strings()) {
            const std::string_view rest = meant(kinds[i++], spelling);
            if (rest.size() != spelling.size()) {
                const bool is_mark = rest == (in_front.empty() ? behind : in_front);
                twice += is_mark ? 1 : 0;
                example_ = is_mark ? example_ : spelling;
                ++count_;
            }
        }
        if (count_ == twice) { // a text that repeats itself, and is around no other token
            *this = {};
        }
    }
    control_spelling() noexcept = default;

    /// Whether tokens of that kind are in the file as people spell them.
    [[nodiscard]] static bool is_spelled(token_kind kind) noexcept {
        return kind == token_kind::control || kind == token_kind::user_defined || kind == token_kind::unknown;
    }

    /// The token under `key`, once if it is there twice; empty if there is none that could be such a mark.
    [[nodiscard]] static std::string_view mark_of(const gguf_file& file, std::string_view key,
                                                  const gguf_value& spellings, std::span<const token_kind> kinds) {
        constexpr std::size_t shortest = 3; // "<s>": a shorter text may well begin other tokens
        const auto id = file.get_or<std::int64_t>(key, -1);
        std::int64_t i = 0;
        for (const std::string_view spelling : spellings.strings()) {
            if (id && i++ == *id && is_spelled(kinds[static_cast<std::size_t>(*id)])) {
                const std::string_view half = spelling.substr(spelling.size() / 2);
                const std::string_view mark =
                    spelling.size() == 2 * half.size() && spelling.starts_with(half) ? half : spelling;
                return mark.size() >= shortest ? mark : std::string_view{};
            }
        }
        return {};
    }

    std::string_view in_front_;
    std::string_view behind_;
    std::string_view example_;
    std::size_t count_ = 0;
};

/// The spellings of all tokens of `file` as they are meant, in its bytes; empty if the file has them so, or no
/// vocabulary that can be read.
[[nodiscard]] inline std::vector<std::string_view> repaired_spellings(const gguf_file& file) {
    const gguf_value* spellings = file.find("tokenizer.ggml.tokens");
    if (spellings == nullptr || !spellings->is_array_of(gguf_type::string)) {
        return {};
    }
    const auto kinds = read_token_kinds(file, *spellings);
    if (!kinds) {
        return {};
    }
    const auto control = control_spelling::of(file, *spellings, kinds->span());
    std::vector<std::string_view> all;
    if (control.count() != 0) {
        all.reserve(kinds->size());
        for (const std::string_view spelling : spellings->strings()) {
            all.push_back(control.meant((*kinds)[all.size()], spelling));
        }
    }
    return all;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
