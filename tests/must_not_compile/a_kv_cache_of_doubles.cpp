// SPDX-License-Identifier: MIT
// The KV element is float or half.
// EXPECT: constraint
#include <bitnet/policy.hpp>

#ifdef FIXED
using chosen = bitnet::policy<bitnet::isa::scalar>::with_kv<bitnet::half>;
#else
using chosen = bitnet::policy<bitnet::isa::scalar>::with_kv<double>;
#endif
chosen* instance = nullptr;
