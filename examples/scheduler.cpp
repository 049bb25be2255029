// SPDX-License-Identifier: MIT
// Characters that share one past and speak at the same time, in frames of 5 ms; one of them stands before the player.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <chrono>
#include <cstddef>
#include <deque>
#include <iostream>
#include <optional>
#include <string>
#include <utility>

class character : public bitnet::speaker {
public:
    character(bitnet::any_session mind, const bitnet::any_model& model, const std::string& line)
        : text(line), model_(model), mind_(std::move(mind)),
          choose_(value(bitnet::sampler::open({.seed = 4}, model.parameters().vocabulary))) {
        value(mind_.queue(value(model.text().encode(line)))); // computes nothing yet
    }

    bitnet::any_session& session() noexcept override { return mind_; }
    std::optional<bitnet::any_chooser> chooser() noexcept override {
        return left_ != 0 ? std::optional<bitnet::any_chooser>(choose_) : std::nullopt;
    }
    void take(std::optional<bitnet::token> token) noexcept override {
        left_ = token ? left_ - 1 : 0; // nullopt: session().stopped_by() says why
        text += token ? model_.text().bytes_of(*token) : "";
    }

    std::string text;

private:
    const bitnet::any_model& model_;
    bitnet::any_session mind_;
    bitnet::sampler choose_;
    std::size_t left_ = 24;
};

int main(int argc, char** argv) {
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto pages = value(model.open_kv_pool(64u << 20));
    auto world = value(bitnet::any_session::open(model, {.context = 256, .kv = &pages}));
    const std::string past = "<|begin_of_text|>There was once a great castle in the middle of a forest.";
    value(world.feed(value(model.text().encode(past, {.parse_special = true}))));

    std::deque<character> all; // which keeps its elements where they are
    auto scheduler = value(bitnet::scheduler::open(model, {.threads = 2}));
    for (const std::string line : {" The king", " A poor woman", " The wolf"}) {
        all.emplace_back(value(world.fork()), model, line);
        value(scheduler.add(all.back()));
    }
    scheduler.set_priority(all[1], 1); // before the player
    while (scheduler.step(std::chrono::milliseconds(5)) == bitnet::step_state::working) {
        // the rest of the frame
    }
    for (const character& each : all) {
        std::cout << each.text << '\n';
    }
}
