// SPDX-License-Identifier: MIT
// EXPECT: needs float arithmetic in float precision
#ifndef FIXED
#undef __FLT_EVAL_METHOD__
#define __FLT_EVAL_METHOD__ 2 // as -m32 has it without -mfpmath=sse
#endif
#include <bitnet/core/config.hpp>
