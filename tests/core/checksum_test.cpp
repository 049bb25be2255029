// SPDX-License-Identifier: MIT
// The checksum of saves: a fixed definition, whatever the pieces, and every changed bit shows.
#include <bitnet/core/checksum.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

using namespace bitnet::detail;

namespace {

std::vector<std::byte> some_bytes(std::size_t count) {
    std::vector<std::byte> made(count);
    for (std::size_t i = 0; i < count; ++i) {
        made[i] = static_cast<std::byte>(i * i * 31 + 7 * i + 3);
    }
    return made;
}

} // namespace

TEST_CASE("the checksum has the same value on every machine") {
    CHECK(checksum::of({}) == UINT64_C(12646402857438266259));
    CHECK(checksum::of(some_bytes(64)) == UINT64_C(11628603832867014488));
    CHECK(checksum::of(some_bytes(1000), 5) == UINT64_C(15074523362716541326));
}

TEST_CASE("the checksum does not depend on where pieces end") {
    const auto all = some_bytes(300);
    const std::span<const std::byte> bytes = all;
    const std::uint64_t whole = checksum::of(bytes);
    for (std::size_t first = 0; first <= 300; ++first) {
        for (const std::size_t step : {std::size_t{1}, std::size_t{63}, std::size_t{64}, std::size_t{300}}) {
            checksum sum;
            sum.add(bytes.first(first));
            for (std::size_t at = first; at < 300; at += step) {
                sum.add(bytes.subspan(at, step < 300 - at ? step : 300 - at));
            }
            REQUIRE(sum.value() == whole);
        }
    }
}

TEST_CASE("a changed bit, a missing byte, a zero more and another seed change the checksum") {
    auto bytes = some_bytes(200);
    const std::uint64_t right = checksum::of(bytes);
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
        REQUIRE(checksum::of(bytes) != right);
        bytes[bit / 8] ^= std::byte{1} << (bit % 8);
    }
    CHECK(checksum::of(bytes, 1) != right);
    CHECK(checksum::of(std::span(bytes).first(199)) != right);
    bytes.push_back({});
    CHECK(checksum::of(bytes) != right);
}
