// SPDX-License-Identifier: MIT
// bitnet-synthetic --shape 2b4t|tiny --seed S OUT.gguf: writes a model with random weights, the same for the same seed.
#include "synthetic_model.hpp"

#include <charconv>
#include <cstdint>
#include <iostream>
#include <string_view>
#include <system_error>

namespace {

struct command_line {
    std::string_view shape = "2b4t";
    std::uint64_t seed = 1;
    std::string_view path;
};

bool read_number(std::string_view text, std::uint64_t& number) {
    const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
    return read.ec == std::errc{} && read.ptr == text.data() + text.size();
}

bool read_arguments(int argc, char** argv, command_line& line) {
    for (int i = 1; i < argc; ++i) {
        const std::string_view argument = argv[i];
        if (argument == "--shape" && i + 1 < argc) {
            line.shape = argv[++i];
        } else if (argument == "--seed" && i + 1 < argc) {
            if (!read_number(argv[++i], line.seed)) {
                return false;
            }
        } else if (line.path.empty() && !argument.starts_with('-')) {
            line.path = argument;
        } else {
            return false;
        }
    }
    return !line.path.empty();
}

} // namespace

int main(int argc, char** argv) {
    command_line line;
    const bool understood = read_arguments(argc, argv, line);
    const auto shape = bitnet_tests::find_synthetic_shape(line.shape);
    if (!understood || !shape) {
        std::cerr << "usage: " << argv[0] << " [--shape 2b4t|tiny] [--seed S] OUT.gguf\n";
        return 2;
    }
    const auto model = bitnet_tests::synthetic_model(*shape, line.seed);
    const auto written = model.writer().write_file(line.path);
    if (!written) {
        std::cerr << written.error().message << '\n';
        return 1;
    }
    std::cout << line.path << ": " << *written << " bytes\n";
    return 0;
}
