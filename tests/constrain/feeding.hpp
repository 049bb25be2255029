// SPDX-License-Identifier: MIT
// Short questions about grammars, for tests: whether a text is taken, and where a matcher refuses.
#pragma once

#include <bitnet/constrain/grammar.hpp>
#include <bitnet/constrain/matcher.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

namespace bitnet_tests {

/// The value of a result that must have one.
template <class T> T must(bitnet::result<T> made) {
    INFO((made ? std::string() : made.error().message));
    REQUIRE(made.has_value());
    return *std::move(made);
}

/// Bytes of `text` that are taken; all of them and one more where it may end behind them.
inline std::size_t taken(const bitnet::grammar& grammar, std::string_view text) {
    bitnet::matcher matcher = must(bitnet::matcher::open(grammar));
    const std::size_t bytes = matcher.accept(text);
    REQUIRE(!matcher.out_of_budget());
    return bytes + (bytes == text.size() && matcher.can_end() ? 1 : 0);
}
inline bool accepts(const bitnet::grammar& grammar, std::string_view text) {
    return taken(grammar, text) == text.size() + 1;
}

/// What an error says that must be there.
template <class T> std::string sentence_of(const bitnet::result<T>& made, bitnet::errc code) {
    REQUIRE(!made.has_value());
    CHECK(made.error().code == code);
    CHECK(made.error().message.size() <= 1000);
    return made.error().message;
}

} // namespace bitnet_tests
