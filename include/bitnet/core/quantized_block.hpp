// SPDX-License-Identifier: MIT
// q8_0, q6_k, q4_k and q4_0: ggml's quantised blocks as element types of a row.
#ifndef BITNET_CORE_QUANTIZED_BLOCK_HPP
#define BITNET_CORE_QUANTIZED_BLOCK_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>

BITNET_PRECISE_BEGIN
namespace bitnet::inline BITNET_ABI::detail {

/// Q8_0: 32 columns in 34 bytes. value = d * q: 11 + 7 bits, no rounding.
///
///     0   d      half
///     2   q[32]  int8
struct q8_0 {
    static constexpr std::size_t block_columns = 32;
    static constexpr std::size_t block_bytes = 34;

    /// d
    [[nodiscard]] static BITNET_ALWAYS_INLINE half factor(const std::byte* block) noexcept {
        half d;
        std::memcpy(&d, block, sizeof d);
        return d;
    }
    /// Column `i` of a row.
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        return widen(factor(block)) * static_cast<float>(static_cast<std::int8_t>(block[2 + i % block_columns]));
    }
};

/// Q6_K: 256 columns in 210 bytes. value = (d * scale) * (q - 32): 11 + 7 + 5 bits, no rounding.
/// Column c of a block: half h = c / 128, quarter k = c % 128 / 32, l = c % 32.
///
///     0    ql[128]    low four bits of q: byte 64h + 32(k % 2) + l, the low nibble for k < 2, the high one for k >= 2
///     128  qh[64]     high two bits: byte 32h + l, bits 2k and 2k + 1
///     192  scale[16]  int8, one for 16 columns
///     208  d          half
struct q6_k {
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 210;
    static constexpr std::size_t high_bits = 128;
    static constexpr std::size_t scales = 192;
    static constexpr std::size_t factor_at = 208;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* low;  ///< [16]
        const std::byte* high; ///< [16]
        int low_shift;         ///< 0 or 4
        int high_shift;        ///< 0, 2, 4 or 6
        half factor;           ///< d
        float scale;
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        const std::size_t c = i % block_columns / 16; // 0..15
        const std::size_t half_block = c / 8;
        const std::size_t quarter = c % 8 / 2;
        const std::size_t l = c % 2 * 16;
        half d;
        std::memcpy(&d, block + factor_at, sizeof d);
        return {block + 64 * half_block + 32 * (quarter % 2) + l,
                block + high_bits + 32 * half_block + l,
                quarter < 2 ? 0 : 4,
                static_cast<int>(2 * quarter),
                d,
                static_cast<float>(static_cast<std::int8_t>(block[scales + c]))};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int low = (static_cast<int>(all.low[i % 16]) >> all.low_shift) & 15;
        const int high = (static_cast<int>(all.high[i % 16]) >> all.high_shift) & 3;
        const float scale = widen(all.factor) * all.scale;
        return scale * static_cast<float>((low | high << 4) - 32);
    }
};

/// Q4_0: 32 columns in 18 bytes. value = d * (q - 8): 11 + 4 bits, no rounding.
///
///     0   d       half
///     2   qs[16]  byte j: the low nibble is column j, the high one column 16 + j
struct q4_0 {
    static constexpr std::size_t block_columns = 32;
    static constexpr std::size_t block_bytes = 18;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* codes; ///< [16]
        int shift;              ///< 0 or 4
        half factor;            ///< d
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        half d;
        std::memcpy(&d, block, sizeof d);
        return {block + sizeof d, i % block_columns < 16 ? 0 : 4, d};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int code = (static_cast<int>(all.codes[i % 16]) >> all.shift) & 15;
        return widen(all.factor) * static_cast<float>(code - 8);
    }
};

/// Q4_K: 256 columns in 144 bytes. value = (d * scale) * q - dmin * minimum: both products are exact (11 + 6 + 4 bits
/// and 11 + 6), so that the difference is rounded once, with an fma or without.
/// Column c of a block: group g = c / 32, l = c % 32.
///
///     0   d           half
///     2   dmin        half
///     4   scales[12]  six bits each: scale g < 4 in byte g, minimum g < 4 in byte 4 + g; of g >= 4 the low four bits
///                     in the nibbles of byte 4 + g (scale low, minimum high), the others on top of bytes g - 4 and g
///     16  qs[128]     byte 32(g / 2) + l, the low nibble for even g, the high one for odd g
struct q4_k {
    static constexpr std::size_t block_columns = 256;
    static constexpr std::size_t block_bytes = 144;
    static constexpr std::size_t scales = 4;
    static constexpr std::size_t codes = 16;

    /// Where sixteen columns lie, beginning at a column that is a multiple of 16.
    struct sixteen {
        const std::byte* codes; ///< [16]
        int shift;              ///< 0 or 4
        half factor;            ///< d
        half minimum_factor;    ///< dmin
        float scale;            ///< 0 to 63
        float minimum;          ///< 0 to 63
    };
    [[nodiscard]] static BITNET_ALWAYS_INLINE sixteen at(const std::byte* row, std::size_t i) noexcept {
        const std::byte* block = row + i / block_columns * block_bytes;
        const std::size_t g = i % block_columns / 32;
        // Four bytes at a time: gcc spills single bytes and reloads them as words, which waits for the store.
        const auto byte = [&](std::size_t k) {
            std::uint32_t word;
            std::memcpy(&word, block + scales + k / 4 * 4, sizeof word);
            return word >> (k % 4 * 8) & 255u;
        };
        const unsigned scale = g < 4 ? byte(g) & 63u : (byte(4 + g) & 15u) | (byte(g - 4) >> 6) << 4;
        const unsigned minimum = g < 4 ? byte(4 + g) & 63u : byte(4 + g) >> 4 | (byte(g) >> 6) << 4;
        half d;
        half dmin;
        std::memcpy(&d, block, sizeof d);
        std::memcpy(&dmin, block + sizeof d, sizeof dmin);
        return {block + codes + g / 2 * 32 + i % 32 / 16 * 16,
                g % 2 == 0 ? 0 : 4,
                d,
                dmin,
                static_cast<float>(scale),
                static_cast<float>(minimum)};
    }
    [[nodiscard]] static BITNET_ALWAYS_INLINE float value(const std::byte* row, std::size_t i) noexcept {
        const sixteen all = at(row, i);
        const int code = (static_cast<int>(all.codes[i % 16]) >> all.shift) & 15;
        const float scale = widen(all.factor) * all.scale;
        const float minimum = widen(all.minimum_factor) * all.minimum;
        const float product = scale * static_cast<float>(code);
        return product - minimum;
    }
};

/// An element type that lies in blocks: columns come in whole blocks.
template <class E>
concept block_format = requires {
    E::block_columns;
};

/// Bytes of `columns` elements in a row.
template <class E> [[nodiscard]] constexpr std::size_t row_bytes_of(std::size_t columns) noexcept {
    if constexpr (block_format<E>) {
        return columns * E::block_bytes / E::block_columns;
    } else {
        return columns * sizeof(E);
    }
}

/// Columns that a loop over a row of E takes at a time: a block, or sixteen.
template <class E> [[nodiscard]] constexpr std::size_t step_columns() noexcept {
    if constexpr (block_format<E>) {
        return E::block_columns;
    } else {
        return 16;
    }
}

/// Whether a block of E is widened before it meets the tokens, by the code that floats have. On the way, sixteen by
/// sixteen with their shifts and scales, the long blocks would be most of what there is to compile.
template <class E> [[nodiscard]] constexpr bool is_widened_first() noexcept { return step_columns<E>() > 32; }

/// Column `i` of a row of E, at any alignment.
template <class E> [[nodiscard]] BITNET_ALWAYS_INLINE float element_at(const std::byte* row, std::size_t i) noexcept {
    if constexpr (block_format<E>) {
        return E::value(row, i);
    } else {
        E element;
        std::memcpy(&element, row + i * sizeof(E), sizeof(E));
        return widen(element);
    }
}

} // namespace bitnet::inline BITNET_ABI::detail
BITNET_PRECISE_END

#endif
