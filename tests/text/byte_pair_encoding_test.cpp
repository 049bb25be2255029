// SPDX-License-Identifier: MIT
// Byte pair encoding against a plain quadratic one.
#include <bitnet/text/byte_pair_encoding.hpp>

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;

namespace {
struct generator {
    std::uint64_t state;
    std::size_t operator()(std::size_t below) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        return static_cast<std::size_t>(state >> 33) % below;
    }
};

/// Random merges over the bytes a, b and c, kept twice: as the library does and as a plain map.
struct merges {
    std::map<std::pair<token, token>, merge> plain;
    merge_table table;
    std::array<token, 256> bytes{};

    merges(generator& random, std::size_t count) : table(*merge_table::allocate(count)) {
        for (std::size_t b = 0; b < 256; ++b) {
            bytes[b] = static_cast<token>(b);
        }
        std::vector<token> ids{'a', 'b', 'c'};
        for (std::size_t tries = 0; plain.size() < count && tries < 10 * count; ++tries) {
            const std::pair pair{ids[random(ids.size())], ids[random(ids.size())]};
            const merge made{static_cast<std::uint32_t>(plain.size()), static_cast<token>(256 + plain.size())};
            if (plain.emplace(pair, made).second) {
                REQUIRE(table.insert(pair.first, pair.second, made) == token_index::outcome::inserted);
                ids.push_back(made.whole);
            }
        }
    }

    std::vector<token> encode(const std::string& text) const {
        std::vector<token> ids;
        for (const char c : text) {
            ids.push_back(bytes[static_cast<unsigned char>(c)]);
        }
        while (true) {
            std::size_t at = ids.size();
            merge lowest;
            for (std::size_t i = 0; i + 1 < ids.size(); ++i) {
                const auto found = plain.find({ids[i], ids[i + 1]});
                if (found != plain.end() && found->second.rank < lowest.rank) {
                    lowest = found->second;
                    at = i;
                }
            }
            if (at == ids.size()) {
                return ids;
            }
            ids[at] = lowest.whole;
            ids.erase(ids.begin() + static_cast<std::ptrdiff_t>(at) + 1);
        }
    }
};
} // namespace

TEST_CASE("merging agrees with the plain method, for pieces short and long") {
    generator random{11};
    std::size_t differing = 0;
    for (int round = 0; round < 150; ++round) {
        merges expected(random, 1 + random(40));
        const byte_pair_encoding encoding(expected.bytes, std::move(expected.table));
        for (const std::size_t size : {1u, 2u, 3u, 10u, 63u, 64u, 65u, 66u, 100u, 400u}) {
            std::string text;
            while (text.size() < size) {
                text += static_cast<char>('a' + random(3));
            }
            std::vector<token> ids;
            REQUIRE(encoding.encode(text, ids));
            differing += ids != expected.encode(text) ? 1 : 0;
        }
    }
    CHECK(differing == 0);
}

TEST_CASE("equal neighbours merge from the left") {
    merge_table table = *merge_table::allocate(1);
    REQUIRE(table.insert('a', 'a', {0, 256}) == token_index::outcome::inserted);
    CHECK(table.insert('a', 'a', {1, 257}) == token_index::outcome::duplicate);
    std::array<token, 256> bytes{};
    bytes['a'] = 'a';
    const byte_pair_encoding encoding(bytes, std::move(table));
    for (const std::size_t size : {3u, 63u, 65u, 1001u}) {
        std::vector<token> ids;
        REQUIRE(encoding.encode(std::string(size, 'a'), ids));
        CHECK(ids.size() == size / 2 + 1);
        CHECK(ids.front() == 256);
        CHECK(ids.back() == 'a');
    }
}

TEST_CASE("a byte without token is refused by its number") {
    std::array<token, 256> bytes{};
    bytes[0xc0] = no_token;
    const byte_pair_encoding encoding(bytes, *merge_table::allocate(0));
    std::vector<token> ids;
    const auto refused = encoding.encode("a\xc0", ids);
    REQUIRE(!refused);
    CHECK(refused.error().code == errc::invalid_argument);
    CHECK(refused.error().message.find("byte 192") != std::string::npos);
    CHECK(ids.empty());
    CHECK(encoding.encode("a", ids));
}
