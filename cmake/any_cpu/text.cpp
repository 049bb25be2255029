// SPDX-License-Identifier: MIT
#include <bitnet/run/text_part.hpp>

template struct bitnet::detail::text_part<>;
