// SPDX-License-Identifier: MIT
// Standard streams that pass bytes as they are, and failures that end a program with a sentence.
#pragma once

#include "utf16.hpp"

#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>

#if defined(_WIN32)
#include <fcntl.h>
#include <io.h>
#else
#include <unistd.h>
#endif

namespace tools {

#if defined(_WIN32)
/// While one lives, the console shows what programs write as UTF-8; then as before.
class utf8_console {
public:
    utf8_console() noexcept : before_(GetConsoleOutputCP()) { SetConsoleOutputCP(CP_UTF8); }
    ~utf8_console() {
        std::fflush(nullptr);
        SetConsoleOutputCP(before_);
    }
    utf8_console(const utf8_console&) = delete;
    utf8_console& operator=(const utf8_console&) = delete;

private:
    UINT before_;
};
#endif

/// Lets Windows pass bytes as they are, without turning \n into \r\n on the way in and out, and its console show UTF-8.
/// A character has to reach a console in one piece, so stderr waits there for put(), read_line(), std::fflush or the
/// end.
inline void use_binary_streams() {
#if defined(_WIN32)
    static const utf8_console until_the_end;
    _setmode(_fileno(stdin), _O_BINARY);
    for (std::FILE* stream : {stdout, stderr}) {
        _setmode(_fileno(stream), _O_BINARY);
        if (_isatty(_fileno(stream)) != 0) {
            std::setvbuf(stream, nullptr, _IOFBF, std::size_t{1} << 16);
        }
    }
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

/// The next line of stdin in UTF-8, without its end; false at the end of the input. A console of Windows is asked for
/// UTF-16: of bytes it has only those of its code page.
[[nodiscard]] inline bool read_line(std::string& line) {
    std::fflush(stderr);
#if defined(_WIN32)
    const HANDLE console = GetStdHandle(STD_INPUT_HANDLE);
    if (DWORD mode = 0; GetConsoleMode(console, &mode)) {
        std::wstring typed;
        wchar_t part[256];
        DWORD count = 0;
        while (!typed.ends_with(L'\n') && ReadConsoleW(console, part, 256, &count, nullptr) && count != 0) {
            typed.append(part, count);
        }
        line = utf8_of(typed.substr(0, typed.find_first_of(L"\r\n")));
        return !typed.empty() && typed[0] != L'\x1a'; // Ctrl-Z
    }
#endif
    return static_cast<bool>(std::getline(std::cin, line));
}

/// Writes all bytes to stdout, now. \return whether they were taken: a full disk does not.
[[nodiscard]] inline bool put(std::string_view bytes) {
    std::fflush(stderr); // what was said before
    return std::fwrite(bytes.data(), 1, bytes.size(), stdout) == bytes.size() && std::fflush(stdout) == 0;
}

/// Prints `program: message` to stderr. \return 1, the exit status of failures that are no mistake in the options.
inline int fail(std::string_view program, std::string_view message) {
    const std::string line = std::string(program) + ": " + std::string(message) + "\n";
    std::fputs(line.c_str(), stderr);
    return 1;
}

} // namespace tools
