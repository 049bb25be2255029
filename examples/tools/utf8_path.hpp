// SPDX-License-Identifier: MIT
// utf8_path: a name of a file as the standard library takes it on every system.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

namespace tools {

[[nodiscard]] inline std::filesystem::path utf8_path(std::string_view name) {
    return std::u8string(name.begin(), name.end());
}

} // namespace tools
