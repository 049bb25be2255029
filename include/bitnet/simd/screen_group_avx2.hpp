// SPDX-License-Identifier: MIT
// How AVX2 and AVX-VNNI bound rows of a screen for groups of states. Empty on other architectures.
#ifndef BITNET_SIMD_SCREEN_GROUP_AVX2_HPP
#define BITNET_SIMD_SCREEN_GROUP_AVX2_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/dot_product_avx_vnni.hpp>
#include <bitnet/simd/screen.hpp>
#include <bitnet/simd/screen_group.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>

#if BITNET_X86_64
#include <immintrin.h>

BITNET_TARGET_BEGIN(BITNET_TARGET_AVX2)
namespace bitnet::inline BITNET_ABI::detail {

[[nodiscard]] BITNET_ALWAYS_INLINE __m256i load_32_bytes(const void* bytes) noexcept {
    return _mm256_loadu_si256(static_cast<const __m256i*>(bytes));
}

/// The codes of columns [32 Half, 32 Half + 32) of a block, and of the same of its second 64, as unsigned bytes.
struct screen_codes_avx2 {
    __m256i columns[2];
};
template <int Half>
[[nodiscard]] BITNET_ALWAYS_INLINE screen_codes_avx2 unpack_screen_half(const std::byte* block) noexcept {
    const __m256i nibble = _mm256_set1_epi8(15);
    const __m256i top = _mm256_set1_epi8(0x30);
    const __m256i low = load_32_bytes(block + std::size_t{32} * Half);
    const __m256i high = load_32_bytes(block + screen_layout::high_at);
    const __m256i high0 = _mm256_and_si256(_mm256_slli_epi16(high, 4 - 2 * Half), top);
    const __m256i high1 = _mm256_and_si256(_mm256_srli_epi16(high, 2 * Half), top);
    return {{_mm256_or_si256(_mm256_and_si256(low, nibble), high0),
             _mm256_or_si256(_mm256_and_si256(_mm256_srli_epi16(low, 4), nibble), high1)}};
}

/// Integer sums of a row and eight inputs by vpmaddubsw. A pair of products is at most 2 * 63 * 128, two pairs 32,256:
/// int16 is safe.
class screen_sums_avx2 {
public:
    void start(const std::int32_t* offsets) noexcept { sums_ = load_32_bytes(offsets); }
    /// Two fours of columns: codes of the row, and where those of the inputs lie, high bytes and behind them low ones.
    BITNET_ALWAYS_INLINE void add(__m256i first, __m256i second, const std::int8_t* inputs) noexcept {
        const auto dots = [&](const std::int8_t* part) noexcept {
            return _mm256_add_epi16(_mm256_maddubs_epi16(first, load_32_bytes(part)),
                                    _mm256_maddubs_epi16(second, load_32_bytes(part + 64)));
        };
        const __m256i coarse = _mm256_madd_epi16(dots(inputs), _mm256_set1_epi16(256));
        const __m256i fine = _mm256_madd_epi16(dots(inputs + screen_group::part_bytes), _mm256_set1_epi16(1));
        sums_ = _mm256_add_epi32(sums_, _mm256_add_epi32(coarse, fine));
    }
    [[nodiscard]] __m256i total() const noexcept { return sums_; }

private:
    __m256i sums_;
};

/// The same by vpdpbusd.
class screen_sums_avx_vnni {
public:
    void start(const std::int32_t* offsets) noexcept {
        coarse_ = _mm256_setzero_si256();
        fine_ = load_32_bytes(offsets);
    }
    BITNET_ALWAYS_INLINE void add(__m256i first, __m256i second, const std::int8_t* inputs) noexcept {
        add_dot_products(coarse_, first, load_32_bytes(inputs));
        add_dot_products(fine_, first, load_32_bytes(inputs + screen_group::part_bytes));
        add_dot_products(coarse_, second, load_32_bytes(inputs + 64));
        add_dot_products(fine_, second, load_32_bytes(inputs + screen_group::part_bytes + 64));
    }
    [[nodiscard]] __m256i total() const noexcept { return _mm256_add_epi32(fine_, _mm256_slli_epi32(coarse_, 8)); }

private:
    __m256i coarse_;
    __m256i fine_;
};

/// Two rows x 16 inputs at a time. \tparam Sums one of the above
template <class Sums> class screen_lanes_avx2 {
public:
    static constexpr std::size_t tile_rows = 8;

    /// upper[g * group_stride + r * 16 + t] for rows.count <= tile_rows rows
    static void bound_rows(const screen_rows_view& rows, const screen_group* groups, std::size_t group_count,
                           float* upper, std::size_t group_stride) noexcept {
        row_codes codes[tile_rows];
        float acc[screen_group::most][tile_rows][inputs];
        std::memset(acc, 0, group_count * sizeof acc[0]);
        std::memset(codes, 0, rows.count < tile_rows ? sizeof codes : 0);
        const std::size_t blocks = groups[0].blocks;
        for (std::size_t b = 0; b < blocks; ++b) {
            for (std::size_t r = 0; r < rows.count; ++r) {
                prefetch_screen<1>(rows.block(r, b), tile_rows * rows.row_bytes); // of the rows behind
                store_codes<0>(rows.block(r, b), codes[r]);
                store_codes<1>(rows.block(r, b), codes[r]);
            }
            for (std::size_t g = 0; g < group_count; ++g) {
                for (std::size_t r = 0; r < rows.count; r += 2) {
                    const std::size_t other = r + 1 < rows.count ? r + 1 : r; // once more, and its sums are not kept
                    add_block(codes + r, {rows.block(r, b), rows.block(other, b)}, b, groups[g], acc[g] + r);
                }
            }
        }
        for (std::size_t g = 0; g < group_count; ++g) {
            for (std::size_t r = 0; r < rows.count; ++r) {
                store_bounds(acc[g][r], rows.block(r, blocks), groups[g], upper + g * group_stride + r * inputs);
            }
        }
    }

private:
    static constexpr std::size_t inputs = screen_group::inputs;
    using row_codes = std::uint8_t[screen_layout::block_columns];

    template <int Half>
    static BITNET_ALWAYS_INLINE void store_codes(const std::byte* block, row_codes& codes) noexcept {
        const screen_codes_avx2 unpacked = unpack_screen_half<Half>(block);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + std::size_t{32} * Half), unpacked.columns[0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes + 64 + std::size_t{32} * Half), unpacked.columns[1]);
    }

    struct two_blocks {
        const std::byte* of_row[2];
    };
    /// acc += the scaled sums of a block of two rows.
    static BITNET_ALWAYS_INLINE void add_block(const row_codes* codes, const two_blocks& blocks, std::size_t b,
                                               const screen_group& x, float (*acc)[inputs]) noexcept {
        Sums sums[2][2]; // [rows][eights of inputs]
        BITNET_UNROLL
        for (std::size_t r = 0; r < 2; ++r) {
            sums[r][0].start(x.offsets + b * inputs);
            sums[r][1].start(x.offsets + b * inputs + 8);
        }
        for (std::size_t half = 0; half < 2; ++half) {
            const std::int8_t* part = x.part(b, half);
            for (std::size_t f = 0; f < 16; f += 2) {
                BITNET_UNROLL
                for (std::size_t r = 0; r < 2; ++r) {
                    const __m256i first = four(codes[r] + 64 * half + 4 * f);
                    const __m256i second = four(codes[r] + 64 * half + 4 * f + 4);
                    sums[r][0].add(first, second, part + 64 * f);
                    sums[r][1].add(first, second, part + 64 * f + 32);
                }
            }
        }
        BITNET_UNROLL
        for (std::size_t r = 0; r < 2; ++r) {
            float value;
            std::memcpy(&value, blocks.of_row[r] + screen_layout::scale_at, sizeof value);
            const __m256 scale = _mm256_set1_ps(value);
            BITNET_UNROLL
            for (std::size_t i = 0; i < 2; ++i) {
                float* to = acc[r] + 8 * i;
                const __m256 products = _mm256_cvtepi32_ps(sums[r][i].total());
                _mm256_storeu_ps(to, _mm256_fmadd_ps(products, scale, _mm256_loadu_ps(to)));
            }
        }
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE __m256i four(const std::uint8_t* codes) noexcept {
        std::int32_t value;
        std::memcpy(&value, codes, sizeof value);
        return _mm256_set1_epi32(value);
    }

    /// upper_bound_of() sixteen times.
    static BITNET_ALWAYS_INLINE void store_bounds(const float* sums, const std::byte* tail, const screen_group& x,
                                                  float* upper) noexcept {
        row_bound row;
        std::memcpy(&row, tail, sizeof row);
        const __m256 tiny = _mm256_set1_ps(screen_input::tiny);
        const __m256 infinity = _mm256_set1_ps(std::numeric_limits<float>::infinity());
        for (std::size_t t = 0; t < inputs; t += 8) {
            const __m256 rounding = _mm256_fmadd_ps(_mm256_set1_ps(row.norm), _mm256_loadu_ps(x.slack + t), tiny);
            const __m256 bound = _mm256_fmadd_ps(_mm256_set1_ps(row.error), _mm256_loadu_ps(x.norm + t), rounding);
            const __m256 made = _mm256_fmadd_ps(_mm256_loadu_ps(sums + t), _mm256_loadu_ps(x.unit + t), bound);
            const __m256i size = _mm256_and_si256(_mm256_castps_si256(made), _mm256_set1_epi32(0x7fffffff));
            const __m256i is_nan = _mm256_cmpgt_epi32(size, _mm256_set1_epi32(0x7f800000));
            _mm256_storeu_ps(upper + t, _mm256_blendv_ps(made, infinity, _mm256_castsi256_ps(is_nan)));
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_TARGET_END
#endif

#endif
