// SPDX-License-Identifier: MIT
// The KV element is float, half or std::int8_t.
// EXPECT: constraint
#include <bitnet/policy.hpp>

#ifdef FIXED
using chosen = bitnet::policy<bitnet::isa::scalar>::with_kv<bitnet::half>;
#else
using chosen = bitnet::policy<bitnet::isa::scalar>::with_kv<double>;
#endif
chosen* instance = nullptr;
