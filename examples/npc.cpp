// SPDX-License-Identifier: MIT
// A frame loop at 60 Hz: a hundred characters share one description of their world, and their answers have 2 ms of each
// frame. The worst frame goes to stderr.
#include "value.hpp"

#include <bitnet/any.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;
using milliseconds = std::chrono::duration<double, std::milli>;

int main(int argc, char** argv) {
    constexpr std::size_t characters = 100;
    const auto model = value(bitnet::any_model::open(argc > 1 ? argv[1] : "examples/models/tiny.gguf"));
    auto pages = value(model.open_kv_pool(std::uint64_t{256} << 20)); // of keys and values, all together at most
    const bitnet::conversation_options options{
        .system = "Once upon a time there was a village by the sea. A fisherman lived there, and a witch, and a king.",
        .session = {.context = 256, .threads = 1, .kv = &pages},
        .when_full = bitnet::full_context::drop_oldest,
        .answer_limit = 12};
    auto world = value(bitnet::conversation::open(model, options));
    value(world.step(1h)); // reads the description once, while the game loads
    const std::size_t free = pages.free_pages();

    auto all = value(bitnet::scheduler::open(model, {.threads = 2}));
    std::vector<bitnet::conversation> talks;
    talks.reserve(characters); // the scheduler knows their places
    for (std::size_t i = 0; i < characters; ++i) {
        talks.push_back(value(world.fork(i))); // its own random numbers
        value(all.add(talks.back(), i == 0 ? 1 : 0));
    }
    std::cout << talks.size() << " characters have " << free - pages.free_pages() << " pages of their own\n";

    std::vector<std::string> said(characters);
    milliseconds worst{0};
    std::size_t frames = 0;
    bool is_anyone_busy = true;
    for (auto next = std::chrono::steady_clock::now(); is_anyone_busy || frames < 10; next += 16667us, ++frames) {
        for (std::size_t i = frames * 10; i < (frames + 1) * 10 && i < characters; ++i) {
            value(talks[i].say("Who are you?")); // ten of them are met in each frame
        }
        const auto start = std::chrono::steady_clock::now();
        is_anyone_busy = all.step(2ms) == bitnet::step_state::working;
        worst = std::max<milliseconds>(worst, std::chrono::steady_clock::now() - start);
        for (std::size_t i = 0; i < characters; ++i) {
            said[i] += talks[i].take_text();
        }
        std::this_thread::sleep_until(next + 16667us); // where a game draws
    }
    std::cout << "the first says: " << said[0] << "\nthe last says: " << said[characters - 1] << '\n';
    std::cerr << frames << " frames; the worst took " << worst.count() << " ms\n";
}
