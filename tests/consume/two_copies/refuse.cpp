// SPDX-License-Identifier: MIT
// std::string FUNCTION(): how the version of HEADER says that a temperature is refused.
#include HEADER

#include <string>

std::string FUNCTION() { return bitnet::sampler::open({.temperature = -1}, 1000).error().message; }
