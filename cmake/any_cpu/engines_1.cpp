// SPDX-License-Identifier: MIT
// Half of the engines: as much to compile as the other half.
#include <bitnet/policy.hpp>

#if BITNET_X86_64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::amx_int8>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx512_vnni>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::sse41>>;
#elif BITNET_ARM64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_i8mm>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_dotprod>>;
#elif BITNET_WASM_RELAXED_SIMD
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_relaxed_simd>>;
#endif
