// SPDX-License-Identifier: MIT
// How AVX-512 VNNI, and with it AMX, bounds rows of a screen for groups of states. Empty on other architectures.
#ifndef BITNET_SIMD_SCREEN_GROUP_AVX512_HPP
#define BITNET_SIMD_SCREEN_GROUP_AVX512_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/amx_tiles.hpp>
#include <bitnet/simd/dot_product_avx512.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX512_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// What the two ways below have in common.
class screen_block_avx512 {
public:
    /// The codes of a block's columns, as unsigned bytes.
    struct codes {
        __m512i columns[2]; ///< 64 each
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE codes unpack(const std::byte* block) noexcept {
        const __m512i nibble = _mm512_set1_epi8(15);
        const __m512i top = _mm512_set1_epi8(0x30);
        const __m512i low = _mm512_loadu_si512(block);
        const __m256i pairs = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + screen_layout::high_at));
        const __m512i high = _mm512_broadcast_i64x4(pairs);
        // Bits 0-1 and 2-3 of `high` belong to the first 64 columns, 4-5 and 6-7 to the others; all go to bits 4-5.
        const __m512i shift_up = _mm512_inserti64x4(_mm512_set1_epi16(4), _mm256_set1_epi16(2), 1);
        const __m512i shift_down = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(2), 1);
        constexpr int and_or = 0xea; // (a & b) | c
        const __m512i low0 = _mm512_and_si512(low, nibble);
        const __m512i low1 = _mm512_and_si512(_mm512_srli_epi16(low, 4), nibble);
        return {{_mm512_ternarylogic_epi32(_mm512_sllv_epi16(high, shift_up), top, low0, and_or),
                 _mm512_ternarylogic_epi32(_mm512_srlv_epi16(high, shift_down), top, low1, and_or)}};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE __m512 scale(const std::byte* block) noexcept {
        float value;
        std::memcpy(&value, block + screen_layout::scale_at, sizeof value);
        return _mm512_set1_ps(value);
    }
    /// acc + scale * (fine + 256 * coarse)
    [[nodiscard]] static BITNET_ALWAYS_INLINE __m512 add(__m512 acc, __m512i coarse, __m512i fine,
                                                         __m512 scale) noexcept {
        const __m512i sums = _mm512_add_epi32(fine, _mm512_slli_epi32(coarse, 8));
        return _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, acc);
    }
    /// The same of sixteen inputs, in memory.
    static BITNET_ALWAYS_INLINE void add_to(float* acc, __m512i coarse, __m512i fine, const std::byte* block) noexcept {
        _mm512_store_ps(acc, add(_mm512_load_ps(acc), coarse, fine, scale(block)));
    }
    /// Bounds out of the sums of whole rows. acc [groups][Rows][inputs]
    template <std::size_t Rows>
    static void store_bounds(const screen_rows_view& rows, std::size_t blocks, const screen_group* groups,
                             std::size_t group_count, const float (*acc)[Rows][screen_group::inputs], float* out,
                             std::size_t group_stride) noexcept {
        for (std::size_t g = 0; g < group_count; ++g) {
            for (std::size_t r = 0; r < rows.count; ++r) {
                _mm512_storeu_ps(out + g * group_stride + r * screen_group::inputs,
                                 upper(_mm512_load_ps(acc[g][r]), rows.block(r, blocks), groups[g]));
            }
        }
    }

private:
    /// upper_bound_of() sixteen times.
    [[nodiscard]] static BITNET_ALWAYS_INLINE __m512 upper(__m512 sums, const std::byte* tail,
                                                           const screen_group& x) noexcept {
        row_bound row;
        std::memcpy(&row, tail, sizeof row);
        const __m512 tiny = _mm512_set1_ps(screen_input::tiny);
        const __m512 rounding = _mm512_fmadd_ps(_mm512_set1_ps(row.norm), _mm512_loadu_ps(x.slack), tiny);
        const __m512 bound = _mm512_fmadd_ps(_mm512_set1_ps(row.error), _mm512_loadu_ps(x.norm), rounding);
        const __m512 made = _mm512_fmadd_ps(sums, _mm512_loadu_ps(x.unit), bound);
        const __m512i size = _mm512_and_si512(_mm512_castps_si512(made), _mm512_set1_epi32(0x7fffffff));
        const __mmask16 is_nan = _mm512_cmpgt_epi32_mask(size, _mm512_set1_epi32(0x7f800000));
        return _mm512_mask_mov_ps(made, is_nan, _mm512_set1_ps(std::numeric_limits<float>::infinity()));
    }
};

/// By vpdpbusd: 8 rows x 16 inputs in 16 sums, two registers of inputs, and one of four columns of a row.
class screen_lanes_avx512 {
public:
    static constexpr std::size_t tile_rows = 8;

    /// upper[g * group_stride + r * 16 + t] for rows.count <= tile_rows rows
    static void bound_rows(const screen_rows_view& rows, const screen_group* groups, std::size_t group_count,
                           float* upper, std::size_t group_stride) noexcept {
        alignas(64) std::uint8_t codes[tile_rows][screen_layout::block_columns];
        alignas(64) float acc[screen_group::most][tile_rows][inputs];
        std::memset(acc, 0, group_count * sizeof acc[0]);
        std::memset(codes, 0, rows.count < tile_rows ? sizeof codes : 0);
        const std::size_t blocks = groups[0].blocks;
        for (std::size_t b = 0; b < blocks; ++b) {
            for (std::size_t r = 0; r < rows.count; ++r) {
                prefetch_screen<2>(rows.block(r, b), tile_rows * rows.row_bytes); // of the rows behind
                const block_ops::codes unpacked = block_ops::unpack(rows.block(r, b));
                _mm512_store_si512(codes[r], unpacked.columns[0]);
                _mm512_store_si512(codes[r] + 64, unpacked.columns[1]);
            }
            for (std::size_t g = 0; g < group_count; ++g) {
                add_block(codes, rows, b, groups[g], acc[g]);
            }
        }
        block_ops::store_bounds(rows, blocks, groups, group_count, acc, upper, group_stride);
    }

private:
    using block_ops = screen_block_avx512;
    static constexpr std::size_t inputs = screen_group::inputs;

    /// acc += the scaled sums of a block.
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t (&codes)[tile_rows][screen_layout::block_columns],
                                               const screen_rows_view& rows, std::size_t b, const screen_group& x,
                                               float (&acc)[tile_rows][inputs]) noexcept {
        __m512i coarse[tile_rows];
        __m512i fine[tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            coarse[r] = _mm512_setzero_si512();
            fine[r] = _mm512_loadu_si512(x.offsets + b * inputs);
        }
        for (std::size_t half = 0; half < 2; ++half) {
            const std::int8_t* part = x.part(b, half);
            for (std::size_t f = 0; f < 16; ++f) {
                const __m512i high = _mm512_loadu_si512(part + 64 * f);
                const __m512i low = _mm512_loadu_si512(part + screen_group::part_bytes + 64 * f);
                BITNET_UNROLL
                for (std::size_t r = 0; r < tile_rows; ++r) {
                    std::int32_t four;
                    std::memcpy(&four, codes[r] + 64 * half + 4 * f, sizeof four);
                    const __m512i code = _mm512_set1_epi32(four);
                    add_dot_products(coarse[r], code, high);
                    add_dot_products(fine[r], code, low);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            if (r < rows.count) {
                block_ops::add_to(acc[r], coarse[r], fine[r], rows.block(r, b));
            }
        }
    }
};

/// By tiles of 16 rows x 16 inputs: codes as they lie in the rows are the left operand, inputs the right one. Between
/// what is stored and its loading is other work, as neither tiles nor what they store are forwarded.
/// \tparam Tiles amx_tiles, or a model of them
template <class Tiles> class screen_tile_kernel {
public:
    static void screen_groups(const std::byte* rows, std::size_t count, const screen_group* groups,
                              std::size_t group_count, float* upper) noexcept {
        Tiles::configure(tile_configuration{});
        screen_groups_by<screen_tile_kernel>(rows, count, groups, group_count, upper);
        Tiles::release();
    }

    static constexpr std::size_t tile_rows = 32; ///< two tiles
    /// As in screen_lanes_avx512. Tiles are configured.
    static void bound_rows(const screen_rows_view& rows, const screen_group* groups, std::size_t group_count,
                           float* upper, std::size_t group_stride) noexcept {
        alignas(64) block_codes codes[2];
        alignas(64) block_sums sums[screen_group::most];
        alignas(64) float acc[screen_group::most][tile_rows][inputs];
        std::memset(acc, 0, group_count * sizeof acc[0]);
        std::memset(codes, 0, rows.count < tile_rows ? sizeof codes : 0);
        const std::size_t blocks = groups[0].blocks;
        unpack(rows, 0, codes[0]);
        for (std::size_t b = 0; b < blocks; ++b) {
            for (std::size_t g = 0; g < group_count; ++g) {
                multiply(codes[b % 2], b, groups[g], sums[g]);
            }
            if (b + 1 < blocks) {
                unpack(rows, b + 1, codes[(b + 1) % 2]);
            }
            for (std::size_t g = 0; g < group_count; ++g) {
                for (std::size_t r = 0; r < rows.count; ++r) {
                    block_ops::add_to(acc[g][r], _mm512_load_si512(sums[g][0][r]), _mm512_load_si512(sums[g][1][r]),
                                      rows.block(r, b));
                }
            }
        }
        block_ops::store_bounds(rows, blocks, groups, group_count, acc, upper, group_stride);
    }

private:
    using block_ops = screen_block_avx512;
    static constexpr std::size_t inputs = screen_group::inputs;
    using block_codes = std::uint8_t[2][tile_rows][64];    ///< of both halves
    using block_sums = std::int32_t[2][tile_rows][inputs]; ///< coarse, fine

    static BITNET_ALWAYS_INLINE void unpack(const screen_rows_view& rows, std::size_t b, block_codes& codes) noexcept {
        for (std::size_t r = 0; r < rows.count; ++r) {
            prefetch_screen<2>(rows.block(r, b), tile_rows * rows.row_bytes); // of the rows behind
            const block_ops::codes unpacked = block_ops::unpack(rows.block(r, b));
            _mm512_store_si512(codes[0][r], unpacked.columns[0]);
            _mm512_store_si512(codes[1][r], unpacked.columns[1]);
        }
    }

    /// Tiles 0 to 3: coarse and fine sums of the first 16 rows and of the others; 4, 5: their codes; 6, 7: coarse and
    /// fine inputs.
    static BITNET_ALWAYS_INLINE void multiply(const block_codes& codes, std::size_t b, const screen_group& x,
                                              block_sums& sums) noexcept {
        const std::int32_t* offsets = x.offsets + b * inputs;
        Tiles::template zero<0>();
        Tiles::template load<1>(offsets, 0); // the same in all rows
        Tiles::template zero<2>();
        Tiles::template load<3>(offsets, 0);
        for (std::size_t half = 0; half < 2; ++half) {
            const std::int8_t* part = x.part(b, half);
            Tiles::template load<4>(codes[half][0], 64);
            Tiles::template load<6>(part, 64);
            Tiles::template multiply_codes<0, 4, 6>();
            Tiles::template load<5>(codes[half][16], 64);
            Tiles::template multiply_codes<2, 5, 6>();
            Tiles::template load<7>(part + screen_group::part_bytes, 64);
            Tiles::template multiply_codes<1, 4, 7>();
            Tiles::template multiply_codes<3, 5, 7>();
        }
        Tiles::template store<0>(sums[0][0], 64);
        Tiles::template store<1>(sums[1][0], 64);
        Tiles::template store<2>(sums[0][16], 64);
        Tiles::template store<3>(sums[1][16], 64);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
