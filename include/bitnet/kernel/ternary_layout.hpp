// SPDX-License-Identifier: MIT
// Ternary layouts: how weights of -1, 0, +1 are stored. The concept, and the three orders of I2_S.
#ifndef BITNET_KERNEL_TERNARY_LAYOUT_HPP
#define BITNET_KERNEL_TERNARY_LAYOUT_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_order.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

namespace detail {

/// A [rows, cols] matrix of codes in memory that somebody else owns, in a layout that its user knows. The scale is kept
/// beside it, not here.
struct ternary_view {
    const std::uint8_t* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
};

/// Weights -1, 0, +1 are codes 0, 1, 2. A layout cuts a matrix into blocks of block_rows x block_columns codes, each
/// block_bytes long: first those of the first block_rows rows by ascending columns, then the next rows. Blocks that
/// reach over the end of the matrix hold code 1 there; admits() tells which shapes may do that.
template <class L>
concept ternary_layout = requires(const typename L::view& w, std::size_t row, std::size_t col, const std::uint8_t* in,
                                  std::uint8_t* out, std::size_t stride) {
    { L::name } -> std::convertible_to<std::string_view>;
    { L::block_rows } -> std::convertible_to<std::size_t>;
    { L::block_columns } -> std::convertible_to<std::size_t>;
    { L::block_bytes } -> std::convertible_to<std::size_t>;
    { L::admits(row, col) }
    noexcept->std::same_as<bool>;
    { L::code(w, row, col) }
    noexcept->std::same_as<std::uint8_t>;
    { L::pack_block(in, stride, out) } // codes [block_rows, block_columns], `stride` bytes from row to row -> a block
    noexcept->std::same_as<void>;
    { L::unpack_block(in, out, stride) }
    noexcept->std::same_as<void>;
    { L::is_ternary(in) } // whether a block holds nothing but codes 0, 1 and 2
    noexcept->std::same_as<bool>;
};

/// The number of blocks in a row of `cols` columns.
template <class L> [[nodiscard]] constexpr std::size_t blocks_across(std::size_t cols) noexcept {
    return cols / L::block_columns + (cols % L::block_columns != 0 ? 1 : 0);
}

/// Weights -1, 0, +1 as codes 0, 1, 2 of two bits. Code 3 is not written by anybody; every kernel gives it the value
/// +2.
///
///   order      | bytes of rows r and columns c            | bits of column c
///   planar_128 | row r: 32 bytes for each 128 columns     | byte c % 32 of its block, shift 6 - 2 * (c % 128 / 32)
///   planar_64  | row r: 16 bytes for each 64 columns      | byte c % 16 of its block, shift 6 - 2 * (c % 64 / 16)
///   four_rows  | rows 4k..4k+3: one byte for each column  | byte c, shift 6 - 2 * (r % 4)
template <i2s_order Order> struct i2s_layout {
    static constexpr i2s_order order = Order;
    static constexpr std::string_view name = Order == i2s_order::planar_128  ? "i2_s"
                                             : Order == i2s_order::planar_64 ? "i2_s (b, 64-blocks)"
                                                                             : "i2_s (c, four rows)";
    /// Columns must be a multiple of this many, so that no block crosses rows.
    static constexpr std::size_t block_columns = Order == i2s_order::planar_128  ? 128
                                                 : Order == i2s_order::planar_64 ? 64
                                                                                 : 1;
    /// Rows must be a multiple of this many.
    static constexpr std::size_t block_rows = Order == i2s_order::four_rows ? 4 : 1;

    static constexpr std::size_t block_bytes = block_rows * block_columns / 4;

    using view = ternary_view;

    [[nodiscard]] static constexpr bool admits(std::size_t rows, std::size_t cols) noexcept {
        return rows % block_rows == 0 && cols % block_columns == 0 && (rows * cols) % 4 == 0;
    }

    [[nodiscard]] static constexpr std::size_t byte_index(std::size_t row, std::size_t col, std::size_t cols) noexcept {
        if constexpr (Order == i2s_order::four_rows) {
            return row / 4 * cols + col;
        } else {
            constexpr std::size_t bytes = block_columns / 4;
            return row * (cols / 4) + col / block_columns * bytes + col % bytes;
        }
    }
    [[nodiscard]] static constexpr unsigned shift(std::size_t row, std::size_t col) noexcept {
        const std::size_t plane =
            Order == i2s_order::four_rows ? row % 4 : col % block_columns / (block_columns < 4 ? 1 : block_columns / 4);
        return static_cast<unsigned>(6 - 2 * plane);
    }

    /// The code 0..3 at (row, col). \pre row < rows, col < cols
    [[nodiscard]] static std::uint8_t code(const view& w, std::size_t row, std::size_t col) noexcept {
        return static_cast<std::uint8_t>((unsigned{w.data[byte_index(row, col, w.cols)]} >> shift(row, col)) & 3u);
    }

    static void pack_block(const std::uint8_t* codes, std::size_t stride, std::uint8_t* block) noexcept {
        const std::size_t plane = plane_stride(stride);
        std::uint8_t packed[block_bytes];
        for (std::size_t i = 0; i < block_bytes; ++i) {
            packed[i] = static_cast<std::uint8_t>(codes[i] << 6 | codes[plane + i] << 4 | codes[2 * plane + i] << 2 |
                                                  codes[3 * plane + i]);
        }
        std::memcpy(block, packed, block_bytes);
    }
    static void unpack_block(const std::uint8_t* block, std::uint8_t* codes, std::size_t stride) noexcept {
        std::uint8_t packed[block_bytes];
        std::memcpy(packed, block, block_bytes);
        for (std::size_t plane = 0; plane < 4; ++plane) {
            for (std::size_t i = 0; i < block_bytes; ++i) {
                codes[plane * plane_stride(stride) + i] =
                    static_cast<std::uint8_t>((packed[i] >> (6 - 2 * plane)) & 3u);
            }
        }
    }
    [[nodiscard]] static bool is_ternary(const std::uint8_t* block) noexcept {
        unsigned bad = 0;
        for (std::size_t i = 0; i < block_bytes; ++i) {
            bad |= block[i] & (block[i] >> 1) & 0x55u;
        }
        return bad == 0;
    }

private:
    /// From the codes of one bit pair of a block to those of the next: the next row (C), or the next columns.
    [[nodiscard]] static constexpr std::size_t plane_stride(std::size_t row_stride) noexcept {
        return Order == i2s_order::four_rows ? row_stride : block_bytes;
    }
};

} // namespace detail

using i2s = detail::i2s_layout<i2s_order::planar_128>;
using i2s_b = detail::i2s_layout<i2s_order::planar_64>;
using i2s_c = detail::i2s_layout<i2s_order::four_rows>;

} // namespace bitnet::inline BITNET_ABI

#endif
