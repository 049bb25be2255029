// SPDX-License-Identifier: MIT
// The pool concept: who runs the pieces of a parallel loop. inline_pool runs them on the calling thread.
#ifndef BITNET_THREAD_POOL_HPP
#define BITNET_THREAD_POOL_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/guarded.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/thread/thread_limits.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace bitnet::inline BITNET_ABI {

/// One task of a loop, erased: `function(context, index)`. The context outlives the loop.
struct loop_body {
    void (*function)(void* context, std::size_t index) noexcept;
    void* context;

    void operator()(std::size_t index) const noexcept { function(context, index); }
};

/// Runs `body(0) ... body(count - 1)`, each once, in any order on any threads, and returns when all are done; one loop
/// at a time. threads() says for how many threads it is worth cutting a loop up, 1 and more, always the same number.
/// What a host's own job system has to have; the calling thread may take part or not.
template <class R>
concept loop_runner = requires(R& runner, const R& constant, std::size_t count, loop_body body) {
    { runner.run(count, body) }
    noexcept->std::same_as<void>;
    { constant.threads() }
    noexcept->std::convertible_to<std::size_t>;
};

/// A loop_runner that the library can make: open(threads, spin), of which a pool that does not spin ignores the second.
template <class P>
concept thread_pool_type = loop_runner<P> && requires {
    { P::open(std::size_t{}, std::chrono::microseconds{}) } -> std::same_as<result<std::unique_ptr<P>>>;
};

/// Any loop_runner, borrowed: what runs parallel loops is compiled once for all of them.
class pool_ref {
public:
    /// A copy of a pool_ref borrows what that borrows.
    template <loop_runner Pool>
    requires(!std::same_as<std::remove_const_t<Pool>, pool_ref>) pool_ref(Pool& pool)
    noexcept
        : pool_(std::addressof(pool)), run_([](void* self, std::size_t count, loop_body body) noexcept {
              static_cast<Pool*>(self)->run(count, body);
          }),
          threads_(pool.threads()) {}

    /// The library's own: a pool of `count` threads whose run() itself hands neighbouring indices to one thread, so
    /// that loops leave that to it.
    pool_ref(void* pool, void (*run_loop)(void*, std::size_t, loop_body) noexcept, std::size_t count) noexcept
        : pool_(pool), run_(run_loop), threads_(count), makes_runs_(true) {}

    void run(std::size_t count, loop_body body) const noexcept { run_(pool_, count, body); }
    [[nodiscard]] std::size_t threads() const noexcept { return threads_; }
    /// Whether run() hands out neighbouring indices together.
    [[nodiscard]] bool makes_runs() const noexcept { return makes_runs_; }

private:
    void* pool_;
    void (*run_)(void*, std::size_t, loop_body) noexcept;
    std::size_t threads_;
    bool makes_runs_ = false;
};

namespace detail {

/// Any pool, owned. Move-only.
class owned_pool {
public:
    template <thread_pool_type Pool>
    explicit owned_pool(std::unique_ptr<Pool> pool) noexcept
        : ref_(*pool), pool_(pool.release(), [](void* self) noexcept { delete static_cast<Pool*>(self); }) {}

    [[nodiscard]] pool_ref ref() const noexcept { return ref_; }

private:
    pool_ref ref_;
    std::unique_ptr<void, void (*)(void*) noexcept> pool_;
};

/// Pool::open, erased.
template <thread_pool_type Pool>
[[nodiscard]] result<owned_pool> open_owned_pool(std::size_t threads, std::chrono::microseconds spin) {
    auto pool = Pool::open(threads, spin);
    if (!pool) {
        return failed(pool);
    }
    return owned_pool(*std::move(pool));
}

/// Calls f(index) for every index below `count` on the threads of `pool`, in the default floating-point environment:
/// the threads may be the host's, set up as it likes.
template <class F> void parallel_for(pool_ref pool, std::size_t count, F&& f) noexcept {
    using body = std::remove_reference_t<F>;
    const auto call = [](void* context, std::size_t index) noexcept {
        const default_float_environment environment;
        (*static_cast<body*>(context))(index);
    };
    pool.run(count, loop_body{call, const_cast<void*>(static_cast<const void*>(std::addressof(f)))});
}

/// Indices 0 to count - 1 as contiguous runs of falling length: each round gives every thread 1 / (2 * threads) of what
/// is left, down to single indices ("guided self-scheduling", Polychronopoulos and Kuck, 1987).
/// Within a run a thread streams through memory; short runs at the end let all threads finish together.
class guided_runs {
public:
    struct run {
        std::size_t begin;
        std::size_t end;
    };
    /// \pre threads > 0
    guided_runs(std::size_t count, std::size_t threads) noexcept : count_(count), threads_(threads) {
        for (std::size_t begin = 0; begin < count_; size_ += threads_) {
            begin += threads_ * run_length(begin);
        }
    }

    /// Number of runs; the last ones may be empty.
    [[nodiscard]] std::size_t size() const noexcept { return size_; }
    /// \pre index < size()
    [[nodiscard]] run operator[](std::size_t index) const noexcept {
        std::size_t begin = 0;
        for (std::size_t round = 0; round < index / threads_; ++round) {
            begin += threads_ * run_length(begin);
        }
        const std::size_t now = run_length(begin);
        begin += index % threads_ * now;
        return {begin < count_ ? begin : count_, begin + now < count_ ? begin + now : count_};
    }

private:
    /// Of the runs of the round that starts at `begin`.
    [[nodiscard]] std::size_t run_length(std::size_t begin) const noexcept {
        const std::size_t half_a_share = (count_ - begin) / (2 * threads_);
        return half_a_share != 0 ? half_a_share : 1;
    }

    std::size_t count_;
    std::size_t threads_;
    std::size_t size_ = 0;
};

/// parallel_for() for tasks that each read the memory that follows that of the task before: a thread takes them in
/// guided_runs.
template <class F> void parallel_stream(pool_ref pool, std::size_t count, F&& f) noexcept {
    // As many threads as indices make runs of one.
    const guided_runs runs(count, pool.makes_runs() && count != 0 ? count : pool.threads());
    parallel_for(pool, runs.size(), [&](std::size_t index) noexcept {
        const guided_runs::run run = runs[index];
        for (std::size_t i = run.begin; i < run.end; ++i) {
            f(i);
        }
    });
}

} // namespace detail

/// No threads at all: for single-threaded hosts, browsers and tests.
class inline_pool {
public:
    /// Both parameters are ignored: there is one thread, and it does not wait.
    [[nodiscard]] static result<std::unique_ptr<inline_pool>> open(std::size_t /*threads*/,
                                                                   std::chrono::microseconds /*spin*/ = default_spin) {
        std::unique_ptr<inline_pool> made(new (std::nothrow) inline_pool);
        return made != nullptr ? result<std::unique_ptr<inline_pool>>(std::move(made)) : detail::out_of_memory();
    }
    void run(std::size_t count, loop_body body) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            body(i);
        }
    }
    [[nodiscard]] std::size_t threads() const noexcept { return 1; }
};

} // namespace bitnet::inline BITNET_ABI

#endif
