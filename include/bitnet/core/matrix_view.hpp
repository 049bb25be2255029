// SPDX-License-Identifier: MIT
// matrix_view<T>: rows of equal length in memory that somebody else owns.
#ifndef BITNET_CORE_MATRIX_VIEW_HPP
#define BITNET_CORE_MATRIX_VIEW_HPP

#include <bitnet/core/config.hpp>

#include <cassert>
#include <cstddef>
#include <span>

namespace bitnet::inline BITNET_ABI {

/// A [rows, cols] matrix, row-major, `stride` elements from row to row. Borrows its memory.
template <class T> struct matrix_view {
    T* data = nullptr;
    std::size_t rows = 0;
    std::size_t cols = 0;
    std::size_t stride = 0; ///< elements; >= cols

    matrix_view() noexcept = default;
    matrix_view(T* first, std::size_t row_count, std::size_t col_count) noexcept
        : data(first), rows(row_count), cols(col_count), stride(col_count) {}
    matrix_view(T* first, std::size_t row_count, std::size_t col_count, std::size_t row_stride) noexcept
        : data(first), rows(row_count), cols(col_count), stride(row_stride) {}
    operator matrix_view<const T>() const noexcept { return {data, rows, cols, stride}; }

    [[nodiscard]] std::span<T> row(std::size_t r) const noexcept {
        return assert(r < rows), std::span<T>{data + r * stride, cols};
    }
};

} // namespace bitnet::inline BITNET_ABI

#endif
