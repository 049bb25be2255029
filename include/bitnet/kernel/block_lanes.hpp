// SPDX-License-Identifier: MIT
// block_lanes: scaled_blocks times many tokens, with rows side by side in the lanes of registers. Empty on other
// architectures than x86-64.
#ifndef BITNET_KERNEL_BLOCK_LANES_HPP
#define BITNET_KERNEL_BLOCK_LANES_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <xmmintrin.h>

namespace bitnet::inline BITNET_ABI::detail {

/// Some columns of some rows, unpacked: one code a byte, in fours of columns [columns / 4][rows][4]. Those of 32
/// columns follow one another, in the order four, plane: the activations of four f of plane k of step s of a chunk of
/// 128 are at 32k + 8s + 4f.
struct block_piece {
    const std::uint8_t* codes;
    const float* scales;      ///< [blocks][rows]
    std::size_t column;       ///< the first
    std::size_t blocks;       ///< across
    std::size_t block_pairs;  ///< of steps of 32 columns, in a block
    const std::uint8_t* next; ///< packed rows that a tile prefetches meanwhile
    std::size_t block_lines;  ///< how many lines of cache, in each block

    BITNET_ALWAYS_INLINE void prefetch(std::size_t block) const noexcept {
        for (std::size_t i = block * block_lines; i < (block + 1) * block_lines; ++i) {
            _mm_prefetch(reinterpret_cast<const char*>(next) + 64 * i, _MM_HINT_T1);
        }
    }
};

/// Where the activations of some tokens are, from a column on: see block_activations::values_at(). Addresses that
/// compilers do not know, or they would hold those of every plane of every token, for which there are no registers.
template <std::size_t Tokens> struct token_values {
    const std::int8_t* of[Tokens];

    BITNET_ALWAYS_INLINE token_values(const block_activations& x, std::size_t column) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            of[t] = x.values_at(column) + t * x.stride;
#if defined(__GNUC__)
            __asm__("" : "+r"(of[t]));
#endif
        }
    }
};

/// No sum crosses lanes, and codes are unpacked once for all tokens: a lane adds the products of four codes of its row
/// and four activations of a token, which are broadcast, over 32 columns, becomes a float, and is a row to the end. The
/// codes of a piece, 16 KiB, stay in the first level of cache while all tokens pass.
///
/// \tparam Lanes an instruction set's way: `rows` that a tile has, pieces of piece_columns columns; unpack(64 columns
/// of
///   the first row, bytes of a row, codes), load_scales(block of the first row, bytes of a row, scales) and
///   tile<Tokens>(piece, x, y, y_stride), which adds to y unless the piece is the first
/// \tparam Few the kernel that multiplies fewer tokens than ManyTokens, and what rows are left
template <class Lanes, class Few, std::size_t ManyTokens> struct block_lanes {
    static_assert(ManyTokens >= 3, "tiles have 3, 4 or 5 tokens");

    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        const std::size_t rows = x.tokens < ManyTokens ? 0 : count / Lanes::rows * Lanes::rows;
        for (std::size_t r = 0; r < rows; r += Lanes::rows) {
            some_rows(w, first + r, x, y + r, y_stride);
        }
        if (rows != count) {
            Few::multiply(w, first + rows, count - rows, x, y + rows, y_stride);
        }
    }

private:
    static constexpr std::size_t most_tokens = 5;

    static void some_rows(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                          std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[Lanes::piece_columns * Lanes::rows];
        alignas(64) float scales[Lanes::piece_columns / 64 * Lanes::rows];
        const std::size_t most_blocks = Lanes::piece_columns / w.block_columns;
        const std::size_t tiles = (x.tokens + most_tokens - 1) / most_tokens;
        const std::size_t block_lines = (Lanes::rows * w.block_bytes() / 64 + tiles) / tiles;
        const std::uint8_t* next = w.row(first + Lanes::rows);
        for (std::size_t b = 0; b < w.blocks_across(); b += most_blocks) {
            const std::size_t left = w.blocks_across() - b;
            const std::size_t blocks = left < most_blocks ? left : most_blocks;
            unpack(w, w.row(first) + b * w.block_bytes(), blocks, codes, scales);
            all_tokens({codes, scales, b * w.block_columns, blocks, w.block_columns / 64, next, block_lines}, tiles, x,
                       y, y_stride);
            next += blocks * Lanes::rows * w.block_bytes();
        }
    }

    static void unpack(const scaled_blocks& w, const std::uint8_t* block, std::size_t blocks, std::uint8_t* codes,
                       float* scales) noexcept {
        for (std::size_t b = 0; b < blocks; ++b, block += w.block_bytes(), scales += Lanes::rows) {
            Lanes::load_scales(block, w.row_bytes(), scales);
            for (std::size_t c = 0; c < w.block_columns; c += 64, codes += 64 * Lanes::rows) {
                Lanes::unpack(block + 2 + c / 4, w.row_bytes(), codes);
            }
        }
    }

    static void all_tokens(block_piece piece, std::size_t tiles, const block_activations& x, float* y,
                           std::size_t y_stride) noexcept {
        for (std::size_t t = 0; tiles != 0; --tiles) {
            const std::size_t rest = x.tokens - t;
            const std::size_t share = (rest + tiles - 1) / tiles; // so that all tiles are nearly of one size
            if (share == most_tokens) {
                Lanes::template tile<most_tokens>(piece, x.part(t, most_tokens), y + t * y_stride, y_stride);
            } else if (share == most_tokens - 1) {
                Lanes::template tile<most_tokens - 1>(piece, x.part(t, most_tokens - 1), y + t * y_stride, y_stride);
            } else {
                Lanes::template tile<most_tokens - 2>(piece, x.part(t, most_tokens - 2), y + t * y_stride, y_stride);
            }
            piece.next += piece.blocks * piece.block_lines * 64;
            t += share;
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
