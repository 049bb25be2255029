// SPDX-License-Identifier: MIT
// block_kernel<isa::sse41> and those of WebAssembly: rows of blocks with scales, four at a time, in 128-bit registers.
// Empty on other architectures.
#ifndef BITNET_KERNEL_BLOCK_KERNEL_QUAD_HPP
#define BITNET_KERNEL_BLOCK_KERNEL_QUAD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_tiling.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/quad.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

#if BITNET_X86_64 || BITNET_WASM_SIMD128
#if BITNET_X86_64
BITNET_TARGET_BEGIN(BITNET_TARGET_SSE41)
#else
BITNET_PRECISE_BEGIN
#endif
namespace bitnet::inline BITNET_ABI::detail {

/// How 128-bit registers round activations.
struct block_rounding_quad {
    using floats = quad::floats;
    using ints = quad::ints;

    static float absmax(const float* x, std::size_t n) noexcept {
        const std::size_t whole = n / 4 * 4;
        floats largest = quad::splat(0.0f);
        for (std::size_t i = 0; i < whole; i += 4) {
            const ints magnitude = quad::bit_and(quad::as_ints(quad::load(x + i)), quad::splat(INT32_MAX));
            largest = quad::larger(quad::as_floats(magnitude), largest); // the second if one is a NaN
        }
        float most = 0.0f;
        float lanes[4];
        quad::store(lanes, largest);
        for (const float lane : lanes) {
            most = lane > most ? lane : most;
        }
        const float rest = whole == n ? 0.0f : block_rounding::absmax(x + whole, n - whole);
        return rest > most ? rest : most;
    }

    static std::int32_t round_step(const float* x, float factor, std::int8_t* values) noexcept {
        ints sums = quad::splat(0);
        ints planes[2][4];
        BITNET_UNROLL
        for (std::size_t half = 0; half < 2; ++half) {
            ints fours[4];
            BITNET_UNROLL
            for (std::size_t j = 0; j < 4; ++j) {
                const floats scaled = quad::mul(quad::load(x + 16 * half + 4 * j), quad::splat(factor));
                fours[j] = quad::round_to_int8(scaled);
                sums = quad::add(sums, fours[j]);
            }
            transpose(fours, planes[half]);
        }
        std::int8_t bytes[32];
        quad::store_16(bytes, quad::pack(planes[0][0], planes[1][0], planes[0][1], planes[1][1]));
        quad::store_16(bytes + 16, quad::pack(planes[0][2], planes[1][2], planes[0][3], planes[1][3]));
        BITNET_UNROLL
        for (std::size_t k = 0; k < 4; ++k) {
            std::memcpy(values + 32 * k, bytes + 8 * k, 8);
        }
        std::int32_t lanes[4];
        quad::store_16(lanes, sums);
        return lanes[0] + lanes[1] + lanes[2] + lanes[3];
    }

private:
    static BITNET_ALWAYS_INLINE void transpose(const ints (&rows)[4], ints (&columns)[4]) noexcept {
        const ints even01 = quad::even(rows[0], rows[1]);
        const ints even23 = quad::even(rows[2], rows[3]);
        const ints odd01 = quad::odd(rows[0], rows[1]);
        const ints odd23 = quad::odd(rows[2], rows[3]);
        columns[0] = quad::even(even01, even23);
        columns[1] = quad::even(odd01, odd23);
        columns[2] = quad::odd(even01, even23);
        columns[3] = quad::odd(odd01, odd23);
    }
};

/// 64 columns of a row are one register of codes: byte j holds columns 4j to 4j + 3, so that its lower half are the 32
/// columns of a step of the activations, and its upper half those of the next. A multiply-add is made of doubles.
///
/// \tparam Products an instruction set's way to multiply: of_row(codes of the four planes, activations of the first,
///   which of the other planes are 32 bytes further each) gives int32 lanes, two for each of the two steps
template <class Products> struct block_kernel_quad {
    static void quantize(const float* x, std::size_t n, std::size_t per, const block_row& out) noexcept {
        quantize_blocks<block_rounding_quad>(x, n, per, out);
    }

    static void multiply(const scaled_blocks& w, std::size_t first, std::size_t count, const block_activations& x,
                         float* y, std::size_t y_stride) noexcept {
        block_tiling<block_kernel_quad, 2>::multiply(w, first, count, x, y, y_stride);
    }

    static constexpr std::size_t tile_rows = 4;

    template <std::size_t Tokens>
    static void tile(const scaled_blocks& w, std::size_t first, const block_activations& x, float* y,
                     std::size_t y_stride) noexcept {
        wide sums[Tokens];
        clear(sums);
        const std::size_t row_bytes = w.row_bytes();
        const std::uint8_t* block = w.row(first);
        for (std::size_t column = 0; column < w.cols; column += w.block_columns, block += w.block_bytes()) {
            const wide scales = load_scales(block, row_bytes);
            for (std::size_t c = 0; c < w.block_columns; c += 64) {
                wide pair[Tokens];
                clear(pair);
                add_columns(block + 2 + c / 4, row_bytes, x, column + c, pair);
                add_pair(pair, scales, sums);
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            quad::store(y + t * y_stride, quad::narrow(sums[t]));
        }
    }

private:
    using floats = quad::floats;
    using ints = quad::ints;
    using wide = quad::wide;

    template <std::size_t Tokens> static BITNET_ALWAYS_INLINE void clear(wide (&sums)[Tokens]) noexcept {
        BITNET_UNROLL
        for (wide& sum : sums) {
            sum = quad::widen(quad::splat(0.0f));
        }
    }

    /// 64 columns of four rows, two steps of the activations.
    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_columns(const std::uint8_t* packed, std::size_t row_bytes,
                                                 const block_activations& x, std::size_t column,
                                                 wide (&pair)[Tokens]) noexcept {
        ints lanes[Tokens][tile_rows];
        BITNET_UNROLL
        for (std::size_t r = 0; r < tile_rows; ++r) {
            ints codes[4];
            unpack(quad::load_16(packed + r * row_bytes), codes);
            BITNET_UNROLL
            for (std::size_t t = 0; t < Tokens; ++t) {
                lanes[t][r] = Products::of_row(codes, x.values_at(column) + t * x.stride);
            }
        }
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            const std::size_t step = x.step_at(t, column);
            const ints rows01 = add_neighbours(lanes[t][0], lanes[t][1]);
            const ints rows23 = add_neighbours(lanes[t][2], lanes[t][3]);
            add_steps(quad::sub(quad::even(rows01, rows23), quad::splat(x.sums[step])),
                      quad::sub(quad::odd(rows01, rows23), quad::splat(x.sums[step + 1])), x.steps + step, pair[t]);
        }
    }

    static BITNET_ALWAYS_INLINE void unpack(ints packed, ints (&codes)[4]) noexcept {
        const ints mask = quad::splat_bytes(3);
        codes[0] = quad::bit_and(packed, mask);
        codes[1] = quad::bit_and(quad::shift_down_16(packed, 2), mask);
        codes[2] = quad::bit_and(quad::shift_down_16(packed, 4), mask);
        codes[3] = quad::bit_and(quad::shift_down_16(packed, 6), mask);
    }

    /// The sums of both steps of a row, then those of the other row.
    static BITNET_ALWAYS_INLINE ints add_neighbours(ints a, ints b) noexcept {
        return quad::add(quad::even(a, b), quad::odd(a, b));
    }

    /// pair += first * steps[0], += second * steps[1]. What starts from zero becomes the product itself.
    static BITNET_ALWAYS_INLINE void add_steps(ints first, ints second, const float* steps, wide& pair) noexcept {
        quad::quick_fma quick;
        const wide sum = sum_of_steps(quick, first, second, steps, pair);
        if (quick.doubtful()) [[unlikely]] {
            quad::slow_fma slow;
            pair = sum_of_steps(slow, first, second, steps, pair);
        } else {
            pair = sum;
        }
    }
    template <class Fma>
    static BITNET_ALWAYS_INLINE wide sum_of_steps(Fma& fma, ints first, ints second, const float* steps,
                                                  const wide& start) noexcept {
        const wide sum = quad::nearest_floats(fma(of_ints(first), quad::widen(quad::splat(steps[0])), start));
        return quad::nearest_floats(fma(of_ints(second), quad::widen(quad::splat(steps[1])), sum));
    }
    static BITNET_ALWAYS_INLINE wide of_ints(ints v) noexcept { return quad::widen(quad::to_floats(v)); }

    template <std::size_t Tokens>
    static BITNET_ALWAYS_INLINE void add_pair(const wide (&pair)[Tokens], const wide& scales,
                                              wide (&sums)[Tokens]) noexcept {
        BITNET_UNROLL
        for (std::size_t t = 0; t < Tokens; ++t) {
            sums[t] = quad::nearest_floats(quad::exact_sum(pair[t], scales, sums[t]));
        }
    }

    /// The scales of four rows.
    static BITNET_ALWAYS_INLINE wide load_scales(const std::uint8_t* block, std::size_t row_bytes) noexcept {
        half scales[8] = {}; // the last four are of no row
        for (std::size_t r = 0; r < tile_rows; ++r) {
            scales[r] = scale_of_block(block + r * row_bytes);
        }
        return quad::widen(quad::first_four(scales));
    }
};

#if BITNET_X86_64
/// Overflow: a pair of products of int8 and codes 0 to 3 is at most 2 * 3 * 128, four of them 3072.
struct block_products_sse41 {
    static BITNET_ALWAYS_INLINE __m128i of_row(const __m128i (&codes)[4], const std::int8_t* values) noexcept {
        __m128i words = _mm_maddubs_epi16(codes[0], quad::load_16(values));
        BITNET_UNROLL
        for (std::size_t k = 1; k < 4; ++k) {
            words = _mm_add_epi16(words, _mm_maddubs_epi16(codes[k], quad::load_16(values + 32 * k)));
        }
        return _mm_madd_epi16(words, _mm_set1_epi16(1));
    }
};

template <> struct block_kernel<isa::sse41> : block_kernel_quad<block_products_sse41> {};
#else
/// Overflow: four products of int8 and codes 0 to 3 are at most 4 * 3 * 128.
struct block_products_wasm_simd128 {
    static BITNET_ALWAYS_INLINE v128_t of_row(const v128_t (&codes)[4], const std::int8_t* values) noexcept {
        v128_t low = wasm_i16x8_extmul_low_i8x16(codes[0], quad::load_16(values)); // of the first step
        v128_t high = wasm_i16x8_extmul_high_i8x16(codes[0], quad::load_16(values));
        BITNET_UNROLL
        for (std::size_t k = 1; k < 4; ++k) {
            const v128_t plane = quad::load_16(values + 32 * k);
            low = wasm_i16x8_add(low, wasm_i16x8_extmul_low_i8x16(codes[k], plane));
            high = wasm_i16x8_add(high, wasm_i16x8_extmul_high_i8x16(codes[k], plane));
        }
        low = wasm_i32x4_extadd_pairwise_i16x8(low);
        high = wasm_i32x4_extadd_pairwise_i16x8(high);
        return wasm_i32x4_add(wasm_i64x2_shuffle(low, high, 0, 2), wasm_i64x2_shuffle(low, high, 1, 3));
    }
};

template <> struct block_kernel<isa::wasm_simd128> : block_kernel_quad<block_products_wasm_simd128> {};
#if BITNET_WASM_RELAXED_SIMD
/// As SSE4.1's; what machines do differently, codes of 128 and more, does not occur.
struct block_products_wasm_relaxed_simd {
    static BITNET_ALWAYS_INLINE v128_t of_row(const v128_t (&codes)[4], const std::int8_t* values) noexcept {
        v128_t words = wasm_i16x8_relaxed_dot_i8x16_i7x16(quad::load_16(values), codes[0]);
        BITNET_UNROLL
        for (std::size_t k = 1; k < 4; ++k) {
            words = wasm_i16x8_add(words, wasm_i16x8_relaxed_dot_i8x16_i7x16(quad::load_16(values + 32 * k), codes[k]));
        }
        return wasm_i32x4_extadd_pairwise_i16x8(words);
    }
};

template <> struct block_kernel<isa::wasm_relaxed_simd> : block_kernel_quad<block_products_wasm_relaxed_simd> {};
#endif
#endif

} // namespace bitnet::inline BITNET_ABI::detail
#if BITNET_X86_64
BITNET_TARGET_END
#else
BITNET_PRECISE_END
#endif
#endif

#endif
