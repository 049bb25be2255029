// SPDX-License-Identifier: MIT
// Floating-point environments that a host may have set before it calls the library: rounding, flushing, traps.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/thread/pool.hpp>

#if BITNET_X86_64
#include <xmmintrin.h>
#endif
#if BITNET_THREADS
#include <thread>
#endif

#include <cfenv>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace bitnet_tests {

/// The control register of this thread, with the exception flags where these are in the same one.
struct float_setting {
    std::string name;
    std::uint64_t word;
};

#if BITNET_X86_64 // MXCSR: bits 0-5 flags, 6 DAZ, 7-12 exceptions masked, 13-14 rounding, 15 FTZ
inline const std::vector<float_setting> host_settings{
    {"upward", 0x5f80},           {"downward", 0x3f80},
    {"toward zero", 0x7f80},      {"denormals flushed", 0x9fc0},
    {"every exception traps", 0}, {"some trap and some were raised", 0x1d2a},
    {"all at once", 0xe040},
};
inline std::uint64_t float_word() noexcept { return _mm_getcsr(); }
inline void set_float_word(std::uint64_t word) noexcept { _mm_setcsr(static_cast<unsigned>(word)); }
#elif BITNET_ARM64 && defined(__GNUC__) // FPCR: bits 8-12 and 15 traps, 19 FZ16, 22-23 rounding, 24 FZ, 25 DN, 26 AHP
inline const std::vector<float_setting> host_settings{
    {"upward", 0x400000},
    {"downward", 0x800000},
    {"toward zero", 0xc00000},
    {"denormals flushed", 0x1080000},
    {"every exception traps", 0x9f00},
    {"all at once", 0x7c89f00},
};
inline std::uint64_t float_word() noexcept {
    std::uint64_t word;
    __asm__ volatile("mrs %0, fpcr" : "=r"(word));
    return word;
}
inline void set_float_word(std::uint64_t word) noexcept { __asm__ volatile("msr fpcr, %0" : : "r"(word)); }
#else
inline const std::vector<float_setting> host_settings {
#if defined(FE_UPWARD) && defined(FE_DOWNWARD) && defined(FE_TOWARDZERO)
    {"upward", FE_UPWARD}, {"downward", FE_DOWNWARD}, {"toward zero", FE_TOWARDZERO},
#endif
};
inline std::uint64_t float_word() noexcept { return static_cast<std::uint64_t>(std::fegetround()); }
inline void set_float_word(std::uint64_t word) noexcept { std::fesetround(static_cast<int>(word)); }
#endif

template <class T> struct outcome {
    T value;
    bool kept; ///< the setting is as it was
};

/// What work() returns in that setting, and whether it left the setting as it was. Not inlined, so that no computation
/// of the caller moves in here.
template <class Work> BITNET_NOINLINE auto outcome_in(const float_setting& setting, const Work& work) {
    const std::uint64_t before = float_word();
    set_float_word(setting.word);
    const std::uint64_t set = float_word(); // a machine need not have all
    auto made = work();
    const bool kept = float_word() == set;
    set_float_word(before);
    return outcome<decltype(made)>{std::move(made), kept};
}

#if BITNET_THREADS
/// A pool whose threads the host has set up as it likes: every loop on a thread of its own in `setting`.
class host_pool {
public:
    static inline float_setting setting{"", 0};
    static inline std::size_t settings_lost = 0;

    static bitnet::result<std::unique_ptr<host_pool>> open(std::size_t, std::chrono::microseconds) {
        return std::make_unique<host_pool>();
    }
    void run(std::size_t count, bitnet::loop_body body) noexcept {
        std::thread([=] {
            const auto all = [=] {
                for (std::size_t i = 0; i < count; ++i) {
                    body(i);
                }
                return true;
            };
            settings_lost += outcome_in(setting, all).kept ? 0 : 1;
        }).join();
    }
    std::size_t threads() const noexcept { return 1; }
};
#endif

} // namespace bitnet_tests
