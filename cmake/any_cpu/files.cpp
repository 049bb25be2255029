// SPDX-License-Identifier: MIT
#include <bitnet/run/files_part.hpp>

template struct bitnet::detail::files_part<>;
