// SPDX-License-Identifier: MIT
// The I2_S layout types: how ternary weights of two bits each lie in memory.
#pragma once

#include <bitnet/core/config.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// The byte orders that all carry GGUF type id 36, "I2_S", with nothing in the file to tell them apart.
enum class i2s_order {
    planar_128, ///< A: the official files, converters, x86 builds: 128 weights of a row in 32 bytes
    planar_64,  ///< B: files quantised by an Arm build: 64 weights of a row in 16 bytes
    four_rows,  ///< C: x86 builds without ACT_PARALLEL: one column of four rows in a byte
};

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

    /// A [rows, cols] matrix of codes in memory that somebody else owns. The scale is kept beside it, not here.
    struct view {
        const std::uint8_t* data = nullptr;
        std::size_t rows = 0;
        std::size_t cols = 0;
    };

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
        return static_cast<std::uint8_t>((w.data[byte_index(row, col, w.cols)] >> shift(row, col)) & 3u);
    }
};

using i2s = i2s_layout<i2s_order::planar_128>;
using i2s_b = i2s_layout<i2s_order::planar_64>;
using i2s_c = i2s_layout<i2s_order::four_rows>;

/// Copies codes from one layout to another. \pre to holds rows * cols / 4 bytes; both layouts admit the shape.
template <class To, class From> void repack(const typename From::view& from, std::uint8_t* to) noexcept {
    for (std::size_t i = 0; i < from.rows * from.cols / 4; ++i) {
        to[i] = 0;
    }
    for (std::size_t r = 0; r < from.rows; ++r) {
        for (std::size_t c = 0; c < from.cols; ++c) {
            const unsigned code = From::code(from, r, c);
            std::uint8_t& byte = to[To::byte_index(r, c, from.cols)];
            byte = static_cast<std::uint8_t>(byte | (code << To::shift(r, c)));
        }
    }
}

} // namespace bitnet::inline BITNET_ABI
