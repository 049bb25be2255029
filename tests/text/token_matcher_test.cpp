// SPDX-License-Identifier: MIT
// token_index and token_matcher against plain maps and plain search.
#include <bitnet/text/merge_table.hpp>
#include <bitnet/text/token_index.hpp>
#include <bitnet/text/token_matcher.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
token_store store_of(const std::vector<std::string>& texts) {
    std::size_t bytes = 0;
    for (const auto& text : texts) {
        bytes += text.size();
    }
    auto store = token_store::allocate(texts.size(), bytes);
    REQUIRE(store);
    for (const auto& text : texts) {
        std::copy(text.begin(), text.end(), store->free_space());
        store->append(text.size());
    }
    return *std::move(store);
}

struct generator {
    std::uint64_t state;
    std::size_t operator()(std::size_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % below;
    }
};

std::string random_text(generator& random, std::size_t longest, std::size_t letters) {
    std::string text;
    for (std::size_t n = random(longest) + 1; n > 0; --n) {
        text += static_cast<char>('a' + random(letters));
    }
    return text;
}
} // namespace

TEST_CASE("an index finds every token by its bytes, and no other bytes") {
    std::vector<std::string> texts{"", std::string(1, '\0'), std::string(2, '\0'), "\xff\xfe", std::string(300, 'x')};
    for (int i = 0; i < 5000; ++i) {
        texts.push_back("token" + std::to_string(i) + std::string(static_cast<std::size_t>(i % 23), '.'));
    }
    const auto store = store_of(texts);
    auto index = token_index::allocate(texts.size());
    REQUIRE(index);
    for (std::size_t i = 0; i < texts.size(); ++i) {
        REQUIRE(index->insert(store, static_cast<token>(i)) == token_index::outcome::inserted);
    }
    CHECK(index->insert(store, 7) == token_index::outcome::duplicate);
    std::size_t wrong = 0;
    for (std::size_t i = 0; i < texts.size(); ++i) {
        wrong += index->find(store, texts[i]) != static_cast<token>(i) ? 1 : 0;
        wrong += index->find(store, texts[i] + "?") != no_token ? 1 : 0;
    }
    CHECK(wrong == 0);
}

TEST_CASE("short strings that differ in one byte or in length hash differently") {
    std::set<std::uint64_t> hashes;
    std::size_t count = 0;
    for (std::size_t size = 0; size <= 40; ++size) {
        std::string text(size, 'a');
        hashes.insert(hash_bytes(text));
        ++count;
        for (std::size_t i = 0; i < size; ++i) {
            text[i] = 'b';
            hashes.insert(hash_bytes(text));
            ++count;
            text[i] = 'a';
        }
    }
    CHECK(hashes.size() == count);
}

TEST_CASE("a crowded table reports it and stops searching") {
    std::vector<std::string> texts;
    for (std::size_t i = 0; i <= longest_probe; ++i) {
        texts.push_back(std::to_string(i));
    }
    const auto store = store_of(texts);
    auto index = token_index::allocate(longest_probe / 2 - 1); // longest_probe slots
    auto table = merge_table::allocate(longest_probe / 2);     // as many
    REQUIRE(index);
    REQUIRE(table);
    for (token i = 0; i < static_cast<token>(longest_probe); ++i) {
        REQUIRE(index->insert(store, i) == token_index::outcome::inserted);
        REQUIRE(table->insert(i, i, {0, i}) == token_index::outcome::inserted);
    }
    CHECK(index->insert(store, static_cast<token>(longest_probe)) == token_index::outcome::crowded);
    CHECK(table->insert(-1, -1, {0, 0}) == token_index::outcome::crowded);
}

TEST_CASE("a matcher finds the leftmost token, and the longest of those that start there") {
    const auto store = store_of({"<|a|>", "<|a|><|b|>", "<", "x<", "unrelated"});
    std::vector<token> ids{0, 1, 2, 3, 4};
    std::sort(ids.begin(), ids.end(), [&](token a, token b) { return store[a] < store[b]; });
    const auto matcher = token_matcher::make(store, ids);
    REQUIRE(matcher);
    const auto first = matcher->next(store, "..<|a|><|b|>", 0);
    CHECK(first.position == 2);
    CHECK(first.id == 1);
    CHECK(matcher->next(store, "<|a|><|b|", 0).id == 0);
    CHECK(matcher->next(store, "<|a|", 0).id == 2);
    CHECK(matcher->next(store, "x<|a|>", 0).id == 3);
    CHECK(matcher->next(store, "x<|a|>", 1).id == 0);
    const auto none = matcher->next(store, "nothing", 0);
    CHECK(none.position == 7);
    CHECK(none.size == 0);
    CHECK(none.id == no_token);
    CHECK(token_matcher{}.next(store, "<|a|>", 0).size == 0);
}

TEST_CASE("a matcher agrees with trying every token at every place") {
    generator random{3};
    for (int round = 0; round < 300; ++round) {
        std::set<std::string> unique;
        for (int i = 0; i < 12; ++i) {
            unique.insert(random_text(random, 6, 2));
        }
        const std::vector<std::string> texts(unique.begin(), unique.end()); // in order
        const auto store = store_of(texts);
        std::vector<token> ids;
        for (std::size_t i = 0; i < texts.size(); ++i) {
            ids.push_back(static_cast<token>(i));
        }
        const auto matcher = token_matcher::make(store, ids);
        REQUIRE(matcher);
        const std::string text = random_text(random, 40, 3);
        token_match expected{text.size(), 0, no_token};
        for (std::size_t at = 0; at < text.size() && expected.size == 0; ++at) {
            for (const token id : ids) {
                if (text.compare(at, store[id].size(), store[id]) == 0 && store[id].size() > expected.size) {
                    expected = {at, store[id].size(), id};
                }
            }
        }
        const auto found = matcher->next(store, text, 0);
        REQUIRE(found.position == expected.position);
        REQUIRE(found.id == expected.id);
    }
}
