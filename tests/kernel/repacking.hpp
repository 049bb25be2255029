// SPDX-License-Identifier: MIT
// repack: a ternary matrix from one layout to another, of types instead of tables. The library's own way goes by rows
// of a file (model/weight_reader.hpp).
#pragma once

#include <bitnet/core/checked.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <optional>

namespace bitnet_tests {

using bitnet::detail::blocks_across;
using bitnet::detail::checked_multiply;
using bitnet::detail::ternary_layout;

/// The number of blocks in a column of `rows` rows.
template <class L> [[nodiscard]] constexpr std::size_t blocks_down(std::size_t rows) noexcept {
    return rows / L::block_rows + (rows % L::block_rows != 0 ? 1 : 0);
}
/// Bytes of a whole matrix; nothing on overflow.
template <class L>
[[nodiscard]] constexpr std::optional<std::uint64_t> layout_bytes(std::size_t rows, std::size_t cols) noexcept {
    const auto blocks = checked_multiply(blocks_down<L>(rows), blocks_across<L>(cols));
    return blocks ? checked_multiply(*blocks, L::block_bytes) : blocks;
}

/// Rows that repack_rows takes at a time: whole blocks of both layouts.
template <ternary_layout To, ternary_layout From>
inline constexpr std::size_t repacked_rows = std::lcm(To::block_rows, From::block_rows);

/// Copies the codes of rows [first, first + count) from one layout to another; `to` is the whole new matrix.
/// Goes through one byte a code in 30 KiB of stack at most. \pre `first` is a multiple of repacked_rows, `count` is one
/// or ends the matrix; both layouts admit the shape; `To` can hold the codes: only I2_S knows code 3.
template <ternary_layout To, ternary_layout From>
void repack_rows(const typename From::view& from, std::size_t first, std::size_t count, std::uint8_t* to) noexcept {
    constexpr std::size_t rows = repacked_rows<To, From>;
    constexpr std::size_t cols = std::lcm(To::block_columns, From::block_columns);
    std::uint8_t codes[rows * cols];
    const auto each_block = [&]<ternary_layout L>(std::size_t row, std::size_t col, auto&& visit) {
        const std::size_t across = blocks_across<L>(from.cols);
        for (std::size_t r = 0; r < rows && row + r < from.rows; r += L::block_rows) {
            for (std::size_t c = 0; c < cols && col + c < from.cols; c += L::block_columns) {
                const std::size_t block = (row + r) / L::block_rows * across + (col + c) / L::block_columns;
                visit(block * L::block_bytes, codes + r * cols + c);
            }
        }
    };
    for (std::size_t row = first; row < first + count; row += rows) {
        for (std::size_t col = 0; col < from.cols; col += cols) {
            if (row + rows > from.rows || col + cols > from.cols) {
                std::memset(codes, 1, sizeof codes);
            }
            each_block.template operator()<From>(row, col, [&](std::size_t at, std::uint8_t* unpacked) {
                From::unpack_block(from.data + at, unpacked, cols);
            });
            each_block.template operator()<To>(
                row, col, [&](std::size_t at, std::uint8_t* unpacked) { To::pack_block(unpacked, cols, to + at); });
        }
    }
}

/// repack_rows() of all rows. \pre `to` holds layout_bytes<To>(rows, cols).
template <ternary_layout To, ternary_layout From>
void repack(const typename From::view& from, std::uint8_t* to) noexcept {
    repack_rows<To, From>(from, 0, from.rows, to);
}

} // namespace bitnet_tests
