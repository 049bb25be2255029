// SPDX-License-Identifier: MIT
// arguments: the command line in UTF-8 on every system.
#pragma once

#include "utf16.hpp"

#include <string>
#include <vector>

#if defined(_WIN32)
#include <shellapi.h>
#endif

namespace tools {

/// What main() was given, its name first. On Windows that has lost each character that the code page of the system
/// lacks, and the arguments come from the system instead.
[[nodiscard]] inline std::vector<std::string> arguments([[maybe_unused]] int argc, [[maybe_unused]] char** argv) {
#if defined(_WIN32)
    std::vector<std::string> made;
    int count = 0;
    wchar_t** const given = CommandLineToArgvW(GetCommandLineW(), &count);
    for (int i = 0; given != nullptr && i < count; ++i) {
        made.push_back(utf8_of(given[i]));
    }
    LocalFree(given);
    return made;
#else
    return {argv, argv + argc};
#endif
}

} // namespace tools
