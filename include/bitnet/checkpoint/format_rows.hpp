// SPDX-License-Identifier: MIT
// format_rows<F>: the rows of a tensor in a ternary row format, whose scales must all be one.
#ifndef BITNET_CHECKPOINT_FORMAT_ROWS_HPP
#define BITNET_CHECKPOINT_FORMAT_ROWS_HPP

#include <bitnet/core/checked.hpp>
#include <bitnet/core/config.hpp>
#include <bitnet/core/result.hpp>
#include <bitnet/io/gguf_reader.hpp>
#include <bitnet/io/quoted_name.hpp>
#include <bitnet/kernel/row_format.hpp>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace bitnet::inline BITNET_ABI::detail {

/// "0.012345 (bits 1011129254)": two floats that differ look different.
[[nodiscard]] inline std::string scale_text(float scale) {
    return std::to_string(scale) + " (bits " + std::to_string(std::bit_cast<std::uint32_t>(scale)) + ")";
}

/// Rows in format `F`. Formats that repeat the scale for every block or row can only be read where it is the same
/// everywhere, as it is in a model that was trained ternary: one product of integers serves a whole row of the matrix.
/// Segments of scale 0 hold zeros. A tensor of nothing but such segments has the scale 1.
/// Borrows the tensor's bytes.
template <ternary_row_format F> class format_rows {
public:
    /// Reads scales up to the first one that is not 0. \pre the tensor is [cols, rows], its bytes as many as `F` needs
    /// \return errc::bad_scale where that scale is not finite or below zero.
    [[nodiscard]] static result<format_rows> open(const gguf_tensor& tensor, std::string_view file) {
        format_rows made(tensor);
        for (std::size_t row = 0; row < made.rows_; ++row) {
            for (std::size_t segment = 0; segment < made.segments(); ++segment) {
                const float scale = made.scale_of(row, segment);
                if (is_zero(scale)) {
                    continue;
                }
                if (!is_ternary_scale(scale)) {
                    return error{errc::bad_scale, std::string(file) + ": tensor " + quoted_name(tensor.name) +
                                                      ": row " + std::to_string(row) + " has the " +
                                                      std::string(F::name) + " scale " + scale_text(scale) +
                                                      ", it must be finite and not below zero"};
                }
                made.scale_ = scale;
                return made;
            }
        }
        return made;
    }

    [[nodiscard]] float scale() const noexcept { return scale_; }

    [[nodiscard]] bool read(std::size_t row, std::uint8_t* codes) const noexcept {
        bool good = F::unpack_row(data_, row, cols_, codes);
        for (std::size_t segment = 0; segment < segments(); ++segment) {
            const float scale = scale_of(row, segment);
            if (is_zero(scale)) {
                std::memset(codes + segment * F::segment_columns(cols_), 1, F::segment_columns(cols_));
            } else {
                good = good && same_bits(scale, scale_);
            }
        }
        return good;
    }

    [[nodiscard]] error fault(std::size_t row) const {
        for (std::size_t segment = 0; segment < segments(); ++segment) {
            const float scale = scale_of(row, segment);
            if (!is_zero(scale) && !same_bits(scale, scale_)) {
                return {errc::bad_scale, "has at column " + std::to_string(segment * F::segment_columns(cols_)) +
                                             " the " + std::string(F::name) + " scale " + scale_text(scale) +
                                             ", and those before it are " + scale_text(scale_) +
                                             ": a ternary tensor has one scale"};
            }
        }
        return {errc::bad_code, "holds the code 3; only 0, 1 and 2 are ternary"};
    }

private:
    explicit format_rows(const gguf_tensor& tensor) noexcept
        : data_(reinterpret_cast<const std::uint8_t*>(tensor.bytes.data())), rows_(to_size(tensor.dims[1])),
          cols_(to_size(tensor.dims[0])) {}

    [[nodiscard]] std::size_t segments() const noexcept { return cols_ / F::segment_columns(cols_); }
    [[nodiscard]] float scale_of(std::size_t row, std::size_t segment) const noexcept {
        return F::scale(data_, row, cols_, segment);
    }
    [[nodiscard]] static bool is_zero(float scale) noexcept {
        return (std::bit_cast<std::uint32_t>(scale) & 0x7fffffffu) == 0;
    }
    [[nodiscard]] static bool same_bits(float a, float b) noexcept {
        return std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b);
    }

    const std::uint8_t* data_;
    std::size_t rows_;
    std::size_t cols_;
    float scale_ = 1.0f;
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
