// SPDX-License-Identifier: MIT
// The other half of the engines.
#include <bitnet/policy.hpp>

template struct bitnet::engine_of<bitnet::policy<bitnet::isa::scalar>>;
#if BITNET_X86_64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx2>>;
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx_vnni>>;
#elif BITNET_ARM64
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon>>;
#elif BITNET_WASM_SIMD128
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_simd128>>;
#endif
