// SPDX-License-Identifier: MIT
// Sessions on oneTBB: a task_arena of all threads, of some, and of threads that are held on one CPU.
#include "run/hosted_session.hpp"

#include <bitnet/thread/pool.hpp>

#include <doctest/doctest.h>
#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/task_arena.h>
#include <oneapi/tbb/task_scheduler_observer.h>

#include <atomic>
#include <cstddef>
#if defined(__linux__)
#include <sched.h>
#endif

using namespace bitnet;

namespace {

/// A loop_runner: what a program with oneTBB writes to have its sessions there.
class arena_loops {
public:
    explicit arena_loops(int threads) : arena_(threads) { arena_.initialize(); }

    void run(std::size_t count, loop_body body) noexcept {
        arena_.execute([&] { tbb::parallel_for(std::size_t{0}, count, [&](std::size_t i) { body(i); }); });
    }
    [[nodiscard]] std::size_t threads() const noexcept { return static_cast<std::size_t>(arena_.max_concurrency()); }

    [[nodiscard]] tbb::task_arena& arena() noexcept { return arena_; }

private:
    tbb::task_arena arena_;
};
static_assert(loop_runner<arena_loops> && !thread_pool_type<arena_loops>);

#if defined(__linux__)
/// Holds every thread that enters the arena on the CPU that this one runs on, until it leaves.
class pinning final : public tbb::task_scheduler_observer {
public:
    explicit pinning(tbb::task_arena& arena) : tbb::task_scheduler_observer(arena) {
        sched_getaffinity(0, sizeof all_, &all_);
        CPU_ZERO(&one_);
        CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one_);
        observe(true);
    }
    ~pinning() override { observe(false); }

    void on_scheduler_entry(bool) override { entries_ += sched_setaffinity(0, sizeof one_, &one_) == 0 ? 1 : 0; }
    void on_scheduler_exit(bool) override { sched_setaffinity(0, sizeof all_, &all_); }

    [[nodiscard]] int entries() const noexcept { return entries_; }

private:
    cpu_set_t all_;
    cpu_set_t one_;
    std::atomic<int> entries_{0};
};
#endif

} // namespace

TEST_CASE("arenas of oneTBB give the bits of the library's threads, whatever their number of threads") {
    const auto expected = bitnet_tests::answer_of(bitnet_tests::open_hosted({}), {});
    const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 8); // than a small machine has
    for (const int threads : {1, 2, 3, 8}) {
        CAPTURE(threads);
        arena_loops loops(threads);
        REQUIRE(loops.threads() == static_cast<std::size_t>(threads));
        const any_model model = bitnet_tests::open_hosted(loops);
        CHECK((bitnet_tests::answer_of(model, loops) == expected));
    }
}

TEST_CASE("sessions on several arenas of one program run side by side") {
    const auto expected = bitnet_tests::answer_of(bitnet_tests::open_hosted({}), {});
    const any_model model = bitnet_tests::open_hosted({});
    const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 4);
    std::atomic<int> equal{0};
    tbb::parallel_for(0, 4, [&](int) {
        arena_loops loops(2);
        equal += bitnet_tests::answer_of(model, loops) == expected ? 1 : 0;
    });
    CHECK(equal == 4);
}

#if defined(__linux__)
TEST_CASE("an arena whose threads are held on one CPU gives the same bits") {
    const auto expected = bitnet_tests::answer_of(bitnet_tests::open_hosted({}), {});
    const tbb::global_control more(tbb::global_control::max_allowed_parallelism, 3);
    arena_loops loops(3);
    const pinning held(loops.arena());
    const any_model model = bitnet_tests::open_hosted(loops);
    CHECK((bitnet_tests::answer_of(model, loops) == expected));
    CHECK(held.entries() > 0);
}
#endif
