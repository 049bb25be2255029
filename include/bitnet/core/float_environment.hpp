// SPDX-License-Identifier: MIT
// default_float_environment: round to nearest, keep denormals and trap nothing while the library computes, whatever
// the host has set.
#ifndef BITNET_CORE_FLOAT_ENVIRONMENT_HPP
#define BITNET_CORE_FLOAT_ENVIRONMENT_HPP

#include <bitnet/core/config.hpp>

#if BITNET_X86_64 && !defined(__GNUC__) && !defined(__clang__)
#include <xmmintrin.h>
#elif !BITNET_X86_64 && !(BITNET_ARM64 && defined(__GNUC__))
#include <cfenv>
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets the IEEE default for this thread, and gives the caller's setting and exception flags back when it goes out of
/// scope. Needed because hosts change rounding and trap exceptions, and -ffast-math links start-up code that flushes
/// denormals. Cost: some ten nanoseconds. Proven by tests/core/float_environment_test.cpp.
class default_float_environment {
public:
    default_float_environment() noexcept : saved_(load()) { store_default(); }
    ~default_float_environment() { store(saved_); }
    default_float_environment(const default_float_environment&) = delete;
    default_float_environment& operator=(const default_float_environment&) = delete;

private:
#if BITNET_X86_64
    using state = std::uint32_t; // MXCSR: compilers use no other unit for float and double here
    static void store_default() noexcept { store(0x1f80); } // its value after reset: all exceptions masked, nearest
#if defined(__GNUC__) || defined(__clang__)                 // the intrinsics' own builtins: their header is large
    [[nodiscard]] static state load() noexcept { return __builtin_ia32_stmxcsr(); }
    static void store(state value) noexcept { __builtin_ia32_ldmxcsr(value); }
#else
    [[nodiscard]] static state load() noexcept { return _mm_getcsr(); }
    static void store(state value) noexcept { _mm_setcsr(value); }
#endif
#elif BITNET_ARM64 && defined(__GNUC__)
    struct state {
        std::uint64_t control; ///< FPCR. 0: nearest, no flush to zero, no traps, IEEE half precision
        std::uint64_t flags;   ///< FPSR
    };
    [[nodiscard]] static state load() noexcept {
        state now;
        __asm__ volatile("mrs %0, fpcr\n\tmrs %1, fpsr" : "=r"(now.control), "=r"(now.flags) : : "memory");
        return now;
    }
    static void store_default() noexcept { store({0, 0}); }
    static void store(state value) noexcept {
        __asm__ volatile("msr fpsr, %1\n\tmsr fpcr, %0" : : "r"(value.control), "r"(value.flags) : "memory");
    }
#else
    using state = std::fenv_t; // all units that there are: on 32-bit x86 the x87, too, which returns results
    [[nodiscard]] static state load() noexcept {
        state now;
        std::fegetenv(&now);
        return now;
    }
    static void store_default() noexcept { std::fesetenv(FE_DFL_ENV); }
    static void store(const state& value) noexcept { std::fesetenv(&value); }
#endif
    state saved_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
