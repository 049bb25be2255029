// SPDX-License-Identifier: MIT
// Sessions, batches and the opening of a model on a host's own job system: the same bits, no thread of the library's,
// and no work when nobody asks.
#include "run/hosted_session.hpp"
#include "run/job_queue.hpp"

#include <bitnet/run/batch.hpp>
#include <bitnet/run/conversation.hpp>
#include <bitnet/run/model.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/session.hpp>
#include <bitnet/thread/pool.hpp>

#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <cstddef>
#include <ctime>
#include <filesystem>
#include <functional>
#include <iterator>
#include <optional>
#include <thread>
#include <vector>

using namespace bitnet;
using bitnet_tests::job_queue;

static_assert(loop_runner<job_queue> && !thread_pool_type<job_queue>);
static_assert(loop_runner<inline_pool> && thread_pool_type<inline_pool>);

namespace {

/// Threads of this process; 0 where the system does not tell.
std::size_t threads_of_process() {
#if defined(__linux__)
    const std::filesystem::directory_iterator tasks("/proc/self/task");
    return static_cast<std::size_t>(std::distance(begin(tasks), end(tasks)));
#else
    return 0;
#endif
}

/// CPU seconds that all threads use in that time; 0 on Windows, whose std::clock() is the time of day.
double busy_during([[maybe_unused]] int milliseconds) {
#if defined(_WIN32)
    return 0;
#else
    const std::clock_t before = std::clock();
    std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
    return static_cast<double>(std::clock() - before) / CLOCKS_PER_SEC;
#endif
}

} // namespace

TEST_CASE("a host's own queue gives the bits of the library's threads, whatever its number of workers") {
    const auto expected = bitnet_tests::answer_of(bitnet_tests::open_hosted({}), {});
    for (const std::size_t workers : {0u, 1u, 2u, 7u}) {
        CAPTURE(workers);
        job_queue queue(workers);
        const any_model model = bitnet_tests::open_hosted(queue);
        CHECK(queue.loops() != 0);
        CHECK((bitnet_tests::answer_of(model, queue) == expected));
    }
}

TEST_CASE("a queue that has other work runs loops, too") {
    const any_model model = bitnet_tests::open_hosted({});
    const auto expected = bitnet_tests::answer_of(model, {});
    std::atomic<bool> is_over{false};
    std::atomic<int> frames{0};
    std::function<void()> frame; // a job that puts itself into the queue again
    job_queue queue(2);
    frame = [&] {
        ++frames;
        if (!is_over) {
            queue.add(frame);
        }
    };
    queue.add(frame);
    CHECK((bitnet_tests::answer_of(model, queue) == expected));
    is_over = true;
    CHECK(frames > 0);
}

TEST_CASE("on a host's job system the library starts no thread") {
    job_queue queue(3);
    const std::size_t before = threads_of_process();
    const any_model model = bitnet_tests::open_hosted(queue);
    const any_session session = bitnet_tests::open_session(model, queue);
    CHECK(session.threads() == 4);
    CHECK(threads_of_process() == before);
#if defined(__linux__)
    const any_session with_its_own = bitnet_tests::open_session(model, {});
    CHECK(threads_of_process() == before + 1);
#endif
}

TEST_CASE("a typed session takes a host's job system, too") {
    using P = policy<isa::scalar>;
    const auto opened = model<P>::open(byte_source::borrow(bitnet_tests::hosted_file().span(), "tiny"));
    REQUIRE(opened);
    job_queue queue(1);
    auto one = session<P>::open(*opened, queue);
    auto other = session<P>::open(*opened, {.threads = 2});
    auto steps = batch<P>::open(*opened, queue, {.sessions = 1});
    REQUIRE((one && other && steps));
    const token prompt[] = {1, 2, 3, 4};
    REQUIRE((one->feed(prompt) && other->feed(prompt)));
    const auto first = one->largest_logits(1);
    const auto second = other->largest_logits(1);
    REQUIRE((first && second));
    CHECK(first->front().id == second->front().id);
    CHECK(steps->threads() == 2);
}

TEST_CASE("ten open sessions of which none is asked use no CPU") {
    job_queue queue(2);
    const any_model model = bitnet_tests::open_hosted({});
    auto choose = sampler::open(sampler_options::greedy(), model.parameters().vocabulary);
    REQUIRE(choose);
    std::vector<any_session> sessions;
    for (int i = 0; i < 10; ++i) {
        sessions.push_back(bitnet_tests::open_session(model, i % 2 == 0 ? std::optional<pool_ref>() : queue));
        const token prompt[] = {1, 2, 3};
        REQUIRE(sessions.back().feed(prompt));
        REQUIRE(sessions.back().next(*choose));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50)); // the spinning is over
    CHECK(busy_during(300) < 0.05);
}

TEST_CASE("ten open conversations of which none speaks use no CPU, in the middle of an answer either") {
    const auto model = any_model::open(BITNET_TEST_MODEL, {.lm_head = lm_head_mode::as_stored});
    REQUIRE(model);
    std::vector<conversation> talks;
    for (unsigned i = 0; i < 10; ++i) {
        auto talk = conversation::open(*model, {.session = {.context = 100, .threads = 2}, .answer_limit = 20});
        REQUIRE(talk);
        REQUIRE(talk->say("Who lived in the castle?"));
        while (talk->state() != conversation_state::idle && talk->answer_tokens() < 2 * i) {
            REQUIRE(talk->step(std::chrono::milliseconds(1)));
        }
        talks.push_back(*std::move(talk));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50)); // the spinning is over
    CHECK(busy_during(200) < 0.01);
}
