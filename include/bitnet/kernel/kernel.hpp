// SPDX-License-Identifier: MIT
// kernel<Isa, Layout>: ternary matrix products of one instruction set on one layout, exact in int32.
#pragma once

#include <bitnet/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// One or more quantised activation rows, [tokens, cols] of int8, and their sums. Borrows its memory.
struct activation_view {
    const std::int8_t* data = nullptr;
    const std::int32_t* sums = nullptr; ///< [tokens]
    std::size_t stride = 0;             ///< int8 values from token to token
    std::size_t tokens = 0;
};

/// Undefined: a pair of instruction set and layout for which no kernel is written fails to compile, by name.
template <class Isa, class Layout> struct kernel;

/// y[t * y_stride + r] = sum over c of w[first + r, c] * x[t, c] for r < count: exact, and so the same on every Isa.
/// Weights are code - 1; int32 holds any sum of up to 2^22 columns (2 * 128 * 2^22 = 2^30).
template <class K>
concept ternary_kernel = requires(const typename K::layout::view& w, std::size_t first, std::size_t count,
                                  const activation_view& x, std::int32_t* y, std::size_t y_stride) {
    { K::rows(w, first, count, x, y, y_stride) }
    noexcept->std::same_as<void>;
};

} // namespace bitnet::inline BITNET_ABI
