// SPDX-License-Identifier: MIT
// kernel<Isa, Layout>: ternary matrix products of one instruction set on one layout, exact in int32.
#ifndef BITNET_KERNEL_KERNEL_HPP
#define BITNET_KERNEL_KERNEL_HPP

#include <bitnet/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Activation rows are zero from their last column to the next multiple of this many: whole blocks of I2_S (128) and of
/// base3 (320), so that the one can be unpacked to the other.
inline constexpr std::size_t activation_padding = 640;

/// One or more quantised activation rows, [tokens, cols] of int8, and their sums. Borrows its memory.
/// Rows of quantized_rows start 64-byte aligned and are zero up to a multiple of activation_padding.
struct activation_view {
    const std::int8_t* data = nullptr;
    const std::int32_t* sums = nullptr; ///< [tokens]
    std::size_t stride = 0;             ///< int8 values from token to token
    std::size_t tokens = 0;
    const std::byte* arranged =
        nullptr;                     ///< the groups of tokens as an arranging_kernel wrote them, the first group first
    std::size_t arranged_stride = 0; ///< bytes from group to group
};

/// Undefined: a pair of instruction set and layout for which no kernel is written fails to compile, by name.
template <class Isa, class Layout> struct kernel;

/// y[t * y_stride + r] = sum over c of w[first + r, c] * x[t, c] for r < count: exact, and so the same on every Isa.
/// Weights are code - 1; int32 holds any sum of up to 2^22 columns (2 * 128 * 2^22 = 2^30).
template <class K>
concept ternary_kernel = requires(const typename K::layout::view& w, std::size_t first, std::size_t count,
                                  const activation_view& x, std::int32_t* y, std::size_t y_stride) {
    { K::multiply(w, first, count, x, y, y_stride) }
    noexcept->std::same_as<void>;
};

/// A kernel that needs activations in another order, made once for all the matrices and rows they are multiplied by:
/// arrange(x, first_token, cols, out) writes the arranged_bytes(cols) bytes of the group of arranged_tokens tokens that
/// starts at first_token (a multiple of arranged_tokens; tokens beyond x.tokens are taken as zero) to `out`, which is
/// 64-byte aligned. multiply() then finds the groups of its tokens at x.arranged, and its first token starts a group.
template <class K>
concept arranging_kernel = ternary_kernel<K> &&
    requires(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) {
    { K::arranged_tokens } -> std::convertible_to<std::size_t>;
    { K::arranged_bytes(cols) }
    noexcept->std::same_as<std::size_t>;
    { K::arrange(x, first_token, cols, out) }
    noexcept->std::same_as<void>;
};

/// Tokens that the kernel takes together: blocks of tokens are cut at multiples of this.
template <ternary_kernel K> [[nodiscard]] constexpr std::size_t tokens_per_group() noexcept {
    if constexpr (arranging_kernel<K>) {
        return K::arranged_tokens;
    } else {
        return 1;
    }
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
