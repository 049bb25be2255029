// SPDX-License-Identifier: MIT
// Matrices and activations for tests of ternary kernels, and their products in 64 bits, independent of every layout.
#pragma once

#include "kernel/repacking.hpp"

#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <random>
#include <vector>

namespace bitnet_tests {

enum class filling {
    random,
    extreme, ///< weights +1, activations -128 and 127
    minus,   ///< weights -1, activations -128
    zero,    ///< activations
    outlier, ///< one activation of a row is -127, the rest 0
};

struct ternary_problem {
    std::size_t rows, cols, tokens;
    std::vector<std::uint8_t> codes; // [rows, cols], one code a byte
    std::vector<std::int8_t> x;      // [tokens, stride], zero after the columns
    std::vector<std::int32_t> sums;  // [tokens]
    std::size_t stride;

    ternary_problem(std::size_t row_count, std::size_t col_count, std::size_t token_count, filling how)
        : rows(row_count), cols(col_count), tokens(token_count),
          stride((col_count + bitnet::detail::activation_padding - 1) / bitnet::detail::activation_padding *
                 bitnet::detail::activation_padding) {
        std::mt19937 engine(static_cast<unsigned>(rows * 31 + cols * 7 + tokens));
        for (std::size_t i = 0; i < rows * cols; ++i) {
            const auto code = how == filling::extreme ? 2 : how == filling::minus ? 0 : engine() % 3;
            codes.push_back(static_cast<std::uint8_t>(code));
        }
        x.resize(tokens * stride);
        sums.resize(tokens);
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t c = 0; c < cols; ++c) {
                const int random = static_cast<int>(engine() % 256) - 128;
                const int value = how == filling::zero      ? 0
                                  : how == filling::extreme ? (c % 3 == 0 ? -128 : 127)
                                  : how == filling::minus   ? -128
                                  : how == filling::outlier ? (c == cols / 2 ? -127 : 0)
                                                            : random;
                x[t * stride + c] = static_cast<std::int8_t>(value);
                sums[t] += value;
            }
        }
    }

    /// y [tokens, rows]
    [[nodiscard]] std::vector<std::int32_t> expected() const {
        std::vector<std::int32_t> y;
        for (std::size_t t = 0; t < tokens; ++t) {
            for (std::size_t r = 0; r < rows; ++r) {
                std::int64_t sum = 0;
                for (std::size_t c = 0; c < cols; ++c) {
                    sum += (static_cast<int>(codes[r * cols + c]) - 1) * static_cast<int>(x[t * stride + c]);
                }
                y.push_back(static_cast<std::int32_t>(sum));
            }
        }
        return y;
    }

    /// The codes in layout `L`, made by pack_block alone.
    template <bitnet::detail::ternary_layout L> [[nodiscard]] std::vector<std::uint8_t> pack() const {
        const std::size_t across = bitnet::detail::blocks_across<L>(cols);
        std::vector<std::uint8_t> bytes(layout_bytes<L>(rows, cols).value());
        std::vector<std::uint8_t> block(L::block_rows * L::block_columns);
        for (std::size_t b = 0; b < bytes.size() / L::block_bytes; ++b) {
            for (std::size_t i = 0; i < block.size(); ++i) {
                const std::size_t r = b / across * L::block_rows + i / L::block_columns;
                const std::size_t c = b % across * L::block_columns + i % L::block_columns;
                block[i] = r < rows && c < cols ? codes[r * cols + c] : std::uint8_t{1};
            }
            L::pack_block(block.data(), L::block_columns, bytes.data() + b * L::block_bytes);
        }
        return bytes;
    }
};

/// Activations as a kernel wants them; borrows the problem.
template <bitnet::detail::ternary_kernel K> class arranged_activations {
public:
    explicit arranged_activations(const ternary_problem& p) : view_{p.x.data(), p.sums.data(), p.stride, p.tokens} {
        if constexpr (bitnet::detail::arranging_kernel<K>) {
            view_.arranged_stride = (K::arranged_bytes(p.cols) + 63) / 64 * 64;
            const std::size_t groups = (p.tokens + K::arranged_tokens - 1) / K::arranged_tokens;
            bytes_.resize(groups * view_.arranged_stride / 64);
            auto* out = reinterpret_cast<std::byte*>(bytes_.data());
            for (std::size_t g = 0; g < groups; ++g) {
                K::arrange(view_, g * K::arranged_tokens, p.cols, out + g * view_.arranged_stride);
            }
            view_.arranged = out;
        }
    }
    [[nodiscard]] const bitnet::detail::activation_view& view() const noexcept { return view_; }

private:
    struct alignas(64) line {
        std::byte bytes[64];
    };
    std::vector<line> bytes_;
    bitnet::detail::activation_view view_;
};

} // namespace bitnet_tests
