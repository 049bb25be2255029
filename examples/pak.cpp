// SPDX-License-Identifier: MIT
// Opens a model that lies inside an archive of a game, first through the archive's own reading, then in place.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>

#include <cstddef>
#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <span>
#include <sstream>
#include <string>
#include <utility>

// A very small archive: each file's name and size, a line; at a multiple of 64 bytes the file; and so on.
void add(std::string& pak, const std::string& name, const std::string& bytes) {
    pak += name + ' ' + std::to_string(bytes.size()) + '\n';
    pak.resize((pak.size() + 63) / 64 * 64, ' '); // the tensors of a model are then as aligned as in its file
    pak += bytes;
}

struct pak_file {
    std::istream& archive;
    std::uint64_t offset;
    std::uint64_t size;

    // Called with ascending offsets, at most 16 MiB each. Here an archive may also decompress, decrypt or give up.
    static bool read(void* self, std::uint64_t offset, std::span<std::byte> out) {
        auto& file = *static_cast<pak_file*>(self);
        file.archive.seekg(static_cast<std::streamoff>(file.offset + offset));
        return !!file.archive.read(reinterpret_cast<char*>(out.data()), static_cast<std::streamsize>(out.size()));
    }
};

pak_file find(std::istream& archive, const std::string& wanted) {
    std::string name;
    std::uint64_t size = 0;
    while (archive >> name >> size) {
        const auto header_end = static_cast<std::uint64_t>(archive.tellg()) + 1;
        const std::uint64_t offset = (header_end + 63) / 64 * 64;
        if (name == wanted) {
            return {archive, offset, size};
        }
        archive.seekg(static_cast<std::streamoff>(offset + size));
    }
    return {archive, 0, 0}; // from_callback() then says that there is nothing to read
}

std::string story(const bitnet::any_model& model) {
    auto session = value(bitnet::any_session::open(model, {.context = 30, .threads = 2}));
    auto choose = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    std::string text = "Once upon a time";
    value(session.feed(value(model.text().encode(text))));
    while (const auto token = session.next(choose)) {
        text += model.text().bytes_of(*token);
    }
    return text + '\n';
}

int main(int argc, char** argv) {
    std::ifstream file(argc > 1 ? argv[1] : "examples/models/tiny.gguf", std::ios::binary);
    std::string pak;
    add(pak, "level1.map", "a wood and a castle");
    add(pak, "voice.gguf", {std::istreambuf_iterator<char>(file), {}});

    std::istringstream archive(pak);
    pak_file inside = find(archive, "voice.gguf");
    auto bytes = value(bitnet::byte_source::from_callback({&pak_file::read, &inside}, inside.size, "pak:voice.gguf"));
    std::cout << story(value(bitnet::any_model::open(std::move(bytes))));

    // An archive that is in memory, or mapped, is used where it is: it has to outlive the model.
    const auto all = std::as_bytes(std::span(pak)).subspan(inside.offset, inside.size);
    const auto in_place = value(bitnet::any_model::open(bitnet::byte_source::borrow(all, "pak:voice.gguf")));
    std::cout << story(in_place);
}
