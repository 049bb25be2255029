// SPDX-License-Identifier: MIT
// A small program that uses the library from two translation units: consumer MODEL.gguf
#include "storyteller.hpp"

#include <bitnet/any.hpp>

#include <iostream>

int main(int argc, char** argv) {
    auto opened = storyteller::open(argc > 1 ? argv[1] : "");
    if (!opened) {
        std::cerr << opened.error().message << '\n';
        return 1;
    }
    const auto story = (*opened)->tell("Once upon a time", 12);
    if (!story) {
        std::cerr << story.error().message << '\n';
        return 1;
    }
    std::cout << (*opened)->isa() << ": Once upon a time" << *story << '\n';
    return *story == " there was a great many years, and the King's daughter" ? 0 : 1;
}
