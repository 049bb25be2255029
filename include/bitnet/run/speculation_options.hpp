// SPDX-License-Identifier: MIT
// speculation_options: how many guesses a pass verifies, and what came of them.
#ifndef BITNET_RUN_SPECULATION_OPTIONS_HPP
#define BITNET_RUN_SPECULATION_OPTIONS_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

struct speculation_options {
    /// Guesses that a pass verifies at most, up to 15.
    std::size_t most = 15;
    /// Whether fewer are verified, down to none, where they cost more time than they save, as measured: n tokens take
    /// no longer than about 1.01 n + 1 would without guesses. Times decide how long a token takes then, and never which
    /// one it is.
    bool is_adaptive = true;
};

struct speculation_statistics {
    std::uint64_t tokens = 0;   ///< that next() gave, or a scheduler
    std::uint64_t passes = 0;   ///< through the model for these, that of the prompt included
    std::uint64_t drafted = 0;  ///< guesses that ran
    std::uint64_t accepted = 0; ///< of these, those that next() gave

    void add(const speculation_statistics& more) noexcept {
        tokens += more.tokens;
        passes += more.passes;
        drafted += more.drafted;
        accepted += more.accepted;
    }
    [[nodiscard]] double tokens_per_pass() const noexcept {
        return passes != 0 ? static_cast<double>(tokens) / static_cast<double>(passes) : 0.0;
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
