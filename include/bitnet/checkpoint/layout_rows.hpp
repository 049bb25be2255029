// SPDX-License-Identifier: MIT
// layout_rows: the rows of a matrix in a layout of this library.
#ifndef BITNET_CHECKPOINT_LAYOUT_ROWS_HPP
#define BITNET_CHECKPOINT_LAYOUT_ROWS_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cassert>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace bitnet::inline BITNET_ABI::detail {

/// Borrows the codes.
class layout_rows {
public:
    layout_rows(const layout_table& layout, const ternary_view& codes, float scale) noexcept
        : layout_(&layout), codes_(codes), scale_(scale) {
        assert(layout.block_rows * layout.block_columns <= most_codes);
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }
    [[nodiscard]] std::size_t group_rows() const noexcept { return layout_->block_rows; }

    /// \pre `stride` holds whole blocks
    [[nodiscard]] bool read_group(std::size_t first, std::uint8_t* codes, std::size_t stride) const noexcept {
        const std::size_t across = layout_->blocks_across(codes_.cols);
        const std::uint8_t* blocks = block(first, 0);
        layout_->unpack(blocks, across, codes, stride);
        return layout_->is_ternary(blocks, across);
    }

    /// One row, block by block.
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* out) const noexcept {
        std::uint8_t unpacked[most_codes];
        unsigned largest = 0;
        const std::size_t columns = layout_->block_columns;
        for (std::size_t col = 0; col < codes_.cols; col += columns) {
            layout_->unpack(block(row, col / columns), 1, unpacked, columns);
            const std::uint8_t* of_row = unpacked + row % layout_->block_rows * columns;
            const std::size_t count = codes_.cols - col < columns ? codes_.cols - col : columns;
            std::memcpy(out + col, of_row, count);
            for (std::size_t c = 0; c < count; ++c) {
                largest = of_row[c] > largest ? of_row[c] : largest;
            }
        }
        return largest <= 2;
    }

private:
    static constexpr std::size_t most_codes = 1024; ///< of a block; lookup3 has 32 * 24

    [[nodiscard]] const std::uint8_t* block(std::size_t row, std::size_t index) const noexcept {
        const std::size_t across = layout_->blocks_across(codes_.cols);
        return codes_.data + (row / layout_->block_rows * across + index) * layout_->block_bytes;
    }

    const layout_table* layout_;
    ternary_view codes_;
    float scale_;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
