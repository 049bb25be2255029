// SPDX-License-Identifier: MIT
// What can go wrong comes back as a code and a sentence, and leaves things as they were.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <iostream>
#include <vector>

int main(int argc, char** argv) {
    const auto missing = bitnet::any_model::open("no-such-model.gguf");
    if (!missing) {
        std::cout << missing.error().message << '\n';
    }
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 8}));

    const std::vector<bitnet::token> wrong{1, 2, 99999};
    if (const auto fed = session.feed(wrong); !fed) { // none of the three was fed
        std::cout << fed.error().message << "; position " << session.position() << '\n';
    }
    const std::vector<bitnet::token> long_prompt(9, 1);
    if (const auto fed = session.feed(long_prompt); !fed && fed.error().code == bitnet::errc::context_full) {
        std::cout << fed.error().message << '\n';
    }
    auto choose = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    if (!session.next(choose) && session.stopped_by() == bitnet::stop_reason::error) { // nothing was fed yet
        std::cout << session.last_error().message << '\n';
    }
}
