// SPDX-License-Identifier: MIT
// utf16: what Windows calls text, as UTF-8. Empty elsewhere.
#pragma once

#if defined(_WIN32)
#ifndef NOMINMAX
#define NOMINMAX
#endif
#include <cstddef>
#include <string>
#include <string_view>
#include <windows.h>

namespace tools {

/// Half of a surrogate pair becomes U+FFFD.
[[nodiscard]] inline std::string utf8_of(std::wstring_view text) {
    const int units = static_cast<int>(text.size());
    const int bytes = WideCharToMultiByte(CP_UTF8, 0, text.data(), units, nullptr, 0, nullptr, nullptr);
    std::string made(static_cast<std::size_t>(bytes), '\0');
    WideCharToMultiByte(CP_UTF8, 0, text.data(), units, made.data(), bytes, nullptr, nullptr);
    return made;
}

} // namespace tools
#endif
