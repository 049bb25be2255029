// SPDX-License-Identifier: MIT
// i2s_lanes: I2_S (order A) times many tokens, with rows side by side in the lanes of registers.
#ifndef BITNET_KERNEL_I2S_LANES_HPP
#define BITNET_KERNEL_I2S_LANES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Some columns of some rows, unpacked: one code a byte, in fours of columns: [columns / 4][rows][4].
struct i2s_chunk {
    const std::uint8_t* codes;
    std::size_t column;       ///< the first
    std::size_t blocks;       ///< of 128 columns
    const std::uint8_t* next; ///< packed rows that a tile prefetches meanwhile
    std::size_t next_lines;   ///< how many lines of cache: never more than eighths of the columns
};

/// No sum crosses lanes, and codes are unpacked once for all tokens: a lane adds the products of four codes of its row
/// and four activations of a token, which are broadcast. The codes of a chunk, 16 KiB, stay in the first level of cache
/// while all tokens pass. Sums start from minus the sum of the activations, as weight = code - 1. Overflow: four
/// columns add at most 4 * 3 * 128 = 1536 to an int32 lane; that is safe to 1.3 M fours (5.5 M columns).
///
/// \tparam Lanes an instruction set's way: `rows` that a tile has, tokens in groups of token_group, up to three, chunks
///   of chunk_blocks blocks; unpack(packed, bytes of a packed row, blocks, codes) and
///   tile<Tokens>(chunk, x, first token, y, y_stride), which adds to y unless the chunk is the first
/// \tparam Few the kernel that multiplies fewer tokens than many_tokens, and what rows and tokens are left
template <class Lanes, class Few, std::size_t ManyTokens> struct i2s_lanes {
    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens < ManyTokens) {
            Few::multiply(w, first, count, x, y, y_stride);
            return;
        }
        const std::size_t rows = count / Lanes::rows * Lanes::rows;
        const std::size_t tokens = x.tokens / Lanes::token_group * Lanes::token_group;
        activation_view part = x;
        part.tokens = tokens;
        for (std::size_t r = 0; r < rows; r += Lanes::rows) {
            some_rows(w, first + r, part, y + r, y_stride);
        }
        Few::multiply(w, first + rows, count - rows, part, y + rows, y_stride);
        part = {x.data + tokens * x.stride, x.sums + tokens, x.stride, x.tokens - tokens};
        Few::multiply(w, first, count, part, y + tokens * y_stride, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 3 * Lanes::token_group;

    static void some_rows(const i2s::view& w, std::size_t first, const activation_view& x, std::int32_t* y,
                          std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[Lanes::chunk_blocks * 128 * Lanes::rows];
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* packed = w.data + first * row_bytes;
        const std::uint8_t* next = packed + Lanes::rows * row_bytes;
        for (std::size_t column = 0; column < w.cols; column += Lanes::chunk_blocks * 128) {
            const std::size_t left = (w.cols - column) / 128;
            const std::size_t blocks = left < Lanes::chunk_blocks ? left : Lanes::chunk_blocks;
            Lanes::unpack(packed + column / 4, row_bytes, blocks, codes);
            const std::size_t tiles = (x.tokens + most_tokens - 1) / most_tokens;
            all_tokens({codes, column, blocks, next, (blocks * Lanes::rows / 2 + tiles - 1) / tiles}, tiles, x, y,
                       y_stride);
            next += blocks * Lanes::rows * 32;
        }
    }

    static void all_tokens(i2s_chunk part, std::size_t tiles, const activation_view& x, std::int32_t* y,
                           std::size_t y_stride) noexcept {
        constexpr std::size_t group = Lanes::token_group;
        for (std::size_t t = 0; tiles != 0; --tiles) {
            const std::size_t share = (x.tokens - t + tiles - 1) / tiles; // so that all tiles are nearly of one size
            const std::size_t groups = (share + group - 1) / group;
            if (groups == 1) {
                Lanes::template tile<group>(part, x, t, y, y_stride);
            } else if (groups == 2) {
                Lanes::template tile<2 * group>(part, x, t, y, y_stride);
            } else {
                Lanes::template tile<3 * group>(part, x, t, y, y_stride);
            }
            part.next += part.next_lines * 64;
            t += groups * group;
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
