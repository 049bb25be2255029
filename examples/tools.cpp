// SPDX-License-Identifier: MIT
// Functions that a model calls in a conversation: what it is told of them, its call, the result, and what it says then.
#include "value.hpp"

#include <bitnet/any.hpp>
#include <bitnet/constrain.hpp>

#include <iostream>
#include <string>
#include <string_view>
#include <vector>

enum class item { sword, bread };
template <> struct bitnet::names_of<item> {
    static constexpr enum_name<item> list[] = {{"sword", item::sword}, {"bread", item::bread}};
};

static std::string give_item(item what, bool wrapped) {
    return std::string("gave ") + (wrapped ? "a wrapped " : "a ") + (what == item::sword ? "sword" : "bread");
}

int main(int argc, char** argv) {
    bitnet::tool_set tools;
    value(tools.add({"give_item", "Gives something."}, &give_item, {"item", "wrapped"}));
    value(tools.add("go_to_sleep", [hours = 9]() mutable { return --hours; }));
    std::cout << value(tools.declarations()) << "\n\n"; // what the model is shown, as its chat template has it

    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    const auto trie = value(bitnet::token_trie::open(model.text())); // once for a model
    const auto callable = value(bitnet::constrained_tools::open(tools, trie));
    auto talk = value(bitnet::conversation::open(model, {.sampling = bitnet::sampler_options{.seed = 7},
                                                         .tools = &callable,
                                                         .calls = {bitnet::tool_mode::named, "give_item"},
                                                         .answer_limit = 90}));
    const auto print = [](std::string_view text) { std::cout << text << std::flush; };
    value(talk.say("Feed me!"));
    value(talk.answer(print)); // is a call, whatever the model would like: there is no text

    std::vector<std::string> results;
    for (const auto& call : talk.calls()) {
        results.push_back(value(tools.call(call.name, call.arguments)));
        std::cout << call.name << ' ' << call.arguments << " -> " << results.back() << '\n';
    }
    value(talk.choose_calls({.mode = bitnet::tool_mode::none})); // from here on; automatic lets the model choose
    value(talk.say_results(results));
    value(talk.answer(print));
    std::cout << '\n';

    // What a model wrote that was not held to the functions is checked all the same.
    std::cout << tools.call(R"({"name":"give_item","arguments":{"item":"crown","wrapped":true}})").error().message
              << '\n';
}
