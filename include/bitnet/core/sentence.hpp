// SPDX-License-Identifier: MIT
// sentence: the text of an error message, joined out of line from texts and numbers.
#pragma once

#include <bitnet/core/config.hpp>

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// A text as it is, or an integer in decimal. Borrows the text.
class sentence_part {
public:
    sentence_part(std::string_view text) noexcept : text_(text) {}
    sentence_part(const char* text) noexcept : text_(text) {}
    sentence_part(const std::string& text) noexcept : text_(text) {}
    template <std::integral Number>
    requires(!std::same_as<Number, bool> && !std::same_as<Number, char>)
    sentence_part(Number number) noexcept
        : magnitude_(number < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(number)
                                : static_cast<std::uint64_t>(number)),
          kind_(number < 0 ? kind::negative : kind::positive) {}

    /// Appends it to `out`.
    void append_to(std::string& out) const {
        if (kind_ == kind::text) {
            out.append(text_);
            return;
        }
        char digits[21];
        char* const end = digits + sizeof digits;
        char* begin = end;
        std::uint64_t rest = magnitude_;
        do {
            *--begin = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest != 0);
        if (kind_ == kind::negative) {
            *--begin = '-';
        }
        out.append(begin, end);
    }

private:
    enum class kind : unsigned char { text, positive, negative };

    std::string_view text_;
    std::uint64_t magnitude_ = 0;
    kind kind_ = kind::text;
};

/// All parts, one after another: sentence({file, ": ", rows, " rows in the file"}). A call compiles to less code than
/// `+` and std::to_string, which are inlined wherever they are used.
[[nodiscard]] inline std::string sentence(std::initializer_list<sentence_part> parts) {
    std::string made;
    for (const sentence_part& part : parts) {
        part.append_to(made);
    }
    return made;
}

} // namespace bitnet::inline BITNET_ABI
