// SPDX-License-Identifier: MIT
// Opens a model from bytes in memory: of an archive, say, or compiled into the program. They are not copied.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>

#include <fstream>
#include <iostream>
#include <iterator>
#include <span>
#include <utility>
#include <vector>

int main(int argc, char** argv) {
    std::ifstream file(argc > 1 ? argv[1] : "examples/models/tiny.gguf", std::ios::binary);
    const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};

    // The bytes must outlive the model, which uses them in place.
    auto source = bitnet::byte_source::borrow(std::as_bytes(std::span(bytes)), "the archive's model");
    const auto model = value(bitnet::any_model::open(std::move(source)));

    std::cout << model.parameters().architecture << ": " << model.parameters().layers << " layers, "
              << model.parameters().vocabulary << " tokens\n";
}
