// SPDX-License-Identifier: MIT
// A loop of frames, each of which lends the session two milliseconds.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <chrono>
#include <iostream>

int main(int argc, char** argv) {
    using namespace std::chrono_literals;
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 48, .threads = 2}));
    auto choose = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    const auto prompt = value(model.text().encode("<|begin_of_text|>The dragon slept in the", {.parse_special = true}));

    value(session.queue(prompt)); // computes nothing yet
    for (bool is_talking = true; is_talking;) {
        // ... draw a frame ...
        if (value(session.step(2ms, choose)) == bitnet::step_state::ready) {
            const auto token = session.next(choose); // only chooses: its logits are there
            is_talking = token.has_value();
            std::cout << (token ? model.text().bytes_of(*token) : "\n");
        }
    }
}
