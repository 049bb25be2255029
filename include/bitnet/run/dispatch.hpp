// SPDX-License-Identifier: MIT
// Choosing a policy at run time: with_first_available, ladder, any_cpu.
#pragma once

#include <bitnet/core/config.hpp>
#include <bitnet/policy.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Calls f.operator()<P>() for the first P of the list whose instruction set this machine has and the system permits.
/// Dispatch once, at the top: below the call everything is static.
///
///     bitnet::with_first_available<wide, any>([&]<class P>() { run<P>(argv[1]); });
///
/// \return whether there was one. A list that ends in a scalar policy always has one.
template <policy_type First, policy_type... Rest, class F> bool with_first_available(F&& f) {
    if (isa::enable<typename First::isa>()) {
        f.template operator()<First>();
        return true;
    }
    if constexpr (sizeof...(Rest) != 0) {
        return with_first_available<Rest...>(f);
    } else {
        return false;
    }
}

/// A list of policies, the fastest first.
template <policy_type... P> struct ladder {
    template <class L> using with_layout = ladder<typename P::template with_layout<L>...>;
    template <class E> using with_kv = ladder<typename P::template with_kv<E>...>;
    template <class T> using with_pool = ladder<typename P::template with_pool<T>...>;

    /// Names of the instruction sets, in order.
    static constexpr std::array<std::string_view, sizeof...(P)> names = {P::isa::name...};

    /// with_first_available over the list.
    template <class F> static bool with_first_available(F&& f) { return bitnet::with_first_available<P...>(f); }

    /// Calls f.operator()<Q>() for the policy of that instruction set. \return whether it is in the list.
    template <class F> static bool with_isa(std::string_view name, F&& f) {
        return ((P::isa::name == name && (f.template operator()<P>(), true)) || ...);
    }
};

/// Ternary layouts to choose from by name at run time. Each is a template argument, so each costs an instantiation of
/// what `f` uses:
///
///     bitnet::all_layouts::with_layout("dense", [&]<class L>() { run<bitnet::any_cpu::with_layout<L>>(argv[1]); });
template <ternary_layout... L> struct layout_list {
    static constexpr std::array<std::string_view, sizeof...(L)> names = {L::name...};

    /// Calls f.operator()<Layout>() for the layout of that name. \return whether it is in the list.
    template <class F> static bool with_layout(std::string_view name, F&& f) {
        return ((L::name == name && (f.template operator()<L>(), true)) || ...);
    }
};

/// Every layout that has kernels for every instruction set.
using all_layouts = layout_list<i2s, dense, tl1, tl2>;

/// Every kernel that exists for this architecture, the fastest first, scalar last: runs on any CPU, needs no -m flag.
#if BITNET_X86_64
using any_cpu = ladder<policy<isa::amx_int8>, policy<isa::avx512_vnni>, policy<isa::avx_vnni>, policy<isa::avx2>,
                       policy<isa::sse41>, policy<isa::scalar>>;
#elif BITNET_ARM64
using any_cpu = ladder<policy<isa::neon_i8mm>, policy<isa::neon_dotprod>, policy<isa::neon>, policy<isa::scalar>>;
#elif BITNET_WASM_RELAXED_SIMD
using any_cpu = ladder<policy<isa::wasm_relaxed_simd>, policy<isa::wasm_simd128>, policy<isa::scalar>>;
#elif BITNET_WASM_SIMD128
using any_cpu = ladder<policy<isa::wasm_simd128>, policy<isa::scalar>>;
#else
using any_cpu = ladder<policy<isa::scalar>>;
#endif

} // namespace bitnet::inline BITNET_ABI
