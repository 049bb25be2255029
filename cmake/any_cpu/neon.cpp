// SPDX-License-Identifier: MIT
#include <bitnet/policy.hpp>

#if BITNET_ARM64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_dotprod>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_i8mm>>;
#endif
