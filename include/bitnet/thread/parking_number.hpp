// SPDX-License-Identifier: MIT
// parking_number: an atomic number that threads sleep on until it changes. Empty where there are no threads.
#ifndef BITNET_THREAD_PARKING_NUMBER_HPP
#define BITNET_THREAD_PARKING_NUMBER_HPP

#include <bitnet/core/config.hpp>

#include <atomic>
#include <cstdint>

#if BITNET_THREADS
#if defined(_WIN32)
// The very types of windows.h, so both may meet in one program.
struct _RTL_SRWLOCK;
struct _RTL_CONDITION_VARIABLE;
extern "C" {
__declspec(dllimport) void __stdcall AcquireSRWLockExclusive(_RTL_SRWLOCK*);
__declspec(dllimport) void __stdcall ReleaseSRWLockExclusive(_RTL_SRWLOCK*);
__declspec(dllimport) void __stdcall WakeAllConditionVariable(_RTL_CONDITION_VARIABLE*);
__declspec(dllimport) int __stdcall SleepConditionVariableSRW(_RTL_CONDITION_VARIABLE*, _RTL_SRWLOCK*, unsigned long,
                                                              unsigned long);
}
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// Elsewhere the wait() and notify_all() of std::atomic do it. On Windows those of libstdc++ up to 12 may sleep through
/// a notification (they look at the number before they take the lock), so there a lock and a condition variable of the
/// system's do.
class parking_number {
public:
    std::atomic<std::uint32_t> value{0};

    /// Sleeps until the value is not `old`; may return sooner.
    void wait(std::uint32_t old) noexcept {
#if defined(_WIN32)
        constexpr unsigned long infinite = 0xffffffffUL;
        AcquireSRWLockExclusive(lock());
        while (value.load(std::memory_order_seq_cst) == old) {
            SleepConditionVariableSRW(changed(), lock(), infinite, 0);
        }
        ReleaseSRWLockExclusive(lock());
#else
        value.wait(old, std::memory_order_seq_cst);
#endif
    }

    /// Wakes all that sleep, after the value was changed.
    void notify_all() noexcept {
#if defined(_WIN32)
        AcquireSRWLockExclusive(lock()); // whoever has seen the old value sleeps by now
        ReleaseSRWLockExclusive(lock());
        WakeAllConditionVariable(changed());
#else
        value.notify_all();
#endif
    }

private:
#if defined(_WIN32)
    [[nodiscard]] _RTL_SRWLOCK* lock() noexcept { return reinterpret_cast<_RTL_SRWLOCK*>(&lock_); }
    [[nodiscard]] _RTL_CONDITION_VARIABLE* changed() noexcept {
        return reinterpret_cast<_RTL_CONDITION_VARIABLE*>(&changed_);
    }
    void* lock_ = nullptr; ///< SRWLOCK_INIT and CONDITION_VARIABLE_INIT: a null pointer each
    void* changed_ = nullptr;
#endif
};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
