// SPDX-License-Identifier: MIT
// The dense layout (five weights in a byte) for Arm's int8 matrix products. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/dense.hpp>
#include <bitnet/kernel/dense_neon.hpp>
#include <bitnet/kernel/dense_neon_dotprod.hpp>
#include <bitnet/kernel/i2s_neon_i8mm.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_ARM64
namespace bitnet::inline BITNET_ABI {

/// Few tokens by dot products, many by way of the matrix products of I2_S, for which activations are arranged.
template <> struct kernel<isa::neon_i8mm, dense> {
    using layout = dense;
    using i2s_kernel = kernel<isa::neon_i8mm, i2s>;
    using many_tokens = by_way_of_i2s<i2s_kernel, dense, dense_unpacker_neon>;
    static constexpr std::size_t arranged_tokens = i2s_kernel::arranged_tokens;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept {
        return i2s_kernel::arranged_bytes(many_tokens::padded(cols));
    }
    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        i2s_kernel::arrange(x, first_token, many_tokens::padded(cols), out);
    }

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        constexpr std::size_t few_tokens = 2;
        if (x.tokens <= few_tokens) {
            kernel<isa::neon_dotprod, dense>::rows(w, first, count, x, y, y_stride);
        } else {
            many_tokens::rows(w, first, count, x, y, y_stride);
        }
    }
};

} // namespace bitnet::inline BITNET_ABI
#endif
