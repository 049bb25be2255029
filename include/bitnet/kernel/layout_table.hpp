// SPDX-License-Identifier: MIT
// layout_table: a ternary layout as data, for code that is compiled once for all of them.
#ifndef BITNET_KERNEL_LAYOUT_TABLE_HPP
#define BITNET_KERNEL_LAYOUT_TABLE_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What a ternary_layout says of itself. Its functions take `blocks` blocks that are side by side: whole rows, so that
/// a call costs nothing against its work.
struct layout_table {
    std::string_view name;
    std::size_t block_rows;
    std::size_t block_columns;
    std::size_t block_bytes;
    bool (*admits)(std::size_t rows, std::size_t cols) noexcept;
    /// codes [block_rows, blocks * block_columns], `stride` bytes from row to row -> blocks
    void (*pack)(const std::uint8_t* codes, std::size_t stride, std::size_t blocks, std::uint8_t* out) noexcept;
    void (*unpack)(const std::uint8_t* in, std::size_t blocks, std::uint8_t* codes, std::size_t stride) noexcept;
    /// Whether the blocks hold nothing but codes 0, 1 and 2.
    bool (*is_ternary)(const std::uint8_t* in, std::size_t blocks) noexcept;

    /// How many blocks are side by side in a row of `cols` columns, and one below the other in `rows` rows.
    [[nodiscard]] constexpr std::size_t blocks_across(std::size_t cols) const noexcept {
        return cols / block_columns + (cols % block_columns != 0 ? 1 : 0);
    }
    [[nodiscard]] constexpr std::size_t blocks_down(std::size_t rows) const noexcept {
        return rows / block_rows + (rows % block_rows != 0 ? 1 : 0);
    }
    /// Bytes of a whole matrix; nullopt on overflow.
    [[nodiscard]] constexpr std::optional<std::uint64_t> bytes(std::size_t rows, std::size_t cols) const noexcept {
        const auto blocks = detail::checked_multiply(blocks_down(rows), blocks_across(cols));
        return blocks ? detail::checked_multiply(*blocks, block_bytes) : blocks;
    }
};

namespace detail {

template <ternary_layout L>
inline constexpr layout_table layout_table_of{
    L::name,
    L::block_rows,
    L::block_columns,
    L::block_bytes,
    [](std::size_t rows, std::size_t cols) noexcept { return L::admits(rows, cols); },
    [](const std::uint8_t* codes, std::size_t stride, std::size_t blocks, std::uint8_t* out) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            L::pack_block(codes + b * L::block_columns, stride, out + b * L::block_bytes);
        }
    },
    [](const std::uint8_t* in, std::size_t blocks, std::uint8_t* codes, std::size_t stride) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            L::unpack_block(in + b * L::block_bytes, codes + b * L::block_columns, stride);
        }
    },
    [](const std::uint8_t* in, std::size_t blocks) noexcept {
        for (std::size_t b = 0; b < blocks; ++b) {
            if (!L::is_ternary(in + b * L::block_bytes)) {
                return false;
            }
        }
        return true;
    }};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
