// SPDX-License-Identifier: MIT
// The dense layout (five weights in a byte) for AMX. Empty on other architectures.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/amx_tiles.hpp>
#include <bitnet/kernel/by_way_of_i2s.hpp>
#include <bitnet/kernel/dense.hpp>
#include <bitnet/kernel/dense_avx2.hpp>
#include <bitnet/kernel/dense_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_amx_int8.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/isa.hpp>

#if BITNET_X86_64
namespace bitnet::inline BITNET_ABI {

/// Few tokens as AVX-512 VNNI multiplies them, many by the tiles of I2_S.
/// \tparam Tiles as in i2s_tile_kernel
template <class Tiles>
struct dense_tile_kernel
    : arranged_by_way_of_i2s<kernel<isa::avx512_vnni, dense>, i2s_tile_kernel<Tiles>, dense_unpacker_avx2> {};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, dense> : dense_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, dense> : kernel<isa::avx512_vnni, dense> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI
#endif
