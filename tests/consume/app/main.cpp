// SPDX-License-Identifier: MIT
// A small program that uses the library from two translation units.
#include <bitnet/bitnet.hpp>

#include <iostream>

bitnet::result<bitnet::buffer<float>> make_weights(std::uint64_t size);

int main() {
    const auto weights = make_weights(1000);
    if (!weights) {
        std::cerr << weights.error().message << '\n';
        return 1;
    }
    const auto refused = make_weights(~0ull);
    if (weights->size() != 1000 || refused || refused.error().code != bitnet::errc::out_of_memory) {
        return 1;
    }
    std::cout << refused.error().message << '\n';
    return 0;
}
