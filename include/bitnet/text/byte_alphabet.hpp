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

/// Writes the bytes that `spelling` stands for to `out`, which has room for spelling.size() bytes.
/// \return how many; nullopt if a character is not in the alphabet or not UTF-8.
[[nodiscard]] inline std::optional<std::size_t> decode(std::string_view spelling, char* out) noexcept {
    std::size_t written = 0;
    for (std::size_t i = 0; i < spelling.size(); ++i) {
        std::size_t character = static_cast<unsigned char>(spelling[i]);
        if (character >= 0x80) { // the alphabet ends at U+0143: two bytes are the most
            const unsigned next = i + 1 < spelling.size() ? static_cast<unsigned char>(spelling[i + 1]) : 0;
            if (character < 0xc2 || character > 0xc5 || (next & 0xc0u) != 0x80) {
                return std::nullopt;
            }
            character = ((character & 0x1f) << 6) | (next & 0x3fu);
            ++i;
        }
        if (character >= size || bytes[character] < 0) {
            return std::nullopt;
        }
        out[written++] = static_cast<char>(static_cast<unsigned char>(bytes[character]));
    }
    return written;
}
} // namespace byte_alphabet

} // namespace bitnet::inline BITNET_ABI::detail

#endif
