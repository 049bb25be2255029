// SPDX-License-Identifier: MIT
#include <bitnet/policy.hpp>

#if BITNET_X86_64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx512_vnni>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::amx_int8>>;
#endif
