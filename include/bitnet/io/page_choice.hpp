// SPDX-License-Identifier: MIT
// page_choice: what page_mode::automatic means for a file on this machine, and why.
#ifndef BITNET_IO_PAGE_CHOICE_HPP
#define BITNET_IO_PAGE_CHOICE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/core/system_files.hpp>
#include <bitnet/io/available_memory.hpp>
#include <bitnet/io/page_mode.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What the rule of page_mode::automatic looks at.
struct page_facts {
    std::uint64_t file_bytes = 0;
    bool is_read_in_place = true; ///< false where the weights are repacked, so that a copy would not be read again
    bool has_huge_pages = false;
    std::optional<std::uint64_t> available; ///< bytes; see available_memory
};

/// Whether a process that asks for huge pages gets some. Android has them and ends programs that take much memory.
[[nodiscard]] inline bool has_huge_pages([[maybe_unused]] const system_files& files = {}) noexcept {
#if defined(__ANDROID__)
    return false;
#else
    system_text text;
    const std::string_view choices = files.text({"/sys/kernel/mm/transparent_hugepage/enabled"}, text);
    return choices.find("[always]") != choices.npos || choices.find("[madvise]") != choices.npos;
#endif
}

struct page_choice {
    page_mode pages = page_mode::mapped;
    std::string note; ///< empty for small files, where there is nothing to choose
};

/// The rule of page_mode::automatic. A file is copied if its weights are read where they lie, if the system has huge
/// pages (without them a copy gains nothing) and if four times its bytes are available. Below 64 MiB it is mapped: the
/// caches of the CPU hold much of it. A copy that turns out to be slow is given up: see copy_pace.
[[nodiscard]] inline page_choice choose_pages(const page_facts& facts) {
    constexpr std::uint64_t least = std::uint64_t{64} << 20;
    if (facts.file_bytes < least) {
        return {};
    }
    const auto mapped = [](std::string_view why) {
        return page_choice{page_mode::mapped, sentence({"pages: mapped, because ", why})};
    };
    if (!facts.is_read_in_place) {
        return mapped("the weights are repacked anyway");
    }
    if (!facts.has_huge_pages) {
        return mapped("this system gives no huge pages to a copy");
    }
    if (!facts.available) {
        return mapped("this system does not tell how much memory is available");
    }
    if (!has_room_for_copy(facts.file_bytes, *facts.available)) {
        return mapped(sentence({"a copy of ", facts.file_bytes, " bytes takes more than a quarter of the ",
                                *facts.available, " bytes of memory that are available"}));
    }
    return {page_mode::copied, sentence({"pages: copied, because the ", facts.file_bytes,
                                         " bytes of the model are no more than a quarter of the ", *facts.available,
                                         " bytes of memory that are available"})};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
