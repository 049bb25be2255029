// SPDX-License-Identifier: MIT
// I2_S (order A) for AVX-VNNI. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_AVX_VNNI_HPP
#define BITNET_KERNEL_I2S_AVX_VNNI_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_lanes.hpp>
#include <bitnet/kernel/i2s_lanes_avx_vnni.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lane_sums.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/dot_product_avx_vnni.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX_VNNI)
namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is one ymm register of weights:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0 and multiplied by 32 activations with vpdpbusd, straight into int32. Overflow: a
/// block adds at most 4 * 4 * 3 * 128 = 6144 to a lane; that is safe to 349,000 blocks (44 M columns).
template <> struct kernel<isa::avx_vnni, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_lanes<i2s_lanes_avx_vnni, few_tokens, 24>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 4; // 2 * 4 sums, 2 registers of weights, 2 of codes: 12 of 16
    using few_tokens = i2s_tiling<kernel, most_tokens>;
    friend few_tokens;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        if constexpr (Tokens == 1) {
            __m256i row_sums[Rows];
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = one_row(w + r * (cols / 4), cols / 128, values);
            }
            return store_lane_sums(row_sums, x.sums[first_token], y + first_token * y_stride);
        }
        constexpr std::size_t chains = Rows * Tokens <= 2   ? 4
                                       : Rows * Tokens <= 6 ? 2
                                                            : 1; // four planes that wait for one another would be slow
        __m256i sums[chains][Rows][Tokens];
        BITNET_UNROLL
        for (auto& chain : sums) {
            BITNET_UNROLL
            for (auto& row : chain) {
                BITNET_UNROLL
                for (auto& sum : row) {
                    sum = _mm256_setzero_si256();
                }
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            prefetch_rows<Rows>(w, b);
            add_block(w + b * 32, cols / 4, values + b * 128, x.stride, sums);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            __m256i row_sums[Rows];
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                row_sums[r] = sums[0][r][t];
                BITNET_UNROLL
                for (std::size_t chain = 1; chain < chains; ++chain) {
                    row_sums[r] = _mm256_add_epi32(row_sums[r], sums[chain][r][t]);
                }
            }
            store_lane_sums(row_sums, x.sums[x_row], y + x_row * y_stride);
        }
    }

    /// Sums of one row times one token, in eight lanes. Each plane has a chain of its own for the even blocks and one
    /// for the odd ones, so that none has to be moved to bits 1:0 before it is multiplied: the sums of plane 7:6 are
    /// multiples of 64, and so on. Overflow: a block adds at most 4 * 192 * 128 = 98304 to a lane; that is safe to
    /// 21,000 blocks.
    static BITNET_ALWAYS_INLINE __m256i one_row(const std::uint8_t* w, std::size_t blocks,
                                                const std::int8_t* x) noexcept {
        __m256i even[4] = {_mm256_setzero_si256(), _mm256_setzero_si256(), _mm256_setzero_si256(),
                           _mm256_setzero_si256()};
        __m256i odd[4] = {even[0], even[0], even[0], even[0]};
        for (std::size_t pair = 0; pair < blocks / 2; ++pair) {
            prefetch_line_of_row(w);
            const __m256i one = load(w);
            const __m256i other = load(w + 32);
            add_planes(one, x, even);
            add_planes(other, x + 128, odd);
            w += 64;
            x += 256;
        }
        if (blocks % 2 != 0) {
            add_planes(load(w), x, even);
        }
        const auto joined = [&](std::size_t plane) noexcept { return _mm256_add_epi32(even[plane], odd[plane]); };
        return _mm256_add_epi32(_mm256_add_epi32(_mm256_srai_epi32(joined(0), 6), _mm256_srai_epi32(joined(1), 4)),
                                _mm256_add_epi32(_mm256_srai_epi32(joined(2), 2), joined(3)));
    }
    static BITNET_ALWAYS_INLINE void add_planes(__m256i block, const std::int8_t* x, __m256i (&sums)[4]) noexcept {
        BITNET_UNROLL
        for (std::size_t plane = 0; plane < 4; ++plane) {
            const __m256i codes = _mm256_and_si256(block, _mm256_set1_epi8(static_cast<char>(0xc0U >> 2 * plane)));
            add_dot_products(sums[plane], codes, load(x + 32 * plane));
        }
    }
    static BITNET_ALWAYS_INLINE __m256i load(const void* bytes) noexcept {
        return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
    }

    template <std::size_t Chains, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_block(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                               std::size_t x_stride, __m256i (&sums)[Chains][Rows][Tokens]) noexcept {
        __m256i q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + r * row_bytes));
        }
        add_plane<6>(q, x, x_stride, sums[0]);
        add_plane<4>(q, x + 32, x_stride, sums[1 % Chains]);
        add_plane<2>(q, x + 64, x_stride, sums[2 % Chains]);
        add_plane<0>(q, x + 96, x_stride, sums[3 % Chains]);
    }
    template <int Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const __m256i (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               __m256i (&sums)[Rows][Tokens]) noexcept {
        __m256i codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = _mm256_and_si256(_mm256_srli_epi16(q[r], Shift), _mm256_set1_epi8(3));
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const __m256i values = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + t * x_stride));
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                add_dot_products(sums[r][t], codes[r], values);
            }
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
