// SPDX-License-Identifier: MIT
// The oracle of all ternary kernels: any layout, one weight at a time.
#ifndef BITNET_KERNEL_SCALAR_HPP
#define BITNET_KERNEL_SCALAR_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/simd/isa.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

template <ternary_layout Layout> struct kernel<isa::scalar, Layout> {
    using layout = Layout;

    static void multiply(const typename layout::view& w, std::size_t first, std::size_t count, const activation_view& x,
                         std::int32_t* y, std::size_t y_stride) noexcept {
        for (std::size_t t = 0; t < x.tokens; ++t) {
            for (std::size_t r = 0; r < count; ++r) {
                y[t * y_stride + r] = dot(w, first + r, x.data + t * x.stride);
            }
        }
    }

private:
    static std::int32_t dot(const typename layout::view& w, std::size_t row, const std::int8_t* x) noexcept {
        std::int32_t sum = 0;
        for (std::size_t c = 0; c < w.cols; ++c) {
            sum += (static_cast<std::int32_t>(layout::code(w, row, c)) - 1) * x[c];
        }
        return sum;
    }
};

} // namespace bitnet::inline BITNET_ABI::detail

#endif
