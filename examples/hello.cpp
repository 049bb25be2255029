// SPDX-License-Identifier: MIT
// Lets a model continue a sentence, on two threads.
#include <bitnet/bitnet.hpp>

#include <cstdlib>
#include <iostream>

template <class T> T value(bitnet::result<T> made) {
    if (!made) {
        std::cerr << made.error().message << '\n';
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) {
        return *std::move(made);
    }
}

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 100, .threads = 2}));
    auto choose = value(bitnet::sampler::open({.seed = 4}, model.parameters().vocabulary));
    const auto prompt = value(model.text().encode("<|begin_of_text|>Once upon a time", {.parse_special = true}));
    value(session.feed(prompt));
    std::cout << "Once upon a time";
    while (const auto token = session.next(choose)) { // until the 100 positions are taken
        std::cout << model.text().bytes_of(*token) << std::flush;
    }
    std::cout << '\n';
}
