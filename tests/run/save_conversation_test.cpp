// SPDX-License-Identifier: MIT
// save() and restore() of conversations: in the middle of everything, and what is no save changes nothing.
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>

#include <doctest/doctest.h>

#include <chrono>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

const any_model& trained_model() {
    static const auto opened = any_model::open(BITNET_TEST_MODEL);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *opened;
}

constexpr std::string_view stops[] = {"zzzz", "the end of"};

conversation talk_of(std::string_view system = "You tell fairy tales.", std::uint64_t seed = 3) {
    conversation_options options;
    options.system = system;
    options.session.threads = 1;
    options.session.context = 200;
    options.sampling = sampler_options{.repeat_penalty = 1.1f, .seed = seed};
    options.stop_texts = stops;
    options.answer_limit = 30;
    auto opened = conversation::open(trained_model(), options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

void require_done(const result<void>& done) { REQUIRE_MESSAGE(done, (done ? "" : done.error().message)); }

std::vector<std::byte> saved(conversation& talk, bool keys_and_values) {
    std::vector<std::byte> out;
    require_done(talk.save(out, {.keys_and_values = keys_and_values}));
    return out;
}

/// All that a conversation says from here on, with a question more.
std::string rest_of(conversation& talk) {
    std::string all(talk.take_text());
    for (int i = 0; i < 2; ++i) {
        const auto ended = talk.answer([&](std::string_view more) { all += more; });
        REQUIRE_MESSAGE(ended, (ended ? "" : ended.error().message));
        all += std::to_string(static_cast<int>(*ended));
        if (i == 0) {
            require_done(talk.say("And then?", "Then"));
        }
    }
    for (const conversation_turn& turn : talk.history()) {
        all += "\n" + turn.role + ": " + turn.text;
    }
    for (const token id : talk.tokens()) {
        all += " " + std::to_string(id);
    }
    return all;
}

/// Works until the answer has so many tokens.
void go_to(conversation& talk, std::size_t tokens) {
    while (talk.state() != conversation_state::idle && talk.answer_tokens() < tokens) {
        REQUIRE(talk.step(std::chrono::microseconds(1)));
    }
}

} // namespace

TEST_CASE("a restored conversation says what the saved one would have said") {
    for (const std::size_t moment : {0u, 1u, 2u, 3u, 4u, 5u}) {
        CAPTURE(moment);
        auto talk = talk_of();
        if (moment > 0) {
            require_done(talk.say("Who lived in the castle?", moment == 2 ? "A king" : ""));
        }
        if (moment > 1) {
            go_to(talk, moment == 5 ? 1000 : 7);
        }
        if (moment == 3) {
            static_cast<void>(talk.take_text());
        }
        if (moment == 4) {
            talk.cancel();
        }
        const auto with = saved(talk, true);
        const auto without = saved(talk, false);
        CHECK(without.size() < with.size() / 2 + 4000);
        const std::string expected = rest_of(talk);
        auto other = talk_of("Another system.", 99);
        require_done(other.say("What else?"));
        go_to(other, 3);
        for (const auto* bytes : {&with, &without, &with}) {
            require_done(other.restore(*bytes));
            CHECK(rest_of(other) == expected);
        }
    }
}

TEST_CASE("changed bits and cuts of a saved conversation are refused, and change nothing") {
    auto talk = talk_of();
    require_done(talk.say("Who?"));
    go_to(talk, 2);
    auto bytes = saved(talk, false);
    require_done(talk.say("Nobody?"));
    go_to(talk, 2);
    const auto before = saved(talk, true);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); bit += bit < 8 * 400 ? 1 : 5) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        REQUIRE_FALSE(talk.restore(bytes));
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    for (std::size_t size = 0; size < bytes.size(); ++size) {
        const auto done = talk.restore(std::span(bytes).first(size), "x");
        REQUIRE_FALSE(done);
        CHECK(done.error().code == errc::truncated);
        CHECK(done.error().message.starts_with("x: "));
    }
    CHECK(saved(talk, true) == before);
    require_done(talk.restore(bytes));
    CHECK(talk.history().size() == 3);
}

TEST_CASE("a dialog that does not fit is refused, also where its session had not read it") {
    auto from = talk_of();
    require_done(from.say("Who lived in the castle, and what did they eat, and who came to see them, and why did they "
                          "not go to the forest, and who told you so, and when was it, and what became of them?"));
    from.cancel(); // what was not read is not
    REQUIRE(from.step(std::chrono::microseconds(1)));
    const auto bytes = saved(from, true);
    conversation_options options;
    options.session.threads = 1;
    options.session.context = 32;
    auto small = conversation::open(trained_model(), options);
    REQUIRE(small);
    const auto restored = small->restore(bytes, "save");
    REQUIRE_FALSE(restored);
    CHECK(restored.error().code == errc::context_full);
    CHECK(restored.error().message == "save: the dialog that was saved is " + std::to_string(from.position()) +
                                          " tokens, the context has 32 positions");
    CHECK(small->history().empty());
}
