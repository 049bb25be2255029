// SPDX-License-Identifier: MIT
// An answer that always parses: what is written is valid by a JSON Schema, and whole within 40 tokens.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain.hpp>

#include <iostream>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 128}));
    auto greedy = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    value(session.feed(value(model.text().encode("The king said: "))));

    const auto trie = value(bitnet::token_trie::open(model.text())); // once for a model
    const auto schema = value(bitnet::grammar::json_schema(
        R"({"type":"object","properties":{"mood":{"enum":["calm","angry"]},"words":{"type":"string"}},
            "required":["mood","words"],"additionalProperties":false})"));
    bitnet::constraint_options options;
    options.limit = 40;
    auto constraint = value(bitnet::token_constraint::open(schema, trie, options));
    auto choose = value(bitnet::constrained_chooser<bitnet::sampler>::open(greedy, constraint));
    while (!constraint.is_done()) {
        const auto token = session.next(choose);
        if (!token) {
            break;
        }
        std::cout << model.text().bytes_of(*token);
    }
    std::cout << '\n';
}
