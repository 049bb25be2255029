// SPDX-License-Identifier: MIT
// The kernels alone: how fast one reads its weights for a token, and multiplies them by the tokens of a prompt.
#pragma once

#include "machine.hpp"

#include <bitnet/core/result.hpp>

#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace bench {

struct kernel_figure {
    std::string kernel; ///< a layout's name, "F16 rows" or "screen"
    std::string isa;
    std::string pages; ///< "mapped" or "huge"
    std::size_t threads = 1;
    double gb_per_second = 0;              ///< with one token, the median of the repetitions
    double of_reading = 0;                 ///< of the best median of the loops that only read the same bytes
    double products_per_second = 0;        ///< with many tokens, in 1e9/s; 0 where that was not measured
    double cached_products_per_second = 0; ///< the same few rows again and again
    double of_peak = 0;                    ///< of the products that the instructions make in registers alone
};

/// Which kernels to measure: of the best instruction set of this CPU where `isa` is empty.
struct kernel_choice {
    std::string_view isa;
    std::size_t threads;
    std::size_t repetitions;
};

/// Every kernel in rows of 2,560 columns, in tasks as the model cuts them, in turns with loops that only read: of the
/// bytes of `mapped`, a model's file, taken for weights as they are, where the kernel's weights can lie in one, and of
/// the reader's own huge pages. \return errc::invalid_argument if this CPU has no such instruction set
[[nodiscard]] bitnet::result<std::vector<kernel_figure>>
measure_kernels(const kernel_choice& choice, const read_benchmark& reader, std::span<const std::byte> mapped);

[[nodiscard]] std::string kernels_to_markdown(const std::vector<kernel_figure>& all);

} // namespace bench
