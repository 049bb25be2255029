// SPDX-License-Identifier: MIT
// UTF-8 by the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing beyond U+10FFFF.
#ifndef BITNET_CORE_UTF8_HPP
#define BITNET_CORE_UTF8_HPP

#include <bitnet/core/config.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Stands for a byte that is not part of well-formed UTF-8. Larger than every code point.
inline constexpr char32_t invalid_code_point = 0xffffffffu;

/// One code point and the bytes it takes; a byte that fits nowhere is {invalid_code_point, 1}.
struct decoded_code_point {
    char32_t value;
    std::uint32_t size; ///< bytes, 1 to 4
};

/// What a first byte announces. `size` 0: it can start no sequence.
struct utf8_lead {
    std::uint8_t size;
    std::uint8_t second_low;  ///< bounds of the second byte, where there is one
    std::uint8_t second_high; ///< (every further byte lies in 80..BF)
};

[[nodiscard]] constexpr utf8_lead utf8_lead_of(unsigned char first) noexcept {
    if (first < 0x80) {
        return {1, 0, 0};
    }
    if (first < 0xc2 || first > 0xf4) {
        return {0, 0, 0};
    }
    if (first < 0xe0) {
        return {2, 0x80, 0xbf};
    }
    if (first < 0xf0) { // E0 would be overlong below A0, ED a surrogate above 9F
        return {3, static_cast<std::uint8_t>(first == 0xe0 ? 0xa0 : 0x80),
                static_cast<std::uint8_t>(first == 0xed ? 0x9f : 0xbf)};
    }
    return {4, static_cast<std::uint8_t>(first == 0xf0 ? 0x90 : 0x80),
            static_cast<std::uint8_t>(first == 0xf4 ? 0x8f : 0xbf)};
}

/// How many bytes from the start of `rest` agree with what its first byte announces: 0 to 4.
[[nodiscard]] constexpr std::size_t utf8_prefix_size(std::string_view rest) noexcept {
    if (rest.empty()) {
        return 0;
    }
    const utf8_lead lead = utf8_lead_of(static_cast<unsigned char>(rest[0]));
    std::size_t good = lead.size == 0 ? 0 : 1;
    while (good < lead.size && good < rest.size()) {
        const auto byte = static_cast<unsigned char>(rest[good]);
        const unsigned low = good == 1 ? lead.second_low : 0x80u;
        const unsigned high = good == 1 ? lead.second_high : 0xbfu;
        if (byte < low || byte > high) {
            break;
        }
        ++good;
    }
    return good;
}

/// The code point at the start of `rest`. \pre !rest.empty()
[[nodiscard]] constexpr decoded_code_point first_code_point(std::string_view rest) noexcept {
    assert(!rest.empty());
    const auto first = static_cast<unsigned char>(rest[0]);
    if (first < 0x80) {
        return {first, 1};
    }
    const std::size_t size = utf8_lead_of(first).size;
    if (size == 0 || utf8_prefix_size(rest) != size) {
        return {invalid_code_point, 1};
    }
    char32_t value = first & (0x7fu >> size);
    for (std::size_t i = 1; i < size; ++i) {
        value = (value << 6) | (static_cast<unsigned char>(rest[i]) & 0x3fu);
    }
    return {value, static_cast<std::uint32_t>(size)};
}

/// Bytes at the end of `text` that start a code point which is not complete yet: 0 to 3.
[[nodiscard]] constexpr std::size_t unfinished_tail(std::string_view text) noexcept {
    for (std::size_t tail = 1; tail <= 3 && tail <= text.size(); ++tail) {
        const std::string_view end = text.substr(text.size() - tail);
        const std::size_t announced = utf8_lead_of(static_cast<unsigned char>(end[0])).size;
        if (announced > tail && utf8_prefix_size(end) == tail) {
            return tail;
        }
    }
    return 0;
}

/// Appends the UTF-8 form of a scalar value. \pre code_point <= U+10FFFF and no surrogate
inline void append_utf8(std::string& out, char32_t code_point) {
    assert(code_point <= 0x10ffff && (code_point < 0xd800 || code_point > 0xdfff));
    const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(static_cast<unsigned char>(byte))); };
    if (code_point < 0x80) {
        return put(code_point);
    }
    if (code_point < 0x800) {
        put(0xc0 | (code_point >> 6));
    } else if (code_point < 0x10000) {
        put(0xe0 | (code_point >> 12));
        put(0x80 | ((code_point >> 6) & 0x3f));
    } else {
        put(0xf0 | (code_point >> 18));
        put(0x80 | ((code_point >> 12) & 0x3f));
        put(0x80 | ((code_point >> 6) & 0x3f));
    }
    put(0x80 | (code_point & 0x3f));
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
