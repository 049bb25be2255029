// SPDX-License-Identifier: MIT
// block_rows: the rows of a ternary tensor with a scale for each block, as codes with their scales, or as floats.
#ifndef BITNET_CHECKPOINT_BLOCK_ROWS_HPP
#define BITNET_CHECKPOINT_BLOCK_ROWS_HPP

#include <bitnet/checkpoint/float_tensor.hpp>
#include <bitnet/checkpoint/scaled_rows.hpp>
#include <bitnet/core/buffer.hpp>
#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/float_matrix.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/gguf_types.hpp>
#include <bitnet/kernel/q2_0.hpp>
#include <bitnet/thread/pool.hpp>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// Calls f.operator()<F>() for the row format of a type. \pre has_block_scales(type)
template <class Function> auto with_block_format(tensor_type type, Function&& f) {
    switch (type) {
    case tensor_type::q2_0:
    case tensor_type::pq2_0:
        return f.template operator()<q2_0>();
    case tensor_type::q2_0_g64:
        return f.template operator()<q2_0_g64>();
    default:
        return with_scaled_format(type, f);
    }
}

/// Borrows the tensor. Several threads may read at a time.
class block_rows {
public:
    /// \pre has_block_scales(tensor.type), and the tensor is [cols, rows]
    explicit block_rows(const gguf_tensor& tensor) noexcept
        : tensor_(&tensor), cols_(to_size(tensor.dims[0])),
          block_columns_(
              with_block_format(tensor.type, []<class F>() noexcept -> std::size_t { return F::block_columns; })) {}

    /// Columns that share a scale.
    [[nodiscard]] std::size_t block_columns() const noexcept { return block_columns_; }

    /// The codes [cols] of a row; false if one of them is 3.
    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        return with_block_format(tensor_->type,
                                 [&]<class F>() noexcept { return F::unpack_row(data(), row, cols_, codes); });
    }
    /// The scale of the block that a column is in.
    [[nodiscard]] half scale(std::size_t row, std::size_t col) const noexcept {
        return with_block_format(tensor_->type, [&]<class F>() noexcept {
            return narrow<half>(F::scale(data(), row, cols_, col / F::block_columns));
        });
    }

    /// The weights [cols] of a row: (code - 1) * scale, exactly; false as for read().
    [[nodiscard]] bool widen_row(std::size_t row, float* out) const noexcept {
        return with_block_format(tensor_->type, [&]<class F>() noexcept {
            const std::uint8_t* block = data() + row * F::row_bytes(cols_);
            std::uint8_t codes[F::block_columns];
            bool good = true;
            for (std::size_t col = 0; col < cols_; col += F::block_columns, block += F::block_bytes) {
                good = F::unpack_row(block, 0, F::block_columns, codes) && good;
                const float d = F::scale(block, 0, F::block_columns, 0);
                for (std::size_t j = 0; j < F::block_columns; ++j) {
                    out[col + j] = static_cast<float>(static_cast<int>(codes[j]) - 1) * d;
                }
            }
            return good;
        });
    }

    [[nodiscard]] bool is_ternary_block(std::size_t row, std::size_t col) const noexcept {
        return with_block_format(tensor_->type, [&]<class F>() noexcept {
            std::uint8_t codes[F::block_columns];
            return F::unpack_row(data() + row * F::row_bytes(cols_) + col / F::block_columns * F::block_bytes, 0,
                                 F::block_columns, codes);
        });
    }

    /// Whether a block of `columns` columns from `col` on can have one scale: that of its first column is a scale, and
    /// the others are the same bits.
    [[nodiscard]] bool has_one_scale(std::size_t row, std::size_t col, std::size_t columns) const noexcept {
        const half first = scale(row, col);
        bool same = is_block_scale(first);
        for (std::size_t i = block_columns_; i < columns; i += block_columns_) {
            same = same && scale(row, col + i).bits == first.bits;
        }
        return same;
    }

    /// Why a row cannot be written in blocks of `columns` columns of `format`: "row 17 of its 2560 rows has ...".
    /// \pre it cannot
    [[nodiscard]] error fault(std::size_t row, std::size_t columns, std::string_view format,
                              std::string_view file) const {
        for (std::size_t col = 0; col < cols_; col += block_columns_) {
            const half d = scale(row, col);
            const half first = scale(row, col / columns * columns);
            if (!is_block_scale(d)) {
                return scaled_row_fault(*tensor_, file, row, errc::bad_scale,
                                        bad_scale_text(col, name_of(tensor_->type), widen(d)));
            }
            if (d.bits != first.bits) {
                return scaled_row_fault(
                    *tensor_, file, row, errc::bad_scale,
                    sentence({"has at column ", col, " the scale ", scale_text(widen(d)), ", and at column ",
                              col / columns * columns, " ", scale_text(widen(first)), ": ", format, " has one for ",
                              columns, " columns"}));
            }
        }
        return scaled_row_fault(*tensor_, file, row, errc::bad_code,
                                with_block_format(tensor_->type, []<class F>() noexcept { return code_fault<F>(); }));
    }

    /// Whether all codes and scales of the tensor are ternary. Reads it once. \return the fault of the first row where
    /// not
    [[nodiscard]] result<void> find_fault(pool_ref pool, std::string_view file) const {
        const std::size_t rows = to_size(tensor_->dims[1]);
        auto codes = buffer<std::uint8_t>::allocate_uninitialized(cols_ * pool.threads(), "rows of ternary codes");
        if (!codes) {
            return failed(codes);
        }
        const std::size_t bad = first_bad_row(pool, rows, [&](std::size_t row, std::size_t slot) noexcept {
            bool good = read(row, codes->data() + slot * cols_);
            for (std::size_t col = 0; col < cols_; col += block_columns_) {
                good = good && is_block_scale(scale(row, col));
            }
            return good;
        });
        return bad == rows ? result<void>{} : fault(bad, block_columns_, name_of(tensor_->type), file);
    }

private:
    [[nodiscard]] const std::uint8_t* data() const noexcept {
        return reinterpret_cast<const std::uint8_t*>(tensor_->bytes.data());
    }

    const gguf_tensor* tensor_;
    std::size_t cols_;
    std::size_t block_columns_;
};

/// The type of F16 or BF16 weights that are ternary with a scale for each 128 columns, as its first 64 rows tell: each
/// 128 columns are -d, 0 and +d, and not all for one d. Otherwise its own type.
[[nodiscard]] inline tensor_type grouped_type(const gguf_tensor& tensor) noexcept {
    gguf_tensor grouped = tensor;
    grouped.type = tensor.type == tensor_type::f16    ? tensor_type::f16_g128
                   : tensor.type == tensor_type::bf16 ? tensor_type::bf16_g128
                                                      : tensor.type;
    if (grouped.type == tensor.type || tensor.rank != 2 || tensor.dims[0] % 128 != 0) {
        return tensor.type;
    }
    const block_rows rows(grouped);
    unsigned first = 0; // scale that is not 0
    bool several = false;
    for (std::size_t row = 0; row < tensor.dims[1] && row < 64; ++row) {
        for (std::size_t col = 0; col < tensor.dims[0]; col += 128) {
            if (!rows.is_ternary_block(row, col)) {
                return tensor.type;
            }
            const unsigned scale = rows.scale(row, col).bits;
            first = first == 0 ? scale : first;
            several = several || (scale != 0 && scale != first);
        }
    }
    return several ? grouped.type : tensor.type;
}

/// A row of an embedding or a head as floats. \pre float_element_of(tensor.type) or has_block_scales(tensor.type)
inline void widen_row(const gguf_tensor& tensor, std::size_t row, float* out) noexcept {
    if (has_block_scales(tensor.type)) {
        static_cast<void>(block_rows(tensor).widen_row(row, out));
        return;
    }
    const auto cols = to_size(tensor.dims[0]);
    with_element(*float_element_of(tensor.type), [&]<class E>() {
        const std::byte* elements = tensor.bytes.data() + row * row_bytes_of<E>(cols);
        for (std::size_t c = 0; c < cols; ++c) {
            out[c] = element_at<E>(elements, c);
        }
    });
}

} // namespace bitnet::inline BITNET_ABI::detail

#endif
