// SPDX-License-Identifier: MIT
// Choices go through with_*: a misspelt one is no member, and a KV element that does not exist is no choice.
// EXPECT: with_vk|no template named|no member named
#include <bitnet/policy.hpp>

#ifdef FIXED
using chosen = bitnet::policy<bitnet::isa::scalar>::with_kv<float>;
#else
using chosen = bitnet::policy<bitnet::isa::scalar>::with_vk<float>;
#endif
chosen* instance = nullptr;
