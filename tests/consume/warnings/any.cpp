// SPDX-License-Identifier: MIT
// The light header in a program that asks for many warnings.
#include <bitnet/any.hpp>
