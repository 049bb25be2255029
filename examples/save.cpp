// SPDX-License-Identifier: MIT
// Saves a session to a file in the middle of an answer, and goes on in another one as if nothing had happened.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/file_writer.hpp>

#include <cstdio>
#include <filesystem>
#include <iostream>
#include <string>
#include <string_view>

namespace {

std::string say(bitnet::any_session& session, bitnet::sampler& choose, const bitnet::tokenizer& text, int count) {
    std::string said;
    bitnet::stream_decoder decoder(text, {.follows_text = true});
    for (int i = 0; i < count; ++i) {
        if (const auto token = session.next(choose)) {
            said += decoder.feed(*token);
        }
    }
    return said.append(decoder.flush());
}

/// The file is there when it is whole; an older one stays until then.
template <class Saved> void save(const Saved& what, std::string_view path) {
    auto file = value(bitnet::file_writer::create(path));
    value(what.save(file));
    value(file.commit());
}

template <class Saved> void restore(Saved& what, std::string_view path) {
    const auto file = value(bitnet::byte_source::read(path));
    value(what.restore(file.bytes(), path));
}

} // namespace

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    const auto folder = std::filesystem::temp_directory_path();
    const std::string of_session = (folder / "king.session").string();
    const std::string of_sampler = (folder / "king.sampler").string();
    const auto open_sampler = [&] {
        return value(bitnet::sampler::open({.temperature = 0.7f, .seed = 1}, model.parameters().vocabulary));
    };

    auto first = value(bitnet::any_session::open(model, {.context = 100, .threads = 2}));
    auto choose = open_sampler();
    value(first.feed(value(model.text().encode("There was once a king"))));
    std::cout << "There was once a king" << say(first, choose, model.text(), 20) << " ...\n";

    save(first, of_session);
    save(choose, of_sampler);
    const std::string expected = say(first, choose, model.text(), 20);

    // Another program, on another machine: more room, other threads.
    auto second = value(bitnet::any_session::open(model, {.context = 400, .threads = 1}));
    auto its_choices = open_sampler();
    restore(second, of_session);
    restore(its_choices, of_sampler);
    const std::string said = say(second, its_choices, model.text(), 20);
    std::cout << "..." << said << '\n' << (said == expected ? "the same" : "not the same") << " as without a save\n";
    std::remove(of_session.c_str());
    std::remove(of_sampler.c_str());
}
