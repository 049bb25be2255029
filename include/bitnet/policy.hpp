// SPDX-License-Identifier: MIT
// policy: every compile-time choice in one type. What a file decides (head type, activation) is a run-time switch.
#ifndef BITNET_POLICY_HPP
#define BITNET_POLICY_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/core/half.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/kernel/base3.hpp>
#include <bitnet/kernel/base3_amx_int8.hpp>
#include <bitnet/kernel/base3_avx2.hpp>
#include <bitnet/kernel/base3_avx512_vnni.hpp>
#include <bitnet/kernel/base3_avx_vnni.hpp>
#include <bitnet/kernel/base3_neon.hpp>
#include <bitnet/kernel/base3_neon_dotprod.hpp>
#include <bitnet/kernel/base3_neon_i8mm.hpp>
#include <bitnet/kernel/block_kernel.hpp>
#include <bitnet/kernel/block_kernel_avx2.hpp>
#include <bitnet/kernel/block_kernel_avx512_vnni.hpp>
#include <bitnet/kernel/block_kernel_avx_vnni.hpp>
#include <bitnet/kernel/block_kernel_neon.hpp>
#include <bitnet/kernel/block_kernel_neon_dotprod.hpp>
#include <bitnet/kernel/block_kernel_quad.hpp>
#include <bitnet/kernel/block_table.hpp>
#include <bitnet/kernel/i2s_amx_int8.hpp>
#include <bitnet/kernel/i2s_avx2.hpp>
#include <bitnet/kernel/i2s_avx512_vnni.hpp>
#include <bitnet/kernel/i2s_avx_vnni.hpp>
#include <bitnet/kernel/i2s_neon.hpp>
#include <bitnet/kernel/i2s_neon_dotprod.hpp>
#include <bitnet/kernel/i2s_neon_i8mm.hpp>
#include <bitnet/kernel/i2s_sse41.hpp>
#include <bitnet/kernel/i2s_wasm_relaxed_simd.hpp>
#include <bitnet/kernel/i2s_wasm_simd128.hpp>
#include <bitnet/kernel/kernel.hpp>
#include <bitnet/kernel/lookup2.hpp>
#include <bitnet/kernel/lookup2_avx2.hpp>
#include <bitnet/kernel/lookup2_neon.hpp>
#include <bitnet/kernel/lookup3.hpp>
#include <bitnet/kernel/lookup3_avx2.hpp>
#include <bitnet/kernel/lookup3_neon.hpp>
#include <bitnet/kernel/scalar.hpp>
#include <bitnet/kernel/ternary_layout.hpp>
#include <bitnet/kernel/ternary_table.hpp>
#include <bitnet/simd/float_ops.hpp>
#include <bitnet/simd/float_ops_avx2.hpp>
#include <bitnet/simd/float_ops_avx512.hpp>
#include <bitnet/simd/float_ops_neon.hpp>
#include <bitnet/simd/float_ops_quad.hpp>
#include <bitnet/simd/isa.hpp>
#include <bitnet/simd/loop_table.hpp>
#include <bitnet/thread/pool.hpp>
#include <bitnet/thread/thread_pool.hpp>

#include <concepts>
#include <cstdint>

namespace bitnet::inline BITNET_ABI {

/// What a KV cache may be made of: float is exact, half is exact to 11 bits and half the memory. std::int8_t is a
/// quarter of it and approximate: keys and values are absmax quantised, position by position and head by head.
template <class T>
concept kv_element_type = std::same_as<T, half> || std::same_as<T, float> || std::same_as<T, std::int8_t>;

/// Threads where there are any.
#if BITNET_THREADS
using default_pool = thread_pool;
#else
using default_pool = inline_pool;
#endif

/// Types in, types out. The first parameter is all that users spell; the rest goes through with_*, so that a misspelt
/// choice does not compile:
///
///     struct laptop : bitnet::policy<bitnet::isa::avx2>::with_kv<float> {};   // deriving keeps symbols short
///
/// \tparam Isa the instruction set of all loops; `Isa::available()` tells whether this machine has it
/// \tparam Layout how ternary weights lie in memory while the model runs; files in another one are repacked
/// \tparam Kv the element of the KV cache
/// \tparam Pool who runs parallel loops
template <isa::instruction_set Isa, class Layout = i2s, kv_element_type Kv = half, thread_pool_type Pool = default_pool>
requires detail::ternary_kernel<detail::kernel<Isa, Layout>>
struct policy {
    using isa = Isa;
    using layout = Layout;
    using kv_element = Kv;
    using pool = Pool;
    using ternary = detail::kernel<Isa, Layout>;
    using loops = detail::float_ops<Isa>;

    template <class L> using with_layout = policy<Isa, L, Kv, Pool>;
    template <class E> using with_kv = policy<Isa, Layout, E, Pool>;
    template <class T> using with_pool = policy<Isa, Layout, Kv, T>;
};

template <class P>
concept policy_type = requires {
    typename P::isa;
    typename P::layout;
    typename P::kv_element;
    typename P::pool;
    typename P::ternary;
    typename P::loops;
};

/// The tables that a policy names, and nothing else: what no policy of a program names is not compiled.
template <policy_type P> struct engine_of { static const engine tables; };
template <policy_type P>
constinit const engine engine_of<P>::tables{P::isa::name,
                                            &detail::loop_table_of<typename P::loops>,
                                            &detail::kv_table_of<typename P::loops, typename P::kv_element>,
                                            &detail::ternary_table_of<typename P::ternary>,
                                            &detail::block_table_of<detail::block_kernel<typename P::isa>>,
                                            []() noexcept { return isa::enable<typename P::isa>(); },
                                            &detail::open_owned_pool<typename P::pool>,
                                            std::same_as<typename P::pool, default_pool> &&
                                                !std::same_as<default_pool, inline_pool>};

/// The best instruction set that this translation unit's own compile flags enable: no dispatch, and the program needs
/// a machine that has it anyway. See bitnet::any_cpu for the choice at run time.
#if defined(__AMX_TILE__) && defined(__AMX_INT8__) && defined(__AVX512VNNI__) && defined(__AVX512BW__)
using native = policy<isa::amx_int8>;
#elif defined(__AVX512VNNI__) && defined(__AVX512BW__) && defined(__AVX512DQ__) && defined(__AVX512VL__)
using native = policy<isa::avx512_vnni>;
#elif defined(__AVXVNNI__) && defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
using native = policy<isa::avx_vnni>;
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
using native = policy<isa::avx2>;
#elif BITNET_ARM64 && defined(__ARM_FEATURE_MATMUL_INT8) && defined(__ARM_FEATURE_DOTPROD)
using native = policy<isa::neon_i8mm>;
#elif BITNET_ARM64 && defined(__ARM_FEATURE_DOTPROD)
using native = policy<isa::neon_dotprod>;
#elif BITNET_ARM64
using native = policy<isa::neon>;
#elif defined(__SSE4_1__) && defined(__SSSE3__)
using native = policy<isa::sse41>;
#elif BITNET_WASM_RELAXED_SIMD
using native = policy<isa::wasm_relaxed_simd>;
#elif BITNET_WASM_SIMD128
using native = policy<isa::wasm_simd128>;
#else
using native = policy<isa::scalar>;
#endif

} // namespace bitnet::inline BITNET_ABI

#endif
