// SPDX-License-Identifier: MIT
// emulated_tiles: AMX tile registers in plain C++, as the Intel SDM describes LDTILECFG, TILEZERO, TILELOADD,
// TILESTORED, TDPBSUD, TDPBUSD.
#pragma once

#include <bitnet/kernel/base3_amx_int8.hpp>
#include <bitnet/kernel/i2s_amx_int8.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/simd/amx_tiles.hpp>
#include <bitnet/simd/isa.hpp>

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

namespace bitnet_tests {

#if BITNET_X86_64
/// Takes the place of bitnet::detail::amx_tiles, so that kernels over tiles are tested on any machine. A use of tiles
/// that are not configured, which would end a process on hardware, fails the test.
class emulated_tiles {
public:
    static void configure(const bitnet::detail::tile_configuration& c) {
        REQUIRE(c.palette == 1);
        config = c;
        std::memset(data, 0, sizeof data);
    }
    static void release() {
        config = {};
        config.palette = 0;
    }
    /// Rows and bytes of a row beyond the configured ones become zero.
    template <int Tile> static void load(const void* p, std::size_t stride) {
        check<Tile>();
        std::memset(data[Tile], 0, sizeof data[Tile]);
        for (std::size_t r = 0; r < config.rows[Tile]; ++r) {
            std::memcpy(data[Tile][r], static_cast<const std::byte*>(p) + r * stride, config.row_bytes[Tile]);
        }
    }
    template <int Tile> static void load_streamed(const void* p, std::size_t stride) { load<Tile>(p, stride); }
    template <int Tile> static void store(void* p, std::size_t stride) {
        check<Tile>();
        for (std::size_t r = 0; r < config.rows[Tile]; ++r) {
            std::memcpy(static_cast<std::byte*>(p) + r * stride, data[Tile][r], config.row_bytes[Tile]);
        }
    }
    template <int Tile> static void zero() {
        check<Tile>();
        std::memset(data[Tile], 0, sizeof data[Tile]);
    }
    /// TDPBSUD: sum[m][n] += value[m][4 k + i] * code[k][4 n + i]
    template <int Sum, int Values, int Codes> static void multiply() {
        add_products<Sum, Values, Codes, std::int8_t, std::uint8_t>();
    }
    /// TDPBUSD: sum[m][n] += code[m][4 k + i] * value[k][4 n + i]
    template <int Sum, int Codes, int Values> static void multiply_codes() {
        add_products<Sum, Codes, Values, std::uint8_t, std::int8_t>();
    }

private:
    template <int Tile> static void check() {
        static_assert(0 <= Tile && Tile < 8);
        const bool configured = config.palette == 1 && config.rows[Tile] != 0 && config.row_bytes[Tile] != 0;
        if (!configured) {
            FAIL("tile " << Tile << " is used but not configured");
        }
    }
    template <int Sum, int Left, int Right, class LeftByte, class RightByte> static void add_products() {
        check<Sum>();
        check<Left>();
        check<Right>();
        REQUIRE(config.rows[Sum] == config.rows[Left]);
        REQUIRE(config.row_bytes[Sum] == config.row_bytes[Right]);
        REQUIRE(config.row_bytes[Left] / 4 == config.rows[Right]);
        for (std::size_t m = 0; m < config.rows[Sum]; ++m) {
            for (std::size_t k = 0; k < config.row_bytes[Left] / 4u; ++k) {
                add_row<LeftByte, RightByte>(data[Sum][m], data[Left][m] + 4 * k, data[Right][k],
                                             config.row_bytes[Sum] / 4u);
            }
        }
    }
    template <class LeftByte, class RightByte>
    static void add_row(std::uint8_t* sums, const std::uint8_t* left, const std::uint8_t* right, std::size_t count) {
        for (std::size_t n = 0; n < count; ++n) {
            std::int32_t sum;
            std::memcpy(&sum, sums + 4 * n, 4);
            for (std::size_t i = 0; i < 4; ++i) {
                sum += static_cast<LeftByte>(left[i]) * static_cast<RightByte>(right[4 * n + i]);
            }
            std::memcpy(sums + 4 * n, &sum, 4);
        }
    }

    static inline thread_local bitnet::detail::tile_configuration config{.palette = 0};
    static inline thread_local std::uint8_t data[8][16][64] = {};
};

/// AMX with these tiles: an instruction set for any machine with AVX-512 VNNI.
struct emulated_amx {
    static constexpr std::string_view name = "emulated_amx";
    [[nodiscard]] static bool available() noexcept { return bitnet::isa::avx512_vnni::available(); }
};
#endif

} // namespace bitnet_tests

#if BITNET_X86_64
namespace bitnet::inline BITNET_ABI::detail {

template <> struct kernel<bitnet_tests::emulated_amx, i2s> : i2s_tile_kernel<bitnet_tests::emulated_tiles> {};
template <> struct kernel<bitnet_tests::emulated_amx, base3> : base3_tile_kernel<bitnet_tests::emulated_tiles> {};

} // namespace bitnet::inline BITNET_ABI::detail
#endif
