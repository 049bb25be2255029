// SPDX-License-Identifier: MIT
#include <bitnet/run/parts.hpp>

template struct bitnet::files_part<>;
