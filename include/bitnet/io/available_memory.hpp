// SPDX-License-Identifier: MIT
// available_memory: how many bytes this process can take before anything has to be swapped or ended for it.
#ifndef BITNET_IO_AVAILABLE_MEMORY_HPP
#define BITNET_IO_AVAILABLE_MEMORY_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/control_groups.hpp>
#include <bitnet/core/system_files.hpp>
#include <bitnet/io/win32.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// What is left in one control group: its limit, less what it uses and the system could not drop. nullopt without
/// limit. Cached pages of files count as used, and can be dropped.
[[nodiscard]] inline std::optional<std::uint64_t> left_in(const control_groups& groups,
                                                          std::string_view folder) noexcept {
    const bool old = groups.is_version_1();
    system_text text;
    const auto number_in = [&](std::string_view name) { return leading_number(groups.read(folder, name, text)); };
    auto limit = number_in(old ? "memory.limit_in_bytes" : "memory.max");
    if (const auto soft = old ? std::nullopt : number_in("memory.high")) {
        limit = (std::min)(limit.value_or(UINT64_MAX), *soft);
    }
    if (!limit) {
        return std::nullopt;
    }
    const std::uint64_t used = number_in(old ? "memory.usage_in_bytes" : "memory.current").value_or(0);
    const std::string_view parts = groups.read(folder, "memory.stat", text);
    const std::uint64_t dropped = number_after(parts, old ? "total_inactive_file " : "inactive_file ").value_or(0) +
                                  number_after(parts, old ? "total_active_file " : "active_file ").value_or(0);
    const std::uint64_t kept = used > dropped ? used - dropped : 0;
    return *limit > kept ? *limit - kept : 0;
}

/// Linux: MemAvailable of /proc/meminfo, or what is left in the fullest of this process's control groups if that is
/// less.
[[nodiscard]] inline std::optional<std::uint64_t> available_memory_of_linux(const system_files& files) noexcept {
    system_text text;
    const auto kibibytes = number_after(files.text({"/proc/meminfo"}, text), "MemAvailable:");
    if (!kibibytes) {
        return std::nullopt;
    }
    std::uint64_t least = *kibibytes * 1024;
    const control_groups groups(files, "memory");
    groups.for_each([&](std::string_view folder) noexcept {
        least = (std::min)(least, left_in(groups, folder).value_or(UINT64_MAX));
    });
    return least;
}

/// Linux as above; Windows: the physical memory that is not in use; macOS: half of all physical memory, because the
/// part in use is no public figure there. nullopt where nothing can be measured.
[[nodiscard]] inline std::optional<std::uint64_t> available_memory() noexcept {
#if defined(__linux__)
    return available_memory_of_linux({});
#elif defined(_WIN32)
    struct {
        unsigned long size, load;
        std::uint64_t total, available, more[5];
    } found{};
    static_assert(sizeof found == 64, "the MEMORYSTATUSEX of windows.h");
    found.size = sizeof found;
    return GlobalMemoryStatusEx(reinterpret_cast<_MEMORYSTATUSEX*>(&found)) != 0 ? std::optional(found.available)
                                                                                 : std::nullopt;
#elif defined(__APPLE__)
    std::uint64_t bytes = 0;
    std::size_t size = sizeof bytes;
    return ::sysctlbyname("hw.memsize", &bytes, &size, nullptr, 0) == 0 ? std::optional(bytes / 2) : std::nullopt;
#else
    return std::nullopt;
#endif
}

/// Whether a copy of `bytes`, which only saves time, fits where `available` bytes are: they have to be four times as
/// many. The host's own memory, the system's copy of the file and sessions then fit beside it.
[[nodiscard]] constexpr bool has_room_for_copy(std::uint64_t bytes, std::uint64_t available) noexcept {
    return bytes <= available / 4;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
