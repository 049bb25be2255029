// SPDX-License-Identifier: MIT
#include <bitnet/policy.hpp>

#if BITNET_X86_64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::sse41>>;
#endif
