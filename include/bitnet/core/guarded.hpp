// SPDX-License-Identifier: MIT
// guarded: what a public function does, kept apart from the host: no exception for want of memory leaves it, and it
// computes in the default floating-point environment.
#ifndef BITNET_CORE_GUARDED_HPP
#define BITNET_CORE_GUARDED_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/float_environment.hpp>
#include <bitnet/core/result.hpp>

#include <new>
#include <stdexcept>
#include <string>

namespace bitnet::inline BITNET_ABI::detail {

/// Calls work(). \return whether memory sufficed: false where a standard container threw because it did not. Without
/// exceptions a container does what the standard library does then, and this returns true. Other exceptions pass: they
/// are those of the host's own callbacks.
template <class Work> [[nodiscard]] bool has_memory_for(Work&& work) {
#if BITNET_EXCEPTIONS
    try {
        work();
    } catch (const std::bad_alloc&) {
        return false;
    } catch (const std::length_error&) {
        return false;
    }
#else
    work();
#endif
    return true;
}

/// What an error says that found no memory for its sentence: needs none where strings hold short texts in themselves.
[[nodiscard]] BITNET_COLD inline std::string no_memory_text() noexcept {
    std::string text;
    return has_memory_for([&] { text = "out of memory"; }) ? text : std::string();
}
[[nodiscard]] BITNET_COLD inline error out_of_memory() noexcept { return {errc::out_of_memory, no_memory_text()}; }

/// The result<T> of work(), or errc::out_of_memory where a container found no memory. Every public function that
/// returns a result and may allocate or compute does so in here, so that no code below has to think of either.
template <class Work> [[nodiscard]] auto guarded(Work&& work) -> decltype(work()) {
    const default_float_environment environment;
#if BITNET_EXCEPTIONS
    try {
        return work();
    } catch (const std::bad_alloc&) {
        return out_of_memory();
    } catch (const std::length_error&) {
        return out_of_memory();
    }
#else
    return work();
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
