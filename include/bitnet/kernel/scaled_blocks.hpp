// SPDX-License-Identifier: MIT
// scaled_blocks: ternary rows with a scale for each block of their columns, as Q2_0 and PQ2_0 files have them.
#ifndef BITNET_KERNEL_SCALED_BLOCKS_HPP
#define BITNET_KERNEL_SCALED_BLOCKS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// A [rows, cols] matrix of blocks of 128 or 64 columns, weight = (code - 1) * d. Borrows its memory, at any alignment.
/// The last block of a row is whole; of what is beyond `cols` the code is 1.
///
///     0   d                       half, finite and not below zero
///     2   qs[block_columns / 4]   byte j, bits 2k and 2k + 1: the code of column 4j + k
///
/// Source: Q2_0 of PrismML's and mainline llama.cpp (type 42, blocks of 128 and of 64), PQ2_0 (142, blocks of 128).
struct scaled_blocks {
    const std::uint8_t* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t block_columns = 128;

    [[nodiscard]] std::size_t block_bytes() const noexcept { return 2 + block_columns / 4; }
    [[nodiscard]] std::size_t blocks_across() const noexcept { return (cols + block_columns - 1) / block_columns; }
    [[nodiscard]] std::size_t row_bytes() const noexcept { return blocks_across() * block_bytes(); }
    [[nodiscard]] const std::uint8_t* row(std::size_t r) const noexcept { return data + r * row_bytes(); }
};

[[nodiscard]] inline half scale_of_block(const std::uint8_t* block) noexcept {
    half d;
    std::memcpy(&d, block, sizeof d);
    return d;
}

/// The code 0..3 of a column of a block.
[[nodiscard]] inline unsigned code_in_block(const std::uint8_t* block, std::size_t column) noexcept {
    return static_cast<unsigned>(block[2 + column / 4]) >> (2 * (column % 4)) & 3u;
}

/// codes [columns], 0 to 2 -> a block. \pre columns is a multiple of 4
inline void write_block(const std::uint8_t* codes, std::size_t columns, half d, std::uint8_t* block) noexcept {
    std::memcpy(block, &d, sizeof d);
    for (std::size_t j = 0; j < columns / 4; ++j) {
        block[2 + j] = static_cast<std::uint8_t>(codes[4 * j] | codes[4 * j + 1] << 2 | codes[4 * j + 2] << 4 |
                                                 codes[4 * j + 3] << 6);
    }
}

/// Columns [first, first + count) of a row as floats, exactly: 11 bits times -1, 0 or 1.
inline void widen_blocks(const scaled_blocks& w, std::size_t row, std::size_t first, std::size_t count,
                         float* out) noexcept {
    for (std::size_t i = 0; i < count; ++i) {
        const std::size_t column = first + i;
        const std::uint8_t* block = w.row(row) + column / w.block_columns * w.block_bytes();
        const auto weight = static_cast<float>(static_cast<int>(code_in_block(block, column % w.block_columns)) - 1);
        out[i] = widen(scale_of_block(block)) * weight;
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
