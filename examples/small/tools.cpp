// SPDX-License-Identifier: MIT
// Functions that a model may call: what it is told of them, which texts are calls, and the call.
#include "value.hpp"

#include <bitnet/constrain.hpp>

#include <iostream>
#include <optional>
#include <string>
#include <string_view>

enum class item { sword, bread };
template <> struct bitnet::names_of<item> {
    static constexpr enum_name<item> list[] = {{"sword", item::sword}, {"bread", item::bread}};
};

static std::string give_item(std::string_view to, item what, std::optional<int> count) {
    std::string done = "gave " + std::to_string(count.value_or(1));
    return done + (what == item::sword ? " sword(s) to " : " bread(s) to ") + std::string(to);
}

int main() {
    bitnet::tool_set tools;
    value(tools.add({"give_item", "Gives something to somebody."}, &give_item, {"to", "item", "count"}));
    value(tools.add("strength", [hours = 9](bool rested) mutable { return rested ? hours : --hours; }, {"rested"}));
    std::cout << value(tools.declarations()) << "\n\n"; // what the chat template shows to the model

    auto at = value(bitnet::matcher::open(value(tools.call_grammar()))); // what its answers are held to
    for (const std::string_view answer : {R"({"name":"give_item","arguments":{"to":"Ann","item":"bread","count":2}})",
                                          R"({"name":"strength","arguments":{"rested":false}})",
                                          R"({"name":"give_item","arguments":{"to":"Ann","item":"crown"}})"}) {
        at.restart();
        const auto taken = at.accept(answer);
        if (taken == answer.size() && at.can_end()) {
            std::cout << value(tools.call(answer)) << '\n'; // what the model is told of it
        } else {
            std::cout << "allowed up to " << answer.substr(0, taken) << '\n';
            std::cout << tools.call(answer).error().message << '\n'; // from a model that was not held to them
        }
    }
}
