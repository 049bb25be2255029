// SPDX-License-Identifier: MIT
// block_table: the products of one instruction set with scaled_blocks, as data.
#ifndef BITNET_KERNEL_BLOCK_TABLE_HPP
#define BITNET_KERNEL_BLOCK_TABLE_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/block_activations.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/scaled_blocks.hpp>

#include <cstddef>

namespace bitnet::inline BITNET_ABI {

/// A block_kernel: see detail::scaled_block_kernel for what its functions do.
struct block_table {
    void (*multiply)(const detail::scaled_blocks& w, std::size_t first, std::size_t count,
                     const detail::block_activations& x, float* y, std::size_t y_stride) noexcept;
    void (*quantize)(const float* x, std::size_t n, std::size_t per, const detail::block_row& out) noexcept;
};

namespace detail {

template <scaled_block_kernel K> inline constexpr block_table block_table_of{&K::multiply, &K::quantize};

} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
