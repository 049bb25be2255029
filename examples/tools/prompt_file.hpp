// SPDX-License-Identifier: MIT
// read_prompt: the text of a file or of stdin, as it is.
#pragma once

#include "streams.hpp"

#include <bitnet/core/result.hpp>
#include <bitnet/core/utf8.hpp>
#include <bitnet/io/byte_source.hpp>

#include <array>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

namespace tools {

/// All that stdin gives. \pre use_binary_streams() was called.
inline bitnet::result<std::string> read_stdin() {
    std::string text;
    std::array<char, 65536> part;
    while (const std::size_t size = std::fread(part.data(), 1, part.size(), stdin)) {
        text.append(part.data(), size);
    }
    if (std::ferror(stdin) != 0) {
        return bitnet::error{bitnet::errc::io_error, "standard input: cannot be read"};
    }
    return text;
}

/// The bytes of a file; none of an empty one.
inline bitnet::result<std::string> read_file(const std::string& path) {
    const auto file = bitnet::byte_source::open(path);
    if (!file) {
        const bool empty = file.error().code == bitnet::errc::truncated;
        return empty ? bitnet::result<std::string>(std::string()) : bitnet::error{file.error()};
    }
    const auto bytes = file->bytes();
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
}

/// The offset of the first byte that is not UTF-8; npos if all are.
inline std::string_view::size_type first_bad_byte(std::string_view text) {
    for (std::string_view rest = text; !rest.empty();) {
        const auto first = bitnet::detail::first_code_point(rest);
        if (first.value == bitnet::detail::invalid_code_point) {
            return text.size() - rest.size();
        }
        rest.remove_prefix(first.size);
    }
    return std::string_view::npos;
}

/// The text of the file at `path`, or of stdin if that is "-": byte for byte, line ends included, but for a byte order
/// mark in front. \return the errors of byte_source::open, or errc::bad_utf8 with the offset of the byte.
inline bitnet::result<std::string> read_prompt(const std::string& path) {
    auto text = path == "-" ? read_stdin() : read_file(path);
    if (!text) {
        return text;
    }
    const std::string place = path == "-" ? "standard input" : path;
    if (const auto at = first_bad_byte(*text); at != std::string_view::npos) {
        const bool is_utf16 = text->starts_with("\xff\xfe") || text->starts_with("\xfe\xff");
        return bitnet::error{bitnet::errc::bad_utf8, place + ": byte " + std::to_string(at) + " of " +
                                                         std::to_string(text->size()) + " is not UTF-8" +
                                                         (is_utf16 ? ": the text seems to be UTF-16" : "")};
    }
    constexpr std::string_view byte_order_mark = "\xef\xbb\xbf";
    if (text->starts_with(byte_order_mark)) {
        text->erase(0, byte_order_mark.size());
    }
    return text;
}

} // namespace tools
