// SPDX-License-Identifier: MIT
// Ternary row formats: how other programs store rows of -1, 0, +1 with their scales among them. The concept.
#ifndef BITNET_KERNEL_ROW_FORMAT_HPP
#define BITNET_KERNEL_ROW_FORMAT_HPP

#include <bitnet/core/config.hpp>

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// A format in which other programs keep a [rows, cols] ternary matrix. Weights -1, 0, +1 are codes 0, 1, 2, times a
/// scale for each segment of a row: a block of columns, or the whole row. No kernel works on these formats; their rows
/// are read into a ternary_layout (model/format_rows.hpp), which has one scale for the whole matrix.
template <class F>
concept ternary_row_format = requires(const std::uint8_t* data, std::uint8_t* codes, std::size_t n) {
    { F::name } -> std::convertible_to<std::string_view>;
    { F::block_columns } -> std::convertible_to<std::size_t>; // cols is a multiple of it
    { F::row_bytes(n) }                                       // cols
    noexcept->std::same_as<std::size_t>;
    { F::segment_columns(n) } // cols
    noexcept->std::same_as<std::size_t>;
    { F::scale(data, n, n, n) } // the matrix, row, cols, segment
    noexcept->std::same_as<float>;
    { F::unpack_row(data, n, n, codes) } // the matrix, row, cols -> codes [cols]; whether all are 0, 1 or 2
    noexcept->std::same_as<bool>;
};

/// A row format that rows can be written in.
template <class F>
concept writable_row_format = ternary_row_format<F> &&
    requires(const std::uint8_t* codes, std::uint8_t* row, std::size_t cols, float scale) {
    { F::pack_row(codes, cols, scale, row) } // `scale`, rounded to what the format stores, and codes 0, 1, 2
    noexcept->std::same_as<void>;
    { F::stored_scale(scale) } // what a reader finds of it
    noexcept->std::same_as<float>;
};

/// Whether a number can be the scale of ternary weights: finite and above zero. By its bits, because -ffast-math folds
/// comparisons with infinity.
[[nodiscard]] constexpr bool is_ternary_scale(float scale) noexcept {
    const auto bits = std::bit_cast<std::uint32_t>(scale);
    return bits != 0 && bits < 0x7f800000u;
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
