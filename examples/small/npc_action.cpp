// SPDX-License-Identifier: MIT
// A struct that the model fills in: whatever it would like to say, its answer is one.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain.hpp>

#include <cstddef>
#include <iostream>
#include <span>
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

/// Takes the most likely token that the grammar allows.
struct greedy_by_grammar {
    bitnet::matcher& at;
    const bitnet::tokenizer& text;

    bool allows(bitnet::token id) const { return !text.is_special(id) && at.allows(text.bytes_of(id)); }
    std::size_t needs() const { return 0; } // all logits
    bitnet::token choose(std::span<const float> all) const {
        bitnet::token best = bitnet::no_token;
        for (std::size_t i = 0; i < all.size(); ++i) {
            const auto id = static_cast<bitnet::token>(i);
            if ((best < 0 || all[i] > all[static_cast<std::size_t>(best)]) && allows(id)) {
                best = id;
            }
        }
        return best;
    }
    bitnet::token choose(std::span<const bitnet::scored_token>) const { return bitnet::no_token; } // not called
    void accept(bitnet::token id) const { at.accept(text.bytes_of(id)); }
};

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 256}));
    auto at = value(bitnet::matcher::open(value(bitnet::grammar::of<npc_action>())));
    greedy_by_grammar choose{at, model.text()};
    value(session.feed(value(model.text().encode("<|begin_of_text|>The king said: ", {.parse_special = true}))));
    std::string answer; // grows until the grammar allows nothing more
    while (!at.is_done()) {
        answer += model.text().bytes_of(session.next(choose).value());
    }
    std::cout << answer << '\n' << value(bitnet::from_json<npc_action>(answer)).steps << " steps\n";
}
