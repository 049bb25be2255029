// SPDX-License-Identifier: MIT
// Test cases over every instruction set of this machine, named by it: "a kernel is exact<avx2>".
//
//     TEST_CASE_TEMPLATE_DEFINE("a kernel is exact", Isa, kernel_is_exact) {
//         if (!bitnet_tests::runs_here<Isa>()) {
//             return;
//         }
//         ...
//     }
//     TEST_CASE_TEMPLATE_APPLY(kernel_is_exact, bitnet_tests::every_isa);
#pragma once

#include <bitnet/simd/isa.hpp>

#include <doctest/doctest.h>

#include <concepts>
#include <string>
#include <string_view>
#include <tuple>
#include <type_traits>
#include <utility>

namespace bitnet_tests {

template <class T>
concept named_type = requires {
    { T::name } -> std::convertible_to<std::string_view>;
};

template <class List> struct isa_tuples;
template <class... Isa> struct isa_tuples<bitnet::isa::list<Isa...>> {
    template <class I>
    using unless_scalar = std::conditional_t<std::same_as<I, bitnet::isa::scalar>, std::tuple<>, std::tuple<I>>;

    using all = std::tuple<Isa...>;
    using but_scalar = decltype(std::tuple_cat(std::declval<unless_scalar<Isa>>()...));
};

/// The lists that TEST_CASE_TEMPLATE_APPLY takes.
using every_isa = isa_tuples<bitnet::isa::all_of_this_machine>::all;
using every_isa_but_scalar = isa_tuples<bitnet::isa::all_of_this_machine>::but_scalar;

/// Whether this process may run code for Isa; says so if not.
template <class Isa> bool runs_here() {
    const bool runs = bitnet::isa::enable<Isa>();
    if (!runs) {
        MESSAGE("not run: this CPU has no " << std::string(Isa::name));
    }
    return runs;
}

} // namespace bitnet_tests

namespace doctest {

/// What doctest writes for a type in the name of a test case: its own name if it has one.
template <bitnet_tests::named_type T> String toString() {
    return {T::name.data(), static_cast<String::size_type>(T::name.size())};
}

} // namespace doctest
