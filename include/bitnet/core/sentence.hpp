// SPDX-License-Identifier: MIT
// sentence, set_error: the text of an error message, joined out of line from texts, names and numbers.
#ifndef BITNET_CORE_SENTENCE_HPP
#define BITNET_CORE_SENTENCE_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Appends `name` in single quotes and printable ASCII: other bytes become \xHH, and what exceeds `longest` bytes
/// becomes "...". A key of 64 KiB or a terminal escape sequence in a file must not reach a log as it is.
BITNET_COLD inline void append_quoted(std::string& out, std::string_view name, std::size_t longest) {
    out += '\'';
    for (const char c : name.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            out += c;
        } else {
            const char escaped[] = {'\\', 'x', "0123456789abcdef"[byte >> 4], "0123456789abcdef"[byte & 15]};
            out.append(escaped, sizeof escaped);
        }
    }
    out.append(name.size() > longest ? "...'" : "'");
}

/// A name out of a file as a part of a sentence: at most 80 bytes of it, in quotes, as append_quoted() writes them.
struct quoted {
    std::string_view name;
};

/// A text as it is, a quoted name, or an integer in decimal. Borrows the text.
class sentence_part {
public:
    sentence_part(std::string_view text) noexcept : text_(text.data()), value_(text.size()) {}
    sentence_part(const char* text) noexcept : sentence_part(std::string_view(text)) {}
    sentence_part(const std::string& text) noexcept : sentence_part(std::string_view(text)) {}
    sentence_part(quoted part) noexcept : text_(part.name.data()), value_(part.name.size()), kind_(kind::quoted) {}
    template <std::integral Number>
    requires(!std::same_as<Number, bool> && !std::same_as<Number, char>) sentence_part(Number number)
    noexcept
        : value_(number < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(number)
                            : static_cast<std::uint64_t>(number)),
          kind_(number < 0 ? kind::negative : kind::positive) {}

    /// Appends it to `out`.
    BITNET_COLD void append_to(std::string& out) const {
        switch (kind_) {
        case kind::text:
            out.append(text_, to_size(value_));
            break;
        case kind::quoted:
            append_quoted(out, {text_, to_size(value_)}, 80);
            break;
        case kind::positive:
        case kind::negative:
            append_number(out);
            break;
        }
    }

private:
    enum class kind : unsigned char { text, quoted, positive, negative };

    void append_number(std::string& out) const {
        char digits[21];
        char* const end = digits + sizeof digits;
        char* begin = end;
        std::uint64_t rest = value_;
        do {
            *--begin = static_cast<char>('0' + rest % 10);
            rest /= 10;
        } while (rest != 0);
        if (kind_ == kind::negative) {
            *--begin = '-';
        }
        out.append(begin, end);
    }

    const char* text_ = nullptr;
    std::uint64_t value_; ///< the size of a text, the magnitude of a number
    kind kind_ = kind::text;
};

using sentence_parts = std::initializer_list<sentence_part>;

/// All parts, one after another: sentence({file, ": ", rows, " rows in the file"}). A call compiles to less code than
/// `+` and std::to_string, which are inlined wherever they are used.
[[nodiscard]] BITNET_COLD inline std::string sentence(sentence_parts parts) {
    std::string made;
    for (const sentence_part& part : parts) {
        part.append_to(made);
    }
    return made;
}

/// Makes `failure` the error of that code whose sentence is `place` and then `what`. \return false: for functions that
/// keep their error in a member and return whether they worked, which takes less code than returning result<void>.
/// An error whose sentence finds no memory still has its code.
BITNET_COLD inline bool set_error(error& failure, errc code, sentence_parts place, sentence_parts what) noexcept {
    failure.code = code;
    const bool is_told = has_memory_for([&] {
        failure.message.clear();
        for (const sentence_parts parts : {place, what}) {
            for (const sentence_part& part : parts) {
                part.append_to(failure.message);
            }
        }
    });
    if (!is_told) {
        failure.message = no_memory_text();
    }
    return false;
}

/// The error of that code and that sentence, for functions that are not guarded(): needs no memory to have its code.
[[nodiscard]] BITNET_COLD inline error error_saying(errc code, sentence_parts what) noexcept {
    error made;
    set_error(made, code, what, {});
    return made;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
