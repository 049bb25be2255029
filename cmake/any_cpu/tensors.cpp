// SPDX-License-Identifier: MIT
#include <bitnet/run/tensors_part.hpp>

template struct bitnet::detail::tensors_part<>;
