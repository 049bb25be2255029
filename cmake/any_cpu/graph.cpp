// SPDX-License-Identifier: MIT
#include <bitnet/run/parts.hpp>

template struct bitnet::graph_part<>;
