// SPDX-License-Identifier: MIT
// native_thread: a joined operating-system thread whose creation can fail without an exception. Empty where there are
// no threads.
#ifndef BITNET_THREAD_NATIVE_THREAD_HPP
#define BITNET_THREAD_NATIVE_THREAD_HPP

#include <bitnet/core/config.hpp>

#if BITNET_THREADS
#if defined(_WIN32)
#include <process.h>
extern "C" {
__declspec(dllimport) unsigned long __stdcall WaitForSingleObject(void*, unsigned long);
__declspec(dllimport) int __stdcall CloseHandle(void*);
__declspec(dllimport) void __stdcall Sleep(unsigned long);
__declspec(dllimport) int __stdcall SwitchToThread();
}
#else
#include <ctime>
#include <pthread.h>
#include <sched.h>
#endif

#include <cstdint>
#include <utility>

namespace bitnet::inline BITNET_ABI::detail {

/// Unlike std::thread, start() reports failure, also under -fno-exceptions. join() is called by the destructor.
class native_thread {
public:
    using entry = void (*)(void* argument) noexcept;

    native_thread() noexcept = default;
    native_thread(const native_thread&) = delete;
    native_thread& operator=(const native_thread&) = delete;
    ~native_thread() { join(); }

    /// \return whether the thread runs. \pre not started before; this object does not move until join().
    [[nodiscard]] bool start(entry function, void* argument) noexcept {
        function_ = function;
        argument_ = argument;
#if defined(_WIN32)
        handle_ = reinterpret_cast<void*>(_beginthreadex(nullptr, 0, &native_thread::trampoline, this, 0, nullptr));
        joinable_ = handle_ != nullptr;
#else
        joinable_ = pthread_create(&handle_, nullptr, &native_thread::trampoline, this) == 0;
#endif
        return joinable_;
    }

    /// Waits for the thread's end; does nothing if none runs.
    void join() noexcept {
        if (!std::exchange(joinable_, false)) {
            return;
        }
#if defined(_WIN32)
        constexpr unsigned long infinite = 0xffffffffUL;
        WaitForSingleObject(handle_, infinite);
        CloseHandle(handle_);
#else
        pthread_join(handle_, nullptr);
#endif
    }

    /// Lets another ready thread run on this core, if there is one.
    static void yield() noexcept {
#if defined(_WIN32)
        SwitchToThread();
#else
        ::sched_yield();
#endif
    }

    static void sleep_10_ms() noexcept {
#if defined(_WIN32)
        Sleep(10);
#else
        constexpr timespec time{0, 10'000'000};
        ::nanosleep(&time, nullptr);
#endif
    }

private:
#if defined(_WIN32)
    static unsigned __stdcall trampoline(void* self) noexcept {
        run(self);
        return 0;
    }
    void* handle_ = nullptr;
#else
    static void* trampoline(void* self) noexcept {
        run(self);
        return nullptr;
    }
    pthread_t handle_{};
#endif
    static void run(void* self) noexcept {
        const auto* thread = static_cast<native_thread*>(self);
        thread->function_(thread->argument_);
    }

    entry function_ = nullptr;
    void* argument_ = nullptr;
    bool joinable_ = false;
};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
