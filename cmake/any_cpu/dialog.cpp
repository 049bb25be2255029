// SPDX-License-Identifier: MIT
#include <bitnet/run/dialog_part.hpp>

template struct bitnet::detail::dialog_part<>;
