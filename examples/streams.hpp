// SPDX-License-Identifier: MIT
// Standard streams that pass bytes as they are, and failures that end a program with a sentence.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#else
#include <unistd.h>
#endif

namespace tools {

/// Stops Windows from turning \n into \r\n on the way in and out.
inline void use_binary_streams() {
#if defined(_WIN32)
    _setmode(_fileno(stdin), _O_BINARY);
    _setmode(_fileno(stdout), _O_BINARY);
#endif
}

/// Whether somebody watches stderr.
[[nodiscard]] inline bool stderr_is_terminal() {
#if defined(_WIN32)
    return _isatty(_fileno(stderr)) != 0;
#else
    return isatty(fileno(stderr)) != 0;
#endif
}

/// Whether somebody types what stdin reads.
[[nodiscard]] inline bool stdin_is_terminal() {
#if defined(_WIN32)
    return _isatty(_fileno(stdin)) != 0;
#else
    return isatty(fileno(stdin)) != 0;
#endif
}

/// Writes all bytes to stdout, now. \return whether they were taken: a full disk does not.
[[nodiscard]] inline bool put(std::string_view bytes) {
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0;
}

/// Prints `program: message` to stderr. \return 1, the exit status of failures that are no mistake in the options.
inline int fail(std::string_view program, std::string_view message) {
    const std::string line = std::string(program) + ": " + std::string(message) + "\n";
    std::fputs(line.c_str(), stderr);
    return 1;
}

} // namespace tools
