// SPDX-License-Identifier: MIT
// A model of one decoding step: what more threads would gain, from what was measured with few.
#pragma once

#include "report.hpp"

#include <cstddef>
#include <span>
#include <string>
#include <vector>

namespace bench {

/// Seconds of a step's parts. Loops end one after another; kernels take as long as memory lets them.
struct step_parts {
    double serial = 0;  ///< what one thread does while the others wait: norms, quantising, sampling
    double loops = 0;   ///< starting the threads and waiting for the last one
    double kernels = 0; ///< from cached weights
    double memory = 0;  ///< reading the bytes

    [[nodiscard]] double sum() const noexcept { return serial + loops + (kernels > memory ? kernels : memory); }
};

/// The step of one configuration. Serial part and kernels are those of the row with the fewest threads; a loop costs
/// what was measured, and beyond that grows with the threads, which all come to one counter.
class step_model {
public:
    /// \pre rows is not empty, and has one configuration with batches of 1, ascending numbers of threads
    explicit step_model(std::span<const measurement> rows);

    /// With the memory of the row with the most threads, or the measured one below.
    [[nodiscard]] step_parts with_this_memory(std::size_t threads) const;
    /// With the memory of one thread for each, as on machines with more channels.
    [[nodiscard]] step_parts with_growing_memory(std::size_t threads) const;

private:
    [[nodiscard]] step_parts with(std::size_t threads, double gb_per_second) const;

    std::span<const measurement> rows_;
};

/// A table for each configuration of which single sequences were measured: the measured numbers of threads, to check
/// the model, and 4 to 128. Empty if there is none.
[[nodiscard]] std::string scaling_to_markdown(const std::vector<measurement>& all);

} // namespace bench
