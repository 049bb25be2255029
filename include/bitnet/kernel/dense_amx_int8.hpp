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

#include <cstddef>
#include <cstdint>

#if BITNET_X86_64
namespace bitnet::inline BITNET_ABI {

/// Few tokens as AVX-512 VNNI takes them, many by way of the tiles of I2_S, for which activations are arranged.
/// \tparam Tiles as in i2s_tile_kernel
template <class Tiles> struct dense_tile_kernel {
    using layout = dense;
    using i2s_kernel = i2s_tile_kernel<Tiles>;
    using many_tokens = by_way_of_i2s<i2s_kernel, dense, dense_unpacker_avx2>;
    static constexpr std::size_t arranged_tokens = i2s_kernel::arranged_tokens;

    [[nodiscard]] static std::size_t arranged_bytes(std::size_t cols) noexcept {
        return i2s_kernel::arranged_bytes(many_tokens::padded(cols));
    }
    static void arrange(const activation_view& x, std::size_t first_token, std::size_t cols, std::byte* out) noexcept {
        i2s_kernel::arrange(x, first_token, many_tokens::padded(cols), out);
    }

    static void rows(const dense::view& w, std::size_t first, std::size_t count, const activation_view& x,
                     std::int32_t* y, std::size_t y_stride) noexcept {
        constexpr std::size_t few_tokens = 3;
        if (x.tokens <= few_tokens) {
            kernel<isa::avx512_vnni, dense>::rows(w, first, count, x, y, y_stride);
        } else {
            many_tokens::rows(w, first, count, x, y, y_stride);
        }
    }
};

#if BITNET_AMX_ASSEMBLER
template <> struct kernel<isa::amx_int8, dense> : dense_tile_kernel<amx_tiles> {};
#else
template <> struct kernel<isa::amx_int8, dense> : kernel<isa::avx512_vnni, dense> {}; // the compiler knows no tiles
#endif

} // namespace bitnet::inline BITNET_ABI
#endif
