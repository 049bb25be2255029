// SPDX-License-Identifier: MIT
// I2_S (order A) for the dot products of WebAssembly's relaxed SIMD. Empty if the module may not use them.
#ifndef BITNET_KERNEL_I2S_WASM_RELAXED_SIMD_HPP
#define BITNET_KERNEL_I2S_WASM_RELAXED_SIMD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/unpacking_kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_WASM_RELAXED_SIMD
#include <wasm_simd128.h>

namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is two registers of weights, byte j of 0..31:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// Each plane is moved to bits 1:0. i16x8.relaxed_dot_i8x16_i7x16_s multiplies 16 of these codes by 16 activations and
/// adds pairs. What machines do differently, codes of 128 and more, does not occur, and 2 * 3 * 128 = 768 does not
/// saturate: the result is exact everywhere. Overflow: a block adds 8 pairs to an int16 lane, 6144, and five blocks
/// 30720, which are then widened. (The variant that adds to int32 itself loses its addend in V8 11.3.) The sum of the
/// activations is subtracted once, as weight = code - 1.
template <> struct kernel<isa::wasm_relaxed_simd, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 3;
    static constexpr std::size_t blocks_in_int16 = 5;
    friend i2s_tiling<kernel, most_tokens>;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        v128_t total[Rows][Tokens];
        clear(total);
        for (std::size_t b = 0; b < cols / 128;) {
            const std::size_t rest = cols / 128 - b;
            const std::size_t end = b + (rest < blocks_in_int16 ? rest : blocks_in_int16);
            v128_t words[Rows][Tokens];
            clear(words);
            for (; b < end; ++b) {
                add_half(w + b * 32, cols / 4, values + b * 128, x.stride, words);
                add_half(w + b * 32 + 16, cols / 4, values + b * 128 + 16, x.stride, words);
            }
            for (std::size_t r = 0; r < Rows; ++r) {
                for (std::size_t t = 0; t < Tokens; ++t) {
                    total[r][t] = wasm_i32x4_add(total[r][t], wasm_i32x4_extadd_pairwise_i16x8(words[r][t]));
                }
            }
        }
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            for (std::size_t r = 0; r < Rows; ++r) {
                y[x_row * y_stride + r] = lane_sum(total[r][t]) - x.sums[x_row];
            }
        }
    }

    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void clear(v128_t (&sums)[Rows][Tokens]) noexcept {
        BITNET_UNROLL
        for (auto& row : sums) {
            BITNET_UNROLL
            for (v128_t& sum : row) {
                sum = wasm_i32x4_splat(0);
            }
        }
    }

    /// Adds eight int16 sums over half the columns of one block for each row and token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, v128_t (&words)[Rows][Tokens]) noexcept {
        v128_t q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = wasm_v128_load(w + r * row_bytes);
        }
        add_plane<6>(q, x, x_stride, words);
        add_plane<4>(q, x + 32, x_stride, words);
        add_plane<2>(q, x + 64, x_stride, words);
        add_plane<0>(q, x + 96, x_stride, words);
    }
    template <unsigned Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const v128_t (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               v128_t (&words)[Rows][Tokens]) noexcept {
        v128_t codes[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            codes[r] = wasm_v128_and(wasm_u16x8_shr(q[r], Shift), wasm_i8x16_splat(3)); // bits of neighbours masked out
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const v128_t values = wasm_v128_load(x + t * x_stride);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                words[r][t] = wasm_i16x8_add(words[r][t], wasm_i16x8_relaxed_dot_i8x16_i7x16(values, codes[r]));
            }
        }
    }

    static BITNET_ALWAYS_INLINE std::int32_t lane_sum(v128_t v) noexcept {
        return wasm_i32x4_extract_lane(v, 0) + wasm_i32x4_extract_lane(v, 1) + wasm_i32x4_extract_lane(v, 2) +
               wasm_i32x4_extract_lane(v, 3);
    }
};

/// Every other layout is unpacked first.
template <ternary_layout Layout>
struct kernel<isa::wasm_relaxed_simd, Layout> : unpacking_kernel<isa::wasm_relaxed_simd, Layout> {};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
