// SPDX-License-Identifier: MIT
// ternary_reading: what no file says of its ternary tensors.
#ifndef BITNET_CHECKPOINT_TERNARY_READING_HPP
#define BITNET_CHECKPOINT_TERNARY_READING_HPP

#include <bitnet/core/config.hpp>
#include <bitnet/kernel/i2s_order.hpp>

#include <string_view>

namespace bitnet::inline BITNET_ABI {

/// What no file says of its ternary tensors.
struct ternary_reading {
    i2s_order order = i2s_order::planar_128; ///< of I2_S tensors
    std::string_view lookup_tiling = {};     ///< the text of the kernel_config.ini that TL1 and TL2 were written with
};

} // namespace bitnet::inline BITNET_ABI

#endif
