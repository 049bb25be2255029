// SPDX-License-Identifier: MIT
// stamp_table: keeps numbers by three others, up to the number of entries that it was opened with.
#include "constrain/feeding.hpp"

#include <bitnet/constrain/stamp_table.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>

using namespace bitnet_tests;

namespace {

constexpr std::uint32_t none = bitnet::detail::stamp_table::none;

/// Puts 7 * i for (i, i / 3, i % 5), i below `count`. \return how many were new and had room
std::uint32_t put(bitnet::detail::stamp_table& table, std::uint32_t count) {
    std::uint32_t added = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        std::uint32_t* const value = table.at(i, i / 3, i % 5);
        if (value != nullptr && *value == none) {
            *value = 7 * i;
            ++added;
        }
    }
    return added;
}

std::uint32_t found(bitnet::detail::stamp_table& table, std::uint32_t count) {
    std::uint32_t right = 0;
    for (std::uint32_t i = 0; i < count; ++i) {
        const std::uint32_t* const value = table.at(i, i / 3, i % 5);
        right += value != nullptr && *value == 7 * i ? 1u : 0u;
    }
    return right;
}

} // namespace

TEST_CASE("stamp_table: finds all that it has room for, however many there come to be") {
    for (const std::uint32_t entries : {1u, 63u, 64u, 65u, 1000u}) {
        CAPTURE(entries);
        auto table = must(bitnet::detail::stamp_table::open(entries));
        CHECK(put(table, entries) == entries);
        CHECK(found(table, entries) == entries);
        CHECK(table.at(entries, 0, 9) == nullptr);
        CHECK(found(table, entries) == entries);
        CHECK(table.at(0, 0, 0) != nullptr);
    }
}

TEST_CASE("stamp_table: forgets everything at once, and has all its room again") {
    auto table = must(bitnet::detail::stamp_table::open(200));
    const std::size_t bytes = table.size_bytes();
    for (const std::uint32_t count : {200u, 3u, 150u}) {
        CHECK(put(table, count) == count);
        table.forget();
        CHECK(*table.at(1, 0, 1) == none);
        table.forget();
    }
    CHECK(put(table, 200) == 200);
    CHECK(table.size_bytes() == bytes);
}
