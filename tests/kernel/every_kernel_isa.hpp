// SPDX-License-Identifier: MIT
// The instruction sets that kernels are tested with: those of this machine, and AMX with emulated tiles.
#pragma once

#include "every_isa.hpp"
#include "kernel/emulated_tiles.hpp"

#include <tuple>
#include <utility>

namespace bitnet_tests {

#if BITNET_X86_64
using every_kernel_isa = decltype(std::tuple_cat(std::declval<every_isa>(), std::tuple<emulated_amx>{}));
#else
using every_kernel_isa = every_isa;
#endif

} // namespace bitnet_tests
