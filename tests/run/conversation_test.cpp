// SPDX-License-Identifier: MIT
// conversation against sessions that are fed the same dialog by hand.
#include "golden/golden_data.hpp"
#include "golden/tiny_model_writer.hpp"
#include "run/counted_allocations.hpp"
#include "run/dialog_by_hand.hpp"

#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/scheduler.hpp>

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstring>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {

constexpr std::chrono::hours for_ever{1};

const any_model& trained_model() {
    static const auto opened = any_model::open(BITNET_TEST_MODEL);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *opened;
}

conversation talk_of(const any_model& model, const conversation_options& options) {
    auto opened = conversation::open(model, options);
    REQUIRE_MESSAGE(opened, (opened ? "" : opened.error().message));
    return *std::move(opened);
}

void require_done(const result<void>& done) { REQUIRE_MESSAGE(done, (done ? "" : done.error().message)); }

std::string answered(conversation& talk) {
    std::string text;
    const auto ended = talk.answer([&](std::string_view more) { text += more; });
    REQUIRE_MESSAGE(ended, (ended ? "" : ended.error().message));
    return text;
}

std::string told(conversation& talk, std::string_view question) {
    require_done(talk.say(question));
    return answered(talk);
}

/// The tokens are those of the history, and the logits after them those of a session that never had any others.
void check_against_plain_session(conversation& talk, const any_model& model,
                                 chat_thinking thinking = chat_thinking::by_template) {
    const auto expected = bitnet_tests::tokens_by_hand(talk, model, thinking);
    REQUIRE(std::vector<token>(talk.tokens().begin(), talk.tokens().end()) == expected);
    while (talk.state() == conversation_state::reading) {
        REQUIRE(talk.step({}));
    }
    const auto held = talk.session().tokens();
    REQUIRE(std::vector<token>(held.begin(), held.end()) == expected);
    auto plain = *any_session::open(model, {.context = talk.context(), .threads = 1});
    require_done(plain.feed(expected));
    const auto ours = talk.session().logits();
    const auto theirs = plain.logits();
    REQUIRE(ours);
    REQUIRE(theirs);
    CHECK(std::memcmp(ours->data(), theirs->data(), theirs->size_bytes()) == 0);
}

std::size_t common_beginning(std::span<const token> a, std::span<const token> b) {
    std::size_t count = 0;
    while (count < a.size() && count < b.size() && a[count] == b[count]) {
        ++count;
    }
    return count;
}

/// A dialog as programs wrote it before there were conversations.
struct by_hand {
    const any_model& model;
    chat_template format;
    any_session session;
    sampler choose;
    chat_dialog dialog;

    by_hand(const any_model& m, const session_options& options, const sampler_options& sampling,
            std::string_view system)
        : model(m), format(*m.chat()), session(*any_session::open(m, options)),
          choose(*sampler::open(sampling, m.parameters().vocabulary)), dialog(format.dialog()) {
        if (!system.empty()) {
            require_done(dialog.add({"system", system}));
        }
    }

    /// \param most tokens of the answer
    std::string told(std::string_view question, std::size_t most) {
        require_done(dialog.add({"user", question}));
        dialog.add_prompt();
        require_done(session.rewind(dialog.kept()));
        const auto prompt = *dialog.take();
        require_done(session.feed(prompt));
        for (const token id : prompt) {
            choose.accept(id);
        }
        return answered(most);
    }
    std::string answered(std::size_t most) {
        stream_decoder decoder(model.text());
        std::string text;
        std::vector<token> answer;
        bool stopped = false;
        while (answer.size() < most) {
            const auto id = session.next(choose);
            stopped = id && format.is_stop(*id);
            if (!id || stopped) {
                break;
            }
            answer.push_back(*id);
            text += decoder.feed(*id);
        }
        text += decoder.flush();
        dialog.end_answer(answer, stopped);
        return text;
    }
};

constexpr std::string_view tales = "You tell fairy tales.";
constexpr std::array<std::string_view, 3> questions{"Who lived in the castle?", "And what did they eat?", "Why?"};

sampler_options with_penalties(std::uint64_t seed) {
    sampler_options options;
    options.seed = seed;
    options.repeat_penalty = 1.1f;
    options.presence_penalty = 0.1f;
    return options;
}

/// A small generator of the tests' own.
struct dice {
    unsigned state;
    unsigned below(unsigned n) noexcept {
        state = state * 1664525u + 1013904223u;
        return (state >> 16) % n;
    }
};

} // namespace

TEST_CASE("a conversation says what a session that is fed the dialog by hand says, in steps of any budget") {
    const any_model& model = trained_model();
    by_hand plain(model, {.context = 400, .threads = 1, .stop_at_stop_tokens = false}, with_penalties(3), tales);
    std::vector<std::string> expected;
    for (const auto question : questions) {
        expected.push_back(plain.told(question, 30));
    }
    const auto open = [&](std::size_t threads, std::size_t chunk) {
        return talk_of(model, {.system = tales,
                               .session = {.context = 400, .threads = threads, .prompt_chunk = chunk},
                               .sampling = with_penalties(3),
                               .answer_limit = 30});
    };
    auto blocking = open(2, 128);
    for (std::size_t i = 0; i < questions.size(); ++i) {
        CHECK(told(blocking, questions[i]) == expected[i]);
        CHECK(blocking.history().back().text == expected[i]);
        check_against_plain_session(blocking, model);
    }
    CHECK(blocking.history().size() == 7);
    dice random{1};
    for (const unsigned most : {1u, 100u, 3000u}) {
        auto stepped = open(1 + random.below(3), 1 + random.below(40));
        for (std::size_t i = 0; i < questions.size(); ++i) {
            require_done(stepped.say(questions[i]));
            CHECK(stepped.state() == conversation_state::reading);
            std::string text;
            while (stepped.state() != conversation_state::idle) {
                REQUIRE(stepped.step(std::chrono::microseconds(random.below(most))));
                text += stepped.take_text();
            }
            CHECK(text == expected[i]);
        }
    }
    auto driven = open(1, 16); // as a scheduler does it
    for (std::size_t i = 0; i < questions.size(); ++i) {
        require_done(driven.say(questions[i]));
        while (driven.state() == conversation_state::reading) {
            REQUIRE(driven.step({}));
        }
        while (auto choose = driven.chooser()) {
            driven.take(driven.session().next(*choose));
        }
        CHECK(driven.take_text() == expected[i]);
    }
    CHECK(driven.position() == blocking.position());
    auto all = scheduler::open(model, {.threads = 2});
    REQUIRE(all);
    std::vector<conversation> served;
    served.reserve(3);
    for (std::size_t i = 0; i < 3; ++i) {
        served.push_back(open(1, 16));
        require_done(all->add(served[i], static_cast<int>(i)));
        require_done(served[i].say(questions[0]));
    }
    while (all->step(std::chrono::microseconds(500)) == step_state::working) {
    }
    for (conversation& one : served) {
        CHECK(one.take_text() == expected[0]);
        CHECK(one.ended_by() != answer_end::none);
        check_against_plain_session(one, model);
    }
    require_done(driven.reset());
    CHECK(driven.history().size() == 1);
    CHECK(told(driven, questions[0]) == expected[0]);
}

TEST_CASE("counts, states and history tell what was done") {
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.system = tales, .session = {.context = 300}, .answer_limit = 5});
    CHECK(talk.state() == conversation_state::reading);
    CHECK(talk.ended_by() == answer_end::none);
    CHECK(talk.context() == 300);
    const std::size_t system = talk.position();
    CHECK(*talk.step(for_ever) == conversation_state::idle);
    require_done(talk.say("Why?"));
    CHECK(talk.session().position() == system);
    const std::size_t prompt = talk.position();
    CHECK(talk.prompt_tokens() == prompt);
    CHECK(talk.answer_tokens() == 0);
    while (talk.state() == conversation_state::reading) {
        REQUIRE(talk.step({}));
    }
    CHECK(talk.state() == conversation_state::speaking);
    CHECK(talk.answer_tokens() == 0);
    CHECK(*talk.step(for_ever) == conversation_state::idle);
    CHECK(talk.ended_by() == answer_end::limit);
    CHECK(talk.answer_tokens() == 5);
    CHECK(talk.position() == prompt + 5);
    REQUIRE(talk.history().size() == 3);
    CHECK(talk.history()[0].role == "system");
    CHECK(talk.history()[0].text == tales);
    CHECK(talk.history()[1].role == "user");
    CHECK(talk.history()[1].text == "Why?");
    CHECK(talk.history()[2].role == "assistant");
    CHECK(talk.history()[2].text == talk.take_text());
    CHECK(talk.take_text().empty());
    CHECK(*talk.step(for_ever) == conversation_state::idle); // nothing is left to do
    CHECK(talk.answer_tokens() == 5);
}

TEST_CASE("a cancelled answer ends as it stands, and the dialog goes on") {
    const any_model& model = trained_model();
    const session_options options{.context = 400, .threads = 1, .stop_at_stop_tokens = false};
    for (const std::size_t after : {std::size_t{1}, std::size_t{7}}) {
        by_hand plain(model, options, with_penalties(8), {});
        const std::string first = plain.told(questions[0], after);
        const std::string second = plain.told(questions[1], 20);

        auto talk = talk_of(model, {.session = options, .sampling = with_penalties(8)});
        require_done(talk.say(questions[0]));
        std::string text;
        const auto ended = talk.answer([&](std::string_view more) {
            text += more;
            return talk.answer_tokens() < after;
        });
        REQUIRE(ended);
        CHECK(*ended == answer_end::cancelled);
        CHECK(first.starts_with(text)); // the end of a character may be missing
        check_against_plain_session(talk, model);
        require_done(talk.say(questions[1]));
        while (talk.answer_tokens() < 20 && talk.state() != conversation_state::idle) {
            REQUIRE(talk.step({}));
        }
        talk.cancel();
        CHECK(talk.state() == conversation_state::idle);
        CHECK(talk.ended_by() == answer_end::cancelled);
        CHECK(*talk.step({}) == conversation_state::idle);
        CHECK(talk.history().back().text == second);
        check_against_plain_session(talk, model);
    }
    auto talk = talk_of(model, {.session = {.context = 400, .prompt_chunk = 4}});
    require_done(talk.say("Once upon a time there was a king who had three sons, and the third of them was a fool."));
    REQUIRE(talk.step({}));
    talk.cancel(); // in the midst of the question
    CHECK(*talk.step(for_ever) == conversation_state::idle);
    CHECK(talk.answer_tokens() == 0);
    CHECK(talk.session().position() < talk.position());
    require_done(talk.say("Why?"));
    check_against_plain_session(talk, model);
}

TEST_CASE("cancel() may come from another thread") {
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.session = {.threads = 2}, .when_full = full_context::drop_oldest});
    require_done(talk.say("Once upon a time"));
    std::atomic<bool> is_speaking{false};
    std::atomic<bool> is_cancelled{false};
    std::thread other([&] {
        while (!is_speaking) {
            std::this_thread::yield();
        }
        talk.cancel();
        is_cancelled = true;
    });
    const auto ended = talk.answer([&](std::string_view) {
        is_speaking = true;
        while (!is_cancelled) {
            std::this_thread::yield();
        }
    });
    is_speaking = true; // if the model had nothing to say
    other.join();
    REQUIRE(ended);
    CHECK(*ended == answer_end::cancelled);
    check_against_plain_session(talk, model);
}

TEST_CASE("regenerate() keeps the prompt, and the sampler goes on") {
    const any_model& model = trained_model();
    const session_options options{.context = 400, .threads = 1, .stop_at_stop_tokens = false};
    by_hand plain(model, options, with_penalties(5), tales);
    const std::string first = plain.told(questions[0], 15);
    require_done(plain.session.rewind(plain.session.position() - 15));
    const std::string second = plain.answered(15);

    auto talk =
        talk_of(model, {.system = tales, .session = options, .sampling = with_penalties(5), .answer_limit = 15});
    CHECK_FALSE(talk.regenerate());
    CHECK(told(talk, questions[0]) == first);
    require_done(talk.regenerate());
    CHECK(talk.state() == conversation_state::speaking); // nothing is to be read again
    CHECK(answered(talk) == second);
    CHECK(first != second);
    CHECK(talk.history().size() == 3);
    check_against_plain_session(talk, model);
    require_done(talk.regenerate());
    REQUIRE(talk.step({}));
    require_done(talk.regenerate()); // in the midst of one
    answered(talk);
    check_against_plain_session(talk, model);
}

TEST_CASE("regenerate() forgets the stop token of the answer before") {
    struct script {
        std::size_t needs() const noexcept { return 1; }
        token choose(std::span<const float>) const noexcept { return tokens[at]; }
        token choose(std::span<const scored_token>) const noexcept { return tokens[at]; }
        void accept(token) noexcept { ++at; }

        std::vector<token> tokens;
        std::size_t at = 0;
    };
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.system = tales, .session = {.context = 300, .threads = 1}, .answer_limit = 4});
    token stop = 0;
    while (!talk.format().is_stop(stop)) {
        ++stop;
    }
    script choose{{40, 41, stop, 50, 51, 52, 53}};
    talk.choose_with(any_chooser(choose));
    told(talk, questions[0]);
    CHECK(talk.ended_by() == answer_end::stop_token);
    CHECK(talk.history().back().stop == stop);
    require_done(talk.regenerate());
    answered(talk);
    CHECK(talk.ended_by() == answer_end::limit);
    CHECK(talk.history().back().stop == no_token);
    CHECK(talk.history().back().tokens == std::vector<token>{50, 51, 52, 53});
    talk.choose_with(std::nullopt);
    require_done(talk.say(questions[1]));
    check_against_plain_session(talk, model);
}

TEST_CASE("edit() changes a turn and computes what follows it again, and rewind() forgets turns") {
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.system = tales,
                                .session = {.context = 500, .threads = 1},
                                .sampling = with_penalties(5),
                                .answer_limit = 12});
    for (const auto question : questions) {
        told(talk, question);
    }
    const std::vector<conversation_turn> before(talk.history().begin(), talk.history().end());
    const std::size_t kept = talk.position();
    require_done(talk.edit(3, "And what did they drink?"));
    CHECK(talk.session().position() < kept);
    CHECK(talk.session().position() > 20); // the first answer is not computed again
    check_against_plain_session(talk, model);
    CHECK(talk.history()[3].text == "And what did they drink?");
    CHECK(talk.history()[6].tokens == before[6].tokens);
    CHECK(talk.history()[6].is_answer);
    require_done(talk.regenerate());
    answered(talk);
    check_against_plain_session(talk, model);

    require_done(talk.edit(4, "Bread.")); // an answer
    CHECK_FALSE(talk.history()[4].is_answer);
    check_against_plain_session(talk, model);
    require_done(talk.edit(0, "You are a pirate."));
    check_against_plain_session(talk, model);

    require_done(talk.edit(6, "Because."));
    CHECK(talk.state() != conversation_state::speaking);
    require_done(talk.regenerate()); // of one that the host wrote
    CHECK(talk.history().back().is_answer);
    answered(talk);
    check_against_plain_session(talk, model);

    require_done(talk.say("Who?"));
    REQUIRE(talk.step({}));
    require_done(talk.edit(1, "Who sat in the garden?")); // in the midst of an answer, which goes on
    const auto ended = answered(talk);
    CHECK(talk.answer_tokens() == 12);
    check_against_plain_session(talk, model);

    require_done(talk.rewind(4));
    CHECK(talk.history().size() == 4);
    CHECK(talk.state() == conversation_state::idle);
    check_against_plain_session(talk, model);
    require_done(talk.begin_answer());
    answered(talk);
    check_against_plain_session(talk, model);
    const auto refused = talk.edit(5, "x");
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message == "conversation: turn 5 was asked for, the history has 5");
    CHECK_FALSE(talk.rewind(6));
    require_done(talk.rewind(0));
    CHECK(talk.position() == 0);
    told(talk, "Why?");
    check_against_plain_session(talk, model);
}

TEST_CASE("an answer that the host begins goes on from there") {
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.sampling = with_penalties(2), .answer_limit = 10});
    require_done(talk.say("Who lived in the castle?", "There lived a king"));
    const std::string first = answered(talk);
    CHECK(talk.history().back().text == "There lived a king" + first);
    CHECK(talk.answer_tokens() == 10);
    check_against_plain_session(talk, model);
    require_done(talk.regenerate());
    const std::string second = answered(talk);
    CHECK(first != second);
    CHECK(talk.history().back().text == "There lived a king" + second);
    told(talk, "Why?");
    check_against_plain_session(talk, model);
    require_done(talk.add({"assistant", "Because."}));
    require_done(talk.begin_answer("And"));
    answered(talk);
    check_against_plain_session(talk, model);
}

TEST_CASE("forks have one past and go their own ways, each as if it were alone") {
    const any_model& model = trained_model();
    auto kv = *model.open_kv_pool(std::uint64_t{64} << 20);
    const auto open = [&](kv_pool* pages) {
        return talk_of(model, {.system = tales,
                               .session = {.context = 400, .threads = 1, .kv = pages},
                               .sampling = with_penalties(5),
                               .answer_limit = 12});
    };
    auto world = open(&kv);
    REQUIRE(world.step(for_ever));
    const std::size_t free = kv.free_pages();
    std::vector<conversation> all;
    for (unsigned i = 0; i < 4; ++i) {
        auto made = world.fork(i);
        REQUIRE(made);
        all.push_back(*std::move(made));
    }
    CHECK(kv.free_pages() == free); // all of them share
    std::vector<std::string> texts(all.size());
    for (std::size_t i = 0; i < all.size(); ++i) {
        require_done(all[i].say(questions[i % 3]));
    }
    for (bool more = true; more;) { // by turns
        more = false;
        for (std::size_t i = 0; i < all.size(); ++i) {
            if (auto choose = all[i].chooser()) {
                all[i].take(all[i].session().next(*choose));
                texts[i] += all[i].take_text();
                more = true;
            }
        }
    }
    for (unsigned i = 0; i < all.size(); ++i) {
        auto alone = open(nullptr);
        alone = *alone.fork(i);
        CHECK(told(alone, questions[i % 3]) == texts[i]);
        check_against_plain_session(all[i], model);
    }
    // In the midst of an answer: with the same random numbers both say the same.
    auto one = open(nullptr);
    require_done(one.say("Why?"));
    while (one.answer_tokens() < 5) {
        REQUIRE(one.step({}));
    }
    auto two = *one.fork();
    const std::string rest = answered(one);
    CHECK(answered(two) == rest);
    CHECK(two.history().back().text == one.history().back().text);
    require_done(one.say("Why?"));
    auto three = *one.fork(); // before anything of it is read
    CHECK(answered(three) == answered(one));
    check_against_plain_session(three, model);
}

TEST_CASE("an answer ends before a stop text, of which nothing leaks, and the dialog has what was shown") {
    const any_model& model = trained_model();
    const auto open = [&](std::span<const std::string_view> stops) {
        return talk_of(model, {.session = {.context = 400, .threads = 1},
                               .sampling = sampler_options::greedy(),
                               .stop_texts = stops,
                               .answer_limit = 40});
    };
    auto free = open({});
    const std::string whole = told(free, questions[0]);
    REQUIRE(whole.size() > 60);
    for (std::size_t begin = 3; begin + 9 < whole.size(); begin += 5) {
        const std::string stop = whole.substr(begin, 7);
        const std::string_view stops[] = {"never written", stop};
        const std::string expected = whole.substr(0, whole.find(stop));
        auto talk = open(stops);
        require_done(talk.say(questions[0]));
        std::string text;
        while (talk.state() != conversation_state::idle) {
            REQUIRE(talk.step({}));
            text += talk.take_text();
            REQUIRE(expected.starts_with(text));
        }
        CHECK(text == expected);
        CHECK(talk.ended_by() == answer_end::stop_text);
        CHECK(talk.history().back().text == expected);
        CHECK(model.text().decode(talk.history().back().tokens) == expected);
        require_done(talk.say(questions[1]));
        check_against_plain_session(talk, model);
        auto fork = *talk.fork();
        CHECK(answered(fork) == answered(talk));
    }
    // What might have become one is shown at the end.
    const std::string half = whole.substr(whole.size() - 4) + "#";
    const std::string_view stops[] = {half};
    auto talk = open(stops);
    CHECK(told(talk, questions[0]) == whole);
    CHECK(talk.ended_by() == answer_end::limit);
}

TEST_CASE("a full context ends the answer, and a question that does not fit changes nothing") {
    const any_model& model = trained_model();
    auto talk =
        talk_of(model, {.system = tales, .session = {.context = 60, .threads = 1}, .sampling = with_penalties(1)});
    told(talk, questions[0]);
    CHECK(talk.ended_by() == answer_end::context_full);
    CHECK(talk.position() == 60);
    const std::vector<token> before(talk.tokens().begin(), talk.tokens().end());
    const auto refused = talk.say(questions[1]);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::context_full);
    CHECK(refused.error().message.find(" tokens do not fit, the context has 60 positions and 60 are taken") !=
          std::string::npos);
    CHECK(std::vector<token>(talk.tokens().begin(), talk.tokens().end()) == before);
    CHECK(talk.history().size() == 3);
    CHECK(talk.ended_by() == answer_end::context_full);
    check_against_plain_session(talk, model);
}

TEST_CASE("drop_oldest: the oldest turns go, the system's stays, and all is as if they had never been") {
    const any_model& model = trained_model();
    for (const std::size_t room : {std::size_t{0}, std::size_t{1}, std::size_t{60}}) {
        auto talk = talk_of(model, {.system = tales,
                                    .session = {.context = 120, .threads = 1},
                                    .sampling = with_penalties(1),
                                    .when_full = full_context::drop_oldest,
                                    .room = room,
                                    .answer_limit = 25});
        dice random{7};
        std::size_t most = 0;
        for (unsigned i = 0; i < 12; ++i) {
            const std::size_t dropped = talk.dropped();
            require_done(talk.say(questions[random.below(3)]));
            if (talk.dropped() != dropped && room == 60) {
                CHECK((talk.position() <= 60 || talk.history().size() == 3));
            }
            answered(talk);
            CHECK((talk.ended_by() == answer_end::stop_token || talk.answer_tokens() == 25));
            CHECK(talk.history()[0].text == tales);
            CHECK(talk.history()[1].role == "user");
            check_against_plain_session(talk, model);
            most = (std::max)(most, talk.position());
        }
        CHECK(talk.dropped() + talk.history().size() == 1 + 2 * 12);
        CHECK(talk.dropped() >= 8);
        CHECK(most <= 120);
    }
    auto talk = talk_of(model, {.session = {.context = 40}, .when_full = full_context::drop_oldest});
    told(talk, "Why?"); // one question, which cannot be dropped
    CHECK((talk.ended_by() == answer_end::context_full || talk.ended_by() == answer_end::stop_token));
    const std::size_t turns = talk.history().size();
    const auto refused = talk.say(std::string(400, 'x'));
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::context_full);
    CHECK(talk.history().size() == turns);
    CHECK(talk.dropped() == 0);
    check_against_plain_session(talk, model);
}

TEST_CASE("drop_oldest in the midst of an answer, which goes on") {
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.system = tales,
                                .session = {.context = 100, .threads = 1},
                                .sampling = with_penalties(4),
                                .when_full = full_context::drop_oldest,
                                .room = 20});
    for (const auto question : {questions[0], questions[2]}) {
        require_done(talk.say(question));
        while (talk.answer_tokens() < 12 && talk.state() != conversation_state::idle) {
            REQUIRE(talk.step({}));
        }
        talk.cancel();
    }
    require_done(talk.say(questions[1]));
    std::string text;
    bool has_dropped = false;
    while (talk.state() != conversation_state::idle) {
        const std::size_t dropped = talk.dropped();
        REQUIRE(talk.step({}));
        text += talk.take_text();
        if (talk.dropped() != dropped) {
            has_dropped = true;
            CHECK(talk.answer_tokens() > 0);
            CHECK(talk.state() == conversation_state::reading);
            check_against_plain_session(talk, model);
        }
    }
    CHECK(has_dropped);
    CHECK(talk.history().back().text == text);
    check_against_plain_session(talk, model);
}

namespace {

/// The tokens are those of the history, and the logits after them those of a session with the same window.
void check_against_window(conversation& talk, const any_model& model) {
    const auto expected = bitnet_tests::tokens_by_hand(talk, model);
    REQUIRE(std::vector<token>(talk.tokens().begin(), talk.tokens().end()) == expected);
    while (talk.state() == conversation_state::reading) {
        REQUIRE(talk.step(for_ever));
    }
    auto plain = *any_session::open(model, {.context = talk.context(),
                                            .window = true,
                                            .sinks = talk.session().sinks(),
                                            .threads = 1,
                                            .prompt_chunk = 256});
    require_done(plain.feed(expected));
    CHECK(plain.position() == talk.session().position());
    CHECK(plain.dropped() == talk.dropped_tokens());
    const auto ours = talk.session().logits();
    const auto theirs = plain.logits();
    REQUIRE(ours);
    REQUIRE(theirs);
    CHECK(std::memcmp(ours->data(), theirs->data(), theirs->size_bytes()) == 0);
}

} // namespace

TEST_CASE("window: a dialog goes on beyond the context, whatever is changed, and the system's turn stays") {
    const any_model& model = trained_model();
    const conversation_options options{.system = tales,
                                       .session = {.context = 512, .threads = 1},
                                       .sampling = with_penalties(2),
                                       .when_full = full_context::window,
                                       .answer_limit = 150};
    auto talk = talk_of(model, options);
    CHECK(talk.session().sinks() == 256);
    for (unsigned i = 0; i < 5; ++i) {
        told(talk, questions[i % 3]);
        REQUIRE(talk.session().tokens().size() <= 512);
    }
    while (talk.dropped_tokens() < 512) {
        told(talk, questions[0]);
    }
    CHECK(talk.position() > 768);
    CHECK(talk.dropped() == 0);
    CHECK(talk.history()[0].text == tales);
    CHECK(common_beginning(talk.tokens(), talk.session().tokens()) >= 256);
    check_against_window(talk, model);
    SUBCASE("an answer that reaches back over a page is written anew") {
        REQUIRE(talk.say("Why?", "Once"));
        while (talk.session().position() % 256 < 250 && talk.state() != conversation_state::idle) {
            REQUIRE(talk.step({}));
        }
        for (int i = 0; i < 2; ++i) {
            require_done(talk.regenerate());
            answered(talk);
            check_against_window(talk, model);
        }
    }
    SUBCASE("turns are changed and taken back, the first ones, too") {
        require_done(talk.edit(3, "Who?"));
        check_against_window(talk, model);
        require_done(talk.rewind(talk.history().size() - 2));
        check_against_window(talk, model);
        require_done(talk.rewind(3));
        check_against_window(talk, model);
        require_done(talk.reset());
        CHECK(talk.dropped_tokens() == 0);
        check_against_window(talk, model);
    }
    SUBCASE("forked, saved and restored, it goes on the same way") {
        auto fork = talk.fork();
        REQUIRE(fork);
        std::vector<std::byte> bytes;
        require_done(talk.save(byte_sink(bytes)));
        const std::string expected = told(talk, "Why?");
        CHECK(told(*fork, "Why?") == expected);
        auto other = talk_of(model, options);
        require_done(other.restore(bytes));
        CHECK(told(other, "Why?") == expected);
        check_against_window(other, model);
        CHECK(std::vector<token>(other.tokens().begin(), other.tokens().end()) ==
              std::vector<token>(talk.tokens().begin(), talk.tokens().end()));
        std::vector<std::byte> none;
        const auto refused = talk.save(byte_sink(none), {.keys_and_values = false});
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::invalid_argument);
        CHECK(none.empty());
    }
    SUBCASE("what is more than the session can queue takes the place of the oldest turns, or is refused") {
        const std::size_t turns = talk.history().size();
        for (unsigned i = 0; i < 9; ++i) {
            require_done(talk.add({"user", std::string(100, 'x')}));
            require_done(talk.add({"assistant", std::string(100, 'y')}));
        }
        require_done(talk.edit(1, "Well?"));
        CHECK(talk.history()[0].text == tales);
        CHECK(talk.dropped() + talk.history().size() == turns + 18);
        CHECK(talk.dropped() > 0);
        check_against_window(talk, model);
        const auto before = talk.history().size();
        const auto refused = talk.say(std::string(6000, 'x'));
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::context_full);
        CHECK(talk.history().size() == before);
        check_against_window(talk, model);
    }
}

TEST_CASE("window: the sinks are as long as the system's turn, which has to leave a page") {
    const any_model& model = trained_model();
    std::string long_text;
    while (model.text().encode(long_text)->size() < 260) {
        long_text += "The king had three sons, and the third was a fool. ";
    }
    const auto refused =
        conversation::open(model, {.system = long_text, .session = {.threads = 1}, .when_full = full_context::window});
    REQUIRE_FALSE(refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find("as the sinks of a window, 1 to 256 are possible in a context of 512") !=
          std::string::npos);
}

TEST_CASE("a pool that is full ends an answer with an error that loses nothing, and retry() goes on") {
    const any_model& model = trained_model();
    const std::uint64_t page = model.open_kv_pool(std::uint64_t{64} << 20)->page_bytes();
    auto kv = *model.open_kv_pool(2 * page);
    const auto open = [&](kv_pool* pages) {
        return talk_of(model, {.session = {.context = 500, .threads = 1, .kv = pages},
                               .sampling = with_penalties(4),
                               .answer_limit = 60});
    };
    auto talk = open(&kv);
    auto other = open(&kv);
    REQUIRE(other.say("Why?"));
    REQUIRE(other.step({}));
    const std::string longer =
        "Once upon a time there was a king who had three sons, and the third of them was a fool.";
    std::string question;
    for (unsigned i = 0; i < 9; ++i) {
        question += longer;
    }
    auto plain = open(nullptr);
    const std::string expected = told(plain, question);
    const auto said = talk.say(question);
    if (said) {
        std::string text;
        const auto refused = talk.answer([&](std::string_view more) { text += more; });
        REQUIRE_FALSE(refused);
        CHECK(refused.error().code == errc::kv_pool_full);
        CHECK(talk.ended_by() == answer_end::error);
        CHECK(talk.last_error().code == errc::kv_pool_full);
        CHECK(talk.state() == conversation_state::idle);
        require_done(other.rewind(0));
        other = open(nullptr);
        require_done(talk.retry());
        CHECK(text + answered(talk) == expected);
    } else {
        CHECK(said.error().code == errc::kv_pool_full);
        CHECK(talk.history().empty());
        other = open(nullptr);
        CHECK(told(talk, question) == expected);
    }
    check_against_plain_session(talk, model);
}

TEST_CASE("what cannot be is refused by name, and changes nothing") {
    const any_model& model = trained_model();
    const auto code = [&](const conversation_options& options) {
        const auto opened = conversation::open(model, options);
        REQUIRE_FALSE(opened);
        return opened.error().code;
    };
    CHECK(code({.session = {.context = 100000}}) == errc::invalid_argument);
    CHECK(code({.chat_format = "alpaca"}) == errc::unknown_chat_template);
    CHECK(code({.chat = {.thinking = chat_thinking::on}}) == errc::invalid_argument);
    CHECK(code({.chat = {.tools = "[]"}}) == errc::invalid_argument);
    sampler_options cold;
    cold.temperature = -1.0f;
    CHECK(code({.sampling = cold}) == errc::invalid_argument);
    const std::string_view stops[] = {"a", ""};
    CHECK(code({.stop_texts = stops}) == errc::invalid_argument);
    CHECK(code({.system = tales, .session = {.context = 4}}) == errc::context_full);
    const auto wordless = any_model::open(BITNET_TEST_MODEL, {.load_tokenizer = false});
    REQUIRE(wordless);
    const auto refused = conversation::open(*wordless);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().message == "conversation: the model was opened without its tokenizer");

    auto talk = talk_of(model, {.session = {.context = 300}, .answer_limit = 9});
    told(talk, "Why?");
    const std::vector<token> before(talk.tokens().begin(), talk.tokens().end());
    const auto added = talk.add({"", "x"});
    REQUIRE_FALSE(added);
    CHECK(added.error().code == errc::invalid_argument);
    CHECK_FALSE(talk.add({"assistant", "x", std::array{chat_tool_call{"f", "{}"}}}));
    CHECK(std::vector<token>(talk.tokens().begin(), talk.tokens().end()) == before);
    CHECK(talk.ended_by() == answer_end::limit);
}

TEST_CASE("a conversation that guesses says the same, in steps and forks and from a scheduler, from fewer passes") {
    const any_model& model = trained_model();
    const auto options = [&](bool lookup, bool draft) {
        conversation_options made{.system = "You tell fairy tales.",
                                  .session = {.context = 512, .threads = 1},
                                  .sampling = sampler_options::greedy(),
                                  .answer_limit = 60,
                                  .lookup = lookup,
                                  .speculation = {.most = 6, .is_adaptive = false}};
        made.draft = draft ? &model : nullptr;
        return made;
    };
    const std::string_view question = "Once upon a time there was a little girl. Once upon a time there was a little";
    auto plain = talk_of(model, options(false, false));
    const std::string first = told(plain, question);
    const std::string second = told(plain, question);
    CHECK(plain.speculated().passes == 0);
    for (const auto& [lookup, draft] : {std::pair{true, false}, std::pair{false, true}, std::pair{true, true}}) {
        auto talk = talk_of(model, options(lookup, draft));
        CHECK(told(talk, question) == first);
        auto fork = *talk.fork();
        require_done(talk.say(question));
        std::string text;
        while (talk.state() != conversation_state::idle) {
            REQUIRE(talk.step(std::chrono::microseconds(50)));
            text += talk.take_text();
        }
        CHECK(text == second);
        CHECK(talk.speculated().tokens_per_pass() > 1.5);
        check_against_plain_session(talk, model);

        auto all = *scheduler::open(model, {.speculation = {.is_adaptive = false}, .threads = 1});
        REQUIRE(all.add(fork));
        require_done(fork.say(question));
        std::size_t passes = 0;
        for (text.clear(); fork.state() != conversation_state::idle; ++passes) {
            static_cast<void>(all.step());
            text += fork.take_text();
        }
        CHECK(text == second);
        CHECK(passes < fork.answer_tokens());
        CHECK(fork.speculated().tokens >= fork.answer_tokens());
        CHECK(fork.speculated().passes <= passes);
        CHECK(fork.speculated().drafted >= fork.speculated().accepted);
        CHECK(fork.speculated().tokens <= fork.speculated().passes + fork.speculated().accepted);
        CHECK(all.remove(fork));
        check_against_plain_session(fork, model);
    }
    auto refused = options(true, false);
    refused.speculation.most = 16;
    CHECK(!conversation::open(model, refused));
}

TEST_CASE("a chooser of the host's own writes the answer") {
    struct smallest {
        std::size_t needs() const noexcept { return 0; }
        token choose(std::span<const float> all) const noexcept {
            std::size_t least = 300; // a token that is text
            for (std::size_t i = 300; i < 600; ++i) {
                least = all[i] < all[least] ? i : least;
            }
            return static_cast<token>(least);
        }
        token choose(std::span<const scored_token>) const noexcept { return 0; }
        void accept(token) noexcept { ++taken; }
        std::size_t taken = 0;
    };
    const any_model& model = trained_model();
    auto talk = talk_of(model, {.session = {.context = 300}, .answer_limit = 6});
    smallest choose;
    talk.choose_with(choose);
    const std::string strange = told(talk, "Why?");
    CHECK(choose.taken == 6);
    for (const token id : talk.history().back().tokens) {
        CHECK((id >= 300 && id < 600));
    }
    talk.choose_with(std::nullopt);
    require_done(talk.regenerate());
    CHECK(answered(talk) != strange);
    CHECK(choose.taken == 6);
}

TEST_CASE("an answer allocates nothing once it was begun") {
    const any_model& model = trained_model();
    const std::string_view stops[] = {"never written"};
    auto talk = talk_of(model, {.system = tales,
                                .session = {.context = 500, .threads = 3},
                                .sampling = with_penalties(1),
                                .stop_texts = stops,
                                .answer_limit = 100});
    for (const auto question : questions) {
        require_done(talk.say(question));
        const std::size_t before = bitnet_tests::allocations();
        std::size_t bytes = 0;
        bool ok = true;
        while (talk.state() != conversation_state::idle) {
            ok = ok && talk.step(std::chrono::microseconds(200)).has_value();
            bytes += talk.take_text().size();
        }
        CHECK(bitnet_tests::allocations() == before);
        CHECK(ok);
        CHECK(bytes > 0);
    }
}

TEST_CASE("golden: thoughts are left out of texts and of later prompts, and are in the history") {
    if (skip_without_golden()) {
        return;
    }
    const auto model = any_model::open(golden_path("ternary/bitnet-silu-tq2_0.gguf"));
    REQUIRE(model);
    auto talk = talk_of(*model, {.session = {.threads = 1}, .answer_limit = 6});
    // A chooser that writes a thought, and then an answer.
    struct script {
        std::vector<token> ids;
        std::size_t at = 0;
        std::size_t needs() const noexcept { return 0; }
        token choose(std::span<const float>) const noexcept { return ids[at % ids.size()]; }
        token choose(std::span<const scored_token>) const noexcept { return ids[at % ids.size()]; }
        void accept(token) noexcept { ++at; }
    };
    script first{*model->text().encode("<think>\nhm\n</think>\n\nYes.")};
    const std::size_t length = first.ids.size();
    auto thinks =
        talk_of(*model, {.session = {.threads = 1}, .chat = {.thinking = chat_thinking::on}, .answer_limit = length});
    thinks.choose_with(first);
    CHECK(told(thinks, "Hello") == "Yes.");
    CHECK(thinks.history().back().text == "<think>\nhm\n</think>\n\nYes.");
    CHECK_FALSE(thinks.is_in_thought());
    const std::size_t with_thought = thinks.position();
    require_done(thinks.say("Why?"));
    const std::vector<token> tokens(thinks.tokens().begin(), thinks.tokens().end());
    const std::string dialog = model->text().decode(tokens);
    CHECK(dialog.find("hm") == std::string::npos);
    CHECK(dialog.find("Yes.") != std::string::npos);
    CHECK(thinks.session().position() < with_thought); // from the thought on
    answered(thinks);
    check_against_plain_session(thinks, *model, chat_thinking::on);
    require_done(thinks.edit(0, "Hallo"));
    check_against_plain_session(thinks, *model, chat_thinking::on);

    auto shown = talk_of(*model, {.session = {.threads = 1},
                                  .chat = {.thinking = chat_thinking::on},
                                  .answer_limit = length,
                                  .show_thoughts = true});
    script again{first.ids};
    shown.choose_with(again);
    CHECK(told(shown, "Hello") == "<think>\nhm\n</think>\n\nYes.");
    script cut{*model->text().encode("<think>\nhm\n")};
    auto endless =
        talk_of(*model, {.session = {.threads = 1}, .chat = {.thinking = chat_thinking::on}, .answer_limit = 3});
    endless.choose_with(cut);
    CHECK(told(endless, "Hello").empty());
    CHECK(endless.is_in_thought());
}
