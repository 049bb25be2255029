// SPDX-License-Identifier: MIT
#include <bitnet/checkpoint/layout_for.hpp>

#include <doctest/doctest.h>

#include <cstdint>

using bitnet::detail::layout_note;

TEST_CASE("the automatic layout is told of large files that are multiplied where they lie, and of no others") {
    constexpr std::uint64_t large = std::uint64_t{64} << 20;
    CHECK(layout_note("i2_s", large, false) ==
          "layout: i2_s, because the file's weights are multiplied in it where they lie");
    CHECK(layout_note("i2_s", large - 1, false).empty());
    CHECK(layout_note("i2_s", large, true).empty());
}
