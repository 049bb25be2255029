// SPDX-License-Identifier: MIT
// Choosing a policy at run time: with_first_available, ladder, any_cpu.
#ifndef BITNET_RUN_DISPATCH_HPP
#define BITNET_RUN_DISPATCH_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/engine.hpp>
#include <bitnet/policy.hpp>

#include <array>
#include <cstddef>
#include <string_view>
#include <type_traits>

namespace bitnet::inline BITNET_ABI {

/// Calls f.operator()<P>() for the first P of the list whose instruction set this machine has and the system permits.
/// Dispatch once, at the top.
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
    /// Their tables, in order. Of several layouts for one instruction set, the one that a file is stored in is taken.
    static constexpr std::array<const engine*, sizeof...(P)> engines{&engine_of<P>::tables...};

    template <class L> using with_layout = ladder<typename P::template with_layout<L>...>;
    template <class E> using with_kv = ladder<typename P::template with_kv<E>...>;
    template <class T> using with_pool = ladder<typename P::template with_pool<T>...>;

    /// Names of the instruction sets, in order.
    static constexpr std::array<std::string_view, sizeof...(P)> names = {P::isa::name...};

    /// with_first_available over the list.
    template <class F> static bool with_first_available(F&& f) { return bitnet::with_first_available<P...>(f); }
};

/// Ladders one after another: those of several layouts, say.
template <class... Ladders> struct joined_ladders;
template <policy_type... P> struct joined_ladders<ladder<P...>> : ladder<P...> {};
template <policy_type... P, policy_type... Q, class... Rest>
struct joined_ladders<ladder<P...>, ladder<Q...>, Rest...> : joined_ladders<ladder<P..., Q...>, Rest...> {};

/// `Ladder` in every layout that has kernels for every instruction set, so that files run in the layout that they are
/// stored in, and in one that admits their shapes.
template <class Ladder>
using in_all_layouts =
    joined_ladders<typename Ladder::template with_layout<i2s>, typename Ladder::template with_layout<base3>,
                   typename Ladder::template with_layout<lookup2>, typename Ladder::template with_layout<lookup3>>;

namespace detail {

/// One policy for each instruction set of a list.
template <class List> struct policies_of;
template <isa::instruction_set... Isa> struct policies_of<isa::list<Isa...>> : ladder<policy<Isa>...> {};

} // namespace detail

/// Runs on any CPU of this architecture, with its best instructions; needs no -m flag.
struct any_cpu : detail::policies_of<isa::all_of_this_machine> {};

} // namespace bitnet::inline BITNET_ABI

#endif
