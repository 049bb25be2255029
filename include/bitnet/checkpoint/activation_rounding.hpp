// SPDX-License-Identifier: MIT
// activation_rounding: what happens to activations before they meet ternary weights.
#ifndef BITNET_CHECKPOINT_ACTIVATION_ROUNDING_HPP
#define BITNET_CHECKPOINT_ACTIVATION_ROUNDING_HPP

#include <bitnet/core/config.hpp>

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What happens to the activations of a product with ternary weights. BitNet's models were trained with one int8 scale
/// for each token; models with a scale for each block of weights were trained with 16-bit activations, and a scale for
/// each 32 columns loses least of all int8 choices. .github/GUIDE.md has the measured errors.
enum class activation_rounding : unsigned char {
    by_model,  ///< per_token where every ternary matrix has one scale, per_32 elsewhere
    per_token, ///< int8 with a scale for each token: BitNet's contract
    per_128,   ///< int8 with a scale for each 128 columns
    per_32,    ///< int8 with a scale for each 32 columns, as llama.cpp's Q8_0
    none,      ///< float: the reference, and slow
};

/// In the order of the enumeration: what programs call them.
inline constexpr std::array<std::string_view, 5> activation_rounding_names{"default", "token", "128", "32", "float"};

[[nodiscard]] constexpr std::string_view name_of(activation_rounding rounding) noexcept {
    return activation_rounding_names[static_cast<std::size_t>(rounding)];
}

/// The rounding of that name; nullopt if there is none.
[[nodiscard]] constexpr std::optional<activation_rounding> find_activation_rounding(std::string_view name) noexcept {
    for (std::size_t i = 0; i < activation_rounding_names.size(); ++i) {
        if (activation_rounding_names[i] == name) {
            return static_cast<activation_rounding>(i);
        }
    }
    return std::nullopt;
}

namespace detail {

/// Columns of `cols` that share a scale. \pre not by_model or none
[[nodiscard]] constexpr std::size_t columns_per_scale(activation_rounding rounding, std::size_t cols) noexcept {
    return rounding == activation_rounding::per_32 ? 32 : rounding == activation_rounding::per_128 ? 128 : cols;
}

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
