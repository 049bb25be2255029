// SPDX-License-Identifier: MIT
// block_kernel<isa::avx2>: rows of blocks with scales, eight at a time. Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_AVX2_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_lanes.hpp>
#include <bitnet/kernel/block_lanes_avx2.hpp>
#include <bitnet/kernel/block_rounding_avx2.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <utility>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

/// A chunk of 128 columns of a row is one ymm register of codes: byte j holds columns 4j to 4j + 3, so that an int32
/// lane holds 16 columns, and two lanes a step of the activations. Those of eight rows are added in pairs and
/// transposed: from there on a lane is a row. Overflow: a lane adds 16 products of int8 and codes 0 to 3, at most 6144,
/// which fits int16.
///
/// \tparam Products unpack(packed, codes of the four planes), of which of_row(codes, activations of the first plane,
///   those of the others being 32 bytes further each) makes int32 lanes
template <class Products> struct block_tile_ymm {
    static constexpr std::size_t tile_rows = 8;

    template <std::size_t Tokens>
    static void tile(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                     std::size_t y_stride) noexcept {
        if (w.block_columns == 64) {
            multiply_rows<64, Tokens>(w, first, x, y, y_stride);
        } else {
            multiply_rows<128, Tokens>(w, first, x, y, y_stride);
        }
    }

private:
    template <std::size_t BlockColumns, std::size_t Tokens>
    static void multiply_rows(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                              std::size_t y_stride) noexcept {
        __m256 sums[Tokens];
        BITNET_UNROLL
        for (auto& sum : sums) {
            sum = _mm256_setzero_ps();
        }
        const std::size_t row_bytes = w.row_bytes();
        const std::uint8_t* rows = w.row(first);
        const std::size_t whole = w.cols / columns_per_chunk;
        for (std::size_t c = 0; c < whole; ++c) {
            prefetch_chunk(rows + c * (tile_rows * chunk_bytes<BlockColumns>));
            add_chunk<BlockColumns, false>(rows + c * chunk_bytes<BlockColumns>, row_bytes, x, c, sums);
        }
        if (whole * columns_per_chunk < w.cols) { // half a chunk, unless one block is a whole one
            add_chunk<BlockColumns, BlockColumns == 64>(rows + whole * chunk_bytes<BlockColumns>, row_bytes, x, whole,
                                                        sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            _mm256_storeu_ps(y + t * y_stride, sums[t]);
        }
    }

    template <std::size_t BlockColumns>
    static constexpr std::size_t chunk_bytes = columns_per_chunk / BlockColumns*(2 + BlockColumns / 4);

    /// As many bytes as a chunk of eight rows takes, 8 KiB ahead, on across the ends of tiles.
    static BITNET_ALWAYS_INLINE void prefetch_chunk(const std::uint8_t* at) noexcept {
        constexpr std::size_t distance = 8192;
        BITNET_UNROLL
        for (std::size_t line = 0; line < 5; ++line) {
            _mm_prefetch(reinterpret_cast<const char*>(at) + distance + line * 64, _MM_HINT_T1);
        }
    }

    /// \tparam Half whether the chunk ends after its first block of 64 columns
    template <std::size_t BlockColumns, bool Half, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_chunk(const std::uint8_t* rows, std::size_t row_bytes,
                                               const block_activations& x, std::size_t chunk,
                                               __m256 (&sums)[Tokens]) noexcept {
        __m256i lanes[Tokens][tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            __m256i codes[4];
            Products::unpack(load_codes<BlockColumns, Half>(rows + r * row_bytes), codes);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                lanes[t][r] = Products::of_row(codes, x.values + t * x.stride + chunk * columns_per_chunk);
            }
        }
        const __m256 scales = load_scales(rows, row_bytes);
        const __m256 second_scales =
            BlockColumns == 64 && !Half ? load_scales(rows + chunk_bytes<64> / 2, row_bytes) : scales;
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t step = t * (x.stride / columns_per_step) + chunk * 4;
            __m256 dots[4];
            dots_of_steps(lanes[t], x.sums + step, dots);
            const float* steps = x.steps + step;
            sums[t] = _mm256_fmadd_ps(pair_of_steps(dots[0], dots[1], steps), scales, sums[t]);
            if constexpr (!Half) {
                sums[t] = _mm256_fmadd_ps(pair_of_steps(dots[2], dots[3], steps + 2), second_scales, sums[t]);
            }
        }
    }

    static BITNET_ALWAYS_INLINE __m256 pair_of_steps(__m256 first, __m256 second, const float* steps) noexcept {
        const __m256 product = _mm256_mul_ps(first, _mm256_broadcast_ss(steps));
        return _mm256_fmadd_ps(second, _mm256_broadcast_ss(steps + 1), product);
    }

    /// The codes of a chunk in the order of their columns.
    template <std::size_t BlockColumns, bool Half>
    static BITNET_ALWAYS_INLINE __m256i load_codes(const std::uint8_t* block) noexcept {
        if constexpr (BlockColumns == 128) {
            return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block + 2));
        } else {
            const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(block + 2));
            if constexpr (Half) {
                return _mm256_zextsi128_si256(low);
            } else {
                const auto* next = reinterpret_cast<const __m128i*>(block + chunk_bytes<64> / 2 + 2);
                return _mm256_inserti128_si256(_mm256_castsi128_si256(low), _mm_loadu_si128(next), 1);
            }
        }
    }

    /// The scales of eight rows.
    static BITNET_ALWAYS_INLINE __m256 load_scales(const std::uint8_t* block, std::size_t row_bytes) noexcept {
        std::uint16_t halves[tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            std::memcpy(&halves[r], block + r * row_bytes, sizeof halves[r]);
        }
        const auto bits = [&](std::size_t r) { return static_cast<short>(halves[r]); };
        return _mm256_cvtph_ps(_mm_setr_epi16(bits(0), bits(1), bits(2), bits(3), bits(4), bits(5), bits(6), bits(7)));
    }

    /// Lanes of eight rows -> for each step of a chunk the sum of products less that of the activations, a lane a row.
    static BITNET_ALWAYS_INLINE void dots_of_steps(const __m256i (&lanes)[tile_rows], const std::int32_t* sums,
                                                   __m256 (&dots)[4]) noexcept {
        __m256 pairs[4]; // of rows 2p and 2p + 1: steps 0 and 1 of each in the lower half, 2 and 3 in the upper
        BITNET_UNROLL
        for (std::size_t p = 0; p < 4; ++p) {
            // As vphaddd, which takes one operation more.
            const __m256i words = _mm256_packs_epi32(lanes[2 * p], lanes[2 * p + 1]);
            pairs[p] = _mm256_castsi256_ps(_mm256_madd_epi16(words, _mm256_set1_epi16(1)));
        }
        const __m256i even_low = _mm256_castps_si256(_mm256_shuffle_ps(pairs[0], pairs[1], 0x88)); // steps 0 and 2
        const __m256i even_high = _mm256_castps_si256(_mm256_shuffle_ps(pairs[2], pairs[3], 0x88));
        const __m256i odd_low = _mm256_castps_si256(_mm256_shuffle_ps(pairs[0], pairs[1], 0xdd)); // 1 and 3
        const __m256i odd_high = _mm256_castps_si256(_mm256_shuffle_ps(pairs[2], pairs[3], 0xdd));
        dots[0] = less(_mm256_permute2x128_si256(even_low, even_high, 0x20), sums[0]);
        dots[1] = less(_mm256_permute2x128_si256(odd_low, odd_high, 0x20), sums[1]);
        dots[2] = less(_mm256_permute2x128_si256(even_low, even_high, 0x31), sums[2]);
        dots[3] = less(_mm256_permute2x128_si256(odd_low, odd_high, 0x31), sums[3]);
    }
    static BITNET_ALWAYS_INLINE __m256 less(__m256i dots, std::int32_t sum) noexcept {
        return _mm256_cvtepi32_ps(_mm256_sub_epi32(dots, _mm256_set1_epi32(sum)));
    }
};

/// Two of the planes stay where they are, two bits up, in a sum of their own: one shift in place of three. Overflow: a
/// pair of them is at most 2 * 12 * 128, two 6144.
struct block_products_avx2 {
    static BITNET_ALWAYS_INLINE void unpack(__m256i packed, __m256i (&codes)[4]) noexcept {
        const __m256i upper = _mm256_srli_epi16(packed, 4);
        codes[0] = _mm256_and_si256(packed, _mm256_set1_epi8(0x03));
        codes[1] = _mm256_and_si256(packed, _mm256_set1_epi8(0x0c));
        codes[2] = _mm256_and_si256(upper, _mm256_set1_epi8(0x03));
        codes[3] = _mm256_and_si256(upper, _mm256_set1_epi8(0x0c));
    }

    static BITNET_ALWAYS_INLINE __m256i of_row(const __m256i (&codes)[4], const std::int8_t* values) noexcept {
        const auto* x = reinterpret_cast<const __m256i*>(values);
        const __m256i once = _mm256_add_epi16(_mm256_maddubs_epi16(codes[0], _mm256_load_si256(x)),
                                              _mm256_maddubs_epi16(codes[2], _mm256_load_si256(x + 2)));
        const __m256i four_times = _mm256_add_epi16(_mm256_maddubs_epi16(codes[1], _mm256_load_si256(x + 1)),
                                                    _mm256_maddubs_epi16(codes[3], _mm256_load_si256(x + 3)));
        const __m256i sum = _mm256_add_epi16(once, _mm256_srai_epi16(four_times, 2));
        return _mm256_madd_epi16(sum, _mm256_set1_epi16(1));
    }
};

template <> struct block_kernel<isa::avx2> {
    static void quantize(const float* x, std::size_t n, std::size_t per, const block_row& out) noexcept {
        quantize_blocks<block_rounding_avx2>(x, n, per, out);
    }

    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        using few_tokens = block_tiling<block_tile_ymm<block_products_avx2>, 2>;
        block_lanes<block_lanes_ymm<lane_sums_avx2>, few_tokens, 3>::multiply(w, first, count, x, y, y_stride);
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
