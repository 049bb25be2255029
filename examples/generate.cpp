// SPDX-License-Identifier: MIT
// Continues a text, shows it in whole characters as it comes, and says why it ends.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <iostream>
#include <vector>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 60, .threads = 2}));
    auto choose = value(bitnet::sampler::open({.temperature = 0.7f, .seed = 1}, model.parameters().vocabulary));

    std::vector<bitnet::token> prompt;
    if (model.text().bos()) {
        prompt.push_back(*model.text().bos());
    }
    value(model.text().encode("There was once a king", prompt)); // appends to prompt

    value(session.feed(prompt));
    std::cout << "There was once a king";
    bitnet::stream_decoder decoder(model.text(), {.follows_text = true});
    while (const auto token = session.next(choose)) { // break out of the loop at any time, and go on later
        std::cout << decoder.feed(*token) << std::flush;
    }
    std::cout << decoder.flush() << '\n';

    if (session.stopped_by() == bitnet::stop_reason::context_full) {
        std::cout << "(all " << session.context() << " positions are taken)\n";
    }
}
