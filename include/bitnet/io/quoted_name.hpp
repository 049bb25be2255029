// SPDX-License-Identifier: MIT
// quoted_name: names out of untrusted files, made fit for an error message.
#pragma once

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// `name` in single quotes and printable ASCII: other bytes become \xHH, and what exceeds `longest` bytes becomes
/// "...".
/// A key of 64 KiB or a terminal escape sequence in a file must not reach a log as it is.
[[nodiscard]] inline std::string quoted_name(std::string_view name, std::size_t longest = 80) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string quoted = "'";
    for (const char c : name.substr(0, longest)) {
        const auto byte = static_cast<unsigned char>(c);
        if (byte >= 0x20 && byte < 0x7f) {
            quoted += c;
        } else {
            quoted += "\\x";
            quoted += digits[byte >> 4];
            quoted += digits[byte & 15];
        }
    }
    return quoted += name.size() > longest ? "...'" : "'";
}

} // namespace bitnet::inline BITNET_ABI
