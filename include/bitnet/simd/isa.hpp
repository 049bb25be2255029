// SPDX-License-Identifier: MIT
// Instruction-set tags: what kernels are written for. available() says whether this machine has them and changes
// nothing; enable() asks the system for what it gives on demand only.
#ifndef BITNET_SIMD_ISA_HPP
#define BITNET_SIMD_ISA_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/simd/cpu.hpp>

#include <concepts>
#include <cstddef>
#include <string_view>

namespace bitnet::inline BITNET_ABI {
namespace isa {

/// Plain C++ for any machine: the oracle that every other instruction set equals bit for bit.
struct scalar {
    static constexpr std::string_view name = "scalar";
    [[nodiscard]] static bool available() noexcept { return true; }
};

/// x86-64 with SSSE3 and SSE4.1 (Penryn 2008, Bulldozer 2011, Silvermont 2013 and later): machines without AVX2.
struct sse41 {
    static constexpr std::string_view name = "sse41";
    [[nodiscard]] static bool available() noexcept { return detail::detect_x86_features().sse41; }
};

/// x86-64 with AVX2, FMA, F16C, BMI (Haswell 2013, Zen 2017 and later).
struct avx2 {
    static constexpr std::string_view name = "avx2";
    [[nodiscard]] static bool available() noexcept { return detail::detect_x86_features().avx2; }
};

/// avx2 and AVX-VNNI (Alder Lake 2021, Zen 5 2024 and later).
struct avx_vnni {
    static constexpr std::string_view name = "avx_vnni";
    [[nodiscard]] static bool available() noexcept { return detail::detect_x86_features().avx_vnni; }
};

/// AVX-512 with VNNI (Ice Lake 2019, Zen 4 2022 and later).
struct avx512_vnni {
    static constexpr std::string_view name = "avx512_vnni";
    [[nodiscard]] static bool available() noexcept { return detail::detect_x86_features().avx512_vnni; }
};

/// avx512_vnni and AMX with INT8 tiles (Sapphire Rapids 2023 and later).
struct amx_int8 {
    static constexpr std::string_view name = "amx_int8";
    [[nodiscard]] static bool available() noexcept {
        return detail::detect_x86_features().amx_int8 && detail::has_amx_tiles();
    }
    /// For the whole process, threads that start later included. \return false if the system refuses
    [[nodiscard]] static bool enable() noexcept { return detail::permit_amx(); }
};

/// 64-bit Arm with AdvSIMD: every Armv8-A machine.
struct neon {
    static constexpr std::string_view name = "neon";
    [[nodiscard]] static bool available() noexcept { return BITNET_ARM64 != 0; }
};

/// neon and the dot products of Armv8.2 (Cortex-A55 and A75 2017, Neoverse N1 2019, Apple A13 2019 and later).
struct neon_dotprod {
    static constexpr std::string_view name = "neon_dotprod";
    [[nodiscard]] static bool available() noexcept { return detail::detect_arm_features().dotprod; }
};

/// neon_dotprod and int8 matrix products (Neoverse V1 2020, Cortex-A710 2021, Apple M2 2022 and later).
struct neon_i8mm {
    static constexpr std::string_view name = "neon_i8mm";
    [[nodiscard]] static bool available() noexcept { return detail::detect_arm_features().i8mm; }
};

/// WebAssembly with 128-bit SIMD: chosen by the compiler (-msimd128), as a module cannot ask for it while it runs.
struct wasm_simd128 {
    static constexpr std::string_view name = "wasm_simd128";
    [[nodiscard]] static bool available() noexcept { return BITNET_WASM_SIMD128 != 0; }
};

/// wasm_simd128 and the relaxed dot product (-mrelaxed-simd, with a compiler that has its intrinsics, as clang 19).
struct wasm_relaxed_simd {
    static constexpr std::string_view name = "wasm_relaxed_simd";
    [[nodiscard]] static bool available() noexcept { return BITNET_WASM_RELAXED_SIMD != 0; }
};

template <class T>
concept instruction_set = requires {
    { T::name } -> std::convertible_to<std::string_view>;
    { T::available() }
    noexcept->std::same_as<bool>;
};

/// Several instruction sets as one type.
template <instruction_set... Isa> struct list {
    static constexpr std::size_t size = sizeof...(Isa);

    /// Calls f.operator()<Isa>() for each, in order.
    template <class F> static void for_each(F&& f) { (f.template operator()<Isa>(), ...); }
};

/// Every instruction set that has kernels in a build for this architecture, the fastest first, scalar last. A new one
/// is entered here: policies, dispatch, tools and tests read this list.
#if BITNET_X86_64
using all_of_this_machine = list<amx_int8, avx512_vnni, avx_vnni, avx2, sse41, scalar>;
#elif BITNET_ARM64
using all_of_this_machine = list<neon_i8mm, neon_dotprod, neon, scalar>;
#elif BITNET_WASM_RELAXED_SIMD
using all_of_this_machine = list<wasm_relaxed_simd, wasm_simd128, scalar>;
#elif BITNET_WASM_SIMD128
using all_of_this_machine = list<wasm_simd128, scalar>;
#else
using all_of_this_machine = list<scalar>;
#endif

/// Whether this process may run code for Isa: it is available, and the system grants what it has to be asked for, as
/// Linux for AMX. Opening a model does this.
template <instruction_set Isa> [[nodiscard]] bool enable() noexcept {
    if constexpr (requires { Isa::enable(); }) {
        return Isa::available() && Isa::enable();
    } else {
        return Isa::available();
    }
}

} // namespace isa
} // namespace bitnet::inline BITNET_ABI

#endif
