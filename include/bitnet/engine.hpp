// SPDX-License-Identifier: MIT
// engine: the tables of functions that a policy names. Model and session are compiled once, over these.
#ifndef BITNET_ENGINE_HPP
#define BITNET_ENGINE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/kernel/block_table.hpp>
#include <bitnet/kernel/ternary_table.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>

#include <chrono>
#include <cstddef>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// One policy as data: see engine_of in policy.hpp. The calls were real ones before they went through a table, because
/// a function that is compiled for an instruction set cannot be inlined into one that is not; a token of a model with
/// two billion weights makes some 32,000 of them, under 0.1 % of its time.
struct engine {
    std::string_view isa; ///< "avx2", ...
    const loop_table* loops;
    const kv_table* kv;
    const ternary_table* ternary;
    const block_table* blocks;
    /// Whether the process may run the code; asks the system for what it gives on demand only. See isa::enable.
    bool (*enable)() noexcept;
    /// The policy's pool, opened. \return as its own open().
    result<detail::owned_pool> (*open_pool)(std::size_t threads, std::chrono::microseconds spin);
    /// Whether that is the library's own, so that the library may start threads.
    bool has_threads = false;
};

} // namespace bitnet::inline BITNET_ABI

#endif
