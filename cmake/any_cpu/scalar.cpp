// SPDX-License-Identifier: MIT
#include <bitnet/policy.hpp>

template struct bitnet::engine_of<bitnet::policy<bitnet::isa::scalar>>;
