// SPDX-License-Identifier: MIT
// default_float_environment: round to nearest and keep denormals while the library computes, whatever the host has set.
#ifndef BITNET_CORE_FLOAT_ENVIRONMENT_HPP
#define BITNET_CORE_FLOAT_ENVIRONMENT_HPP

#include <bitnet/core/config.hpp>

#if BITNET_X86_64 && !defined(__GNUC__) && !defined(__clang__)
#include <xmmintrin.h>
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Sets the IEEE default for this thread and restores the caller's setting when it goes out of scope.
/// Needed because -ffast-math links start-up code that flushes denormals, and hosts change rounding.
class default_float_environment {
public:
    default_float_environment() noexcept : saved_(load()) { store(ieee_default); }
    ~default_float_environment() { store(saved_); }
    default_float_environment(const default_float_environment&) = delete;
    default_float_environment& operator=(const default_float_environment&) = delete;

private:
#if BITNET_X86_64
    using word = std::uint32_t;
    static constexpr word ieee_default = 0x1f80; // MXCSR after reset: all exceptions masked, nearest, no DAZ, no FTZ
#if defined(__GNUC__) || defined(__clang__)      // the intrinsics' own builtins: their header is large
    [[nodiscard]] static word load() noexcept { return __builtin_ia32_stmxcsr(); }
    static void store(word value) noexcept { __builtin_ia32_ldmxcsr(value); }
#else
    [[nodiscard]] static word load() noexcept { return _mm_getcsr(); }
    static void store(word value) noexcept { _mm_setcsr(value); }
#endif
#elif defined(__aarch64__) && !defined(_MSC_VER)
    using word = std::uint64_t;
    static constexpr word ieee_default = 0; // FPCR: nearest, no flush to zero, IEEE half precision
    [[nodiscard]] static word load() noexcept {
        word value;
        __asm__ volatile("mrs %0, fpcr" : "=r"(value));
        return value;
    }
    static void store(word value) noexcept { __asm__ volatile("msr fpcr, %0" : : "r"(value)); }
#else
    using word = std::uint32_t;
    static constexpr word ieee_default = 0;
    [[nodiscard]] static word load() noexcept { return 0; }
    static void store(word) noexcept {}
#endif
    word saved_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
