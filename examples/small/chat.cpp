// SPDX-License-Identifier: MIT
// A dialog of two questions. Only what is new is fed to the session.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <iostream>
#include <string_view>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    const auto format = value(model.chat()); // as the file says, or model.chat("llama3")
    auto session = value(bitnet::any_session::open(model, {.context = 200, .stop_at_stop_tokens = false}));
    auto choose = value(bitnet::sampler::open({.seed = 7}, model.parameters().vocabulary));

    auto dialog = format.dialog();
    value(dialog.add({"system", "You tell fairy tales."}));
    for (const std::string_view question : {"Who lived in the castle?", "And what did they eat?"}) {
        value(dialog.add({"user", question}));
        dialog.add_prompt();
        value(session.feed(value(dialog.take()))); // the tokens since the last call
        std::cout << question << '\n';
        bitnet::stream_decoder decoder(model.text()); // text in whole characters, without control tokens
        bool stopped = false;
        for (int n = 0; n < 30 && !stopped; ++n) {
            const auto token = session.next(choose);
            if (!token) {
                break;
            }
            stopped = format.is_stop(*token);
            std::cout << decoder.feed(*token);
        }
        dialog.end_answer(stopped);
        std::cout << decoder.flush() << '\n';
    }
}
