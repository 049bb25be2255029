// SPDX-License-Identifier: MIT
// The second translation unit: the same header, linked into the same program.
#include <bitnet/bitnet.hpp>

bitnet::result<bitnet::buffer<float>> make_weights(std::uint64_t size);

bitnet::result<bitnet::buffer<float>> make_weights(std::uint64_t size) {
    return bitnet::buffer<float>::allocate(size, "weights");
}
