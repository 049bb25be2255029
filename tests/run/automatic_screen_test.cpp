// SPDX-License-Identifier: MIT
// lm_head_mode::automatic: the rule, and the screen that is made while sessions run.
#include "bench/synthetic_model.hpp"

#include <bitnet/io/available_memory.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/screen_choice.hpp>

#include <doctest/doctest.h>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

/// A model whose head has 33 MB.
std::span<const std::byte> large_head(tensor_type embedding = tensor_type::f16) {
    static const auto make = [](tensor_type type) {
        bitnet_tests::synthetic_shape shape{{}, 32768};
        shape.model.hidden = type == tensor_type::f16 ? 512 : 1024;
        shape.model.embedding = type;
        auto bytes = bitnet_tests::synthetic_model(shape, 1).writer().write_memory();
        REQUIRE(bytes);
        return *std::move(bytes);
    };
    static const auto halves = make(tensor_type::f16);
    if (embedding == tensor_type::f16) {
        return halves.span();
    }
    static const auto blocks = make(tensor_type::q8_0);
    return blocks.span();
}

any_model open_large(lm_head_mode mode) {
    auto opened = any_model::open(byte_source::borrow(large_head(), "large"),
                                  {.load_tokenizer = false, .verify_codes = false, .lm_head = mode});
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

struct generated {
    std::vector<token> tokens;
    std::size_t screened_steps = 0;
};

generated generate(const any_model& model, std::size_t count) {
    generated all;
    auto session = any_session::open(model, {.context = 60, .threads = 2, .stop_at_stop_tokens = false});
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
    REQUIRE(session);
    REQUIRE(choose);
    const token prompt[] = {11, 7};
    REQUIRE(session->feed(prompt));
    for (std::size_t i = 0; i < count; ++i) {
        all.tokens.push_back(session->next(*choose).value_or(-1));
    }
    all.screened_steps = session->screening().steps;
    return all;
}

/// Waits for the end of the making, a minute at most.
screen_state wait_for_screen(const any_model& model) {
    const auto start = std::chrono::steady_clock::now();
    while (model.head_screen() == screen_state::being_made &&
           std::chrono::steady_clock::now() - start < std::chrono::minutes(1)) {
        std::this_thread::yield();
    }
    return model.head_screen();
}

std::string head_note(const any_model& model) {
    for (const std::string& note : model.notes()) {
        if (note.starts_with("head: ")) {
            return note;
        }
    }
    return {};
}

/// Whether the rule makes a screen of the large head here.
bool makes_screens() { return BITNET_THREADS != 0 && available_memory().value_or(0) > (std::uint64_t{1} << 28); }

} // namespace

TEST_CASE("a screen is chosen for large heads whose type has one where a quarter of the memory holds it") {
    const screen_facts good{.head_bytes = 32 << 20, .screen_bytes = 1000, .available = 4000};
    CHECK(choose_screen(good).is_made);
    CHECK(choose_screen(good).note ==
          "head: screened, by 1000 bytes that are made in the background; until then all of it is read");
    const auto refused = [&](auto&& change, const char* why) {
        screen_facts facts = good;
        change(facts);
        const screen_choice choice = choose_screen(facts);
        CAPTURE(choice.note);
        return !choice.is_made && choice.note.starts_with("head: as stored, because ") &&
               choice.note.find(why) != std::string::npos;
    };
    CHECK(refused([](screen_facts& facts) { facts.available = 3999; },
                  "1000 bytes takes more than a quarter of the 3999"));
    CHECK(refused([](screen_facts& facts) { facts.available.reset(); }, "does not tell"));
    CHECK(refused([](screen_facts& facts) { facts.is_admitted = false; }, "F16, BF16 and F32"));
    CHECK(refused([](screen_facts& facts) { facts.has_threads = false; }, "no thread"));
    screen_facts little = good;
    little.head_bytes -= 1;
    CHECK_FALSE(choose_screen(little).is_made);
    CHECK(choose_screen(little).note.empty());
}

TEST_CASE("tokens are the same before and after the screen is ready, and steps are screened afterwards") {
    const any_model stored = open_large(lm_head_mode::as_stored);
    const std::vector<token> expected = generate(stored, 40).tokens;
    CHECK(stored.head_screen() == screen_state::none);
    CHECK(stored.screen_bytes() == 0);

    const any_model chosen = open_large(lm_head_mode::automatic);
    CHECK(generate(chosen, 40).tokens == expected); // some of them through the screen, or none
    if (!makes_screens()) {
        CHECK(chosen.head_screen() == screen_state::none);
        return;
    }
    CHECK(head_note(chosen).starts_with("head: screened, by "));
    CHECK(chosen.screen_bytes() == 32768 * screen_layout::row_bytes(512));
    REQUIRE(wait_for_screen(chosen) == screen_state::ready);
    const generated later = generate(chosen, 40);
    CHECK(later.tokens == expected);
    CHECK(later.screened_steps == 40);
}

TEST_CASE("a session that was opened before the screen is ready uses it as soon as it is") {
    const any_model chosen = open_large(lm_head_mode::automatic);
    auto session = any_session::open(chosen, {.context = 16, .threads = 2});
    REQUIRE(session);
    const token prompt[] = {5};
    REQUIRE(session->feed(prompt));
    if (wait_for_screen(chosen) == screen_state::ready) {
        REQUIRE(session->largest_logits(4));
        CHECK(session->screening().steps == 1);
    }
}

TEST_CASE("the screen is the one that opening makes") {
    const any_model made = open_large(lm_head_mode::screened);
    REQUIRE(made.head_screen() == screen_state::ready);
    const any_model chosen = open_large(lm_head_mode::automatic);
    if (wait_for_screen(chosen) != screen_state::ready) {
        return;
    }
    const auto screen_of = [](const any_model& of) -> const lm_head_screen& {
        return static_cast<const model_core&>(of.base()).parts().screen.get();
    };
    const lm_head_screen& a = screen_of(made);
    const lm_head_screen& b = screen_of(chosen);
    REQUIRE(a.bytes() == b.bytes());
    CHECK(std::memcmp(a.row(0), b.row(0), a.bytes()) == 0);
}

TEST_CASE("a model may be destroyed at any time while its screen is made") {
    for (int i = 0; i < 12; ++i) {
        const any_model chosen = open_large(lm_head_mode::automatic);
        if (i % 3 == 1) {
            std::this_thread::sleep_for(std::chrono::milliseconds(i));
        } else if (i % 3 == 2) {
            CHECK(generate(chosen, 2).tokens.size() == 2);
        }
    }
}

TEST_CASE("sessions on several threads run while the screen is made") {
    const std::vector<token> expected = generate(open_large(lm_head_mode::as_stored), 10).tokens;
    const any_model chosen = open_large(lm_head_mode::automatic);
    std::array<std::vector<token>, 3> all;
    std::vector<std::thread> hosts;
    for (auto& tokens : all) {
        hosts.emplace_back([&] { tokens = generate(chosen, 10).tokens; });
    }
    for (std::thread& host : hosts) {
        host.join();
    }
    for (const auto& tokens : all) {
        CHECK(tokens == expected);
    }
}

TEST_CASE("without threads of the library's own the head is read as stored, and a note says so") {
    using quiet = policy<isa::scalar>::with_pool<inline_pool>;
    const auto opened = model<quiet>::open(byte_source::borrow(large_head(), "large"),
                                           {.load_tokenizer = false, .verify_codes = false});
    REQUIRE(opened);
    CHECK(opened->head_screen() == screen_state::none);
    CHECK(head_note(*opened).starts_with("head: as stored, because the policy's pool "));
}

TEST_CASE("a head in blocks is read as stored, and a note says so") {
    const auto opened = any_model::open(byte_source::borrow(large_head(tensor_type::q8_0), "large"),
                                        {.load_tokenizer = false, .verify_codes = false});
    REQUIRE(opened);
    CHECK(opened->head_screen() == screen_state::none);
    CHECK(head_note(*opened) == "head: as stored, because a screen is for F16, BF16 and F32");
}
