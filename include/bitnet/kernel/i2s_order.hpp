// SPDX-License-Identifier: MIT
// i2s_order: the three byte orders of I2_S tensors.
#ifndef BITNET_KERNEL_I2S_ORDER_HPP
#define BITNET_KERNEL_I2S_ORDER_HPP

#include <bitnet/core/config.hpp>

namespace bitnet::inline BITNET_ABI {

/// The byte orders that all carry GGUF type id 36, "I2_S", with nothing in the file to tell them apart.
enum class i2s_order {
    planar_128, ///< A: the official files, converters, x86 builds: 128 weights of a row in 32 bytes
    planar_64,  ///< B: files quantised by an Arm build: 64 weights of a row in 16 bytes
    four_rows,  ///< C: x86 builds without ACT_PARALLEL: one column of four rows in a byte
};

} // namespace bitnet::inline BITNET_ABI

#endif
