// SPDX-License-Identifier: MIT
// The pool concept: who runs the pieces of a parallel loop. inline_pool runs them on the calling thread.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>

#include <chrono>
#include <concepts>
#include <cstddef>
#include <memory>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// One task of a loop, erased: `function(context, index)`. The context outlives the loop.
struct loop_body {
    void (*function)(void* context, std::size_t index) noexcept;
    void* context;

    void operator()(std::size_t index) const noexcept { function(context, index); }
};

/// How long a thread without work spins before it sleeps, by default: longer than the gaps within a token, and so short
/// that a program that waits for its user uses no CPU.
inline constexpr std::chrono::microseconds default_spin{50};

/// A pool runs `body(0) ... body(count - 1)`, each once, in any order on any threads, and returns when all are done.
/// open(threads, spin) makes one; a pool that does not spin ignores the second.
template <class P>
concept thread_pool_type = requires(P& pool, const P& constant, std::size_t count, loop_body body) {
    { pool.run(count, body) }
    noexcept->std::same_as<void>;
    { constant.threads() }
    noexcept->std::convertible_to<std::size_t>;
    { P::open(std::size_t{}, std::chrono::microseconds{}) } -> std::same_as<result<std::unique_ptr<P>>>;
};

/// Calls f(index) for every index below `count` on the threads of `pool`.
template <thread_pool_type Pool, class F> void parallel_for(Pool& pool, std::size_t count, F&& f) noexcept {
    using body = std::remove_reference_t<F>;
    const auto call = [](void* context, std::size_t index) noexcept { (*static_cast<body*>(context))(index); };
    pool.run(count, loop_body{call, const_cast<void*>(static_cast<const void*>(std::addressof(f)))});
}

/// No threads at all: for single-threaded hosts, browsers and tests.
class inline_pool {
public:
    /// Both parameters are ignored: there is one thread, and it does not wait.
    [[nodiscard]] static result<std::unique_ptr<inline_pool>> open(std::size_t /*threads*/,
                                                                   std::chrono::microseconds /*spin*/ = default_spin) {
        return std::make_unique<inline_pool>();
    }
    void run(std::size_t count, loop_body body) noexcept {
        for (std::size_t i = 0; i < count; ++i) {
            body(i);
        }
    }
    [[nodiscard]] std::size_t threads() const noexcept { return 1; }
};

} // namespace bitnet::inline BITNET_ABI
