// SPDX-License-Identifier: MIT
// I2_S (order A) for WebAssembly's 128-bit SIMD. Empty on other architectures.
#ifndef BITNET_KERNEL_I2S_WASM_SIMD128_HPP
#define BITNET_KERNEL_I2S_WASM_SIMD128_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_tiling.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/unpacking_kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_WASM_SIMD128
#include <wasm_simd128.h>

namespace bitnet::inline BITNET_ABI::detail {

/// A block of 128 columns is two registers of weights, byte j of 0..31:
///
///   bits of byte j | 7:6     | 5:4        | 3:2        | 1:0
///   column         | j       | 32 + j     | 64 + j     | 96 + j
///
/// There is no product of bytes, so that even and odd bytes are taken apart: as int16 lanes, codes of the even ones are
/// bits 1:0 of the lane after a shift by 0, 2, 4 or 6, those of the odd ones after eight more. Activations are widened
/// alike, once for all rows. i32x4.dot_i16x8_s multiplies and adds pairs: nothing overflows. The sum of the activations
/// is subtracted once, as weight = code - 1.
template <> struct kernel<isa::wasm_simd128, i2s> {
    using layout = i2s;

    static void multiply(const i2s::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        i2s_tiling<kernel, most_tokens>::multiply(w, first, count, x, y, y_stride);
    }

private:
    static constexpr std::size_t most_tokens = 3;
    friend i2s_tiling<kernel, most_tokens>;

    template <std::size_t Rows, std::size_t Tokens>
    static void tile(const std::uint8_t* w, std::size_t cols, const activation_view& x, std::size_t first_token,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        const std::int8_t* values = x.data + first_token * x.stride;
        v128_t total[Rows][Tokens];
        for (auto& row : total) {
            for (v128_t& sum : row) {
                sum = wasm_i32x4_splat(0);
            }
        }
        for (std::size_t b = 0; b < cols / 128; ++b) {
            add_half<Rows, Tokens>(w + b * 32, cols / 4, values + b * 128, x.stride, total);
            add_half<Rows, Tokens>(w + b * 32 + 16, cols / 4, values + b * 128 + 16, x.stride, total);
        }
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t x_row = first_token + t;
            for (std::size_t r = 0; r < Rows; ++r) {
                y[x_row * y_stride + r] = lane_sum(total[r][t]) - x.sums[x_row];
            }
        }
    }

    /// Adds four int32 sums over half the columns of one block for each row and token.
    template <std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_half(const std::uint8_t* w, std::size_t row_bytes, const std::int8_t* x,
                                              std::size_t x_stride, v128_t (&total)[Rows][Tokens]) noexcept {
        v128_t q[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            q[r] = wasm_v128_load(w + r * row_bytes);
        }
        add_plane<6>(q, x, x_stride, total);
        add_plane<4>(q, x + 32, x_stride, total);
        add_plane<2>(q, x + 64, x_stride, total);
        add_plane<0>(q, x + 96, x_stride, total);
    }
    template <unsigned Shift, std::size_t Rows, std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_plane(const v128_t (&q)[Rows], const std::int8_t* x, std::size_t x_stride,
                                               v128_t (&total)[Rows][Tokens]) noexcept {
        const v128_t lowest = wasm_i16x8_splat(3);
        v128_t even[Rows];
        v128_t odd[Rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < Rows; ++r) {
            even[r] = wasm_v128_and(wasm_u16x8_shr(q[r], Shift), lowest);
            odd[r] = wasm_v128_and(wasm_u16x8_shr(q[r], Shift + 8), lowest);
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const v128_t values = wasm_v128_load(x + t * x_stride);
            const v128_t of_even = wasm_i16x8_shr(wasm_i16x8_shl(values, 8), 8);
            const v128_t of_odd = wasm_i16x8_shr(values, 8);
            BITNET_UNROLL
            for (std::size_t r = 0; r < Rows; ++r) {
                const v128_t sums = wasm_i32x4_add(total[r][t], wasm_i32x4_dot_i16x8(even[r], of_even));
                total[r][t] = wasm_i32x4_add(sums, wasm_i32x4_dot_i16x8(odd[r], of_odd));
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
struct kernel<isa::wasm_simd128, Layout> : unpacking_kernel<isa::wasm_simd128, Layout> {};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
