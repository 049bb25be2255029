// SPDX-License-Identifier: MIT
// interrupt: Ctrl-C as a question that a loop can ask.
#pragma once

#include <csignal>

namespace tools {

/// While one lives, the first Ctrl-C is noted and the second does what it would have done. One at a time.
class interrupt {
public:
    interrupt() noexcept {
        seen_ = 0;
        before_ = std::signal(SIGINT, note);
    }
    ~interrupt() { std::signal(SIGINT, before_); }
    interrupt(const interrupt&) = delete;
    interrupt& operator=(const interrupt&) = delete;

    [[nodiscard]] static bool seen() noexcept { return seen_ != 0; }

private:
    static void note(int) {
        std::signal(SIGINT, SIG_DFL);
        seen_ = 1;
    }

    static inline volatile std::sig_atomic_t seen_ = 0;
    void (*before_)(int);
};

} // namespace tools
