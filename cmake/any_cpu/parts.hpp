// SPDX-License-Identifier: MIT
// What the sources of bitnet::any_cpu leave to one another: each compiles one part, and declares the others so.
#pragma once

#include <bitnet/policy.hpp>
#include <bitnet/run/dialog_part.hpp>
#include <bitnet/run/dispatch.hpp>
#include <bitnet/run/files_part.hpp>
#include <bitnet/run/open_model.hpp>
#include <bitnet/run/tensors_part.hpp>
#include <bitnet/run/text_part.hpp>

extern template struct bitnet::detail::dialog_part<>;
extern template struct bitnet::detail::files_part<>;
extern template struct bitnet::detail::text_part<>;
extern template struct bitnet::detail::tensors_part<>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::scalar>>;
#if BITNET_X86_64
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::sse41>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx2>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx_vnni>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::avx512_vnni>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::amx_int8>>;
#elif BITNET_ARM64
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_dotprod>>;
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::neon_i8mm>>;
#endif
#if BITNET_WASM_SIMD128
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_simd128>>;
#endif
#if BITNET_WASM_RELAXED_SIMD
extern template struct bitnet::engine_of<bitnet::policy<bitnet::isa::wasm_relaxed_simd>>;
#endif
