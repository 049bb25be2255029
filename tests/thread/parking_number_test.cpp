// SPDX-License-Identifier: MIT
#include <bitnet/thread/native_thread.hpp>
#include <bitnet/thread/parking_number.hpp>

#include <doctest/doctest.h>

#include <cstdint>

using bitnet::detail::native_thread;
using bitnet::detail::parking_number;

namespace {

/// Two threads that only sleep and wake each other: one lost notification, and they sleep forever.
struct game {
    static constexpr std::uint32_t rounds = 20'000;
    parking_number served;
    parking_number returned;

    static void play_back(void* self) noexcept {
        auto& g = *static_cast<game*>(self);
        for (std::uint32_t round = 0; round < rounds; ++round) {
            while (g.served.value.load() == round) {
                g.served.wait(round);
            }
            g.returned.value.store(round + 1);
            g.returned.notify_all();
        }
    }
};

} // namespace

TEST_CASE("no notification of a parked thread is lost") {
    game g;
    native_thread partner;
    REQUIRE(partner.start(&game::play_back, &g));
    for (std::uint32_t round = 0; round < game::rounds; ++round) {
        g.served.value.store(round + 1);
        g.served.notify_all();
        while (g.returned.value.load() == round) {
            g.returned.wait(round);
        }
    }
    partner.join();
    CHECK(g.returned.value.load() == game::rounds);
}

TEST_CASE("a thread does not park on a number that has changed") {
    parking_number number;
    number.value.store(7);
    number.wait(6);
    CHECK(number.value.load() == 7);
}
