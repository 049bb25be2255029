// SPDX-License-Identifier: MIT
// A function that takes a model and a program that gives it one: links where both are compiled with the same flags.
#include <bitnet/core/result.hpp>

std::size_t length_of(const bitnet::error& failure);

#ifdef DEFINES
std::size_t length_of(const bitnet::error& failure) { return failure.message.size(); }
#else
int main() { return static_cast<int>(length_of({})); }
#endif
