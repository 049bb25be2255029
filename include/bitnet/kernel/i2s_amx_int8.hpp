// SPDX-License-Identifier: MIT
// I2_S (order A) for AMX. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_AMX_INT8_HPP
#define BITNET_KERNEL_I2S_AMX_INT8_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/amx_tiles.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Tiles of 32 rows x 32 tokens: tdpbusd multiplies 16 rows x 64 columns of codes by 64 columns x 16 tokens.
///
///   codes        | unpacked here, 32 rows x up to 1024 columns: [64 columns][half of the rows][16 rows][64]
///   activations  | arranged once: [64 columns][16 fours of columns][16 tokens][4]
///   sums         | [32 tokens][half of the rows][half of the tokens][16 rows][16 tokens]
///
/// Codes of a chunk stay in the first level of cache while all tokens pass, activations in the second.
/// Overflow: as in vpdpbusd, 4 * 3 * 128 for four columns; int32 holds 5 M columns.
/// \tparam Tiles amx_tiles, or a model of them: what is here needs AVX-512 VNNI only, so tests run it without AMX.
template <class Tiles> struct i2s_tile_kernel {
    using layout = i2s;
    static constexpr std::size_t arranged_tokens = 16;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept { return cols * arranged_tokens; }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        if (x.tokens <= few_tokens) {
            return;
        }
        for (std::size_t c = 0; c < cols; c += 64) {
            __m512i words[16];
            BITNET_UNROLL
            for (std::size_t t = 0; t < 16; ++t) {
                const std::int8_t* row = x.data + (first_token + t) * x.stride + c;
                words[t] = first_token + t < x.tokens ? _mm512_loadu_si512(row) : _mm512_setzero_si512();
            }
            transpose(words);
            BITNET_UNROLL
            for (std::size_t q = 0; q < 16; ++q) {
                _mm512_store_si512(out + c * arranged_tokens + q * 64, words[q]);
            }
        }
    }

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens <= few_tokens) {
            kernel<isa::avx512_vnni, i2s>::multiply(w, first, count, x, y, y_stride);
            return;
        }
        Tiles::configure(tile_configuration{});
        for (std::size_t t = 0; t < x.tokens; t += block_tokens) {
            for (std::size_t r = 0; r < count; r += block_rows) {
                const range rows{first + r, smaller(block_rows, count - r)};
                const range tokens{t, smaller(block_tokens, x.tokens - t)};
                block(w, rows, first + count, x, tokens, y + t * y_stride + r, y_stride);
            }
        }
        Tiles::release();
    }

private:
    /// Below, vpdpbusd takes 8 cycles per token for 16 rows x 64 columns; a tile takes 16 and the unpacking about 30.
    static constexpr std::size_t few_tokens = 4;
    static constexpr std::size_t block_tokens = 128;
    static constexpr std::size_t block_rows = 32;
    static constexpr std::size_t chunk_blocks = 8; // of 128 columns: 32 KiB of codes

    struct range {
        std::size_t first, count;
    };
    static constexpr std::size_t smaller(std::size_t a, std::size_t b) noexcept { return a < b ? a : b; }

    static void block(const i2s::view& w, range rows, std::size_t end_row, const activation_view& x, range tokens,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[block_rows * chunk_blocks * 128];
        alignas(64) std::int32_t sums[block_rows * block_tokens];
        const std::size_t blocks = w.cols / 128;
        const std::size_t chunks = (blocks + chunk_blocks - 1) / chunk_blocks;
        const std::size_t chunk = (blocks + chunks - 1) / chunks; // of nearly the same size
        const std::byte* arranged = x.arranged + tokens.first / arranged_tokens * x.arranged_stride;
        for (std::size_t b = 0; b < blocks; b += chunk) {
            const std::size_t count = smaller(chunk, blocks - b);
            unpack(w, rows, end_row, b, count, codes);
            for (std::size_t t = 0; t < tokens.count; t += 32) {
                const std::byte* values = arranged + t / arranged_tokens * x.arranged_stride + b * 128 * 16;
                const operands in{codes, values, values + x.arranged_stride, 2 * count, b == 0};
                multiply_tiles(in, rows.count > 16, tokens.count - t > 16, sums + t * block_rows);
            }
        }
        for (std::size_t t = 0; t < tokens.count; t += 16) {
            for (std::size_t r = 0; r < rows.count; r += 16) {
                const std::int32_t* tile = sums + t / 32 * 1024 + r / 16 * 512 + t % 32 / 16 * 256;
                const std::size_t first_token = tokens.first + t;
                store(tile, x.sums + first_token, smaller(16, tokens.count - t), smaller(16, rows.count - r),
                      y + t * y_stride + r, y_stride);
            }
        }
    }

    /// Codes of `count` blocks of 128 columns as bytes; missing rows are zero.
    static void unpack(const i2s::view& w, range rows, std::size_t end_row, std::size_t first_block, std::size_t count,
                       std::uint8_t* out) noexcept {
        const __m512i by_6_and_4 = shifts(6, 4);
        const __m512i by_2_and_0 = shifts(2, 0);
        const __m512i low_bits = _mm512_set1_epi8(3);
        const std::size_t row_bytes = w.cols / 4;
        const std::size_t padded = (rows.count + 15) / 16 * 16;
        for (std::size_t r = 0; r < padded; ++r) {
            const std::uint8_t* p = w.data + (rows.first + r) * row_bytes + first_block * 32;
            std::uint8_t* to = out + r * 64; // sixteen rows to a tile
            if (r >= rows.count) {
                for (std::size_t step = 0; step < 2 * count; ++step) {
                    _mm512_store_si512(to + step * 2048, _mm512_setzero_si512());
                }
                continue;
            }
            const bool more = rows.first + r + block_rows < end_row;
            for (std::size_t b = 0; b < count; ++b) {
                if (more && b % 2 == 0) {
                    _mm_prefetch(reinterpret_cast<const char*>(p + block_rows * row_bytes + b * 32), _MM_HINT_T1);
                }
                const __m256i block = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + b * 32));
                const __m512i twice = _mm512_broadcast_i64x4(block);
                const __m512i first = _mm512_and_si512(_mm512_srlv_epi16(twice, by_6_and_4), low_bits);
                const __m512i second = _mm512_and_si512(_mm512_srlv_epi16(twice, by_2_and_0), low_bits);
                _mm512_store_si512(to + 2 * b * 2048, first);
                _mm512_store_si512(to + (2 * b + 1) * 2048, second);
            }
        }
    }
    static BITNET_ALWAYS_INLINE __m512i shifts(short lower, short upper) noexcept {
        return _mm512_inserti64x4(_mm512_set1_epi16(upper), _mm256_set1_epi16(lower), 0);
    }

    struct operands {
        const std::uint8_t* codes;
        const std::byte* first_values;
        const std::byte* second_values;
        std::size_t steps; ///< of 64 columns
        bool fresh;        ///< the sums start at zero
    };

    static void multiply_tiles(const operands& in, bool two_row_tiles, bool two_token_tiles,
                               std::int32_t* sums) noexcept {
        if (two_row_tiles) {
            two_token_tiles ? multiply_tiles<true, true>(in, sums) : multiply_tiles<true, false>(in, sums);
        } else {
            two_token_tiles ? multiply_tiles<false, true>(in, sums) : multiply_tiles<false, false>(in, sums);
        }
    }

    /// Tiles 0..3: sums of (rows, tokens) halves (0, 0), (0, 1), (1, 0), (1, 1); 4, 5: codes; 6, 7: activations.
    template <bool TwoRowTiles, bool TwoTokenTiles>
    static void multiply_tiles(const operands& in, std::int32_t* sums) noexcept {
        if (in.fresh) {
            Tiles::template zero<0>();
            Tiles::template zero<1>();
            Tiles::template zero<2>();
            Tiles::template zero<3>();
        } else {
            each_sum<TwoRowTiles, TwoTokenTiles>(
                [sums]<int Tile>() noexcept { Tiles::template load<Tile>(sums + std::size_t{Tile} * 256, 64); });
        }
        for (std::size_t s = 0; s < in.steps; ++s) {
            Tiles::template load<4>(in.codes + s * 2048, 64);
            Tiles::template load_streamed<6>(in.first_values + s * 1024, 64);
            Tiles::template multiply<0, 4, 6>();
            if constexpr (TwoTokenTiles) {
                Tiles::template load_streamed<7>(in.second_values + s * 1024, 64);
                Tiles::template multiply<1, 4, 7>();
            }
            if constexpr (TwoRowTiles) {
                Tiles::template load<5>(in.codes + s * 2048 + 1024, 64);
                Tiles::template multiply<2, 5, 6>();
            }
            if constexpr (TwoRowTiles && TwoTokenTiles) {
                Tiles::template multiply<3, 5, 7>();
            }
        }
        each_sum<TwoRowTiles, TwoTokenTiles>(
            [sums]<int Tile>() noexcept { Tiles::template store<Tile>(sums + std::size_t{Tile} * 256, 64); });
    }
    template <bool TwoRowTiles, bool TwoTokenTiles, class F> static void each_sum(F&& f) noexcept {
        f.template operator()<0>();
        if constexpr (TwoTokenTiles) {
            f.template operator()<1>();
        }
        if constexpr (TwoRowTiles) {
            f.template operator()<2>();
        }
        if constexpr (TwoRowTiles && TwoTokenTiles) {
            f.template operator()<3>();
        }
    }

    /// One tile of sums [16 rows][16 tokens], turned over, less the sums of the activations.
    static void store(const std::int32_t* tile, const std::int32_t* offsets, std::size_t tokens, std::size_t rows,
                      std::int32_t* y, std::size_t y_stride) noexcept {
        __m512i words[16];
        BITNET_UNROLL
        for (std::size_t r = 0; r < 16; ++r) {
            words[r] = _mm512_load_si512(tile + r * 16);
        }
        transpose(words);
        const auto mask = static_cast<__mmask16>((1u << rows) - 1);
        BITNET_UNROLL
        for (std::size_t t = 0; t < 16; ++t) {
            if (t < tokens) {
                const __m512i sums = _mm512_sub_epi32(words[t], _mm512_set1_epi32(offsets[t]));
                _mm512_mask_storeu_epi32(y + t * y_stride, mask, sums);
            }
        }
    }

    /// words[i] word j <-> words[j] word i: pairs, fours, then quarters of registers.
    static BITNET_ALWAYS_INLINE void transpose(__m512i (&words)[16]) noexcept {
        __m512i pairs[16];
        BITNET_UNROLL
        for (std::size_t i = 0; i < 16; i += 2) {
            pairs[i] = _mm512_unpacklo_epi32(words[i], words[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_epi32(words[i], words[i + 1]);
        }
        __m512i fours[16]; // fours[4 g + c]: words c, 4 + c, 8 + c, 12 + c of registers 4 g .. 4 g + 3
        BITNET_UNROLL
        for (std::size_t g = 0; g < 16; g += 4) {
            fours[g] = _mm512_unpacklo_epi64(pairs[g], pairs[g + 2]);
            fours[g + 1] = _mm512_unpackhi_epi64(pairs[g], pairs[g + 2]);
            fours[g + 2] = _mm512_unpacklo_epi64(pairs[g + 1], pairs[g + 3]);
            fours[g + 3] = _mm512_unpackhi_epi64(pairs[g + 1], pairs[g + 3]);
        }
        BITNET_UNROLL
        for (std::size_t c = 0; c < 4; ++c) {
            const __m512i even_low = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0x88);
            const __m512i odd_low = _mm512_shuffle_i32x4(fours[c], fours[4 + c], 0xdd);
            const __m512i even_high = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0x88);
            const __m512i odd_high = _mm512_shuffle_i32x4(fours[8 + c], fours[12 + c], 0xdd);
            words[c] = _mm512_shuffle_i32x4(even_low, even_high, 0x88);
            words[4 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0x88);
            words[8 + c] = _mm512_shuffle_i32x4(even_low, even_high, 0xdd);
            words[12 + c] = _mm512_shuffle_i32x4(odd_low, odd_high, 0xdd);
        }
    }
};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, i2s> : i2s_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, i2s> : kernel<isa::avx512_vnni, i2s> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
