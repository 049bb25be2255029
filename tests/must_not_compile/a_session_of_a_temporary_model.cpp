// SPDX-License-Identifier: MIT
// A session borrows its model: one that is gone at the end of the line would dangle.
// EXPECT: use of deleted function|call to deleted (member )?function
#include <bitnet/run/session.hpp>

using policy = bitnet::policy<bitnet::isa::scalar>;

bool open(bitnet::model<policy> opened) {
#ifdef FIXED
    return bitnet::session<policy>::open(opened).has_value();
#else
    return bitnet::session<policy>::open(std::move(opened)).has_value();
#endif
}
