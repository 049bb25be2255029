// SPDX-License-Identifier: MIT
// YaRN and longrope: how models rotate that were trained for longer contexts than at first.
#ifndef BITNET_CHECKPOINT_CONTEXT_EXTENSION_HPP
#define BITNET_CHECKPOINT_CONTEXT_EXTENSION_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/fixed_point.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// log2(x) for 1 <= x < 2^127, from integers, so that it is the same everywhere.
[[nodiscard]] inline double exact_log2(double x) noexcept { return static_cast<double>(log2_fixed(x)) * 0x1p-57; }

/// YaRN: pairs that turn often within the original context are kept, those that turn seldom are slowed down by
/// `factor`, and between the two lies a ramp. Source: Peng et al., "YaRN", 2023, as transformers and llama.cpp compute
/// it.
struct yarn_scaling {
    static constexpr double least_turns = 0x1p-12;
    static constexpr double most_turns = 0x1p+12;

    double factor = 1;  ///< 1 to 4096
    double context = 1; ///< positions of the original context, at least 1
    double fast = 32;   ///< turns within the original context, above which a pair is kept; least_turns to most_turns
    double slow = 1;    ///< turns below which it is slowed down by the whole factor

    /// The pair, not a whole number, that makes `turns` turns within the original context. \pre theta > 1
    [[nodiscard]] double pair_of(double turns, double theta, std::size_t head_size) const noexcept {
        constexpr double log2_of_2pi = 0x1.536439a4c6efcp+1;
        const double log2_turns = exact_log2(turns / least_turns) - exact_log2(1 / least_turns);
        const double wavelength = exact_log2(context) - log2_of_2pi - log2_turns;
        return static_cast<double>(head_size) * wavelength / (2 * exact_log2(theta));
    }

    /// What the frequency of each pair is divided by, [head_size / 2], each 1 to factor. \pre theta > 1
    [[nodiscard]] std::vector<double> divisors(double theta, std::size_t head_size) const {
        const double last = static_cast<double>(head_size) - 1;
        const double low = (std::max)(std::floor(pair_of(fast, theta, head_size)), 0.0);
        const double high = (std::min)(std::ceil(pair_of(slow, theta, head_size)), last);
        const double width = (std::max)(high - low, 0.001);
        std::vector<double> made(head_size / 2);
        for (std::size_t j = 0; j < made.size(); ++j) {
            const double along = (static_cast<double>(j) - low) / width;
            const double ramp = (std::min)((std::max)(along, 0.0), 1.0);
            const double kept = 1 - ramp;
            const double slowed = ramp / factor;
            made[j] = 1 / (kept + slowed);
        }
        return made;
    }

    /// What cosines and sines are multiplied by, at every position and in every context.
    [[nodiscard]] double magnitude() const noexcept {
        constexpr double log_of_2 = 0x1.62e42fefa39efp-1;
        const double grown = exact_log2(factor) * log_of_2 / 10;
        return 1 + grown;
    }
};

/// What longrope multiplies cosines and sines by: sqrt(1 + ln(S) / ln(L)) with S = context / original, 1 up to S = 1.
/// Source: Ding et al., "LongRoPE", 2024, as transformers computes it. \pre both at least 1
[[nodiscard]] inline float longrope_magnitude(double context, double original) noexcept {
    if (context <= original || original <= 1) {
        return 1;
    }
    const double grown = exact_log2(context / original) / exact_log2(original);
    return exact_square_root(static_cast<float>(1 + grown));
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
