// SPDX-License-Identifier: MIT
// A pair of instruction set and layout without kernel is refused by name, not run by some slow fallback.
// EXPECT: constraint
#include <bitnet/policy.hpp>

#ifdef FIXED
using chosen = bitnet::policy<bitnet::isa::scalar, bitnet::i2s_b>;
#else
using chosen = bitnet::policy<bitnet::isa::scalar, float>;
#endif
chosen* instance = nullptr;
