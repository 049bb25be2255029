// SPDX-License-Identifier: MIT
// The instruction sets of this machine at run time, for tests that open models by name: compiled once for all of them.
#pragma once

#include "every_isa.hpp"

#include <bitnet/simd/isa.hpp>

#include <string>
#include <vector>

namespace bitnet_tests {

/// Names of those whose code this process may run, the fastest first, scalar last; reports the others.
[[nodiscard]] inline std::vector<std::string> isas_that_run() {
    std::vector<std::string> names;
    bitnet::isa::all_of_this_machine::for_each([&]<class Isa>() {
        if (runs_here<Isa>()) {
            names.emplace_back(Isa::name);
        }
    });
    return names;
}

} // namespace bitnet_tests
