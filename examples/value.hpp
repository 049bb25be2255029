// SPDX-License-Identifier: MIT
// value: what a result holds. A program that cannot go on without it prints the error's sentence and ends.
#pragma once

#include <bitnet/core/result.hpp>

#include <cstdlib>
#include <iostream>
#include <type_traits>
#include <utility>

template <class T> T value(bitnet::result<T> made) {
    if (!made) {
        std::cerr << made.error().message << '\n';
        std::exit(1);
    }
    if constexpr (!std::is_void_v<T>) {
        return *std::move(made);
    }
}
