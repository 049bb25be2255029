// SPDX-License-Identifier: MIT
// Everything chosen at compile time: the instruction set that the compiler's flags allow, keys and values in float, and
// no threads. What the policy does not name is not compiled.
#include "value.hpp"

#include <bitnet/bitnet.hpp>

#include <iostream>

struct mine : bitnet::native::with_kv<float>::with_pool<bitnet::inline_pool> {}; // deriving keeps symbols short

int main(int argc, char** argv) {
    const auto model = value(bitnet::model<mine>::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::session<mine>::open(model, {.context = 32}));
    auto choose = value(bitnet::sampler::open({.seed = 4}, model.parameters().vocabulary));
    value(session.feed(value(model.text().encode("<|begin_of_text|>Once upon a time", {.parse_special = true}))));
    std::cout << "Once upon a time";
    while (const auto token = session.next(choose)) {
        std::cout << model.text().bytes_of(*token);
    }
    std::cout << '\n';
}
