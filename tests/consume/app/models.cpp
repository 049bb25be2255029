// SPDX-License-Identifier: MIT
// The one source that holds all that is expensive to compile, where bitnet::any_cpu is not linked.
#include <bitnet/bitnet.hpp>

template struct bitnet::compiled_for<bitnet::any_cpu>;
