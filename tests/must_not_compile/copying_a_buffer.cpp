// SPDX-License-Identifier: MIT
// A buffer may be gigabytes: it moves, and nothing copies it by accident.
// EXPECT: use of deleted function|call to deleted constructor
#include <bitnet/core/buffer.hpp>

#include <utility>

bitnet::buffer<float> take(bitnet::buffer<float>& weights) {
#ifdef FIXED
    return std::move(weights);
#else
    return weights;
#endif
}
