// SPDX-License-Identifier: MIT
// A list of public names with names that are gone, inner or in another header. Nothing includes or compiles this.
#ifndef BITNET_FWD_HPP
#define BITNET_FWD_HPP

namespace bitnet::inline BITNET_ABI {

class listed;
class gone;
class inner;

//     listed_elsewhere           core/broken.hpp

} // namespace bitnet::inline BITNET_ABI

#endif
