// SPDX-License-Identifier: MIT
// I2_S (order A) for AMX. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_AMX_INT8_HPP
#define BITNET_KERNEL_I2S_AMX_INT8_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_few_amx_int8.hpp>
#include <bitnet/kernel/i2s_lanes_avx512.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/amx_tiles.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// Tiles of 32 tokens x 32 rows: tdpbsud multiplies 16 tokens x 64 columns of activations by 64 columns x 16 rows of
/// codes.
///
///   activations  | arranged once, a group of 16 tokens: [16 tokens][16 times minus the sum], [64 columns][16][64]
///   codes        | unpacked here, 32 rows x up to 640 columns: [fours of columns][32 rows][4]
///   sums         | in y; those of a group that is not full in `spare`
///
/// Sums start from minus those of the activations, as weight = code - 1. Codes of a chunk, 20 KiB, stay in the first
/// level of cache while all tokens pass, which are loaded as streams from the second. With every step, some lines of
/// the packed rows behind are asked for, on across the ends of tasks. Up to 32 tokens: see i2s_few_tile_kernel.
/// Overflow: as in vpdpbusd, 4 * 3 * 128 for four columns; int32 holds 5 M columns.
/// \tparam Tiles amx_tiles, or a model of them: what is here needs AVX-512 VNNI only, so tests run it without AMX.
template <class Tiles> struct i2s_tile_kernel {
    using layout = i2s;
    static constexpr std::size_t arranged_tokens = 16;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept {
        const std::size_t bytes = sums_bytes + cols * arranged_tokens;
        return bytes < few::arranged_bytes(cols) ? few::arranged_bytes(cols) : bytes;
    }

    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        if (x.tokens <= fewest_tokens) {
            return;
        }
        if (x.tokens <= few::most_tokens) {
            return few::arrange(x, first_token, cols, out);
        }
        for (std::size_t t = 0; t < arranged_tokens; ++t) {
            const bool exists = first_token + t < x.tokens;
            const std::int8_t* row = x.data + (first_token + t) * x.stride;
            _mm512_store_si512(out + t * 64, _mm512_set1_epi32(exists ? -x.sums[first_token + t] : 0));
            std::byte* to = out + sums_bytes + t * 64;
            for (std::size_t c = 0; c < cols; c += 64, to += tile_bytes) {
                _mm512_store_si512(to, exists ? _mm512_loadu_si512(row + c) : _mm512_setzero_si512());
            }
        }
    }

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        const std::size_t rows = x.tokens <= fewest_tokens ? 0 : count / block_rows * block_rows;
        if (rows != 0) {
            Tiles::configure(tile_configuration{});
            if (x.tokens <= few::most_tokens) {
                few::multiply(w, first, rows, x, y, y_stride);
            } else {
                for (std::size_t r = 0; r < rows; r += block_rows) {
                    block(w, first + r, x, y + r, y_stride);
                }
            }
            Tiles::release();
        }
        kernel<isa::avx512_vnni, i2s>::multiply(w, first + rows, count - rows, x, y + rows, y_stride);
    }

private:
    using few = i2s_few_tile_kernel<Tiles>;
    static_assert(few::rows_at_once == i2s_lanes_avx512::rows && few::group_tokens == arranged_tokens);
    /// Below, vpdpbusd takes 8 cycles per token for 16 rows x 64 columns; a tile takes 16 and the unpacking about 30.
    static constexpr std::size_t fewest_tokens = 4;
    static constexpr std::size_t block_rows = i2s_lanes_avx512::rows;
    static constexpr std::size_t chunk_blocks = 5; // of 128 columns
    static constexpr std::size_t tile_bytes = 1024;
    static constexpr std::size_t sums_bytes = tile_bytes;
    static constexpr std::size_t code_stride = 4 * block_rows; ///< from four columns to the next

    static void block(const i2s::view& w, std::size_t first, const activation_view& x, std::int32_t* y,
                      std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t codes[chunk_blocks * 128 * block_rows];
        alignas(64) std::int32_t spare[arranged_tokens * block_rows];
        const std::size_t row_bytes = w.cols / 4;
        const std::uint8_t* packed = w.data + first * row_bytes;
        const std::size_t blocks = w.cols / 128;
        const std::size_t chunks = (blocks + chunk_blocks - 1) / chunk_blocks;
        const std::size_t chunk = (blocks + chunks - 1) / chunks; // of nearly the same size
        const std::size_t pairs = (x.tokens + 2 * arranged_tokens - 1) / (2 * arranged_tokens);
        // 64 columns of 32 rows are eight lines of packed codes.
        ahead lines{packed + block_rows * row_bytes, (8 + pairs - 1) / pairs};
        for (std::size_t b = 0; b < blocks; b += chunk) {
            const std::size_t count = blocks - b < chunk ? blocks - b : chunk;
            i2s_lanes_avx512::unpack(packed + b * 32, row_bytes, count, codes);
            for (std::size_t t = 0; t < x.tokens; t += 2 * arranged_tokens) {
                two_groups({codes, b, 2 * count}, x, t, y + t * y_stride, y_stride, spare, lines);
            }
        }
        const std::size_t rest = x.tokens % arranged_tokens;
        for (std::size_t t = 0; t < rest; ++t) {
            std::memcpy(y + (x.tokens - rest + t) * y_stride, spare + t * block_rows, block_rows * sizeof *y);
        }
    }

    /// Lines of packed codes that are asked for before they are needed.
    struct ahead {
        const std::uint8_t* next;
        std::size_t with_each_step;

        BITNET_ALWAYS_INLINE void ask() noexcept {
            for (std::size_t i = 0; i < with_each_step; ++i, next += 64) {
                _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
            }
        }
    };
    struct code_chunk {
        const std::uint8_t* codes;
        std::size_t first_block;
        std::size_t steps; ///< of 64 columns
    };
    /// Sums of 16 tokens x 32 rows.
    struct sum_rows {
        std::int32_t* first;
        std::size_t stride; ///< bytes
    };

    /// The tokens from `t` on: two groups, or one.
    static void two_groups(const code_chunk& chunk, const activation_view& x, std::size_t t, std::int32_t* y,
                           std::size_t y_stride, std::int32_t* spare, ahead& lines) noexcept {
        const std::byte* group = x.arranged + t / arranged_tokens * x.arranged_stride;
        const auto sums_of = [&](std::size_t first) noexcept {
            return first + arranged_tokens <= x.tokens - t ? sum_rows{y + first * y_stride, y_stride * sizeof *y}
                                                           : sum_rows{spare, block_rows * sizeof *spare};
        };
        if (x.tokens - t > arranged_tokens) {
            multiply_tiles<true>(chunk, group, group + x.arranged_stride, sums_of(0), sums_of(arranged_tokens), lines);
        } else {
            multiply_tiles<false>(chunk, group, group, sums_of(0), {}, lines);
        }
    }

    /// Tiles 0 to 3: sums of (tokens, rows) halves (0, 0), (0, 1), (1, 0), (1, 1); 4, 5: activations; 6, 7: codes.
    template <bool TwoGroups>
    static void multiply_tiles(const code_chunk& chunk, const std::byte* first, const std::byte* second,
                               const sum_rows& upper, const sum_rows& lower, ahead& lines) noexcept {
        load_sums<0, 1>(chunk, first, upper);
        if constexpr (TwoGroups) {
            load_sums<2, 3>(chunk, second, lower);
        }
        const std::size_t values = sums_bytes + chunk.first_block * 2 * tile_bytes;
        const std::uint8_t* codes = chunk.codes;
        for (std::size_t s = 0; s < chunk.steps; ++s, codes += 16 * code_stride) {
            lines.ask();
            Tiles::template load_streamed<4>(first + values + s * tile_bytes, 64);
            Tiles::template load<6>(codes, code_stride);
            Tiles::template multiply<0, 4, 6>();
            Tiles::template load<7>(codes + 64, code_stride);
            Tiles::template multiply<1, 4, 7>();
            if constexpr (TwoGroups) {
                Tiles::template load_streamed<5>(second + values + s * tile_bytes, 64);
                Tiles::template multiply<2, 5, 6>();
                Tiles::template multiply<3, 5, 7>();
            }
        }
        store_sums<0, 1>(upper);
        if constexpr (TwoGroups) {
            store_sums<2, 3>(lower);
        }
    }

    template <int Low, int High>
    static BITNET_ALWAYS_INLINE void load_sums(const code_chunk& chunk, const std::byte* group,
                                               const sum_rows& sums) noexcept {
        const bool is_fresh = chunk.first_block == 0;
        Tiles::template load<Low>(is_fresh ? static_cast<const void*>(group) : sums.first, is_fresh ? 64 : sums.stride);
        Tiles::template load<High>(is_fresh ? static_cast<const void*>(group) : sums.first + 16,
                                   is_fresh ? 64 : sums.stride);
    }
    template <int Low, int High> static BITNET_ALWAYS_INLINE void store_sums(const sum_rows& sums) noexcept {
        Tiles::template store<Low>(sums.first, sums.stride);
        Tiles::template store<High>(sums.first + 16, sums.stride);
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
