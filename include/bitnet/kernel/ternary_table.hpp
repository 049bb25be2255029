// SPDX-License-Identifier: MIT
// ternary_table: the ternary matrix products of one instruction set on one layout, as data.
#ifndef BITNET_KERNEL_TERNARY_TABLE_HPP
#define BITNET_KERNEL_TERNARY_TABLE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/layout_table.hpp>
#include <bitnet/kernel/ternary_layout.hpp>

#include <cstddef>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// A ternary_kernel, and an arranging_kernel's arrangement of activations.
struct ternary_table {
    const layout_table* layout;
    /// y[t * y_stride + r] = sum over c of w[first + r, c] * x[t, c] for r < count, exact. See ternary_kernel.
    void (*multiply)(const detail::ternary_view& w, std::size_t first, std::size_t count,
                     const detail::activation_view& x, std::int32_t* y, std::size_t y_stride) noexcept;
    /// See arranging_kernel; null if the kernel takes activations as they are.
    void (*arrange)(const detail::activation_view& x, std::size_t first_token, std::size_t cols,
                    std::byte* out) noexcept;
    std::size_t (*arranged_bytes)(std::size_t cols) noexcept;
    std::size_t arranged_tokens; ///< that are arranged together; 1 without arrange

    /// Bytes from one group of arranged tokens to the next: whole cache lines; 0 without arrange.
    [[nodiscard]] std::size_t arranged_stride(std::size_t cols) const noexcept {
        return arrange != nullptr ? (arranged_bytes(cols) + 63) / 64 * 64 : 0;
    }
};

namespace detail {

template <ternary_kernel K> [[nodiscard]] constexpr ternary_table make_ternary_table() noexcept {
    ternary_table made{&layout_table_of<typename K::layout>, &K::multiply, nullptr, nullptr, 1};
    if constexpr (arranging_kernel<K>) {
        made.arrange = &K::arrange;
        made.arranged_bytes = [](std::size_t cols) noexcept -> std::size_t { return K::arranged_bytes(cols); };
        made.arranged_tokens = K::arranged_tokens;
    }
    return made;
}

template <ternary_kernel K> inline constexpr ternary_table ternary_table_of = make_ternary_table<K>();

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
