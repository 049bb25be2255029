// SPDX-License-Identifier: MIT
#include "parts.hpp"

template struct bitnet::detail::graph_part<>;
template struct bitnet::compiled_for<bitnet::any_cpu>;
