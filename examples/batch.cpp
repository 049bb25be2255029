// SPDX-License-Identifier: MIT
// Three stories at once: each step reads the weights once for all of them.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <cstddef>
#include <iostream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));

    std::vector<std::string> stories{"The king", "A poor woman", "The wolf"};
    std::vector<bitnet::any_session> sessions;
    std::vector<bitnet::sampler> choose;
    for (const std::string& story : stories) {
        sessions.push_back(value(bitnet::any_session::open(model, {.context = 64})));
        choose.push_back(value(bitnet::sampler::open({.seed = 4}, model.parameters().vocabulary)));
        value(sessions.back().feed(value(model.text().encode("<|begin_of_text|>" + story, {.parse_special = true}))));
    }

    std::vector<bitnet::any_session*> all{&sessions[0], &sessions[1], &sessions[2]};
    auto batch = value(bitnet::any_batch::open(model, {.sessions = all.size(), .threads = 2}));
    for (int step = 0; step < 24; ++step) {
        value(batch.run_pending(all)); // one pass over the weights: runs the tokens that next() gave
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (const auto token = all[i]->next(choose[i])) { // only samples
                stories[i] += model.text().bytes_of(*token);
            }
        }
    }
    for (const std::string& story : stories) {
        std::cout << story << '\n';
    }
}
