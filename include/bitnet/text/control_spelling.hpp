// SPDX-License-Identifier: MIT
// control_spelling: control tokens that a converter spelled with BOS before or EOS after them, as they are meant.
#ifndef BITNET_TEXT_CONTROL_SPELLING_HPP
#define BITNET_TEXT_CONTROL_SPELLING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/io/gguf_value.hpp>
#include <bitnet/text/token_kind.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// Some converters encode and decode every control token to find its spelling, and so get what the tokenizer puts
/// around a text, too: "<|begin_of_text|><|eot_id|>" for <|eot_id|>, as in GGUF files that bitnet.cpp's setup makes of
/// Llama3-8B-1.58, or "<|im_end|><|endoftext|>" where EOS is appended. BOS and EOS themselves may be there twice.
/// Borrows the file.
class control_spelling {
public:
    /// What is around the control tokens of `file`, if anything. Cost: four passes over the spellings.
    /// \param spellings tokenizer.ggml.tokens, an array of strings \param kinds of the same tokens
    [[nodiscard]] static control_spelling of(const gguf_file& file, const gguf_value& spellings,
                                             std::span<const token_kind> kinds) {
        control_spelling made;
        made.in_front_ = spelled_in(file, "tokenizer.ggml.bos_token_id", spellings, kinds);
        made.after_ = spelled_in(file, "tokenizer.ggml.eos_token_id", spellings, kinds);
        made.unwrap_marks();
        made.keep_what_is_found(spellings, kinds);
        return made;
    }

    /// How many tokens are not spelled as they are meant.
    [[nodiscard]] std::size_t count() const noexcept { return count_; }

    /// What a token of `kind` with this spelling is meant to be: a part of it.
    [[nodiscard]] std::string_view meant(token_kind kind, std::string_view spelling) const noexcept {
        if (is_spelled(kind) && has_in_front(spelling)) {
            spelling.remove_prefix(in_front_.size());
            spelling.remove_prefix(spelling.size() > 1 && spelling.starts_with(' ') ? 1 : 0);
        }
        if (is_spelled(kind) && has_after(spelling)) {
            spelling.remove_suffix(after_.size());
            spelling.remove_suffix(spelling.size() > 1 && spelling.ends_with(' ') ? 1 : 0);
        }
        return spelling;
    }

    /// A sentence for people. \pre count() != 0
    [[nodiscard]] std::string note() const {
        const std::string front = in_front_.empty() ? "" : sentence({quoted{in_front_}, " in front"});
        const std::string end = after_.empty() ? "" : sentence({quoted{after_}, " at the end"});
        return sentence({"control tokens are spelled with ", front, front.empty() || end.empty() ? "" : " and ", end,
                         ", such as ", quoted{example_}, "; ", count_, " of them are read without it"});
    }

private:
    control_spelling() noexcept = default;

    /// Whether tokens of that kind are in the file as people spell them.
    [[nodiscard]] static bool is_spelled(token_kind kind) noexcept {
        return kind == token_kind::control || kind == token_kind::user_defined || kind == token_kind::unknown;
    }

    /// The spelling of the token under `key`; empty if there is none that could be around others.
    [[nodiscard]] static std::string_view spelled_in(const gguf_file& file, std::string_view key,
                                                     const gguf_value& spellings, std::span<const token_kind> kinds) {
        const auto id = file.get_or<std::int64_t>(key, -1);
        std::int64_t i = 0;
        for (const std::string_view spelling : spellings.strings()) {
            if (id && i++ == *id) {
                return is_spelled(kinds[static_cast<std::size_t>(*id)]) ? spelling : std::string_view{};
            }
        }
        return {};
    }

    [[nodiscard]] bool has_in_front(std::string_view spelling) const noexcept {
        return !in_front_.empty() && spelling.size() > in_front_.size() && spelling.starts_with(in_front_);
    }
    [[nodiscard]] bool has_after(std::string_view spelling) const noexcept {
        return !after_.empty() && spelling.size() > after_.size() && spelling.ends_with(after_);
    }

    /// BOS and EOS have around them what the others have: twice themselves, or BOS BOS EOS and BOS EOS EOS.
    void unwrap_marks() noexcept {
        const std::size_t three_bos = 2 * in_front_.size() - (std::min)(after_.size(), 2 * in_front_.size());
        const std::size_t three_eos = 2 * after_.size() - (std::min)(in_front_.size(), 2 * after_.size());
        const std::string_view bos = in_front_.substr(0, three_bos / 3);
        const std::string_view eos = after_.substr(after_.size() - three_eos / 3);
        const bool is_both = !bos.empty() && !eos.empty() && in_front_.size() == 2 * bos.size() + eos.size() &&
                             in_front_.substr(bos.size(), bos.size()) == bos && in_front_.ends_with(eos) &&
                             after_.starts_with(bos) && after_.substr(bos.size(), eos.size()) == eos;
        in_front_ = is_both ? bos : halved(in_front_);
        after_ = is_both ? eos : halved(after_);
    }
    /// Half of a text that is the same twice, else all of it; nothing if that is so short that it may well begin
    /// others.
    [[nodiscard]] static std::string_view halved(std::string_view spelling) noexcept {
        constexpr std::size_t shortest = 3; // "<s>"
        const std::string_view half = spelling.substr(spelling.size() / 2);
        const bool is_twice = spelling.size() == 2 * half.size() && spelling.starts_with(half);
        const std::string_view mark = is_twice ? half : spelling;
        return mark.size() >= shortest ? mark : std::string_view{};
    }

    /// Forgets a mark that is around no other token, such as a text that repeats itself, and counts.
    void keep_what_is_found(const gguf_value& spellings, std::span<const token_kind> kinds) noexcept {
        bool is_in_front = false;
        bool is_after = false;
        const auto for_each_changed = [&](auto use) {
            std::size_t i = 0;
            for (const std::string_view spelling : spellings.strings()) {
                const std::string_view rest = meant(kinds[i++], spelling);
                if (rest.size() != spelling.size()) {
                    use(spelling, rest);
                }
            }
        };
        for_each_changed([&](std::string_view spelling, std::string_view rest) {
            if (rest != in_front_ && rest != after_) {
                is_in_front = is_in_front || has_in_front(spelling);
                is_after = is_after || has_after(spelling);
                example_ = spelling;
            }
        });
        in_front_ = is_in_front ? in_front_ : std::string_view{};
        after_ = is_after ? after_ : std::string_view{};
        for_each_changed([this](std::string_view, std::string_view) { ++count_; });
    }

    std::string_view in_front_; ///< BOS, or nothing
    std::string_view after_;    ///< EOS, or nothing
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
