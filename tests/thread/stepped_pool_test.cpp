// SPDX-License-Identifier: MIT
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/stepped_pool.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>
#include <vector>

using namespace bitnet;
using namespace bitnet::detail;
using namespace std::chrono_literals;

namespace {

/// A stage of loops of these lengths, which counts how often each index runs. Loop n + 1 expects that all of loop n
/// ran.
struct counted_stage {
    explicit counted_stage(std::vector<std::size_t> lengths) {
        for (const std::size_t length : lengths) {
            hits.emplace_back(length);
        }
    }

    void run(pool_ref pool) {
        for (std::size_t loop = 0; loop < hits.size(); ++loop) {
            parallel_stream(pool, hits[loop].size(), [&](std::size_t i) noexcept {
                hits[loop][i].fetch_add(1);
                if (loop != 0 && !is_done(loop - 1)) {
                    is_in_order.store(false);
                }
                if (pause != 0us) {
                    std::this_thread::sleep_for(pause);
                }
            });
        }
    }
    [[nodiscard]] bool is_done(std::size_t loop) const {
        for (const auto& each : hits[loop]) {
            if (each.load() != 1) {
                return false;
            }
        }
        return true;
    }
    [[nodiscard]] std::size_t total() const {
        std::size_t sum = 0;
        for (const auto& loop : hits) {
            for (const auto& each : loop) {
                sum += static_cast<std::size_t>(each.load());
            }
        }
        return sum;
    }

    std::vector<std::vector<std::atomic<int>>> hits;
    std::atomic<bool> is_in_order{true};
    std::chrono::microseconds pause{0};
};

} // namespace

TEST_CASE("stepped loops run every index once and one after another, whatever the budgets and threads") {
    for (const std::size_t threads : {1u, 2u, 5u}) {
        auto pool = thread_pool::open(threads);
        REQUIRE(pool);
        stepped_pool stepped(**pool);
        unsigned seed = 1;
        for (int round = 0; round < 20; ++round) {
            counted_stage stage({7, 0, 100, 1, 0, 33, 3});
            stage.pause = std::chrono::microseconds(round % 3 * 2);
            loop_progress progress;
            std::size_t steps = 0;
            do {
                seed = seed * 1103515245u + 12345u;
                const std::size_t before = stage.total();
                stepped.start(std::chrono::microseconds((seed >> 16) % 4 * 40), nullptr);
                stage.run(stepped.resume(progress, {1, 1}));
                REQUIRE(stage.total() > before); // something runs in every step
                ++steps;
            } while (stepped.is_stopped());
            CHECK(stage.is_in_order.load());
            CHECK(stage.total() == 144);
            CHECK(progress.loops == 7);
            CHECK(steps <= 144);
            for (std::size_t loop = 0; loop < stage.hits.size(); ++loop) {
                REQUIRE(stage.is_done(loop));
            }
        }
    }
}

TEST_CASE("a step without time runs one index, and one with time no more than fit") {
    inline_pool here;
    stepped_pool stepped(here);
    counted_stage stage({200});
    stage.pause = 20ms;
    loop_progress progress;
    const auto run = [&](std::chrono::nanoseconds budget) {
        const std::size_t before = stage.total();
        stepped.start(budget, nullptr);
        stage.run(stepped.resume(progress, {1, 1}));
        return stage.total() - before;
    };
    CHECK(run(0ns) == 1);
    CHECK(run(-5ms) == 1);
    CHECK(run(5ms) == 1); // that 20 ms do not fit in 5 is known
    CHECK(run(10ms) == 1);
    const std::size_t some = run(200ms);
    CHECK(some >= 1);
    CHECK(some <= 10);
    CHECK(stepped.is_stopped());
    CHECK(!stepped.is_cancelled());
    stage.pause = 0ms;
    CHECK(run(std::chrono::nanoseconds::max()) == 200 - 4 - some);
    CHECK(!stepped.is_stopped());
}

TEST_CASE("a flag stops a step between two indices, and the rest runs later") {
    auto pool = thread_pool::open(2);
    REQUIRE(pool);
    stepped_pool stepped(**pool);
    std::atomic<bool> flag{false};
    std::atomic<int> count{0};
    loop_progress progress;
    const auto stage = [&](pool_ref ref) {
        parallel_for(ref, 100, [&](std::size_t) noexcept {
            if (count.fetch_add(1) == 40) {
                flag.store(true);
            }
        });
        parallel_for(ref, 1, [&](std::size_t) noexcept { count.fetch_add(1000); });
    };
    stepped.start(&flag);
    stage(stepped.resume(progress, {1, 1}));
    CHECK(stepped.is_stopped());
    CHECK(stepped.is_cancelled());
    const int before = count.load();
    CHECK(before > 40);
    CHECK(before < 100);
    stepped.start(1h, &flag); // is still true: nothing runs
    stage(stepped.resume(progress, {1, 1}));
    CHECK(stepped.is_cancelled());
    CHECK(count.load() == before);
    flag.store(false);
    stepped.start(&flag);
    stage(stepped.resume(progress, {1, 1}));
    CHECK(!stepped.is_stopped());
    CHECK(count.load() == 1100);
}

TEST_CASE("a step without end and flag uses the plain pool, but for the rest of a stage that was stopped") {
    inline_pool here;
    stepped_pool stepped(here);
    loop_progress progress;
    stepped.start(nullptr);
    CHECK(!stepped.resume(progress, {1, 1}).makes_runs());
    stepped.start(0ns, nullptr);
    counted_stage stage({3, 5});
    const pool_ref ref = stepped.resume(progress, {1, 1});
    CHECK(ref.makes_runs());
    CHECK(ref.threads() == 1);
    stage.run(ref);
    CHECK(stage.total() == 1);
    stepped.start(nullptr);
    const pool_ref rest = stepped.resume(progress, {1, 1});
    CHECK(rest.makes_runs());
    stage.run(rest);
    CHECK(stage.total() == 8);
    progress = {};
    CHECK(!stepped.resume(progress, {1, 1}).makes_runs());
}

TEST_CASE("times are learnt with caution: a longer one at once but for outliers, a shorter one little by little") {
    loop_times times;
    CHECK(times.of({1, 4}, 2) == 0);
    times.learn({1, 4}, 2, 800);
    CHECK(times.of({1, 4}, 2) == 800);
    CHECK(times.of({1, 7}, 2) == 800);
    CHECK(times.of({1, 8}, 2) == 1600); // not known: in proportion
    CHECK(times.of({1, 2}, 2) == 0);
    CHECK(times.of({0, 4}, 2) == 0);
    CHECK(times.of({1, 4}, 3) == 0);
    times.learn({1, 4}, 2, 0);
    CHECK(times.of({1, 4}, 2) == 701);
    times.learn({1, 4}, 2, 1000);
    CHECK(times.of({1, 4}, 2) == 1000);
    times.learn({1, 4}, 2, 1'000'000'000'000);
    CHECK(times.of({1, 4}, 2) == 2000);
    times.learn({1, 4}, 999, 70);
    CHECK(times.of({1, 4}, 15) == 70);
    CHECK(times.longest({1, 4}) == 2000);
    for (int i = 0; i < 40; ++i) {
        times.learn({1, std::size_t{1} << 20}, 0, UINT64_MAX);
    }
    CHECK(times.of({1, std::size_t{1} << 20}, 0) == 1u << 31);
}

TEST_CASE("a stage starts with few rows, goes on with as many as fit in the budget, and takes all without one") {
    inline_pool here;
    stepped_pool stepped(here);
    stepped.start(nullptr);
    CHECK(stepped.rows_for(1, 128) == 128);
    stepped_pool fresh(here);
    fresh.start(1s, nullptr);
    CHECK(fresh.rows_for(1, 1) == 1);
    CHECK(fresh.rows_for(1, 128) == 16);
    counted_stage stage({1});
    loop_progress progress;
    stage.run(fresh.resume(progress, {1, 16})); // an index takes next to nothing
    CHECK(fresh.rows_for(1, 128) == 64);
    stage.pause = 20ms;
    progress = {};
    stage.run(fresh.resume(progress, {1, 64}));
    fresh.start(10ms, nullptr);
    CHECK(fresh.rows_for(1, 128) < 3); // 64 * 10 / 16 / 20
    CHECK(fresh.rows_for(1, 128) >= 1);
}
