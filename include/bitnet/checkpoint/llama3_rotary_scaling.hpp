// SPDX-License-Identifier: MIT
// The rotary scaling of LLaMA 3.1: which frequencies are slowed down, and how much.
#ifndef BITNET_CHECKPOINT_LLAMA3_ROTARY_SCALING_HPP
#define BITNET_CHECKPOINT_LLAMA3_ROTARY_SCALING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/fixed_point.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace bitnet::inline BITNET_ABI::detail {

/// The rotary scaling of LLaMA 3.1: long wavelengths are stretched by `factor`, short ones are kept.
struct llama3_rotary_scaling {
    double factor = 8;
    double low = 1;        ///< turns within the original context below which a frequency is divided by `factor`
    double high = 4;       ///< turns above which it is kept; in between lies a blend
    double context = 8192; ///< positions of the original context
};

} // namespace bitnet::inline BITNET_ABI::detail

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// What GGUF files hold as rope_freqs.weight: the divisor of every frequency theta^(-2 j / head_size).
/// From integer phases as in rotary_frequencies, so that it is the same everywhere.
/// \pre 1 <= theta < 2^126, low != high
[[nodiscard]] inline std::vector<float> llama3_rotary_divisors(float theta, std::size_t head_size,
                                                               const llama3_rotary_scaling& scaling) {
    constexpr std::uint64_t log2_of_2pi = 0x54d90e6931bbeebu; // * 2^57
    const std::uint64_t step = log2_fixed(theta) / head_size;
    std::vector<float> divisors(head_size / 2);
    for (std::size_t j = 0; j < divisors.size(); ++j) {
        const auto turns = static_cast<double>(exp2_negative_fixed(log2_of_2pi + step * 2 * j)) * 0x1p-64;
        const double within = turns * scaling.context;
        const double blend = (within - scaling.low) / (scaling.high - scaling.low);
        const double kept = blend < 0 ? 0 : blend > 1 ? 1 : blend;
        divisors[j] = static_cast<float>(1.0 / ((1.0 - kept) / scaling.factor + kept));
    }
    return divisors;
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
