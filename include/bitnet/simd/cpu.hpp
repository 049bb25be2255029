// SPDX-License-Identifier: MIT
// What this CPU and this operating system can run: asked of cpuid and xgetbv on x86, of the operating system on Arm.
#ifndef BITNET_SIMD_CPU_HPP
#define BITNET_SIMD_CPU_HPP

#include <bitnet/core/config.hpp>

#if BITNET_X86_64
#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#else
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#if BITNET_X86_64 && defined(_WIN32)
struct HINSTANCE__; // as windows.h has them
extern "C" __declspec(dllimport) HINSTANCE__* __stdcall GetModuleHandleW(const wchar_t*);
extern "C" __declspec(dllimport) long long(__stdcall* __stdcall GetProcAddress(HINSTANCE__*, const char*))();
#endif

#if BITNET_ARM64
#if defined(__linux__)
#include <sys/auxv.h>
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#elif defined(_WIN32)
extern "C" __declspec(dllimport) int __stdcall IsProcessorFeaturePresent(unsigned long); // as windows.h has it
#endif
#endif

#include <cstdint>

namespace bitnet::inline BITNET_ABI::detail {

/// Instruction sets of an x86-64 machine, each true only if the operating system saves its registers too.
struct x86_features {
    bool sse41 = false;       ///< SSSE3 and SSE4.1, as Penryn 2008, Silvermont 2013 and Bulldozer 2011 have them
    bool avx2 = false;        ///< AVX2, FMA, F16C, BMI1 and BMI2: one level, as Haswell and Zen have it
    bool avx_vnni = false;    ///< avx2 and AVX-VNNI (vpdpbusd on ymm)
    bool avx512_vnni = false; ///< avx2 and AVX-512 F, CD, DQ, BW, VL, VNNI
    bool amx_int8 = false;    ///< avx512_vnni and AMX tiles with INT8
};

#if BITNET_X86_64
namespace cpu {

struct registers {
    std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// cpuid of (leaf, subleaf); all zero if the CPU has no such leaf.
[[nodiscard]] inline registers cpuid(std::uint32_t leaf, std::uint32_t subleaf) noexcept {
    registers r;
#if defined(_MSC_VER) && !defined(__clang__)
    int words[4];
    __cpuid(words, 0);
    if (static_cast<std::uint32_t>(words[0]) >= leaf) {
        __cpuidex(words, static_cast<int>(leaf), static_cast<int>(subleaf));
        r = {static_cast<std::uint32_t>(words[0]), static_cast<std::uint32_t>(words[1]),
             static_cast<std::uint32_t>(words[2]), static_cast<std::uint32_t>(words[3])};
    }
#else
    __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
#endif
    return r;
}

/// XCR0: which register files the operating system saves. \pre cpuid says OSXSAVE.
[[nodiscard]] inline std::uint64_t xgetbv() noexcept {
#if defined(_MSC_VER) && !defined(__clang__)
    return _xgetbv(0);
#else
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (std::uint64_t{high} << 32) | low;
#endif
}

[[nodiscard]] constexpr bool has(std::uint32_t word, std::uint32_t bits) noexcept { return (word & bits) == bits; }

} // namespace cpu

/// Bit numbers: Intel SDM volume 2, CPUID.
[[nodiscard]] inline x86_features detect_x86_features() noexcept {
    x86_features found;
    const auto leaf1 = cpu::cpuid(1, 0);
    found.sse41 = cpu::has(leaf1.ecx, (1u << 9) | (1u << 19));
    constexpr std::uint32_t osxsave = 1u << 27;
    constexpr std::uint32_t fma_f16c_avx = (1u << 12) | (1u << 29) | (1u << 28);
    if (!cpu::has(leaf1.ecx, osxsave | fma_f16c_avx)) {
        return found;
    }
    constexpr std::uint64_t ymm_state = 0x06;        // SSE and AVX
    constexpr std::uint64_t zmm_state = 0xe0 | 0x06; // opmask, ZMM_Hi256, Hi16_ZMM too
    const std::uint64_t saved = cpu::xgetbv();
    const auto leaf7 = cpu::cpuid(7, 0);
    constexpr std::uint32_t bmi1_avx2_bmi2 = (1u << 3) | (1u << 5) | (1u << 8);
    found.avx2 = (saved & ymm_state) == ymm_state && cpu::has(leaf7.ebx, bmi1_avx2_bmi2);
    if (!found.avx2) {
        return found;
    }
    found.avx_vnni = leaf7.eax >= 1 && cpu::has(cpu::cpuid(7, 1).eax, 1u << 4);
    constexpr std::uint32_t f_dq_cd_bw_vl = (1u << 16) | (1u << 17) | (1u << 28) | (1u << 30) | (1u << 31);
    found.avx512_vnni =
        (saved & zmm_state) == zmm_state && cpu::has(leaf7.ebx, f_dq_cd_bw_vl) && cpu::has(leaf7.ecx, 1u << 11);
    constexpr std::uint64_t tile_state = 0x60000; // XTILECFG, XTILEDATA
    constexpr std::uint32_t amx_tile_and_int8 = (1u << 24) | (1u << 25);
    found.amx_int8 = found.avx512_vnni && (saved & tile_state) == tile_state && cpu::has(leaf7.edx, amx_tile_and_int8);
    return found;
}
#else
[[nodiscard]] inline x86_features detect_x86_features() noexcept { return {}; }
#endif

#if BITNET_X86_64 && defined(_WIN32)
using enable_windows_state = int(__stdcall*)(unsigned long long features);

/// EnableProcessOptionalXStateFeatures of Windows 11 and Server 2022; null where that is missing, as in Wine 8, which
/// gives no tiles either.
[[nodiscard]] inline enable_windows_state find_enable_windows_state() noexcept {
    const auto found = GetProcAddress(GetModuleHandleW(L"kernel32.dll"), "EnableProcessOptionalXStateFeatures");
    return reinterpret_cast<enable_windows_state>(reinterpret_cast<void (*)()>(found));
}
#endif

/// Whether the operating system has AMX tiles to give. Asks and changes nothing (Linux 5.16 and later:
/// ARCH_GET_XCOMP_SUPP of arch_prctl; Windows: whether it knows the function that permit_amx() calls).
[[nodiscard]] inline bool has_amx_tiles() noexcept {
#if BITNET_X86_64 && defined(__linux__)
    constexpr long get_supported = 0x1021;
    constexpr std::uint64_t tile_data = std::uint64_t{1} << 18;
    std::uint64_t supported = 0;
    return syscall(SYS_arch_prctl, get_supported, &supported) == 0 && (supported & tile_data) != 0;
#elif BITNET_X86_64 && defined(_WIN32)
    return find_enable_windows_state() != nullptr;
#else
    return false;
#endif
}

/// Asks the operating system for AMX tile data; without that their first use would end the process. Linux grants it per
/// process, to threads that start later too (ARCH_REQ_XCOMP_PERM of arch_prctl), unless a thread has too small a signal
/// stack; asking again is harmless. Windows, too, has to be asked; elsewhere nothing is known and the answer is no.
[[nodiscard]] inline bool permit_amx() noexcept {
#if BITNET_X86_64 && defined(__linux__)
    constexpr long request_permission = 0x1023;
    constexpr long tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
#elif BITNET_X86_64 && defined(_WIN32)
    constexpr unsigned long long tile_data = 1ull << 18; // XSTATE_MASK_AMX_TILE_DATA
    const enable_windows_state enable = find_enable_windows_state();
    return enable != nullptr && enable(tile_data) != 0;
#else
    return false;
#endif
}

/// Instruction sets of a 64-bit Arm machine beyond Armv8.0, which has AdvSIMD with fma.
struct arm_features {
    bool dotprod = false; ///< sdot, udot: optional from Armv8.2, in all from Armv8.4 on
    bool i8mm = false;    ///< dotprod and smmla: optional from Armv8.2, in all from Armv8.6 on
};

#if BITNET_ARM64
#if defined(__APPLE__)
namespace cpu {

/// Whether sysctl knows the name and says 1.
[[nodiscard]] inline bool sysctl_flag(const char* name) noexcept {
    std::int32_t value = 0;
    std::size_t size = sizeof value;
    return sysctlbyname(name, &value, &size, nullptr, 0) == 0 && value == 1;
}

} // namespace cpu
#endif

/// The program may use what it is compiled for. The system is asked about the rest: Linux and Android have the bits
/// of asm/hwcap.h, macOS names, Windows the numbers of winnt.h (PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE and
/// PF_ARM_V82_I8MM_INSTRUCTIONS_AVAILABLE), which versions that do not know them deny.
[[nodiscard]] inline arm_features detect_arm_features() noexcept {
    arm_features found;
#if defined(__ARM_FEATURE_DOTPROD)
    found.dotprod = true;
#endif
#if defined(__ARM_FEATURE_MATMUL_INT8)
    found.i8mm = true;
#endif
#if defined(__linux__)
    constexpr unsigned long asimddp = 1ul << 20; // in AT_HWCAP
    constexpr unsigned long i8mm = 1ul << 13;    // in AT_HWCAP2
    found.dotprod = found.dotprod || (getauxval(AT_HWCAP) & asimddp) != 0;
    found.i8mm = found.i8mm || (getauxval(AT_HWCAP2) & i8mm) != 0;
#elif defined(__APPLE__)
    found.dotprod = found.dotprod || cpu::sysctl_flag("hw.optional.arm.FEAT_DotProd");
    found.i8mm = found.i8mm || cpu::sysctl_flag("hw.optional.arm.FEAT_I8MM");
#elif defined(_WIN32)
    found.dotprod = found.dotprod || IsProcessorFeaturePresent(43) != 0;
    found.i8mm = found.i8mm || IsProcessorFeaturePresent(66) != 0;
#endif
    found.i8mm = found.i8mm && found.dotprod;
    return found;
}
#else
[[nodiscard]] inline arm_features detect_arm_features() noexcept { return {}; }
#endif

} // namespace bitnet::inline BITNET_ABI::detail

#endif
