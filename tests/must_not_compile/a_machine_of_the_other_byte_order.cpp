// SPDX-License-Identifier: MIT
// EXPECT: refuses big-endian machines
#ifndef FIXED
#undef __BYTE_ORDER__
#define __BYTE_ORDER__ __ORDER_BIG_ENDIAN__
#endif
#include <bitnet/core/config.hpp>
