// SPDX-License-Identifier: MIT
// screen_choice: whether lm_head_mode::automatic makes a screen of a head on this machine, and why.
#ifndef BITNET_RUN_SCREEN_CHOICE_HPP
#define BITNET_RUN_SCREEN_CHOICE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/sentence.hpp>
#include <bitnet/io/available_memory.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// What the rule of lm_head_mode::automatic looks at.
struct screen_facts {
    std::uint64_t head_bytes = 0;
    std::uint64_t screen_bytes = 0;
    bool is_admitted = true;                ///< see admits_screen
    bool has_threads = true;                ///< whether the policy's pool is the library's own
    std::optional<std::uint64_t> available; ///< bytes; see available_memory
};

struct screen_choice {
    bool is_made = false;
    std::string note; ///< empty where there is nothing to choose
};

/// The rule: a screen is made if the head's type has one, the library may have a thread to make it, and four times its
/// bytes are available. A head below 32 MiB is read in about a millisecond, so that a screen is not worth its memory.
[[nodiscard]] inline screen_choice choose_screen(const screen_facts& facts) {
    constexpr std::uint64_t least = std::uint64_t{32} << 20;
    if (facts.head_bytes < least) {
        return {};
    }
    const auto stored = [](std::string_view why) {
        return screen_choice{false, sentence({"head: as stored, because ", why})};
    };
    if (!facts.is_admitted) {
        return stored("a screen is for F16, BF16 and F32");
    }
    if (!facts.has_threads) {
        return stored("the policy's pool has no thread of the library's that could make a screen");
    }
    if (!facts.available) {
        return stored("this system does not tell how much memory is available for a screen");
    }
    if (!has_room_for_copy(facts.screen_bytes, *facts.available)) {
        return stored(sentence({"a screen of ", facts.screen_bytes, " bytes takes more than a quarter of the ",
                                *facts.available, " bytes of memory that are available"}));
    }
    return {true, sentence({"head: screened, by ", facts.screen_bytes,
                            " bytes that are made in the background; until then all of it is read"})};
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
