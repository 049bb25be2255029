// SPDX-License-Identifier: MIT
// The row formats Q2_0 and PQ2_0 of llama.cpp and PrismML's: scaled_blocks, a half and then four codes to a byte.
#ifndef BITNET_KERNEL_Q2_0_HPP
#define BITNET_KERNEL_Q2_0_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Rows of blocks of `Columns` columns, in the bytes of scaled_blocks, to be read and written. Code 3 is none.
template <std::size_t Columns> struct scaled_block_rows {
    static constexpr std::size_t block_columns = Columns;
    static constexpr std::size_t block_bytes = 2 + Columns / 4;
    static constexpr std::size_t scale_at = 0;

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept {
        return cols / block_columns * block_bytes;
    }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t) noexcept { return block_columns; }
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t segment) noexcept {
        return widen(scale_of_block(data + row * row_bytes(cols) + segment * block_bytes));
    }
    [[nodiscard]] static float stored_scale(float scale) noexcept { return widen(narrow<half>(scale)); }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols);
        unsigned bad = 0;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            for (std::size_t j = 0; j < block_columns; ++j) {
                const unsigned code = code_in_block(block, j);
                bad |= code & (code >> 1);
                codes[col + j] = static_cast<std::uint8_t>(code);
            }
        }
        return bad == 0;
    }

    static void pack_row(const std::uint8_t* codes, std::size_t cols, float scale, std::uint8_t* row) noexcept {
        for (std::size_t col = 0; col < cols; col += block_columns, row += block_bytes) {
            write_block(codes + col, block_columns, narrow<half>(scale), row);
        }
    }
};

struct q2_0 : scaled_block_rows<128> {
    static constexpr std::string_view name = "Q2_0";
};
struct q2_0_g64 : scaled_block_rows<64> {
    static constexpr std::string_view name = "Q2_0_G64";
};
struct pq2_0 : scaled_block_rows<128> {
    static constexpr std::string_view name = "PQ2_0";
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
