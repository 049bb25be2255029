// SPDX-License-Identifier: MIT
// quad: four floats in a 128-bit register, and their exact fma without an fma instruction: SSE4.1 and WebAssembly.
// Empty on other architectures.
#ifndef BITNET_SIMD_QUAD_HPP
#define BITNET_SIMD_QUAD_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/quantized_block.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <type_traits>

#if BITNET_X86_64 || BITNET_WASM_SIMD128
#if BITNET_X86_64
#include <smmintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_SSE41)
namespace bitnet::inline BITNET_ABI::detail {

/// The operations that x86 and WebAssembly name differently.
struct quad_registers {
    using floats = __m128;
    using doubles = __m128d;
    using ints = __m128i;

    static BITNET_ALWAYS_INLINE floats load(const float* p) noexcept { return _mm_loadu_ps(p); }
    static BITNET_ALWAYS_INLINE void store(float* p, floats v) noexcept { _mm_storeu_ps(p, v); }
    static BITNET_ALWAYS_INLINE floats splat(float x) noexcept { return _mm_set1_ps(x); }
    static BITNET_ALWAYS_INLINE ints splat(std::int32_t x) noexcept { return _mm_set1_epi32(x); }
    static BITNET_ALWAYS_INLINE ints load_16(const void* p) noexcept {
        return _mm_loadu_si128(static_cast<const __m128i*>(p));
    }
    static BITNET_ALWAYS_INLINE void store_16(void* p, ints v) noexcept {
        _mm_storeu_si128(static_cast<__m128i*>(p), v);
    }

    static BITNET_ALWAYS_INLINE floats as_floats(ints v) noexcept { return _mm_castsi128_ps(v); }
    static BITNET_ALWAYS_INLINE doubles as_doubles(ints v) noexcept { return _mm_castsi128_pd(v); }
    static BITNET_ALWAYS_INLINE ints as_ints(floats v) noexcept { return _mm_castps_si128(v); }
    static BITNET_ALWAYS_INLINE ints as_ints(doubles v) noexcept { return _mm_castpd_si128(v); }

    static BITNET_ALWAYS_INLINE floats to_floats(ints v) noexcept { return _mm_cvtepi32_ps(v); }
    static BITNET_ALWAYS_INLINE doubles load_pair(const float* p) noexcept {
        return _mm_cvtps_pd(_mm_castsi128_ps(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
    }
    static BITNET_ALWAYS_INLINE doubles low_pair(floats v) noexcept { return _mm_cvtps_pd(v); }
    static BITNET_ALWAYS_INLINE doubles high_pair(floats v) noexcept { return _mm_cvtps_pd(_mm_movehl_ps(v, v)); }
    static BITNET_ALWAYS_INLINE floats join(doubles low, doubles high) noexcept {
        return _mm_movelh_ps(_mm_cvtpd_ps(low), _mm_cvtpd_ps(high));
    }
    /// Each as the nearest float.
    static BITNET_ALWAYS_INLINE doubles nearest_floats(doubles v) noexcept { return _mm_cvtps_pd(_mm_cvtpd_ps(v)); }
    /// The low halves of four doubles.
    static BITNET_ALWAYS_INLINE ints low_bits(doubles low, doubles high) noexcept {
        return _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(low), _mm_castpd_ps(high), 0x88));
    }
    /// Their high halves.
    static BITNET_ALWAYS_INLINE ints high_bits(doubles low, doubles high) noexcept {
        return _mm_castps_si128(_mm_shuffle_ps(_mm_castpd_ps(low), _mm_castpd_ps(high), 0xdd));
    }

    static BITNET_ALWAYS_INLINE floats larger(floats a, floats b) noexcept { return _mm_max_ps(a, b); }
    static BITNET_ALWAYS_INLINE floats smaller(floats a, floats b) noexcept { return _mm_min_ps(a, b); }
    static BITNET_ALWAYS_INLINE floats select(ints mask, floats yes, floats no) noexcept {
        return _mm_blendv_ps(no, yes, _mm_castsi128_ps(mask));
    }
    static BITNET_ALWAYS_INLINE bool any(ints mask) noexcept { return _mm_movemask_epi8(mask) != 0; }

    static BITNET_ALWAYS_INLINE ints bit_and(ints a, ints b) noexcept { return _mm_and_si128(a, b); }
    static BITNET_ALWAYS_INLINE ints bit_or(ints a, ints b) noexcept { return _mm_or_si128(a, b); }
    static BITNET_ALWAYS_INLINE ints bit_xor(ints a, ints b) noexcept { return _mm_xor_si128(a, b); }
    static BITNET_ALWAYS_INLINE ints add(ints a, ints b) noexcept { return _mm_add_epi32(a, b); }
    static BITNET_ALWAYS_INLINE ints sub(ints a, ints b) noexcept { return _mm_sub_epi32(a, b); }
    static BITNET_ALWAYS_INLINE ints equal(ints a, ints b) noexcept { return _mm_cmpeq_epi32(a, b); }
    static BITNET_ALWAYS_INLINE ints less(ints a, ints b) noexcept { return _mm_cmplt_epi32(a, b); }
    static BITNET_ALWAYS_INLINE ints shift_up(ints v, int bits) noexcept { return _mm_slli_epi32(v, bits); }
    static BITNET_ALWAYS_INLINE ints sub_64(ints a, ints b) noexcept { return _mm_sub_epi64(a, b); }
    static BITNET_ALWAYS_INLINE ints top_bit_64(ints v) noexcept { return _mm_srli_epi64(v, 63); }

    static BITNET_ALWAYS_INLINE ints splat_bytes(int x) noexcept { return _mm_set1_epi8(static_cast<char>(x)); }
    static BITNET_ALWAYS_INLINE ints sub_bytes(ints a, ints b) noexcept { return _mm_sub_epi8(a, b); }
    /// Each byte is shifted into the next one below it, which a mask has to take away.
    static BITNET_ALWAYS_INLINE ints shift_down_16(ints v, int bits) noexcept { return _mm_srli_epi16(v, bits); }
    static BITNET_ALWAYS_INLINE ints shift_up_16(ints v, int bits) noexcept { return _mm_slli_epi16(v, bits); }

    /// Bytes 4 Part .. 4 Part + 3, sign-extended.
    template <int Part> static BITNET_ALWAYS_INLINE ints extend_bytes(ints v) noexcept {
        return _mm_cvtepi8_epi32(_mm_shuffle_epi32(v, Part));
    }
    /// Sign-extended.
    static BITNET_ALWAYS_INLINE ints low_words(ints v) noexcept { return _mm_cvtepi16_epi32(v); }
    static BITNET_ALWAYS_INLINE ints high_words(ints v) noexcept {
        return _mm_srai_epi32(_mm_unpackhi_epi16(v, v), 16);
    }
    static BITNET_ALWAYS_INLINE ints splat_words(int x) noexcept { return _mm_set1_epi16(static_cast<short>(x)); }
    static BITNET_ALWAYS_INLINE ints less_words(ints a, ints b) noexcept { return _mm_cmplt_epi16(a, b); }
    /// Sixteen ints as bytes, those beyond int8 as the nearest.
    static BITNET_ALWAYS_INLINE ints pack(ints a, ints b, ints c, ints d) noexcept {
        return _mm_packs_epi16(_mm_packs_epi32(a, b), _mm_packs_epi32(c, d));
    }
    /// Products of unsigned with signed bytes, added up by fours. \pre two neighbours are at most 32,767
    static BITNET_ALWAYS_INLINE ints dot_bytes(ints codes, ints values) noexcept {
        return _mm_madd_epi16(_mm_maddubs_epi16(codes, values), _mm_set1_epi16(1));
    }

#if !defined(__GNUC__)
    static BITNET_ALWAYS_INLINE floats add(floats a, floats b) noexcept { return _mm_add_ps(a, b); }
    static BITNET_ALWAYS_INLINE floats sub(floats a, floats b) noexcept { return _mm_sub_ps(a, b); }
    static BITNET_ALWAYS_INLINE floats mul(floats a, floats b) noexcept { return _mm_mul_ps(a, b); }
    static BITNET_ALWAYS_INLINE floats div(floats a, floats b) noexcept { return _mm_div_ps(a, b); }
    static BITNET_ALWAYS_INLINE doubles add(doubles a, doubles b) noexcept { return _mm_add_pd(a, b); }
    static BITNET_ALWAYS_INLINE doubles sub(doubles a, doubles b) noexcept { return _mm_sub_pd(a, b); }
    static BITNET_ALWAYS_INLINE doubles mul(doubles a, doubles b) noexcept { return _mm_mul_pd(a, b); }
    static BITNET_ALWAYS_INLINE ints not_zero(doubles v) noexcept {
        const __m128d zero = _mm_setzero_pd();
        return _mm_castpd_si128(_mm_or_pd(_mm_cmplt_pd(v, zero), _mm_cmpgt_pd(v, zero)));
    }
    static BITNET_ALWAYS_INLINE ints below(floats a, floats b) noexcept { return _mm_castps_si128(_mm_cmplt_ps(a, b)); }
#endif
#else
#include <wasm_simd128.h>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// The operations that x86 and WebAssembly name differently.
struct quad_registers {
    using floats = __f32x4;
    using doubles = __f64x2;
    using ints = v128_t;

    static BITNET_ALWAYS_INLINE floats load(const float* p) noexcept { return as_floats(wasm_v128_load(p)); }
    static BITNET_ALWAYS_INLINE void store(float* p, floats v) noexcept { wasm_v128_store(p, as_ints(v)); }
    static BITNET_ALWAYS_INLINE floats splat(float x) noexcept { return floats{x, x, x, x}; }
    static BITNET_ALWAYS_INLINE ints splat(std::int32_t x) noexcept { return wasm_i32x4_splat(x); }
    static BITNET_ALWAYS_INLINE ints load_16(const void* p) noexcept { return wasm_v128_load(p); }
    static BITNET_ALWAYS_INLINE void store_16(void* p, ints v) noexcept { wasm_v128_store(p, v); }

    static BITNET_ALWAYS_INLINE floats as_floats(ints v) noexcept { return reinterpret_cast<floats>(v); }
    static BITNET_ALWAYS_INLINE doubles as_doubles(ints v) noexcept { return reinterpret_cast<doubles>(v); }
    static BITNET_ALWAYS_INLINE ints as_ints(floats v) noexcept { return reinterpret_cast<ints>(v); }
    static BITNET_ALWAYS_INLINE ints as_ints(doubles v) noexcept { return reinterpret_cast<ints>(v); }

    static BITNET_ALWAYS_INLINE floats to_floats(ints v) noexcept { return as_floats(wasm_f32x4_convert_i32x4(v)); }
    static BITNET_ALWAYS_INLINE doubles load_pair(const float* p) noexcept {
        return as_doubles(wasm_f64x2_promote_low_f32x4(wasm_v128_load64_zero(p)));
    }
    static BITNET_ALWAYS_INLINE doubles low_pair(floats v) noexcept {
        return as_doubles(wasm_f64x2_promote_low_f32x4(as_ints(v)));
    }
    static BITNET_ALWAYS_INLINE doubles high_pair(floats v) noexcept {
        return as_doubles(wasm_f64x2_promote_low_f32x4(wasm_i64x2_shuffle(as_ints(v), as_ints(v), 1, 1)));
    }
    static BITNET_ALWAYS_INLINE floats join(doubles low, doubles high) noexcept {
        return as_floats(wasm_i64x2_shuffle(wasm_f32x4_demote_f64x2_zero(as_ints(low)),
                                            wasm_f32x4_demote_f64x2_zero(as_ints(high)), 0, 2));
    }
    /// Each as the nearest float.
    static BITNET_ALWAYS_INLINE doubles nearest_floats(doubles v) noexcept {
        return as_doubles(wasm_f64x2_promote_low_f32x4(wasm_f32x4_demote_f64x2_zero(as_ints(v))));
    }
    /// The low halves of four doubles.
    static BITNET_ALWAYS_INLINE ints low_bits(doubles low, doubles high) noexcept {
        return wasm_i32x4_shuffle(as_ints(low), as_ints(high), 0, 2, 4, 6);
    }
    /// Their high halves.
    static BITNET_ALWAYS_INLINE ints high_bits(doubles low, doubles high) noexcept {
        return wasm_i32x4_shuffle(as_ints(low), as_ints(high), 1, 3, 5, 7);
    }

    /// a > b ? a : b
    static BITNET_ALWAYS_INLINE floats larger(floats a, floats b) noexcept {
        return as_floats(wasm_f32x4_pmax(as_ints(b), as_ints(a)));
    }
    /// a < b ? a : b
    static BITNET_ALWAYS_INLINE floats smaller(floats a, floats b) noexcept {
        return as_floats(wasm_f32x4_pmin(as_ints(b), as_ints(a)));
    }
    static BITNET_ALWAYS_INLINE floats select(ints mask, floats yes, floats no) noexcept {
        return as_floats(wasm_v128_bitselect(as_ints(yes), as_ints(no), mask));
    }
    static BITNET_ALWAYS_INLINE bool any(ints mask) noexcept { return wasm_v128_any_true(mask); }

    static BITNET_ALWAYS_INLINE ints bit_and(ints a, ints b) noexcept { return wasm_v128_and(a, b); }
    static BITNET_ALWAYS_INLINE ints bit_or(ints a, ints b) noexcept { return wasm_v128_or(a, b); }
    static BITNET_ALWAYS_INLINE ints bit_xor(ints a, ints b) noexcept { return wasm_v128_xor(a, b); }
    static BITNET_ALWAYS_INLINE ints add(ints a, ints b) noexcept { return wasm_i32x4_add(a, b); }
    static BITNET_ALWAYS_INLINE ints sub(ints a, ints b) noexcept { return wasm_i32x4_sub(a, b); }
    static BITNET_ALWAYS_INLINE ints equal(ints a, ints b) noexcept { return wasm_i32x4_eq(a, b); }
    static BITNET_ALWAYS_INLINE ints less(ints a, ints b) noexcept { return wasm_i32x4_lt(a, b); }
    static BITNET_ALWAYS_INLINE ints shift_up(ints v, int bits) noexcept {
        return wasm_i32x4_shl(v, static_cast<unsigned>(bits));
    }
    static BITNET_ALWAYS_INLINE ints sub_64(ints a, ints b) noexcept { return wasm_i64x2_sub(a, b); }
    static BITNET_ALWAYS_INLINE ints top_bit_64(ints v) noexcept { return wasm_u64x2_shr(v, 63); }

    static BITNET_ALWAYS_INLINE ints splat_bytes(int x) noexcept {
        return wasm_i8x16_splat(static_cast<std::int8_t>(x));
    }
    static BITNET_ALWAYS_INLINE ints sub_bytes(ints a, ints b) noexcept { return wasm_i8x16_sub(a, b); }
    /// Each byte is shifted into the next one below it, which a mask has to take away.
    static BITNET_ALWAYS_INLINE ints shift_down_16(ints v, int bits) noexcept {
        return wasm_u16x8_shr(v, static_cast<unsigned>(bits));
    }
    static BITNET_ALWAYS_INLINE ints shift_up_16(ints v, int bits) noexcept {
        return wasm_i16x8_shl(v, static_cast<unsigned>(bits));
    }

    /// Bytes 4 Part .. 4 Part + 3, sign-extended.
    template <int Part> static BITNET_ALWAYS_INLINE ints extend_bytes(ints v) noexcept {
        const ints words = Part < 2 ? wasm_i16x8_extend_low_i8x16(v) : wasm_i16x8_extend_high_i8x16(v);
        return Part % 2 == 0 ? wasm_i32x4_extend_low_i16x8(words) : wasm_i32x4_extend_high_i16x8(words);
    }
    /// Sign-extended.
    static BITNET_ALWAYS_INLINE ints low_words(ints v) noexcept { return wasm_i32x4_extend_low_i16x8(v); }
    static BITNET_ALWAYS_INLINE ints high_words(ints v) noexcept { return wasm_i32x4_extend_high_i16x8(v); }
    static BITNET_ALWAYS_INLINE ints splat_words(int x) noexcept {
        return wasm_i16x8_splat(static_cast<std::int16_t>(x));
    }
    static BITNET_ALWAYS_INLINE ints less_words(ints a, ints b) noexcept { return wasm_i16x8_lt(a, b); }
    /// Sixteen ints as bytes, those beyond int8 as the nearest.
    static BITNET_ALWAYS_INLINE ints pack(ints a, ints b, ints c, ints d) noexcept {
        return wasm_i8x16_narrow_i16x8(wasm_i16x8_narrow_i32x4(a, b), wasm_i16x8_narrow_i32x4(c, d));
    }
    /// Products of unsigned with signed bytes, added up by fours: those of even and of odd bytes as words.
    static BITNET_ALWAYS_INLINE ints dot_bytes(ints codes, ints values) noexcept {
        const ints even = wasm_i32x4_dot_i16x8(wasm_v128_and(codes, wasm_i16x8_splat(255)),
                                               wasm_i16x8_shr(wasm_i16x8_shl(values, 8), 8));
        return wasm_i32x4_add(even, wasm_i32x4_dot_i16x8(wasm_u16x8_shr(codes, 8), wasm_i16x8_shr(values, 8)));
    }
#endif

#if defined(__GNUC__)
    // Operators, not intrinsics: clang under -ffast-math would reassociate those, even in a precise region.
    static BITNET_ALWAYS_INLINE floats add(floats a, floats b) noexcept { return a + b; }
    static BITNET_ALWAYS_INLINE floats sub(floats a, floats b) noexcept { return a - b; }
    static BITNET_ALWAYS_INLINE floats mul(floats a, floats b) noexcept { return a * b; }
    static BITNET_ALWAYS_INLINE floats div(floats a, floats b) noexcept { return a / b; }
    static BITNET_ALWAYS_INLINE doubles add(doubles a, doubles b) noexcept { return a + b; }
    static BITNET_ALWAYS_INLINE doubles sub(doubles a, doubles b) noexcept { return a - b; }
    static BITNET_ALWAYS_INLINE doubles mul(doubles a, doubles b) noexcept { return a * b; }
    /// All ones for each v that is neither zero nor a NaN.
    static BITNET_ALWAYS_INLINE ints not_zero(doubles v) noexcept {
        const doubles zero{0.0, 0.0};
        return as_mask((v < zero) | (v > zero));
    }
    static BITNET_ALWAYS_INLINE ints below(floats a, floats b) noexcept { return as_mask(a < b); }
    /// What a comparison gives; on some systems that is `ints` already.
    template <class Vector> static BITNET_ALWAYS_INLINE ints as_mask(Vector comparison) noexcept {
        return reinterpret_cast<ints>(comparison);
    }
#endif
};

/// Four lanes of the float loops.
///
/// A multiply-add is rounded once, as by exact_fma() and in the same way: the product of two floats is exact in double,
/// and its sum with c, rounded to 53 bits, rounds to the right float unless it is in the middle between two floats
/// without being exact. Such a sum ends in a one and 28 zeros after the 24 bits that are kept; one in 2^29 sums of
/// random numbers does. Only then, and if the sum is zero or denormal as a float, so that middles are elsewhere, its
/// error counts. So sums are made quickly, and those four (or one exp) among which is a doubtful one once more,
/// exactly.
struct quad : quad_registers {
    /// Four floats as doubles.
    struct wide {
        doubles low, high;
    };
    static BITNET_ALWAYS_INLINE wide widen(floats v) noexcept { return {low_pair(v), high_pair(v)}; }
    static BITNET_ALWAYS_INLINE floats narrow(const wide& v) noexcept { return join(v.low, v.high); }
    static BITNET_ALWAYS_INLINE wide nearest_floats(const wide& v) noexcept {
        return {nearest_floats(v.low), nearest_floats(v.high)};
    }
    using quad_registers::nearest_floats;

    /// Multiply-adds that are right unless doubtful() says that one of them might not be.
    class quick_fma {
    public:
        // Written out: an implicit constructor would be compiled for the baseline, not for this region's target.
        BITNET_ALWAYS_INLINE quick_fma() noexcept : doubt_(splat(0)) {}

        /// The sum before it is rounded to float.
        BITNET_ALWAYS_INLINE wide operator()(const wide& a, const wide& b, const wide& c) noexcept {
            const wide sum{quad::add(mul(a.low, b.low), c.low), quad::add(mul(a.high, b.high), c.high)};
            const ints cut_off = bit_and(low_bits(sum.low, sum.high), splat(0x1fffffff));
            const ints magnitude = bit_and(high_bits(sum.low, sum.high), splat(0x7fffffff));
            const ints middle = equal(cut_off, splat(0x10000000));
            const ints denormal = less(magnitude, splat((1023 - 126) << 20));
            doubt_ = bit_or(doubt_, bit_or(middle, denormal));
            return sum;
        }
        [[nodiscard]] BITNET_ALWAYS_INLINE bool doubtful() const noexcept { return any(doubt_); }

    private:
        ints doubt_;
    };

    /// Multiply-adds that are always right: the sum has its last bit set if it is not exact, and is cut off before that
    /// (Boldo and Melquiond); the conversion to float then rounds as if from the exact sum.
    struct slow_fma {
        BITNET_ALWAYS_INLINE wide operator()(const wide& a, const wide& b, const wide& c) const noexcept {
            return {to_odd(mul(a.low, b.low), c.low), to_odd(mul(a.high, b.high), c.high)};
        }

    private:
        /// Knuth's two-sum, see exact_fma().
        static BITNET_ALWAYS_INLINE doubles to_odd(doubles product, doubles addend) noexcept {
            const doubles sum = quad::add(product, addend);
            const doubles addend_part = quad::sub(sum, product);
            const doubles product_part = quad::sub(sum, addend_part);
            const doubles error = quad::add(quad::sub(product, product_part), quad::sub(addend, addend_part));
            const ints inexact = not_zero(error);
            const ints opposite = bit_and(top_bit_64(bit_xor(as_ints(error), as_ints(sum))), inexact);
            return as_doubles(bit_or(sub_64(as_ints(sum), opposite), top_bit_64(inexact)));
        }
    };

    /// a * b + c with one rounding. Tested against exact_fma() and std::fma().
    static BITNET_ALWAYS_INLINE floats multiply_add(const wide& a, const wide& b, floats c) noexcept {
        quick_fma quick;
        const floats sum = narrow(quick(a, b, widen(c)));
        if (quick.doubtful()) [[unlikely]] {
            return narrow(slow_fma()(a, b, widen(c)));
        }
        return sum;
    }
    static BITNET_ALWAYS_INLINE floats multiply_add(floats a, floats b, floats c) noexcept {
        return multiply_add(widen(a), widen(b), c);
    }

    /// Sixteen lanes of a reduction: floats that are kept as doubles.
    using lanes = wide[4];
    /// Sixteen factors, and what they are multiplied by.
    struct factors {
        floats a[4];
        wide b[4];
    };

    /// acc = a * b + acc for step 0 .. count - 1, whose factors `factors_of`(step) gives.
    template <class Factors>
    static BITNET_ALWAYS_INLINE void accumulate(lanes& acc, std::size_t count, const Factors& factors_of) noexcept {
        for (std::size_t step = 0; step < count; ++step) {
            const factors next = factors_of(step);
            BITNET_UNROLL
            for (std::size_t part = 0; part < 4; ++part) {
                acc[part] = nearest_floats(exact_sum(widen(next.a[part]), next.b[part], acc[part]));
            }
        }
    }
    static BITNET_ALWAYS_INLINE wide exact_sum(const wide& a, const wide& b, const wide& c) noexcept {
        quick_fma quick;
        const wide sum = quick(a, b, c);
        if (quick.doubtful()) [[unlikely]] {
            return slow_fma()(a, b, c);
        }
        return sum;
    }
    static BITNET_ALWAYS_INLINE void clear(lanes& acc) noexcept {
        const floats zero[4] = {splat(0.0f), splat(0.0f), splat(0.0f), splat(0.0f)};
        widen(zero, acc);
    }
    static BITNET_ALWAYS_INLINE void load_wide(const float* p, wide (&out)[4]) noexcept {
        BITNET_UNROLL
        for (std::size_t part = 0; part < 4; ++part) {
            out[part] = {load_pair(p + 4 * part), load_pair(p + 4 * part + 2)};
        }
    }
    static BITNET_ALWAYS_INLINE void widen(const floats (&v)[4], wide (&out)[4]) noexcept {
        BITNET_UNROLL
        for (std::size_t part = 0; part < 4; ++part) {
            out[part] = widen(v[part]);
        }
    }
    static BITNET_ALWAYS_INLINE void fill(wide (&out)[4], float x) noexcept {
        const doubles pair = low_pair(splat(x));
        out[0] = {pair, pair};
        out[1] = out[0];
        out[2] = out[0];
        out[3] = out[0];
    }

    /// lane_ops::exp of each. A function of its own: it is long without an fma instruction.
    static BITNET_NOINLINE floats exp(floats x) noexcept {
        quick_fma quick;
        const floats e = exp(x, quick);
        if (quick.doubtful()) [[unlikely]] {
            slow_fma slow;
            return exp(x, slow);
        }
        return e;
    }

    /// Columns [i, i + 16) of a row of E as floats. \pre i is a multiple of 16
    template <class E>
    static BITNET_ALWAYS_INLINE void load_row(const std::byte* row, std::size_t i, floats (&out)[4]) noexcept {
        if constexpr (std::is_same_v<E, q8_0>) {
            const std::byte* block = row + i / q8_0::block_columns * q8_0::block_bytes;
            const ints q = load_16(block + 2 + i % q8_0::block_columns);
            scale_bytes(q, detail::widen(q8_0::factor(block)), out);
        } else if constexpr (std::is_same_v<E, q6_k>) {
            const q6_k::sixteen part = q6_k::at(row, i);
            const ints low = bit_and(shift_down_16(load_16(part.low), part.low_shift), splat_bytes(15));
            const ints high = bit_and(shift_down_16(load_16(part.high), part.high_shift), splat_bytes(3));
            const ints code = sub_bytes(bit_or(low, shift_up_16(high, 4)), splat_bytes(32));
            scale_bytes(code, detail::widen(part.factor) * part.scale, out);
        } else if constexpr (std::is_same_v<E, q4_0>) {
            const q4_0::sixteen part = q4_0::at(row, i);
            const ints code = bit_and(shift_down_16(load_16(part.codes), part.shift), splat_bytes(15));
            scale_bytes(sub_bytes(code, splat_bytes(8)), detail::widen(part.factor), out);
        } else if constexpr (std::is_same_v<E, q4_k>) {
            const q4_k::sixteen part = q4_k::at(row, i);
            const ints code = bit_and(shift_down_16(load_16(part.codes), part.shift), splat_bytes(15));
            scale_bytes(code, detail::widen(part.factor) * part.scale, out);
            const floats minimum = splat(detail::widen(part.minimum_factor) * part.minimum);
            BITNET_UNROLL
            for (floats& four : out) {
                four = sub(four, minimum);
            }
        } else {
            load_16<E>(row + i * sizeof(E), out);
        }
    }

    /// Sixteen elements as floats, at any alignment; a signalling NaN becomes quiet, as in widen().
    template <class E> static BITNET_ALWAYS_INLINE void load_16(const std::byte* x, floats (&out)[4]) noexcept {
        if constexpr (std::is_same_v<E, half>) {
            halves(load_16(x), out[0], out[1]);
            halves(load_16(x + 16), out[2], out[3]);
        } else if constexpr (std::is_same_v<E, bfloat16>) {
            bfloats(load_16(x), out[0], out[1]);
            bfloats(load_16(x + 16), out[2], out[3]);
        } else if constexpr (std::is_same_v<E, std::int8_t>) {
            extend(load_16(x), out);
        } else {
            BITNET_UNROLL
            for (std::size_t part = 0; part < 4; ++part) {
                out[part] = as_floats(load_16(x + 16 * part));
            }
        }
    }
    template <class E> static BITNET_ALWAYS_INLINE void load_16(const E* x, floats (&out)[4]) noexcept {
        load_16<E>(reinterpret_cast<const std::byte*>(x), out);
    }
    using quad_registers::load_16;

    /// Lanes 0 and 2 of a, then of b; lanes 1 and 3.
    static BITNET_ALWAYS_INLINE ints even(ints a, ints b) noexcept { return low_bits(as_doubles(a), as_doubles(b)); }
    static BITNET_ALWAYS_INLINE ints odd(ints a, ints b) noexcept { return high_bits(as_doubles(a), as_doubles(b)); }

    /// As lane_ops::round_to_int8(), to int32.
    static BITNET_ALWAYS_INLINE ints round_to_int8(floats x) noexcept {
        const floats shift = splat(12582912.0f);
        const floats clamped = larger(smaller(x, splat(127.0f)), splat(-128.0f));
        return sub(as_ints(add(clamped, shift)), as_ints(shift));
    }

    /// The first four of eight halves as floats.
    static BITNET_ALWAYS_INLINE floats first_four(const half* eight) noexcept {
        floats low, high;
        halves(load_16(eight), low, high);
        return low;
    }

    /// lane_ops::fold
    static BITNET_ALWAYS_INLINE float fold(const lanes& v) noexcept {
        float four[4];
        const floats even = add(narrow(v[0]), narrow(v[2]));
        const floats odd = add(narrow(v[1]), narrow(v[3]));
        store(four, add(even, odd));
        const float first = four[0] + four[2];
        const float second = four[1] + four[3];
        return first + second;
    }

private:
    template <class Fma> static BITNET_ALWAYS_INLINE floats exp(floats x, Fma& fma) noexcept {
        const floats shift = splat(12582912.0f);
        const floats c = larger(splat(-87.0f), smaller(splat(88.0f), x));
        const floats shifted = narrow(fma(widen(c), widen(splat(0x1.715476p+0f)), widen(shift)));
        const wide n = widen(sub(shifted, shift));
        const wide r_high = nearest_floats(fma(n, widen(splat(-0x1.62e43p-1f)), widen(c)));
        const wide r = nearest_floats(fma(n, widen(splat(0x1.05c61p-29f)), r_high));
        wide p = nearest_floats(fma(widen(splat(0x1.a01a02p-13f)), r, widen(splat(0x1.6c16c2p-10f))));
        p = nearest_floats(fma(p, r, widen(splat(0x1.111112p-7f))));
        p = nearest_floats(fma(p, r, widen(splat(0x1.555556p-5f))));
        p = nearest_floats(fma(p, r, widen(splat(0x1.555556p-3f))));
        p = nearest_floats(fma(p, r, widen(splat(0.5f))));
        p = nearest_floats(fma(p, r, widen(splat(1.0f))));
        const floats power = narrow(fma(p, r, widen(splat(1.0f))));
        const ints exponent = shift_up(sub(as_ints(shifted), as_ints(shift)), 23);
        const floats scaled = as_floats(add(as_ints(power), exponent));
        return select(below(x, splat(-87.0f)), splat(0.0f), scaled);
    }

    /// Bytes 0 .. 15, sign-extended.
    static BITNET_ALWAYS_INLINE void extend(ints bytes, floats (&out)[4]) noexcept {
        out[0] = to_floats(extend_bytes<0>(bytes));
        out[1] = to_floats(extend_bytes<1>(bytes));
        out[2] = to_floats(extend_bytes<2>(bytes));
        out[3] = to_floats(extend_bytes<3>(bytes));
    }
    static BITNET_ALWAYS_INLINE void scale_bytes(ints bytes, float scale, floats (&out)[4]) noexcept {
        extend(bytes, out);
        BITNET_UNROLL
        for (floats& four : out) {
            four = mul(splat(scale), four);
        }
    }

    /// Moved to the place of a float's, exponent and fraction mean 2^-112 times as much, denormal ones too.
    static BITNET_ALWAYS_INLINE floats widen_halves(ints extended) noexcept {
        const ints moved = bit_and(shift_up(extended, 13), splat(static_cast<std::int32_t>(0x8fffe000u)));
        return mul(as_floats(moved), splat(0x1p112f));
    }
    static BITNET_ALWAYS_INLINE void halves(ints words, floats& low, floats& high) noexcept {
        low = widen_halves(low_words(words));
        high = widen_halves(high_words(words));
        const ints magnitudes = bit_and(words, splat_words(0x7fff));
        if (any(less_words(splat_words(0x7bff), magnitudes))) [[unlikely]] {
            low = widen_special(low_words(words), low);
            high = widen_special(high_words(words), high);
        }
    }
    /// Infinities and NaNs, 31 in the exponent, now have 143 there instead of 255; every NaN becomes quiet.
    static BITNET_ALWAYS_INLINE floats widen_special(ints extended, floats wide) noexcept {
        const ints magnitude = bit_and(extended, splat(0x7fff));
        const ints exponent = bit_and(less(splat(0x7bff), magnitude), splat(0x7f800000));
        const ints quiet = bit_and(less(splat(0x7c00), magnitude), splat(0x00400000));
        return as_floats(bit_or(as_ints(wide), bit_or(exponent, quiet)));
    }
    static BITNET_ALWAYS_INLINE void bfloats(ints words, floats& low, floats& high) noexcept {
        low = as_floats(shift_up(low_words(words), 16));
        high = as_floats(shift_up(high_words(words), 16));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
#if BITNET_X86_64
BITNET_TARGET_END
#else
BITNET_PRECISE_END
#endif
#endif

#endif
