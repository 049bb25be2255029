// SPDX-License-Identifier: MIT
// A struct that the model fills in: whatever it would like to say, its answer is one.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain.hpp>

#include <iostream>
#include <string>

enum class mood { calm, angry };
struct npc_action {
    std::string say;
    mood tone = mood::calm;
    int steps = 0;
};
template <> struct bitnet::names_of<mood> {
    static constexpr enum_name<mood> list[] = {{"calm", mood::calm}, {"angry", mood::angry}};
};
template <> struct bitnet::fields_of<npc_action> {
    static constexpr auto list =
        fields(field("say", &npc_action::say, {.min_size = 1, .max_size = 60}), field("tone", &npc_action::tone),
               field("steps", &npc_action::steps, {.minimum = 0, .maximum = 9}));
};

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 256}));
    auto greedy = value(bitnet::sampler::open(bitnet::sampler_options::greedy(), model.parameters().vocabulary));
    value(session.feed(value(model.text().encode("<|begin_of_text|>The king said: ", {.parse_special = true}))));

    const auto trie = value(bitnet::token_trie::open(model.text())); // once for a model
    const auto grammar = value(bitnet::grammar::of<npc_action>());
    auto constraint = value(bitnet::token_constraint::open(grammar, trie));
    auto choose = value(bitnet::constrained_chooser<bitnet::sampler>::open(greedy, constraint));
    std::string answer;
    while (!constraint.is_done()) {
        const auto token = session.next(choose);
        if (!token) {
            break;
        }
        answer += model.text().bytes_of(*token);
    }
    std::cout << answer << '\n' << value(bitnet::from_json<npc_action>(answer)).steps << " steps\n";
}
