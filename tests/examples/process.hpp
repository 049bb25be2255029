// SPDX-License-Identifier: MIT
// run: starts one of the example programs and waits for it. POSIX only.
#pragma once

#include "../io/temporary_folder.hpp"
#include "../run/isas_that_run.hpp"

#include <doctest/doctest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <vector>

namespace bitnet_tests {

struct outcome {
    int status = -1; ///< the exit status; 128 and a signal's number above it for a crash
    std::string out;
    std::string err;
};

/// `word` as the shell takes it literally.
[[nodiscard]] inline std::string shell_word(std::string_view word) {
    std::string made = "'";
    for (const char c : word) {
        made += c == '\'' ? "'\\''" : std::string(1, c);
    }
    return made + "'";
}

[[nodiscard]] inline std::string contents(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The command that starts bitnet-<tool>.
[[nodiscard]] inline std::string command_line(const std::string& tool, const std::vector<std::string>& arguments) {
    std::string command = shell_word(std::string(BITNET_TOOLS_DIR) + "/bitnet-" + tool);
    for (const std::string& argument : arguments) {
        command += " " + shell_word(argument);
    }
    return command;
}

/// Runs bitnet-<tool> with `arguments`, and `input` on its stdin.
[[nodiscard]] inline outcome run(const std::string& tool, const std::vector<std::string>& arguments,
                                 std::string_view input = {}) {
    const temporary_folder folder;
    std::string command = command_line(tool, arguments);
    command += " <" + shell_word(folder.write("in", input)) + " >" + shell_word(folder.path("out")) + " 2>" +
               shell_word(folder.path("err"));
    const int status = std::system(command.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, contents(folder.path("out")), contents(folder.path("err"))};
}

/// What the program wrote to stdout, after checking that it succeeded.
[[nodiscard]] inline std::string output(const std::string& tool, const std::vector<std::string>& arguments,
                                        std::string_view input = {}) {
    const outcome ran = run(tool, arguments, input);
    INFO(tool << ": " << ran.err);
    REQUIRE(ran.status == 0);
    return ran.out;
}

[[nodiscard]] inline bool contains(std::string_view text, std::string_view part) {
    return text.find(part) != std::string_view::npos;
}

} // namespace bitnet_tests
