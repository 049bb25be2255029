// SPDX-License-Identifier: MIT
// Huge pages for large buffers: a tenth to a quarter more bandwidth where they are read from end to end, and one fault
// instead of 512 where they are first written.
#ifndef BITNET_CORE_HUGE_PAGES_HPP
#define BITNET_CORE_HUGE_PAGES_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

#if defined(__linux__)
#include <sys/mman.h>
#endif

namespace bitnet::inline BITNET_ABI::detail {

/// Asks for huge pages for [memory, memory + bytes): a hint, and no error if the system cannot.
/// To be asked before the memory is first written. Pages then come 2 MB at a time.
inline void ask_for_huge_pages([[maybe_unused]] void* memory, [[maybe_unused]] std::size_t bytes) noexcept {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    constexpr std::uintptr_t page = std::uintptr_t{2} << 20;
    const auto address = reinterpret_cast<std::uintptr_t>(memory);
    const std::uintptr_t first = (address + page - 1) / page * page;
    const std::uintptr_t end = (address + bytes) / page * page;
    if (first < end) {
        ::madvise(static_cast<char*>(memory) + (first - address), end - first, MADV_HUGEPAGE);
    }
#endif
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
