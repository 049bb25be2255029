// SPDX-License-Identifier: MIT
// Rows of floats written as another element type: half, bfloat16, or ggml's Q8_0 and Q6_K blocks.
#ifndef BITNET_CONVERT_QUANTIZED_ROWS_HPP
#define BITNET_CONVERT_QUANTIZED_ROWS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/quantized_block.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

namespace quantizing {

[[nodiscard]] constexpr float magnitude(float x) noexcept {
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(x) & 0x7fffffffu);
}

/// x rounded to an integer, ties to even, and clamped. \pre |x| < 2^22
[[nodiscard]] constexpr int rounded(float x, int least, int most) noexcept {
    constexpr float shift = 12582912.0f; // 1.5 * 2^23, where the spacing of floats is 1
    const int value = static_cast<int>((x + shift) - shift);
    return std::clamp(value, least, most);
}

/// One scale and codes -32..31 for sixteen values: scale * code is close to the value in the least squares, weighted by
/// the values' squares, among scales that put the largest value about one of its last codes.
struct sixteen {
    float scale = 0;
    std::array<int, 16> codes{};
};

[[nodiscard]] inline sixteen with_codes(const float* x, float inverse) noexcept {
    sixteen made;
    float weighted = 0; // sum x^2 * x * code
    float energy = 0;   // sum x^2 * code^2
    for (std::size_t i = 0; i < made.codes.size(); ++i) {
        made.codes[i] = rounded(x[i] * inverse, -32, 31);
        const float product = x[i] * static_cast<float>(made.codes[i]);
        weighted += x[i] * x[i] * product;
        energy += x[i] * x[i] * static_cast<float>(made.codes[i] * made.codes[i]);
    }
    made.scale = energy > 0 ? weighted / energy : 0.0f;
    return made;
}

[[nodiscard]] inline float weighted_error(const float* x, const sixteen& tried) noexcept {
    float error = 0;
    for (std::size_t i = 0; i < tried.codes.size(); ++i) {
        const float off = x[i] - tried.scale * static_cast<float>(tried.codes[i]);
        error += x[i] * x[i] * off * off;
    }
    return error;
}

[[nodiscard]] inline sixteen best_codes(const float* x) noexcept {
    const float* peak =
        std::max_element(x, x + 16, [](float a, float b) noexcept { return magnitude(a) < magnitude(b); });
    if (magnitude(*peak) < 1e-15f) { // its square would vanish, and any head's logits with it
        return {};
    }
    sixteen best;
    float least = 0;
    for (int step = -9; step <= 9; ++step) {
        const sixteen tried = with_codes(x, -(32.0f + 0.1f * static_cast<float>(step)) / *peak);
        const float error = weighted_error(x, tried);
        if (step == -9 || error < least) {
            best = tried;
            least = error;
        }
    }
    return best;
}

inline void encode(const float* x, std::byte* out, q8_0) noexcept {
    float most = 0;
    for (std::size_t i = 0; i < q8_0::block_columns; ++i) {
        most = (std::max)(most, magnitude(x[i]));
    }
    const half d = narrow<half>(most / 127.0f);
    const float scale = widen(d);
    std::memcpy(out, &d, sizeof d);
    for (std::size_t i = 0; i < q8_0::block_columns; ++i) {
        const int code = scale > 0 ? rounded(x[i] / scale, -127, 127) : 0;
        out[2 + i] = static_cast<std::byte>(static_cast<std::int8_t>(code));
    }
}

inline void encode(const float* x, std::byte* out, q6_k) noexcept {
    std::array<float, 16> scales;
    float peak = 0;
    for (std::size_t c = 0; c < scales.size(); ++c) {
        scales[c] = best_codes(x + 16 * c).scale;
        peak = magnitude(scales[c]) > magnitude(peak) ? scales[c] : peak;
    }
    const half d = narrow<half>(peak / -128.0f); // the largest scale becomes -128
    const float factor = widen(d);
    std::fill_n(out, q6_k::block_bytes, std::byte{0});
    std::memcpy(out + q6_k::factor_at, &d, sizeof d);
    for (std::size_t c = 0; c < scales.size(); ++c) {
        const int s = magnitude(factor) > 0 ? rounded(scales[c] / factor, -128, 127) : 0;
        out[q6_k::scales + c] = static_cast<std::byte>(static_cast<std::int8_t>(s));
        const q6_k::sixteen place = q6_k::at(out, 16 * c);
        const float scale = factor * static_cast<float>(s);
        auto* low = out + (place.low - out);
        auto* high = out + (place.high - out);
        for (std::size_t i = 0; i < 16; ++i) {
            const float value = magnitude(scale) > 0 ? x[16 * c + i] / scale : 0.0f;
            const auto code = static_cast<unsigned>(rounded(value, -32, 31) + 32);
            low[i] |= static_cast<std::byte>((code & 15u) << place.low_shift);
            high[i] |= static_cast<std::byte>((code >> 4) << place.high_shift);
        }
    }
}

} // namespace quantizing

/// The largest magnitude that rows of E are written for: a half is at most 65504, and so is the factor of a block.
template <class E> inline constexpr float largest_value = 0x1p127f;
template <> inline constexpr float largest_value<half> = 65504.0f;
template <> inline constexpr float largest_value<q8_0> = 65504.0f * 127.0f;
template <> inline constexpr float largest_value<q6_k> = 65504.0f * 127.0f * 31.0f;

/// Writes `cols` floats as elements of E: half and bfloat16 to nearest even; Q8_0 with d = max|x| / 127; Q6_K with the
/// scale of each sixteen chosen by least squares (the formats are ggml's; so is the idea of the search).
/// \return false where a value is not finite or above largest_value<E>; then the bytes mean nothing.
/// \pre cols is a multiple of step_columns<E>() for block formats
template <class E> [[nodiscard]] bool narrow_row(const float* x, std::size_t cols, std::byte* out) noexcept {
    for (std::size_t i = 0; i < cols; ++i) {
        if ((std::bit_cast<std::uint32_t>(x[i]) & 0x7fffffffu) > std::bit_cast<std::uint32_t>(largest_value<E>)) {
            return false; // a NaN too: its bits are above those of all numbers
        }
    }
    if constexpr (block_format<E>) {
        for (std::size_t c = 0; c < cols; c += E::block_columns, out += E::block_bytes) {
            quantizing::encode(x + c, out, E{});
        }
    } else {
        for (std::size_t i = 0; i < cols; ++i) {
            const E element = narrow<E>(x[i]);
            std::memcpy(out + i * sizeof(E), &element, sizeof element);
        }
    }
    return true;
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
