// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for Arm's int8 matrix products. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_NEON_I8MM_HPP
#define BITNET_KERNEL_BASE3_NEON_I8MM_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_neon.hpp>
#include <bitnet/kernel/base3_neon_dotprod.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_neon_i8mm.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#if BITNET_ARM64
namespace bitnet::inline BITNET_ABI::detail {

/// Few tokens by dot products, many by the matrix products of I2_S.
template <>
struct kernel<isa::neon_i8mm, base3>
    : arranged_by_way_of_i2s<kernel<isa::neon_dotprod, base3>, kernel<isa::neon_i8mm, i2s>, base3_unpacker_neon> {};

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
