// SPDX-License-Identifier: MIT
// Where the time of a pass went.
#pragma once

namespace bench {

/// Shares of the time that the threads of a pass had together; they add up to 1.
struct phase_shares {
    double ternary = 0;
    double head = 0;
    double attention = 0;
    double rest = 0; ///< norms, quantising, rotating, activations, sampling
    double waiting = 0;
};

} // namespace bench
