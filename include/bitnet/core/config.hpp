// SPDX-License-Identifier: MIT
// The only macros of the library: version, target architecture, code regions. None configures behaviour.

// Several copies of the library may come together in one source if they have one version: what the first has, the
// others leave out. Of two versions the second is refused, and single_include leaves out all of it. An edited copy is
// another version, so that both the version before and the one below are compared.
#define BITNET_VERSION_IS_0_1_0 (BITNET_VERSION_MAJOR == 0 && BITNET_VERSION_MINOR == 1 && BITNET_VERSION_PATCH == 0)
#if defined(BITNET_VERSION_MAJOR) && !(defined(BITNET_CORE_CONFIG_HPP) && BITNET_VERSION_IS_0_1_0)
#define BITNET_SECOND_VERSION
#endif
#undef BITNET_VERSION_MAJOR
#undef BITNET_VERSION_MINOR
#undef BITNET_VERSION_PATCH
#define BITNET_VERSION_MAJOR 0
#define BITNET_VERSION_MINOR 1
#define BITNET_VERSION_PATCH 0
#if defined(BITNET_CORE_CONFIG_HPP) && !BITNET_VERSION_IS_0_1_0
#define BITNET_SECOND_VERSION
#endif
#ifdef BITNET_SECOND_VERSION
#error "two versions of bitnet.hpp in one source: include the same one everywhere, or each in sources of its own"
#endif

#ifndef BITNET_CORE_CONFIG_HPP
#define BITNET_CORE_CONFIG_HPP

// Every name lives in `namespace bitnet::inline BITNET_ABI` or its `detail`, so that two versions can meet in one
// program, and so can translation units that are compiled for different CPUs or with -ffast-math: of two inline
// functions of one name the linker keeps either, and an older CPU must never meet the one for a newer. Objects do not
// pass between such units: that program does not link.
#if defined(__AMX_TILE__)
#define BITNET_ABI_CPU _amx
#elif defined(__AVX512VNNI__)
#define BITNET_ABI_CPU _avx512_vnni
#elif defined(__AVX512F__)
#define BITNET_ABI_CPU _avx512
#elif defined(__AVXVNNI__)
#define BITNET_ABI_CPU _avx_vnni
#elif defined(__AVX2__)
#define BITNET_ABI_CPU _avx2
#elif defined(__FMA__) || defined(__F16C__) || defined(__BMI__)
#define BITNET_ABI_CPU _fma
#elif defined(__AVX__)
#define BITNET_ABI_CPU _avx
#elif defined(__SSE4_2__) || defined(__POPCNT__)
#define BITNET_ABI_CPU _sse42
#elif defined(__SSE4_1__)
#define BITNET_ABI_CPU _sse41
#elif defined(__SSSE3__)
#define BITNET_ABI_CPU _ssse3
#elif defined(__SSE3__)
#define BITNET_ABI_CPU _sse3
#elif defined(__ARM_FEATURE_SVE)
#define BITNET_ABI_CPU _sve
#elif defined(__ARM_FEATURE_MATMUL_INT8)
#define BITNET_ABI_CPU _i8mm
#elif defined(__ARM_FEATURE_DOTPROD)
#define BITNET_ABI_CPU _dotprod
#elif defined(__ARM_FEATURE_ATOMICS)
#define BITNET_ABI_CPU _lse
#elif defined(__wasm_relaxed_simd__)
#define BITNET_ABI_CPU _relaxed_simd
#elif defined(__wasm_simd128__)
#define BITNET_ABI_CPU _simd128
#else
#define BITNET_ABI_CPU
#endif
#if defined(__FAST_MATH__) || defined(_M_FP_FAST)
#define BITNET_ABI_ARITHMETIC _fast_math
#else
#define BITNET_ABI_ARITHMETIC
#endif
#define BITNET_ABI_JOIN(major, minor, patch, cpu, arithmetic) v##major##_##minor##_##patch##cpu##arithmetic
#define BITNET_ABI_NAME(major, minor, patch, cpu, arithmetic) BITNET_ABI_JOIN(major, minor, patch, cpu, arithmetic)
#define BITNET_ABI                                                                                                     \
    BITNET_ABI_NAME(BITNET_VERSION_MAJOR, BITNET_VERSION_MINOR, BITNET_VERSION_PATCH, BITNET_ABI_CPU,                  \
                    BITNET_ABI_ARITHMETIC)

#if defined(__x86_64__) || defined(_M_X64)
#define BITNET_X86_64 1
#else
#define BITNET_X86_64 0
#endif

#if defined(__aarch64__) || defined(_M_ARM64)
#define BITNET_ARM64 1
#else
#define BITNET_ARM64 0
#endif

// WebAssembly: whether the module may use 128-bit SIMD, relaxed SIMD too, and whether there are threads (-pthread).
#if defined(__wasm_simd128__)
#define BITNET_WASM_SIMD128 1
#else
#define BITNET_WASM_SIMD128 0
#endif
#if defined(__wasm_relaxed_simd__)
#define BITNET_WASM_RELAXED_SIMD 1
#else
#define BITNET_WASM_RELAXED_SIMD 0
#endif
#if defined(__wasm__) && !(defined(__wasm_atomics__) && defined(_REENTRANT))
#define BITNET_THREADS 0
#else
#define BITNET_THREADS 1
#endif

// Whether a standard container that finds no memory throws, and does not end the program.
#if defined(__cpp_exceptions) || defined(_CPPUNWIND)
#define BITNET_EXCEPTIONS 1
#else
#define BITNET_EXCEPTIONS 0
#endif

// Whether inline assembly knows the tile instructions of AMX (gcc 11, clang 12): compilers that do have these headers.
#if BITNET_X86_64 && defined(__GNUC__) && (__has_include(<amxintrin.h>) || __has_include(<amxint8intrin.h>))
#define BITNET_AMX_ASSEMBLER 1
#else
#define BITNET_AMX_ASSEMBLER 0
#endif

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "bitnet.hpp reads little-endian files in place and refuses big-endian machines"
#endif
#if (defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0) || (defined(_M_IX86_FP) && _M_IX86_FP < 2)
#error "bitnet.hpp needs float arithmetic in float precision: on 32-bit x86 compile with -msse2 -mfpmath=sse"
#endif
#if defined(__wasm__) && defined(__FAST_MATH__)
#error "bitnet.hpp cannot keep its arithmetic exact under -ffast-math on WebAssembly: clang offers no way there"
#endif
#if !defined(_MSC_VER) && __cplusplus < 202002L
#error "bitnet.hpp needs C++20"
#endif

// BITNET_NOINLINE: what is rarely called from many places, which compilers would copy to each of them.
#if defined(_MSC_VER) && !defined(__clang__)
#define BITNET_ALWAYS_INLINE __forceinline
#define BITNET_NOINLINE __declspec(noinline)
#else
#define BITNET_ALWAYS_INLINE __attribute__((always_inline)) inline
#define BITNET_NOINLINE __attribute__((noinline))
#endif

// What only failures call: never inlined, and code that leads there is made small instead of fast.
#if defined(__GNUC__)
#define BITNET_COLD __attribute__((cold))
#else
#define BITNET_COLD
#endif

#define BITNET_PRAGMA(text) _Pragma(#text)

// Before a loop of a fixed few steps over an array of vector registers. gcc's -O2 would leave loop and array in memory;
// clang would unroll too late to keep larger arrays out of it.
#if defined(__clang__)
#define BITNET_UNROLL _Pragma("clang loop unroll(full)")
#elif defined(__GNUC__)
#define BITNET_UNROLL _Pragma("GCC unroll 16")
#else
#define BITNET_UNROLL
#endif

// BITNET_PRECISE_BEGIN .. END: float arithmetic exactly as written, whatever flags the including program is built with.
// BITNET_TARGET_BEGIN(isa) .. END: the same, and functions are compiled for `isa`. Opened outside any namespace.
// (clang has float_control for Arm from version 15 on. Before, what comes after these headers stays without
// contraction and reassociation, too, which changes no result that the program could rely on.)
#if BITNET_ARM64 && defined(__clang__) && __clang_major__ < 15
#define BITNET_FLOAT_CONTROL 0
#else
#define BITNET_FLOAT_CONTROL 1
#endif
#if defined(__clang__) && defined(__wasm__)
// clang has no float_control for WebAssembly; what remains to be said is the default anyway without -ffast-math.
#define BITNET_PRECISE_BEGIN _Pragma("clang fp contract(off)")
#define BITNET_PRECISE_END _Pragma("clang fp contract(on)")
#elif defined(__clang__)
#if !BITNET_FLOAT_CONTROL
#define BITNET_PRECISE_BEGIN _Pragma("clang fp contract(off) reassociate(off)")
#define BITNET_PRECISE_END
#else
#define BITNET_PRECISE_BEGIN _Pragma("float_control(precise, on, push)") _Pragma("clang fp contract(off)")
#define BITNET_PRECISE_END _Pragma("float_control(pop)")
#endif
#define BITNET_TARGET_BEGIN(isa)                                                                                       \
    BITNET_PRECISE_BEGIN BITNET_PRAGMA(clang attribute push(__attribute__((target(isa))), apply_to = function))
#define BITNET_TARGET_END _Pragma("clang attribute pop") BITNET_PRECISE_END
#elif defined(__GNUC__)
#define BITNET_PRECISE_BEGIN _Pragma("GCC push_options") _Pragma("GCC optimize(\"no-fast-math\", \"fp-contract=off\")")
#define BITNET_PRECISE_END _Pragma("GCC pop_options")
// gcc 12's AVX-512 headers warn inside themselves; the diagnostic pragmas silence that and nothing of ours.
#define BITNET_TARGET_BEGIN(isa)                                                                                       \
    BITNET_PRECISE_BEGIN BITNET_PRAGMA(GCC target(isa)) _Pragma("GCC diagnostic push")                                 \
        _Pragma("GCC diagnostic ignored \"-Wuninitialized\"")                                                          \
            _Pragma("GCC diagnostic ignored \"-Wmaybe-uninitialized\"")
#define BITNET_TARGET_END _Pragma("GCC diagnostic pop") BITNET_PRECISE_END
#elif defined(_MSC_VER)
#define BITNET_PRECISE_BEGIN __pragma(float_control(precise, on, push)) __pragma(fp_contract(off))
#define BITNET_PRECISE_END __pragma(float_control(pop))
#define BITNET_TARGET_BEGIN(isa) BITNET_PRECISE_BEGIN
#define BITNET_TARGET_END BITNET_PRECISE_END
#endif

// The arguments of BITNET_TARGET_BEGIN on x86-64: what cpu.hpp checks before isa::avx2 and the others are available.
#define BITNET_TARGET_SSE41 "sse4.1"
#define BITNET_TARGET_AVX2 "avx2,fma,f16c,bmi,bmi2"
#define BITNET_TARGET_AVX_VNNI "avx2,fma,f16c,bmi,bmi2,avxvnni"
#define BITNET_TARGET_AVX512_VNNI "avx2,fma,f16c,bmi,bmi2,avx512f,avx512cd,avx512bw,avx512dq,avx512vl,avx512vnni"

// And on Arm. A region must have all that the functions inlined into it have, hence the first one, and gcc's assembler
// takes the dot products from Armv8.2 on only.
#if defined(__clang__)
#define BITNET_TARGET_NEON "neon"
#define BITNET_TARGET_NEON_DOTPROD "dotprod"
#define BITNET_TARGET_NEON_I8MM "dotprod,i8mm"
#else
#define BITNET_TARGET_NEON "arch=armv8-a"
#if defined(__ARM_FEATURE_DOTPROD)
#define BITNET_TARGET_NEON_DOTPROD "+dotprod"
#define BITNET_TARGET_NEON_I8MM "+dotprod+i8mm"
#else
#define BITNET_TARGET_NEON_DOTPROD "arch=armv8.2-a+dotprod"
#define BITNET_TARGET_NEON_I8MM "arch=armv8.2-a+dotprod+i8mm"
#endif
#endif

#endif
