// SPDX-License-Identifier: MIT
// Prints the names of a GGUF file's tensors, and needs nothing else of the library.
#include <bitnet/bitnet.hpp>

#include <cstdio>

int main(int, char** argv) {
    const auto source = bitnet::byte_source::open(argv[1]);
    if (!source) {
        return 1;
    }
    const auto file = bitnet::gguf_file::parse(source->bytes(), source->name());
    if (!file) {
        return 1;
    }
    for (const auto& tensor : file->tensors()) {
        std::printf("%.*s\n", static_cast<int>(tensor.name.size()), tensor.name.data());
    }
}
