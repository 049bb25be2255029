// SPDX-License-Identifier: MIT
// How AMX multiplies I2_S (order A) by few tokens. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_FEW_AMX_INT8_HPP
#define BITNET_KERNEL_I2S_FEW_AMX_INT8_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/fours_of_rows.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/amx_tiles.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Up to 32 tokens in tiles of 16 rows x 16 tokens: tdpbusd multiplies 16 rows x 64 columns of codes, as they lie in
/// the packed rows, by 64 columns x 16 tokens of activations. A plane of 64 packed bytes of a row is 64 columns, so
/// that codes are shifted and masked only; the activations are arranged to match them, once.
///
///   activations  | arranged, a group of 16 tokens: [64: minus the sums], [lines of packed bytes][4 planes][16][16][4]
///   codes        | unpacked here, 32 rows x 256 columns: [4 planes][32 rows][64]
///   sums         | in tiles to the end, then turned
///
/// Unpacking decides here, as a chunk of codes serves few tokens, and i2s_tile_kernel has to turn them: with 8 to 32
/// tokens, whole passes are 3 to 10 % faster this way. Codes of the next columns are unpacked while the tiles multiply:
/// a tile cannot be loaded from what is still on its way to memory. Every line of the 32 rows behind is asked for once.
/// \tparam Tiles as in i2s_tile_kernel
template <class Tiles> class i2s_few_tile_kernel {
public:
    static constexpr std::size_t most_tokens = 32;
    static constexpr std::size_t rows_at_once = 32;
    static constexpr std::size_t group_tokens = 16;

    [[nodiscard]] static constexpr std::size_t arranged_bytes(std::size_t cols) noexcept {
        return sums_bytes + lines_of(cols) * 4 * tile_bytes;
    }

    /// Tokens [first_token, first_token + 16) of x. The places of those that x has not, and the second half of a line
    /// that the row has not, stay as they are: no sum that is kept depends on them.
    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        const std::size_t left = x.tokens - first_token;
        const std::size_t tokens = left < group_tokens ? left : group_tokens;
        for (std::size_t t = 0; t < tokens; ++t) {
            const std::int32_t start = -x.sums[first_token + t];
            std::memcpy(out + 4 * t, &start, sizeof start);
            const std::int8_t* row = x.data + (first_token + t) * x.stride;
            for (std::size_t b = 0; b < cols / 128; ++b) {
                std::byte* to = out + sums_bytes + b / 2 * 4 * tile_bytes + b % 2 * (tile_bytes / 2) + 4 * t;
                for (std::size_t c = 0; c < 128; c += 4) {
                    std::memcpy(to + c / 32 * tile_bytes + c % 32 / 4 * 64, row + b * 128 + c, 4);
                }
            }
        }
    }

    /// \pre tiles are configured; count is a multiple of rows_at_once and not 0
    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens > group_tokens) {
            multiply_rows<2>(w, first, count, x, y, y_stride);
        } else {
            multiply_rows<1>(w, first, count, x, y, y_stride);
        }
    }

private:
    static constexpr std::size_t tile_bytes = 1024;
    static constexpr std::size_t sums_bytes = 64;
    using line_codes = std::uint8_t[4][rows_at_once][64];

    /// Of 64 packed bytes, 256 columns; the last one may be half.
    [[nodiscard]] static constexpr std::size_t lines_of(std::size_t cols) noexcept { return (cols / 128 + 1) / 2; }

    using tile_sums = std::int32_t[rows_at_once][group_tokens];

    template <int Groups>
    static void multiply_rows(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                              std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) line_codes codes[2];
        alignas(64) tile_sums sums[2];
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* packed = w.data + first * row_bytes;
        const std::size_t lines = lines_of(w.cols);
        const std::size_t steps = count / rows_at_once * lines;
        unpack(packed, row_bytes, 0, 0, codes[0]);
        unpack(packed, row_bytes, 0, 1, codes[0]);
        std::size_t k = 0;
        for (std::size_t step = 0; step < steps; ++step) {
            const std::size_t next = k + 1 < lines ? k + 1 : 0;
            const std::uint8_t* next_rows = next != 0 ? packed : packed + rows_at_once * row_bytes;
            if (k == 0) {
                load_sums<Groups>(x);
            }
            for (std::size_t half = 0; half < 2; ++half) {
                if (step + 1 < steps) {
                    unpack(next_rows, row_bytes, next, half, codes[(step + 1) % 2]);
                }
                multiply_planes<Groups>(codes[step % 2], x, k, 2 * half);
            }
            if (k == 0 && step != 0) { // by now they can be loaded
                turn<Groups>(sums, x.tokens, y, y_stride);
                y += rows_at_once;
            }
            if (next == 0) {
                store_sums(sums);
            }
            k = next;
            packed = next_rows;
        }
        turn<Groups>(sums, x.tokens, y, y_stride);
    }

    // Tiles 0 to 3: sums of the first 16 rows and of the others, by the first group and by the second one; with one
    // group, of even planes and of odd ones, as four products are under way at a time and each waits for its own sum.
    // 4, 5: codes; 6, 7: activations.

    template <int Groups> static BITNET_ALWAYS_INLINE void load_sums(const activation_view& x) noexcept {
        Tiles::template load<0>(x.arranged, 0); // the same in all rows
        Tiles::template load<1>(x.arranged, 0);
        if constexpr (Groups == 2) {
            Tiles::template load<2>(x.arranged + x.arranged_stride, 0);
            Tiles::template load<3>(x.arranged + x.arranged_stride, 0);
        } else {
            Tiles::template zero<2>();
            Tiles::template zero<3>();
        }
    }
    static BITNET_ALWAYS_INLINE void store_sums(tile_sums (&sums)[2]) noexcept {
        Tiles::template store<0>(sums[0][0], 64);
        Tiles::template store<1>(sums[0][16], 64);
        Tiles::template store<2>(sums[1][0], 64);
        Tiles::template store<3>(sums[1][16], 64);
    }
    /// Planes `p` and p + 1 of line `k`.
    template <int Groups>
    static BITNET_ALWAYS_INLINE void multiply_planes(const line_codes& codes, const activation_view& x, std::size_t k,
                                                     std::size_t p) noexcept {
        const std::byte* values = x.arranged + sums_bytes + (4 * k + p) * tile_bytes;
        if constexpr (Groups == 2) {
            for (std::size_t i = p; i < p + 2; ++i, values += tile_bytes) {
                Tiles::template load<4>(codes[i][0], 64);
                Tiles::template load<6>(values, 64);
                Tiles::template multiply_codes<0, 4, 6>();
                Tiles::template load<5>(codes[i][16], 64);
                Tiles::template multiply_codes<1, 5, 6>();
                Tiles::template load<7>(values + x.arranged_stride, 64);
                Tiles::template multiply_codes<2, 4, 7>();
                Tiles::template multiply_codes<3, 5, 7>();
            }
        } else {
            Tiles::template load<4>(codes[p][0], 64);
            Tiles::template load<6>(values, 64);
            Tiles::template multiply_codes<0, 4, 6>();
            Tiles::template load<5>(codes[p][16], 64);
            Tiles::template multiply_codes<1, 5, 6>();
            Tiles::template load<4>(codes[p + 1][0], 64);
            Tiles::template load<7>(values + tile_bytes, 64);
            Tiles::template multiply_codes<2, 4, 7>();
            Tiles::template load<5>(codes[p + 1][16], 64);
            Tiles::template multiply_codes<3, 5, 7>();
        }
    }

    /// Line `k` of half of the rows; asks for the same of the rows behind.
    static BITNET_ALWAYS_INLINE void unpack(const std::uint8_t* packed, std::size_t row_bytes, std::size_t k,
                                            std::size_t half, line_codes& codes) noexcept {
        const __mmask16 words = 64 * k + 64 <= row_bytes ? __mmask16{0xffff} : __mmask16{0xff};
        const __m512i mask = _mm512_set1_epi8(3);
        const std::size_t begin = half * (rows_at_once / 2);
        const std::uint8_t* line = packed + begin * row_bytes + 64 * k;
        for (std::size_t r = begin; r < begin + rows_at_once / 2; ++r, line += row_bytes) {
            _mm_prefetch(reinterpret_cast<const char*>(line + rows_at_once * row_bytes), _MM_HINT_T1);
            const __m512i four = _mm512_maskz_loadu_epi32(words, line);
            _mm512_store_si512(codes[0][r], _mm512_and_si512(_mm512_srli_epi16(four, 6), mask));
            _mm512_store_si512(codes[1][r], _mm512_and_si512(_mm512_srli_epi16(four, 4), mask));
            _mm512_store_si512(codes[2][r], _mm512_and_si512(_mm512_srli_epi16(four, 2), mask));
            _mm512_store_si512(codes[3][r], _mm512_and_si512(four, mask));
        }
    }

    /// y[t][r] = the sum of row r and token t, for t < tokens.
    template <int Groups>
    static void turn(tile_sums (&sums)[2], std::size_t tokens, std::int32_t* y, std::size_t y_stride) noexcept {
        if constexpr (Groups == 2) {
            turn_group(sums[0], group_tokens, y, y_stride);
            turn_group(sums[1], tokens - group_tokens, y + group_tokens * y_stride, y_stride);
        } else {
            for (std::size_t r = 0; r < rows_at_once; ++r) {
                _mm512_store_si512(sums[0][r],
                                   _mm512_add_epi32(_mm512_load_si512(sums[0][r]), _mm512_load_si512(sums[1][r])));
            }
            turn_group(sums[0], tokens, y, y_stride);
        }
    }
    static void turn_group(const tile_sums& sums, std::size_t tokens, std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t r = 0; r < rows_at_once; r += 16) {
            for (std::size_t t = 0; t < tokens; t += 4) {
                __m512i of_tokens[4];
                fours_of_rows(reinterpret_cast<const std::uint8_t*>(&sums[r][t]), 64, of_tokens);
                for (std::size_t i = 0; i < 4 && t + i < tokens; ++i) {
                    _mm512_storeu_si512(y + (t + i) * y_stride + r, of_tokens[i]);
                }
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
