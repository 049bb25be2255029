// SPDX-License-Identifier: MIT
// A dialog of two questions, the first answered at once, the second in steps between which a program can do other work.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <chrono>
#include <iostream>
#include <string_view>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto talk = value(bitnet::conversation::open(model, {.system = "You tell fairy tales.",
                                                         .session = {.context = 200},
                                                         .sampling = bitnet::sampler_options{.seed = 7},
                                                         .answer_limit = 30}));

    value(talk.say("Who lived in the castle?"));
    value(talk.answer([](std::string_view text) { std::cout << text << std::flush; }));
    std::cout << '\n';

    value(talk.say("And what did they eat?")); // computes nothing yet
    while (talk.state() != bitnet::conversation_state::idle) {
        value(talk.step(std::chrono::milliseconds(2))); // of each frame
        std::cout << talk.take_text() << std::flush;
    }
    std::cout << '\n';
    for (const auto& turn : talk.history()) {
        std::cout << turn.role << ": " << turn.text.size() << " bytes\n";
    }
}
