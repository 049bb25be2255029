// SPDX-License-Identifier: MIT
// An include across the house, and public names that are not listed. Nothing includes or compiles this.
#ifndef BITNET_KERNEL_BROKEN_HPP
#define BITNET_KERNEL_BROKEN_HPP

#include <bitnet/io/gguf.hpp>

namespace bitnet::inline BITNET_ABI {

class unlisted {};
class listed {};
using listed_elsewhere = listed;

namespace detail {
class inner {};
} // namespace detail

} // namespace bitnet::inline BITNET_ABI

#endif
