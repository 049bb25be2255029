// SPDX-License-Identifier: MIT
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>
#include <utility>
#include <vector>
#if defined(_WIN32)
#if !defined(NOMINMAX)
#define NOMINMAX
#endif
#include <windows.h>
#endif

using namespace bitnet;
using namespace bitnet::detail;

static_assert(thread_pool_type<thread_pool>);
static_assert(thread_pool_type<inline_pool>);

TEST_CASE_TEMPLATE("a pool runs every index exactly once", Pool, thread_pool, inline_pool) {
    for (const std::size_t threads : {1u, 2u, 3u, 8u, 33u}) {
        auto pool = Pool::open(threads);
        REQUIRE(pool);
        for (const std::size_t count : {0u, 1u, 2u, 7u, 64u, 1000u}) {
            std::vector<std::atomic<int>> hits(count);
            parallel_for(**pool, count, [&](std::size_t i) { hits[i].fetch_add(1); });
            for (const auto& hit : hits) {
                REQUIRE(hit.load() == 1);
            }
        }
    }
}

TEST_CASE("writes of the tasks are visible after the loop, over many short loops") {
    auto pool = thread_pool::open(4);
    REQUIRE(pool);
    std::vector<std::size_t> plain(13); // not atomic: ThreadSanitizer sees a missing edge here
    for (std::size_t loop = 0; loop < 3000; ++loop) {
        parallel_for(**pool, plain.size(), [&](std::size_t i) { plain[i] += i + loop; });
    }
    std::size_t loops = 0;
    for (std::size_t loop = 0; loop < 3000; ++loop) {
        loops += loop;
    }
    for (std::size_t i = 0; i < plain.size(); ++i) {
        CHECK(plain[i] == 3000 * i + loops);
    }
}

TEST_CASE("a sleeping pool wakes up") {
    auto pool = thread_pool::open(3);
    REQUIRE(pool);
    for (int round = 0; round < 5; ++round) {
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
        std::atomic<int> sum{0};
        parallel_for(**pool, 100, [&](std::size_t i) { sum += static_cast<int>(i); });
        CHECK(sum.load() == 4950);
    }
}

namespace {

/// CPU seconds that all threads of this process have used. std::clock() counts the time of day on Windows.
double cpu_seconds() {
#if defined(_WIN32)
    FILETIME created, ended, kernel, user;
    REQUIRE(GetProcessTimes(GetCurrentProcess(), &created, &ended, &kernel, &user) != 0);
    return 1e-7 * (static_cast<double>(kernel.dwLowDateTime) + static_cast<double>(user.dwLowDateTime));
#else
    return static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
#endif
}

/// CPU seconds that they use in that time.
double busy_during(int milliseconds) {
    const double before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return cpu_seconds() - before;
}

/// CPU seconds that a thread gets which yields again and again for that time.
double cpu_seconds_of_yielding(int milliseconds) {
    const double before = cpu_seconds();
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(milliseconds);
    while (std::chrono::steady_clock::now() < end) {
        std::this_thread::yield();
    }
    return cpu_seconds() - before;
}

/// As busy_during for 200 milliseconds after loops of a pool that spins for so long; then for 200 more.
std::pair<double, double> busy_behind_loops(int spinning_milliseconds) {
    auto pool = thread_pool::open(2, std::chrono::milliseconds(spinning_milliseconds));
    REQUIRE(pool);
    std::atomic<int> sum{0};
    for (int loop = 0; loop < 20; ++loop) {
        parallel_for(**pool, 100, [&](std::size_t i) { sum += static_cast<int>(i); });
    }
    CHECK(sum.load() == 20 * 4950);
    const double first = busy_during(200);
    return {first, busy_during(200)};
}

} // namespace

TEST_CASE("an idle pool uses no CPU") {
    auto pool = thread_pool::open(8);
    REQUIRE(pool);
    parallel_for(**pool, 100, [](std::size_t) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(50)); // the spinning is over
    CHECK(busy_during(200) < 0.05);
}

TEST_CASE("a pool spins as long as asked, then uses no CPU") {
    const auto parked = busy_behind_loops(0);
    CHECK(parked.first < 0.05);
    CHECK(parked.second < 0.05);
    // A thread that yields gets next to nothing of a loaded machine: what counts is what gets time before and after.
    double spun = 0;
    int fair_attempts = 0;
    for (int attempt = 0; attempt < 20 && spun <= 0.02; ++attempt) {
        const double before = cpu_seconds_of_yielding(100);
        const auto spinning = busy_behind_loops(150);
        CHECK(spinning.second < 0.05);
        spun = spinning.first;
        fair_attempts += std::min(before, cpu_seconds_of_yielding(100)) > 0.06 ? 1 : 0;
    }
    const bool is_seen = spun > 0.02; // a bool: what tests/musl/run links cannot print a double
    if (fair_attempts < 5) {
        WARN_MESSAGE(is_seen, "not seen to spin: this machine is busy");
    } else {
        CHECK(is_seen);
    }
}

TEST_CASE("a slow task does not hold up the others") {
    auto pool = thread_pool::open(2);
    REQUIRE(pool);
    std::atomic<int> others{0};
    std::atomic<bool> all_others_ran{false};
    parallel_for(**pool, 10, [&](std::size_t i) {
        if (i == 0) { // leaves nine tasks to the other thread
            const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
            while (others.load() < 9 && std::chrono::steady_clock::now() < deadline) {
                std::this_thread::yield();
            }
            all_others_ran = others.load() == 9;
        } else {
            ++others;
        }
    });
    CHECK(all_others_ran.load());
}

TEST_CASE("zero threads and too many are refused with both numbers") {
    const auto none = thread_pool::open(0);
    REQUIRE_FALSE(none);
    CHECK(none.error().code == errc::invalid_argument);
    CHECK(none.error().message == "thread_pool: 0 threads asked for, 1 to 1024 are possible");
    CHECK_FALSE(thread_pool::open(1025));
}

TEST_CASE("a pool closes at once, whether it has run tasks or not") {
    for (int i = 0; i < 50; ++i) {
        auto pool = thread_pool::open(4);
        REQUIRE(pool);
        if (i % 2 == 0) {
            parallel_for(**pool, 8, [](std::size_t) {});
        }
    }
}

TEST_CASE("guided runs give every index once, in order, long runs first and single indices last") {
    for (const std::size_t threads : {1u, 2u, 3u, 8u, 64u}) {
        for (const std::size_t count : {0u, 1u, 2u, 7u, 64u, 1000u}) {
            const guided_runs runs(count, threads);
            std::size_t next = 0;
            std::size_t longest = count;
            for (std::size_t i = 0; i < runs.size(); ++i) {
                const auto run = runs[i];
                REQUIRE(run.begin == next);
                REQUIRE(run.end - run.begin <= longest);
                next = run.end;
                longest = std::max<std::size_t>(run.end - run.begin, 1);
            }
            CHECK(next == count);
            CHECK((count == 0 || longest == 1));
            CHECK((count == 0 || runs[0].end <= std::max<std::size_t>(1, count / (2 * threads))));
        }
    }
}
