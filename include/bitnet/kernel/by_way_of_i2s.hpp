// SPDX-License-Identifier: MIT
// by_way_of_i2s: matrix products with many tokens for layouts that are slow to unpack, through the I2_S kernels.
#ifndef BITNET_KERNEL_BY_WAY_OF_I2S_HPP
#define BITNET_KERNEL_BY_WAY_OF_I2S_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Unpacks rows to I2_S, a block of rows at a time on the stack, and multiplies them by I2sKernel. Unpacking costs as
/// much as a few tokens do. The I2_S rows are as long as padded activations, whose zeros are multiplied by the filling.
/// \tparam Rows unpacks: Rows::unpack(w, first, count, out, bytes from row to row of out)
template <class I2sKernel, class Layout, class Rows> struct by_way_of_i2s {
    /// Columns of the I2_S rows; I2sKernel::arrange, if there is one, must be given so many, too.
    [[nodiscard]] static constexpr std::size_t padded(std::size_t cols) noexcept {
        return (cols + activation_padding - 1) / activation_padding * activation_padding;
    }

    static void multiply(const typename Layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        alignas(64) std::uint8_t unpacked[buffer_bytes];
        const std::size_t row_bytes = padded(w.cols) / 4;
        const std::size_t fitting = buffer_bytes / row_bytes;
        const std::size_t most = fitting < most_rows ? fitting : most_rows;
        for (std::size_t r = 0; r < count; r += most) {
            const std::size_t block_rows = count - r < most ? count - r : most;
            Rows::unpack(w, first + r, block_rows, unpacked, row_bytes);
            I2sKernel::multiply({unpacked, block_rows, padded(w.cols)}, 0, block_rows, x, y + r, y_stride);
        }
    }

private:
    static constexpr std::size_t most_rows = 32;
    /// 32 rows of up to 9216 columns, and one of the 2^18 that layouts admit.
    static constexpr std::size_t buffer_bytes = std::size_t{72} * 1024;
};

/// A kernel for which activations are arranged as for I2sKernel, which multiplies more than FewKernel::few_tokens
/// tokens; FewKernel multiplies fewer.
/// \tparam Rows as in by_way_of_i2s
template <class FewKernel, class I2sKernel, class Rows> struct arranged_by_way_of_i2s {
    using layout = typename FewKernel::layout;
    using many_tokens = by_way_of_i2s<I2sKernel, layout, Rows>;
    static constexpr std::size_t arranged_tokens = I2sKernel::arranged_tokens;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept {
        return I2sKernel::arranged_bytes(many_tokens::padded(cols));
    }
    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        I2sKernel::arrange(x, first_token, many_tokens::padded(cols), out);
    }

    static void multiply(const typename layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        if (x.tokens <= FewKernel::few_tokens) {
            FewKernel::multiply(w, first, count, x, y, y_stride);
        } else {
            many_tokens::multiply(w, first, count, x, y, y_stride);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
