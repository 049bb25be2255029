// SPDX-License-Identifier: MIT
// A chooser of the program's own instead of the sampler: the most likely token but for one that it never takes.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <cstddef>
#include <iostream>
#include <span>

class greedy_without {
public:
    explicit greedy_without(bitnet::token banned) : banned_(banned) {}

    std::size_t needs() const { return 2; } // of the two largest logits one is not the banned token's
    bitnet::token choose(std::span<const bitnet::scored_token> largest) const {
        bitnet::scored_token best{-1, 0};
        for (const bitnet::scored_token& each : largest) {
            take_better(best, each);
        }
        return best.id;
    }
    bitnet::token choose(std::span<const float> all) const { // the same from the logits of the whole vocabulary
        bitnet::scored_token best{-1, 0};
        for (std::size_t id = 0; id < all.size(); ++id) {
            take_better(best, {static_cast<bitnet::token>(id), all[id]});
        }
        return best.id;
    }
    void accept(bitnet::token) {}

private:
    void take_better(bitnet::scored_token& best, const bitnet::scored_token& each) const {
        const bool better = each.logit > best.logit || (each.logit == best.logit && each.id < best.id);
        if (each.id != banned_ && (best.id < 0 || better)) {
            best = each;
        }
    }

    bitnet::token banned_;
};

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto session = value(bitnet::any_session::open(model, {.context = 32}));
    const auto prompt = value(model.text().encode("<|begin_of_text|>The king said to the", {.parse_special = true}));
    const auto banned = value(model.text().encode(" king")).front();

    greedy_without choose(banned);
    value(session.feed(prompt));
    std::cout << "The king said to the";
    while (const auto token = session.next(choose)) {
        std::cout << model.text().bytes_of(*token);
    }
    std::cout << '\n';
}
