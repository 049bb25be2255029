// SPDX-License-Identifier: MIT
// amx_tiles: the tile registers of AMX as the matrix kernels use them. Empty on other architectures.
#ifndef BITNET_SIMD_AMX_TILES_HPP
#define BITNET_SIMD_AMX_TILES_HPP

#include <bitnet/core/config.hpp>

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64

namespace bitnet::inline BITNET_ABI::detail {

/// What ldtilecfg reads: 64 bytes, palette 1. Intel SDM volume 2, LDTILECFG.
struct alignas(64) tile_configuration {
    std::uint8_t palette = 1;
    std::uint8_t start_row = 0;
    std::uint8_t reserved[14] = {};
    std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64}; ///< of tiles 0..7; the palette has no more
    std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(tile_configuration) == 64);

#if BITNET_AMX_ASSEMBLER
/// The hardware's tiles. Written as assembly: the intrinsics of gcc and clang take literal tile numbers only.
/// \pre isa::amx_int8::available(). State belongs to the thread: configure() before, release() after use.
struct amx_tiles {
    static void configure(const tile_configuration& c) noexcept { __asm__ volatile("ldtilecfg %0" ::"m"(c)); }
    static void release() noexcept { __asm__ volatile("tilerelease" ::); }

    template <int Tile> static BITNET_ALWAYS_INLINE void zero() noexcept {
        __asm__ volatile("tilezero %%tmm%c0" ::"i"(Tile));
    }
    template <int Tile> static BITNET_ALWAYS_INLINE void load(const void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tileloadd (%0,%1,1), %%tmm%c2|tileloadd tmm%c2, [%0+%1*1]}" ::"r"(p), "r"(stride), "i"(Tile)
                         : "memory");
    }
    /// load() of what is used once before it leaves the first level of cache.
    template <int Tile> static BITNET_ALWAYS_INLINE void load_streamed(const void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tileloaddt1 (%0,%1,1), %%tmm%c2|tileloaddt1 tmm%c2, [%0+%1*1]}" ::"r"(p), "r"(stride),
                         "i"(Tile)
                         : "memory");
    }
    template <int Tile> static BITNET_ALWAYS_INLINE void store(void* p, std::size_t stride) noexcept {
        __asm__ volatile("{tilestored %%tmm%c2, (%0,%1,1)|tilestored [%0+%1*1], tmm%c2}" ::"r"(p), "r"(stride),
                         "i"(Tile)
                         : "memory");
    }
    /// Sum += Values (signed bytes) * Codes (unsigned bytes), four by four.
    template <int Sum, int Values, int Codes> static BITNET_ALWAYS_INLINE void multiply() noexcept {
        __asm__ volatile("{tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbsud tmm%c0, tmm%c1, tmm%c2}" ::"i"(Sum),
                         "i"(Values), "i"(Codes));
    }
    /// The same with Codes as the left operand, [rows][64 columns], and Values as the right one.
    template <int Sum, int Codes, int Values> static BITNET_ALWAYS_INLINE void multiply_codes() noexcept {
        __asm__ volatile("{tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0|tdpbusd tmm%c0, tmm%c1, tmm%c2}" ::"i"(Sum), "i"(Codes),
                         "i"(Values));
    }
};
#endif

} // namespace bitnet::inline BITNET_ABI::detail
#endif

#endif
