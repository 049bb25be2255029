// SPDX-License-Identifier: MIT
// usable_cores: how many threads can compute at a time in this process.
#ifndef BITNET_THREAD_USABLE_CORES_HPP
#define BITNET_THREAD_USABLE_CORES_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/control_groups.hpp>
#include <bitnet/core/system_files.hpp>
#include <bitnet/thread/thread_limits.hpp>

#include <algorithm>
#include <array>
#include <bitset>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string_view>

#if defined(_WIN32)
struct _SYSTEM_LOGICAL_PROCESSOR_INFORMATION;
extern "C" {
__declspec(dllimport) void* __stdcall GetCurrentProcess();
__declspec(dllimport) int __stdcall GetLogicalProcessorInformation(_SYSTEM_LOGICAL_PROCESSOR_INFORMATION*,
                                                                   unsigned long*);
}
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif BITNET_THREADS
#include <unistd.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// CPUs by their numbers.
using cpu_numbers = std::bitset<8192>;

/// Takes the CPUs of `list` away from `all`: "0-1,64-65".
inline void remove_listed(std::string_view list, cpu_numbers& all) noexcept {
    while (const auto first = leading_number(list)) {
        const std::string_view range = list.substr(0, list.find(','));
        const std::size_t dash = range.find('-');
        const auto last = dash == range.npos ? first : leading_number(range.substr(dash + 1));
        for (std::uint64_t i = *first; i <= last.value_or(*first) && i < all.size(); ++i) {
            all.reset(to_size(i));
        }
        list.remove_prefix((std::min)(range.size() + 1, list.size()));
    }
}

/// The physical cores of these CPUs: hyperthreads of one core count once. A CPU of which the system does not tell its
/// siblings is a core.
[[nodiscard]] inline std::size_t cores_of(cpu_numbers cpus, const system_files& files) noexcept {
    std::size_t cores = 0;
    for (std::size_t i = 0; i < cpus.size() && cpus.any(); ++i) {
        if (!cpus.test(i)) {
            continue;
        }
        ++cores;
        cpus.reset(i);
        std::array<char, 8> digits;
        const auto written = std::to_chars(digits.data(), digits.data() + digits.size(), i);
        const std::string_view number(digits.data(), static_cast<std::size_t>(written.ptr - digits.data()));
        system_text text;
        remove_listed(files.text({"/sys/devices/system/cpu/cpu", number, "/topology/thread_siblings_list"}, text),
                      cpus);
    }
    return cores;
}

/// CPUs that one control group gives at a time, part of one rounded up; SIZE_MAX without limit.
[[nodiscard]] inline std::size_t cpus_of_group(const control_groups& groups, std::string_view folder) noexcept {
    system_text text;
    const bool old = groups.is_version_1();
    std::string_view words = groups.read(folder, old ? "cpu.cfs_quota_us" : "cpu.max", text); // "150000 100000"
    const auto quota = leading_number(words);
    if (old) {
        words = groups.read(folder, "cpu.cfs_period_us", text);
    } else {
        words.remove_prefix((std::min)(words.find(' '), words.size()));
    }
    const auto period = leading_number(words);
    return quota && period && *period != 0
               ? to_size((std::min<std::uint64_t>)(*quota / *period + (*quota % *period != 0), SIZE_MAX))
               : SIZE_MAX;
}

/// The physical cores of the CPUs that the process may run on, or what its control groups give if that is less.
[[nodiscard]] inline std::size_t usable_cores_of_linux(const cpu_numbers& allowed, const system_files& files) noexcept {
    std::size_t cores = cores_of(allowed, files);
    const control_groups groups(files, "cpu");
    groups.for_each(
        [&](std::string_view folder) noexcept { cores = (std::min)(cores, cpus_of_group(groups, folder)); });
    return cores;
}

#if defined(__linux__)
/// Empty if the system does not tell.
[[nodiscard]] inline cpu_numbers allowed_cpus() noexcept {
    constexpr std::size_t word_bits = 8 * sizeof(unsigned long);
    std::array<unsigned long, cpu_numbers().size() / word_bits> words{};
    cpu_numbers allowed;
    if (::sched_getaffinity(0, sizeof words, reinterpret_cast<cpu_set_t*>(words.data())) == 0) {
        for (std::size_t i = 0; i < allowed.size(); ++i) {
            allowed.set(i, (words[i / word_bits] >> (i % word_bits) & 1) != 0);
        }
    }
    return allowed;
}
#endif

#if defined(_WIN32)
/// The physical cores of the processor group that the process runs in.
[[nodiscard]] inline std::size_t cores_of_windows() noexcept {
    struct processors {
        std::uintptr_t mask;
        int relationship; // 0: a core
        std::uint64_t more[2];
    };
    static_assert(sizeof(processors) == 16 + 2 * sizeof(void*),
                  "the SYSTEM_LOGICAL_PROCESSOR_INFORMATION of windows.h");
    std::array<processors, 1024> all{};
    unsigned long size = sizeof all;
    if (GetLogicalProcessorInformation(reinterpret_cast<_SYSTEM_LOGICAL_PROCESSOR_INFORMATION*>(all.data()), &size) ==
        0) {
        return 0;
    }
    const auto end = all.begin() + static_cast<std::ptrdiff_t>(size / sizeof(processors));
    return static_cast<std::size_t>(
        std::count_if(all.begin(), end, [](const processors& each) { return each.relationship == 0; }));
}
#endif

#if defined(__APPLE__)
/// A figure of the system; 0 if there is none of this name.
[[nodiscard]] inline std::size_t number_of_apple(const char* name) noexcept {
    int number = 0;
    std::size_t size = sizeof number;
    return ::sysctlbyname(name, &number, &size, nullptr, 0) == 0 && number > 0 ? static_cast<std::size_t>(number) : 0;
}
#endif

/// 0 if the system does not tell.
[[nodiscard]] inline std::size_t cores_of_this_system() noexcept {
#if !BITNET_THREADS
    return 1;
#elif defined(_WIN32)
    return cores_of_windows();
#elif defined(__APPLE__)
    const std::size_t fast = number_of_apple("hw.perflevel0.physicalcpu");
    return fast != 0 ? fast : number_of_apple("hw.physicalcpu");
#else
#if defined(__linux__)
    if (const cpu_numbers allowed = allowed_cpus(); allowed.any()) {
        return usable_cores_of_linux(allowed, {});
    }
#endif
    const long online = ::sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? static_cast<std::size_t>(online) : 0;
#endif
}

} // namespace detail

/// How many threads can compute at a time in this process, 1 to most_threads: what `threads` of all options means where
/// it is not set. A second thread on a core gains nothing, because one already reads or multiplies as fast as the core
/// can, and threads without a CPU wait for those that have one.
///
/// Linux and Android: the physical cores among the CPUs that the process may run on (sched_getaffinity, so taskset and
/// cpusets count), no more than the quota of its control groups gives, rounded up. Windows: the physical cores of its
/// processor group. macOS: the fast cores. Elsewhere all CPUs. Without threads, 1.
/// Cost: reads a small file for each core; allocates nothing.
[[nodiscard]] inline std::size_t usable_cores() noexcept {
    return (std::clamp)(detail::cores_of_this_system(), std::size_t{1}, most_threads);
}

} // namespace bitnet::inline BITNET_ABI

#endif
