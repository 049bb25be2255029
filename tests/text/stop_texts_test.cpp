// SPDX-License-Identifier: MIT
#include <bitnet/text/stop_texts.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

using namespace bitnet;

namespace {

stop_texts make(const std::vector<std::string>& texts) {
    const std::vector<std::string_view> views(texts.begin(), texts.end());
    auto made = stop_texts::open(views);
    REQUIRE_MESSAGE(made, (made ? "" : made.error().message));
    return *std::move(made);
}

struct outcome {
    std::string shown;
    std::optional<std::size_t> stop;
    bool operator==(const outcome&) const = default;
};

/// By definition: the first byte at which a stop text ends, and of those that end there the longest.
outcome plainly(const std::vector<std::string>& texts, std::string_view answer) {
    for (std::size_t end = 1; end <= answer.size(); ++end) {
        std::optional<std::size_t> hit;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            if (answer.substr(0, end).ends_with(texts[i]) && (!hit || texts[i].size() > texts[*hit].size())) {
                hit = i;
            }
        }
        if (hit) {
            return {std::string(answer.substr(0, end - texts[*hit].size())), hit};
        }
    }
    return {std::string(answer), std::nullopt};
}

/// The longest end of `answer` that begins one of the texts and is shorter than it.
std::string_view beginning_at_the_end(const std::vector<std::string>& texts, std::string_view answer) {
    for (std::size_t from = 0; from < answer.size(); ++from) {
        for (const std::string& text : texts) {
            const std::string_view end = answer.substr(from);
            if (end.size() < text.size() && std::string_view(text).starts_with(end)) {
                return end;
            }
        }
    }
    return {};
}

class random_texts {
public:
    explicit random_texts(std::uint32_t seed) : numbers_(seed) {}
    std::size_t below(std::size_t n) { return numbers_() % n; }
    std::string text(std::size_t size, std::size_t letters) {
        std::string made;
        while (made.size() < size) {
            made += static_cast<char>("ab\xff\0cd"[below(letters)]);
        }
        return made;
    }

private:
    std::mt19937 numbers_;
};

outcome fed_in_pieces(stop_texts& stops, const std::vector<std::string>& texts, std::string_view answer,
                      random_texts& random) {
    outcome made;
    std::size_t fed = 0;
    while (fed < answer.size() && !made.stop) {
        const std::string piece(answer.substr(fed, random.below(5)));
        fed += piece.size();
        const auto step = stops.feed(piece);
        made.shown.append(step.shown[0]).append(step.shown[1]);
        made.stop = step.stop;
        if (!made.stop) {
            CHECK(stops.held() == beginning_at_the_end(texts, answer.substr(0, fed)));
            CHECK(made.shown + std::string(stops.held()) == answer.substr(0, fed));
        }
    }
    made.shown.append(stops.flush());
    return made;
}

std::string message_of(std::span<const std::string_view> texts) {
    auto made = stop_texts::open(texts);
    REQUIRE(!made);
    CHECK(made.error().code == errc::invalid_argument);
    return made.error().message;
}

} // namespace

TEST_CASE("a stop text ends the answer, and nothing of it is shown, wherever it is cut") {
    auto stops = make({"\nUser:", "###"});
    CHECK(stops.feed("Hello\n").shown[1] == "Hello");
    CHECK(stops.held() == "\n");
    CHECK(stops.feed("Us").shown[1].empty());
    auto step = stops.feed("e it");
    CHECK(step.shown[0] == "\nUs");
    CHECK(step.shown[1] == "e it");
    CHECK(!step.stop);
    step = stops.feed(" #");
    CHECK(step.shown[1] == " ");
    step = stops.feed("##more");
    CHECK(step.stop == std::optional<std::size_t>(1));
    CHECK(step.shown[0].empty());
    CHECK(step.shown[1].empty());
    CHECK(stops.flush().empty());

    step = stops.feed("still"); // after the hit
    CHECK(step.stop == std::optional<std::size_t>(1));
    CHECK(step.shown[1].empty());
    stops.reset();
    CHECK(stops.feed("a\nUser: b").shown[1] == "a");
    CHECK(stops.feed("").stop == std::optional<std::size_t>(0));
}

TEST_CASE("what is held back is shown in part when it can only be the beginning of a shorter text") {
    auto stops = make({"aabaax", "aay"});
    CHECK(stops.feed("aabaa").shown[1].empty());
    CHECK(stops.held() == "aabaa");
    const auto step = stops.feed("y"); // "aab" was no beginning after all
    CHECK(step.shown[0] == "aab");
    CHECK(step.shown[1].empty());
    CHECK(step.stop == std::optional<std::size_t>(1));
}

TEST_CASE("of stop texts that end at the same byte the longest is the hit, of equal ones the first") {
    auto stops = make({"c", "bc", "abc", "abc"});
    auto step = stops.feed("xabc");
    CHECK(step.stop == std::optional<std::size_t>(2));
    CHECK(step.shown[1] == "x");
    stops.reset();
    step = stops.feed("xbc");
    CHECK(step.stop == std::optional<std::size_t>(1));
    CHECK(step.shown[1] == "x");
}

TEST_CASE("stop texts are found as the definition says, in random texts cut at random places") {
    random_texts random(17);
    int hits = 0;
    for (int round = 0; round < 4000; ++round) {
        const std::size_t letters = 1 + random.below(4);
        std::vector<std::string> texts(random.below(6));
        for (std::string& text : texts) {
            text = random.text(1 + random.below(7), letters);
        }
        auto stops = make(texts);
        for (int answers = 0; answers < 3; ++answers) {
            const std::string answer = random.text(random.below(60), letters + random.below(3));
            const outcome expected = plainly(texts, answer);
            CHECK(fed_in_pieces(stops, texts, answer, random) == expected);
            hits += expected.stop ? 1 : 0;
            stops.reset();
        }
    }
    CHECK(hits > 3000);
    CHECK(hits < 11000);
}

TEST_CASE("64 stop texts of 1,024 bytes are possible, and not one more of either") {
    random_texts random(3);
    std::vector<std::string> texts;
    for (int i = 0; i < 64; ++i) {
        texts.push_back(random.text(1024, 2));
    }
    auto stops = make(texts);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        stops.reset();
        std::string shown;
        const std::string answer = "ab" + texts[i].substr(0, 1023) + "d" + texts[i] + "b";
        std::optional<std::size_t> stop;
        for (const char c : answer) {
            const auto step = stops.feed({&c, 1});
            shown.append(step.shown[0]).append(step.shown[1]);
            stop = step.stop;
        }
        CHECK(stop == std::optional(i));
        CHECK(shown == "ab" + texts[i].substr(0, 1023) + "d");
    }

    std::vector<std::string_view> views(texts.begin(), texts.end());
    views.emplace_back("x");
    CHECK(message_of(views) == "stop texts: 65 were given, at most 64 are possible");
    views.resize(3);
    views[1] = "";
    CHECK(message_of(views) == "stop texts: text 1 has 0 bytes, 1 to 1024 are possible");
    const std::string long_text(1025, 'a');
    views[1] = long_text;
    CHECK(message_of(views) == "stop texts: text 1 has 1025 bytes, 1 to 1024 are possible");
}

TEST_CASE("without stop texts everything is shown at once") {
    auto stops = make({});
    CHECK(stops.feed("abc").shown[1] == "abc");
    CHECK(!stops.feed("").stop);
    CHECK(stops.flush().empty());
}
