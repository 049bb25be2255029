// SPDX-License-Identifier: MIT
// The byte alphabet of GPT-2: how vocabulary files spell arbitrary bytes as printable characters.
#ifndef BITNET_TEXT_BYTE_ALPHABET_HPP
#define BITNET_TEXT_BYTE_ALPHABET_HPP

#include <bitnet/core/config.hpp>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// 256 characters, one per byte. Printable characters of Latin-1 (21-7E, A1-AC, AE-FF) mean the byte of their number;
/// the other 68 bytes, ascending, are U+0100 to U+0143. Source: Radford et al. 2019, the encoder published with GPT-2.
namespace byte_alphabet {
inline constexpr std::size_t size = 0x144; ///< one past the largest character

[[nodiscard]] constexpr bool stands_for_itself(unsigned byte) noexcept {
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad);
}

/// The byte of each character below `size`; -1 if the character is not in the alphabet.
inline constexpr std::array<std::int16_t, size> bytes = [] {
    std::array<std::int16_t, size> table{};
    table.fill(-1);
    std::size_t next = 0x100;
    for (unsigned byte = 0; byte < 256; ++byte) {
        table[stands_for_itself(byte) ? byte : next++] = static_cast<std::int16_t>(byte);
    }
    return table;
}();

struct spelled_character {
    std::size_t value;
    std::size_t width; ///< bytes in UTF-8; 0: it is not in the alphabet or not UTF-8
};

/// The character that `spelling` begins with. \pre !spelling.empty()
[[nodiscard]] inline spelled_character first_character(std::string_view spelling) noexcept {
    const std::size_t first = static_cast<unsigned char>(spelling[0]);
    if (first < 0x80) {
        return {first, bytes[first] < 0 ? std::size_t{0} : 1};
    }
    const unsigned next = spelling.size() > 1 ? static_cast<unsigned char>(spelling[1]) : 0;
    if (first < 0xc2 || first > 0xc5 || (next & 0xc0u) != 0x80) { // the alphabet ends at U+0143: two bytes are the most
        return {0, 0};
    }
    const std::size_t value = ((first & 0x1f) << 6) | (next & 0x3fu);
    return {value, value >= bytes.size() || bytes[value] < 0 ? std::size_t{0} : 2};
}

/// Whether an added token, which files spell as it is or in the alphabet, can only be meant in the alphabet: all its
/// characters are in it, and they all stand for bytes that cannot be printed, or one for a space (U+0120) or a line
/// feed (U+010A). Other words of Latin letters may be meant as they are.
[[nodiscard]] inline bool spells_unprintable(std::string_view spelling) noexcept {
    constexpr std::size_t line_feed = 0x10a;
    constexpr std::size_t space = 0x120;
    bool is_printable = false;
    bool is_known = false;
    while (!spelling.empty()) {
        const auto [character, width] = first_character(spelling);
        if (width == 0) {
            return false;
        }
        is_printable = is_printable || character < 0x100;
        is_known = is_known || character == line_feed || character == space;
        spelling.remove_prefix(width);
    }
    return is_known || !is_printable;
}

/// Writes the bytes that `spelling` stands for to `out`, which has room for spelling.size() bytes.
/// \return how many; nullopt if a character is not in the alphabet or not UTF-8.
[[nodiscard]] inline std::optional<std::size_t> decode(std::string_view spelling, char* out) noexcept {
    std::size_t written = 0;
    while (!spelling.empty()) {
        const auto [character, width] = first_character(spelling);
        if (width == 0) {
            return std::nullopt;
        }
        out[written++] = static_cast<char>(static_cast<unsigned char>(bytes[character]));
        spelling.remove_prefix(width);
    }
    return written;
}
} // namespace byte_alphabet

} // namespace bitnet::inline BITNET_ABI::detail

#endif
