// SPDX-License-Identifier: MIT
// Tools in conversations: calls are whole and valid whatever is chosen, and dialogs what the formats write.
#include "golden/golden_data.hpp"
#include "text/tool_templates.hpp"

#include <bitnet/constrain/constrained_tools.hpp>
#include <bitnet/constrain/matcher.hpp>
#include <bitnet/constrain/token_trie.hpp>
#include <bitnet/constrain/tool_set.hpp>
#include <bitnet/io/byte_source.hpp>
#include <bitnet/io/json.hpp>
#include <bitnet/io/python_json.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/scheduler.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <iterator>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet_tests;

namespace {

template <class T> T must(result<T> made) {
    REQUIRE_MESSAGE(made, (made ? std::string() : made.error().message));
    return *std::move(made);
}
void must_be_done(const result<void>& done) { REQUIRE_MESSAGE(done, (done ? std::string() : done.error().message)); }

enum class thing { sword, bread };

} // namespace

template <> struct bitnet::names_of<thing> {
    static constexpr enum_name<thing> list[] = {{"sword", thing::sword}, {"bread", thing::bread}};
};

namespace {

/// A file whose model has room for a dialog with tools, which are many tokens of a small vocabulary.
std::string with_large_context(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(file), {}};
    const std::string_view key = ".context_length";
    const std::size_t at = bytes.find(key);
    REQUIRE(at != std::string::npos);
    const std::uint32_t context = 2048;
    std::memcpy(bytes.data() + at + key.size() + 4, &context, sizeof context); // behind its type, a little-endian u32
    return bytes;
}
any_model opened(const std::string& bytes) {
    return must(any_model::open(byte_source::borrow(std::as_bytes(std::span(bytes)), "model")));
}

const any_model& the_model() {
    static const std::string bytes = with_large_context(tiny_model_path());
    static const any_model model = opened(bytes);
    return model;
}
const token_trie& the_trie() {
    static const token_trie trie = must(token_trie::open(the_model().text()));
    return trie;
}

constexpr std::string_view dice_schema =
    R"({"properties":{"n":{"$ref":"#/$defs/d"}},"required":["n"],"$defs":{"d":{"type":"integer","minimum":1,"maximum":20}}})";

/// Functions with and without a signature.
tool_set some_tools() {
    tool_set tools;
    must_be_done(tools.add(
        {"give", "Gives it."},
        [](thing what, std::optional<std::string> to) { return to.value_or("?") + (what == thing::sword ? "s" : "b"); },
        {"what", "to"}));
    must_be_done(tools.add("wait", [] {}));
    must_be_done(tools.add_with_schema({"dice"}, dice_schema, [](std::string_view arguments) {
        const auto json = must(json_document::parse(arguments, "dice"));
        const auto sides = json.root().find("n")->as_integer<int>();
        return result<std::string>(sides && *sides >= 1 && *sides <= 20 && json.root().size() == 1 ? "4" : "?");
    }));
    return tools;
}

/// Tools for conversations with the tiny model.
struct given_tools {
    tool_set tools = some_tools();
    constrained_tools source = must(constrained_tools::open(tools, the_trie()));

    [[nodiscard]] conversation talk(tool_choice calls, std::size_t limit = 0, std::uint64_t seed = 1,
                                    conversation_options options = {}, std::size_t context = 1024) const {
        options.session = {.context = context, .threads = 1};
        options.sampling = sampler_options{.temperature = 2.0f, .top_k = 0, .seed = seed};
        options.tools = &source;
        options.calls = calls;
        options.answer_limit = limit;
        return must(conversation::open(the_model(), options));
    }
    /// Checks one call with the function itself, whose reader knows nothing of grammars.
    void check(const conversation_turn::call& call) {
        const auto outcome = tools.call(call.name, call.arguments);
        REQUIRE_MESSAGE((outcome && *outcome != "?"), call.name, call.arguments);
    }
};

std::string answered(conversation& talk) {
    std::string text;
    static_cast<void>(must(talk.answer([&](std::string_view more) { text += more; })));
    return text;
}

/// Writes a text, and then what a small generator chooses, now and then the likeliest token.
class scripted {
public:
    scripted(std::vector<token> first, unsigned seed) : first_(std::move(first)), state_(seed) {}

    [[nodiscard]] std::size_t needs() const noexcept { return 0; }
    [[nodiscard]] token choose(std::span<const float> all) noexcept {
        return at_ < first_.size() ? first_[at_] : static_cast<token>(next() % all.size());
    }
    [[nodiscard]] token choose(std::span<const scored_token> some) noexcept {
        const bool is_scripted = at_ < first_.size() && std::any_of(some.begin(), some.end(), [&](const auto& each) {
                                     return each.id == first_[at_];
                                 });
        return is_scripted ? first_[at_] : some[next() % some.size()].id;
    }
    void accept(token id) noexcept { at_ += at_ < first_.size() && first_[at_] == id ? 1u : 0u; }
    [[nodiscard]] bool is_done() const noexcept { return at_ == first_.size(); }

private:
    [[nodiscard]] unsigned next() noexcept { return (state_ = state_ * 1664525u + 1013904223u) >> 8; }

    std::vector<token> first_;
    std::size_t at_ = 0;
    unsigned state_;
};

std::vector<token> tokens_of(const any_model& model, std::string_view text) {
    return must(model.text().encode(text, {.follows_text = true}));
}

} // namespace

TEST_CASE("a call that an answer has to be is whole and valid, whatever the sampler and the limit") {
    given_tools given;
    const std::array<tool_choice, 3> choices{
        {{tool_mode::required}, {tool_mode::named, "dice"}, {tool_mode::required, {}, true}}};
    for (std::uint64_t seed = 0; seed < 2; ++seed) {
        for (const tool_choice& choice : choices) {
            conversation talk = given.talk(choice, 60 + seed * 3, seed + 1);
            for (int question = 0; question < 3; ++question) {
                must_be_done(talk.say("Go"));
                CHECK(answered(talk).empty());
                REQUIRE(!talk.calls().empty());
                CHECK((choice.parallel || talk.calls().size() == 1));
                for (const conversation_turn::call& call : talk.calls()) {
                    CHECK((choice.name.empty() || call.name == choice.name));
                    given.check(call);
                }
                CHECK((talk.ended_by() == answer_end::tool_calls || talk.ended_by() == answer_end::limit ||
                       talk.ended_by() == answer_end::context_full));
                CHECK(talk.answer_tokens() <= 60 + seed * 3);
                CHECK(talk.history().back().text.starts_with("<tool_call>\n{\"name\":"));
                CHECK((choice.parallel || talk.history().back().text.ends_with("}\n</tool_call>")));
                must_be_done(talk.rewind(0));
            }
        }
    }
}

TEST_CASE("thousands of calls are whole and valid, each token any of those that are allowed") {
    given_tools given;
    const any_model& model = the_model();
    const chat_template format = must(model.chat());
    const auto guide = must(given.source.guide({.text = &model.text(), .stops = format.stop_tokens(), .prompt = {}}));
    const std::vector<float> flat(model.parameters().vocabulary, 0.0f);
    std::size_t calls = 0;
    bool is_always_held = true;
    for (unsigned seed = 0; seed < 1000; ++seed) {
        const bool is_parallel = seed % 4 == 3;
        must_be_done(guide->set_choice(
            {seed % 2 == 0 ? tool_mode::required : tool_mode::named, seed % 2 == 0 ? "" : "dice", is_parallel}));
        const std::size_t most = guide->least() + seed * 37 % (is_parallel ? 400 : 64);
        guide->begin({}, most, true);
        scripted random({}, seed);
        bool has_ended = false;
        std::size_t written = 0;
        for (; !has_ended && written < most; ++written) {
            const any_chooser choose = guide->chooser(random);
            is_always_held = is_always_held && choose.is_constrained();
            const token id = choose.choose(flat);
            if (format.is_stop(id)) {
                break;
            }
            const auto part = guide->take(id);
            if (part.kind == detail::answer_part::part_kind::call_end) {
                given.check(must(guide->call()));
                has_ended = part.is_last;
                ++calls;
            }
        }
        CHECK((has_ended || is_parallel));
    }
    CHECK(is_always_held);
    CHECK(calls >= 1000);
}

TEST_CASE("a call begins where the model writes its mark, and text goes on behind it if there may be more") {
    given_tools given;
    const any_model& model = the_model();
    const std::string_view written = "Let me see.\n<tool_call>";
    for (const bool is_parallel : {false, true}) {
        CAPTURE(is_parallel);
        for (unsigned seed = 0; seed < 2; ++seed) {
            conversation talk = given.talk({tool_mode::automatic, {}, is_parallel}, 120);
            scripted first(tokens_of(model, written), seed);
            talk.choose_with(first);
            must_be_done(talk.say("Go"));
            std::string shown;
            while (talk.state() != conversation_state::idle && talk.calls().empty()) {
                static_cast<void>(must(talk.step({})));
                shown += talk.take_text();
            }
            REQUIRE(first.is_done());
            CHECK(shown == "Let me see.\n");
            REQUIRE(talk.calls().size() == 1);
            given.check(talk.calls()[0]);
            CHECK((talk.state() == conversation_state::idle) == !is_parallel);
            if (!is_parallel) {
                CHECK((talk.ended_by() == answer_end::tool_calls || talk.ended_by() == answer_end::limit));
                continue;
            }
            scripted second(tokens_of(model, "\nAnd now"), 0);
            talk.choose_with(second);
            shown.clear();
            while (!second.is_done()) {
                static_cast<void>(must(talk.step({})));
                shown += talk.take_text();
            }
            CHECK(shown == "And now");
            CHECK(talk.state() == conversation_state::speaking);
        }
    }
}

TEST_CASE("no call begins where none is wanted, nor where the limit has no room for it") {
    given_tools given;
    const std::vector<token> mark = tokens_of(the_model(), "<tool_call>");
    for (const tool_choice& choice : {tool_choice{tool_mode::none}, tool_choice{tool_mode::automatic}}) {
        conversation talk = given.talk(choice, mark.size() + 20);
        scripted chooser(mark, 7);
        talk.choose_with(chooser);
        must_be_done(talk.say("Go"));
        const std::string text = answered(talk);
        CHECK(text.starts_with("<tool_call"));
        CHECK(!text.starts_with("<tool_call>"));
        CHECK(talk.calls().empty());
        CHECK(talk.ended_by() != answer_end::tool_calls);
    }
    conversation talk = given.talk({tool_mode::required}, 20);
    const auto refused = talk.say("Go");
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.starts_with("conversation: an answer of at most 20 tokens, and a call may need "));
    CHECK(talk.history().empty());
    const auto unknown = talk.choose_calls({tool_mode::named, "fly"});
    REQUIRE(!unknown);
    CHECK(unknown.error().message == "tool_choice: there is no function 'fly'");
    must_be_done(talk.choose_calls({tool_mode::none}));
    must_be_done(talk.say("Go"));
}

TEST_CASE("text that begins like a call and is none is shown, and stop texts do not reach across calls") {
    given_tools given;
    const any_model& model = the_model();
    const std::array<std::string_view, 1> stops{"END"};
    conversation talk = given.talk({tool_mode::automatic, {}, true}, 0, 1, {.stop_texts = stops});
    scripted first(tokens_of(model, "a <tool> <tool_cal E<tool_call>"), 3);
    talk.choose_with(first);
    must_be_done(talk.say("Go"));
    std::string shown;
    while (talk.calls().empty()) {
        static_cast<void>(must(talk.step({})));
        shown += talk.take_text();
    }
    CHECK(shown == "a <tool> <tool_cal E");
    scripted second(tokens_of(model, "ND more END no"), 0);
    talk.choose_with(second);
    CHECK(answered(talk) == "ND more ");
    CHECK(talk.ended_by() == answer_end::stop_text);
    CHECK(talk.history().back().text.ends_with("</tool_call>ND more "));
    CHECK(talk.calls().size() == 1);
}

TEST_CASE("a fork, a saved conversation and a scheduler go on in the midst of a call as the conversation does") {
    given_tools given;
    for (const std::size_t steps : {3u, 30u, 45u}) {
        CAPTURE(steps);
        conversation talk = given.talk({tool_mode::required, {}, true}, 110, 5);
        must_be_done(talk.say("Go"));
        while (talk.answer_tokens() < steps) {
            static_cast<void>(must(talk.step({})));
        }
        must_be_done(talk.choose_calls({tool_mode::automatic})); // is for the next answer
        conversation forked = must(talk.fork());
        std::vector<std::byte> saved;
        must_be_done(talk.save(saved));
        conversation restored = given.talk({tool_mode::required, {}, true}, 110, 99);
        must_be_done(restored.restore(saved));
        conversation scheduled = must(talk.fork());
        const std::string text = answered(talk);
        const std::vector<token> expected(talk.tokens().begin(), talk.tokens().end());
        REQUIRE(talk.calls().size() >= 1);
        const auto check = [&](const conversation& other) {
            CHECK(std::vector<token>(other.tokens().begin(), other.tokens().end()) == expected);
            REQUIRE(other.calls().size() == talk.calls().size());
            for (std::size_t i = 0; i < talk.calls().size(); ++i) {
                CHECK(other.calls()[i].name == talk.calls()[i].name);
                CHECK(other.calls()[i].arguments == talk.calls()[i].arguments);
            }
            CHECK(other.ended_by() == talk.ended_by());
        };
        CHECK(answered(forked) == text);
        check(forked);
        CHECK(answered(restored) == text);
        check(restored);
        auto together = must(scheduler::open(the_model(), {.threads = 1}));
        must_be_done(together.add(scheduled));
        while (scheduled.state() != conversation_state::idle) {
            static_cast<void>(together.step(std::chrono::hours(1)));
        }
        check(scheduled);
    }
}

TEST_CASE("without words of its own for tools, a format has them in the system's turn and in turns of the user's") {
    given_tools given;
    const any_model& model = the_model();
    conversation talk = given.talk({tool_mode::named, "wait"}, 0, 1, {.system = "Be brief."});
    must_be_done(talk.say("Go"));
    CHECK(answered(talk).empty());
    REQUIRE(talk.calls().size() == 1);
    CHECK(talk.calls()[0].arguments == "{}");
    const std::string call = talk.history().back().text;
    must_be_done(talk.choose_calls({tool_mode::none}));
    must_be_done(talk.say_result("null"));
    const std::string expected =
        "<|begin_of_text|>System: Be brief.\n\n# Tools\n\nThese functions can be called:\n<tools>\n" +
        must(given.tools.declarations()) +
        "\n</tools>\n\nA call is written as follows, and its result is told next:\n<tool_call>\n"
        "{\"name\": NAME, \"arguments\": OBJECT}\n</tool_call><|eot_id|>User: Go<|eot_id|>Assistant: " +
        call + "<|eot_id|>User: <tool_response>\nnull\n</tool_response><|eot_id|>Assistant: ";
    CHECK(model.text().decode(talk.tokens()) == expected);
    CHECK(talk.history()[3].role == "tool");

    // The same from turns that are added, calls as data, is the same dialog but for how the call is spaced.
    conversation added = given.talk({tool_mode::none}, 0, 1, {.system = "Be brief."});
    const std::array<chat_tool_call, 1> calls{{{"wait", "{}"}}};
    must_be_done(added.add({"user", "Go"}));
    must_be_done(added.add({"assistant", "", calls}));
    must_be_done(added.add({"tool", "null"}));
    must_be_done(added.begin_answer());
    const std::string as_data = "<tool_call>\n{\"name\": \"wait\", \"arguments\": {}}\n</tool_call>";
    const std::size_t at = expected.find(call);
    CHECK(model.text().decode(added.tokens()) == expected.substr(0, at) + as_data + expected.substr(at + call.size()));

    const chat_template format = must(model.chat());
    CHECK(!format.open_dialog({.tools = "[]"}));
    chat_dialog dialog = must(format.open_dialog({.tools = "[]", .tools_in_words = true}));
    CHECK(!dialog.add({"", "no role"})); // declares nothing either
    must_be_done(dialog.add({"system", "Led."}));
    CHECK(dialog.text().find("Led.\n\n# Tools") != std::string::npos);
    conversation plain = given.talk({tool_mode::none}); // no system's turn: they are declared in front of all
    must_be_done(plain.say("Go"));
    CHECK(model.text().decode(plain.tokens()).starts_with("<|begin_of_text|>System: # Tools\n\nThese"));
    REQUIRE(plain.history().size() == 2);
}

TEST_CASE("answers with calls are written anew, edited, taken back and dropped as others are") {
    given_tools given;
    conversation talk = given.talk({tool_mode::required}, 60);
    must_be_done(talk.say("Go"));
    static_cast<void>(answered(talk));
    REQUIRE(talk.calls().size() == 1);
    CHECK(!talk.say_results({}));
    must_be_done(talk.regenerate());
    CHECK(talk.calls().empty());
    static_cast<void>(answered(talk));
    REQUIRE(talk.calls().size() == 1);
    given.check(talk.calls()[0]);
    must_be_done(talk.edit(1, "No."));
    CHECK(talk.calls().empty());
    CHECK(talk.history()[1].text == "No.");
    const auto none = talk.say_result("x");
    REQUIRE(!none);
    CHECK(none.error().message == "conversation: 1 results were given, and the last turn has 0 calls");

    conversation_options dropping;
    dropping.when_full = full_context::drop_oldest;
    dropping.room = 60;
    conversation small = given.talk({tool_mode::named, "dice"}, 60, 3, dropping, 640);
    for (int question = 0; question < 3; ++question) {
        must_be_done(small.say("Go"));
        static_cast<void>(answered(small));
        REQUIRE(small.calls().size() == 1);
        given.check(small.calls()[0]);
        must_be_done(small.choose_calls({tool_mode::none}));
        must_be_done(small.say_result("4"));
        static_cast<void>(must(small.step(std::chrono::milliseconds(1))));
        small.cancel();
        must_be_done(small.choose_calls({tool_mode::named, "dice"}));
        CHECK(small.history()[0].role == "user");
    }
    CHECK(small.dropped() != 0);
}

TEST_CASE("what cannot be a list of functions is refused, and adds none") {
    tool_set tools;
    CHECK(tools.declare_list("{").error().code == errc::bad_json);
    CHECK(tools.declare_list("{}").error().message == "tools: a JSON array of functions is expected");
    CHECK(tools.declare_list(R"([{"function":{"name":"a"}},{"name":"b"}])").error().message ==
          "tools: element 1 is no {\"type\":\"function\",\"function\":{\"name\":...}}");
    CHECK(tools.declare_list(R"([{"function":{"name":"a","parameters":{"type":"array"}}}])").error().message ==
          "tool 'a': its schema is not one of an object");
    CHECK(tools.declare_list(R"([{"function":{"name":"a","parameters":{"$ref":"#/no"}}}])").error().code ==
          errc::unsupported_schema);
    CHECK(tools.size() == 0);
    must_be_done(tools.declare_list(R"([{"function":{"name":"a"}},{"function":{"name":"b","parameters":{}}}])"));
    CHECK(tools.size() == 2);
    auto call = must(matcher::open(must(tools.call_grammar("b"))));
    CHECK(call.accept(R"({"name":"b","arguments":{}})") == 27); // an empty schema means no parameters
    CHECK(call.can_end());
    call.restart();
    CHECK(call.accept(R"({"name":"b","arguments":{"x)") == 25);
    CHECK(tools.call("a", "{}").error().message == "tool 'a': was declared without a function");
}

namespace {

/// A file of the golden data, its dialogs, and the tools that they have.
struct golden_dialogs {
    std::string bytes = with_large_context(golden_path("ternary/row-scales-tq2_0.gguf"));
    any_model model = opened(bytes);
    token_trie trie = must(token_trie::open(model.text()));
    json_document dialogs = must(json_document::parse(file(), "chat.json"));
    tool_set tools;
    std::optional<constrained_tools> source;

    golden_dialogs() {
        std::string list;
        detail::append_python_json(list, *dialog("tools").find("tools"));
        must_be_done(tools.declare_list(list));
        source = must(constrained_tools::open(tools, trie));
    }
    [[nodiscard]] static std::string file() {
        std::ifstream golden(golden_path("ternary/golden/chat.json"), std::ios::binary);
        return {std::istreambuf_iterator<char>(golden), {}};
    }
    [[nodiscard]] json_value dialog(std::string_view what) const {
        for (const json_value each : dialogs.root().elements()) {
            if (*each.find("what")->as_string() == what) {
                return each;
            }
        }
        FAIL(what);
        return dialogs.root();
    }
    [[nodiscard]] std::string text_of(std::string_view what) const {
        return std::string(*dialog(what).find("text")->as_string());
    }
    [[nodiscard]] conversation talk(tool_choice calls, chat_thinking thinking, std::size_t limit = 0) const {
        return must(conversation::open(model, {.session = {.threads = 1},
                                               .sampling = sampler_options::greedy(),
                                               .chat = {.thinking = thinking},
                                               .tools = &*source,
                                               .calls = calls,
                                               .answer_limit = limit}));
    }
    [[nodiscard]] std::vector<token> script(std::string_view text, bool stops) const {
        std::vector<token> made = tokens_of(model, text);
        if (stops) {
            made.push_back(*model.text().find_special("<|im_end|>"));
        }
        return made;
    }
};

} // namespace

TEST_CASE("golden: calls that a model writes, and their results, are the dialogs of its template") {
    if (skip_without_golden()) {
        return;
    }
    const golden_dialogs golden;
    conversation talk = golden.talk({tool_mode::automatic, {}, true}, chat_thinking::by_template);
    scripted both(golden.script("Both.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"Bern\"}}\n"
                                "</tool_call>\n<tool_call>\n{\"name\": \"dice\", \"arguments\": {}}\n</tool_call>",
                                true),
                  1);
    talk.choose_with(both);
    must_be_done(talk.say("Go"));
    CHECK(answered(talk) == "Both.\n");
    CHECK(both.is_done());
    CHECK(talk.ended_by() == answer_end::tool_calls);
    REQUIRE(talk.calls().size() == 2);
    CHECK(talk.calls()[0].name == "weather");
    CHECK(talk.calls()[0].arguments == "{\"city\": \"Bern\"}");
    CHECK(talk.calls()[1].name == "dice");
    CHECK(talk.calls()[1].arguments == "{}");
    const std::array<std::string, 2> results{"{\"t\": 21}", "4"};
    must_be_done(talk.say_results(results));
    CHECK(golden.model.text().decode(talk.tokens()) == golden.text_of("text and two calls, two results"));

    // From data, too.
    conversation added = golden.talk({}, chat_thinking::by_template);
    const std::array<chat_tool_call, 2> calls{{{"weather", R"({"city":"Bern"})"}, {"dice", "{}"}}};
    must_be_done(added.add({"user", "Go"}));
    must_be_done(added.add({"assistant", "Both.", calls}));
    REQUIRE(added.calls().size() == 2);
    must_be_done(added.say_results(results));
    CHECK(std::vector<token>(added.tokens().begin(), added.tokens().end()) ==
          std::vector<token>(talk.tokens().begin(), talk.tokens().end()));
}

TEST_CASE("golden: a call that is required comes after the thought, which ends in time for it") {
    if (skip_without_golden()) {
        return;
    }
    const golden_dialogs golden;
    conversation talk = golden.talk({tool_mode::named, "dice"}, chat_thinking::on);
    scripted thinks(
        golden.script("<think>\nDice.\n</think>\n\n<tool_call>\n{\"name\": \"dice\", \"arguments\": {}}", false), 1);
    talk.choose_with(thinks);
    must_be_done(talk.say("Go"));
    CHECK(answered(talk).empty());
    CHECK(thinks.is_done());
    CHECK(!talk.is_in_thought());
    REQUIRE(talk.calls().size() == 1);
    must_be_done(talk.say_result("4"));
    const std::string with_empty_thought = golden.text_of("a thought before a call stays until the next question");
    const std::string_view empty = "<think>\n\n</think>\n\n";
    REQUIRE(with_empty_thought.ends_with(empty));
    CHECK(golden.model.text().decode(talk.tokens()) ==
          with_empty_thought.substr(0, with_empty_thought.size() - empty.size()));

    for (const std::size_t limit : {80u, 100u, 140u}) {
        conversation limited = golden.talk({tool_mode::required}, chat_thinking::on, limit);
        scripted rambles(golden.script("<think>\nHm", false), static_cast<unsigned>(limit));
        limited.choose_with(rambles);
        must_be_done(limited.say("Go"));
        CHECK(answered(limited).empty());
        REQUIRE(limited.calls().size() == 1);
        CHECK(limited.history().back().text.starts_with("<think>\nHm"));
        CHECK(limited.history().back().text.find("\n</think>\n\n<tool_call>\n{") != std::string::npos);
        CHECK(limited.answer_tokens() <= limit);
        const auto read = json_document::parse(limited.calls()[0].arguments, "arguments");
        CHECK(read.has_value());
    }
}

namespace {

/// The functions of some_tools(), for a model whose template has words of its own for them.
struct published_form {
    std::string bytes;
    any_model model = opened(bytes);
    token_trie trie = must(token_trie::open(model.text()));
    tool_set tools = some_tools();
    constrained_tools source = must(constrained_tools::open(tools, trie));

    explicit published_form(std::string_view text)
        : bytes(with_template(with_large_context(tiny_model_path()), text)) {}

    [[nodiscard]] conversation talk(tool_choice calls, std::size_t limit = 0, conversation_options options = {}) const {
        options.session = {.context = 1536, .threads = 1};
        options.sampling = sampler_options{.temperature = 2.0f, .top_k = 0, .seed = 7};
        options.tools = &source;
        options.calls = calls;
        options.answer_limit = limit;
        return must(conversation::open(model, options));
    }
    [[nodiscard]] std::string text_of(const conversation& talk) const { return model.text().decode(talk.tokens()); }
    void check(const conversation_turn::call& call) {
        const auto outcome = tools.call(call.name, call.arguments);
        REQUIRE_MESSAGE((outcome && *outcome != "?"), call.name, call.arguments);
    }
    [[nodiscard]] std::vector<token> script(std::string_view text) const { return tokens_of(model, text); }
};

constexpr std::string_view dice_call = R"({"name": "dice", "parameters": {"n": 6}})";

} // namespace

TEST_CASE("an answer that begins as a call of LLaMA-3.1's is one, whole and valid, and nothing else") {
    published_form form(llama3_tools);
    conversation talk = form.talk({tool_mode::automatic, {}, true});
    scripted calls(form.script(dice_call), 1);
    talk.choose_with(calls);
    must_be_done(talk.say("Go"));
    CHECK(answered(talk).empty());
    CHECK(calls.is_done());
    CHECK(talk.ended_by() == answer_end::tool_calls); // one call, also where several may be
    REQUIRE(talk.calls().size() == 1);
    CHECK(talk.calls()[0].name == "dice");
    CHECK(talk.calls()[0].arguments == R"({"n": 6})");
    must_be_done(talk.say_result("4"));
    const std::string answered_dialog = form.text_of(talk);
    const std::string end = "Go<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n" + std::string(dice_call) +
                            "<|eot_id|><|start_header_id|>ipython<|end_header_id|>\n\n\"4\"<|eot_id|>"
                            "<|start_header_id|>assistant<|end_header_id|>\n\n";
    CHECK(answered_dialog.ends_with(end));
    CHECK(answered_dialog.find("Environment: ipython\n\n<|eot_id|>") != std::string::npos);
    CHECK(answered_dialog.find("\n\nGo<|eot_id|>") != std::string::npos);

    // The same dialog from data, and from a save.
    conversation added = form.talk({});
    const std::array<chat_tool_call, 1> as_data{{{"dice", R"({"n":6})"}}};
    must_be_done(added.add({"user", "Go"}));
    must_be_done(added.add({"assistant", "", as_data}));
    must_be_done(added.add({"tool", "4"}));
    must_be_done(added.begin_answer());
    CHECK(form.text_of(added) == answered_dialog);
    std::vector<std::byte> saved;
    must_be_done(talk.save(saved));
    conversation restored = form.talk({tool_mode::automatic});
    must_be_done(restored.restore(saved, "saved"));
    CHECK(form.text_of(restored) == answered_dialog);
    CHECK(restored.history()[1].calls.size() == 1);
}

TEST_CASE("what is no call in LLaMA-3.1's form stays text, and what looks like one is one") {
    published_form form(llama3_tools);
    // Text that begins with a brace, or has a call behind its beginning.
    for (const std::string text : {R"({"a": 1})", R"(So {"name": "dice"})", R"({"nam)"}) {
        conversation talk = form.talk({tool_mode::automatic}, form.script(text).size());
        scripted says(form.script(text), 1);
        talk.choose_with(says);
        must_be_done(talk.say("Go"));
        CHECK(answered(talk) == text);
        CHECK(talk.calls().empty());
        CHECK(says.is_done());
    }
    // No function has that name: the call goes on as one that there is.
    for (unsigned seed = 1; seed <= 6; ++seed) {
        conversation talk = form.talk({tool_mode::automatic}, 80);
        scripted wrong(form.script(R"({"name": "sing"})"), seed);
        talk.choose_with(wrong);
        must_be_done(talk.say("Go"));
        static_cast<void>(answered(talk));
        REQUIRE_MESSAGE(talk.calls().size() == 1, talk.history().back().text);
        form.check(talk.calls()[0]);
    }
    // Nor may a token that completes {"name" go on as no call does.
    const tokenizer& text = form.model.text();
    std::size_t others = 0;
    for (token id = 0; text.contains(id) && others < 4; ++id) {
        const std::string_view bytes = text.bytes_of(id);
        if (bytes.size() > 1 && bytes[0] == '"' && bytes[1] != ':' && !text.is_special(id)) {
            std::vector<token> script = form.script(R"({"name)");
            script.push_back(id);
            conversation talk = form.talk({tool_mode::automatic}, 80);
            scripted wrong(script, static_cast<unsigned>(++others));
            talk.choose_with(wrong);
            must_be_done(talk.say("Go"));
            CHECK(answered(talk).find("{\"name\"") == std::string::npos);
        }
    }
    CHECK(others != 0);
    // Where there is no room for a call, or none is wanted, none begins.
    conversation small = form.talk({tool_mode::automatic}, 20);
    scripted asks(form.script(dice_call), 3);
    small.choose_with(asks);
    must_be_done(small.say("Go"));
    CHECK(answered(small).find("{\"name\"") == std::string::npos);
    CHECK(small.calls().empty());
    conversation none = form.talk({tool_mode::none}, 60);
    scripted tries(form.script(dice_call), 3);
    none.choose_with(tries);
    must_be_done(none.say("Go"));
    CHECK(!answered(none).starts_with("{\"name\""));
    CHECK(none.calls().empty());
    // An answer that the host begins is text.
    conversation begun = form.talk({tool_mode::automatic}, form.script(dice_call).size());
    scripted goes_on(form.script(dice_call), 1);
    begun.choose_with(goes_on);
    must_be_done(begun.say("Go", "Well: "));
    CHECK(answered(begun) == dice_call);
    CHECK(begun.calls().empty());
}

TEST_CASE("required and named calls are held to the published forms from their first byte, at every limit") {
    for (const std::string_view text : {llama3_tools, falcon3_tools}) {
        published_form form(text);
        for (const std::size_t limit : {72u, 80u, 100u, 160u}) {
            conversation talk = form.talk({tool_mode::required}, limit);
            must_be_done(talk.say("Go"));
            CHECK(answered(talk).empty());
            REQUIRE(talk.calls().size() == 1);
            form.check(talk.calls()[0]);
            CHECK(talk.answer_tokens() <= limit);
            CHECK((talk.ended_by() == answer_end::tool_calls || talk.ended_by() == answer_end::limit));
            must_be_done(talk.choose_calls({tool_mode::named, "wait"}));
            must_be_done(talk.regenerate());
            conversation fork = must(talk.fork());
            CHECK(answered(talk).empty());
            CHECK(answered(fork).empty());
            REQUIRE(talk.calls().size() == 1);
            CHECK(talk.calls()[0].name == "wait");
            CHECK(fork.history().back().text == talk.history().back().text);
        }
    }
}

TEST_CASE("calls of Falcon3's are lists between marks, and results turns of the assistant's") {
    published_form form(falcon3_tools);
    conversation talk = form.talk({tool_mode::automatic, {}, true});
    const std::string list = "<tool_call>\n[\n  {\"name\": \"dice\", \"arguments\": {\"n\": 6}}\n]\n</tool_call>";
    std::vector<token> script = form.script("Both.\n" + list + "\n" + list);
    script.push_back(*form.model.text().eos());
    scripted calls(script, 1);
    talk.choose_with(calls);
    must_be_done(talk.say("Go"));
    CHECK(answered(talk) == "Both.\n");
    CHECK(calls.is_done());
    REQUIRE(talk.calls().size() == 2);
    CHECK(talk.calls()[1].name == "dice");
    CHECK(talk.calls()[1].arguments == R"({"n": 6})");
    const std::array<std::string, 2> results{"4", "5"};
    must_be_done(talk.say_results(results));
    const std::string eos(form.model.text().bytes_of(*form.model.text().eos()));
    CHECK(form.text_of(talk).ends_with("<|user|>\nGo\n<|assistant|>\nBoth.\n" + list + "\n" + list + eos +
                                       "\n<|assistant|>\n<tool_response>\n4\n</tool_response>\n<|assistant|>\n"
                                       "<tool_response>\n5\n</tool_response>\n<|assistant|>\n"));
}
