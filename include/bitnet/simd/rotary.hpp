// SPDX-License-Identifier: MIT
// Rotary position embedding: the angles of every position, from integer phases, the same bits everywhere.
#ifndef BITNET_SIMD_ROTARY_HPP
#define BITNET_SIMD_ROTARY_HPP

#include <bitnet/core/buffer.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/fixed_point.hpp>
#include <bitnet/core/fma.hpp>
#include <bitnet/core/result.hpp>

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

struct sine_cosine {
    float sine;
    float cosine;
};

/// Sine and cosine of phase / 2^64 turns, each within 2 units in the last place of 1.
/// The phase is cut to the nearest quarter turn and a rest of at most an eighth, t in [-1/2, 1/2] quarter turns; then
/// the Taylor series of sin and cos of (pi/2) t, whose first left-out terms are below 2e-9.
[[nodiscard]] inline sine_cosine sine_cosine_of_turns(std::uint64_t phase) noexcept {
    constexpr std::uint64_t eighth = std::uint64_t{1} << 61;
    const std::uint64_t quarter = (phase + eighth) >> 62;
    const auto rest = static_cast<std::int64_t>(phase - (quarter << 62));
    const float t = static_cast<float>(rest) * 0x1p-62f;
    const float t2 = t * t;
    float s = 0x1.507834p-13f; // (pi/2)^9 / 9!
    s = exact_fma(s, t2, -0x1.32d2ccp-8f);
    s = exact_fma(s, t2, 0x1.466bc6p-4f);
    s = exact_fma(s, t2, -0x1.4abbcep-1f);
    s = exact_fma(s, t2, 0x1.921fb6p+0f); // pi/2
    s = s * t;
    float c = -0x1.a6d1f2p-16f; // -(pi/2)^10 / 10!
    c = exact_fma(c, t2, 0x1.e1f506p-11f);
    c = exact_fma(c, t2, -0x1.55d3c8p-6f);
    c = exact_fma(c, t2, 0x1.03c1fp-2f);
    c = exact_fma(c, t2, -0x1.3bd3ccp+0f);
    c = exact_fma(c, t2, 1.0f);
    switch (quarter & 3) {
    case 0:
        return {s, c};
    case 1:
        return {c, -s};
    case 2:
        return {-s, -c};
    default:
        return {-c, s};
    }
}

/// How context extension changes a rotation.
struct rotary_scaling {
    static constexpr float most = 4096.0f;
    static constexpr double least_divisor = 0.25;

    float factor = 1.0f;              ///< all angles are divided by it; 1 to most
    std::span<const double> divisors; ///< and by these, pair by pair, each least_divisor to most; empty: by 1
    float magnitude = 1.0f;           ///< what cosines and sines are multiplied by
};

/// The frequencies theta^(-2 j / head_size), j < head_size / 2, as turns per position * 2^64.
/// position * frequency is then exact modulo whole turns, in 64-bit integers that wrap: no float argument reduction,
/// and an angle at position 2^20 is as good as one at position 1 (the frequency's error of 2^-48 grows to 2^-28 turns).
/// Source: Su et al., "RoFormer", 2021.
class rotary_frequencies {
public:
    rotary_frequencies() noexcept = default;

    /// \pre 1 <= theta <= 2^100, head_size even and not zero, divisors none or head_size / 2.
    /// The sum of all logarithms stays below 127: 100 of theta, 2.7 of 2 pi, twice 12 of scaling. It stays above 0,
    /// too: a divisor takes 2 at most off those of 2 pi. \return errc::out_of_memory
    [[nodiscard]] static result<rotary_frequencies> open(float theta, std::size_t head_size,
                                                         const rotary_scaling& scaling = {}) {
        constexpr std::uint64_t log2_of_2pi = 0x54d90e6931bbeebu; // * 2^57
        constexpr std::uint64_t log2_of_four = log2_fixed(1 / rotary_scaling::least_divisor);
        auto turns = buffer<std::uint64_t>::allocate(head_size / 2, "rotary frequencies");
        if (!turns) {
            return std::move(turns).error();
        }
        const std::uint64_t step = log2_fixed(theta) / head_size;
        for (std::size_t j = 0; j < turns->size(); ++j) {
            const double divisor = scaling.divisors.empty() ? 1.0 : scaling.divisors[j];
            const std::uint64_t slower = log2_fixed(scaling.factor) + log2_fixed(divisor / scaling.least_divisor);
            (*turns)[j] = exp2_negative_fixed(log2_of_2pi + step * 2 * j + slower - log2_of_four);
        }
        rotary_frequencies made;
        made.turns_ = *std::move(turns);
        made.magnitude_ = scaling.magnitude;
        return made;
    }

    [[nodiscard]] std::size_t pairs() const noexcept { return turns_.size(); }

    /// Writes cos and sin of position * frequency, [pairs()] each, times the magnitude.
    void angles(std::uint64_t position, float* cosines, float* sines) const noexcept {
        for (std::size_t j = 0; j < turns_.size(); ++j) {
            const sine_cosine angle = sine_cosine_of_turns(turns_[j] * position);
            cosines[j] = angle.cosine * magnitude_;
            sines[j] = angle.sine * magnitude_;
        }
    }

private:
    buffer<std::uint64_t> turns_;
    float magnitude_ = 1.0f;
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
