// SPDX-License-Identifier: MIT
// Includes the library and uses nothing.
#include <bitnet/bitnet.hpp>

int main() {}
