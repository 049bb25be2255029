// SPDX-License-Identifier: MIT
#include <bitnet/policy.hpp>

#if BITNET_WASM_SIMD128
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_simd128>>;
#endif
#if BITNET_WASM_RELAXED_SIMD
template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_relaxed_simd>>;
#endif
