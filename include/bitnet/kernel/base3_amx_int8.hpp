// SPDX-License-Identifier: MIT
// The base3 layout (five weights in a byte) for AMX. Empty on other architectures.
#ifndef BITNET_KERNEL_BASE3_AMX_INT8_HPP
#define BITNET_KERNEL_BASE3_AMX_INT8_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_avx2.hpp>
#include <bitnet/kernel/base3_avx512_vnni.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/i2s_amx_int8.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/amx_tiles.hpp>
#include <bitnet/simd/isa.hpp>

#if BITNET_X86_64
namespace bitnet::inline BITNET_ABI::detail {

/// Few tokens as AVX-512 VNNI multiplies them, many by the tiles of I2_S.
/// \tparam Tiles as in i2s_tile_kernel
template <class Tiles>
struct base3_tile_kernel
    : arranged_by_way_of_i2s<kernel<isa::avx512_vnni, base3>, i2s_tile_kernel<Tiles>, base3_unpacker_avx2> {};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, base3> : base3_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, base3> : kernel<isa::avx512_vnni, base3> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
