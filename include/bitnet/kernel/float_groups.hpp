// SPDX-License-Identifier: MIT
// float_groups<E>: rows of floats that are -d, 0 or +d in each 128 columns, as unpacked checkpoints have ternary
// weights.
#ifndef BITNET_KERNEL_FLOAT_GROUPS_HPP
#define BITNET_KERNEL_FLOAT_GROUPS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI::detail {

/// A row format of elements E, half or bfloat16: the scale of 128 columns is the magnitude that their weights have
/// besides 0, which a half has to hold exactly.
template <class E> struct float_groups {
    static constexpr std::string_view name = std::is_same_v<E, half> ? "F16_G128" : "BF16_G128";
    static constexpr std::string_view fault = "has weights that are not -d, 0 and +d for one half d in 128 columns";
    static constexpr std::size_t block_columns = 128;
    static constexpr std::size_t block_bytes = block_columns * sizeof(E);

    [[nodiscard]] static constexpr std::size_t row_bytes(std::size_t cols) noexcept { return cols * sizeof(E); }
    [[nodiscard]] static constexpr std::size_t segment_columns(std::size_t) noexcept { return block_columns; }

    /// 0 where all weights are.
    [[nodiscard]] static float scale(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                     std::size_t segment) noexcept {
        return value_of(magnitude_of(data + row * row_bytes(cols) + segment * block_bytes));
    }

    [[nodiscard]] static bool unpack_row(const std::uint8_t* data, std::size_t row, std::size_t cols,
                                         std::uint8_t* codes) noexcept {
        const std::uint8_t* block = data + row * row_bytes(cols);
        bool good = true;
        for (std::size_t col = 0; col < cols; col += block_columns, block += block_bytes) {
            const unsigned only = magnitude_of(block);
            const float d = value_of(only);
            good = good && std::bit_cast<std::uint32_t>(widen(narrow<half>(d))) == std::bit_cast<std::uint32_t>(d);
            for (std::size_t j = 0; j < block_columns; ++j) {
                const unsigned bits = bits_at(block, j);
                const unsigned magnitude = bits & 0x7fffu;
                good = good && (magnitude == 0 || magnitude == only);
                codes[col + j] = static_cast<std::uint8_t>(magnitude == 0 ? 1 : (bits & 0x8000u) != 0 ? 0 : 2);
            }
        }
        return good;
    }

private:
    [[nodiscard]] static unsigned bits_at(const std::uint8_t* block, std::size_t i) noexcept {
        std::uint16_t bits;
        std::memcpy(&bits, block + i * sizeof bits, sizeof bits);
        return bits;
    }
    [[nodiscard]] static unsigned magnitude_of(const std::uint8_t* block) noexcept {
        unsigned magnitude = 0;
        for (std::size_t i = 0; i < block_columns && magnitude == 0; ++i) {
            magnitude = bits_at(block, i) & 0x7fffu;
        }
        return magnitude;
    }
    [[nodiscard]] static float value_of(unsigned bits) noexcept {
        return widen(std::bit_cast<E>(static_cast<std::uint16_t>(bits)));
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
