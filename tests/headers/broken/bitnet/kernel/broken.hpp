// SPDX-License-Identifier: MIT
// An include across the house. Nothing includes or compiles this.
#pragma once

#include <bitnet/io/gguf.hpp>
