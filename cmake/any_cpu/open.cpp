// SPDX-License-Identifier: MIT
#include "parts.hpp"

template struct bitnet::compiled_for<bitnet::any_cpu>;
